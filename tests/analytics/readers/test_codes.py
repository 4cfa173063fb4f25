import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import PayloadError
from analytics.readers.codes import (
    HIERARCHIES,
    LOCAL,
    SENSITIVE,
    SHIPPED,
    SYSTEMS,
    UCUM,
    URIS,
    VARIABLE_OF,
    VARIABLES,
    Coding,
    load_value_sets,
    measure,
    sensitive_categories,
    why_unroutable,
)
from analytics.readers.observations import ANSWERS, CODES, QUANTITIES
from analytics.vocabulary import Category

CM, ICD, ATC = URIS["icd-10-cm"], URIS["icd-10"], URIS["atc"]
LOINC, RXNORM, PCS = URIS["loinc"], URIS["rxnorm"], URIS["icd-10-pcs"]


@pytest.mark.parametrize(
    ("system", "code", "categories"),
    [
        (CM, "F32.9", {Category.MENTAL_HEALTH}),
        (CM, "f329", {Category.MENTAL_HEALTH}),  # as some hospitals spell it
        (CM, "F10.20", {Category.SUBSTANCE_USE}),
        (CM, "A54.9", {Category.SEXUAL_HEALTH}),
        (CM, "B20", {Category.HIV}),
        (CM, "Z21", {Category.HIV}),
        (ICD, "F02.4", {Category.MENTAL_HEALTH, Category.HIV}),  # dementia in HIV disease
        # Poisoning by aspirin, intentional self-harm: 6th character 2.
        (
            CM,
            "T39.012A",
            {Category.MENTAL_HEALTH},
        ),
        (CM, "t50902a", {Category.MENTAL_HEALTH}),
        (CM, "T42.4X2A", {Category.MENTAL_HEALTH}),
        (CM, "T71.162A", {Category.MENTAL_HEALTH}),
        (CM, "T58.02XA", {Category.MENTAL_HEALTH}),  # the intent comes 5th, before a placeholder
        (CM, "T65.92XS", {Category.MENTAL_HEALTH}),
        (CM, "T40.1X2A", {Category.MENTAL_HEALTH, Category.SUBSTANCE_USE}),
        (CM, "T39.011A", set()),  # accidental
        (CM, "T39.2X1A", set()),
        (CM, "T50.905A", set()),  # adverse effect
        (CM, "T58.01XA", set()),
        (CM, "T71.9XXA", set()),
        (CM, "T66.XX2A", set()),  # radiation sickness says no intent
        (CM, "T35.0X2A", set()),
        (CM, "S72.012A", set()),
        (ICD, "T39.012", set()),  # the WHO edition says intent by X60-X84 alone
        (CM, "Y87.0", {Category.MENTAL_HEALTH}),  # sequelae of self-harm
        (ICD, "Y87.0", {Category.MENTAL_HEALTH}),
        (ATC, "J05AR10", {Category.HIV}),
        (ATC, "N06AB04", {Category.MENTAL_HEALTH}),
        (ATC, "N07BC01", {Category.SUBSTANCE_USE}),
        (PCS, "HZ2ZZZZ", {Category.SUBSTANCE_USE}),
        (LOINC, "56888-1", {Category.HIV}),
        (LOINC, "44261-6", {Category.MENTAL_HEALTH}),
        (LOINC, "75626-2", {Category.SUBSTANCE_USE}),
        (RXNORM, "36437", {Category.MENTAL_HEALTH}),
        (RXNORM, "1819", {Category.SUBSTANCE_USE}),
        (RXNORM, "1999667", {Category.HIV}),
        ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "HIV", {Category.HIV}),
        (CM, "C50.911", set()),
        (CM, "I10", set()),
        (LOINC, "4548-4", set()),
        (RXNORM, "364370", set()),  # RxNorm has no hierarchy
        (ATC, "L01EX02", set()),
        ("urn:x", "B20", set()),
        (None, "B20", set()),
    ],
)
def test_a_code_falls_in_its_sensitive_categories(
    system: str | None, code: str, categories: set[int]
) -> None:
    assert sensitive_categories(Coding(system, code), SHIPPED) == categories


@pytest.mark.parametrize(
    ("system", "code", "why"),
    [
        (CM, "C50.911", None),
        (LOINC, "LA6576-8", None),
        (LOCAL, "follow-up", None),
        (LOCAL, "hiv-status", "unknown local code"),
        (CM, None, "no code"),
        (None, "B20", "unknown code system"),
        ("http://snomed.info/sct", "86406008", "unknown code system"),
        ("http://hl7.org/fhir/sid/icd-10-gm", "B20", "unknown code system"),
        (CM, "Z71", "code too broad"),  # holds alcohol counselling
        (CM, "B97", "code too broad"),
        (CM, "T39", "code too broad"),  # of whatever intent
        (CM, "T39.01", "code too broad"),
        (CM, "T39.011A", None),
        (CM, "T40.1", None),  # substance use, whatever the intent
        (CM, "T66", None),
        (ICD, "T39.0", None),
        (ATC, "J05", "code too broad"),
        (CM, " B20", "malformed code"),
        (CM, "Ann Canary", "malformed code"),
        (LOINC, "056888-1", "malformed code"),
        (RXNORM, "036437", "malformed code"),
        (ATC, "j05ar10", "malformed code"),
    ],
)
def test_unroutable_codes_have_a_reason(
    system: str | None, code: str | None, why: str | None
) -> None:
    assert why_unroutable(Coding(system, code), SHIPPED) == why


@given(
    st.sampled_from([(s, c) for s in HIERARCHIES for c in SHIPPED.categories.get(s, ())]), st.data()
)
def test_below_a_listed_code_all_is_sensitive_and_above_it_nothing_passes(
    code: tuple[str, str], data: object
) -> None:
    system, listed = code
    below = listed + data.draw(st.text("0123456789ABX", max_size=3))  # type: ignore[attr-defined]
    assert (
        sensitive_categories(Coding(URIS[system], below), SHIPPED)
        >= SHIPPED.categories[system][listed]
    )
    for end in range(1, len(listed)):
        above = Coding(URIS[system], listed[:end])
        assert sensitive_categories(above, SHIPPED) or why_unroutable(above, SHIPPED)


def test_every_listed_code_has_its_systems_shape() -> None:
    for system, codes in SHIPPED.categories.items():
        # Those of act-code are security labels, not classes of an encounter.
        for code in codes if system in set(URIS) - {"icd-10-pcs", "act-code"} else ():
            assert why_unroutable(Coding(URIS[system], code), SHIPPED) is None, (system, code)
    assert set(SHIPPED.categories) - set(URIS) == {
        "http://terminology.hl7.org/CodeSystem/v2-0074",
        "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
    }


def entry(**changes: object) -> bytes:
    listed = {"category": 19, "system": "loinc", "source": "a hospital", "codes": ["718-7"]}
    return json.dumps([{**listed, **changes}]).encode()


def test_a_hospital_list_only_adds_codes() -> None:
    more = load_value_sets(entry(codes=["718-7", "44261-6"]), SHIPPED)
    assert sensitive_categories(Coding(LOINC, "718-7"), more) == {Category.HIV}
    assert sensitive_categories(Coding(LOINC, "44261-6"), more) == {
        Category.HIV,
        Category.MENTAL_HEALTH,
    }
    # The shipped sets did not change.
    assert sensitive_categories(Coding(LOINC, "718-7"), SHIPPED) == frozenset()
    for system, codes in SHIPPED.categories.items():
        assert all(
            more.categories[system][code] >= categories for code, categories in codes.items()
        )


def test_a_list_may_name_a_system_by_uri_or_an_unknown_system() -> None:
    by_uri = load_value_sets(entry(system=CM, codes=["d50.1"]), SHIPPED)
    assert sensitive_categories(Coding(CM, "D50.1"), by_uri) == {Category.HIV}
    assert why_unroutable(Coding(CM, "D50"), by_uri) == "code too broad"
    snomed = load_value_sets(entry(system="http://snomed.info/sct", codes=["86406008"]), SHIPPED)
    assert sensitive_categories(Coding("http://snomed.info/sct", "86406008"), snomed) == {
        Category.HIV
    }


@pytest.mark.parametrize(
    "payload",
    [
        b"Canary",
        b"{}",
        b"[7]",
        entry(category=2),
        entry(category=[19]),
        entry(category="19"),
        entry(category=True),
        entry(system=7),
        entry(codes="718-7"),
        entry(codes=[7]),
        entry(codes=[""]),
        entry(Canary=1),
    ],
)
def test_an_invalid_list_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        load_value_sets(payload, SHIPPED)
    assert "Canary" not in str(refused.value)


def quantity(value: object, code: str, **more: object) -> dict[str, object]:
    return {"valueQuantity": {"value": value, "system": UCUM, "code": code, **more}}


def answer(code: str) -> dict[str, object]:
    return {"valueCodeableConcept": {"coding": [{"system": LOINC, "code": code}]}}


@pytest.mark.parametrize(
    ("name", "element", "number", "note"),
    [
        ("glucose_mmol_l", quantity(90, "mg/dL"), 4.996, "converted"),  # 180.156 g/mol
        ("glucose_mmol_l", quantity(5, "mmol/L"), 5.0, ""),
        ("hba1c_percent", quantity(53, "mmol/mol"), 7.0, "converted"),  # NGSP master equation
        ("creatinine_umol_l", quantity(1, "mg/dL"), 88.42, "converted"),
        ("ldl_mmol_l", quantity(100, "mg/dL"), 2.586, "converted"),
        ("triglycerides_mmol_l", quantity(100, "mg/dL"), 1.129, "converted"),
        ("height_cm", quantity(1, "m"), 100.0, "converted"),
        ("bmi", quantity(500, "kg/m2"), None, "implausible"),
        ("bmi", quantity(0, "kg/m2"), None, "implausible"),
        ("bmi", quantity(25, "kg"), None, "unknown unit"),
        ("bmi", quantity(25, "kg/m2", comparator="<"), None, "not one number"),
        ("bmi", quantity("25", "kg/m2"), None, "not one number"),
        ("bmi", quantity(True, "kg/m2"), None, "not one number"),
        ("bmi", {"valueBoolean": True}, None, "unknown unit"),
        ("metastasis", {"valueBoolean": True}, 1.0, ""),
        ("metastasis", quantity(1, "1"), None, "unknown answer"),
        ("smoker", answer("LA18976-3"), 1.0, ""),
        ("smoker", answer("LA18980-5"), None, "unknown answer"),
    ],
)
def test_a_value_is_read_in_the_variables_unit(
    name: str, element: dict[str, object], number: float | None, note: str
) -> None:
    value = measure(VARIABLES[name], element)
    assert value.note == note
    assert value.number == (None if number is None else pytest.approx(number, rel=1e-3))


def test_the_variables_file_is_complete() -> None:
    assert {variable.kind for variable in VARIABLES.values()} == {"quantity", "answer", "boolean"}
    for variable in VARIABLES.values():
        assert variable.category in (2, 9)
        assert (
            (variable.kind == "quantity")
            == bool(variable.units)
            == (variable.plausible[1] > variable.plausible[0])
        )
        assert (variable.kind == "answer") == bool(variable.answers)
        if variable.kind == "quantity":
            assert next(iter(variable.units.values())) == (1.0, 0.0)
    for coding, variable in VARIABLE_OF.items():
        assert not sensitive_categories(coding, SHIPPED), variable.name
        assert why_unroutable(coding, SHIPPED) is None


def test_the_published_cohorts_findings_are_variables_with_the_same_meaning() -> None:
    for finding, code in CODES.items():
        variable = VARIABLE_OF[Coding(*code)]
        assert variable.name == finding
        if finding in QUANTITIES:
            units, largest = QUANTITIES[finding]
            assert variable.plausible == (0, largest)
            assert {unit: (float(factor), 0.0) for unit, factor in units.items()} == variable.units
        if finding in ANSWERS:
            assert {
                Coding(*answer): float(number) for answer, number in ANSWERS[finding].items()
            } == variable.answers


def test_systems_have_one_short_name_each() -> None:
    assert len(URIS) == len(SYSTEMS)
    assert {5, 16, 17, 18, 19} == SENSITIVE
