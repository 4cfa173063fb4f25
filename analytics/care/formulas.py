"""Facts that are computed from others: creatinine clearance, activity scores, what two facts say
together. Nothing else in this package computes.

Every number is exact (integers and Decimal). A derived fact of which an input is unknown is
unknown, with the reason of that input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from analytics.care.days import year_of
from analytics.care.facts import Fact, Known, Reason, Unknown
from analytics.care.logic import Truth, disjunction

# Beyond these a value is more likely in another unit (88 µmol/L read as mg/dL) or a typing error.
_WEIGHTS = (Decimal(20), Decimal(400))
_CREATININES = (Decimal("0.1"), Decimal(25))
_AGES = (Decimal(18), Decimal(120))


@dataclass(frozen=True, slots=True)
class Tables:
    """CPIC's tables: activity values of DPYD variants and CYP2D6 alleles; names of one haplotype;
    DPYD positions without which no score is given (each as the names that stand for it)."""

    dpyd_values: Mapping[str, Decimal]
    dpyd_haplotypes: Mapping[str, str]
    dpyd_positions: tuple[tuple[str, ...], ...]
    cyp2d6_values: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a derived fact is made: the facts it reads, and the function of them."""

    inputs: tuple[str, ...]
    derive: Callable[[Mapping[str, Fact], int, Tables], Fact]


def derived(name: str, facts: Mapping[str, Fact], today: int, tables: Tables) -> Fact:
    """A derived fact of `DERIVATIONS`. facts: those that a rule may use on this day."""
    return DERIVATIONS[name].derive(facts, today, tables)


def _clearance(facts: Mapping[str, Fact], today: int, _tables: Tables) -> Fact:
    """Creatinine clearance in mL/min by Cockcroft and Gault (Nephron 1976; 16: 31-41):
    (140 - age) x weight / (72 x creatinine in serum), x 0.85 for women.

    Never from an estimated filtration rate. The quotient is rounded down to a millionth: a class
    whose bound is a whole number then contains it exactly if it contains the exact quotient.
    """
    names = ("sex", "age", "weight", "creatinine")
    known = {name: fact for name in names if isinstance(fact := facts[name], Known)}
    if len(known) < len(names):
        return next(facts[name] for name in names if name not in known)
    sex = known["sex"].value
    years = _older_age(known["age"], today)
    kilograms, concentration = _number(known["weight"]), _number(known["creatinine"])
    sources = _sources(*known.values())
    if not (
        _AGES[0] <= years <= _AGES[1]
        and _WEIGHTS[0] <= kilograms <= _WEIGHTS[1]
        and _CREATININES[0] <= concentration <= _CREATININES[1]
    ):
        return Unknown(
            Reason.NOT_UNDERSTOOD, "age, weight or creatinine is not plausible", None, sources
        )
    if sex not in ("female", "male"):
        return Unknown(
            Reason.NOT_UNDERSTOOD, "the formula is for women and men only", None, sources
        )
    factor = Decimal("0.85") if sex == "female" else Decimal(1)
    above, below = (factor * (140 - years) * kilograms).as_integer_ratio()
    of, per = (72 * concentration).as_integer_ratio()
    millionths = above * per * 1_000_000 // (below * of)
    day = _oldest(known["weight"], known["creatinine"])
    return Known(Decimal(millionths).scaleb(-6), day, sources)


def _older_age(age: Known, today: int) -> Decimal:
    """The older of the two ages that a year of birth allows, in the calendar year of today: an
    older person's clearance is lower, and the lower one never gives the higher dose."""
    passed = 0 if age.day is None else year_of(today) - year_of(age.day)
    return _number(age) + passed


def _dpyd_score(facts: Mapping[str, Fact], _today: int, tables: Tables) -> Fact:
    """The sum of the two lowest activity values (CPIC): different variants are presumed to be on
    different copies. A copy without a variant counts 1, so a person without any has 2, which is
    said of the tested positions only."""
    variants, positions = facts["dpyd_variants"], facts["dpyd_positions"]
    if isinstance(variants, Unknown):
        return variants
    values: list[Decimal] = []
    counts: dict[str, dict[str, int]] = {}
    for name in _codes(variants):
        variant = _without_star(name)
        if variant not in tables.dpyd_values:
            return _not_in_table(variants, "DPYD variant")
        haplotype = tables.dpyd_haplotypes.get(variant, variant)
        of = counts.setdefault(haplotype, {})
        of[variant] = of.get(variant, 0) + 1
    for haplotype, of in counts.items():
        # Two variants that mark one haplotype are one finding, as often as the more frequent one.
        values += [tables.dpyd_values[haplotype]] * max(of.values())
    score = sum(sorted([*values, Decimal(1), Decimal(1)])[:2], Decimal(0))
    if score == 0:  # no further position could lower it
        return Known(score, variants.day, _sources(variants))
    if isinstance(positions, Unknown):
        return positions
    tested = {_without_star(name) for name in (*_codes(positions), *_codes(variants))}
    untested = [names[0] for names in tables.dpyd_positions if not tested & set(names)]
    sources = _sources(variants, positions)
    if untested:
        return Unknown(Reason.NO_CALL, "not tested: " + ", ".join(untested), None, sources)
    return Known(score, _oldest(variants, positions), sources)


def _cyp2d6_score(facts: Mapping[str, Fact], _today: int, tables: Tables) -> Fact:
    """The sum of the activity values of both star alleles (CPIC)."""
    diplotypes = facts["cyp2d6_diplotype"]
    if isinstance(diplotypes, Unknown):
        return diplotypes
    scores = set()
    for diplotype in _codes(diplotypes):
        alleles = [allele.strip() for allele in diplotype.split("/")]
        if len(alleles) != 2 or any(allele not in tables.cyp2d6_values for allele in alleles):
            return _not_in_table(diplotypes, "CYP2D6 allele")
        scores.add(sum((tables.cyp2d6_values[allele] for allele in alleles), Decimal(0)))
    if len(scores) > 1:
        return Unknown(Reason.CONFLICTING, "diplotypes differ", None, _sources(diplotypes))
    if not scores:
        return Unknown(Reason.NOT_RECORDED, "", None, _sources(diplotypes))
    return Known(scores.pop(), diplotypes.day, _sources(diplotypes))


def _hormone_receptor(facts: Mapping[str, Fact], _today: int, _tables: Tables) -> Fact:
    receptors = (facts["oestrogen_receptor"], facts["progesterone_receptor"])
    positive = disjunction(_is(fact, "positive") for fact in receptors)
    return _yes_no(positive, *receptors)


def _liver(facts: Mapping[str, Fact], _today: int, _tables: Tables) -> Fact:
    """The worse of what is recorded as impairment and what the Child-Pugh class says."""
    order = ("none", "mild", "moderate", "severe")
    classes = {"A": "mild", "B": "moderate", "C": "severe"}
    impairment, child_pugh = facts["hepatic_impairment"], facts["child_pugh"]
    words = [str(impairment.value)] if isinstance(impairment, Known) else []
    words += [classes[str(child_pugh.value)]] if isinstance(child_pugh, Known) else []
    if not words:
        return impairment
    for fact in (impairment, child_pugh):
        # Of what is recorded but not known either may be the worse one.
        if isinstance(fact, Unknown) and fact.reason not in (Reason.NOT_RECORDED, Reason.TOO_OLD):
            return fact
    known = [fact for fact in (impairment, child_pugh) if isinstance(fact, Known)]
    return Known(max(words, key=order.index), _oldest(*known), _sources(*known))


def _excluded(name: str) -> Callable[[Mapping[str, Fact], int, Tables], Fact]:
    """Whether pregnancy or breast-feeding is excluded: recorded as absent, or impossible. Sex and
    menopause speak only where nothing else is recorded: a "yes" that is too old or in doubt shows
    that one of them may be wrong."""

    def derive(facts: Mapping[str, Fact], _today: int, _tables: Tables) -> Fact:
        state, sex, menopause = facts[name], facts["sex"], facts["menopause"]
        if isinstance(state, Known):
            return Known(state.value is False, state.day, _sources(state))
        if state.reason != Reason.NOT_RECORDED:
            return state
        impossible = disjunction([_is(sex, "male"), _is(menopause, "after")])
        reason = sex if _is(sex, "male") else menopause
        return _yes_no(True, reason) if impossible else state

    return derive


def _is(fact: Fact, value: str) -> Truth:
    return fact.value == value if isinstance(fact, Known) else None


def _yes_no(value: Truth, *facts: Fact) -> Fact:
    known = [fact for fact in facts if isinstance(fact, Known)]
    if value is None:
        return next(fact for fact in facts if isinstance(fact, Unknown))
    return Known(value, _oldest(*known), _sources(*known))


def _number(fact: Known) -> Decimal:
    return Decimal(str(fact.value))


def _codes(fact: Fact) -> tuple[str, ...]:
    return fact.value if isinstance(fact, Known) and isinstance(fact.value, tuple) else ()


def _without_star(variant: str) -> str:
    return re.sub(r" \(\*\d+[A-Z]?\)$", "", variant.strip())


def _not_in_table(fact: Known, what: str) -> Unknown:
    return Unknown(
        Reason.NOT_UNDERSTOOD, f"a {what} that is not in CPIC's table", None, fact.source
    )


def _oldest(*facts: Fact) -> int | None:
    return min((fact.day for fact in facts if fact.day is not None), default=None)


def _sources(*facts: Fact) -> tuple[str, ...]:
    return tuple(sorted({source for fact in facts for source in fact.source}))


DERIVATIONS: Mapping[str, Derivation] = {
    "creatinine_clearance": Derivation(("age", "creatinine", "sex", "weight"), _clearance),
    "dpyd_score": Derivation(("dpyd_positions", "dpyd_variants"), _dpyd_score),
    "cyp2d6_score": Derivation(("cyp2d6_diplotype",), _cyp2d6_score),
    "hormone_receptor": Derivation(
        ("oestrogen_receptor", "progesterone_receptor"), _hormone_receptor
    ),
    "liver": Derivation(("child_pugh", "hepatic_impairment"), _liver),
    "pregnancy_excluded": Derivation(("menopause", "pregnant", "sex"), _excluded("pregnant")),
    "breast_feeding_excluded": Derivation(
        ("breast_feeding", "menopause", "sex"), _excluded("breast_feeding")
    ),
}
