"""Genomic results and other entries of a chart, as laboratories and hospitals write them (FHIR R4)."""

from typing import Any

from fhir_files import ABOUT, LOINC, concept, observation

HGNC, HGVS = "http://www.genenames.org", "http://varnomen.hgvs.org"
GUIDE = "http://hl7.org/fhir/uv/genomics-reporting/CodeSystem/tbd-codes-cs"
BRCA1, BRCA2, DPYD, CYP2D6 = "HGNC:1100", "HGNC:1101", "HGNC:3012", "HGNC:2625"
PRESENT, ABSENT, NO_CALL, INDETERMINATE = "LA9633-4", "LA9634-2", "LA18198-4", "LA11884-6"
GERMLINE, SOMATIC = "LA6683-2", "LA6684-0"
GRCH37, GRCH38 = "LA14029-5", "LA26806-2"
HETEROZYGOUS, HOMOZYGOUS = "LA6706-1", "LA6705-3"
PATHOGENIC, LIKELY_PATHOGENIC, UNCERTAIN = "LA6668-3", "LA26332-9", "LA26333-7"
LIKELY_BENIGN, BENIGN = "LA26334-5", "LA6675-8"
CATEGORIES = {"category": [concept(("http://terminology.hl7.org/CodeSystem/v2-0074", "GE"))]}
LOSS = "NM_007294.4:c.68_69del"


def component(code: str, system: str, value: str) -> dict[str, Any]:
    return {"code": concept((LOINC, code)), "valueCodeableConcept": concept((system, value))}


def variant(
    name: str = "v",
    gene: str = BRCA1,
    change: str | None = LOSS,
    value: str | None = PRESENT,
    source: str | None = GERMLINE,
    build: str | None = GRCH38,
    zygosity: str | None = HETEROZYGOUS,
    more: tuple[dict[str, Any], ...] = (),
    **elements: Any,
) -> dict[str, Any]:
    """A variant Observation of the guide; None leaves a part out."""
    parts = [("48018-6", HGNC, gene), ("48004-6", HGVS, change), ("62374-4", LOINC, build)]
    parts += [("48002-0", LOINC, source), ("53034-5", LOINC, zygosity)]
    components = [component(code, system, text) for code, system, text in parts if text is not None]
    valued = {} if value is None else {"valueCodeableConcept": concept((LOINC, value))}
    return {
        **observation((LOINC, "69548-6"), component=[*components, *more]),
        "id": name,
        "effectiveDateTime": "2024-05-06",
        **CATEGORIES,
        **valued,
        **elements,
    }


def implication(
    significance: str = PATHOGENIC, *origins: str, name: str = "i", **elements: Any
) -> dict[str, Any]:
    """A diagnostic implication of the variants with these ids."""
    derived = [{"reference": f"Observation/{origin}"} for origin in origins or ("v",)]
    return {
        **observation((GUIDE, "diagnostic-implication"), component=[]),
        "id": name,
        "effectiveDateTime": "2024-05-06",
        "derivedFrom": derived,
        "component": [component("53037-8", LOINC, significance)],
        **CATEGORIES,
        **elements,
    }


def report(*results: str, status: str = "final", **elements: Any) -> dict[str, Any]:
    """A laboratory's report on the results with these ids."""
    listed = [{"reference": f"Observation/{name}"} for name in results]
    return {
        "resourceType": "DiagnosticReport",
        "id": "report",
        "status": status,
        "code": concept((LOINC, "51969-4")),
        **ABOUT,
        "result": listed,
        **elements,
    }
