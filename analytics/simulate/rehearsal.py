"""Synthetic data to rehearse a run: invented people with the records that it needs.

An analyst can rehearse a run before applying for a permit, and see how long it takes and what its
result looks like. Nothing in it comes from real people, and its metrics have no meaning.
"""

from __future__ import annotations

import numpy as np

from analytics.params import GENE_SETS, Params, SeriesRules
from analytics.people import Input
from analytics.readers.assays import write_assay
from analytics.readers.codes import VARIABLES
from analytics.readers.expression import write_expression
from analytics.readers.fhir import bundle_of, split_bundle
from analytics.readers.gene_sets import GeneSets
from analytics.readers.genotypes import Sites, build_sites, write_genotypes
from analytics.strata import parse_split
from analytics.vocabulary import Category

PROBES, SITES = 80, 2000
INDEX_DAY = 16_000  # days since 1970
_MADE_OTHERWISE = ("female", "age_years", "metastasis", "follow_up_days")


def invent(params: Params, people: int, seed: int) -> list[Input]:
    """Records of `people` invented people, half with the event; of the others half are censored
    before the horizon in a survival run, nobody in another one. Deterministic in its arguments.
    """
    draw = np.random.default_rng(seed)
    source = params.genes.source if params.genes else "variants"
    sites = _sites(params, draw) if source == "variants" else None
    inputs: list[Input] = []
    for number in range(people):
        subject = f"{number + 1:064x}"
        records = split_bundle(_bundle(params, subject, number, draw), subject).records
        inputs += [Input(subject, category, payload) for category, payload in records.items()]
        if sites is not None:
            inputs.append(Input(subject, Category.GERMLINE_VARIANTS, _genotypes(sites, draw)))
        if source in ("expression", GENE_SETS):
            inputs.append(Input(subject, Category.EXPRESSION, _expression(draw)))
        inputs += [
            Input(subject, Category.EXPRESSION, write_assay(assay, _values(draw)))
            for assay in params.assays
        ]
    return inputs


def invent_gene_sets(params: Params) -> GeneSets | None:
    """Sets of the invented genes, eight of twenty each, in place of the dataset's; None where the
    run needs none.
    """
    if not params.gene_sets:
        return None
    return {
        f"INVENTED_SET_{number + 1}": tuple(
            f"PROBE{(8 * number + gene) % PROBES}" for gene in range(20)
        )
        for number in range(8)
    }


def _bundle(params: Params, subject: str, number: int, draw: np.random.Generator) -> bytes:
    event, outcome = bool(number % 2), params.outcome
    dated = None if outcome is None or not outcome.index else _date(INDEX_DAY - 7)
    facts: list[tuple[str, str, str | None]] = [
        (*_split(code), _date(INDEX_DAY - 30)) for code in params.cohort.present
    ]
    codes = [name for name in params.clinical if ":" in name]
    facts += [(*_split(code), dated) for code in codes if draw.random() < 0.5]
    conditions = []
    observations: list[tuple[str | tuple[str, str], float | bool, str | None]] = []
    within = 0
    if outcome is not None and outcome.horizon_days:
        within = int(draw.integers(outcome.risk_start_days, outcome.horizon_days + 1))
    censored = params.analysis == "survival" and number % 4 == 0
    seen = within if censored else outcome.horizon_days + 30 if outcome else 0
    if outcome is not None and outcome.kind == "distant-metastasis":
        followed = within if event else seen
        observations += [("metastasis", event, None), ("follow_up_days", float(followed), None)]
    elif outcome is not None and outcome.kind == "finding":
        observations.append((outcome.variable, float(event), None))
    elif outcome is not None:
        conditions.append((*_split(outcome.index[0]), _date(INDEX_DAY)))
        if event:
            conditions.append((*_split(outcome.event[0]), _date(INDEX_DAY + within)))
        observations += [
            ("heart_rate", 70.0, _date(INDEX_DAY + day)) for day in (-outcome.washout_days, seen)
        ]
    named = dict.fromkeys(
        (*params.clinical, *(parse_split(rule).variable for rule in params.splits))
    )
    wanted = [name for name in named if name not in (*_MADE_OTHERWISE, *codes)]
    observations += [(name, _value(name, draw), dated) for name in wanted]
    age = int(
        np.clip(draw.integers(40, 75), max(1, params.cohort.age[0]), max(1, params.cohort.age[1]))
    )
    observations.append(("age_years", float(age), dated))
    observations += _over_time(params.series, draw)
    gender = "female" if draw.random() < 0.5 else "male"
    return bundle_of(
        subject,
        gender=gender,
        birth_year=2013 - age,
        conditions=conditions,
        observations=observations,
        facts=facts,
    )


def _over_time(
    series: SeriesRules | None, draw: np.random.Generator
) -> list[tuple[str | tuple[str, str], float | bool, str | None]]:
    """A value on the last day of each step of a series, but for one step in five."""
    if series is None:
        return []
    days = [INDEX_DAY - series.step * step for step in range(series.steps)]
    return [
        (name, _value(name, draw), _date(day))
        for name in series.variables
        for day in days
        if draw.random() < 0.8
    ]


def _value(name: str, draw: np.random.Generator) -> float:
    """A number well inside the variable's plausible range, or one of its answers."""
    variable = VARIABLES[name]
    if variable.answers:
        return float(draw.choice(sorted(set(variable.answers.values()))))
    if variable.kind == "boolean":
        return float(draw.random() < 0.5)
    low, high = variable.plausible
    return float(np.round(low + (high - low) * draw.uniform(0.1, 0.5), 2))


def _sites(params: Params, draw: np.random.Generator) -> Sites:
    sites = {
        (int(c), int(p), alleles) for c, p, alleles in (site.split(":") for site in params.sites)
    }
    while len(sites) < SITES:
        sites.add((int(draw.integers(1, 23)), int(draw.integers(10_000, 40_000_000)), "A>G"))
    ordered = sorted(sites)
    return build_sites(
        "GRCh38",
        [c for c, _, _ in ordered],
        [p for _, p, _ in ordered],
        [a for _, _, a in ordered],
        np.ones(len(ordered), np.uint8),
    )


def _genotypes(sites: Sites, draw: np.random.Generator) -> bytes:
    dosage = draw.binomial(2, 0.3, len(sites.alleles)).astype(np.int8)
    dosage[draw.random(len(dosage)) < 0.01] = -1
    trusted = np.full(len(dosage), 255, np.uint8)
    return write_genotypes(sites, bytes(32), dosage, trusted, trusted)


def _expression(draw: np.random.Generator) -> bytes:
    return write_expression(_values(draw))


def _values(draw: np.random.Generator) -> dict[str, str]:
    return {f"PROBE{number}": f"{draw.normal(8, 1):.3f}" for number in range(PROBES)}


def _split(pattern: str) -> tuple[str, str]:
    system, _, code = pattern.partition(":")
    return system, code


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))
