"""Files of the key ceremony (plan, requests to sign, signatures): strict parsing, plain
descriptions.

To sign: {type, step, identity, signers: {name: address}} and for the step "roles" also roles:
[{name, account, role, start, end, replaces, deadline}]; one deadline for all of them. Signed:
{type, request, signer, signatures}: the sha256 of the canonical file, an address, and 65 bytes in
hex for each message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_utils.address import is_checksum_address, to_checksum_address

from api.errors import UsageError, VerificationFailed
from api.operate.bootstrap import FOREVER, RELAY, ROLES
from api.operate.logs import escape
from api.operate.settings import checked_name
from chain.errors import SignatureMalformed
from chain.signatures import domain_of, recover
from chain.vocabulary import Role
from governance.rules.encoding import Malformed, canonical_json, strict_json
from governance.rules.ledger_data import identity_id, parse_identity

ROLES_STEP, IDENTITY, BROKER = "roles", "identity", "broker"
TO_SIGN, SIGNED = "volens/to-sign/2", "volens/signed/1"
LONGEST = 1 << 20  # bytes of a file
PEOPLE = 200  # most people in a plan
MAY = {
    1: "votes on permits and sets roles",
    2: "brings data in",
    3: "enrols patients",
    4: "asks for runs and results",
    5: "sees sealed outputs and lets them out",
    6: "is a clinician",
    7: "may suspend permits",
    8: "reads every refusal",
    9: "lets keys out against receipts",
    10: "computes on opened data",
}
_LAST = 1 << 37  # largest time that can be shown as a date, in seconds since 1970
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CHANGE = {"account", "role", "start", "end", "replaces", "deadline"}
_LONGEST_DELAY = 24 * 365  # hours


@dataclass(frozen=True, slots=True)
class Plan:
    """The founders and who gets which role: addresses by name; "here" is a key of the operator's
    own services.

    role_delay: seconds before a worker or broker that is added later may act.
    """

    founders: dict[str, str]
    quorum: int
    floor: int
    role_delay: int
    broker: str
    roles: dict[str, tuple[str, int]]
    digest: str


@dataclass(frozen=True, slots=True)
class Request:
    """A checked file to sign.

    `changes` are the role changes of the step "roles", by name and in order.
    """

    step: str
    identity: dict[str, Any]
    signers: dict[str, str]
    changes: tuple[tuple[str, dict[str, Any]], ...]

    @classmethod
    def of(
        cls,
        plan: Plan,
        identity: Mapping[str, Any],
        changes: Sequence[tuple[str, dict[str, Any]]] = (),
        broker: str = "",
    ) -> Request:
        """The request of a step: role changes, or the identity, which the broker also signs."""
        signers = plan.founders | ({BROKER: broker} if broker else {})
        step = ROLES_STEP if changes else IDENTITY
        return cls(step, {**identity, "signatures": {}}, signers, tuple(changes))

    @property
    def quorum(self) -> int:
        return int(self.identity["quorum"])

    @classmethod
    def parse(cls, document: Any) -> Request:
        """Parse a request.

        Raises UsageError unless its signers are the founders of its own identity.

        The broker signs an identity but no roles. Each name and each address occurs once, so that
        the description is unambiguous.
        """
        try:
            identity, signers, step = (
                document["identity"],
                dict(document["signers"]),
                document["step"],
            )
            ledger = parse_identity(identity)
            changes = tuple(_change(entry) for entry in document.get("roles", []))
            founders = {to_checksum_address(who) for who in ledger.founders}
            named = {
                checked_name(name): checked_address(address, name)
                for name, address in signers.items()
            }
            known = step in (ROLES_STEP, IDENTITY) and (step == ROLES_STEP) == bool(changes) == (
                BROKER not in named
            )
            names = [*named, *(name for name, _ in changes)]
            accounts = [*named.values(), *(change["account"] for _, change in changes)]
            once = len(set(names)) == len(names) == len(set(accounts))
            together = len({change["deadline"] for _, change in changes}) <= 1
            complete = (
                {entry for name, entry in named.items() if name != BROKER} == founders
                and not identity["signatures"]
                and ledger.quorum <= PEOPLE
            )
            request = cls(step, identity, named, changes)
            # Distinguishes true from 1.
            canonical = canonical_json(request.document) == canonical_json(document)
            if known and once and together and complete and canonical:
                return request
        except (Malformed, UsageError, KeyError, TypeError, ValueError, AttributeError):
            pass
        raise UsageError(
            "this is not a file of `volens init` to sign, or it was altered",
            "ask for the file again",
        )

    @property
    def document(self) -> dict[str, Any]:
        shared = {
            "type": TO_SIGN,
            "step": self.step,
            "identity": self.identity,
            "signers": self.signers,
        }
        roles = [{"name": name, **change} for name, change in self.changes]
        return shared | ({"roles": roles} if roles else {})

    @property
    def digest(self) -> str:
        return digest_of(self.document)

    @property
    def deadline(self) -> int:
        """The time in seconds until which the ledger accepts the signatures; 0 without a limit."""
        return min((change["deadline"] for _, change in self.changes), default=0)

    @property
    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """The messages to sign, in order: kind and typed message."""
        if self.step == IDENTITY:
            return [("Identity", {"id": identity_id(self.identity)})]
        return [("RoleChange", change) for _, change in self.changes]

    def describe(self) -> list[str]:
        """The meaning of a signature, line by line; control characters in it are escaped."""
        return [escape(line) for line in self._meaning()]

    def _meaning(self) -> list[str]:
        founders = [
            f"  founder {name}, {who}" for name, who in self.signers.items() if name != BROKER
        ]
        about = [
            f"The ledger {identity_id(self.identity).hex()}",
            *founders,
            f"  of whom any {self.quorum} decide together",
            f"  smallest cohort {self.identity['cohortFloor']}: no run over fewer people, "
            "whatever a permit says",
            f"  an access to keys lasts {_hours(self.identity['maxLease'])} at most",
            "  a worker or broker that comes later acts after "
            f"{_hours(self.identity['roleDelay'])}; until then any founder can stop it",
        ]
        if self.step == IDENTITY:
            places = [
                f"  {item['name']} at {item['address']}" for item in self.identity["contracts"]
            ]
            return ["You sign that this is the ledger that everybody is to pin.", *about, *places]
        roles = [
            f"  {name}, {change['account']}, becomes {Role(change['role']).slug}: "
            f"{MAY[change['role']]}; from {_day(change['start']) or 'now'} on, {_until(change['end'])}"
            for name, change in self.changes
        ]
        return [
            "You sign that these people get these roles:",
            *roles,
            *about,
            f"The signatures can be used until {_day(self.deadline)}.",
        ]

    def signed(self, signer: str, signatures: Sequence[bytes]) -> dict[str, Any]:
        """The signature file to send back."""
        proofs = [signature.hex() for signature in signatures]
        return {"type": SIGNED, "request": self.digest, "signer": signer, "signatures": proofs}

    def check(self, document: Any, path: Path) -> tuple[str, list[bytes]]:
        """Check a signature file; returns its address and signatures. Raises VerificationFailed."""
        try:
            if document["type"] != SIGNED or document["request"] != self.digest:
                raise refused(
                    path,
                    "signs another file than the requested one",
                    "send them the newest file",
                )
            signatures = [bytes.fromhex(signature) for signature in document["signatures"]]
            domain, messages = domain_of(self.identity), self.messages
            signers = {
                recover(domain, kind, message, signature)
                for (kind, message), signature in zip(messages, signatures, strict=True)
            }
        except (KeyError, TypeError, ValueError, SignatureMalformed):
            raise refused(
                path, "is not a file of `volens init sign`, or was altered", "ask for it again"
            ) from None
        signer = signers.pop()
        if signers or signer != document.get("signer") or signer not in self.signers.values():
            raise refused(
                path,
                "is not signed by one of the requested people",
                "see who they are: volens init",
            )
        return signer, signatures


def parse_plan(document: Any) -> Plan:
    """Parse a plan. Raises UsageError, which names the person with a wrong entry."""
    try:
        founders = {
            checked_name(name): checked_address(who, name)
            for name, who in document["founders"].items()
        }
        roles = {checked_name(entry["name"]): _role(entry) for entry in document["roles"]}
        quorum, floor, broker = document["quorum"], document["smallestCohort"], document["broker"]
        hours = document["roleDelayHours"]
        valid = (
            set(document)
            == {"founders", "quorum", "smallestCohort", "roleDelayHours", "broker", "roles"}
            and len(roles) == len(document["roles"]) <= PEOPLE
            and checked_floor(floor)
            and type(hours) is int
            and 0 <= hours <= _LONGEST_DELAY
            and type(quorum) is int
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        valid = False
    if not valid:
        raise UsageError(
            "the plan does not have the required form",
            "move ceremony/plan.json away, then volens init writes an example to compare it with",
        )
    if (
        len(set(founders.values())) < 3
        or len(set(founders.values())) < len(founders)
        or not 2 <= quorum <= len(founders)
    ):
        raise UsageError(
            "a committee has three founders or more and a quorum of two or more", "correct the plan"
        )
    if {BROKER, RELAY} & (founders.keys() | roles.keys()) or founders.keys() & roles.keys():
        raise UsageError(
            "a name occurs twice in the plan, or is the broker's or the relay's",
            "choose another name",
        )
    broker = broker if broker == "here" else checked_address(broker, BROKER)
    named = [*founders.values(), *(who for who, _ in roles.values()), broker]
    elsewhere = [address for address in named if address != "here"]
    if len(set(elsewhere)) < len(elsewhere):
        raise UsageError("two people of the plan have the same address", "one account has one role")
    return Plan(founders, quorum, floor, hours * 3600, broker, roles, digest_of(document))


def read_file(path: Path, hint: str = "ask for it again") -> Any:
    """Read strict JSON.

    Raises VerificationFailed, which names the file but not its content; `hint`: what to do.
    """
    try:
        if not path.is_file() or path.stat().st_size > LONGEST:
            raise refused(path, "is missing, or larger than such a file can be", hint)
        return strict_json(path.read_bytes(), LONGEST)
    except (Malformed, OSError):
        raise refused(path, "cannot be read", hint) from None


def read_state(path: Path) -> dict[str, Any]:
    """Read the operator's state of a ceremony: {plan, identity, roles, old, given}.

    Raises VerificationFailed.
    """
    hint = (
        "restore ceremony/state.json from a copy: it says which contracts were deployed. "
        "Without a copy begin anew with another VOLENS_HOME"
    )
    state = read_file(path, hint)
    try:
        identity_id(state["identity"])
        valid = (
            isinstance(state["plan"], str)
            and type(state["given"]) is bool
            and isinstance(state["old"], list)
            and all(isinstance(digest, str) for digest in state["old"])
        )
        if state["roles"] is not None:
            valid = valid and Request.parse(state["roles"]).step == ROLES_STEP
    except (Malformed, UsageError, KeyError, TypeError, ValueError, AttributeError):
        valid = False
    if not valid:
        raise refused(path, "is damaged, or was altered", hint)
    return dict(state)


def proven_signers(identity: Mapping[str, Any]) -> set[bytes]:
    """The proven signers of a ledger identity, 20 bytes each; invalid signatures are left out.

    Raises Malformed.
    """
    pinned, domain, message = (
        parse_identity(identity),
        domain_of(identity),
        {"id": identity_id(identity)},
    )
    signers = set()
    for who, signature in pinned.signatures.items():
        with suppress(SignatureMalformed):
            if recover(domain, "Identity", message, signature).lower() == "0x" + who.hex():
                signers.add(who)
    return signers


def checked_address(text: Any, name: str) -> str:
    """An address with its checksum.

    Raises UsageError for a mistyped one, with which a founder could never sign.
    """
    if not isinstance(text, str) or _ADDRESS.fullmatch(text) is None:
        raise UsageError(
            f"{checked_name(name)} has no address yet",
            "insert the address that `volens keys show` prints",
        )
    if text.lower() != text and not is_checksum_address(text):
        raise UsageError(
            f"the address of {checked_name(name)} is mistyped", "copy it from `volens keys show`"
        )
    return str(to_checksum_address(text))


def checked_floor(number: Any) -> int:
    """A smallest cohort that fits the contract's type. Raises ValueError."""
    if type(number) is not int or not 1 <= number < 1 << 32:
        raise ValueError("not a smallest cohort")
    return number


def digest_of(document: Any) -> str:
    return sha256(canonical_json(document)).hexdigest()


def refused(path: Path, what: str, hint: str) -> VerificationFailed:
    return VerificationFailed(f"{escape(path.name)} {what}", hint)


def _role(entry: Mapping[str, Any]) -> tuple[str, int]:
    name, role = entry["name"], ROLES.get(entry["role"], 0)
    if role in (0, Role.BROKER):
        raise UsageError(
            f"{checked_name(name)} has a role that cannot be given here",
            "choose: " + ", ".join(ROLES),
        )
    if entry["address"] == "here":
        if (name, entry["role"]) != ("worker", "worker"):
            raise UsageError(
                f"the key of {checked_name(name)} must not be made here",
                "only the operator's own worker has its key on this machine",
            )
        return "here", role
    return checked_address(entry["address"], name), role


def _change(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if type(entry["role"]) is not int or type(entry["replaces"]) is not int or entry["replaces"]:
        raise ValueError("not a role change of a bootstrap")
    change = {name: entry[name] for name in _CHANGE}
    times = (change["start"], change["deadline"], 0 if change["end"] == FOREVER else change["end"])
    if (
        set(entry) != _CHANGE | {"name"}
        or change["role"] not in ROLES.values()
        or any(type(time) is not int or not 0 <= time < _LAST for time in times)
    ):
        raise ValueError("not a role change")
    if (entry["name"] == BROKER) != (change["role"] == Role.BROKER) or change["start"] > change[
        "end"
    ]:
        raise ValueError("not a role change")
    name = checked_name(entry["name"])
    change["account"] = checked_address(change["account"], name)
    return name, change


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%d %B %Y, %H:%M} UTC" if seconds else ""


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:g} hours"


def _until(end: int) -> str:
    return "without an end" if end == FOREVER else f"until {_day(end)}"
