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


def spoilt(spoil: Callable[[list[dict[str, Any]], dict[str, Any]], object]) -> bytes:
    """The full bundle after `spoil(resources, bundle)` changed it in place."""
    bundle = json.loads(write_observations(FULL, SUBJECT))
    resources = [entry["resource"] for entry in bundle["entry"]]
    spoil(resources, bundle)
    return json.dumps(bundle).encode()


BAD: dict[str, bytes] = {
    "not json": b"Canary",
    "a list": b"[]",
    "NaN": write_observations(FULL, SUBJECT).replace(b":57", b":NaN"),
    "duplicate key": write_observations(FULL, SUBJECT).replace(
        b'"type":', b'"type":"collection","type":'
    ),
    "unlike bundle type": spoilt(lambda r, b: b.update(type="batch")),
    "patient instead of bundle": spoilt(lambda r, b: b.update(resourceType="Patient")),
    "no entries": spoilt(lambda r, b: b.update(entry=[])),
    "entry as object": spoilt(lambda r, b: b.update(entry={})),
    "entry without resource": spoilt(lambda r, b: b["entry"].append({})),
    "entry as string": spoilt(lambda r, b: b["entry"].append("Canary")),
    "too many entries": spoilt(lambda r, b: b.update(entry=b["entry"] * 11)),
    "another resource": spoilt(lambda r, b: r[AGE].update(resourceType="Condition")),
    "entered in error": spoilt(lambda r, b: r[AGE].update(status="entered-in-error")),
    "no subject": spoilt(lambda r, b: r[AGE].pop("subject")),
    "another subject": spoilt(
        lambda r, b: r[AGE]["subject"].update(reference="urn:volens:subject:" + "cd" * 32)
    ),
    "subject in capitals": spoilt(
        lambda r, b: r[AGE]["subject"].update(reference="urn:volens:subject:" + "AB" * 32)
    ),
    "subject by name": spoilt(lambda r, b: r[AGE]["subject"].update(reference="Patient/Canary")),
    "subject as number": spoilt(lambda r, b: r[AGE].update(subject=7)),
    "finding twice": spoilt(lambda r, b: b["entry"].append(copy.deepcopy(b["entry"][AGE]))),
    "HIV test": spoilt(
        lambda r, b: r[ER]["code"].update(
            coding=[{"system": "http://loinc.org", "code": "75622-1"}]
        )
    ),
    "unknown code system": spoilt(
        lambda r, b: r[AGE]["code"]["coding"][0].update(system="urn:Canary")
    ),
    "two codings": spoilt(
        lambda r, b: r[AGE]["code"]["coding"].append({"system": "urn:x", "code": "y"})
    ),
    "no coding": spoilt(lambda r, b: r[AGE].update(code={"text": "Canary"})),
    "no value": spoilt(lambda r, b: r[AGE].pop("valueQuantity")),
    "two values": spoilt(lambda r, b: r[AGE].update(valueString="Canary")),
    "value and absence": spoilt(lambda r, b: r[AGE].update(dataAbsentReason={"text": "Canary"})),
    "months as age": spoilt(lambda r, b: r[AGE]["valueQuantity"].update(code="mo")),
    "inches": spoilt(lambda r, b: r[SIZE]["valueQuantity"].update(code="[in_i]")),
    "unit without system": spoilt(lambda r, b: r[SIZE]["valueQuantity"].pop("system")),
    "less than": spoilt(lambda r, b: r[SIZE]["valueQuantity"].update(comparator="<")),
    "number as text": spoilt(lambda r, b: r[SIZE]["valueQuantity"].update(value="30")),
    "number as bool": spoilt(lambda r, b: r[SIZE]["valueQuantity"].update(value=True)),
    "size zero": spoilt(lambda r, b: r[SIZE]["valueQuantity"].update(value=0)),
    "size of a metre and more": spoilt(lambda r, b: r[SIZE]["valueQuantity"].update(value=1001)),
    "negative days": spoilt(lambda r, b: r[FOLLOW_UP]["valueQuantity"].update(value=-1)),
    "grade four": spoilt(
        lambda r, b: r[GRADE]["valueCodeableConcept"]["coding"][0].update(code="grade-4")
    ),
    "grade as integer": spoilt(
        lambda r, b: (r[GRADE].pop("valueCodeableConcept"), r[GRADE].update(valueInteger=3))
    ),
    "event as text": spoilt(lambda r, b: r[EVENT].update(valueBoolean="true")),
}
# What only the FHIR models see.
BAD_FHIR: dict[str, bytes] = {
    "unknown element": spoilt(lambda r, b: r[AGE].update(canary="Canary")),
    "note as number": spoilt(lambda r, b: r[AGE].update(note=7)),
    "impossible date": spoilt(lambda r, b: r[AGE].update(effectiveDateTime="2019-13-45")),
    "id with a path": spoilt(lambda r, b: r[AGE].update(id="../Canary")),
    "unknown Bundle element": spoilt(lambda r, b: b.update(patients=["Canary"])),
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_a_malformed_bundle_is_refused_at_ingest_and_in_a_run(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        read_observations(payload, SUBJECT)
    assert "Canary" not in str(refused.value) + refused.value.hint
    with pytest.raises(PayloadError):
        validate_observations(payload)


@pytest.mark.parametrize("payload", BAD_FHIR.values(), ids=BAD_FHIR.keys())
def test_what_is_no_fhir_r4_is_refused_at_ingest(payload: bytes) -> None:
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
    absent = spoilt(lambda r, b: b["entry"].pop(SIZE))
    assert read_observations(absent, SUBJECT).size_mm is None


def test_units_are_converted_not_assumed() -> None:
    payload = spoilt(lambda r, b: r[SIZE]["valueQuantity"].update(code="cm", value=2.5))
    validate_observations(payload)
    assert read_observations(payload, SUBJECT).size_mm == 25.0


def test_other_fhir_elements_may_be_present() -> None:
    payload = spoilt(lambda r, b: r[AGE].update(id="x1", note=[{"text": "free text"}]))
    validate_observations(payload)
    assert read_observations(payload, SUBJECT) == FULL


def test_a_record_of_somebody_else_is_not_read() -> None:
    with pytest.raises(PayloadError, match="another subject"):
        read_observations(write_observations(FULL, SUBJECT), "cd" * 32)
