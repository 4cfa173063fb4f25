"""What an opened plan says on the pages: to its clinician, to his patient, and when it is over."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import care_people
import pytest
from care_people import BEA, CLEAR, FLUOROURACIL, METASTATIC, but, known, unknown, without
from charts import EVERYTHING, LOCAL, SUBJECT, TODAY, bea, chart, coded, measured, medicine, staged
from clinic import SLOWER
from fhir_files import observation
from genomic_files import DPYD, HOMOZYGOUS, variant

from analytics.care.days import date_of
from analytics.care.facts import Fact, Known, Reason
from analytics.care.formulas import DERIVATIONS
from analytics.care.plan import SENTENCE, draw_plan
from analytics.care.prognosis import State, _sentences, is_prognosis, populations
from analytics.care.rule_set import RuleSet, shipped
from analytics.params import complete
from analytics.people import Input
from analytics.plan_run import run_plan
from analytics.readers.fhir import split_bundle
from api.cli.care import _show
from api.client.plans import OpenedPlan, without_proposals
from api.demo.care_people import bea as eligible
from api.pages.care_text import described, for_clinician, for_patient, to_be_signed
from api.pages.care_view import FORMULAS, describe, dose_in_words, fact_in_words
from api.pages.labels import day
from api.pages.rendering import _TEMPLATES

DOSE = "dpyd-fluoropyrimidine-dose"
HALF = (
    "50 % of the starting dose that is otherwise right; kidneys, liver and regimen are not "
    "counted here"
)
HIS_NOTE = "Half of it, 300 mg, on Mondays."


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    return draw_plan(chart(*bea(), *SLOWER), shipped(), TODAY)


def with_a_dose(*more: dict[str, Any]) -> dict[str, Any]:
    """Olaparib is open: what a clinician must state is stated."""
    stated = [
        observation((LOCAL, question), valueBoolean=False, effectiveDateTime="2024-05-20")
        for question in ("mds-aml", "pneumonitis", "venous-thromboembolism")
    ]
    unimpaired = coded("hepatic-impairment", "impairment-none", system=LOCAL)
    return draw_plan(chart(*bea(), *stated, unimpaired, *more), shipped(), TODAY)


TREATED = {"chemotherapy": {"value": "adjuvant"}}
ITRACONAZOLE_CODE = "rxnorm:28031"
ITRACONAZOLE = medicine("J02AC02")
CLEARS = measured("2160-0", 0.95, "mg/dL", "2024-05-25")


def decided(plan: dict[str, Any], decision: str = "accept") -> dict[str, Any]:
    rules = [item["rule"] for item in [*plan["options"], *plan["lifestyle"]]]
    items = {rule: {"decision": decision, "note": HIS_NOTE} for rule in rules}
    return {"type": "volens/plan-notes/1", "items": items, "comment": "We talk on Friday."}


def his(plan: dict[str, Any], notes: dict[str, Any], today: int, rules: RuleSet) -> str:
    return _text("part-care-plan.html", describe(plan, notes, today, rules))


def hers(plan: dict[str, Any], notes: dict[str, Any], today: int, rules: RuleSet) -> str:
    return _text("part-my-plan.html", describe(plan, notes, today, rules))


def _text(template: str, opened: dict[str, Any]) -> str:
    run = {"run": "ab" * 32, "subject": SUBJECT}
    message = dict.fromkeys(("run", "attempt", "sealHash", "notesHash", "deadline"), "")
    page = _TEMPLATES.get_template(template).render(
        opened=opened,
        plan=run,
        sealed={"attempt": 1},
        salt="",
        may_sign=True,
        countersign=message,
    )
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_a_clinician_reads_options_with_their_basis(plan: dict[str, Any]) -> None:
    text = his(plan, {}, TODAY, shipped())
    assert SENTENCE in text
    assert HALF in text
    assert FORMULAS["dpyd_score"] in text  # the formula beside its value
    assert "c.1905+1G&gt;A" in text  # the variant that it rests on
    assert "not known : not recorded" in text
    assert "DPYD activity score 1 the two lowest" in text  # a bare number, not "1 1"
    assert "own labels: metformin (rxnorm:6809)." in text
    assert "Because of" in text  # the schedule
    assert "would be looked at again if the record showed" in text
    assert "Countersign it" in text
    for option in [*plan["options"], *plan["lifestyle"]]:
        assert {"basis", "grade"} <= option.keys()
        assert option["grade"] in text
        assert all(source["dated"] in text for source in option["sources"])


def test_warnings_by_her_record_stand_apart_from_those_of_everybody(plan: dict[str, Any]) -> None:
    for item in describe(plan, {}, TODAY, shipped())["items"]:
        rule = next(candidate for candidate in shipped().rules if candidate.id == item.rule)
        general = {entry["text"] for entry in rule.content["warnings"] if "when" not in entry}
        assert general == set(item.general)
        assert general.isdisjoint(item.warnings)


def test_a_patient_reads_no_letters_and_no_false_exactness(plan: dict[str, Any]) -> None:
    dosed = with_a_dose()
    text = hers(dosed, decided(dosed), TODAY, shipped())
    assert "tumour in lymph nodes nearby: none (N0)" in text
    assert "size of the tumour: more than 2 and up to 5 cm (T2)" in text
    assert not re.search(r"\b[NT]: [NT][0-4]", text)
    # Downwards, so that it stays in its class of the label, which begins at 31.
    nearly = plan["refused"][0] | {"computed": {"creatinine_clearance": "30.999999 mL/min"}}
    text = his(plan | {"refused": [nearly]}, {}, TODAY, shipped())
    assert "creatinine clearance 30.9 mL/min" in text


def test_a_patient_reads_what_her_clinician_confirmed_and_nothing_else(
    plan: dict[str, Any],
) -> None:
    about = {entry["rule"]: entry["text"] for entry in plan["for_patient"]}[DOSE]
    accepted = hers(plan, decided(plan), TODAY, shipped())
    assert SENTENCE in accepted
    assert about in accepted
    assert HIS_NOTE in accepted
    assert "We talk on Friday." in accepted
    for decision in ("decline", "defer"):
        other = hers(plan, decided(plan, decision), TODAY, shipped())
        assert about not in other
        assert HIS_NOTE in other
    silent = decided(plan) | {"items": {}}
    unsaid = hers(plan, silent, TODAY, shipped())
    assert about not in unsaid
    assert "confirmed no proposal" in unsaid
    assert not any(option["title"] in unsaid for option in plan["options"])


def test_past_its_last_day_a_plan_shows_no_dose_no_proposal_and_no_note(
    plan: dict[str, Any],
) -> None:
    last = plan["valid_until"]
    assert HALF in his(plan, decided(plan), last, shipped())
    assert HIS_NOTE in hers(plan, decided(plan), last, shipped())
    for text in (
        his(plan, decided(plan), last + 1, shipped()),
        hers(plan, decided(plan), last + 1, shipped()),
    ):
        assert "out of date" in text
        assert HALF not in text
        assert HIS_NOTE not in text
        assert "Countersign it" not in text
        for option in [*plan["options"], *plan["lifestyle"]]:
            assert option["action"] not in text
        for entry in plan["for_patient"]:
            offered = {row["rule"] for row in [*plan["options"], *plan["lifestyle"]]}
            assert entry["rule"] not in offered or entry["text"] not in text


def test_a_plan_by_rules_of_before_says_so(plan: dict[str, Any]) -> None:
    rules = shipped()
    withdrawn = tuple(rule for rule in rules.rules if rule.id != DOSE)
    retracted = tuple(
        replace(rule, sources=tuple({**source, "status": "retracted"} for source in rule.sources))
        if rule.id == DOSE
        else rule
        for rule in rules.rules
    )
    assert "older rules" not in his(plan, {}, TODAY, rules) + hers(plan, {}, TODAY, rules)
    for changed, why in (
        (replace(rules, digest="0" * 64), "another one now"),
        (replace(rules, rules=withdrawn), "this rule was withdrawn"),
        (replace(rules, rules=retracted), "does not stand any more"),
    ):
        assert why in his(plan, {}, TODAY, changed)
        assert "Drawn by older rules." in hers(plan, {}, TODAY, changed)


def test_facts_are_said_in_words(plan: dict[str, Any]) -> None:
    """Codes and units as people read them; a code without a name is shown as a code."""
    text = hers(plan, decided(plan), TODAY, shipped())
    assert "medicines now: fluorouracil, metformin" in text
    assert "years" in text
    assert "× 10⁹ per litre" in text
    fact = {"fact": "medicines", "value": "rxnorm:6809, rxnorm:1", "unit": ""}
    assert fact_in_words(fact) == "metformin, code rxnorm:1"
    assert fact_in_words(fact | {"value": ""}) == "none recorded"


@pytest.fixture(scope="module")
def measured_plan() -> dict[str, Any]:
    """Of a patient who may have olaparib: its rule asks for blood counts again and again."""
    pounds = tuple(
        measured("29463-7", 150 + n, "[lb_av]", date_of(TODAY - 40 * n)) for n in (1, 2, 3)
    )
    file = eligible(date.fromisoformat(date_of(TODAY)), more=pounds)
    records = split_bundle(json.dumps(file).encode(), SUBJECT)
    inputs = [Input(SUBJECT, category, payload) for category, payload in records.records.items()]
    drawn = run_plan(complete({"analysis": "plan"}), inputs, EVERYTHING, TODAY)
    plan: dict[str, Any] = json.loads(drawn.result)
    return plan


def test_what_was_measured_is_drawn_over_time_with_the_next_day(
    measured_plan: dict[str, Any],
) -> None:
    rules = shipped()
    opened = describe(measured_plan, {}, TODAY, rules)
    weight = next(entry for entry in opened["measured"] if entry["fact"] == "weight")
    assert [value["value"] for value in weight["values"]] == ["69.4", "68.95", "68.49", "72", "72"]
    assert "5 values, the first 69.4" in weight["plot"]
    counts = next(entry for entry in opened["measured"] if entry["fact"] == "haemoglobin")
    assert counts["next"]["rule"] == "olaparib-breast-cancer"
    due = day(counts["next"]["day"])
    text = his(measured_plan, {}, TODAY, rules)
    assert "Measured over time" in text
    assert f"next on {due}" in text
    # She reads of a next day what her clinician follows or decides later; after the last day nobody.
    assert f"next on {due}" in hers(measured_plan, decided(measured_plan), TODAY, rules)
    assert "next on " not in hers(measured_plan, decided(measured_plan, "decline"), TODAY, rules)
    late = measured_plan["valid_until"] + 1
    assert "next on " not in his(measured_plan, {}, late, rules)
    assert "Measured over time" in his(measured_plan, {}, late, rules)


def test_a_groups_prognosis_is_shown_as_it_was_released(plan: dict[str, Any]) -> None:
    prognosis = {
        "type": "volens/prognosis/1",
        "run": "ab" * 32,
        "seal": "cd" * 32,
        "state": "shown",
        "population": {"id": "GSE7390", "title": "women", "source": {}},
        "end_point": "distant metastasis",
        "horizon_days": 3650,
        "sentences": ["The end point is distant metastasis. It is not survival."],
        "stratum": "er_positive 1",
        "table": {"stratum": "er_positive 1", "risk": 30, "median": "not reached", "step": 5},
        "points": [
            {"days": 1825, "survival": 80, "interval": [70, 90], "stratum": "er_positive 1"}
        ],
    }
    assert is_prognosis(prognosis)
    notes = decided(plan) | {"prognosis": prognosis}
    for text in (his(plan, notes, TODAY, shipped()), hers(plan, notes, TODAY, shipped())):
        assert "What is counted: distant metastasis." in text
        assert "5.0 80 70 to 90" in text
        assert "Within 10.0 years it had happened to 30 of 100" in text
        assert "It is not survival." in text
        assert "abababab" in text
    ours = [
        line
        for state in State
        for line in _sentences(state, ["why"], populations()[0], TREATED, True)
    ]
    assert sum("you" in line for line in ours) > len(list(State))
    spoken = notes | {"prognosis": prognosis | {"sentences": ours}}
    opened = describe(plan, spoken, TODAY, shipped())
    assert opened["prognosis"]["sentences"] == ours
    to_clinician = " ".join(opened["clinicians_prognosis"]["sentences"])
    assert not re.search(r"(?i)\byou", to_clinician)
    assert "The patient had some (chemotherapy: adjuvant)" in to_clinician
    assert "The patient had some" in his(plan, spoken, TODAY, shipped())
    plot = describe(plan, notes, TODAY, shipped())["prognosis"]["plot"]
    assert "80 after 5.0 years" in plot
    without = {"state": "no group of ten or more", "sentences": ["There is no group like you."]}
    suppressed = {
        name: prognosis[name] for name in prognosis.keys() - {"stratum", "table", "points"}
    }
    text = hers(plan, decided(plan) | {"prognosis": suppressed | without}, TODAY, shipped())
    assert "There is no group like you." in text
    assert "95 % interval" not in text


@pytest.fixture(scope="module")
def warning() -> dict[str, Any]:
    """A plan that advises against capecitabine."""
    change = "NM_000110.4:c.1905+1G>A"
    none_left = [variant("d", DPYD, change, zygosity=HOMOZYGOUS), medicine("L01BC06")]
    return draw_plan(chart(*bea(), *none_left), shipped(), TODAY)


def test_a_warning_does_not_end_with_its_plan(warning: dict[str, Any]) -> None:
    [item] = [
        candidate
        for candidate in describe(warning, {}, TODAY, shipped())["items"]
        if candidate.warns
    ]
    after = warning["valid_until"] + 1
    assert item.option["action"] in his(warning, {}, after, shipped())
    accepted = hers(warning, decided(warning), after, shipped())
    assert "out of date" in accepted
    assert item.for_patient in accepted
    assert "go on" not in accepted
    left = without_proposals(OpenedPlan(warning, decided(warning), {"a": 1}, "ab")).plan
    assert [advice["action"] for advice in left["advised_against"]] == [item.option["action"]]


@pytest.mark.parametrize("decision", ["defer", "decline"])
def test_a_warning_that_is_not_agreed_with_calls_before_the_next_dose(
    warning: dict[str, Any], decision: str
) -> None:
    for today in (TODAY, warning["valid_until"] + 1):
        text = hers(warning, decided(warning, decision), today, shipped())
        assert "take no further dose before you have spoken with your clinic: call now" in text
        assert "also if a pump is running" in text


def test_a_warning_stands_first_and_a_withdrawn_one_permits_nothing(
    warning: dict[str, Any],
) -> None:
    opened = describe(warning, decided(warning), TODAY, shipped())
    assert [entry.warns for entry in opened["items"]] == sorted(
        (entry.warns for entry in opened["items"]), reverse=True
    )
    rules = shipped()
    without = replace(rules, rules=tuple(rule for rule in rules.rules if rule.id != DOSE))
    assert "that is no permission to give it" in his(warning, {}, TODAY, without)
    assert "That is no permission" in hers(warning, decided(warning), TODAY, without)


def test_what_her_clinician_has_not_agreed_with_names_no_gene_and_no_spread() -> None:
    plan = draw_plan(chart(*bea(), staged("21907-1", "cM1", "2024-05-02")), shipped(), TODAY)
    for decision in ("defer", "decline"):
        text = hers(plan, decided(plan, decision), TODAY, shipped())
        assert "BRCA" not in text.split("What is missing")[0]
        assert "MRI" not in text
        assert "tumours in other parts of the body: a result that your clinician" in text


def test_a_schedule_is_that_of_the_option() -> None:
    file = [resource for resource in bea() if resource["resourceType"] != "Patient"]
    for gender, scheduled in (("female", True), ("male", False)):
        facts = chart(*file) | {"sex": Known(gender, None)}
        plan = draw_plan(facts, shipped(), TODAY)
        assert any("MRI" in appointment["what"] for appointment in plan["schedule"]) is scheduled


def test_a_rule_that_is_not_about_her_is_not_refused_and_its_medicines_are_seen() -> None:
    text = his(draw_plan(chart(*bea()), shipped(), TODAY), {}, TODAY, shipped())
    assert "DPYD test before the first dose: does not apply to this record now" in text
    assert "Before either is prescribed the label asks for a DPYD test." in text
    taken = [medicine("L02BA01"), medicine("N06AB05")]
    text = his(draw_plan(chart(*bea(), *taken), shipped(), TODAY), {}, TODAY, shipped())
    assert "Seen among the medicines" in text
    assert "paroxetine, of “strong and moderate inhibitors of CYP2D6”" in text


def test_the_inputs_of_a_dose_stand_beside_it_with_their_days() -> None:
    text = his(with_a_dose(), {}, TODAY + 1, shipped())
    because = "Because of creatinine clearance 39.4 mL/min"
    assert f"Dose by the rule: 200 mg, 2 times a day (tablets) {because} From " in text
    assert "creatinine in serum 1.4 mg/dL (2024-05-20)" in text
    assert "weight 61.5 kg (2024-05-20)" in text
    assert "1 day ago: facts and refusals are of that day" in text
    assert "female, 64 years" in text


def of_care(facts: dict[str, Fact], decision: str | None = None, days: int = 0) -> tuple[str, str]:
    """His and her page of a plan by these facts, with this decision on everything or none, so many
    days later.
    """
    plan = draw_plan(facts, shipped(), care_people.TODAY)
    notes = decided(plan, decision) if decision else {}
    day_of_it, rules = care_people.TODAY + days, shipped()
    return his(plan, notes, day_of_it, rules), hers(plan, notes, day_of_it, rules)


@pytest.mark.parametrize("decision", ["defer", "decline", None])
def test_no_line_of_a_list_tells_of_genes_or_of_spread(decision: str | None) -> None:
    """Not what is missing for an option, not the title of a warning, not the setting of a treatment."""
    too_old = but(METASTATIC, creatinine=Known(Decimal(1), care_people.TODAY - 40))
    _, missing = of_care(too_old, decision)
    about = (
        "A point that your clinician speaks with you about cannot be judged yet. To be known first:"
    )
    assert f"{about} creatinine, a value of the kidneys (too old)" in missing
    _, warned = of_care(but(BEA, medicines=(ITRACONAZOLE_CODE,)), decision)
    for text in (missing, warned):
        assert "change of a BRCA gene" not in text
        assert "BRCA variant" not in text
        assert "metastatic" not in text
    if decision:
        assert "A warning about olaparib tablets" in warned
        assert "If you take olaparib tablets, call before your next dose." in warned


def test_a_gene_is_revealed_by_an_option_about_it_alone() -> None:
    unclear = but(CLEAR, brca1_germline=Known("uncertain significance", care_people.TODAY - 9))
    _, text = of_care(unclear, "accept")
    assert "A few questions about your family" in text
    assert "a variant whose meaning is not known" not in text
    _, text = of_care(BEA, "accept")
    assert "inherited change in the gene BRCA1: pathogenic" in text


def test_a_record_that_holds_nothing_is_no_reassurance() -> None:
    _, text = of_care({})
    assert "This record holds almost nothing that the rules need" in text
    _, text = of_care(but(BEA, creatinine=unknown()))
    assert "Nothing that these rules ask for is missing" not in text


def test_who_takes_olaparib_is_seen_at_the_top_with_what_does_not_go_with_it() -> None:
    taken = but(BEA, medicines=("rxnorm:1597582", ITRACONAZOLE_CODE), weight=Decimal(40))
    clinician, patient = of_care(taken)
    notice = clinician.partition("A condition is")[0]
    assert "olaparib, of “PARP inhibitors”" in notice
    assert "itraconazole, of “strong inhibitors of CYP3A”" in notice
    assert "Creatinine clearance" in notice.partition("no reason to stop")[0]
    assert "no reason to stop" in notice
    assert "creatinine clearance 24.4 mL/min" in notice
    assert "creatinine in serum 1.7 mg/dL (2026-11-25)" in notice
    assert "not judged: taken, given before, or not tolerated" in clinician
    assert "You take olaparib." in patient
    call = "because of itraconazole: call your clinic today, before the next dose."
    assert call in patient.partition("What your clinician decided")[0]
    assert "Apart from the warning above" in patient
    _, alone = of_care(but(BEA, medicines=("rxnorm:1597582",), weight=Decimal(90)))
    assert "You take olaparib: this plan does not judge" in alone
    assert "Do not stop by yourself." in alone
    assert "call your clinic today" not in alone
    _, lower = of_care(but(BEA, medicines=("rxnorm:1597582",)))  # 200 mg for who begins
    assert "call your clinic today, before the next dose" in lower


def test_who_takes_olaparib_is_shown_with_what_is_not_known_of_the_kidneys() -> None:
    """A number has its day; a reported clearance stands beside the computed one."""
    taken = but(CLEAR, medicines=("rxnorm:1597582",))
    clinician, patient = of_care({**taken, "reported_clearance": known(Decimal(25))})
    notice = clinician.partition("A condition is")[0]
    assert "No dose before it is clear which of them holds." in notice
    assert "as reported 25 mL/min (2026-11-25)" in notice
    assert "call your clinic today" in patient
    old = Known(Decimal("0.85"), care_people.TODAY - 200)
    clinician, _ = of_care({**taken, "creatinine": old})
    assert "creatinine clearance not known" in clinician
    assert "creatinine in serum not known (too old, 0.85 mg/dL, 200 days old" in clinician


def test_another_parp_inhibitor_is_called_by_its_name() -> None:
    clinician, patient = of_care(but(CLEAR, medicines=("atc:L01XK04",)))
    assert "You take talazoparib:" in patient
    assert "Another PARP inhibitor has a label of its own." in clinician


def test_a_pregnancy_beside_tamoxifen_is_called_about_today() -> None:
    pregnant = but(CLEAR, medicines=("rxnorm:10324",), pregnant=True)
    clinician, patient = of_care(pregnant, "accept")
    assert "Verify the pregnancy before the next dose" in clinician
    assert "Call your clinic today, before the next dose." in patient
    assert "agrees with this: do not wait for a talk, call today" in patient
    assert "a pump" not in patient
    _, declined = of_care(pregnant, "decline")
    assert "take no further dose before you have spoken with your clinic: call today." in declined


def test_who_takes_a_fluoropyrimidine_calls_also_when_the_plan_is_out_of_date() -> None:
    slow = but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A",))
    for facts in (slow, without(FLUOROURACIL, "dpyd_variants")):
        _, patient = of_care(facts, "accept")
        assert "call your clinic today" in patient
        clinician, late = of_care(facts, "accept", days=30)
        assert "call before your next dose" in late or "call your clinic today" in late
        assert "%" not in late
    assert "Test DPYD before the first dose" in clinician
    clinician, _ = of_care(slow, days=30)
    assert "DPYD activity score 1" in clinician


def test_who_does_not_tolerate_a_medicine_is_not_told_to_go_on_with_it() -> None:
    clinician, patient = of_care(but(BEA, earlier_parp_inhibitor=True))
    assert "you had, or do not tolerate, olaparib tablets" in patient
    assert "Do not stop by yourself" not in patient
    assert "Seen among the medicines" not in clinician


def test_a_known_score_of_dpyd_is_said_before_anything_is_prescribed() -> None:
    tested = but(FLUOROURACIL, medicines=("atc:A10BA02",))
    deficient = but(tested, dpyd_variants=("c.1905+1G>A", "c.1905+1G>A"))
    assert "DPYD activity score 0: it counts as soon as" in of_care(deficient)[0]
    assert "DPYD activity score" not in of_care(tested)[0].partition("A condition is")[0]
    partly = but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A",), dpyd_positions=("c.1905+1G>A",))
    clinician, patient = of_care(partly, "accept")
    assert "DPYD c.1905+1G&gt;A is reported, and not every position was tested" in clinician
    assert "c.1905+1G" not in patient  # a test agreed with is no talk about a result
    lines = for_clinician(
        described(
            draw_plan(deficient, shipped(), care_people.TODAY), {}, care_people.TODAY, shipped()
        )
    )
    assert "DPYD activity score 0" in lines


def test_a_warning_outlives_its_plan_and_its_rule() -> None:
    facts = but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A", "c.1905+1G>A"))
    plan = draw_plan(facts, shipped(), care_people.TODAY)
    kept = tuple(rule for rule in shipped().rules if rule.id != DOSE)
    without = replace(shipped(), rules=kept)
    text = hers(plan, decided(plan), plan["valid_until"] + 1, without)
    assert "this rule was withdrawn" in text
    assert (
        "if you take fluorouracil or capecitabine, call your clinician before the next dose" in text
    )
    assert "Apart from the warning above" not in text


@pytest.mark.parametrize("decision", ["decline", "defer"])
def test_who_takes_a_fluoropyrimidine_reads_its_signs_whatever_was_decided(decision: str) -> None:
    _, text = of_care(without(FLUOROURACIL, "dpyd_variants", "dpyd_positions"), decision)
    assert "About fluorouracil or capecitabine" in text
    assert "call before your next dose, and at once with diarrhoea, sore mouth or fever" in text


def test_what_stood_on_an_old_list_is_still_warned_of() -> None:
    old = {"medicines": known(("atc:L01BC06",), 40)}
    his_text, text = of_care(
        but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A", "c.1905+1G>A"), **old), "accept"
    )
    assert "ADVISES AGAINST" in his_text
    assert "is of 2026-10-21: what is named from it may be taken still. Ask." in his_text
    assert "Take no further dose before you have spoken with your clinic" in text
    taking = but(BEA, earlier_parp_inhibitor=True, medicines=known(("atc:L01XK01",), 40))
    his_text, text = of_care(taking, "accept")
    assert "olaparib, of “PARP inhibitors”" in his_text
    assert "You take olaparib" in text
    assert "you had, or do not tolerate, olaparib" not in text


def test_a_plan_is_not_out_of_date_by_what_counts_at_any_age() -> None:
    plan = draw_plan(but(BEA, thrombosis=known(True, 3000)), shipped(), care_people.TODAY)
    assert plan["options"]
    assert plan["valid_until"] >= plan["today"]


def test_both_genes_of_medicines_that_are_not_taken_are_named() -> None:
    his_text, _ = of_care(but(BEA, cyp2d6_diplotype=("*4/*4",)), "accept")
    assert "CYP2D6 *4/*4 is reported: it counts as soon as tamoxifen is taken" in his_text


def test_what_is_missing_names_no_result_that_was_not_spoken_of() -> None:
    unclear = but(BEA, metastatic=unknown(Reason.CONFLICTING), mds_aml=unknown(Reason.NOT_FINAL))
    _, text = of_care(unclear)
    assert "a result that your clinician speaks with you about" in text
    assert "bone marrow" not in text
    assert "tumours in other parts of the body" not in text


def test_a_warning_ends_a_medicine_only_where_the_rule_says_so() -> None:
    deficient = but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A", "c.1905+1G>A"))
    _, text = of_care(deficient, "accept")
    assert "Take no further dose before you have spoken with your clinic" in text
    assert "Apart from the warning above: do not start" in text
    _, text = of_care(but(BEA, medicines=(ITRACONAZOLE_CODE,)), "accept")
    assert "Do not stop your other medicines" in text
    assert "Meant: itraconazole." in text
    assert "Apart from the warning above" not in text


def test_each_condition_has_the_values_that_it_rests_on() -> None:
    text = his(with_a_dose(), {}, TODAY, shipped())
    counts = "haemoglobin 12.1 g/dL (2024-05-20); neutrophils 2.9 × 10⁹ per litre (2024-05-20); "
    assert "met blood counts recovered to grade 1 or better after chemotherapy (" in text
    assert counts in text
    assert "(germline BRCA1 pathogenic (2024-05-06))" in text


def test_on_paper_each_page_says_whose_plan_it_is_and_how_long_it_holds(
    plan: dict[str, Any],
) -> None:
    lines = f"Patient {SUBJECT} Drawn on 1 June 2024 · not valid after {day(plan['valid_until'])}"
    for text in (
        his(plan, {}, TODAY, shipped()),
        hers(plan, decided(plan), TODAY, shipped()),
    ):
        assert f"{lines} Name: Date of birth: " in text


@pytest.mark.parametrize(
    ("more", "statement", "agree"),
    [
        (
            (CLEARS,),
            "Offered: Consider olaparib tablets. Dose by the rule: 300 mg, 2 times a day (tablets).",
            "olaparib tablets: 300 mg, 2 times a day (tablets)",
        ),
        (
            (CLEARS, ITRACONAZOLE),
            "Offered: First choice: avoid the strong CYP3A inhibitor. If it must stay, consider "
            "olaparib tablets at the reduced dose. Dose by the rule: 100 mg, 2 times a day "
            "(tablets). Because of itraconazole; creatinine clearance 58.0 mL/min.",
            "olaparib tablets: 100 mg, 2 times a day (tablets), only if itraconazole stays",
        ),
        (
            (ITRACONAZOLE,),
            "ADVISES AGAINST: No dose: the label gives none for renal impairment together with a "
            "CYP3A inhibitor.",
            "ADVISES AGAINST olaparib tablets",
        ),
    ],
)
def test_what_is_countersigned_stands_beside_each_decision(
    more: tuple[dict[str, Any], ...], statement: str, agree: str
) -> None:
    text = his(with_a_dose(*more), {}, TODAY, shipped())
    form = text.partition("Countersign it")[2]
    title = "Olaparib tablets for breast cancer with a germline BRCA variant"
    pill = "advises against" if agree.startswith("ADVISES AGAINST") else "offered"
    assert f"{title} {pill} {statement}" in form
    decline = "Decline" if pill == "offered" else "I do NOT follow this warning"
    assert f"I agree: {agree} {decline}" in form
    assert f"{title} {pill}" in text.partition("Countersign it")[0]  # the card above
    seen = "Medicines seen: itraconazole (strong inhibitors of CYP3A)."
    assert (seen in form) is (ITRACONAZOLE in more)
    assert ("Up to one year in all" in text) is (pill == "offered")
    not_followed = form.count("Decline: ") + form.count("I do NOT follow this warning")
    assert form.count("I agree: ") == not_followed > 1
    assert "I agree: the statement above" in form


def test_the_medicine_that_a_dose_rests_on_is_named_first() -> None:
    text = his(with_a_dose(CLEARS, ITRACONAZOLE), {}, TODAY, shipped())
    assert "(tablets) Because of itraconazole; creatinine clearance 58.0 mL/min From age" in text
    assert "Because of itraconazole" not in his(with_a_dose(CLEARS), {}, TODAY, shipped())


def test_what_aged_is_named() -> None:
    plan = with_a_dose()
    late = plan["valid_until"] + 1
    text = his(plan, {}, late, shipped())
    assert (
        "since 4 June 2024: pregnancy, as recorded of 20 May 2024, may be 14 days old at most."
        in text
    )
    expired = [option | {"expires": late} for option in plan["options"]]
    text = his(plan | {"options": expired}, {}, late, shipped())
    assert f"the rule “{plan['options'][0]['title']}” has expired" in text
    nothing = plan | {"options": [], "lifestyle": []}
    assert "it has no option, so it was for its own day" in his(nothing, {}, late, shipped())


def test_the_command_line_leaves_out_a_plan_whose_rule_was_withdrawn(
    plan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    later = plan | {"valid_until": 1 << 20}
    opened = OpenedPlan(later, decided(later), {"a": 1}, "ab")
    _show(opened, None, as_json=True)
    assert "percent_of_usual_start" in capsys.readouterr().out
    unknown = [option | {"rule": "a-rule-of-before"} for option in later["options"]]
    withdrawn = later | {"options": unknown, "schedule": []}
    stopped = OpenedPlan(withdrawn, decided(withdrawn), {"a": 1}, "ab")
    _show(stopped, None, as_json=True)
    shown = capsys.readouterr()
    assert "this rule was withdrawn" in shown.err
    assert "percent_of_usual_start" not in shown.out
    for reader in (False, True):
        _show(stopped, None, hers=reader)
        text = capsys.readouterr().out
        assert "this rule was withdrawn" in text
        assert "of the starting dose" not in text


def test_a_patient_is_shown_what_her_clinician_confirmed(
    plan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    later = plan | {"valid_until": 1 << 20}
    for decision, shown in (("accept", True), ("decline", False), ("defer", False)):
        opened = OpenedPlan(later, decided(later, decision), {"a": 1}, "ab")
        _show(opened, None, as_json=True, hers=True)
        text = capsys.readouterr().out
        assert ("percent_of_usual_start" in text) is shown
        assert ("breast MRI" in text) is shown
        _show(opened, None, hers=True)
        text = capsys.readouterr().out
        assert ("breast MRI" in text) is shown
        assert HIS_NOTE in text
        assert "50 %" not in text  # as on the page


@pytest.mark.parametrize("decision", ["accept", "decline", "defer"])
@pytest.mark.parametrize("late", [0, 1])
def test_the_command_line_says_to_a_patient_what_the_page_says_and_no_more(
    plan: dict[str, Any], warning: dict[str, Any], decision: str, late: int
) -> None:
    for drawn in (plan, warning):
        today, notes = drawn["valid_until"] + late, decided(drawn, decision)
        text = for_patient(described(drawn, notes, today, shipped()))
        page = re.sub(r"\s", "", html.unescape(hers(drawn, notes, today, shipped())))
        lines = [line for line in re.sub(r"\n +", " ", text).splitlines() if line]
        assert len(lines) > 20
        for line in lines:
            assert re.sub(r"\s", "", line.removeprefix("- ")) in page


def test_the_command_line_has_a_plan_for_people() -> None:
    drawn = with_a_dose(CLEARS, ITRACONAZOLE)
    text = for_clinician(described(drawn, {}, TODAY, shipped()))
    lines = re.sub(r"\n {4,}", " ", text)
    assert 40 < text.count("\n") < 100
    assert max(map(len, text.splitlines())) <= 100
    for part in (
        "germline BRCA variant [offered]\n",
        "Dose by the rule: 100 mg, 2 times a day (tablets)\n",
        "Because of itraconazole; creatinine clearance 58.0 mL/min\n",
        "creatinine in serum 0.95 mg/dL (2024-05-25)",
        "Warning: Up to one year in all",
        "Looked at again if the record showed",
        "- complete blood count: before the start, every 30 days\n",
        "Not valid after 3 June 2024.\n",
        "The patient: female, 64 years",
    ):
        assert part in lines
    over = for_clinician(described(drawn, {}, drawn["valid_until"] + 1, shipped()))
    assert "THIS PLAN IS OUT OF DATE: pregnancy, as recorded of 20 May 2024" in over
    assert "100 mg" not in over
    against = with_a_dose(ITRACONAZOLE)
    lines = for_clinician(described(against, {}, TODAY, shipped()))
    assert "[advises against]\n  ADVISES AGAINST: No dose" in lines
    assert "Up to one year" not in lines
    signed = to_be_signed(
        described(against, {}, TODAY, shipped()), decided(against, "accept")["items"]
    )
    assert "Your decision: accept. I agree: ADVISES AGAINST olaparib tablets\n" in signed
    assert "  Medicines seen: itraconazole" in signed


def test_what_was_said_about_a_stopped_option_is_not_shown(plan: dict[str, Any]) -> None:
    rules = shipped()
    without = replace(rules, rules=tuple(rule for rule in rules.rules if rule.id != DOSE))
    for text in (
        his(plan, decided(plan), TODAY, without),
        hers(plan, decided(plan), TODAY, without),
    ):
        assert HALF not in text
        assert "We talk on Friday." not in text
        assert "Yes, sign it" not in text
        assert "toxicity in the first two cycles" not in text


def test_every_derived_fact_has_its_formula_in_words() -> None:
    assert FORMULAS.keys() == DERIVATIONS.keys()


@pytest.mark.parametrize(
    ("dose", "words"),
    [
        (None, ""),
        ({"percent_of_usual_start": 50}, HALF),
        ({"mg": 200, "times_a_day": 2, "form": "tablets"}, "200 mg, 2 times a day (tablets)"),
        ({"mg": 20, "times_a_day": 1, "form": "tablets"}, "20 mg, once a day (tablets)"),
    ],
)
def test_doses_in_words(dose: dict[str, Any] | None, words: str) -> None:
    assert dose_in_words(dose) == words


def test_the_command_line_says_that_a_plan_is_out_of_date(
    plan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """And then writes no dose, proposal or note."""
    for last, over in ((1 << 20, False), (TODAY, True)):
        opened = OpenedPlan(plan | {"valid_until": last}, decided(plan), {"a": 1}, "ab")
        for reader in (False, True):
            _show(opened, None, hers=reader)
            shown = capsys.readouterr()
            assert ("plan is out of date" in shown.out.lower()) is over
            assert (HIS_NOTE in shown.out) is not over
        _show(opened, None, as_json=True)
        shown = capsys.readouterr()
        assert ("This plan is out of date" in shown.err) is over
        for text in ("percent_of_usual_start", HIS_NOTE, plan["for_patient"][0]["text"]):
            assert (text in shown.out) is not over
        assert plan["sentence"] in shown.out


def test_a_note_moves_no_cursor_of_a_terminal() -> None:
    drawn = with_a_dose(CLEARS)
    notes = decided(drawn)
    for item in notes["items"].values():
        item["note"] = "as agreed\x1b[2J\x1b[31m"
    opened = described(drawn, notes, TODAY, shipped())
    for text in (
        for_clinician(opened),
        for_patient(opened),
        to_be_signed(opened, notes["items"]),
    ):
        assert "as agreed\\u001b[2J" in text
        assert "\x1b" not in text
