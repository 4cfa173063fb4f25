"""Committee orders that need several signatures: a file that members pass on and sign.

{type, identity, kind, message, signatures: {address: hex}}: a typed message of kind RoleChange or
VoidRecords as it is sent, and its signatures so far. The member with the quorum's last signature
sends it to the service. The page of roles takes such a file, and gives one of an order begun there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.client.client import Client, unwire, wire
from api.errors import UsageError, VerificationFailed
from api.operate.bootstrap import FOREVER
from api.operate.logs import escape
from chain.errors import SignatureMalformed
from chain.signatures import Domain, recover
from chain.vocabulary import Role
from governance.objects.keys import replace_private
from governance.rules.encoding import Malformed, canonical_json, strict_json

TYPE = "volens/order/1"
KINDS = ("RoleChange", "VoidRecords")
LONGEST = 1 << 16  # bytes of a file
DAYS = 14  # that the members have for signing


@dataclass(frozen=True, slots=True)
class Order:
    """A message that a quorum has to sign; `signatures` by checksummed address, each of them
    checked.
    """

    kind: str
    message: dict[str, Any]
    signatures: dict[str, bytes]

    def signed_by(self, client: Client) -> Order:
        """The order with the caller's signature added."""
        signature = client.sign(self.kind, self.message)
        return Order(self.kind, self.message, {**self.signatures, client.wallet.address: signature})

    def write(self, path: Path, client: Client) -> None:
        signatures = {who: signature.hex() for who, signature in self.signatures.items()}
        message = wire(self.kind, self.message)
        replace_private(path, file_of(client.identity_id.hex(), self.kind, message, signatures))

    def describe(self) -> list[str]:
        """The meaning of a signature, line by line."""
        m = self.message
        until = f"The signatures can be used until {_time(m['deadline'])}."
        if self.kind == "VoidRecords":
            return [
                "You sign that a registration of records is taken back, for good:",
                f"  ingest {m['ingest'].hex()}",
                "  its records exist no more; earlier versions of the same records count again",
                until,
            ]
        ends = m["end"] <= time.time()
        holds = (
            f"  it ends at {_time(m['end'])}"
            if ends
            else f"  from {_time(m['start']) if m['start'] else 'now'} on, "
            f"{'without an end' if m['end'] == FOREVER else 'until ' + _time(m['end'])}"
        )
        lines = [
            f"You sign the {'end' if ends else 'grant'} of a role:",
            f"  account {escape(str(m['account']))}",
            f"  role {Role(m['role']).slug}, change number {m['replaces'] + 1} of this account",
            holds,
        ]
        if not ends and m["role"] in (Role.BROKER, Role.WORKER):
            lines.append("  a new worker or broker acts only after the ledger's delay")
        return [*lines, until]


def file_of(
    identity: str, kind: str, message: Mapping[str, Any], signatures: Mapping[str, str]
) -> bytes:
    """The file of an order, from its message as it is sent, with bytes in hex."""
    document = {
        "type": TYPE,
        "identity": identity,
        "kind": kind,
        "message": dict(message),
        "signatures": dict(signatures),
    }
    return canonical_json(document) + b"\n"


def read_order(path: Path, client: Client) -> Order:
    """Read an order from its file. Raises as `parse_order`."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except OSError:
        raise UsageError("there is no such order", "check the file's name") from None
    return parse_order(data, client.identity_id.hex(), client.domain)


def parse_order(data: bytes, identity: str, domain: Domain) -> Order:
    """The order in a file's bytes. Raises UsageError; VerificationFailed for a wrong signature."""
    try:
        document: Any = strict_json(data, LONGEST)
        kind, signatures = document["kind"], document["signatures"]
        if document["type"] != TYPE or kind not in KINDS or len(document) != 5:
            raise Malformed("another type")
        message = unwire(kind, document["message"])
        if wire(kind, message) != document["message"] or not isinstance(signatures, dict):
            raise Malformed("another message")
        checked = {who: bytes.fromhex(signature) for who, signature in signatures.items()}
    except (Malformed, KeyError, TypeError, ValueError, UsageError):
        raise UsageError(
            "this is not an order of the committee, or it was altered", "ask for the file again"
        ) from None
    if document["identity"] != identity:
        raise UsageError("the order is for another ledger", "ask for one for this ledger")
    for who, signature in checked.items():
        try:
            good = recover(domain, kind, message, signature) == who
        except SignatureMalformed:
            good = False
        if not good:
            raise VerificationFailed(
                f"the signature of {escape(who)} in the order is not theirs", "ask them to sign it"
            )
    return Order(kind, message, checked)


def role_order(
    client: Client, account: str, role: int, now: int, start: int = 0, end: int = FOREVER
) -> Order:
    """An order that changes an account's role, based on its current version; times in seconds."""
    current = role_of(client, account)
    message = {
        "account": account,
        "role": role,
        "start": start,
        "end": end,
        "replaces": current["version"] if current else 0,
        "deadline": now + DAYS * 86_400,
    }
    return Order("RoleChange", message, {})


def void_order(ingest: bytes, now: int) -> Order:
    """An order that voids a registration of records."""
    return Order("VoidRecords", {"ingest": ingest, "deadline": now + DAYS * 86_400}, {})


def role_of(client: Client, account: str) -> Mapping[str, Any] | None:
    """An account's role on the ledger, None if it never had one."""
    return next((entry for entry in client.roles() if entry["account"] == account), None)


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%d %B %Y, %H:%M} UTC"
