"""Genomic results of a laboratory's report (HL7 genomics-reporting, FHIR R4): what of them is kept.

A variant, a genotype or a diagnostic implication is an Observation whose meaning is in its
components, coded in systems that no other reader takes (HGNC, HGVS). Kept are the components of
`_KEPT`, each as a code that fits its pattern, or as a text that fits it; left out are those of
`_LEFT_OUT`, which add nothing that changes the others. A component in neither list holds the result
back, since it may change its meaning; so does a value that fits no pattern, since it may be free
text. Sources: HL7 genomics-reporting 3.0 (CGFindings, CGImplications, CGCodeSystem), read on
2026-11-30; HGVS nomenclature 21 for the patterns.

This material contains content from LOINC (http://loinc.org), © Regenstrief Institute, Inc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from analytics.readers.codes import UCUM, URIS, Coding, codings_of

HGNC, HGVS = "http://www.genenames.org", "http://varnomen.hgvs.org"
GUIDE = "http://hl7.org/fhir/uv/genomics-reporting/CodeSystem/tbd-codes-cs"
CONFIDENCE_SYSTEM = "http://terminology.hl7.org/CodeSystem/variant-confidence-status-cs"
_LOINC = URIS["loinc"]
VARIANT = Coding(_LOINC, "69548-6")
GENOTYPE = Coding(_LOINC, "84413-4")
IMPLICATION = Coding(GUIDE, "diagnostic-implication")
ADVICE = Coding(GUIDE, "therapeutic-implication")
FINAL = frozenset({"final", "amended", "corrected"})  # statuses of a result or report
FINAL_REPORT = FINAL | {"appended"}  # R4: something was added, and nothing changed
GERMLINE = "LA6683-2"  # LOINC, an answer of SOURCE_CLASS
RESULTS = frozenset({VARIANT, GENOTYPE, IMPLICATION})
GENE, C_HGVS, P_HGVS, G_HGVS = "48018-6", "48004-6", "48005-3", "81290-9"
BUILD, SOURCE_CLASS, ZYGOSITY, SIGNIFICANCE = "62374-4", "48002-0", "53034-5", "53037-8"
TRANSCRIPT, CONFIDENCE = "51958-7", "variant-confidence-status"
# Another spelling of the guide's own codes, and of the systems of genes and variants.
_SPELLINGS = {
    "http://terminology.hl7.org/CodeSystem/tbd-codes-cs": GUIDE,
    "http://www.genenames.org/geneId": HGNC,
    "https://www.genenames.org": HGNC,
    "https://varnomen.hgvs.org": HGVS,
    "http://hgvs.org": HGVS,
}
_REFERENCE = r"(?:N[CGMP]_[0-9]{6,9}\.[0-9]{1,2}|LRG_[0-9]{1,5}(?:[tp][0-9]{1,2})?)"
_GENE_NAME = r"(?:\([A-Z][A-Z0-9-]{1,14}\))?"
_BASES = r"[ACGT]{1,64}"
_CHANGE = rf"(?:[ACGT]>[ACGT]|=|(?:del|dup|inv)(?:{_BASES})?|(?:delins|ins){_BASES})"
_POSITION = r"[*-]?[0-9]{1,6}(?:[+-][0-9]{1,6})?"
# A place, or between which two, as of the end of a deleted exon; neither may be known (?).
_IN_TRANSCRIPT = rf"(?:{_POSITION}|\((?:{_POSITION}|\?)_(?:{_POSITION}|\?)\))"
_RESIDUE = (
    r"(?:Ala|Arg|Asn|Asp|Cys|Gln|Glu|Gly|His|Ile|Leu|Lys|Met|Phe|Pro|Sec|Ser|Thr|Trp|Tyr|Val|Ter)"
)
_IN_PROTEIN = (
    rf"{_RESIDUE}[0-9]{{1,5}}(?:_{_RESIDUE}[0-9]{{1,5}})?"
    rf"(?:{_RESIDUE}(?:fs(?:Ter|\*)?[0-9?]{{0,4}})?|fs(?:(?:Ter|\*)[0-9?]{{1,4}})?|\*|=|\?|del|dup"
    rf"|(?:delins|ins)(?:{_RESIDUE}){{1,20}})"
)
_PATTERNS = {
    GENE: re.compile(r"HGNC:[1-9][0-9]{0,5}"),
    C_HGVS: re.compile(
        rf"(?:{_REFERENCE}{_GENE_NAME}:)?c\.{_IN_TRANSCRIPT}(?:_{_IN_TRANSCRIPT})?{_CHANGE}"
    ),
    G_HGVS: re.compile(rf"NC_[0-9]{{6}}\.[0-9]{{1,2}}:g\.[0-9]{{1,9}}(?:_[0-9]{{1,9}})?{_CHANGE}"),
    P_HGVS: re.compile(rf"(?:{_REFERENCE}{_GENE_NAME}:)?p\.(?:\(?{_IN_PROTEIN}\)?|\(?=\)?|\?|0)"),
    BUILD: re.compile(r"GRCh3[78](?:\.p[0-9]{1,2})?|hg19|hg38"),
    TRANSCRIPT: re.compile(r"NM_[0-9]{6,9}(?:\.[0-9]{1,2})?|LRG_[0-9]{1,5}t[0-9]{1,2}"),
    CONFIDENCE: re.compile(r"high|intermediate|low"),
}
_STAR = r"\*[0-9]{1,3}[A-Z]?(?:\.[0-9]{3})?(?:x[0-9N]{1,2})?"
_DIPLOTYPE = re.compile(rf"(?:[A-Z][A-Z0-9]{{1,9}} )?{_STAR}/{_STAR}")
# The systems in which a component's code may be; of the others, an answer of LOINC.
_SYSTEMS = {GENE: HGNC, C_HGVS: HGVS, P_HGVS: HGVS, G_HGVS: HGVS}
# Senders write these under several systems; by their patterns they are clear in any.
_WRITTEN = {TRANSCRIPT: "http://www.ncbi.nlm.nih.gov/refseq", CONFIDENCE: CONFIDENCE_SYSTEM}
_TEXTS = frozenset({C_HGVS, P_HGVS, G_HGVS, BUILD})  # what a laboratory also writes as text
_ANSWERS = frozenset({BUILD, SOURCE_CLASS, ZYGOSITY, SIGNIFICANCE})
ALLELE_SHARE = "81258-6"
_QUANTITIES = frozenset({ALLELE_SHARE, "82121-5"})  # the latter: reads of the allele
_KEPT = frozenset({*_PATTERNS, *_ANSWERS, *_QUANTITIES})
_LEFT_OUT = frozenset(
    # Location and sequence in other notations, and accession numbers.
    "48000-4 48001-2 47999-8 69547-8 69551-0 81254-5 81301-4 81302-2 92822-6 48013-7 protein-ref-seq"
    " 81252-9 81255-2 48019-4 48006-1 feature-consequence functional-effect"
    # Inheritance, phenotype and evidence of a classification; a conclusion in words.
    " 94186-4 82309-6 81259-4 condition-inheritance mode-of-inheritance 93044-6 conclusion-string"
    " knowledge-base annotation-pipeline".split()
)
_ANSWER = re.compile(r"LA[0-9]{1,6}-[0-9]")
UNKNOWN_COMPONENT = "a genomic result with a component that this reader does not know"
UNKNOWN_VALUE = "a genomic result with a value that fits no pattern"


class UnfitResult(Exception):
    """A genomic result that cannot be kept. The argument is the reason, without its text."""


def spelled(coding: Coding) -> Coding:
    """The coding with the usual spelling of its system."""
    return Coding(_SPELLINGS.get(coding.system or "", coding.system), coding.code)


def is_result(resource: Mapping[str, object]) -> bool:
    """Whether a resource, original or reduced, is a variant, a genotype or its implication."""
    return resource.get("resourceType") == "Observation" and any(
        spelled(coding) in RESULTS for coding in codings_of(resource.get("code"))
    )


def is_advice(resource: Mapping[str, object]) -> bool:
    """Whether an Observation is advice on a medicine by genes: nobody takes what it names."""
    return ADVICE in map(spelled, codings_of(resource.get("code")))


def gene_of(resource: Mapping[str, object]) -> str | None:
    """The HGNC id of the only gene that a result names, also of one that is not kept."""
    listed = resource.get("component")
    genes = {
        coding.code
        for part in (listed if isinstance(listed, list) else [])
        if isinstance(part, dict) and _name_of(part.get("code")) == GENE
        for coding in map(spelled, codings_of(part.get("valueCodeableConcept")))
        if coding.system == HGNC
    }
    gene = genes.pop() if len(genes) == 1 else None
    return gene if gene and _PATTERNS[GENE].fullmatch(gene) else None


def reduce_components(resource: Mapping[str, object]) -> list[dict[str, object]]:
    """The kept components. Raises UnfitResult."""
    listed = resource.get("component")
    kept = []
    for part in listed if isinstance(listed, list) else []:
        name = _name_of(part.get("code"))
        if "modifierExtension" in part or name is None or name not in _KEPT | _LEFT_OUT:
            raise UnfitResult(UNKNOWN_COMPONENT)
        if name in _KEPT and any(key.startswith("value") for key in part):
            system = _LOINC if name[0].isdigit() else GUIDE
            code = {"coding": [{"system": system, "code": name}]}
            kept.append({"code": code, **_reduce_value(name, part)})
    return kept


def diplotype_of(resource: Mapping[str, object]) -> str | None:
    """The star alleles of a genotype, as "*1/*4" or "CYP2D6 *1/*4": a code, display or text that is
    nothing else."""
    value = resource.get("valueCodeableConcept")
    texts = [resource.get("valueString")]
    if isinstance(value, dict):
        codings = value.get("coding")
        coded = codings if isinstance(codings, list) else []
        texts += [
            value.get("text"),
            *(coding.get("display") for coding in coded if isinstance(coding, dict)),
        ]
        texts += [coding.get("code") for coding in coded if isinstance(coding, dict)]
    matched = {
        match[0] for text in texts if isinstance(text, str) if (match := _DIPLOTYPE.fullmatch(text))
    }
    return matched.pop() if len(matched) == 1 else None


def _name_of(concept: object) -> str | None:
    """The code of a component in LOINC or the guide's own system; None for none or several."""
    names = {
        coding.code
        for coding in map(spelled, codings_of(concept))
        if coding.system in (_LOINC, GUIDE)
    }
    return names.pop() if len(names) == 1 else None


def _reduce_value(name: str, part: Mapping[str, object]) -> dict[str, object]:
    if name in _QUANTITIES:
        return _reduce_quantity(part.get("valueQuantity"))
    concept = part.get("valueCodeableConcept")
    codes = list(dict.fromkeys(_codes(name, concept)))
    if codes:
        return {
            "valueCodeableConcept": {
                "coding": [{"system": code.system, "code": code.code} for code in codes]
            }
        }
    text = concept.get("text") if isinstance(concept, dict) else part.get("valueString")
    pattern = _PATTERNS.get(name)
    if name in _TEXTS and isinstance(text, str) and pattern and pattern.fullmatch(text):
        return {"valueString": text}
    raise UnfitResult(UNKNOWN_VALUE)


def _codes(name: str, concept: object) -> Iterator[Coding]:
    """The codes of a value that fit the component. Raises UnfitResult for one that claims its
    system and does not fit."""
    for coding in map(spelled, codings_of(concept)):
        code = coding.code or ""
        pattern = _PATTERNS.get(name)
        own = name in _WRITTEN or coding.system == _SYSTEMS.get(name)
        if own and pattern:
            if not pattern.fullmatch(code):
                raise UnfitResult(UNKNOWN_VALUE)
            yield Coding(_WRITTEN.get(name, coding.system), code)
        elif name in _ANSWERS and coding.system == _LOINC:
            if not _ANSWER.fullmatch(code):
                raise UnfitResult(UNKNOWN_VALUE)
            yield coding


def _reduce_quantity(quantity: object) -> dict[str, object]:
    """A pure number, per cent of it, or a count of reads; the unit is UCUM or absent."""
    value = quantity.get("value") if isinstance(quantity, dict) else None
    unit = quantity.get("code", "1") if isinstance(quantity, dict) else None
    if (
        isinstance(value, bool)
        or not hasattr(value, "__float__")
        or unit not in ("1", "%", "{reads}")
    ):
        raise UnfitResult(UNKNOWN_VALUE)
    if isinstance(quantity, dict) and "comparator" in quantity:
        raise UnfitResult(UNKNOWN_VALUE)
    return {"valueQuantity": {"value": value, "system": UCUM, "code": "%" if unit == "%" else "1"}}
