"""Encounters, family histories and allergies; old ages and shifted dates."""

from __future__ import annotations

import datetime
import json
from typing import Any

import fhir_files as fhir
import pytest
from fhir.resources.R4B.bundle import Bundle

from analytics.errors import InputsError, PayloadError
from analytics.readers.clinical import Fact, day_number, matches, read_clinical_record, value_at
from analytics.readers.codes import SHIPPED
from analytics.readers.fhir import Split, bundle_of, split_bundle, split_files

SUBJECT = "ab" * 32
HER = {"patient": {"reference": "Patient/p"}}
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-"


def split(*resources: dict[str, Any]) -> Split:
    return split_bundle(fhir.bundle(*resources), SUBJECT)


def facts(result: Split) -> list[tuple[int, str, str]]:
    record = read_clinical_record(result.records, SUBJECT)
    return [(fact.category, fact.system, fact.code) for fact in record.facts]


def visit(*kinds: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": ACT, "code": "IMP", "display": "inpatient"},
        "type": [fhir.concept(kind) for kind in kinds],
        "period": {"start": "2014-05-06T07:08:09+02:00", "end": "2014-05-09"},
        **fhir.ABOUT,
        **more,
    }


def family(*codes: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "FamilyMemberHistory",
        "status": "completed",
        "relationship": fhir.concept(("urn:x", "MTH")),
        "condition": [{"code": fhir.concept(code)} for code in codes],
        "name": "Canary",
        **HER,
        **more,
    }


def allergy(*codes: tuple[str, str], **more: Any) -> dict[str, Any]:
    coded = {"code": fhir.concept(*codes)} if codes else {}
    return {"resourceType": "AllergyIntolerance", **coded, **HER, "recordedDate": "2013", **more}


def test_they_are_facts_of_their_own_kind() -> None:
    """A mother's cancer is not the person's, and who is allergic to a drug does not take it."""
    result = split(
        visit((fhir.CM, "Z00.00")), family((fhir.CM, "C50.9")), allergy((fhir.ATC, "J01CA04"))
    )
    assert facts(result) == [
        (3, "allergy-atc", "J01CA04"),
        (4, "encounter-act-code", "IMP"),
        (4, "encounter-icd-10-cm", "Z00.00"),
        (5, "family-icd-10-cm", "C50.9"),
    ]
    assert "Canary" not in b"".join(result.records.values()).decode()
    record = read_clinical_record(result.records, SUBJECT)
    days = {fact.system: fact.day for fact in record.facts}
    assert days["encounter-act-code"] == datetime.date(2014, 5, 9).toordinal() - 719_163, "its end"
    mother = next(fact for fact in record.facts if fact.category == 5)
    assert matches(mother, "family-icd-10-cm:C50")
    assert not matches(mother, "icd-10-cm:C50")
    with pytest.raises(InputsError):
        matches(mother, "uncle-icd-10-cm:C50")
    for category in (3, 4):
        Bundle.model_validate(json.loads(result.records[category]))


@pytest.mark.parametrize(
    ("resource", "kept"),
    [
        (visit((fhir.CM, "Z00.00"), reasonCode=[fhir.concept((fhir.CM, "F10.20"))]), "17"),
        (visit((fhir.CM, "F32.9")), "16"),
        (visit((fhir.CM, "Z00.00"), serviceType=fhir.concept((fhir.CM, "B20"))), "19"),
        (family((fhir.CM, "Z15.01")), "5"),
        (allergy((fhir.ATC, "J05AR10")), "19"),
        (
            allergy(
                reaction=[{"substance": fhir.concept((fhir.ATC, "J01C")), "manifestation": [{}]}]
            ),
            "3",
        ),
    ],
)
def test_their_codes_decide(resource: dict[str, Any], kept: str) -> None:
    result = split(resource)
    assert result.report["kept"] == {"0": 1, kept: 1}, result.report


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (visit(), "no code"),  # a class says nothing about the service
        (visit(("urn:hospital", "psychiatry")), "unknown code system"),
        (visit((fhir.CM, "Z00.00"), serviceType={"text": "x"}), "no code"),
        (visit((fhir.CM, "Z00.00"), reasonCode=[{"text": "x"}]), "unknown code system"),
        (visit((fhir.CM, "Z00.00"), **{"class": {"system": ACT, "code": "ETH"}}), "malformed code"),
        (visit((fhir.CM, "Z00.00"), status="planned"), "not a fact by its status"),
        (visit((fhir.CM, "Z00.00"), status="zq"), "not valid FHIR R4: Encounter.status"),
        (family((fhir.CM, "F32.9")), "in two sensitive categories"),
        (family(), "no code"),
        (family((fhir.CM, "C50.9"), status="health-unknown"), "not a fact by its status"),
        (
            allergy(
                (fhir.ATC, "J01CA04"),
                verificationStatus=fhir.concept((ALLERGY + "verification", "refuted")),
            ),
            "not a fact by its status",
        ),
        (allergy(), "no code"),
        (
            {**allergy((fhir.ATC, "J01CA04")), "patient": {"display": "her"}},
            "does not say whom it is about: AllergyIntolerance",
        ),
    ],
)
def test_they_are_held_back_as_others_are(resource: dict[str, Any], why: str) -> None:
    assert split(resource).report["held back"] == {why: 1}


def test_a_visit_for_a_sensitive_disease_is_sensitive() -> None:
    disease = fhir.condition((fhir.CM, "F32.9"), id="c")
    diagnosis = [{"condition": {"reference": "Condition/c"}}]
    result = split(disease, visit((fhir.CM, "Z00.00"), diagnosis=diagnosis))
    assert result.report["kept"] == {"0": 1, "16": 2}


def test_what_follows_from_a_family_history_is_genetic() -> None:
    reason = [{"reference": "FamilyMemberHistory/f"}]
    done = fhir.procedure(reasonReference=reason)
    result = split(family((fhir.CM, "C50.9"), id="f"), done)
    assert 4 not in result.records, result.report


def test_rehearsed_facts_are_like_a_hospitals() -> None:
    listed = [
        ("icd-10-cm", "C50.9", "2010-01-01"),
        ("atc", "L02BA01", None),
        ("allergy-atc", "J01CA04", "2010-01-01"),
        ("encounter-icd-10-cm", "Z00.00", "2010-01-01"),
        ("family-icd-10-cm", "C50.9", "2010-01-01"),
    ]
    payload = bundle_of(SUBJECT, gender="female", birth_year=1960, facts=listed)
    result = split_bundle(payload, SUBJECT)
    assert result.report["held back"] == {}
    assert {(system, code) for system, code, _ in listed} <= {
        (system, code) for _, system, code in facts(result)
    }
    with pytest.raises(PayloadError):
        bundle_of(SUBJECT, gender="female", birth_year=1960, facts=[("uncle-atc", "L", None)])


def test_a_visit_without_an_end_is_undated() -> None:
    result = split(visit((fhir.CM, "Z00.00"), period={"start": "2014-05-06"}))
    record = read_clinical_record(result.records, SUBJECT)
    assert {fact.day for fact in record.facts} == {None}


def test_a_condition_says_when_it_was_recorded() -> None:
    onset = {"onsetDateTime": "2014-01-01", "recordedDate": "2019-01-01T00:00:00Z"}
    result = split(fhir.condition((fhir.CM, "I10"), **onset))
    (fact,) = read_clinical_record(result.records, SUBJECT).facts
    assert (fact.day, fact.recorded) == (day_number("2014-01-01"), day_number("2019-01-01"))


@pytest.mark.parametrize(
    ("linked", "more", "why"),
    [
        ([], {"diagnosis": [{"condition": {"reference": "Condition/c"}}]}, "a reason that is not"),
        (
            [fhir.condition(("http://snomed.info/sct", "900000001"), id="c")],
            {"diagnosis": [{"condition": {"reference": "Condition/c"}}]},
            "a reason whose code is not known here",
        ),
    ],
)
def test_the_diagnosis_of_a_visit_is_its_reason(
    linked: list[dict[str, Any]], more: dict[str, Any], why: str
) -> None:
    held_back = split(*linked, visit((fhir.CM, "Z00.00"), **more)).report["held back"]
    assert any(reason.startswith(why) for reason in held_back)


def test_a_visit_of_a_sensitive_episode_is_sensitive() -> None:
    episode = {
        "resourceType": "EpisodeOfCare",
        "id": "e",
        "status": "active",
        "patient": {"reference": "Patient/p"},
        "diagnosis": [{"condition": {"reference": "Condition/c"}}],
    }
    hiv = fhir.condition((fhir.CM, "B20"), id="c")
    of_episode = visit((fhir.CM, "Z00.00"), episodeOfCare=[{"reference": "EpisodeOfCare/e"}])
    assert split(episode, hiv, of_episode).report["kept"] == {"0": 1, "19": 2}


# -- old ages, and dates


def born(year: int, *resources: dict[str, Any]) -> Split:
    return split_bundle(fhir.bundle(*resources).replace(b"1960-05-17", b"%d" % year), SUBJECT)


@pytest.mark.parametrize(
    ("year", "last", "shown"),
    [(1900, "2005-01-01", 1915), (1915, "2005", 1915), (1920, "2005", 1920), (1916, "2004", 1916)],
)
def test_ages_of_90_and_more_are_one_group(year: int, last: str, shown: int) -> None:
    seen = fhir.condition((fhir.CM, "I10"), onsetDateTime=last)
    record = read_clinical_record(born(year, seen).records, SUBJECT)
    assert record.birth_year == shown
    assert value_at(record, "age_years", record.last_day) <= 90


def test_a_recorded_age_is_grouped_too() -> None:
    age = fhir.observation(
        ("urn:volens:code", "age-at-diagnosis"),
        valueQuantity={"value": 97, "system": fhir.UCUM, "code": "a"},
    )
    result = split(age)
    assert '"value":90' in result.records[2].decode()
    assert "97" not in result.records[2].decode()
    # A record of another way in, or from before.
    earlier = result.records[2].replace(b'"value":90', b'"value":97')
    assert value_at(read_clinical_record({2: earlier}, SUBJECT), "age_years", None) == 90


@pytest.mark.parametrize("weeks", [-26, -1, 1, 26])
def test_shifted_dates_keep_their_intervals(weeks: int) -> None:
    resources = [
        fhir.condition((fhir.CM, "C50.9"), onsetDateTime="2011-02-03", abatementDateTime="2012-02"),
        fhir.order((fhir.ATC, "L02BA01"), authoredOn="2011-03-05"),
        fhir.observation(effectiveDateTime="2011-12-31"),
        visit((fhir.CM, "Z00.00")),
    ]
    payload = fhir.bundle(*resources)
    plain = read_clinical_record(split_bundle(payload, SUBJECT).records, SUBJECT)
    shifted = split_files([payload], [], SUBJECT, SHIPPED, weeks)
    moved = read_clinical_record(shifted.records, SUBJECT)

    def days(facts: tuple[Fact, ...]) -> list[int]:
        return [fact.day for fact in facts if fact.day is not None]

    assert days(moved.facts) == [day + 7 * weeks for day in days(plain.facts)]
    assert [reading.day for reading in moved.readings] == [
        day + 7 * weeks for reading in plain.readings if (day := reading.day) is not None
    ]
    kept = b"".join(shifted.records.values()).decode()
    assert not any(day in kept for day in ("2011-02-03", "2014-05-06", "2014-05-09", "2011-12-31"))
    assert moved.birth_year == plain.birth_year


@pytest.mark.parametrize("date", ["0001-01-02", "1849", "2999-01-01", "9999-12-31"])
@pytest.mark.parametrize("weeks", [0, -26])
def test_a_date_that_cannot_be_true_moves_nothing(date: str, weeks: int) -> None:
    wrong = fhir.condition((fhir.CM, "I10"), onsetDateTime=date)
    ends = visit((fhir.CM, "Z00.00"), period={"start": "2015-01-01", "end": date})
    right = fhir.condition((fhir.CM, "I10"))
    result = split_files([fhir.bundle(wrong, ends, right)], [], SUBJECT, SHIPPED, weeks)
    assert result.report["held back"] == {"a date that cannot be true": 2}
    assert result.report["kept"] == {"0": 1, "1": 1}
    assert read_clinical_record(result.records, SUBJECT).birth_year == 1960


def test_a_date_that_no_life_reaches_does_not_move_the_year_of_birth() -> None:
    late = fhir.condition((fhir.CM, "I10"), onsetDateTime="2021")
    old = fhir.condition((fhir.CM, "I10"), onsetDateTime="1985")
    result = born(1900, late, old)
    assert result.report["held back"] == {"a date that cannot be true": 1}
    assert read_clinical_record(result.records, SUBJECT).birth_year == 1900


def test_a_date_before_the_grouped_year_of_birth_is_held_back() -> None:
    early = fhir.condition((fhir.CM, "Q21.0"), onsetDateTime="1920-05-05")
    last = fhir.condition((fhir.CM, "I10"), onsetDateTime="2020-01-01")
    result = born(1920, early, last)
    assert result.report["held back"] == {"dated before the year of birth as it is grouped": 1}
    assert read_clinical_record(result.records, SUBJECT).birth_year == 1930
    assert b"1920" not in b"".join(result.records.values())
    assert born(1960, early, last).report["held back"] == {}


def test_an_old_year_of_birth_without_any_date_is_grouped() -> None:
    assert (read_clinical_record(born(1920).records, SUBJECT).birth_year or 0) >= 2026 - 90


def quantity(value: float, unit: str, **more: str) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "system": fhir.UCUM, "code": unit, **more}}


@pytest.mark.parametrize(
    "code",
    [("urn:volens:code", "age-at-diagnosis"), (fhir.LOINC, "30525-0"), (fhir.LOINC, "21612-7")],
)
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (quantity(97, "a"), '"value":90'),
        (quantity(1170, "mo"), '"code":"a","system":"http://unitsofmeasure.org","value":90'),
        (quantity(36000, "d"), '"value":90'),
        ({"valueInteger": 97}, '"valueInteger":90'),
        (quantity(89, "a"), '"value":89'),
        (quantity(97, "a", comparator=">"), None),
        (quantity(9, "{decade}"), None),
        ({"valueCodeableConcept": fhir.concept((fhir.LOINC, "LA6112-2"))}, None),
    ],
)
def test_an_age_in_any_form_is_grouped(
    code: tuple[str, str], value: dict[str, Any], kept: str | None
) -> None:
    result = split(fhir.observation(code, **value))
    if kept is None:
        assert result.report["held back"] == {"an age that cannot be grouped": 1}
    else:
        assert kept in result.records[2].decode()


def test_a_date_that_stands_for_an_unknown_one_does_not_show_the_shift() -> None:
    unknown = fhir.condition((fhir.CM, "I10"), onsetDateTime="1900-01-01")
    result = split_files([fhir.bundle(unknown)], [], SUBJECT, SHIPPED, 10)
    assert b"1900-01-01" in result.records[1]


@pytest.mark.parametrize("empty", [{}, {"entry": []}, {"total": 0, "id": "x"}])
def test_a_bundle_without_entries_adds_nothing(empty: dict[str, Any]) -> None:
    """The last page of a search may be one; it refused the person, and with her the ingest."""
    page = json.dumps({"resourceType": "Bundle", "type": "searchset", **empty}).encode()
    clinical = fhir.bundle(fhir.condition((fhir.CM, "C50.911")))
    alone = split_files([clinical], [], SUBJECT, SHIPPED, 0)
    assert split_files([clinical, page], [], SUBJECT, SHIPPED, 0).records == alone.records
    with pytest.raises(PayloadError, match="holds no Patient"):
        split_files([page], [], SUBJECT, SHIPPED, 0)
