"""A plan from end to end: her records, her consent, a worker, her clinician, and she."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from charts import measured, medicine
from fhir_files import bundle
from rig import Rig

from analytics.care.rule_set import rule_set_hash
from analytics.code import code_hash, params_schema_hash
from analytics.params import complete
from analytics.readers.fhir import split_bundle
from api.demo.care_stage import (
    appoint,
    care_permit,
    countersign,
    open_plan,
    patient,
    plan_request,
    view_plan,
)
from chain.events import PlanRequested
from chain.vocabulary import Category, OutputClass, Purpose
from governance.objects.envelope import OUTPUT, Label, decode_pieces, open_message, read_header
from governance.objects.ingest import Source
from governance.objects.keys import new_pair
from governance.objects.vault import open_record
from governance.readmodel import queries as register

PARAMS = complete({"analysis": "plan"})
EVERYTHING = sum(1 << category for category in Category)
CARE = 1 << Purpose.CARE


@pytest.fixture
def rig_people() -> int:
    return 2


def brought_in(rig: Rig, *resources: dict[str, Any], **consent: Any) -> bytes:
    """A patient with these records, who allows her own care and has appointed Cleo."""
    subject = patient(rig.world, **{"categories": EVERYTHING} | consent)
    records = split_bundle(bundle(*resources), subject.hex()).records
    rig.ingest([Source(subject, category, payload) for category, payload in records.items()])
    appoint(rig.world, subject)
    return subject


def asked(rig: Rig, subject: bytes, params: bytes = PARAMS) -> bytes:
    permit = care_permit(
        rig.world,
        codeHash=code_hash(),
        paramsSchemaHash=params_schema_hash(),
        categories=EVERYTHING,
    )
    message = plan_request(permit, subject) | {"paramsHash": sha256(params).digest()}
    signature = rig.world.by("cleo", "PlanRequest", message)
    receipt = rig.world.relay(
        "CareLedger", "requestPlan", "PlanRequest", message, params, signature
    )
    return receipt.one(PlanRequested).run


def drawn(rig: Rig, run: bytes) -> Any:
    worker = rig.worker()
    worker.projection.sync()
    worker.step()
    worker.projection.sync()
    return worker


def opened(rig: Rig, worker: Any, run: bytes, asker: Any, private: Any, public: bytes) -> Any:
    """The plan, with the broker's key for a look that is on the ledger."""
    (output,) = register.outputs_of(worker.engine, run.hex())
    attempt = worker.projection.replayed.attempts[run, 1]
    blob = rig.bucket.get(f"o/{output.ciphertext}")
    answer = rig.client.output_pieces(
        run, 1, attempt.tx, public, read_header(blob), asker, asker.address[2:].lower()
    )
    pieces = decode_pieces(open_message(private, answer.info, answer.sealed), answer.broker)
    label = Label(rig.client_identity, run, run, rig.world.dataset, OUTPUT, 1)
    shares = [piece.share for piece in sorted(pieces, key=lambda piece: piece.j)]
    inside = json.loads(open_record(blob, bytes.fromhex(output.ciphertext), label, shares))
    return json.loads(inside["result"])


def test_a_plan_is_drawn_from_her_records_alone_and_read_by_both(rig: Rig) -> None:
    world = rig.world
    subject = brought_in(rig, measured("29463-7", 62, "kg"), medicine("L01BC06"))
    run = asked(rig, subject)
    before = len(rig.journal())
    worker = drawn(rig, run)
    assert register.find_plan(worker.engine, run.hex()).state == "sealed"
    (key_line,) = [json.loads(line) for line in rig.journal()[before:]]
    assert key_line["subjects"] == [subject.hex()], "a key of somebody else left for her plan"
    attempt = worker.projection.replayed.attempts[run, 1]
    assert attempt.seal["outputClass"] == OutputClass.INDIVIDUAL
    (private, public), (mine, hers) = new_pair(), new_pair()
    view_plan(world, run, viewerKey=public)
    plan = opened(rig, worker, run, world.people["cleo"], private, public)
    assert plan["type"] == "volens/plan/1"
    assert plan["rule_set"] == rule_set_hash().hex()
    assert any("DPYD" in json.dumps(item) for item in [*plan["options"], *plan["refused"]])
    text = json.dumps(plan)
    assert subject.hex() not in text
    assert not any(other.hex() in text for other in rig.subjects)
    countersign(world, run, attempt.seal_hash)
    open_plan(world, run, subject, viewerKey=hers)
    assert opened(rig, worker, run, world.subjects[subject], mine, hers) == plan


def test_what_she_leaves_out_is_not_opened_and_the_plan_says_so(rig: Rig) -> None:
    kept = EVERYTHING & ~(1 << Category.MEDICATIONS)
    subject = brought_in(rig, measured("29463-7", 62, "kg"), medicine("L01BC06"), categories=kept)
    run = asked(rig, subject)
    before = len(rig.journal())
    worker = drawn(rig, run)
    (line,) = [json.loads(line) for line in rig.journal()[before:]]
    records = {record for record, _ in line["records"]}
    withheld = {
        leaf.record.hex()
        for leaf in rig.leaves
        if leaf.subject == subject and leaf.category == Category.MEDICATIONS
    }
    assert len(withheld) == 1
    assert not withheld & records
    private, public = new_pair()
    view_plan(rig.world, run, viewerKey=public)
    plan = opened(rig, worker, run, rig.world.people["cleo"], private, public)
    missing = {fact["fact"]: fact["reason"] for fact in plan["facts"]["missing"]}
    assert missing["medicines"] == "withheld by consent"


def test_a_withdrawal_before_the_work_means_no_key(rig: Rig) -> None:
    subject = brought_in(rig, measured("29463-7", 62, "kg"))
    run = asked(rig, subject)
    rig.world.revoke(subject)
    before = len(rig.journal())
    worker = drawn(rig, run)
    plan = register.find_plan(worker.engine, run.hex())
    assert (plan.state, plan.reason) == ("denied", 3)
    assert len(rig.journal()) == before


def test_rules_that_are_not_those_of_the_release_draw_nothing(rig: Rig) -> None:
    subject = brought_in(rig, measured("29463-7", 62, "kg"))
    run = asked(rig, subject, complete({"analysis": "plan", "rules": "ab" * 32}))
    worker = drawn(rig, run)
    assert "rules are not those" in register.failure_of(worker.engine, run.hex())
    assert not register.outputs_of(worker.engine, run.hex())


def test_plans_are_in_no_list_of_research(rig: Rig) -> None:
    subject = brought_in(rig, measured("29463-7", 62, "kg"))
    run, research = asked(rig, subject), rig.request()
    worker = drawn(rig, run)
    assert [row.run for row in register.list_runs(worker.engine)] == [research.hex()]
    assert register.count_runs(worker.engine) == 1
    cleo = rig.world.people["cleo"].address
    assert [row.run for row in register.list_plans(worker.engine, clinician=cleo)] == [run.hex()]
    mine = register.list_plans(worker.engine, subject=subject.hex())
    assert [row.run for row in mine] == [run.hex()]
    accesses = register.accesses_of(worker.engine, subject.hex())
    assert [access.run for access in accesses] == [run.hex()]  # she sees it like every other access
