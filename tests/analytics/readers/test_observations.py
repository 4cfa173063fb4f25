import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from analytics.errors import PayloadError
from analytics.readers.observations import (
    Findings,
    read_observations,
    validate_observations,
    write_observations,
)

SUBJECT = "ab" * 32
FULL = Findings(
    age_years=57, size_mm=30, grade=3, er_positive=0, follow_up_days=723, metastasis=True
)
AGE, ER, GRADE, SIZE, FOLLOW_UP, EVENT = range(6)


def tampered(tamper: Callable[[list[dict[str, Any]], dict[str, Any]], object]) -> bytes:
    """The full bundle after `tamper(resources, bundle)` changed it in place."""
    bundle = json.loads(write_observations(FULL, SUBJECT))
    resources = [entry["resource"] for entry in bundle["entry"]]
    tamper(resources, bundle)
    return json.dumps(bundle).encode()


BAD: dict[str, bytes] = {
    "not json": b"Canary",
    "a list": b"[]",
    "NaN": write_observations(FULL, SUBJECT).replace(b":57", b":NaN"),
    "duplicate key": write_observations(FULL, SUBJECT).replace(
        b'"type":', b'"type":"collection","type":'
    ),
    "unlike bundle type": tampered(lambda r, b: b.update(type="batch")),
    "patient instead of bundle": tampered(lambda r, b: b.update(resourceType="Patient")),
    "no entries": tampered(lambda r, b: b.update(entry=[])),
    "entry as object": tampered(lambda r, b: b.update(entry={})),
    "entry without resource": tampered(lambda r, b: b["entry"].append({})),
    "entry as string": tampered(lambda r, b: b["entry"].append("Canary")),
    "too many entries": tampered(lambda r, b: b.update(entry=b["entry"] * 11)),
    "another resource": tampered(lambda r, b: r[AGE].update(resourceType="Condition")),
    "entered in error": tampered(lambda r, b: r[AGE].update(status="entered-in-error")),
    "no subject": tampered(lambda r, b: r[AGE].pop("subject")),
    "another subject": tampered(
        lambda r, b: r[AGE]["subject"].update(reference="urn:volens:subject:" + "cd" * 32)
    ),
    "subject in capitals": tampered(
        lambda r, b: r[AGE]["subject"].update(reference="urn:volens:subject:" + "AB" * 32)
    ),
    "subject by name": tampered(lambda r, b: r[AGE]["subject"].update(reference="Patient/Canary")),
    "subject as number": tampered(lambda r, b: r[AGE].update(subject=7)),
    "finding twice": tampered(lambda r, b: b["entry"].append(copy.deepcopy(b["entry"][AGE]))),
    "HIV test": tampered(
        lambda r, b: r[ER]["code"].update(
            coding=[{"system": "http://loinc.org", "code": "75622-1"}]
        )
    ),
    "unknown code system": tampered(
        lambda r, b: r[AGE]["code"]["coding"][0].update(system="urn:Canary")
    ),
    "two codings": tampered(
        lambda r, b: r[AGE]["code"]["coding"].append({"system": "urn:x", "code": "y"})
    ),
    "no coding": tampered(lambda r, b: r[AGE].update(code={"text": "Canary"})),
    "no value": tampered(lambda r, b: r[AGE].pop("valueQuantity")),
    "two values": tampered(lambda r, b: r[AGE].update(valueString="Canary")),
    "value and absence": tampered(lambda r, b: r[AGE].update(dataAbsentReason={"text": "Canary"})),
    "months as age": tampered(lambda r, b: r[AGE]["valueQuantity"].update(code="mo")),
    "an age above 90": tampered(lambda r, b: r[AGE]["valueQuantity"].update(value=97)),
    "inches": tampered(lambda r, b: r[SIZE]["valueQuantity"].update(code="[in_i]")),
    "unit without system": tampered(lambda r, b: r[SIZE]["valueQuantity"].pop("system")),
    "less than": tampered(lambda r, b: r[SIZE]["valueQuantity"].update(comparator="<")),
    "number as text": tampered(lambda r, b: r[SIZE]["valueQuantity"].update(value="30")),
    "number as bool": tampered(lambda r, b: r[SIZE]["valueQuantity"].update(value=True)),
    "size zero": tampered(lambda r, b: r[SIZE]["valueQuantity"].update(value=0)),
    "size of a metre and more": tampered(lambda r, b: r[SIZE]["valueQuantity"].update(value=1001)),
    "negative days": tampered(lambda r, b: r[FOLLOW_UP]["valueQuantity"].update(value=-1)),
    "grade four": tampered(
        lambda r, b: r[GRADE]["valueCodeableConcept"]["coding"][0].update(code="grade-4")
    ),
    "grade as integer": tampered(
        lambda r, b: (r[GRADE].pop("valueCodeableConcept"), r[GRADE].update(valueInteger=3))
    ),
    "event as text": tampered(lambda r, b: r[EVENT].update(valueBoolean="true")),
}
# What only the FHIR models see.
BAD_FHIR: dict[str, bytes] = {
    "unknown element": tampered(lambda r, b: r[AGE].update(canary="Canary")),
    "note as number": tampered(lambda r, b: r[AGE].update(note=7)),
    "impossible date": tampered(lambda r, b: r[AGE].update(effectiveDateTime="2019-13-45")),
    "id with a path": tampered(lambda r, b: r[AGE].update(id="../Canary")),
    "unknown Bundle element": tampered(lambda r, b: b.update(patients=["Canary"])),
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_a_malformed_bundle_is_refused_at_ingest_and_in_a_run(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        read_observations(payload, SUBJECT)
    assert "Canary" not in str(refused.value) + refused.value.hint
    with pytest.raises(PayloadError):
        validate_observations(payload)


@pytest.mark.parametrize("payload", BAD_FHIR.values(), ids=BAD_FHIR.keys())
def test_invalid_fhir_r4_is_refused_at_ingest(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        validate_observations(payload)
    assert "Canary" not in str(refused.value) + repr(refused.value.__cause__)


def test_findings_survive_the_round_trip() -> None:
    payload = write_observations(FULL, SUBJECT)
    validate_observations(payload)
    assert read_observations(payload, SUBJECT) == FULL


def test_missing_stays_missing() -> None:
    payload = write_observations(Findings(age_years=57), SUBJECT)
    validate_observations(payload)
    assert read_observations(payload, SUBJECT) == Findings(age_years=57)
    absent = tampered(lambda r, b: b["entry"].pop(SIZE))
    assert read_observations(absent, SUBJECT).size_mm is None


def test_units_are_converted_not_assumed() -> None:
    payload = tampered(lambda r, b: r[SIZE]["valueQuantity"].update(code="cm", value=2.5))
    validate_observations(payload)
    assert read_observations(payload, SUBJECT).size_mm == 25.0


def test_other_fhir_elements_may_be_present() -> None:
    payload = tampered(lambda r, b: r[AGE].update(id="x1", note=[{"text": "free text"}]))
    validate_observations(payload)
    assert read_observations(payload, SUBJECT) == FULL


def test_a_record_of_somebody_else_is_not_read() -> None:
    with pytest.raises(PayloadError, match="another subject"):
        read_observations(write_observations(FULL, SUBJECT), "cd" * 32)
