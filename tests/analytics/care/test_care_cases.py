"""A table of patients: what each rule says about them, with option, dose or reason."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from care_people import (
    ADA,
    BEA,
    CLEAR,
    FLUOROURACIL,
    METASTATIC,
    POSITIVE,
    TAMOXIFEN,
    TODAY,
    but,
    known,
    unknown,
    without,
)

from analytics.care.facts import Fact, Known, Reason
from analytics.care.interpreter import Evaluation, State, evaluate
from analytics.care.rule_set import Rule, RuleSet, leaves, shipped
from analytics.errors import RuleSetError

OLAPARIB, DPYD, TEST, TAMOX = (
    "olaparib-breast-cancer",
    "dpyd-fluoropyrimidine-dose",
    "dpyd-test-before-fluoropyrimidine",
    "cyp2d6-tamoxifen",
)
CARRIER, RISK, CALL = "brca-carrier", "brca-risk-assessment", "brca-confirm-call"
BRIVUDINE, PREGNANCY = "brivudine-fluoropyrimidine", "pregnancy-medicines"


@dataclass(frozen=True)
class Case:
    """option: its id, with the dose where it has one; closed: gates; missing: facts."""

    what: str
    facts: Mapping[str, Fact]
    rule: str = OLAPARIB
    option: str = ""
    closed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def day(value: object, days_ago: int) -> Known:
    return known(value, days_ago)  # type: ignore[arg-type]


def taking(*codes: str, base: Mapping[str, Fact] = CLEAR) -> dict[str, Fact]:
    return but(base, medicines=codes)


def lacking(
    name: str, reason: Reason = Reason.NOT_RECORDED, base: Mapping[str, Fact] = CLEAR
) -> Case:
    return Case(f"{name}: {reason.value}", but(base, **{name: unknown(reason)}), missing=(name,))


STOPPED = "not-in-a-pregnancy"
USUAL, LOWER = "usual-dose 300", "moderate-renal-impairment 200"
VARIANT = ("germline-variant",)
RENAL = [
    # The label names 30 or less, 31 to 50 and above: between two classes the more cautious one.
    ("29", ""),
    ("30", ""),
    ("30.5", ""),
    ("30.9", ""),
    ("30.999999", ""),
    ("31", LOWER),
    ("44", LOWER),
    ("50", LOWER),
    ("50.4", LOWER),
    ("50.999999", LOWER),
    ("51", USUAL),
    ("51.1", USUAL),
    ("80", USUAL),
    ("81", USUAL),
]
CASES = [
    # People of the demo.
    Case("Ada, without chemotherapy", ADA, closed=("chemotherapy", "high-risk-or-metastatic")),
    Case("Bea, clearance 44", BEA, option=LOWER),
    Case(
        "Bea with a variant of uncertain significance",
        but(BEA, brca1_germline=day("uncertain significance", 200)),
        closed=VARIANT,
    ),
    lacking("brca1_germline", Reason.SOURCE_CLASS_MISSING, BEA),
    Case("Bea, HER2 positive", but(BEA, her2=day("positive", 300)), closed=("her2-negative",)),
    lacking("brca1_germline", Reason.BUILD_MISSING, BEA),
    lacking("medicines_complete", Reason.WITHHELD, BEA),
    # What the laboratory reports of the kidneys.
    *(
        Case(
            f"clearance {clearance}, {reported} reported",
            but(CLEAR, weight=Decimal(clearance), reported_clearance=day(Decimal(reported), 2)),
            option=option,
            closed=closed,
        )
        for clearance, reported, option, closed in (
            ("80", "28", "", ("clearances-agree",)),
            ("80", "50", "", ("clearances-agree",)),
            ("80", "51", USUAL, ()),
            ("44", "28", "", ("clearances-agree",)),
            ("44", "31", LOWER, ()),
            ("44", "60", LOWER, ()),
            ("29", "28", "", ("renal-function",)),
        )
    ),
    *(
        Case(
            f"a reported clearance, {reason.value}",
            but(CLEAR, reported_clearance=unknown(reason)),
            missing=("reported_clearance",),
        )
        for reason in (Reason.CONFLICTING, Reason.UNIT, Reason.NOT_FINAL)
    ),
    Case(
        "a low reported clearance of long ago",
        but(CLEAR, reported_clearance=day(Decimal(28), 31)),
        option=USUAL,
    ),
    # The variant.
    Case("likely pathogenic", but(CLEAR, brca1_germline=day("likely pathogenic", 9)), option=USUAL),
    Case(
        "BRCA2 only",
        but(CLEAR, brca1_germline=day("benign", 9), brca2_germline=day("pathogenic", 9)),
        option=USUAL,
    ),
    Case(
        "pathogenic in one gene, the other not tested",
        without(CLEAR, "brca2_germline"),
        option=USUAL,
    ),
    Case(
        "absent in both",
        but(CLEAR, brca1_germline=day("tested variant not found", 9)),
        closed=VARIANT,
    ),
    Case("likely benign", but(CLEAR, brca1_germline=day("likely benign", 9)), closed=VARIANT),
    Case(
        "somatic only",
        but(CLEAR, brca1_germline=unknown(Reason.NOT_RECORDED, "somatic only")),
        missing=("brca1_germline",),
    ),
    *(
        lacking("brca1_germline", reason)
        for reason in (
            Reason.CONFLICTING,
            Reason.TEXT_ONLY,
            Reason.NO_REPORT,
            Reason.NO_CALL,
            Reason.INDETERMINATE,
            Reason.NO_VALUE,
            Reason.NOT_FINAL,
            Reason.NO_DATE,
            Reason.HELD_BACK,
        )
    ),
    Case(
        "uncertain in one gene, the other not tested",
        without(but(CLEAR, brca1_germline=day("uncertain significance", 9)), "brca2_germline"),
        missing=("brca2_germline",),
    ),
    Case(
        "classification of two years",
        but(CLEAR, brca1_germline=day("pathogenic", 730)),
        option=USUAL,
    ),
    Case(
        "classification older than two years",
        but(CLEAR, brca1_germline=day("pathogenic", 731)),
        missing=("brca1_germline",),
    ),
    # Receptors, setting, risk.
    lacking("her2"),
    Case("HER2 equivocal", but(CLEAR, her2=day("equivocal", 300)), missing=("her2",)),
    Case("no breast cancer", but(CLEAR, breast_cancer=False), closed=("breast-cancer",)),
    Case(
        "chemotherapy not recorded",
        without(CLEAR, "chemotherapy"),
        missing=("chemotherapy", "complete_response"),
    ),
    Case(
        "chemotherapy without its setting, early",
        but(CLEAR, chemotherapy=day("setting not said", 40)),
        missing=("chemotherapy", "complete_response"),
    ),
    Case(
        "chemotherapy without its setting, metastatic",
        but(METASTATIC, chemotherapy=day("setting not said", 40)),
        option=USUAL,
    ),
    Case(
        "triple-negative T1 N0",
        but(CLEAR, tumour_size=day("T1", 9)),
        closed=("high-risk-or-metastatic",),
    ),
    Case(
        "triple-negative T1 N1",
        but(CLEAR, tumour_size=day("T1", 9), nodes=day("N1", 9)),
        option=USUAL,
    ),
    Case(
        "triple-negative N1, size not recorded",
        without(but(CLEAR, nodes=day("N1", 9)), "tumour_size"),
        option=USUAL,
    ),
    Case(
        "triple-negative N0, size not recorded",
        without(CLEAR, "tumour_size"),
        missing=("tumour_size",),
    ),
    Case(
        "triple-negative, neoadjuvant, residual disease",
        but(
            CLEAR,
            chemotherapy=day("neoadjuvant", 40),
            complete_response=False,
            tumour_size=day("T1", 9),
        ),
        option=USUAL,
    ),
    Case(
        "triple-negative, neoadjuvant, complete response",
        but(CLEAR, chemotherapy=day("neoadjuvant", 40), complete_response=True),
        closed=("high-risk-or-metastatic",),
    ),
    Case(
        "triple-negative, neoadjuvant, response not recorded",
        but(CLEAR, chemotherapy=day("neoadjuvant", 40)),
        missing=("complete_response",),
    ),
    Case(
        "hormone receptor positive, 4 nodes", but(POSITIVE, positive_nodes=Decimal(4)), option=USUAL
    ),
    Case(
        "hormone receptor positive, 3 nodes",
        but(POSITIVE, positive_nodes=Decimal(3)),
        closed=("high-risk-or-metastatic",),
    ),
    Case("hormone receptor positive, nodes not counted", POSITIVE, missing=("positive_nodes",)),
    Case(
        "hormone receptor positive, neoadjuvant, CPS+EG 3",
        but(
            POSITIVE,
            chemotherapy=day("neoadjuvant", 40),
            complete_response=False,
            cps_eg=Decimal(3),
        ),
        option=USUAL,
    ),
    Case(
        "hormone receptor positive, neoadjuvant, CPS+EG 2",
        but(
            POSITIVE,
            chemotherapy=day("neoadjuvant", 40),
            complete_response=False,
            cps_eg=Decimal(2),
        ),
        closed=("high-risk-or-metastatic",),
    ),
    Case(
        "hormone receptor positive, neoadjuvant, complete response",
        but(
            POSITIVE, chemotherapy=day("neoadjuvant", 40), complete_response=True, cps_eg=Decimal(3)
        ),
        closed=("high-risk-or-metastatic",),
    ),
    # The trial admits her, by a score that nobody wrote down: refused, and it says what is missing.
    Case(
        "hormone receptor positive, neoadjuvant, residual disease, CPS+EG not recorded",
        but(POSITIVE, chemotherapy=day("neoadjuvant", 40), complete_response=False),
        missing=("cps_eg",),
    ),
    Case(
        "receptor of progesterone alone not recorded",
        without(CLEAR, "progesterone_receptor"),
        missing=("positive_nodes", "progesterone_receptor"),
    ),
    Case("metastatic, triple-negative", METASTATIC, option=USUAL),
    Case("metastatic for years", but(METASTATIC, metastatic=day(True, 900)), option=USUAL),
    Case(
        "no metastases, of half a year ago",
        but(CLEAR, metastatic=day(False, 181)),
        missing=("metastatic",),
    ),
    Case(
        "metastatic, chemotherapy before surgery only",
        but(METASTATIC, chemotherapy=day("neoadjuvant", 900)),
        option=USUAL,
    ),
    Case(
        "metastatic without chemotherapy",
        but(METASTATIC, chemotherapy=day("none", 0)),
        closed=("chemotherapy",),
    ),
    Case(
        "metastatic, hormone receptor positive, no endocrine therapy",
        but(METASTATIC, oestrogen_receptor="positive", endocrine_therapy="none"),
        closed=("endocrine-therapy",),
    ),
    Case(
        "metastatic, hormone receptor positive, endocrine therapy not recorded",
        but(METASTATIC, oestrogen_receptor="positive"),
        missing=("endocrine_therapy",),
    ),
    Case(
        "metastatic, hormone receptor positive, endocrine therapy given",
        but(METASTATIC, oestrogen_receptor="positive", endocrine_therapy="given"),
        option=USUAL,
    ),
    Case(
        "metastatic, hormone receptor positive, endocrine therapy unsuitable",
        but(METASTATIC, oestrogen_receptor="positive", endocrine_therapy="unsuitable"),
        option=USUAL,
    ),
    Case(
        "staging not recorded",
        without(CLEAR, "metastatic"),
        missing=("metastatic",),
    ),
    Case(
        "PARP inhibitor before",
        but(CLEAR, earlier_parp_inhibitor=True),
        closed=("no-parp-inhibitor-before",),
    ),
    Case("PARP inhibitor now", taking("rxnorm:1597582"), closed=("no-parp-inhibitor-before",)),
    lacking("earlier_parp_inhibitor"),
    # Kidneys.
    *(
        Case(
            f"clearance {clearance}",
            but(CLEAR, weight=Decimal(clearance)),
            option=option,
            closed=() if option else ("renal-function",),
        )
        for clearance, option in RENAL
    ),
    lacking("weight"),
    lacking("creatinine", Reason.UNIT),
    lacking("age"),
    Case("creatinine of 30 days", but(CLEAR, creatinine=day(Decimal("0.85"), 30)), option=USUAL),
    Case(
        "creatinine of 31 days",
        but(CLEAR, creatinine=day(Decimal("0.85"), 31)),
        missing=("creatinine",),
    ),
    Case("weight of 31 days", but(CLEAR, weight=day(Decimal(80), 31)), missing=("weight",)),
    Case(
        "creatinine dated tomorrow",
        but(CLEAR, creatinine=day(Decimal("0.85"), -1)),
        missing=("creatinine",),
    ),
    Case(
        "creatinine in another unit",
        but(CLEAR, creatinine=Decimal(88)),
        missing=("creatinine_clearance",),
    ),
    Case(
        "neither woman nor man",
        but(CLEAR, sex=Known("other", None), pregnant=False),
        missing=("creatinine_clearance",),
    ),
    # Medicines.
    *(
        Case(f"{name}, a strong inhibitor", taking(code), option="strong-inhibitor 100")
        for name, code in (
            ("clarithromycin", "rxnorm:21212"),
            ("ritonavir", "rxnorm:85762"),
            ("cobicistat in a combination", "atc:J05AR22"),
            ("nirmatrelvir and ritonavir", "atc:J05AE30"),
        )
    ),
    Case(
        "fluconazole, a moderate inhibitor", taking("atc:J02AC01"), option="moderate-inhibitor 150"
    ),
    Case("both", taking("atc:J02AC01", "atc:J02AC02"), option="strong-inhibitor 100"),
    Case(
        "inhibitor of 31 days ago",
        but(CLEAR, medicines=day(("atc:J02AC01",), 31)),
        missing=("medicines_complete",),
    ),
    Case("St John's wort, an inducer", taking("atc:N06AX25"), closed=("no-inducer",)),
    Case("rifampicin in a combination", taking("atc:J04AM02"), closed=("no-inducer",)),
    Case("inducer and inhibitor", taking("atc:J04AB02", "atc:J02AC02"), closed=("no-inducer",)),
    Case(
        "inhibitor seen, but the list is not whole: an inducer cannot be excluded",
        but(taking("atc:J02AC02"), medicines_complete=unknown(Reason.HELD_BACK)),
        missing=("medicines_complete",),
    ),
    Case(
        "inducer seen, the list is not whole",
        but(taking("atc:J04AB02"), medicines_complete=False),
        closed=("no-inducer",),
    ),
    Case(
        "nothing seen, the list is not whole",
        but(taking(), medicines_complete=False),
        missing=("medicines",),
    ),
    Case("a whole list of nothing", taking(), option=USUAL),
    Case("ATC class that holds an inhibitor", taking("atc:J02AC"), missing=("medicines",)),
    Case("ATC class that holds none", taking("atc:A10BA"), option=USUAL),
    Case("RxNorm code that was never read", taking("rxnorm:99999999"), missing=("medicines",)),
    *(
        Case(f"{code!r} is no code", taking(code), missing=("medicines",))
        for code in ("atc:j02ac02", "atc:J02AC02 ", "atc:J02AC2", "J02AC02", "")
    ),
    Case("another system", taking("local:aspirin"), missing=("medicines",)),
    *(
        Case(
            f"clearance 40 and {code}: no number",
            but(taking(code), weight=Decimal(40)),
            option="impairment-and-inhibitor",
        )
        for code in ("atc:J02AC02", "atc:J02AC01")
    ),
    Case(
        "clearance 25 and an inhibitor",
        but(taking("atc:J02AC02"), weight=Decimal(25)),
        closed=("renal-function",),
    ),
    # Liver, blood, pregnancy, lungs.
    Case(
        "liver not recorded",
        without(CLEAR, "hepatic_impairment"),
        missing=("child_pugh", "hepatic_impairment"),
    ),
    Case("Child-Pugh B", but(without(CLEAR, "hepatic_impairment"), child_pugh="B"), option=USUAL),
    Case(
        "Child-Pugh C",
        but(without(CLEAR, "hepatic_impairment"), child_pugh="C"),
        closed=("liver-function",),
    ),
    Case("Child-Pugh C against none", but(CLEAR, child_pugh="C"), closed=("liver-function",)),
    Case(
        "severe hepatic impairment",
        but(CLEAR, hepatic_impairment="severe"),
        closed=("liver-function",),
    ),
    Case(
        "counts at the bounds",
        but(CLEAR, haemoglobin=Decimal(10), neutrophils=Decimal("1.5"), platelets=Decimal(75)),
        option=USUAL,
    ),
    *(
        Case(f"{name} {value}", but(CLEAR, **{name: Decimal(value)}), closed=("counts-recovered",))
        for name, value in (("haemoglobin", "9.9"), ("neutrophils", "1.49"), ("platelets", "74"))
    ),
    *(lacking(name) for name in ("haemoglobin", "neutrophils", "platelets")),
    *(
        Case(
            f"{name} before the last chemotherapy",
            but(CLEAR, chemotherapy=day("adjuvant", 6), **{name: day(CLEAR[name].value, 7)}),  # type: ignore[union-attr]
            closed=("counts-recovered",),
        )
        for name in ("haemoglobin", "neutrophils", "platelets")
    ),
    Case(
        "blood count of 31 days",
        but(CLEAR, platelets=day(Decimal(200), 31)),
        missing=("platelets",),
    ),
    Case("pregnant", but(CLEAR, pregnant=True), closed=("not-pregnant",)),
    Case(
        "pregnant against menopause",
        but(CLEAR, pregnant=True, menopause="after"),
        closed=("not-pregnant",),
    ),
    Case("pregnancy not recorded", without(CLEAR, "pregnant"), missing=("menopause", "pregnant")),
    Case(
        "pregnancy test of 15 days",
        but(CLEAR, pregnant=day(False, 15)),
        missing=("menopause", "pregnant"),
    ),
    Case(
        "pregnancy not recorded after the menopause",
        without(but(CLEAR, menopause="after"), "pregnant", "breast_feeding"),
        option=USUAL,
    ),
    Case(
        "a man",
        without(
            but(CLEAR, sex=Known("male", None), weight=Decimal(70)), "pregnant", "breast_feeding"
        ),
        option=USUAL,
    ),
    Case("breast-feeding", but(CLEAR, breast_feeding=True), closed=("not-breast-feeding",)),
    Case(
        "breast-feeding not recorded",
        without(CLEAR, "breast_feeding"),
        missing=("breast_feeding", "menopause"),
    ),
    Case("MDS", but(CLEAR, mds_aml=True), closed=("no-mds-aml",)),
    lacking("mds_aml"),
    Case("pneumonitis", but(CLEAR, pneumonitis=True), closed=("no-pneumonitis",)),
    lacking("pneumonitis"),
    Case("eighteen by the calendar", but(CLEAR, age=day(Decimal(18), 0)), closed=("adult",)),
    Case(
        "several at once, all named",
        but(CLEAR, her2="positive", pregnant=True, weight=Decimal(25)),
        closed=("her2-negative", "renal-function", "not-pregnant"),
    ),
    # DPYD.
    Case("no fluoropyrimidine", CLEAR, DPYD, closed=("fluoropyrimidine",)),
    Case("no reduced variant", FLUOROURACIL, DPYD, option="score-2"),
    Case(
        "one c.1905+1G>A",
        but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A",)),
        DPYD,
        option="score-1 50 %",
    ),
    Case(
        "one c.2846A>T",
        but(FLUOROURACIL, dpyd_variants=("c.2846A>T",)),
        DPYD,
        option="score-1.5 50 %",
    ),
    Case(
        "two c.2846A>T",
        but(FLUOROURACIL, dpyd_variants=("c.2846A>T", "c.2846A>T")),
        DPYD,
        option="score-1 50 %",
    ),
    Case(
        "c.1905+1G>A and c.2846A>T",
        but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A", "c.2846A>T")),
        DPYD,
        option="score-0.5",
    ),
    Case(
        "c.1905+1G>A and c.1679T>G",
        but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A", "c.1679T>G")),
        DPYD,
        option="score-0",
    ),
    Case(
        "both marks of HapB3 are one variant",
        but(FLUOROURACIL, dpyd_variants=("c.1129-5923C>G", "c.1236G>A", "c.1905+1G>A")),
        DPYD,
        option="score-0.5",
    ),
    Case(
        "HapB3 by its mark, once",
        but(FLUOROURACIL, dpyd_variants=("c.1236G>A",)),
        DPYD,
        option="score-1.5 50 %",
    ),
    Case(
        "variant that is not in the table",
        but(FLUOROURACIL, dpyd_variants=("c.9999A>T",)),
        DPYD,
        missing=("dpyd_score",),
    ),
    Case(
        "position without call",
        but(FLUOROURACIL, dpyd_positions=("c.1905+1G>A", "c.1679T>G", "c.2846A>T")),
        DPYD,
        missing=("dpyd_score",),
    ),
    Case(
        "no function on both copies, whatever else was tested",
        without(but(FLUOROURACIL, dpyd_variants=("c.1905+1G>A",) * 2), "dpyd_positions"),
        DPYD,
        option="score-0",
    ),
    Case(
        "DPYD not tested",
        without(FLUOROURACIL, "dpyd_variants", "dpyd_positions"),
        DPYD,
        missing=("dpyd_positions", "dpyd_variants"),
    ),
    Case(
        "DPYD not tested: test first",
        without(FLUOROURACIL, "dpyd_variants", "dpyd_positions"),
        TEST,
        option="test-first",
    ),
    Case(
        "c.1905+1G>A twice, capecitabine of 40 days ago",
        but(
            FLUOROURACIL,
            medicines=day(("atc:L01BC06",), 40),
            dpyd_variants=("c.1905+1G>A", "c.1905+1G>A"),
        ),
        DPYD,
        option="score-0",
    ),
    Case(
        "half a dose, capecitabine of 40 days ago",
        but(FLUOROURACIL, medicines=day(("atc:L01BC06",), 40), dpyd_variants=("c.1905+1G>A",)),
        DPYD,
        option="score-1 50 %",
    ),
    *(
        Case(f"{code} in a pregnancy", but(taking(code), pregnant=True), PREGNANCY, option=STOPPED)
        for code in ("rxnorm:10324", "atc:L01BC02", "atc:L01BC06", "rxnorm:1597582")
    ),
    Case("tamoxifen", taking("rxnorm:10324"), PREGNANCY, closed=("pregnant",)),
    Case("a pregnancy alone", but(CLEAR, pregnant=True), PREGNANCY, closed=("medicine",)),
    Case(
        "tamoxifen of a man",
        but(without(taking("rxnorm:10324"), "pregnant"), sex="male"),
        PREGNANCY,
        closed=("pregnant",),
    ),
    Case(
        "tamoxifen, a pregnancy long ago",
        but(taking("rxnorm:10324"), pregnant=day(True, 300)),
        PREGNANCY,
        missing=("menopause", "pregnant"),
    ),
    Case("brivudine alone", taking("atc:J05AB15"), BRIVUDINE, closed=("fluoropyrimidine",)),
    Case("fluorouracil alone", FLUOROURACIL, BRIVUDINE, closed=("brivudine",)),
    Case(
        "fluorouracil beside brivudine",
        taking("atc:L01BC02", "atc:J05AB15", base=FLUOROURACIL),
        BRIVUDINE,
        option="never-together",
    ),
    Case(
        "both, in an old list that lacks some",
        without(
            but(FLUOROURACIL, medicines=day(("atc:L01BC06", "atc:J05AB15"), 60)),
            "medicines_complete",
        ),
        BRIVUDINE,
        option="never-together",
    ),
    Case("DPYD tested: no line", FLUOROURACIL, TEST, closed=("dpyd-not-tested",)),
    Case(
        "DPYD tested in part: test first",
        but(FLUOROURACIL, dpyd_positions=("c.1905+1G>A",)),
        TEST,
        option="test-first",
    ),
    Case(
        "capecitabine seen in a list that is not whole",
        without(
            but(FLUOROURACIL, medicines=("rxnorm:194000",), medicines_complete=False),
            "dpyd_variants",
        ),
        TEST,
        option="test-first",
    ),
    Case("no fluoropyrimidine: no test", CLEAR, TEST, closed=("fluoropyrimidine",)),
    # CYP2D6.
    Case("no tamoxifen", ADA, TAMOX, closed=("tamoxifen",)),
    Case("*1/*1", TAMOXIFEN, TAMOX, option="score-1.25-or-more"),
    Case(
        "*1/*10", but(TAMOXIFEN, cyp2d6_diplotype=("*1/*10",)), TAMOX, option="score-1.25-or-more"
    ),
    Case("*1/*4", but(TAMOXIFEN, cyp2d6_diplotype=("*1/*4",)), TAMOX, option="score-1"),
    Case(
        "*4/*41", but(TAMOXIFEN, cyp2d6_diplotype=("*4/*41",)), TAMOX, option="score-0.25-to-0.75"
    ),
    Case("*4/*4", but(TAMOXIFEN, cyp2d6_diplotype=("*4/*4",)), TAMOX, option="score-0"),
    Case(
        "*1/*10, and paroxetine beside it",
        but(TAMOXIFEN, cyp2d6_diplotype=("*1/*10",), medicines=("rxnorm:10324", "rxnorm:32937")),
        TAMOX,
        option="score-1.25-or-more-and-inhibitor",
    ),
    Case(
        "*1/*1, and mirabegron in a list that is not whole",
        but(TAMOXIFEN, medicines=("rxnorm:10324", "atc:G04BD12"), medicines_complete=False),
        TAMOX,
        option="score-1.25-or-more-and-inhibitor",
    ),
    Case(
        "*1/*1, and medicines that are withheld",
        but(TAMOXIFEN, medicines_complete=unknown(Reason.WITHHELD)),
        TAMOX,
        missing=("medicines_complete",),
    ),
    Case(
        "*4/*4, and medicines that are withheld",
        but(TAMOXIFEN, cyp2d6_diplotype=("*4/*4",), medicines_complete=unknown(Reason.WITHHELD)),
        TAMOX,
        option="score-0",
    ),
    Case(
        "*1/*4, and paroxetine beside it",
        but(TAMOXIFEN, cyp2d6_diplotype=("*1/*4",), medicines=("rxnorm:10324", "rxnorm:32937")),
        TAMOX,
        option="score-1",
    ),
    Case(
        "allele without a value",
        but(TAMOXIFEN, cyp2d6_diplotype=("*1/*22",)),
        TAMOX,
        missing=("cyp2d6_score",),
    ),
    Case(
        "two diplotypes",
        but(TAMOXIFEN, cyp2d6_diplotype=("*1/*4", "*4/*4")),
        TAMOX,
        missing=("cyp2d6_score",),
    ),
    Case(
        "CYP2D6 not reported",
        without(TAMOXIFEN, "cyp2d6_diplotype"),
        TAMOX,
        missing=("cyp2d6_diplotype",),
    ),
    # BRCA without the medicine.
    Case("a woman who is a carrier", ADA, CARRIER, option="woman"),
    Case("a man who is a carrier", but(ADA, sex=Known("male", None)), CARRIER, option="man"),
    Case(
        "uncertain significance",
        but(ADA, brca1_germline="uncertain significance"),
        CARRIER,
        closed=VARIANT,
    ),
    Case("carrier, sex not recorded", without(ADA, "sex"), CARRIER, missing=("sex",)),
    Case(
        "not tested, breast cancer",
        without(ADA, "brca1_germline", "brca2_germline"),
        RISK,
        option="assess",
    ),
    Case(
        "not tested, in the family",
        but(without(ADA, "brca1_germline"), breast_cancer=False, breast_cancer_in_family=True),
        RISK,
        option="assess",
    ),
    Case(
        "no history",
        but(without(ADA, "brca1_germline"), breast_cancer=False, breast_cancer_in_family=False),
        RISK,
        closed=("history",),
    ),
    Case("tested: a carrier", ADA, RISK, closed=("no-carrier",)),
    Case(
        "tested: benign in both",
        but(ADA, brca1_germline=day("benign", 9), brca2_germline=day("benign", 9)),
        RISK,
        closed=("no-report",),
    ),
    Case(
        "one variant of each gene tested and not found: the rest of them is not known",
        but(ADA, brca1_germline=day("tested variant not found", 9)),
        RISK,
        option="assess",
    ),
    Case(
        "history not recorded",
        without(ADA, "brca1_germline", "breast_cancer"),
        RISK,
        missing=("breast_cancer", "breast_cancer_in_family"),
    ),
    Case(
        "a man's history",
        without(but(ADA, sex=Known("male", None)), "brca1_germline"),
        RISK,
        closed=("woman",),
    ),
    Case(
        "one gene pathogenic, the other not reported",
        without(ADA, "brca2_germline"),
        RISK,
        closed=("no-carrier",),
    ),
    Case(
        "a call without a report",
        but(ADA, brca1_germline=unknown(Reason.NO_REPORT), brca_call=True),
        CALL,
        option="confirm",
    ),
    Case("a call with a report", but(ADA, brca_call=True), CALL, closed=("not-reported",)),
    Case("no call", but(without(ADA, "brca1_germline"), brca_call=False), CALL, closed=("call",)),
    Case("no sequence file", without(ADA, "brca1_germline"), CALL, missing=("brca_call",)),
    Case(
        "a call opens nothing else",
        but(without(CLEAR, "brca1_germline"), brca_call=True),
        missing=("brca1_germline",),
    ),
    # Lifestyle.
    *(
        Case(f"{rule} after breast cancer", ADA, rule, option=option)
        for rule, option in (("diet", "mediterranean"), ("exercise", "weekly"))
    ),
    *(
        Case(f"{rule} without", but(ADA, breast_cancer=False), rule, closed=("breast-cancer",))
        for rule in ("diet", "exercise")
    ),
]


def option_of(evaluation: Evaluation) -> str:
    """The option with its dose, as the table writes it."""
    option = evaluation.option
    if option is None:
        return ""
    dose = option.get("dose", {})
    if "mg" in dose:
        assert (dose["times_a_day"], dose["form"]) == (2, "tablets")
        return f"{option['id']} {dose['mg']}"
    return f"{option['id']} {dose['percent_of_usual_start']} %" if dose else str(option["id"])


def of(case: Case, rules: RuleSet) -> Evaluation:
    only = tuple(rule for rule in rules.rules if rule.id == case.rule)
    (evaluation,) = evaluate(case.facts, replace(rules, rules=only), TODAY)
    return evaluation


def fits(case: Case, evaluation: Evaluation) -> bool:
    closed = tuple(gate.id for gate in evaluation.gates if gate.value is False)
    state = State.CLOSED if case.closed else State.OPEN if case.option else State.UNKNOWN
    return (
        evaluation.state is state
        and option_of(evaluation) == case.option
        and closed == case.closed
        and (state is not State.UNKNOWN or evaluation.missing == case.missing)
    )


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 80
    assert len({(case.what, case.rule) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.what}")
def test_what_a_rule_says(case: Case) -> None:
    evaluation = of(case, shipped())
    closed = tuple(gate.id for gate in evaluation.gates if gate.value is False)
    assert (option_of(evaluation), closed) == (case.option, case.closed)
    if not case.option and not case.closed:
        assert (evaluation.state, evaluation.missing) == (State.UNKNOWN, case.missing)
    assert fits(case, evaluation)


def changed(rule: Rule, gates: list[object]) -> RuleSet:
    other = replace(rule, content={**rule.content, "gates": gates})
    rules = shipped()
    return replace(rules, rules=tuple(other if r.id == rule.id else r for r in rules.rules))


GATES = [(rule, n) for rule in shipped().rules for n in range(len(rule.content["gates"]))]


@pytest.mark.parametrize(
    ("rule", "removed"), GATES, ids=[f"{r.id}-{r.content['gates'][n]['id']}" for r, n in GATES]
)
def test_each_gate_removed_opens_somebody(rule: Rule, removed: int) -> None:
    """Without the gate somebody of the table gets another answer: no gate is for show."""
    gates = [gate for n, gate in enumerate(rule.content["gates"]) if n != removed]
    rules = changed(rule, gates)
    cases = [case for case in CASES if case.rule == rule.id]
    assert any(not fits(case, of(case, rules)) for case in cases)


def test_each_row_of_a_table_is_met() -> None:
    met = {(case.rule, of(case, shipped()).option["id"]) for case in CASES if case.option}  # type: ignore[index]
    rows = {(r.id, option["id"]) for r in shipped().rules for option in r.content["options"]}
    assert rows == met


def deaf_comparisons(part: str) -> list[tuple[str, str, dict[str, Any]]]:
    """The comparisons of gates or options that may be "always true" without anybody noticing."""
    deaf = []
    for rule in shipped().rules:
        cases = [case for case in CASES if case.rule == rule.id]
        for n, item in enumerate(rule.content[part]):
            for at in range(len([*leaves(item["when"])])):
                content = copy.deepcopy(dict(rule.content))
                leaf: Any = [*leaves(content[part][n]["when"])][at]
                taken = dict(leaf)
                leaf.clear()
                leaf["all"] = []
                rules = replace(shipped(), rules=(replace(rule, content=content),))
                if not any(differs(case, rules) for case in cases):
                    deaf.append((rule.id, item["id"], taken))
    return deaf


def differs(case: Case, rules: RuleSet) -> bool:
    try:
        return not fits(case, of(case, rules))
    except RuleSetError:  # two rows apply
        return True


def test_each_comparison_of_a_gate_matters() -> None:
    assert deaf_comparisons("gates") == []


def test_each_comparison_of_a_row_matters() -> None:
    """But for those that a gate of the same rule makes too."""
    in_gates = {
        rule.id: [leaf for gate in rule.content["gates"] for leaf in leaves(gate["when"])]
        for rule in shipped().rules
    }
    assert [d for d in deaf_comparisons("options") if d[2] not in in_gates[d[0]]] == []
