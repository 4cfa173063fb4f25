"""What is known about one patient: a value with its day and its source, or the reason why not.

A fact that is not known is never read as "no": every gate of a rule says what it means there
(analytics/care/logic.py). Names, kinds and units of all facts are in `FACTS`; which age is too old
is part of the rule that needs the fact, not of the fact.

This material contains content from LOINC (http://loinc.org), © Regenstrief Institute, Inc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

Value = bool | int | Decimal | str | tuple[str, ...]


class Reason(StrEnum):
    """Why a fact is unknown."""

    NOT_RECORDED = "not recorded"
    TOO_OLD = "too old"
    WITHHELD = "withheld by consent"
    HELD_BACK = "held back at ingest"
    CONFLICTING = "conflicting"
    NOT_FINAL = "the report is not final"
    NO_DATE = "without a date"
    NO_CALL = "no call at this position"
    INDETERMINATE = "indeterminate"
    NO_VALUE = "the variant has no value"
    SOURCE_CLASS_MISSING = "germline or somatic is not said"
    BUILD_MISSING = "genome build missing or not GRCh38"
    TEXT_ONLY = "protein or text only"
    NO_REPORT = "a call without a laboratory's report"
    UNIT = "a unit that cannot be converted"
    NOT_UNDERSTOOD = "a value that is not understood"
    SOMATIC_ONLY = "known of the tumour alone"


class Kind(StrEnum):
    """What values a fact has."""

    YES_NO = "yes or no"
    NUMBER = "number"
    WORD = "one of its words"
    LIST = "list of codes"


@dataclass(frozen=True, slots=True)
class Known:
    """A value with the day it was true, and the ids of the record's entries that say so.

    A day is a number of days since 1970-01-01 (UTC), as the ledger counts them; None only for facts
    without one (sex). A number is in the unit of `FACTS`.
    """

    value: Value
    day: int | None
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no value. `detail` is a plain sentence about what was seen, without free text
    of the record."""

    reason: Reason
    detail: str = ""
    day: int | None = None
    source: tuple[str, ...] = ()


Fact = Known | Unknown
Facts = Mapping[str, Fact]  # a name that is missing is NOT_RECORDED


@dataclass(frozen=True, slots=True)
class FactKind:
    """One entry of `FACTS`: its label on pages, what values it has, its unit, its words, the LOINC
    code of the observation that it is, if it is one, and its label for a patient, if that is
    another."""

    label: str
    kind: Kind
    unit: str = ""
    words: tuple[str, ...] = ()
    loinc: str = ""
    plain: str = ""


_YES = Kind.YES_NO
_SIGNIFICANCE = (
    "pathogenic",
    "likely pathogenic",
    "uncertain significance",
    "likely benign",
    "benign",
    "tested variant not found",
)

FACTS: dict[str, FactKind] = {
    "sex": FactKind("sex", Kind.WORD, words=("female", "male", "other")),
    # The calendar year of its day less the year of birth: the older of the two ages possible.
    "age": FactKind("age", Kind.NUMBER, "a"),
    # The laboratory's report decides: its newest statement about a germline variant of the gene.
    "brca1_germline": FactKind(
        "germline BRCA1", Kind.WORD, words=_SIGNIFICANCE, plain="inherited change in the gene BRCA1"
    ),
    "brca2_germline": FactKind(
        "germline BRCA2", Kind.WORD, words=_SIGNIFICANCE, plain="inherited change in the gene BRCA2"
    ),
    # From a VCF alone: only ever reasons to order the confirming test.
    "brca_call": FactKind(
        "BRCA1/2 call without a report",
        _YES,
        plain="a change in BRCA1 or BRCA2 that no laboratory has confirmed",
    ),
    "dpyd_call": FactKind(
        "DPYD call without a report",
        _YES,
        plain="a change in the gene DPYD that no laboratory has confirmed",
    ),
    "breast_cancer": FactKind("breast cancer recorded", _YES),
    "breast_cancer_in_family": FactKind("breast or ovarian cancer in the family", _YES),
    "her2": FactKind(
        "HER2",
        Kind.WORD,
        words=("negative", "positive", "equivocal"),
        plain="HER2, a protein of the tumour",
    ),
    "oestrogen_receptor": FactKind(
        "oestrogen receptor",
        Kind.WORD,
        words=("negative", "positive"),
        plain="whether the tumour reacts to oestrogen",
    ),
    "progesterone_receptor": FactKind(
        "progesterone receptor",
        Kind.WORD,
        words=("negative", "positive"),
        plain="whether the tumour reacts to progesterone",
    ),
    "metastatic": FactKind("distant metastases", _YES, plain="tumours in other parts of the body"),
    # T and N as pathology says before drug treatment, without their prefix.
    "tumour_size": FactKind(
        "T", Kind.WORD, words=("T0", "Tis", "T1", "T2", "T3", "T4"), plain="size of the tumour"
    ),
    "nodes": FactKind(
        "N", Kind.WORD, words=("N0", "N1", "N2", "N3"), plain="tumour in lymph nodes nearby"
    ),
    "positive_nodes": FactKind(
        "positive lymph nodes", Kind.NUMBER, "1", plain="number of lymph nodes with tumour"
    ),
    "complete_response": FactKind(
        "pathological complete response",
        _YES,
        plain="no tumour left after treatment before the operation",
    ),
    "cps_eg": FactKind(
        "CPS+EG score", Kind.NUMBER, "1", plain="a score of the risk after treatment (CPS+EG)"
    ),
    # Its day is the last day of it.
    "chemotherapy": FactKind(
        "chemotherapy",
        Kind.WORD,
        words=("neoadjuvant", "adjuvant", "metastatic", "setting not said", "none"),
    ),
    "endocrine_therapy": FactKind(
        "endocrine therapy",
        Kind.WORD,
        words=("given", "unsuitable", "none"),
        plain="hormone treatment of the tumour",
    ),
    "earlier_parp_inhibitor": FactKind(
        "earlier PARP inhibitor", _YES, plain="an earlier medicine of the kind of olaparib"
    ),
    "weight": FactKind("weight", Kind.NUMBER, "kg", loinc="29463-7"),
    "creatinine": FactKind(
        "creatinine in serum",
        Kind.NUMBER,
        "mg/dL",
        loinc="2160-0",
        plain="creatinine, a value of the kidneys",
    ),
    # A creatinine clearance or filtration rate that the laboratory measured or computed, whatever
    # its formula. No dose is read from it.
    "reported_clearance": FactKind(
        "clearance or filtration rate as reported",
        Kind.NUMBER,
        "mL/min",
        plain="how well the kidneys work, as the laboratory says",
    ),
    "haemoglobin": FactKind(
        "haemoglobin", Kind.NUMBER, "g/dL", loinc="718-7", plain="haemoglobin, the red of the blood"
    ),
    "neutrophils": FactKind(
        "neutrophils",
        Kind.NUMBER,
        "10*9/L",
        loinc="751-8",
        plain="neutrophils, a kind of white blood cells",
    ),
    "platelets": FactKind(
        "platelets", Kind.NUMBER, "10*9/L", loinc="777-3", plain="blood platelets"
    ),
    "child_pugh": FactKind(
        "Child-Pugh class",
        Kind.WORD,
        words=("A", "B", "C"),
        plain="a class of how the liver works (Child-Pugh)",
    ),
    "hepatic_impairment": FactKind(
        "hepatic impairment",
        Kind.WORD,
        words=("none", "mild", "moderate", "severe"),
        plain="how far the liver is impaired",
    ),
    "pregnant": FactKind("pregnancy", _YES),
    "breast_feeding": FactKind("breast-feeding", _YES),
    "menopause": FactKind("menopause", Kind.WORD, words=("before", "after")),
    "mds_aml": FactKind("MDS or AML", _YES, plain="a disease of the bone marrow (MDS or AML)"),
    "pneumonitis": FactKind("pneumonitis", _YES, plain="inflammation of the lungs (pneumonitis)"),
    "thrombosis": FactKind("venous thromboembolism", _YES, plain="blood clots in veins"),
    # RxNorm ingredients ("rxnorm:1597582") of what she takes now, and of what she was ever given.
    "medicines": FactKind("medicines now", Kind.LIST),
    "medicines_ever": FactKind("medicines ever", Kind.LIST),
    # Of AllergyIntolerance entries that name a medicine, in the same codes.
    "allergies": FactKind("allergies and intolerances to medicines", Kind.LIST),
    # True only if no category that could hold a medicine is withheld, and no entry that is or
    # could be one was held back at ingest: else "no interacting medicine" cannot be said.
    "medicines_complete": FactKind("whether the list of medicines is complete", _YES),
    # Variants as "c.1905+1G>A", each as often as it was called; an empty list: all tested
    # positions were called and none differs.
    "dpyd_variants": FactKind("DPYD variants", Kind.LIST, plain="changes in the gene DPYD"),
    "dpyd_positions": FactKind(
        "DPYD positions tested", Kind.LIST, plain="places of the gene DPYD that were tested"
    ),
    # Star alleles, as "*1/*4", of a laboratory's report: never from a VCF (copy number).
    "cyp2d6_diplotype": FactKind("CYP2D6 diplotype", Kind.LIST, plain="result of the gene CYP2D6"),
    # Derived from those above (formulas.py); a reader gives none of them.
    "creatinine_clearance": FactKind(
        "creatinine clearance",
        Kind.NUMBER,
        "mL/min",
        plain="how well the kidneys work (creatinine clearance)",
    ),
    "dpyd_score": FactKind(
        "DPYD activity score",
        Kind.NUMBER,
        "1",
        plain="how well your body breaks down fluorouracil (DPYD score)",
    ),
    "cyp2d6_score": FactKind(
        "CYP2D6 activity score",
        Kind.NUMBER,
        "1",
        plain="how well your body uses tamoxifen (CYP2D6 score)",
    ),
    "hormone_receptor": FactKind(
        "a hormone receptor is positive", _YES, plain="whether the tumour reacts to hormones"
    ),
    "liver": FactKind(
        "hepatic impairment, the worse of two",
        Kind.WORD,
        words=("none", "mild", "moderate", "severe"),
        plain="how far the liver is impaired",
    ),
    "pregnancy_excluded": FactKind("pregnancy is excluded", _YES),
    "breast_feeding_excluded": FactKind("breast-feeding is excluded", _YES),
}
