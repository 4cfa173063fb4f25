"""The scene `care`: plans for invented patients, under their own consent, each as one recorded access.

Ada is not eligible for olaparib now, Bea is; Bea with one thing different each is not, and the plan
says why. A clinician who is not hers, and everybody after she withdrew, gets nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from analytics.code import code_hash, params_schema_hash
from analytics.params import complete
from analytics.readers.fhir import split_bundle
from api.client.plans import (
    OpenedPlan,
    appointment,
    open_as_clinician,
    open_as_patient,
    open_sealed,
    request_plan,
    sign_plan,
)
from api.demo.care_people import VARIANTS, ada, bea
from api.demo.cast import Cast, Patient
from api.demo.steps import document
from api.errors import NotServing, NotThere, RefusedByPolicy
from api.ingest.sources import bring_in
from api.operate.processes import Parts
from api.operate.settings import Settings
from chain.vocabulary import Category, OutputClass, Purpose, Role
from chain.wallets import Wallet, save
from governance.consent import PRESETS
from governance.errors import BrokerRefused
from governance.objects.ingest import Source
from governance.objects.vault import Bucket

PARAMS = complete({"analysis": "plan"})
OLAPARIB = "olaparib-breast-cancer"
BEAS_DOSE = "200 mg, 2 times a day"
NO_SENSITIVE = "sensitive records left out"
CLINICIANS = ("cleo", "nora")
SECONDS = 60.0
Say = Callable[[str], None]


class Care:
    """The patients of the scene, and what their clinician does."""

    def __init__(
        self, cast: Cast, today: date, names: Collection[str] = (), first: int = 0
    ) -> None:
        """names: of the patients, all by default. first: the number of the first in the cast."""
        self.cast, self._first = cast, first
        built = {"Ada": ada, "Bea": bea, **VARIANTS, NO_SENSITIVE: bea}
        self.bundles = {
            name: build(today) for name, build in built.items() if not names or name in names
        }
        self.people: dict[str, Patient] = {}
        self.permit = b""
        self.plans: dict[str, str] = {}
        self.opened: dict[str, OpenedPlan] = {}

    def prepare(self) -> None:
        """Patients, their records, their consents and appointments, and a permit for care."""
        cast = self.cast
        cast.enrol(len(self.bundles), 0, self._first)
        self.people = dict(zip(self.bundles, cast.patients, strict=True))
        omar, text = cast.client("omar"), document("care")
        omar.register_dataset(cast.dataset, sha256(text).digest())
        omar.send_document(text)
        sources = []
        for name, person in self.people.items():
            data = json.dumps(self.bundles[name]).encode()
            records = split_bundle(data, person.subject.hex()).records
            sources += [Source(person.subject, kind, payload) for kind, payload in records.items()]
        bring_in(
            omar, cast.broker(), Bucket("volens", cast.parts.urls["bucket"]), cast.dataset, sources
        )
        for name in CLINICIANS:
            save(Wallet.new(), cast.home / "keys" / f"{name}.json", {})
            cast.give_role(name, Role.CLINICIAN)
        self.permit = self._approved("cleo")
        careful = [person for name, person in self.people.items() if name != NO_SENSITIVE]
        cast.agree(cast.dataset, careful, PRESETS["care-all"])
        if NO_SENSITIVE in self.people:
            cast.agree(cast.dataset, [self.people[NO_SENSITIVE]], PRESETS["care"])
        for name in self.people:
            self.appoint(name)

    def appoint(self, name: str) -> None:
        """She appoints Cleo for a year, and wants to open the plans."""
        client, cleo = self.client(name), self.cast.client("cleo").wallet.address
        until = int(time.time()) // 86_400 + 365
        message, salt = appointment(client, self.cast.dataset, cleo, until, True)
        client.appoint(message, cleo, salt)

    def client(self, name: str) -> Any:
        number = self.people[name].number
        return self.cast.client("ada" if number == 0 else f"person-{number:03d}")

    def ask(self, name: str) -> str:
        """Cleo asks for a plan of her; its id."""
        subject = self.people[name].subject.hex()
        answer = request_plan(self.cast.client("cleo"), self.permit.hex(), subject, PARAMS)
        return str(answer["run"])

    def draw(self) -> None:
        """A plan for each patient, opened by Cleo."""
        self.plans = {name: self.ask(name) for name in self.people}
        for name, run in self.plans.items():
            self._await(run)
            self.opened[name] = self.open(run)

    def open(self, run: str) -> OpenedPlan:
        cleo = self.cast.client("cleo")
        return open_as_clinician(cleo, self.cast.broker(), run, self._key("cleo", run))

    def countersign(self, name: str) -> OpenedPlan:
        """Cleo countersigns with a decision on each item, and then she opens her plan."""
        cleo, broker, run = self.cast.client("cleo"), self.cast.broker(), self.plans[name]
        plan = self.opened[name].plan
        items = {
            option["rule"]: {"decision": "accept", "note": "to be talked about at the next visit"}
            for option in [*plan["options"], *plan["lifestyle"]]
        }
        sealed = open_sealed(cleo, broker, cleo.plan(run), self._key("cleo", run))
        sign_plan(cleo, run, sealed, items, "")
        mine = self.client(name)
        return open_as_patient(mine, broker, run, self._key(name.lower(), run))

    def as_somebody_else(self, name: str) -> str:
        """The answer to a clinician who is not hers, under a care permit of her own."""
        nora = self.cast.client("nora")
        message = {
            "permit": self._approved("nora"),
            "subject": self.people[name].subject,
            "salt": secrets.token_bytes(32),
            "paramsHash": sha256(PARAMS).digest(),
            "nonce": secrets.randbits(256),
            "deadline": int(time.time()) + 3600,
        }
        try:
            nora.request_plan(message, PARAMS)
        except RefusedByPolicy as refusal:
            return f"REFUSED {refusal.reason}"
        return "ACCEPTED"

    def after_withdrawal(self, name: str) -> tuple[str, str, str]:
        """She withdraws: the answers to Cleo's next request, to his look, and to her own opening."""
        self.client(name).revoke(self.cast.dataset, 0)
        mine, run = self.client(name), self.plans[name]
        return (
            _refusal(lambda: self.ask(name)),
            _refusal(lambda: self.open(run)),
            _refusal(
                lambda: open_as_patient(mine, self.cast.broker(), run, self._key("again", run))
            ),
        )

    def result(self) -> dict[str, Any]:
        """For the report: plans, options with a dose, refusals of olaparib by reason, and keys
        against recorded accesses.
        """
        doses = [
            option["dose"]
            for opened in self.opened.values()
            for option in opened.plan["options"]
            if "dose" in option
        ]
        reasons = Counter(
            reason for opened in self.opened.values() for reason in why_refused(opened.plan)
        )
        runs = {f"{run}:1" for run in self.plans.values()}
        keys, logged = self.cast.keys(), self.cast.logged()
        return {
            "plans": len(self.opened),
            "options": len(doses),
            "refused": sum(1 for opened in self.opened.values() if why_refused(opened.plan)),
            "by_reason": dict(sorted(reasons.items())),
            "keys": sum(len(keys.get(run, ())) for run in runs),
            "accesses": sum(len(logged.get(run, ())) for run in runs),
        }

    def _approved(self, name: str) -> bytes:
        """A care permit of this clinician, with two votes."""
        clinician, permit, text = self.cast.client(name), secrets.token_bytes(32), "plan-care"
        clinician.request_permit(
            {
                "permit": permit,
                "dataset": self.cast.dataset,
                "purposeNeed": 1 << Purpose.CARE,
                "categories": sum(1 << category for category in Category),
                "codeHash": code_hash(),
                "paramsSchemaHash": params_schema_hash(),
                "minCohort": 1,
                "outputClasses": 1 << OutputClass.INDIVIDUAL,
                "questions": 1,
                "expiry": int(time.time()) + 30 * 86_400,
                "documentHash": sha256(document(text)).digest(),
            }
        )
        clinician.send_document(document(text))
        for member in ("pia", "quinn"):
            self.cast.client(member).vote(permit.hex(), True)
        return permit

    def _await(self, run: str) -> None:
        deadline, cleo = time.monotonic() + SECONDS, self.cast.client("cleo")
        while (state := cleo.plan(run)["state"]) != "sealed":
            if time.monotonic() > deadline or state in ("failed", "refused"):
                raise NotServing(
                    f"a plan did not get further than {state}", "read the files under logs"
                )
            time.sleep(0.05)

    def _key(self, name: str, run: str) -> Path:
        return self.cast.home / "keys" / f"{name}-{run}.plan.key"


def why_refused(plan: dict[str, Any]) -> list[str]:
    """Why olaparib is no option in a plan; empty if it is."""
    refused = [refusal for refusal in plan["refused"] if refusal["rule"] == OLAPARIB]
    return [
        reason
        for refusal in refused
        for reason in (
            refusal["reasons"]
            or [f"{fact['label']}: {fact['reason']}" for fact in refusal["missing"]]
        )
    ]


def dose_of(plan: dict[str, Any]) -> str:
    """The dose of olaparib in a plan, "" where it is no option."""
    doses = [option["dose"] for option in plan["options"] if option["rule"] == OLAPARIB]
    return f"{doses[0]['mg']} mg, {doses[0]['times_a_day']} times a day" if doses else ""


def summary_of(name: str, plan: dict[str, Any]) -> dict[str, str]:
    """A plan for the report: {name, dose, why}."""
    options = [option for option in plan["options"] if option["rule"] == OLAPARIB]
    basis = [
        gate["label"] for option in options for gate in option["gates"] if gate["value"] == "yes"
    ]
    clearance = [value for option in options for value in option["computed"].values()]
    why = f"clearance {', '.join(clearance)}; {', '.join(basis)}" if options else ""
    return {"name": name, "dose": dose_of(plan), "why": why or " ".join(why_refused(plan))}


def play(folder: Path, say: Say) -> bool:
    """Play the scene; whether everything was as expected. Raises NotServing."""
    settings = Settings(home=folder / "home", chain_url="", bucket_url="", database_url="")
    parts = Parts.start(settings)
    try:
        care = Care(Cast(settings.home, parts), datetime.now(UTC).date())
        care.prepare()
        say(
            f"   {len(care.people)} invented patients appoint Cleo; the committee approves the rules"
        )
        care.draw()
        for name, opened in care.opened.items():
            dose, reasons = dose_of(opened.plan), why_refused(opened.plan)
            say(f"   {name}: {f'olaparib, {dose}' if dose else 'no olaparib now'}")
            for reason in reasons:
                say(f"     {reason}")
        other = care.as_somebody_else("Bea")
        say(f"   a clinician who is not hers asks for Bea's plan: {other}")
        same = care.countersign("Bea").plan == care.opened["Bea"].plan
        say(f"   Cleo countersigns, and Bea opens the {'same' if same else 'OTHER'} plan")
        ended = care.after_withdrawal("Bea")
        say(f"   Bea withdraws: a new request {ended[0]}; his look {ended[1]}; hers {ended[2]}")
        drawn = care.result()
        say(
            f"   {drawn['plans']} plans, {drawn['options']} with a dose; keys for "
            f"{drawn['keys']} people, {drawn['accesses']} accesses on the ledger"
        )
    finally:
        parts.stop()
    doses = {name: dose_of(opened.plan) for name, opened in care.opened.items()}
    return (
        {name for name, dose in doses.items() if dose} == {"Bea"}
        and doses["Bea"] == BEAS_DOSE
        and all(why_refused(care.opened[name].plan) for name in doses if name != "Bea")
        and other == "REFUSED NotAppointed"
        and same
        and all(answer.startswith("REFUSED") for answer in ended)
        and drawn["keys"] == drawn["accesses"] == drawn["plans"]
    )


def _refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except NotThere:
        return "REFUSED not-appointed"
    except RefusedByPolicy as refusal:
        return f"REFUSED {refusal.reason}"
    except BrokerRefused as refusal:
        return f"REFUSED {refusal.reason.slug}"
    return "ACCEPTED"
