"""Key ceremony: bootstrap a real deployment with files that people sign on their own machines.

1. A plan names the founders (addresses only), the quorum, and who gets which role. Keys never leave
   their machines.
2. `advance` does the steps in order: deploy, roles, identity. If signatures are missing, it writes
   the file that the people have to sign, and names them; called again, it collects the signed files
   and continues.
3. A signature file is for one request: a file for another deployment, for an earlier request, or an
   altered file is refused before anything is done. Finished steps are kept: each is on disk before
   the next begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.errors import ApiError, UsageError, VerificationFailed
from api.operate.bootstrap import (
    RELAY,
    connect,
    deploy_contracts,
    finish,
    has_demo_accounts,
    key_of,
    read_identity,
    relay_role,
    role_change,
)
from api.operate.ceremony_files import (
    BROKER,
    IDENTITY,
    Plan,
    Request,
    parse_plan,
    proven_signers,
    read_file,
    read_state,
    refused,
)
from chain.ledger import Ledger
from chain.transactor import Outbox
from chain.vocabulary import Role
from governance.broker.custody import create, endorse
from governance.objects.keys import replace_private
from governance.rules.encoding import Malformed, canonical_json
from governance.rules.ledger_data import identity_id, parse_identity

DAYS = 14  # that people have for signing the roles
DONE = "done"
EXAMPLE = {
    "founders": {"pia": "0x...", "quinn": "0x...", "rui": "0x..."},
    "quorum": 2,
    "smallestCohort": 10,
    "roleDelayHours": 48,
    "broker": "here",
    "roles": [
        {"name": "rita", "role": "registrar", "address": "0x..."},
        {"name": "omar", "role": "custodian", "address": "0x..."},
        {"name": "noor", "role": "analyst", "address": "0x..."},
        {"name": "sol", "role": "checker", "address": "0x..."},
        {"name": "tess", "role": "checker", "address": "0x..."},
        {"name": "vera", "role": "auditor", "address": "0x..."},
        {"name": "worker", "role": "worker", "address": "here"},
    ],
}


@dataclass(frozen=True, slots=True)
class CeremonyProgress:
    """The ceremony's progress: the step, who signed, who has not, the number of missing founders'
    signatures, the file.

    `renewed`: the file replaces an expired one.
    """

    step: str
    signed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    lacking: int = 0
    file: str = ""
    renewed: bool = False


@dataclass(slots=True)
class Ceremony:
    """The ceremony of a home folder, which keeps its files in ceremony/."""

    home: Path
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.home / "ceremony"

    def prepare(self) -> Plan:
        """Read the plan and the state of earlier steps.

        Raises UsageError if the plan is missing, changed or wrong.
        """
        path = self.folder / "plan.json"
        if not path.exists():
            for folder in (self.home, self.folder, self.folder / "signed"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_private(path, (json.dumps(EXAMPLE, indent=1) + "\n").encode())
            raise UsageError(
                "there was no plan yet; an example is now in ceremony/plan.json of the home folder",
                "put in everybody's address (each: volens keys new NAME, then volens keys show "
                "NAME), then volens init again",
            )
        plan = parse_plan(
            read_file(
                path, "restore it from a copy, or move it away: volens init writes an example"
            )
        )
        if (self.folder / "state.json").exists():
            self.state = read_state(self.folder / "state.json")
            if self.state["plan"] != plan.digest:
                raise UsageError(
                    "the plan was changed after the contracts were deployed",
                    "restore ceremony/plan.json; later changes are made by the committee",
                )
        return plan

    def finished(self) -> CeremonyProgress:
        """Check a finished ceremony, whose identity.json is in this home.

        Raises VerificationFailed unless the identity is this ceremony's, signed by a quorum of
        founders and its broker.
        """
        try:
            identity = read_identity(self.home)
            pinned = parse_identity(identity)
        except (ApiError, Malformed, OSError):
            raise _not_complete("it cannot be read, or is no ledger identity") from None
        if has_demo_accounts(self.home) and not (self.folder / "state.json").exists():
            raise UsageError(
                "this home has demo accounts: `volens serve` made its committee, all keys are here",
                "choose another VOLENS_HOME for a deployment of several people",
            )
        brokers = None
        if (self.folder / "state.json").exists():
            state = read_state(self.folder / "state.json")
            if identity_id(identity) != identity_id(state["identity"]):
                raise _not_complete(
                    "it is of another ledger than the one deployed here (ceremony/state.json)"
                )
            if not state["given"] or state["roles"] is None:
                raise _not_complete("the roles of this ceremony were not given yet")
            roles = Request.parse(state["roles"]).changes
            brokers = {
                bytes.fromhex(change["account"][2:]) for name, change in roles if name == BROKER
            }
        elif self.folder.exists():
            raise _not_complete("nothing was deployed here yet, so it is of another ledger")
        good = proven_signers(identity or {})
        founders, others = good & set(pinned.founders), good - set(pinned.founders)
        if len(founders) < pinned.quorum or len(good) < len(pinned.signatures):
            raise _not_complete(
                f"{len(founders)} of {pinned.quorum} founders' signatures over it are good, and "
                f"{len(pinned.signatures) - len(good)} are not"
            )
        if not others or (brokers is not None and others != brokers):
            raise _not_complete("its broker did not sign it, or somebody else did")
        return CeremonyProgress(DONE)

    def advance(self, plan: Plan, chain_url: str, outbox: Outbox) -> CeremonyProgress:
        """Do all steps for which there are signatures.

        Raises VerificationFailed for a bad signature file, before anything is done; ChainError,
        LedgerDown, Refused.
        """
        if read_identity(self.home) is not None:
            return self.finished()
        people = self._people(plan)
        if not self.state:
            identity = deploy_contracts(
                self.home,
                chain_url,
                outbox,
                list(plan.founders.values()),
                plan.quorum,
                plan.floor,
                plan.role_delay,
            )
            self._keep(plan=plan.digest, identity=identity, roles=None, old=[], given=False)
        waits = (
            None
            if self.state["given"]
            else self._give_roles(
                plan, people, connect(self.home, chain_url, outbox, self.state["identity"])
            )
        )
        return waits or self._sign_identity(plan, people[BROKER][0])

    def _people(self, plan: Plan) -> dict[str, tuple[str, int]]:
        """Address and role by name; makes the keys of this machine's services."""
        key_of(self.home, RELAY)
        people = {
            name: (key_of(self.home, name).address if who == "here" else who, role)
            for name, (who, role) in plan.roles.items()
        }
        return people | {
            BROKER: (
                create(self.home / BROKER) if plan.broker == "here" else plan.broker,
                Role.BROKER,
            )
        }

    def _give_roles(
        self, plan: Plan, people: Mapping[str, tuple[str, int]], ledger: Ledger
    ) -> CeremonyProgress | None:
        """Set the roles that a quorum signed; None once all of them are on the ledger."""
        renewed = False
        if self.state["roles"] is not None:
            before = Request.parse(self.state["roles"])
            renewed = ledger.now() > before.deadline
            if renewed:
                self._keep(roles=None, old=[*self.state["old"], before.digest])
        if self.state["roles"] is None:
            deadline = ledger.now() + DAYS * 86_400
            changes = [
                (name, role_change(who, role, deadline)) for name, (who, role) in people.items()
            ]
            self._keep(roles=Request.of(plan, self.state["identity"], changes).document)
        request = Request.parse(self.state["roles"])
        signed = self._collect(request)
        if len(signed) < plan.quorum:
            return self._wait(request, signed, renewed)
        for number, (_, change) in enumerate(request.changes):
            current_role = ledger.read("PermitRegistry", "roleOf", change["account"])[0]
            if current_role != change["role"]:  # equal if this step was interrupted after it
                relay_role(
                    ledger, change, {who: signatures[number] for who, signatures in signed.items()}
                )
        self._keep(given=True)
        return None

    def _sign_identity(self, plan: Plan, broker: str) -> CeremonyProgress:
        """Write identity.json once a quorum and the broker signed it."""
        identity = self.state["identity"]
        request = Request.of(plan, identity, broker=broker)
        signed = self._collect(request)
        if plan.broker == "here":
            signed[broker] = [endorse(self.home / BROKER, identity)]
        if len(signed.keys() - {broker}) < plan.quorum or broker not in signed:
            return self._wait(request, signed, False)
        finish(
            self.home,
            dict(identity),
            {who: signatures[0].hex() for who, signatures in signed.items()},
        )
        return CeremonyProgress(DONE)

    def _collect(self, request: Request) -> dict[str, list[bytes]]:
        """Signatures by address, from all files of ceremony/signed.

        Raises VerificationFailed at the first bad one.
        """
        over = set(self.state["old"])
        done = (
            {Request.parse(self.state["roles"]).digest} | over
            if request.step == IDENTITY
            else set()
        )
        signatures: dict[str, list[bytes]] = {}
        for path in sorted((self.folder / "signed").glob("*.json")):
            document = read_file(path)
            named = str(document.get("request")) if isinstance(document, dict) else ""
            if named in done:
                continue  # a file of the previous step, which is finished
            if named in over:
                raise refused(
                    path,
                    "signs an earlier file, which has expired",
                    "remove it, and send them ceremony/roles-to-sign.json",
                )
            address, signatures_here = request.check(document, path)
            signatures[address] = signatures_here
        return signatures

    def _wait(self, request: Request, signed: Mapping[str, Any], renewed: bool) -> CeremonyProgress:
        path = self.folder / f"{request.step}-to-sign.json"
        replace_private(path, canonical_json(request.document) + b"\n")
        missing = tuple(name for name, address in request.signers.items() if address not in signed)
        have = tuple(name for name in request.signers if name not in missing)
        lacking = max(0, request.quorum - len([name for name in have if name != BROKER]))
        return CeremonyProgress(request.step, have, missing, lacking, path.name, renewed)

    def _keep(self, **change: Any) -> None:
        """Change the state and write it to disk before the next step begins."""
        state = self.state | change
        replace_private(self.folder / "state.json", json.dumps(state).encode())
        self.state = state


def _not_complete(why: str) -> VerificationFailed:
    return VerificationFailed(
        f"identity.json in the home folder does not finish a ceremony: {why}",
        "restore it from somebody who pinned it, or remove it; then: volens init",
    )
