"""Explanations of the model whose AUC is printed, from its own folds, as printed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analytics.association import allowed_statistics, charged_people, selection_costs
from analytics.cohort import Cohort
from analytics.disclosure.counts import (
    Counts,
    Sizes,
    charge,
    filter_counts,
    least_people,
    perturb_error,
)
from analytics.disclosure.explanations import (
    LOSS_STEPS,
    Chosen,
    add_to_record,
    choose_parts,
    loss_step,
    perturb_importance,
    size_step,
    tells_enough_apart,
)
from analytics.disclosure.noise import Noise
from analytics.disclosure.rounding import COUNT_GRID
from analytics.evaluate import Z_95
from analytics.explainer import Columns, Explained, Floats
from analytics.explanations.registry import AUC_LOSS, COLUMNS, LOG_ODDS, Explanation
from analytics.models.pipeline import COMPONENT
from analytics.prediction import Row, sizes_of

# Whether a higher value goes with a higher prediction.
DIRECTIONS = {1: "more", -1: "less", 0: "unclear"}

FEW_PROFILES = "its feature set has fewer than 10 distinct feature profiles"
FEW_PEOPLE = "one person could be read from it: an outcome has too few people"
OTHER_COLUMNS = "more would tell who was in the cohort, or they are small, or fewer than 10 differ"


class _Budget:
    """How many statistics of gene columns the printed explanations count as, so far.

    A printed column was chosen for its size among many, so it counts as the most that
    `selection_costs` gives; its z, which would tell less, is not printed. Of a rounded number of
    columns, since the ledger shows the sum.
    """

    def __init__(self, allowed: int, columns: int) -> None:
        tested = COUNT_GRID * -(-max(columns, 1) // COUNT_GRID)
        self.allowed, self._printed = allowed, 0
        self._each = float(selection_costs(np.array([np.inf]), tested)[0])

    @property
    def affordable(self) -> int:
        """How many more columns may be printed."""
        return int(self.allowed // self._each) - self._printed

    @property
    def statistics(self) -> int:
        """What the printed columns count as."""
        return int(np.ceil(self._printed * self._each))

    def spend(self, columns: int) -> None:
        self._printed += columns


def add_explanations(
    result: dict[str, Any],
    record: dict[str, Any],
    row: Row,
    columns: Columns,
    cohort: Cohort,
    noise: Noise,
) -> int:
    """Write what may be printed of a row's explanations into the result and its disclosure record;
    the number of statistics to charge for the gene columns that are named.
    """
    sizes = sizes_of(cohort, noise)
    counts = filter_counts(sizes)
    budget = _Budget(allowed_statistics(cohort, counts), columns.genes)
    entries, coarsened, withheld = [], list[tuple[str, float]](), list[tuple[str, str]]()
    for explained in row.explained:
        of, name = explained.explanation, f"{explained.explanation.name}: {row.name}"
        step = _step(of, counts)
        if row.few or step is None:
            withheld.append((name, FEW_PROFILES if row.few else FEW_PEOPLE))
            continue
        if of.of == COLUMNS and columns.genes:
            withheld.append((f"other columns of genes, {name}", OTHER_COLUMNS))
        unit = step / 100 if of.scale == LOG_ODDS else step
        coarsened.append((name, unit))
        printed = _perturb(explained, name, cohort, sizes, noise)
        entries.append(
            {
                "explanation": of.name,
                "model": row.model,
                "feature_set": row.feature_set,
                "scale": of.scale,
                "background": of.background,
                "step": f"{unit:g}",
                "features": [
                    _describe(printed, chosen, step)
                    for chosen in _choose(printed, step, columns, budget, cohort, noise)
                ],
            }
        )
    result["explanations"] = entries
    names_genes = columns.genes > 0 and any(e.explanation.of == COLUMNS for e in row.explained)
    add_to_record(
        record, coarsened, withheld, (budget.statistics, budget.allowed) if names_genes else None
    )
    if not names_genes:
        return 0
    # The ledger takes no per-variant output without statistics.
    return charge(max(budget.statistics, 1), cohort.granted, charged_people(cohort, counts))


def _step(of: Explanation, counts: Counts) -> int | None:
    """Of what is printed, from the smallest cohort that prints the same counts; None for too few."""
    people = least_people(counts)
    if of.summary != AUC_LOSS:
        return None if counts.events is None else size_step(people, of.scale)
    if counts.events is None:
        return LOSS_STEPS[-1]
    return loss_step(min(counts.events, people - counts.events) - COUNT_GRID // 2)


def _perturb(
    explained: Explained, name: str, cohort: Cohort, sizes: Sizes, noise: Noise
) -> Explained:
    """An explanation with noise in all of its numbers: a direction by an exact one would tell an
    outcome near the border between both. name: of the explanation and its row.
    """
    scale, errors = explained.explanation.scale, explained.errors

    def perturb(what: str, values: Floats) -> Floats:
        cells = [f"{what} of {part}: {name}" for part in explained.features]
        return np.array(
            [
                perturb_importance(noise, cohort.affected, sizes, cell, value, scale)
                for cell, value in zip(cells, values.tolist(), strict=True)
            ]
        )

    return replace(
        explained,
        importance=perturb("size", explained.importance),
        direction=perturb("direction", explained.direction),
        errors=None
        if errors is None
        else np.array(
            [
                perturb_error(noise, cohort.affected, sizes.rarer, f"{name}: {part}", value)
                for part, value in zip(explained.features, errors.tolist(), strict=True)
            ]
        ),
    )


def _choose(
    explained: Explained,
    step: int,
    columns: Columns,
    budget: _Budget,
    cohort: Cohort,
    noise: Noise,
) -> list[Chosen]:
    """The printed parts of an explanation, paid for."""
    printable = np.array(
        [
            used
            and (at == COMPONENT or tells_enough_apart(noise, columns.values(at), cohort.subjects))
            for used, at in zip(explained.used, explained.columns, strict=True)
        ]
    )
    charged = (explained.columns != COMPONENT) & (explained.columns < columns.genes)
    hundredths = 100 * explained.importance
    chosen = choose_parts(hundredths, step, printable, charged, budget.affordable)
    budget.spend(sum(bool(charged[part.part]) for part in chosen))
    return chosen


def _describe(explained: Explained, chosen: Chosen, step: int) -> dict[str, object]:
    """A printed part: its rounded importance, and in which direction a column points or, of a loss
    of AUC, whether its 95 % interval is above 0 (its ends would be two numbers more to read a
    person from).
    """
    rounded = chosen.steps * step
    entry: dict[str, object] = {"feature": explained.features[chosen.part]}
    if explained.errors is not None:
        least = explained.importance[chosen.part] - Z_95 * explained.errors[chosen.part]
        clear = "yes" if least > 0 and rounded else "no"
        return entry | {"importance": rounded, "beyond_chance": clear}
    in_percent = explained.explanation.scale != LOG_ODDS
    entry["importance"] = rounded if in_percent else f"{rounded / 100:g}"
    if explained.columns[chosen.part] != COMPONENT:
        steps = int(100 * explained.direction[chosen.part] / step) if rounded else 0
        entry["direction"] = DIRECTIONS[(steps > 0) - (steps < 0)]
    return entry
