"""Test vectors for docs/ledger.md: the encodings of fixed, invented values by this program.

Authors of other clients or verifiers compare with them. The tests compute each again without this
program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from chain.signatures import Domain, address_of, contract_of, sign, typed_data
from governance.objects.envelope import (
    Label,
    disclosure_commitment,
    key_commitment,
    list_root,
    output_commitment,
    record_id,
    record_leaf,
)
from governance.rules.encoding import canonical, canonical_json, words
from governance.rules.ledger_data import CONTRACTS, identity_id, origin_of, parse_identity
from governance.rules.state import Consent, slot_of

ACCOUNT = bytes(range(1, 21))
KEY = bytes([7]) * 32  # a public signing key: for vectors only
DOMAIN = Domain(
    31337,
    bytes([0xAB]) * 32,
    {name: f"0x{at:040x}" for at, name in enumerate(CONTRACTS, 1)},
)
IDENTITY: dict[str, Any] = {
    "type": "volens/identity/3",
    "chainId": DOMAIN.chain_id,
    "genesisHash": "0x" + "11" * 32,
    "deployBlock": 5,
    "salt": DOMAIN.salt.hex(),
    "quorum": 2,
    "cohortFloor": 10,
    "maxLease": 86_400,
    "roleDelay": 172_800,
    "founders": [f"0x{at:040x}" for at in (7, 8, 9)],
    "signatures": {},
    "contracts": [
        {"name": name, "address": address, "codeHash": f"{at:064x}"}
        for at, (name, address) in enumerate(DOMAIN.contracts.items(), 1)
    ],
}
CONSENT = Consent(1, 2, 3, 20_000, 20_730, 0b1000100, 0b11)


def filled(byte: int) -> bytes:
    """32 times the same byte: an id in a vector."""
    return bytes([byte]) * 32


def message_of(kind: str) -> dict[str, Any]:
    """A message of one type: field n (from 1) is the number n, n in each byte, true, or the text
    `n`.
    """
    made: dict[str, Callable[[int], Any]] = {
        "address": lambda n: f"0x{n:040x}",
        "bytes32": filled,
        "bytes": lambda n: bytes([n]) * 20,
        "bool": lambda n: True,
        "string": str,
    }
    fields = typed_data()["types"][kind]
    return {
        name: made[type_](at) if type_ in made else at for at, (name, type_) in enumerate(fields, 1)
    }


def encodings() -> Mapping[str, bytes]:
    """Each described value and its bytes, for the table."""
    label = Label(filled(1), filled(2), filled(3), filled(4), 16, 1)
    leaf = record_leaf(filled(5), label, filled(6), filled(7))
    body = words(filled(3), filled(4), 2)
    origin = origin_of(parse_identity(IDENTITY))
    call = sha256(b"{}").digest()
    head = words(origin, ACCOUNT, 18, 77, 1_700_000_000, call, sha256(body).digest())
    identity = identity_id(IDENTITY)
    return {
        "`words(1, A, 0xaabbccdd, [2])`": words(1, ACCOUNT, bytes.fromhex("aabbccdd"), filled(2)),
        "body of kind 18: `words([3], [4], 2)`, hashed": sha256(body).digest(),
        "the head before the first step, of the identity below": origin,
        "the first head: `sha256(words(that, A, 18, 77, 1700000000, sha256({}), the body))`": sha256(
            head
        ).digest(),
        "slot: status 1, epoch 2, version 3, days 20000 to 20730, purposes 0x44, categories 0x3": words(
            slot_of(CONSENT)
        ),
        "`attemptEpochVersion` of attempt 5 under it": words(
            5 << 56 | (slot_of(CONSENT) >> 192) & (1 << 56) - 1
        ),
        "run: `sha256(words(A, 9))`": sha256(words(ACCOUNT, 9)).digest(),
        '`canonical("t", "é", 258, [1])`': canonical(b"t", "e\u0301", 258, filled(1)),
        '`canonical_json({"b": [1, true], "a": "é"})`': canonical_json({"b": [1, True], "a": "é"}),
        "the identity below": identity,
        "record: dataset [4], subject [3], category 16, ordinal 0": record_id(
            filled(4), filled(3), 16, 0
        ),
        "leaf, hashed: ingest [5], record [2], subject [3], dataset [4], "
        "category 16, version 1, object [6], key [7]": sha256(leaf).digest(),
        "root of that leaf alone": list_root([leaf]),
        "key commitment of key [8]": key_commitment(filled(8)),
        "output: run [1], attempt 1, result `{}`, salt [9]": output_commitment(
            filled(1), 1, b"{}", filled(9)
        ),
        "disclosure: run [1], attempt 1, record `{}`, salt [9]": disclosure_commitment(
            filled(1), 1, b"{}", filled(9)
        ),
    }


def signatures() -> Mapping[str, bytes]:
    """The signature over each type of message by the public key (RFC 6979: always the same)."""
    return {kind: sign(KEY, DOMAIN, kind, message_of(kind)) for kind in typed_data()["types"]}


def write() -> list[str]:
    """The lines of the section."""
    lines = [
        "## Vectors",
        "",
        "`[n]` is the byte n 32 times, `A` the account 0x0102…14, texts are UTF-8 in NFC. `canonical(tag, …)` writes",
        "each part after its length in 4 bytes, numbers in 8 bytes; the parts of records, leaves and outputs stand in",
        "`governance/objects/envelope.py`.",
        "",
        "| value | bytes |",
        "|---|---|",
        *(f"| {what} | `{value.hex()}` |" for what, value in encodings().items()),
        "",
        "The identity: chain id 31337, genesis [0x11], block 5, salt [0xab], quorum 2, cohort floor 10, longest",
        "lease 86400, role delay 172800, founders 0x…07 to 0x…09; Trail, PermitRegistry, ConsentRegistry,",
        "AccessLedger and CareLedger at 0x…01 to 0x…05, their code hashes the words 1 to 5.",
        "",
        f"Signed by the key [7] (`{address_of(KEY)}`) under that chain id, salt and those",
        "addresses. A message's field n, from 1, is the number n (an address too), `[n]`, for `bytes` the byte n",
        "20 times, true, or the text of n:",
        "",
        "| message | for | signature |",
        "|---|---|---|",
        *(
            f"| `{kind}` | {contract_of(kind)} | `{value.hex()}` |"
            for kind, value in signatures().items()
        ),
    ]
    return lines
