"""Her own care by commands alone: from her consent to the plan that both have read."""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from charts import medicine
from rig import CHILDREN

from analytics.params import complete
from analytics.readers.fhir import split_bundle
from api.demo import care_people
from api.worker.supervisor import HOLD, Worker
from chain.consent_slot import epoch_of
from chain.ledger import Ledger
from chain.vocabulary import OutputClass
from governance.objects.broker_client import BrokerClient
from governance.objects.envelope import disclosure_commitment, output_commitment
from governance.objects.ingest import Source, encrypt, store_leaves
from governance.objects.leaves import leaves_root
from governance.readmodel.database import TableOutbox, open_database
from governance.readmodel.projection import Projection
from governance.rules.encoding import canonical_json
from governance.rules.ledger_data import identity_id
from governance.runs import claim


def broker_of(deployment: Any) -> BrokerClient:
    ledger = deployment.world.ledger
    address = deployment.settings.address("broker")
    return BrokerClient(address, ledger.domain, identity_id(ledger.identity))


def bring_in(deployment: Any, subject: str, file: dict[str, Any]) -> None:
    """Her record, as a custodian brings it in."""
    world, bucket, broker = deployment.world, deployment.services.bucket, broker_of(deployment)
    records = split_bundle(json.dumps(file).encode(), subject).records
    sources = [
        Source(bytes.fromhex(subject), category, payload) for category, payload in records.items()
    ]
    identity, ingest = identity_id(world.ledger.identity), secrets.token_bytes(32)
    leaves = encrypt(sources, world.dataset, identity, broker, bucket)
    root = leaves_root(ingest, world.dataset, leaves)
    store_leaves(bucket, root, leaves)
    world.register_records(ingest=ingest, leavesRoot=root, count=len(leaves))
    broker.hand_over(ingest, [leaf.to_json() for leaf in leaves])


def work(deployment: Any, run: str) -> None:
    """A worker in this process draws the plan, whatever else waits."""
    wallet, engine = deployment.world.people["wanda"], open_database(deployment.settings.database)
    ledger = Ledger.connect(
        str(deployment.world.ledger.node.url),
        deployment.world.ledger.identity,
        wallet,
        TableOutbox(engine),
        resend=False,
    )
    bucket = deployment.services.bucket
    projection = Projection(engine, ledger, bucket)
    worker = Worker(
        wallet,
        ledger,
        engine,
        projection,
        bucket,
        broker_of(deployment),
        children=CHILDREN,
        device="cpu",
    )
    own = claim(engine, run, wallet.address, worker.clock(), HOLD)
    assert own is not None
    worker.attempt(own)


@pytest.fixture
def ada(deployment, volens) -> tuple[str, str]:
    """An enrolled patient with a record: the name of her key, and her id."""
    name = f"ada-{os.urandom(3).hex()}"
    made = json.loads(volens("keys", "new", name, "--patient", "--plain", "--json").out)
    assert volens("enrol", "invite", "--as", "rita", "--for", name).code == 0
    assert volens("enrol", "submit", "--as", name, "invitation.json").code == 0
    today = datetime.now(UTC).date()
    capecitabine = medicine("L01BC06", day=today.isoformat())
    file = json.loads(json.dumps(care_people.ada(today)).replace('"1974"', f'"{today.year - 52}"'))
    file["entry"].append({"resource": capecitabine | {"subject": {"reference": "Patient/p"}}})
    bring_in(deployment, made["subject"], file)
    return name, made["subject"]


TEXT = b"# Tumours of GSE7390\n\nPublished data.\n"
TABLE_PARAMS = complete(
    {
        "analysis": "survival",
        "outcome": {"kind": "distant-metastasis", "horizon_days": 3650},
        "strata": ["er_positive"],
        "clinical": [],
    }
)
CURVE = [
    {"days": 1825, "interval": [70, 90], "step": 5, "stratum": "er_positive 1", "survival": 80},
    {"days": 3650, "interval": [60, 80], "step": 5, "stratum": "er_positive 1", "survival": 70},
]
ROW = {"median": "not reached", "risk": 30, "step": 5, "stratum": "er_positive 1"}


@dataclass
class Table:
    """A sealed survival run of three people, and its opened result."""

    world: Any
    permit: bytes
    run: bytes
    seal: bytes
    people: list[bytes]
    dataset: bytes
    opened: dict[str, Any]

    def release(self) -> str:
        epochs = [epoch_of(self.world.slot(person, self.dataset)) for person in self.people]
        self.world.release(self.run, self.seal, self.people, epochs)
        return self.run.hex()


def sealed_table(
    deployment: Any, text: bytes = TEXT, output_class: int = OutputClass.TABLE
) -> Table:
    world, omar = deployment.world, deployment.as_("omar")
    dataset, salt = secrets.token_bytes(32), secrets.token_bytes(32)
    omar.register_dataset(dataset, sha256(text).digest())
    omar.send_document(text)
    people = world.enrol(3)
    world.grant(people, dataset=dataset)
    permit = world.permit(dataset=dataset, outputClasses=1 << output_class)
    run = world.request_run(permit, params=TABLE_PARAMS)
    world.authorise(run, people)
    result = {
        "type": "volens/result/3",
        "analysis": "survival",
        "params": sha256(TABLE_PARAMS).hexdigest(),
        "rows": CURVE,
        "strata": [ROW],
    }
    disclosure = {"type": "volens/disclosure/1", "statistic_class": "table"}
    seal = world.seal(
        run,
        outputClass=output_class,
        outputCommitment=output_commitment(run, 1, canonical_json(result), salt),
        disclosureCommitment=disclosure_commitment(run, 1, canonical_json(disclosure), salt),
    )
    for checker in ("sol", "tess"):
        world.view_output(run, checker)
    opened = {"result": result, "disclosure": disclosure, "salt": salt.hex()}
    return Table(world, permit, run, seal, people, dataset, opened)


def test_her_own_care_by_commands(deployment, volens, ada) -> None:
    name, subject = ada
    dataset, cleo = deployment.world.dataset.hex(), deployment.world.people["cleo"].address
    appoint = ("care", "appoint", "--as", name, dataset, "--clinician", cleo, "--yes")
    early = volens(*appoint)
    assert (early.code, "agreed to nothing" in early.err) == (2, True)
    assert volens("consent", "grant", "--as", name, dataset, "--preset", "care", "--yes").code == 0
    bad = volens("care", "appoint", "--as", name, dataset, "--clinician", "0x12", "--yes")
    assert (bad.code, "40 hex digits" in bad.err) == (2, True)

    Path("plan.md").write_text("# Plans by the rules of this release\n\nwhat and why\n")
    permit = volens("care", "permit", "--as", "cleo", dataset, "--document", "plan.md").out
    permit = permit.split()[0]
    ask = ("plan", "request", "--as", "cleo", subject, "--permit", permit)
    for member in ("pia", "quinn"):
        assert volens("permit", "vote", "--as", member, permit, "--yes").code == 0
    alone = volens(*ask)
    assert (alone.code, "has not appointed you" in alone.err) == (4, True)

    result = volens(*appoint)
    assert "Who: the one clinician whom you name." in result.out
    assert re.search(r"Appointed until \d{4}-\d\d-\d\d", result.out)
    (row,) = json.loads(volens("care", "list", "--as", name, "--json").out)
    assert (row["clinician"], row["live"]) == (cleo, True)
    assert "salt" not in row
    assert subject in volens("care", "list", "--as", "cleo").out
    run = volens(*ask).out.split()[0]
    assert volens("plan", "open", "--as", "cleo", run).code == 4  # not drawn yet
    work(deployment, run)
    assert volens("plan", "read", "--as", name, run).code == 4  # not countersigned
    assert volens("plan", "open", "--as", "noor", run).code in (4, 5)
    text = volens("plan", "open", "--as", "cleo", run).out
    assert "DPYD test before the first dose [offered]" in text
    assert "Not valid after " in text
    opened = json.loads(volens("plan", "open", "--as", "cleo", run, "--json").out)
    plan = opened["plan"]
    assert (plan["type"], opened["notes"]) == ("volens/plan/1", {})
    assert "Not cleared or CE-marked" in plan["sentence"]
    items = [item["rule"] for item in [*plan["options"], *plan["lifestyle"]]]
    assert items, "nothing is offered for a fluoropyrimidine without a test"
    decisions = {item: {"decision": "defer", "note": "test first"} for item in items}
    for given, text in (
        (decisions | {items[0]: {"decision": "maybe", "note": ""}}, "accept, decline, defer"),
        (decisions | {"a-rule": decisions[items[0]]}, "are not on each item of the plan"),
        ({}, "are not on each item of the plan"),
    ):
        Path("wrong.json").write_text(json.dumps(given))
        wrong = volens("plan", "sign", "--as", "cleo", run, "--decisions", "wrong.json")
        assert (wrong.code, text in " ".join(wrong.err.split())) == (2, True)
    Path("decisions.json").write_text(json.dumps(decisions))
    export = ("plan", "export", run, "--fhir", "fhir.json", "--as")
    unsigned = volens(*export, "cleo")
    assert (unsigned.code, "only after its clinician has signed" in unsigned.err) == (2, True)
    assert volens(*export, name).code == 4
    group = released_group(deployment, volens, run)
    hers = volens("plan", "prognosis", run, "--as", name, "--run", *group, "--out", "x.json")
    assert hers.code == 3
    signed = signed_with_the_group(volens, run)
    assert "Countersigned in block" in signed.out

    assert "What your clinician decided" in volens("plan", "read", "--as", name, run).out
    assert volens("plan", "read", "--as", name, run, "--out", "mine.json").code == 0
    mine = json.loads(Path("mine.json").read_text())
    assert mine["plan"] == plan
    assert mine["notes"]["items"] == decisions
    prognosis = mine["notes"]["prognosis"]
    assert (prognosis["points"], prognosis["table"]) == (CURVE, ROW)
    seal = deployment.anybody().run(prognosis["run"])["outputs"][-1]["sealHash"]
    assert (prognosis["run"], prognosis["seal"]) == (group[0], seal)
    assert Path("mine.json").stat().st_mode & 0o777 == 0o600
    exported_by_both(volens, export, name, subject)
    (used,) = json.loads(volens("access", "list", "--as", name, "--json").out)
    assert (used["run"], used["purposes"]) == (run, ["care"])
    (state,) = json.loads(volens("plan", "list", "--as", name, "--json").out)
    assert state["state"] == "countersigned"
    assert run not in json.dumps(deployment.anybody().runs())

    assert "Ended" in volens("care", "end", "--as", name, dataset, "--yes").out
    ended = volens(*ask)
    assert (ended.code, "has ended" in ended.err) == (4, True)
    assert volens("plan", "open", "--as", "cleo", run).code == 3  # no longer hers
    assert volens(*export, "cleo").code == 3
    volens("consent", "revoke", "--as", name, dataset, "--yes")
    assert volens("plan", "read", "--as", name, run).code in (3, 6)


def released_group(deployment: Any, volens: Any, run: str) -> tuple[str, ...]:
    """Cleo draws the prognosis into group.json, from a released table of a named population and by
    none but its sealed numbers.
    """
    result = Path("result.json")

    def drawn(table: Table, opened: dict[str, Any]) -> Any:
        result.write_text(json.dumps(opened, indent=1))
        return volens(*group, table.run.hex(), "--result", "result.json", "--out", "group.json")

    group = ("plan", "prognosis", run, "--as", "cleo", "--run")
    table, unnamed = sealed_table(deployment), sealed_table(deployment, b"# Tumours\n\nOf some.\n")
    metrics = sealed_table(deployment, output_class=OutputClass.METRICS)
    early = drawn(table, table.opened)
    assert (early.code, "no released result" in early.err) == (4, True)
    for other, why in ((unnamed, "names no population"), (metrics, "a table of groups")):
        other.release()
        refused = drawn(other, other.opened)
        assert (refused.code, why in refused.err) == (2, True)
    deployment.as_("pia").suspend(metrics.permit.hex(), "its people withdrew")
    shut = drawn(metrics, metrics.opened)
    assert (shut.code, "suspended" in shut.err) == (3, True)
    table.release()
    changes: list[Any] = [
        lambda document: document["result"]["rows"][0].update(survival=81),
        lambda document: document["result"]["strata"][0].update(risk=25),
        lambda document: document["result"]["rows"].pop(),
        lambda document: document["disclosure"].update(statistic_class="none"),
    ]
    for change in changes:
        wrong = json.loads(json.dumps(table.opened))
        change(wrong)
        refused = drawn(table, wrong)
        assert (refused.code, "not the one that was sealed" in refused.err) == (7, True)
    assert drawn(table, {"result": table.opened["result"]}).code == 2
    assert not Path("group.json").exists()
    shown = drawn(table, table.opened)
    assert "The end point is distant metastasis. It is not overall survival" in shown.out
    assert Path("group.json").stat().st_mode & 0o777 == 0o600
    return table.run.hex(), "--result", "result.json"


def signed_with_the_group(volens: Any, run: str) -> Any:
    """Cleo signs with decisions.json and group.json; no other prognosis goes into the notes."""
    altered = json.loads(Path("group.json").read_text())
    altered["prognosis"]["points"][1]["survival"] = 95
    Path("altered.json").write_text(json.dumps(altered))
    sign = ("plan", "sign", "--as", "cleo", run, "--decisions", "decisions.json", "--prognosis")
    false = volens(*sign, "altered.json")
    assert (false.code, "not the one that the released table gives" in false.err) == (7, True)
    for part in ("type", "prognosis", "released"):
        cut = json.loads(Path("group.json").read_text())
        del cut[part]
        Path("cut.json").write_text(json.dumps(cut))
        assert volens(*sign, "cut.json").code == 2
    asked = volens(*sign, "group.json")
    assert (asked.code, "Nobody answered the question" in " ".join(asked.err.split())) == (2, True)
    assert "DPYD test before the first dose [offered]\n  Offered: " in asked.out
    assert "Your decision: defer\n  Your note: test first" in asked.out
    return volens(*sign, "group.json", "--yes")


def exported_by_both(volens: Any, export: tuple[str, ...], name: str, subject: str) -> None:
    """Clinician and patient write the same file, readable for themselves alone; nobody else does."""
    assert volens(*export, "cleo").code == 0
    hers, file = Path("fhir.json").read_bytes(), Path("fhir.json")
    assert volens(*export, name).code == 0
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (hers, 0o600)
    assert '"proposal"' in hers.decode()
    assert subject not in hers.decode()
    assert volens(*export, "noor").code in (4, 5)
