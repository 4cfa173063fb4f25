"""The rule set and the plan: what is refused, what a plan says, and that it is the same bytes."""

from __future__ import annotations

import copy
import datetime
import importlib
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from care_people import ADA, BEA, CLEAR, FLUOROURACIL, METASTATIC, TODAY, but, known, unknown
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.canonical import dump_canonical
from analytics.care.days import day_of
from analytics.care.drawn import not_in_force
from analytics.care.facts import FACTS, Fact, Kind, Known, Reason, Unknown
from analytics.care.formulas import DERIVATIONS
from analytics.care.interpreter import State, evaluate
from analytics.care.medicine_table import TABLE, code_of
from analytics.care.plan import SENTENCE, draw_plan
from analytics.care.rule_set import FOLDER, RuleSet, index_of, rule_set_hash, rule_set_of, shipped
from analytics.errors import RuleSetError

OLAPARIB = "olaparib-breast-cancer"
FILES = {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
READ = {name: fact for name, fact in FACTS.items() if name not in DERIVATIONS}


@pytest.fixture(scope="module")
def care_rules() -> Iterator[ModuleType]:
    """docs/care_rules.py, as docs/generate.py finds it beside itself."""
    folder = str(Path(__file__).resolve().parents[3] / "docs")
    sys.path.insert(0, folder)
    yield importlib.import_module("care_rules")
    sys.path.remove(folder)


def with_file(name: str, change: Callable[[Any], None]) -> RuleSet:
    """The shipped rule set with one file changed, and its index made anew."""
    files = dict(FILES)
    content = json.loads(files[name])
    change(content)
    files[name] = json.dumps(content).encode()
    return rule_set_of({**files, "index.json": index_of(files, "US")})


def olaparib(facts: dict[str, Fact], rules: RuleSet, today: int = TODAY) -> Any:
    return next(e for e in evaluate(facts, rules, today) if e.rule.id == OLAPARIB)


# -- the rule set


def test_the_hash_names_every_byte() -> None:
    assert rule_set_hash().hex() == shipped().digest
    other = with_file(f"{OLAPARIB}.json", lambda rule: rule.update(version=2))
    assert other.digest != shipped().digest


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"index.json"}))
def test_a_file_that_is_not_the_one_of_the_index_is_refused(name: str) -> None:
    files = dict(FILES)
    with pytest.raises(RuleSetError, match="index"):
        rule_set_of({**files, name: files[name] + b" "})


@pytest.mark.parametrize("name", ["medicines.json", "populations.json"])
def test_a_table_of_facts_names_the_sources_that_it_is_from(name: str) -> None:
    content = json.loads((FOLDER.parent / name).read_text())
    sources = [row["source"] for row in content] if name[0] == "p" else content["sources"]
    assert sources
    for source in sources:
        assert source["url"].startswith("https://")
        assert day_of(source["read_on"])
        assert source["title"]
        assert source["licence"]


def test_no_text_of_a_rule_says_she_of_whoever_it_is_about() -> None:
    texts = json.dumps([json.loads(content) for content in FILES.values()])
    texts += json.dumps([*map(str, Reason)])
    assert re.findall(r"\b(?:she|her|hers|herself)\b", texts, re.IGNORECASE) == []


def without_key(key: str) -> Callable[[Any], None]:
    return lambda rule: rule.pop(key)


def without_source_key(key: str) -> Callable[[Any], None]:
    return lambda rule: rule["sources"][0].pop(key)


def first_source(**changes: str) -> Callable[[Any], None]:
    return lambda rule: rule["sources"][0].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        without_key("sources"),
        without_key("expires"),
        lambda rule: rule.update(sources=[]),
        *map(without_source_key, ("title", "url", "dated", "read_on", "licence", "status")),
        first_source(url="http://x"),
        first_source(status="unsure"),
        lambda rule: rule.update(expires="2027-02-30"),
        lambda rule: rule["gates"][0].pop("change"),
        lambda rule: rule["gates"][0]["when"].update(op="=="),
        lambda rule: rule["gates"][0]["when"].update(fact="shoe_size"),
        lambda rule: rule["gates"][0]["when"].update(op="<="),
        lambda rule: rule["gates"][0]["when"].update(on_unknown="no"),
        lambda rule: rule["gates"][0]["when"].update(on_unknown="yes"),
        lambda rule: rule["gates"][3]["when"].update(value="negativ"),
        lambda rule: rule["gates"][1]["when"].update(value="yes"),
        lambda rule: rule["needs"].remove({"fact": "weight", "days": 30}),
        lambda rule: rule["needs"].append({"fact": "shoe_size"}),
        lambda rule: rule["options"][0].pop("basis"),
        lambda rule: rule["options"][0]["dose"].update(mg=0),
        lambda rule: rule["options"][0]["when"]["all"][1]["not"].update(value="no-list"),
        lambda rule: rule.update(surprise=True),
    ],
)  # one change a line  # fmt: skip
def test_what_is_no_rule_with_its_source_is_refused(change: Callable[[Any], None]) -> None:
    with pytest.raises(RuleSetError):
        with_file(f"{OLAPARIB}.json", change)


def test_two_rows_that_apply_are_an_error() -> None:
    rules = with_file(
        f"{OLAPARIB}.json",
        lambda rule: rule["options"][1].update(when=rule["options"][0]["when"]),
    )
    with pytest.raises(RuleSetError, match="two rows"):
        evaluate(CLEAR, rules, TODAY)


# -- refusals of the rule itself


def test_refusals_are_all_listed_in_one_order() -> None:
    def change(rule: Any) -> None:
        rule.update(jurisdiction="CH", expires="2026-11-30")
        rule["sources"][0]["status"] = "superseded"
        rule["sources"][1]["status"] = "retracted"

    evaluation = olaparib(BEA, with_file(f"{OLAPARIB}.json", change))
    assert evaluation.state is State.REFUSES
    assert evaluation.option is None
    assert [refusal.split(":")[0] for refusal in evaluation.refusals] == [
        "the rule is for CH, not for US",
        "its source is superseded",
        "its source is retracted",
        "the rule, or a list or table that it reads, expired on 2026-11-30",
    ]


@pytest.mark.parametrize("status", ["superseded", "withdrawn", "retracted"])
def test_a_source_that_does_not_stand_refuses(status: str, care_rules: ModuleType) -> None:
    rules = with_file(f"{OLAPARIB}.json", first_source(status=status))
    assert olaparib(BEA, rules).state is State.REFUSES
    assert care_rules.faults(datetime.date(2026, 12, 1), rules)


def test_the_day_of_expiry_and_the_days_around_it() -> None:
    rules = with_file(f"{OLAPARIB}.json", lambda rule: rule.update(expires="2026-12-01"))
    assert olaparib(BEA, rules).state is State.OPEN
    assert olaparib(BEA, rules, TODAY + 1).state is State.REFUSES


def test_an_expired_list_of_medicines_refuses() -> None:
    rules = with_file(
        "lists.json", lambda file: file["lists"]["cyp3a-inducers"].update(expires="2026-11-30")
    )
    assert olaparib(BEA, rules).state is State.REFUSES
    assert draw_plan(BEA, rules, TODAY)["options"]  # of rules that do not read it


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("lists.json", OLAPARIB),
        ("dpyd-table.json", "dpyd-fluoropyrimidine-dose"),
        ("cyp2d6-table.json", "cyp2d6-tamoxifen"),
    ],
)
def test_a_list_or_table_that_was_retracted_refuses_its_rules(
    name: str, rule: str, care_rules: ModuleType
) -> None:
    def retract(file: Any) -> None:
        parts = file["lists"].values() if "lists" in file else [file]
        for part in parts:
            part["sources"][0]["status"] = "retracted"

    rules = with_file(name, retract)
    evaluation = next(
        candidate for candidate in evaluate(BEA, rules, TODAY) if candidate.rule.id == rule
    )
    assert evaluation.state is State.REFUSES
    assert any(
        "retracted" in fault for fault in care_rules.faults(datetime.date(2026, 12, 1), rules)
    )
    items = [{"rule": rule, "version": 1, "title": "t"}]
    [change] = not_in_force({"options": items, "lifestyle": []}, rules, TODAY)
    assert "does not stand" in change.why


def test_the_shipped_rules_stand_today(care_rules: ModuleType) -> None:
    """Fails on the day on which a rule expires: read its source again, then move its date."""
    assert care_rules.faults() == []


def test_an_expired_or_uncited_rule_is_a_fault(care_rules: ModuleType) -> None:
    (fault, *others) = care_rules.faults(datetime.date(2027, 2, 28))
    assert "dpyd-fluoropyrimidine-dose expired" in fault
    assert len(others) == 1
    assert len(care_rules.faults(datetime.date(2029, 1, 1))) == len(shipped().rules)
    assert care_rules.faults(datetime.date(2026, 11, 29))


# -- the plan


def drawn(facts: dict[str, Fact], today: int = TODAY) -> dict[str, Any]:
    return draw_plan(facts, shipped(), today)


def refused(plan: dict[str, Any], rule: str = OLAPARIB) -> dict[str, Any]:
    return next(item for item in plan["refused"] if item["rule"] == rule)


def test_adas_plan_names_the_two_gates() -> None:
    item = refused(drawn(ADA))
    assert item["state"] == "closed"
    assert item["closed"] == ["chemotherapy", "high-risk-or-metastatic"]
    assert item["reasons"][0].startswith("No chemotherapy before")
    assert len(item["change"]) == 2
    assert item["missing"] == []


def test_beas_plan() -> None:
    plan = drawn(BEA)
    assert plan["type"] == "volens/plan/1"
    assert plan["sentence"] == SENTENCE
    assert plan["jurisdiction"] == "US"
    option = next(item for item in plan["options"] if item["rule"] == OLAPARIB)
    assert option["dose"] == {"mg": 200, "times_a_day": 2, "form": "tablets"}
    assert option["computed"] == {"creatinine_clearance": "44 mL/min"}
    assert {gate["value"] for gate in option["gates"]} == {"yes"}
    weight = next(fact for fact in option["facts"] if fact["fact"] == "weight")
    assert weight == {
        "fact": "weight",
        "label": "weight",
        "value": "72",
        "unit": "kg",
        "day": TODAY - 5,
        "age_days": 5,
        "sources": ["Observation/5"],
    }
    assert [item["rule"] for item in plan["lifestyle"]] == ["diet", "exercise"]
    assert {item["grade"] for item in plan["lifestyle"]} == {"weak"}
    assert "0.99" in plan["lifestyle"][0]["against"]
    assert any("six months" in warning["text"] for warning in plan["warnings"])
    assert any("rxnorm:26225" in warning["text"] for warning in plan["warnings"])
    assert {item["every_days"] for item in plan["schedule"] if "blood count" in item["what"]} == {
        30
    }
    assert option["sources"][0]["read_on"] == "2026-11-30"


@pytest.mark.parametrize(
    ("thrombosis", "warning"),
    [
        (known(True, 2000), "Venous thromboembolism is recorded"),
        (known(False, 2000), "Whether there is or was a venous thromboembolism is not known"),
        (known(False, 2), None),
    ],
)
def test_a_thrombosis_of_any_age_warns(thrombosis: Fact, warning: str | None) -> None:
    texts = [entry["text"] for entry in drawn(but(BEA, thrombosis=thrombosis))["warnings"]]
    of_thrombosis = [text for text in texts if "enous thromboembolism" in text]
    general = "Venous thromboembolism: watch for signs and treat it."
    assert [text[: len(warning or "")] for text in of_thrombosis if text != general] == (
        [] if warning is None else [warning]
    )


@pytest.mark.parametrize(
    ("allergies", "warned"),
    [
        (("atc:L01BC02",), True),
        (("atc:A10BA02",), False),
        (unknown(Reason.NOT_RECORDED), False),
    ],
)
def test_an_allergy_to_the_medicine_itself_warns(allergies: Any, warned: bool) -> None:
    plan = drawn(but(FLUOROURACIL, allergies=allergies))
    texts = [warning["text"] for warning in plan["warnings"]]
    assert any(text.startswith("An allergy or intolerance") for text in texts) == warned


FIVE = {
    "uncertain significance": but(BEA, brca1_germline="uncertain significance"),
    "somatic": but(BEA, brca1_germline=unknown(Reason.NOT_RECORDED, "somatic only")),
    "HER2 positive": but(BEA, her2="positive"),
    "hg19": but(BEA, brca1_germline=unknown(Reason.BUILD_MISSING)),
    "HIV category withheld": but(BEA, medicines_complete=unknown(Reason.WITHHELD)),
}


@pytest.mark.parametrize("name", FIVE)
def test_beas_five_refusals(name: str) -> None:
    plan = drawn(FIVE[name])
    assert OLAPARIB not in {item["rule"] for item in plan["options"]}
    item = refused(plan)
    reasons = [*item["reasons"], *(fact.get("reason", "") for fact in item["missing"])]
    assert {
        "uncertain significance": "uncertain significance",
        "somatic": "not recorded",
        "HER2 positive": "HER2 is positive.",
        "hg19": "genome build missing or not GRCh38",
        "HIV category withheld": "withheld by consent",
    }[name] in " ".join(reasons)
    assert "mg" not in json.dumps(item.get("dose", {}))


def test_what_was_seen_is_listed_though_the_list_is_not_whole() -> None:
    """Ritonavir may be in the category that she withholds: what is seen is said, nothing more."""
    changes = {"medicines_complete": unknown(Reason.WITHHELD), "medicines": ("atc:J02AC01",)}
    item = refused(drawn(but(BEA, **changes)))  # type: ignore[arg-type]
    assert item["state"] == "cannot be evaluated"
    assert item["change"] == [
        "Ask the patient: whether the list of medicines is complete; it is in what the consent "
        "withholds, or could be."
    ]
    assert item["medicines"] == [
        {
            "code": "atc:J02AC01",
            "name": "fluconazole",
            "is_one_of": "moderate inhibitors of CYP3A",
        }
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weight": known(Decimal(72), 31)}, "To be known: weight (too old: 72 kg, 31 days old, at most 30)."),
        (
            {"brca1_germline": known("pathogenic", 800)},
            "To be known: germline BRCA1 (too old: pathogenic, 800 days old, at most 730).",
        ),
        (
            {"pneumonitis": known(False, 181)},
            "To be known: pneumonitis (too old: no, 181 days old, at most 180).",
        ),
        ({"her2": known("equivocal")}, "To be known: HER2; equivocal does not decide."),
        ({"creatinine": unknown(Reason.UNIT)}, "To be known: creatinine in serum (a unit that cannot be converted)."),
    ],
)  # a table  # fmt: skip
def test_what_would_change_it(changes: dict[str, Fact], sentence: str) -> None:
    assert refused(drawn(but(BEA, **changes)))["change"] == [sentence]


def test_each_known_medicine_is_on_the_lists_of_its_atc_codes() -> None:
    rules = shipped()
    for name, row in TABLE["ingredients"].items():
        code = code_of(name)
        assert code.startswith("atc:") or code in rules.read_codes, name
        for codes in rules.lists.values():
            if any(codes.get(f"atc:{atc}") == name for atc in row["atc"]):
                assert codes.get(code) == name


LIMITS = [
    (rule.id, name, days, name in rule.lasting)
    for rule in shipped().rules
    for name, days in rule.needs.items()
    if days
]


@pytest.mark.parametrize(("rule", "name", "days", "lasting"), LIMITS)
def test_each_age_limit_is_kept_to_the_day(rule: str, name: str, days: int, lasting: bool) -> None:
    value = {Kind.YES_NO: not lasting, Kind.NUMBER: Decimal(50), Kind.LIST: ()}
    for age, usable in ((days, True), (days + 1, False)):
        fact = known(value.get(FACTS[name].kind, (*FACTS[name].words, "")[0]), age)
        evaluation = of_rule(rule, {name: fact})
        seen = evaluation.facts[name]
        assert isinstance(seen, Known) is usable
        assert usable or (isinstance(seen, Unknown) and seen.reason is Reason.TOO_OLD)
    if lasting:
        evaluation = of_rule(rule, {name: known(True, 9_000)})
        assert isinstance(evaluation.facts[name], Known)


def of_rule(rule: str, facts: dict[str, Fact]) -> Any:
    return next(
        evaluation for evaluation in evaluate(facts, shipped(), TODAY) if evaluation.rule.id == rule
    )


def test_the_limits_of_the_design() -> None:
    needs = next(rule.needs for rule in shipped().rules if rule.id == OLAPARIB)
    assert {needs[name] for name in ("creatinine", "weight", "haemoglobin", "neutrophils")} == {30}
    assert needs["platelets"] == 30
    assert needs["brca1_germline"] == needs["brca2_germline"] == 730


def test_a_plan_holds_until_its_first_fact_is_too_old() -> None:
    plan = drawn(BEA)
    last = plan["valid_until"]
    assert last == TODAY - 5 + 14  # the pregnancy test
    names = [item["rule"] for item in plan["options"]]
    assert [item["rule"] for item in drawn(BEA, last)["options"]] == names
    assert OLAPARIB not in [item["rule"] for item in drawn(BEA, last + 1)["options"]]
    assert drawn({})["valid_until"] == TODAY


def test_a_plan_holds_no_longer_than_its_rules() -> None:
    plan = drawn(but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A",), pregnant=True))
    assert plan["valid_until"] == TODAY - 5 + 30
    only = {name: FLUOROURACIL[name] for name in ("brca1_germline", "brca2_germline", "sex")}
    assert drawn(only)["valid_until"] == TODAY + 364  # the rule is refused a year from today


def test_dpyd_is_never_told_by_a_word_or_as_safe() -> None:
    for variants in ((), ("c.1905+1G>A",), ("c.1905+1G>A",) * 2, ("c.2846A>T", "c.1679T>G")):
        text = json.dumps(drawn(but(FLUOROURACIL, dpyd_variants=variants))).lower()
        assert "metaboli" not in text
        assert "is safe" not in text.replace("no dose is safe", "")


def test_an_untested_dpyd_is_a_line_of_its_own() -> None:
    plan = drawn(but(CLEAR, medicines=("rxnorm:4492",)))
    (line,) = (item for item in plan["options"] if item["rule"].startswith("dpyd-test"))
    assert line["action"] == (
        "Test DPYD before the first dose, unless treatment cannot wait. "
        "If it is taken already: test now, and look for toxicity today."
    )


def test_what_she_reads_has_no_rule_that_does_not_concern_her() -> None:
    rules = {item["rule"] for item in drawn(BEA)["for_patient"]}
    assert rules == {"brca-carrier", OLAPARIB, "diet", "exercise"}
    nothing = drawn(but(BEA, medicines=unknown(Reason.WITHHELD)))["for_patient"]
    assert {item["rule"] for item in nothing} == {"brca-carrier", OLAPARIB, "diet", "exercise"}
    assert "medicines now" in next(i["text"] for i in nothing if i["rule"] == OLAPARIB)


def test_a_fact_that_no_reader_gives_is_refused() -> None:
    for name in ("creatinine_clearance", "shoe_size"):
        with pytest.raises(RuleSetError, match="no fact"):
            drawn({name: known(Decimal(90))})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("her2", "triple"),
        ("weight", True),
        ("weight", Decimal("NaN")),
        ("weight", Decimal(-70)),
        ("metastatic", "no"),
        ("medicines", "atc:J02AC02"),
    ],
)
def test_a_value_of_another_kind_is_not_understood(name: str, value: Any) -> None:
    item = refused(drawn(but(CLEAR, **{name: known(value)})))
    reasons = {fact["fact"]: fact.get("reason") for fact in item["missing"]}
    assert reasons[name] == "a value that is not understood"


# -- whatever the facts


def values_of(name: str) -> st.SearchStrategy[Any]:
    kind = FACTS[name]
    codes = ("atc:J02AC02", "atc:J02AC01", "atc:J04AB02", "atc:L01BC06", "rxnorm:1", "atc:A10BA02")
    return {
        Kind.YES_NO: st.booleans(),
        Kind.NUMBER: st.decimals("0", "200", places=1),
        Kind.WORD: st.sampled_from(kind.words or ("",)),
        Kind.LIST: st.lists(st.sampled_from(codes), max_size=3).map(tuple),
    }[kind.kind]


def fact_of(name: str) -> st.SearchStrategy[Fact]:
    return st.one_of(
        st.builds(Unknown, st.sampled_from(list(Reason))),
        st.builds(Known, values_of(name), st.integers(TODAY - 40, TODAY)),
    )


@cache
def some_facts() -> st.SearchStrategy[dict[str, Fact]]:
    changes = st.fixed_dictionaries({}, optional={name: fact_of(name) for name in READ})
    bases = st.sampled_from([CLEAR, BEA, ADA, METASTATIC, FLUOROURACIL])
    few = st.lists(st.sampled_from(sorted(READ)), max_size=4)
    return st.tuples(bases, changes, few).map(
        lambda parts: {**parts[0], **{n: parts[1][n] for n in parts[2] if n in parts[1]}}
    )


# Without these there is no dose, whatever else is known.
INDISPENSABLE = (
    "sex age breast_cancer her2 metastatic chemotherapy earlier_parp_inhibitor weight creatinine "
    "haemoglobin neutrophils platelets mds_aml pneumonitis medicines"
).split()


def test_a_value_for_which_a_rule_has_no_row_is_named() -> None:
    facts = {**BEA, "sex": Known("other", None)}
    carrier = of_rule("brca-carrier", facts)
    assert (carrier.state, carrier.missing) == (State.UNKNOWN, ("sex",))


@settings(deadline=None, max_examples=60)
@given(some_facts())
def test_no_option_while_something_needed_is_unknown(facts: dict[str, Fact]) -> None:
    for evaluation in evaluate(facts, shipped(), TODAY):
        unknown_gates = [gate.id for gate in evaluation.gates if gate.value is not True]
        assert (evaluation.option is None) or not unknown_gates
        assert (evaluation.option is None) == (evaluation.state is not State.OPEN)
        if evaluation.state is State.UNKNOWN:
            assert evaluation.missing
        if evaluation.rule.id == OLAPARIB and evaluation.option is not None:
            assert all(isinstance(evaluation.facts[name], Known) for name in INDISPENSABLE)


@settings(deadline=None, max_examples=60)
@given(some_facts(), st.sampled_from(INDISPENSABLE), st.sampled_from(list(Reason)))
def test_taking_a_needed_fact_away_ends_the_option(
    facts: dict[str, Fact], name: str, reason: Reason
) -> None:
    assert olaparib({**facts, name: Unknown(reason)}, shipped()).option is None


@settings(deadline=None, max_examples=60)
@given(some_facts(), st.decimals("20", "400", places=1), st.decimals("20", "400", places=1))
def test_the_dose_never_rises_as_the_clearance_falls(
    facts: dict[str, Fact], weight: Decimal, other: Decimal
) -> None:
    low, high = sorted((weight, other))

    def dose(value: Decimal) -> int:
        option = olaparib(but(facts, weight=value), shipped()).option or {}
        return int(option.get("dose", {}).get("mg", 0))

    assert dose(low) <= dose(high)


@settings(deadline=None, max_examples=60)
@given(
    some_facts(),
    st.sampled_from(["atc:J02AC02", "atc:J02AC01"]),
    st.decimals("31", "50.9", places=1),
)
def test_impairment_and_inhibitor_never_give_a_number(
    facts: dict[str, Fact], code: str, clearance: Decimal
) -> None:
    changes = {name: CLEAR[name] for name in ("age", "creatinine", "sex")}
    both = but({**facts, **changes}, weight=clearance, medicines=(code,))
    assert "dose" not in (olaparib(both, shipped()).option or {})


@settings(deadline=None, max_examples=60)
@given(some_facts(), st.randoms(use_true_random=False))
def test_the_order_of_facts_changes_nothing(facts: dict[str, Fact], order: random.Random) -> None:
    names = list(facts)
    order.shuffle(names)
    before = copy.deepcopy(facts)
    first = dump_canonical(drawn(facts))
    assert dump_canonical(drawn({name: facts[name] for name in names})) == first
    assert facts == before
