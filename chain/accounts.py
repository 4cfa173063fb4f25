"""Imports the used parts of eth_account, without the half second that its unused BLS key stores
take.

eth_account loads eth_keyfile, and that loads py_ecc for BLS keys of validators (EIP-2335). No such
key is read here, and py_ecc works out its pairings while it is imported: more than half of what
starting any process took.
"""

from __future__ import annotations

import sys
from types import ModuleType


class _NotLoaded(ModuleType):
    """A placeholder for a module of py_ecc: any use of its contents fails."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _NotLoaded(f"{self.__name__}.{name}")


for _name in ("py_ecc.bls", "py_ecc.bls12_381.bls12_381_pairing"):
    sys.modules.setdefault(_name, _NotLoaded(_name))

# py_ecc raises the recursion limit of the process to 100,000, with which deeply nested JSON
# overflows the C stack of its parser: a crash, not an exception.
_limit = sys.getrecursionlimit()

from eth_account import Account  # noqa: E402
from eth_account.messages import encode_typed_data  # noqa: E402
from eth_account.typed_transactions.typed_transaction import TypedTransaction  # noqa: E402

sys.setrecursionlimit(_limit)

__all__ = ["Account", "TypedTransaction", "encode_typed_data"]
