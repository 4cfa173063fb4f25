"""Simulated people of the tests of care plans: their facts on one day."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from analytics.care.days import day_of
from analytics.care.facts import Fact, Known, Reason, Unknown, Value

TODAY = day_of("2026-11-30")


def known(value: Value, days_ago: int = 5) -> Known:
    return Known(value, TODAY - days_ago, (f"Observation/{days_ago}",))


def unknown(reason: Reason = Reason.NOT_RECORDED, detail: str = "") -> Unknown:
    return Unknown(reason, detail)


def but(facts: Mapping[str, Fact], **changes: Fact | Value) -> dict[str, Fact]:
    """The facts with these instead; a bare value is one of five days ago."""
    return {
        **facts,
        **{
            name: fact if isinstance(fact, Known | Unknown) else known(fact)
            for name, fact in changes.items()
        },
    }


def without(facts: Mapping[str, Fact], *names: str) -> dict[str, Fact]:
    return {name: fact for name, fact in facts.items() if name not in names}


# Germline BRCA1, triple-negative, pT2, adjuvant chemotherapy, clearance 44 mL/min.
BEA: dict[str, Fact] = {
    "sex": Known("female", None),
    "age": known(Decimal(52), 0),
    "brca1_germline": known("pathogenic", 200),
    "brca2_germline": known("tested variant not found", 200),
    "breast_cancer": known(True, 300),
    "her2": known("negative", 300),
    "oestrogen_receptor": known("negative", 300),
    "progesterone_receptor": known("negative", 300),
    "metastatic": known(False, 100),
    "tumour_size": known("T2", 300),
    "nodes": known("N0", 300),
    "chemotherapy": known("adjuvant", 40),
    "earlier_parp_inhibitor": known(False),
    "weight": known(Decimal(72)),
    "creatinine": known(Decimal("1.7")),
    "haemoglobin": known(Decimal("12.1")),
    "neutrophils": known(Decimal("3.2")),
    "platelets": known(Decimal(210)),
    "hepatic_impairment": known("none"),
    "pregnant": known(False),
    "breast_feeding": known(False),
    "mds_aml": known(False),
    "pneumonitis": known(False),
    "thrombosis": known(False),
    "medicines": known(("atc:A10BA02", "rxnorm:26225")),
    "medicines_complete": known(True),
}
# Germline BRCA1, ER positive and HER2 negative, pT1c pN0, no chemotherapy.
ADA: dict[str, Fact] = but(
    BEA,
    oestrogen_receptor=known("positive", 60),
    progesterone_receptor=known("positive", 60),
    tumour_size=known("T1", 60),
    chemotherapy=known("none", 0),
    endocrine_therapy="given",
    creatinine=Decimal("0.8"),
)
# Of a woman of 68 with this creatinine the clearance is her weight in kilograms.
CLEAR: dict[str, Fact] = but(
    BEA, age=known(Decimal(68), 0), creatinine=Decimal("0.85"), weight=Decimal(80)
)
METASTATIC: dict[str, Fact] = but(CLEAR, metastatic=True, chemotherapy=known("metastatic", 40))
POSITIVE: dict[str, Fact] = but(CLEAR, oestrogen_receptor=known("positive", 300))
# With a fluoropyrimidine, and DPYD tested at the four positions.
FLUOROURACIL: dict[str, Fact] = but(
    CLEAR,
    medicines=("atc:L01BC02",),
    dpyd_variants=(),
    dpyd_positions=("c.1905+1G>A", "c.1679T>G", "c.2846A>T", "c.1129-5923C>G"),
)
TAMOXIFEN: dict[str, Fact] = but(ADA, medicines=("rxnorm:10324",), cyp2d6_diplotype=("*1/*1",))
