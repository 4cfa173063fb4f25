"""The files of a ceremony: the plan, what is to be signed, and what was signed; read strictly, shown in plain words.

To sign: {type, step, identity, signers: {name: address}} and for the step "roles" also roles: [{name, account, role,
start, end, replaces, deadline}]; one deadline for all of them. Signed: {type, request, signer, signatures}: the sha256
of the canonical file, an address, and 65 bytes in hex for each message.
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
PEOPLE = 200  # at most in a plan
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
_LAST = 1 << 37  # seconds since 1970 that can still be shown as a date
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CHANGE = {"account", "role", "start", "end", "replaces", "deadline"}
_LONGEST_DELAY = 24 * 365  # hours


@dataclass(frozen=True, slots=True)
class Plan:
    """Who founds, and who gets which role: addresses by name; "here" is a key of the operator's own services.

    role_delay: seconds before a worker or broker acts that comes after the founding.
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
    """A file to sign, checked. `changes` are the role changes of the step "roles", by name and in order."""

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
        """The request of a step: with role changes, or over the identity, which the broker signs as well."""
        signers = plan.founders | ({BROKER: broker} if broker else {})
        step = ROLES_STEP if changes else IDENTITY
        return cls(step, {**identity, "signatures": {}}, signers, tuple(changes))

    @property
    def quorum(self) -> int:
        return int(self.identity["quorum"])

    @classmethod
    def parse(cls, document: Any) -> Request:
        """Raises UsageError for anything but a request whose signers are the founders of its own identity.

        The broker signs an identity and no roles. Each name and each address stands once: what is shown is what it is.
        """
        try:
            identity, signers, step = (
                document["identity"],
                dict(document["signers"]),
                document["step"],
            )
            ledger = parse_identity(identity)
            changes = tuple(_change(one) for one in document.get("roles", []))
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
            whole = (
                {one for name, one in named.items() if name != BROKER} == founders
                and not identity["signatures"]
                and ledger.quorum <= PEOPLE
            )
            found = cls(step, identity, named, changes)
            same = canonical_json(found.document) == canonical_json(document)  # true is no 1 here
            if known and once and together and whole and same:
                return found
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
        """Seconds after which the ledger takes none of it any more; 0 without a limit."""
        return min((change["deadline"] for _, change in self.changes), default=0)

    @property
    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """What is signed, in order: kind and typed message."""
        if self.step == IDENTITY:
            return [("Identity", {"id": identity_id(self.identity)})]
        return [("RoleChange", change) for _, change in self.changes]

    def describe(self) -> list[str]:
        """What a signature under this means, a line each; nothing in it can move a cursor or hide a line."""
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
            f"  a worker or broker that comes later acts after {_hours(self.identity['roleDelay'])}; "
            "until then any founder can stop it",
        ]
        if self.step == IDENTITY:
            places = [
                f"  {item['name']} at {item['address']}" for item in self.identity["contracts"]
            ]
            return ["You sign that this is the ledger that everybody is to pin.", *about, *places]
        roles = [
            f"  {name}, {change['account']}, becomes {Role(change['role']).slug}: {MAY[change['role']]}; "
            f"from {_day(change['start']) or 'now'} on, {_until(change['end'])}"
            for name, change in self.changes
        ]
        return [
            "You sign that these people get these roles:",
            *roles,
            *about,
            f"The signatures can be used until {_day(self.deadline)}.",
        ]

    def signed(self, signer: str, signatures: Sequence[bytes]) -> dict[str, Any]:
        """The file that goes back."""
        proofs = [one.hex() for one in signatures]
        return {"type": SIGNED, "request": self.digest, "signer": signer, "signatures": proofs}

    def check(self, document: Any, path: Path) -> tuple[str, list[bytes]]:
        """Address and signatures of a file that came back. Raises VerificationFailed."""
        try:
            if document["type"] != SIGNED or document["request"] != self.digest:
                raise refused(
                    path,
                    "signs another file than the one that is waited for",
                    "send them the newest file",
                )
            signatures = [bytes.fromhex(one) for one in document["signatures"]]
            domain, messages = domain_of(self.identity), self.messages
            signers = {
                recover(domain, kind, message, one)
                for (kind, message), one in zip(messages, signatures, strict=True)
            }
        except (KeyError, TypeError, ValueError, SignatureMalformed):
            raise refused(
                path, "is not a file of `volens init sign`, or was altered", "ask for it again"
            ) from None
        signer = signers.pop()
        if signers or signer != document.get("signer") or signer not in self.signers.values():
            raise refused(
                path, "is not signed by somebody who was asked", "see who is: volens init"
            )
        return signer, signatures


def parse_plan(document: Any) -> Plan:
    """Raises UsageError, naming whoever's entry is wrong."""
    try:
        founders = {
            checked_name(name): checked_address(who, name)
            for name, who in document["founders"].items()
        }
        roles = {checked_name(one["name"]): _role(one) for one in document["roles"]}
        quorum, floor, broker = document["quorum"], document["smallestCohort"], document["broker"]
        hours = document["roleDelayHours"]
        whole = (
            set(document)
            == {"founders", "quorum", "smallestCohort", "roleDelayHours", "broker", "roles"}
            and len(roles) == len(document["roles"]) <= PEOPLE
            and checked_floor(floor)
            and type(hours) is int
            and 0 <= hours <= _LONGEST_DELAY
            and type(quorum) is int
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        whole = False
    if not whole:
        raise UsageError(
            "the plan has not the form that it needs",
            "compare it with the example: move ceremony/plan.json away, then volens init writes one",
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
            "a name of the plan stands twice, or is the broker's or the relay's",
            "choose another name",
        )
    broker = broker if broker == "here" else checked_address(broker, BROKER)
    named = [*founders.values(), *(who for who, _ in roles.values()), broker]
    if len({one for one in named if one != "here"}) < len([one for one in named if one != "here"]):
        raise UsageError("two people of the plan have the same address", "one account has one role")
    return Plan(founders, quorum, floor, hours * 3600, broker, roles, digest_of(document))


def read_file(path: Path, hint: str = "ask for it again") -> Any:
    """A file's strict JSON. Raises VerificationFailed, naming the file and not what it holds; `hint`: what to do."""
    try:
        if not path.is_file() or path.stat().st_size > LONGEST:
            raise refused(path, "is missing, or larger than such a file can be", hint)
        return strict_json(path.read_bytes(), LONGEST)
    except (Malformed, OSError):
        raise refused(path, "cannot be read", hint) from None


def read_state(path: Path) -> dict[str, Any]:
    """What the operator's machine keeps of a ceremony: {plan, identity, roles, old, given}.

    Raises VerificationFailed.
    """
    hint = (
        "restore ceremony/state.json from a copy: it says which contracts were deployed. Without a copy begin anew "
        "with another VOLENS_HOME"
    )
    found = read_file(path, hint)
    try:
        identity_id(found["identity"])
        whole = (
            isinstance(found["plan"], str)
            and type(found["given"]) is bool
            and isinstance(found["old"], list)
            and all(isinstance(one, str) for one in found["old"])
        )
        if found["roles"] is not None:
            whole = whole and Request.parse(found["roles"]).step == ROLES_STEP
    except (Malformed, UsageError, KeyError, TypeError, ValueError, AttributeError):
        whole = False
    if not whole:
        raise refused(path, "is damaged, or was altered", hint)
    return dict(found)


def proven_signers(identity: Mapping[str, Any]) -> set[bytes]:
    """Who signed a ledger identity, 20 bytes each; signatures that are not theirs are left out. Raises Malformed."""
    pinned, domain, message = (
        parse_identity(identity),
        domain_of(identity),
        {"id": identity_id(identity)},
    )
    found = set()
    for who, signature in pinned.signatures.items():
        with suppress(SignatureMalformed):
            if recover(domain, "Identity", message, signature).lower() == "0x" + who.hex():
                found.add(who)
    return found


def checked_address(text: Any, name: str) -> str:
    """An address with its checksum. Raises UsageError: a mistyped founder could never sign."""
    if not isinstance(text, str) or _ADDRESS.fullmatch(text) is None:
        raise UsageError(
            f"{checked_name(name)} has no address yet",
            "put in what `volens keys show` says for her",
        )
    if text.lower() != text and not is_checksum_address(text):
        raise UsageError(
            f"the address of {checked_name(name)} is mistyped", "copy it from `volens keys show`"
        )
    return str(to_checksum_address(text))


def checked_floor(number: Any) -> int:
    """A smallest cohort as the contract can hold it. Raises ValueError."""
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
        raise ValueError("not a role change of a founding")
    change = {name: entry[name] for name in _CHANGE}
    times = (change["start"], change["deadline"], 0 if change["end"] == FOREVER else change["end"])
    if (
        set(entry) != _CHANGE | {"name"}
        or change["role"] not in ROLES.values()
        or any(type(one) is not int or not 0 <= one < _LAST for one in times)
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
