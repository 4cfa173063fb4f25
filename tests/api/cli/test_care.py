"""Her own care by commands alone: from her consent to the plan that both have read."""

from __future__ import annotations

import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from charts import measured, medicine
from fhir_files import bundle
from rig import CHILDREN

from analytics.readers.fhir import split_bundle
from api.worker.supervisor import HOLD, Worker
from chain.ledger import Ledger
from governance.objects.broker_client import BrokerClient
from governance.objects.ingest import Source, encrypt, store_leaves
from governance.objects.leaves import leaves_root
from governance.readmodel.database import TableOutbox, open_database
from governance.readmodel.projection import Projection
from governance.rules.ledger_data import identity_id
from governance.runs import claim


def broker_of(deployment: Any) -> BrokerClient:
    ledger = deployment.world.ledger
    address = deployment.settings.address("broker")
    return BrokerClient(address, ledger.domain, identity_id(ledger.identity))


def bring_in(deployment: Any, subject: str, *resources: dict[str, Any]) -> None:
    """Her record, as a custodian brings it in."""
    world, bucket, broker = deployment.world, deployment.services.bucket, broker_of(deployment)
    records = split_bundle(bundle(*resources), subject).records
    sources = [Source(bytes.fromhex(subject), one, payload) for one, payload in records.items()]
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
    capecitabine = medicine("L01BC06", day=datetime.now(UTC).date().isoformat())
    bring_in(deployment, made["subject"], measured("29463-7", 62, "kg"), capecitabine)
    return name, made["subject"]


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

    told = volens(*appoint)
    assert "Who: the one clinician whom you name." in told.out
    assert re.search(r"Appointed until \d{4}-\d\d-\d\d", told.out)
    (row,) = json.loads(volens("care", "list", "--as", name, "--json").out)
    assert (row["clinician"], row["live"]) == (cleo, True)
    assert "salt" not in row
    assert subject in volens("care", "list", "--as", "cleo").out
    run = volens(*ask).out.split()[0]
    assert volens("plan", "open", "--as", "cleo", run).code == 4  # not drawn yet
    work(deployment, run)
    assert volens("plan", "read", "--as", name, run).code == 4  # not countersigned
    assert volens("plan", "open", "--as", "noor", run).code in (4, 5)
    opened = json.loads(volens("plan", "open", "--as", "cleo", run).out)
    plan = opened["plan"]
    assert (plan["type"], opened["notes"]) == ("volens/plan/1", {})
    assert "Not cleared or CE-marked" in plan["sentence"]
    items = [option["rule"] for option in plan["options"]]
    assert items, "nothing is offered for a fluoropyrimidine without a test"
    decisions = {item: {"decision": "defer", "note": "test first"} for item in items}
    Path("wrong.json").write_text(json.dumps({items[0]: {"decision": "maybe", "note": ""}}))
    wrong = volens("plan", "sign", "--as", "cleo", run, "--decisions", "wrong.json")
    assert (wrong.code, "accept, decline, defer" in wrong.err) == (2, True)
    Path("decisions.json").write_text(json.dumps(decisions))
    signed = volens("plan", "sign", "--as", "cleo", run, "--decisions", "decisions.json")
    assert "Countersigned in block" in signed.out

    assert volens("plan", "read", "--as", name, run, "--out", "mine.json").code == 0
    mine = json.loads(Path("mine.json").read_text())
    assert mine["plan"] == plan
    assert mine["notes"]["items"] == decisions
    assert Path("mine.json").stat().st_mode & 0o777 == 0o600
    (used,) = json.loads(volens("access", "list", "--as", name, "--json").out)
    assert (used["run"], used["purposes"]) == (run, ["care"])
    (state,) = json.loads(volens("plan", "list", "--as", name, "--json").out)
    assert state["state"] == "countersigned"
    assert run not in json.dumps(deployment.anybody().runs())

    assert "Ended" in volens("care", "end", "--as", name, dataset, "--yes").out
    ended = volens(*ask)
    assert (ended.code, "has ended" in ended.err) == (4, True)
    assert volens("plan", "open", "--as", "cleo", run).code == 3  # no longer hers
    volens("consent", "revoke", "--as", name, dataset, "--yes")
    assert volens("plan", "read", "--as", name, run).code in (3, 6)
