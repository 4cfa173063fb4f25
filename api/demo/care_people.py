"""Invented patients of the demo's care scene, as FHIR bundles of a hospital: Ada, who is not
eligible for olaparib now, Bea, who is, and Bea with one thing different each.

Nobody of them exists. Days are relative to the day of the demo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from analytics.readers.codes import LOCAL, UCUM, URIS

Resource = dict[str, Any]
_LOINC, _ATC = URIS["loinc"], URIS["atc"]
_GUIDE = "http://hl7.org/fhir/uv/genomics-reporting/CodeSystem/tbd-codes-cs"
_BRCA1, _BRCA2, _LOSS = "HGNC:1100", "HGNC:1101", "NM_007294.4:c.68_69del"
_PRESENT, _ABSENT, _GERMLINE, _SOMATIC = "LA9633-4", "LA9634-2", "LA6683-2", "LA6684-0"
_GRCH38, _GRCH37, _HETEROZYGOUS = "LA26806-2", "LA14029-5", "LA6706-1"
_PATHOGENIC, _UNCERTAIN = "LA6668-3", "LA26333-7"
_POSITIVE, _NEGATIVE, _NOT_PREGNANT = "LA6576-8", "LA6577-6", "LA26683-5"


@dataclass(frozen=True, slots=True)
class Genome:
    """What a laboratory reports of BRCA1."""

    significance: str = _PATHOGENIC
    source: str = _GERMLINE
    build: str = _GRCH38


def ada(today: date) -> Resource:
    """A germline BRCA1 variant, ER-positive, HER2-negative, pT1c pN0, and no chemotherapy."""
    ago = _days_before(today)
    return _bundle(
        1974,
        *_genetics(ago(200)),
        _condition("C50.912", ago(70)),
        *_receptors(ago(60), her2=_NEGATIVE, hormone=_POSITIVE),
        *_stage(ago(60), "pT1c", "pN0"),
        _medicine("L02BA01", ago(20)),
        *_examined(ago, weight="66", creatinine="0.8"),
    )


def bea(
    today: date,
    genome: Genome | None = None,
    her2: str = _NEGATIVE,
    more: tuple[Resource, ...] = (),
) -> Resource:
    """A germline BRCA1 variant, triple-negative, pT2, chemotherapy after the operation, and kidneys
    that clear 44 mL of creatinine a minute.
    """
    ago = _days_before(today)
    return _bundle(
        1974,
        *_genetics(ago(200), genome or Genome()),
        _condition("C50.912", ago(300)),
        *_receptors(ago(280), her2=her2, hormone=_NEGATIVE),
        *_stage(ago(280), "pT2", "pN0"),
        _operation(ago(270)),
        _medicine("L01DB01", ago(200), "completed"),
        _medicine("L01CD01", ago(60), "completed"),
        _medicine("A10BA02", ago(10)),
        *_examined(ago, weight="72", creatinine="1.7"),
        *more,
    )


# By name: what is different, and the bundle. The last is left out by her consent, not by her record.
VARIANTS: Mapping[str, Callable[[date], Resource]] = {
    "a variant of uncertain significance": lambda today: bea(today, Genome(_UNCERTAIN)),
    "a variant of the tumour alone": lambda today: bea(today, Genome(source=_SOMATIC)),
    "a tumour with HER2": lambda today: bea(today, her2=_POSITIVE),
    "a report on an old genome build": lambda today: bea(today, Genome(build=_GRCH37)),
}


def _days_before(today: date) -> Callable[[int], str]:
    return lambda days: (today - timedelta(days=days)).isoformat()


def _bundle(born: int, *resources: Resource) -> Resource:
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": str(born)}
    about = {"subject": {"reference": "Patient/p"}}
    entries = [{"resource": patient}, *({"resource": about | resource} for resource in resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _observation(system: str, code: str, day: str, **more: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": _concept(system, code),
        "effectiveDateTime": day,
        **more,
    }


def _coded(code: str, answer: str, day: str, system: str = _LOINC) -> Resource:
    return _observation(system, code, day, valueCodeableConcept=_concept(system, answer))


def _measured(code: str, value: str, unit: str, day: str) -> Resource:
    quantity = {"value": float(value), "system": UCUM, "code": unit}
    return _observation(_LOINC, code, day, valueQuantity=quantity)


def _condition(code: str, day: str) -> Resource:
    return {
        "resourceType": "Condition",
        "code": _concept(URIS["icd-10-cm"], code),
        "onsetDateTime": day,
    }


def _medicine(code: str, day: str, status: str = "active") -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "status": status,
        "intent": "order",
        "medicationCodeableConcept": _concept(_ATC, code),
        "authoredOn": day,
    }


def _operation(day: str) -> Resource:
    return {
        "resourceType": "Procedure",
        "status": "completed",
        "code": _concept(URIS["icd-10-pcs"], "0HTT0ZZ"),
        "performedDateTime": day,
    }


def _genetics(day: str, genome: Genome | None = None) -> tuple[Resource, ...]:
    """A variant, and what the laboratory says that it means (HL7 genomics-reporting)."""
    reported = genome or Genome()
    parts = [
        ("48018-6", "http://www.genenames.org", _BRCA1),
        ("48004-6", "http://varnomen.hgvs.org", _LOSS),
        ("62374-4", _LOINC, reported.build),
        ("48002-0", _LOINC, reported.source),
        ("53034-5", _LOINC, _HETEROZYGOUS),
    ]
    genetics = {"category": [_concept("http://terminology.hl7.org/CodeSystem/v2-0074", "GE")]}
    variant = _observation(
        _LOINC,
        "69548-6",
        day,
        id="variant",
        valueCodeableConcept=_concept(_LOINC, _PRESENT),
        component=[_component(code, system, value) for code, system, value in parts],
        **genetics,
    )
    implication = _observation(
        _GUIDE,
        "diagnostic-implication",
        day,
        id="implication",
        derivedFrom=[{"reference": "Observation/variant"}],
        component=[_component("53037-8", _LOINC, reported.significance)],
        **genetics,
    )
    other = {
        "id": "absent",
        "valueCodeableConcept": _concept(_LOINC, _ABSENT),
        "component": [
            _component("48018-6", "http://www.genenames.org", _BRCA2),
            _component("48004-6", "http://varnomen.hgvs.org", "NM_000059.4:c.5946del"),
            _component("62374-4", _LOINC, reported.build),
            _component("48002-0", _LOINC, _GERMLINE),
        ],
    }
    return variant, implication, variant | other


def _component(code: str, system: str, value: str) -> dict[str, Any]:
    return {"code": _concept(_LOINC, code), "valueCodeableConcept": _concept(system, value)}


def _receptors(day: str, her2: str, hormone: str) -> list[Resource]:
    return [
        _coded("85319-2", her2, day),
        _coded("85337-4", hormone, day),
        _coded("85339-0", hormone, day),
    ]


def _stage(day: str, size: str, nodes: str) -> list[Resource]:
    categories = (("21899-0", size), ("21900-6", nodes))
    return [_observation(_LOINC, code, day, valueString=text) for code, text in categories]


def _examined(ago: Callable[[int], str], weight: str, creatinine: str) -> list[Resource]:
    """What was measured and asked in the last weeks."""
    counts = (("718-7", "12.1", "g/dL"), ("751-8", "3.2", "10*3/uL"), ("777-3", "210", "10*9/L"))
    return [
        _measured("29463-7", weight, "kg", ago(33)),
        _measured("29463-7", weight, "kg", ago(5)),
        _measured("2160-0", creatinine, "mg/dL", ago(5)),
        *(_measured(code, value, unit, ago(5)) for code, value, unit in counts),
        _observation(_LOINC, "21907-1", ago(40), valueString="cM0"),
        _coded("82810-3", _NOT_PREGNANT, ago(5)),
        *(
            _observation(LOCAL, question, ago(5), valueBoolean=False)
            for question in ("mds-aml", "pneumonitis", "venous-thromboembolism")
        ),
        _coded("menopausal-status", "after-menopause", ago(5), LOCAL),
        _coded("hepatic-impairment", "impairment-none", ago(5), LOCAL),
    ]
