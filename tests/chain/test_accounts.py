"""What every process loads to sign and to recover signers, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from eth_keys import keys

from chain.accounts import Account

PARTS = (
    "governance.broker.custody",
    "chain.devnode.gateway",
    "chain.ledger",
    "chain.node",
    "api.app",
    "api.worker.supervisor",
)


@pytest.mark.parametrize("part", PARTS)
def test_no_process_computes_the_pairings_of_bls(part: str) -> None:
    """It took half a second of every start, a command's too."""
    program = f"import sys, {part}; print('eth_account' in sys.modules, *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert loaded[0] == "True"
    assert not [name for name in loaded if name.startswith("py_ecc.optimized")]


@pytest.mark.parametrize("part", PARTS)
def test_deep_json_ends_no_process(part: str) -> None:
    """py_ecc raises the recursion limit, above what the C stack of the parser takes."""
    program = f"import json, sys, {part}\ntry: json.loads('[' * 200_000)\nexcept RecursionError: print('refused')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_using_an_unloaded_module_fails() -> None:
    from py_ecc.bls import G2ProofOfPossession

    with pytest.raises(TypeError):
        G2ProofOfPossession.SkToPk(1)


def test_signing_works_as_with_all_modules_loaded() -> None:
    """RFC 6979: a signature is a function of key and message, so two programs that are not ours
    must agree.
    """
    key, digest = bytes(range(1, 33)), bytes(range(32))
    signed = Account.unsafe_sign_hash(digest, key)
    other = keys.PrivateKey(key).sign_msg_hash(digest)
    assert (signed.r, signed.s) == (other.r, other.s)
    assert (
        Account.from_key(key).address
        == other.recover_public_key_from_msg_hash(digest).to_checksum_address()
    )
