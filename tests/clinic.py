"""A clinician, and a patient of his with records by which a dose is proposed, on a served home."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from charts import TODAY, bea, medicine
from fhir_files import bundle
from genomic_files import ABSENT, DPYD, variant

from analytics.code import code_hash, params_schema_hash
from analytics.params import complete
from analytics.readers.fhir import split_bundle
from api.client.client import wire
from api.client.orders import role_order
from api.client.plans import (
    appointment,
    open_as_clinician,
    open_sealed,
    request_plan,
    sign_plan,
)
from chain.vocabulary import Category, OutputClass, Purpose, Role
from chain.wallets import Wallet, save
from governance.consent import PRESETS, offer
from governance.objects.ingest import Source, encrypt, store_leaves
from governance.objects.leaves import leaves_root
from governance.objects.vault import Bucket
from governance.rules.vocabulary import PERMIT_QUESTIONS

DOCUMENT = "# Plans of my patients\n\nI discuss options with those who appointed me.\n"
DAY = 86_400
# She breaks fluorouracil, which is on her list, down more slowly: CPIC starts with half the dose.
SLOWER = [
    medicine("L01BC02"),
    *(
        variant(name, DPYD, f"NM_000110.4:{change}", *absent)
        for name, change, *absent in (
            ("v1", "c.1905+1G>A"),
            ("v2", "c.1679T>G", ABSENT),
            ("v3", "c.2846A>T", ABSENT),
            ("v4", "c.1129-5923C>G", ABSENT),
        )
    ),
]


class Clinic:
    """Cleo, who is a clinician with an approved permit, and Bea, whose records are in a dataset of
    their own; she allows her own care.
    """

    def __init__(self, deployment: Any) -> None:
        self.deployment, self.dataset = deployment, secrets.token_bytes(32)
        self.permit = secrets.token_bytes(32)
        self.subject = sha256(b"Bea").digest()
        for name, facts in (("cleo", {}), ("bea", {"subject": self.subject.hex()})):
            save(Wallet.new(), deployment.key_file(name), facts)
        self._give_role()
        self._enrol()
        self._ingest()
        self.grant()
        self._allow()

    @property
    def cleo(self) -> Any:
        return self.deployment.client("cleo")

    @property
    def bea(self) -> Any:
        return self.deployment.client("bea")

    def _give_role(self) -> None:
        pia, quinn = self.deployment.client("pia"), self.deployment.client("quinn")
        order = role_order(pia, self.cleo.wallet.address, Role.CLINICIAN, int(time.time()))
        order = order.signed_by(pia).signed_by(quinn)
        pia.set_role(order.message, list(order.signatures.values()))

    def _enrol(self) -> None:
        rita, bea = self.deployment.client("rita"), self.bea
        message = {
            "subject": self.subject,
            "signer": bea.wallet.signer,
            "assurance": 1,
            "deadline": int(time.time()) + 600,
        }
        signed = {
            "enrolment": wire("Enrolment", message),
            "registrarSignature": rita.sign("Enrolment", message).hex(),
            "signerSignature": bea.wallet.sign(rita.domain, "Enrolment", message).hex(),
        }
        rita.enrol([signed])

    def _ingest(self) -> None:
        omar = self.deployment.client("omar")
        omar.register_dataset(self.dataset, sha256(b"clinic").digest())
        records = split_bundle(bundle(*_today(bea() + SLOWER)), self.subject.hex()).records
        sources = [Source(self.subject, category, payload) for category, payload in records.items()]
        broker, parts = self.deployment.broker(), self.deployment.parts
        bucket = Bucket("volens", parts.urls["bucket"])
        leaves = encrypt(sources, self.dataset, omar.identity_id, broker, bucket)
        ingest = secrets.token_bytes(32)
        root = leaves_root(ingest, self.dataset, leaves)
        listed = [leaf.to_json() for leaf in leaves]
        store_leaves(bucket, root, leaves)
        omar.register_records(self.dataset, ingest, root, listed)
        broker.hand_over(ingest, listed)

    def grant(self) -> None:
        """She allows her own care; again after a withdrawal."""
        before, now = self.bea.consent_to(self.dataset), int(time.time())
        epoch, version = (before["epoch"], before["version"]) if before else (0, 0)
        given = offer(
            PRESETS["care-all"], self.subject, self.dataset, epoch, version, now, now + 600
        )
        self.bea.grant([self.bea.signed_grant(given.message)])

    def _allow(self) -> None:
        document = sha256(DOCUMENT.encode()).digest()
        self.cleo.request_permit(
            {
                "permit": self.permit,
                "dataset": self.dataset,
                "purposeNeed": 1 << Purpose.CARE,
                "categories": sum(1 << category for category in Category),
                "codeHash": code_hash(),
                "paramsSchemaHash": params_schema_hash(),
                "minCohort": 1,
                "outputClasses": 1 << OutputClass.INDIVIDUAL,
                "questions": PERMIT_QUESTIONS,
                "expiry": int(time.time()) + DAY,
                "documentHash": document,
            }
        )
        for name in ("pia", "quinn"):
            self.deployment.client(name).vote(self.permit.hex(), True)

    def appoint(self, days: int = 30) -> None:
        account, until = self.cleo.wallet.address, int(time.time()) // DAY + days
        message, salt = appointment(self.bea, self.dataset, account, until, True)
        self.bea.appoint(message, account, salt)

    def ask(self) -> str:
        """A plan that is drawn."""
        params = complete({"analysis": "plan"})
        answer = request_plan(self.cleo, self.permit.hex(), self.subject.hex(), params)
        run = str(answer["run"])
        self.await_drawn(run)
        return run

    def await_drawn(self, run: str) -> None:
        _until(lambda: self.cleo.plan(run)["state"], "sealed")

    def sign(self, run: str, folder: Path) -> None:
        """Cleo accepts every item of a plan."""
        key, broker = folder / f"{run}.key", self.deployment.broker()
        plan = open_as_clinician(self.cleo, broker, run, key).plan
        rules = [item["rule"] for item in [*plan["options"], *plan["lifestyle"]]]
        opened = open_sealed(self.cleo, broker, self.cleo.plan(run), key)
        accepted = {rule: {"decision": "accept", "note": "As we discussed."} for rule in rules}
        sign_plan(self.cleo, run, opened, accepted, "")


def _until(state: Callable[[], str], wanted: str) -> None:
    deadline = time.monotonic() + 60
    while (now := state()) != wanted:
        assert now in ("queued", "computing"), now
        assert time.monotonic() < deadline, f"it stays {now}"
        time.sleep(0.1)


def _today(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records as many days before today as they are before the day of their file."""
    days = datetime.now(UTC).date() - (date(1970, 1, 1) + timedelta(days=TODAY))
    text = re.sub(
        r'"(\d{4}-\d{2}-\d{2})"',
        lambda match: f'"{date.fromisoformat(match[1]) + days}"',
        json.dumps(resources),
    )
    moved: list[dict[str, Any]] = json.loads(text)
    return moved
