"""Recovers the signer of a message: EIP-712 with the salt of the deployment. Only `load_crypto`
needs packages.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from governance.rules.abi import is_dynamic, split_fields
from governance.rules.encoding import to_int, words
from governance.rules.ledger_data import Identity
from governance.rules.tables import CALLS, STRUCTS

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1
Args = Mapping[str, Any]  # a message by the field names in STRUCTS, or a call's arguments
# By message type, the contract that verifies it.
SIGNED_FOR = {
    call.split(" ")[2].removesuffix("Item[]"): call.split(" ")[0] for call in CALLS.values()
} | {"Identity": "PermitRegistry", "Witness": "PermitRegistry"}


class Crypto:
    """Recovers signers for one deployment (EIP-712 with its salt). `load_crypto` passes the
    packages in.
    """

    def __init__(
        self, ledger: Identity, keccak: Any, signature: Any, error: type[Exception]
    ) -> None:
        self._keccak, self._signature, self._error = keccak, signature, error
        layout = (
            b"EIP712Domain(string name,string version,uint256 chainId,"
            b"address verifyingContract,bytes32 salt)"
        )
        domain = (keccak(layout), keccak(b"volens"), keccak(b"1"), ledger.chain_id)
        # By message type: the domain separator of its contract, and the type's hash.
        self._types = {
            kind: (
                keccak(words(*domain, ledger.contracts[contract][0], ledger.salt)),
                keccak(f"{kind}({STRUCTS[kind]})".encode()),
            )
            for kind, contract in SIGNED_FOR.items()
        }

    def signer(self, kind: str, message: Args, signature: bytes) -> bytes:
        """The address that signed, or b"" for nobody: 65 bytes, v 27 or 28, s in the lower half
        (EIP-2).
        """
        if (
            len(signature) != 65
            or signature[64] not in (27, 28)
            or to_int(signature[32:64]) > HALF_ORDER
        ):
            return b""
        domain, body = self._types[kind]
        for inner, name in split_fields(STRUCTS[kind]):
            body += self._keccak(message[name]) if is_dynamic(inner) else words(message[name])
        digest = self._keccak(b"\x19\x01" + domain + self._keccak(body))
        try:
            pair = self._signature(signature[:64] + bytes([signature[64] - 27]))
            return bytes(pair.recover_public_key_from_msg_hash(digest).to_canonical_address())
        except self._error:
            return b""


def load_crypto(identity: Identity) -> Crypto:
    """Signature checks with the packages of eth-account (faster with coincurve and safe-pysha3).
    Raises ImportError without them.
    """
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.crypto import keccak

    hashed: Any = keccak
    with suppress(ImportError):
        from eth_hash.backends.pysha3 import keccak256 as hashed  # ten times faster

    return Crypto(identity, hashed, Signature, BadSignature)
