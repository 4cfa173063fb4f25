"""Charts from FHIR resources, through the ingest as a hospital's file goes through it."""

from collections.abc import Collection
from typing import Any

from fhir_files import (
    ATC,
    CM,
    LOINC,
    PCS,
    bundle,
    concept,
    condition,
    observation,
    order,
    procedure,
)
from genomic_files import implication, variant

from analytics.care.chart import read_chart
from analytics.care.entries import read_records
from analytics.care.facts import Fact, Known, Reason, Value
from analytics.people import Input
from analytics.readers.clinical import day_number
from analytics.readers.codes import SHIPPED, UCUM, ValueSets
from analytics.readers.fhir import split_bundle
from analytics.vocabulary import Category

SUBJECT = "ab" * 32
TODAY = day_number("2024-06-01")
EVERYTHING = frozenset(map(int, Category))
LOCAL = "urn:volens:code"


def inputs_of(
    *resources: dict[str, Any], withheld: Collection[int] = (), sets: ValueSets = SHIPPED
) -> list[Input]:
    """The records of a file, without those of categories that she withholds."""
    records = split_bundle(bundle(*resources), SUBJECT, sets).records
    return [
        Input(SUBJECT, category, payload)
        for category, payload in records.items()
        if category not in withheld
    ]


def chart(
    *resources: dict[str, Any],
    withheld: Collection[int] = (),
    today: int = TODAY,
    genotypes: bytes | None = None,
    sets: ValueSets = SHIPPED,
) -> dict[str, Fact]:
    inputs = inputs_of(*resources, withheld=withheld, sets=sets)
    inputs += [] if genotypes is None else [Input(SUBJECT, Category.GERMLINE_VARIANTS, genotypes)]
    return read_chart(read_records(inputs, EVERYTHING - frozenset(withheld), today))


def value_of(fact: Fact) -> Value | Reason:
    """The value of a fact, or the reason why there is none."""
    return fact.value if isinstance(fact, Known) else fact.reason


def measured(
    code: str, value: float, unit: str, day: str | None = "2024-05-20", **more: Any
) -> dict[str, Any]:
    quantity = {"value": value, "system": UCUM, "code": unit}
    dated = {} if day is None else {"effectiveDateTime": day}
    return observation((LOINC, code), valueQuantity=quantity, **dated, **more)


def coded(
    code: str, value: str, day: str | None = "2024-05-20", system: str = LOINC
) -> dict[str, Any]:
    dated = {} if day is None else {"effectiveDateTime": day}
    return observation((system, code), valueCodeableConcept=concept((system, value)), **dated)


def staged(code: str, category: str, day: str = "2024-02-01") -> dict[str, Any]:
    return observation((LOINC, code), valueString=category, effectiveDateTime=day)


def medicine(code: str, day: str = "2024-05-20", status: str = "active") -> dict[str, Any]:
    return order((ATC, code)) | {"authoredOn": day, "status": status}


def bea() -> list[dict[str, Any]]:
    """BRCA1, triple-negative, pT2, chemotherapy after the operation: what olaparib's gates ask."""
    surgery = procedure((PCS, "0HTT0ZZ")) | {"performedDateTime": "2024-01-20"}
    return [
        variant(),
        implication(),
        condition((CM, "C50.912"), onsetDateTime="2024-01-02"),
        coded("85319-2", "LA6577-6", "2024-02-01"),
        coded("85337-4", "LA6577-6", "2024-02-01"),
        coded("85339-0", "LA6577-6", "2024-02-01"),
        staged("21899-0", "pT2"),
        staged("21900-6", "pN0"),
        staged("21907-1", "cM0"),
        surgery,
        medicine("L01DB01", "2024-03-01", "completed"),
        medicine("L01CD01", "2024-04-10", "completed"),
        medicine("A10BA02"),
        measured("29463-7", 61.5, "kg"),
        measured("2160-0", 1.4, "mg/dL"),
        measured("718-7", 12.1, "g/dL"),
        measured("751-8", 2.9, "10*3/uL"),
        measured("777-3", 210, "10*9/L"),
        coded("82810-3", "LA26683-5"),
        coded("menopausal-status", "after-menopause", system=LOCAL),
    ]
