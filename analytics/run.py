"""The one entry point: parameters and decrypted records in, a filtered result and its disclosure record out.

Does not know who asked, which consents or keys were involved, or the time: the caller recorded the access,
decrypted the records and will seal exactly the bytes returned here. Same parameters and records give the same
bytes in any order of the records (same machine kind and library versions; one thread).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from analytics.canonical import dump_canonical
from analytics.cohort import CLINICAL, Cohort, Record, assemble_cohort
from analytics.disclosure import (
    FIGURES,
    STEPS,
    Counts,
    Table,
    build_table,
    describe_disclosure,
    filter_counts,
    percent,
)
from analytics.errors import InputsError
from analytics.evaluate import Scores, compare_auc, evaluate_model, permutation_p
from analytics.models import build_logistic
from analytics.params import Params, parse_params
from analytics.readers.expression import read_expression
from analytics.readers.observations import read_observations

__all__ = ["Input", "Params", "Result", "parse_params", "run"]

OBSERVATIONS = 2
EXPRESSION = 6
METRICS = 1
_SUBJECT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Input:
    """One decrypted record: subject (64 lower-case hex), category (2 observations, 6 expression), payload."""

    subject: str
    category: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What a run leaves.

    result: canonical JSON, already filtered; disclosure: canonical JSON of what the filter did; output_class:
    protocol OutputClass; statistics: m; people: n analysed, exact, for the worker alone (the filter may have
    withheld it).
    """

    result: bytes
    disclosure: bytes
    output_class: int
    statistics: int
    people: int


def run(
    params: bytes,
    inputs: Sequence[Input],
    minimum: int,
    progress: Callable[[str, float], None] = lambda phase, fraction: None,
) -> Result:
    """Evaluate the approved model on the given records.

    minimum: smallest number of people that must remain after filtering. progress: called with a phase name
    and the fraction of it that is done; what it raises ends the run. Raises ParamsError, InputsError,
    PayloadError, CohortTooSmall.
    """
    parsed = parse_params(params)
    progress("read", 0.0)
    needs_genes = parsed.layers != ("clinical",)
    cohort = assemble_cohort(
        _read_records(inputs, needs_genes),
        horizon_days=parsed.horizon_days,
        needs_genes=needs_genes,
        minimum=minimum,
        per_class=parsed.folds,
    )
    progress("read", 1.0)
    scores: dict[str, Scores] = {}
    chances: dict[str, float] = {}
    # One thread: a sum that is split differently ends in another last bit. Inputs are checked above, so
    # sklearn need not.
    with (
        threadpool_limits(limits=1),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        for layer in parsed.layers:
            scores[layer], chances[layer] = _evaluate_layer(layer, cohort, parsed, progress)
    counts = filter_counts(granted=cohort.granted, people=cohort.people, events=int(cohort.event.sum()))
    table = build_table({layer: scores[layer].cells for layer in parsed.layers}, counts)
    result = _describe_result(params, parsed, cohort, scores, chances, counts, table)
    disclosure = describe_disclosure(counts, table, parsed.repeats)
    progress("disclose", 1.0)
    return Result(dump_canonical(result), dump_canonical(disclosure), METRICS, 0, cohort.people)


def _read_records(inputs: Sequence[Input], needs_genes: bool) -> list[Record]:
    by_subject: dict[str, dict[int, bytes]] = {}
    for item in inputs:
        if not _SUBJECT.fullmatch(item.subject):
            raise InputsError("a subject is not 64 lower-case hexadecimal characters")
        if item.category not in (OBSERVATIONS, EXPRESSION):
            raise InputsError("a record is of a category that this room cannot read")
        payloads = by_subject.setdefault(item.subject, {})
        if item.category in payloads:
            raise InputsError("a subject has two records of one category")
        payloads[item.category] = item.payload
    records = []
    for subject, payloads in by_subject.items():
        expression, observations = payloads.get(EXPRESSION), payloads.get(OBSERVATIONS)
        records.append(
            Record(
                subject,
                None if expression is None or not needs_genes else read_expression(expression),
                None if observations is None else read_observations(observations, subject),
            )
        )
    return records


def _evaluate_layer(
    layer: str, cohort: Cohort, params: Params, progress: Callable[[str, float], None]
) -> tuple[Scores, float]:
    """(scores, permutation p) of one layer."""
    model, x = _model_and_matrix(layer, cohort)
    scores = evaluate_model(
        model,
        x,
        cohort.event,
        folds=params.folds,
        repeats=params.repeats,
        seed=params.seed,
        tick=lambda fraction: progress(f"evaluate:{layer}", fraction),
    )
    chance = permutation_p(
        model,
        x,
        cohort.event,
        scores.first_auc,
        folds=params.folds,
        permutations=params.permutations,
        seed=params.seed,
        tick=lambda fraction: progress(f"permute:{layer}", fraction),
    )
    return scores, chance


def _model_and_matrix(layer: str, cohort: Cohort) -> tuple[Pipeline, NDArray[np.float64]]:
    genes, clinical = len(cohort.probes), len(CLINICAL)
    if layer == "genes":
        return build_logistic(genes, 0), cohort.genes
    if layer == "clinical":
        return build_logistic(0, clinical), cohort.clinical
    return build_logistic(genes, clinical), np.hstack([cohort.genes, cohort.clinical])


def _describe_result(
    params: bytes,
    parsed: Params,
    cohort: Cohort,
    scores: dict[str, Scores],
    chances: dict[str, float],
    counts: Counts,
    table: Table,
) -> dict[str, object]:
    """The result as printed: whole percents; a figure that was withheld is absent (the disclosure record says
    why)."""
    auc_step = STEPS[-1] if counts.events is None else STEPS[0]
    layers: list[object] = []
    for layer in parsed.layers:
        entry: dict[str, object] = {
            "layer": layer,
            "auc": percent(scores[layer].auc, auc_step),
            "auc_interval": [percent(end, auc_step) for end in scores[layer].auc_interval],
            "p": f"{chances[layer]:.4f}",
            "permutations": parsed.permutations,
        }
        entry.update(zip(FIGURES, table.rows.get(layer, ()), strict=False))
        layers.append(entry)
    result: dict[str, object] = {
        "type": "volens/result/1",
        "params": hashlib.sha256(params).hexdigest(),
        "model": parsed.model,
        "outcome": {"kind": "distant-metastasis", "horizon_days": parsed.horizon_days},
        "folds": parsed.folds,
        "repeats": parsed.repeats,
        "granted": counts.granted,
        "layers": layers,
    }
    shown = {"people": counts.people, "events": counts.events, "baseline": counts.baseline}
    shown["step"] = table.step if table.rows else None
    result.update({name: value for name, value in shown.items() if value is not None})
    if "genes" in scores and "combined" in scores:
        gap, interval = compare_auc(scores["combined"], scores["genes"], cohort.event)
        ends = [percent(end, auc_step) for end in interval]
        result["gain"] = {
            "layer": "combined",
            "over": "genes",
            "auc": percent(gap, auc_step),
            "interval": ends,
        }
    return result
