"""What an explanation says of itself, what it is given of a fold, and the list of explanations.

Imports no numerical library, so that the command line and the pages can read the names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics.registered import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from analytics.models.pipeline import Opened

OVER_TIME = " over time"  # after a variable's name, its series
# What is explained: every column, with each series as one; all genes together beside each clinical
# variable and each series; or the time steps, of all series together.
COLUMNS, GROUPS, STEPS = "columns", "groups", "steps"
# How values of people become one number of a part: the mean of their sizes, in the unit of the
# value; or the mean over the people with the event, which is a loss of AUC.
MEAN_SIZE, AUC_LOSS = "mean-size", "auc-loss"
LOG_ODDS, PROBABILITY, AUC, SHARE = "log-odds", "probability", "auc", "share"  # units of values
GENES, UNITED = "genes", "components of genes"  # parts that are no column


def series_part(variable: str) -> str:
    """The name of a series as a part of the data, beside the variable's latest value."""
    return variable + OVER_TIME


def step_parts(days: int, step: int) -> tuple[str, ...]:
    """The names of the time steps, in order: "83 to 77 days before" the index day."""
    return tuple(
        f"{last} days before" if step == 1 else f"{last} to {last - step + 1} days before"
        for last in range(days - 1, -1, -step)
    )


@dataclass(frozen=True, slots=True)
class Unseen:
    """One fold: a model, the people it was fitted on, and those that it has not seen.

    train, test: (n, columns) as the classifier sees them, that is imputed, selected and scaled.
    event: (n,) of the held-out people. parts: (columns,) the number of the part that each column
    belongs to, from 0. seed: of the fold, for what is drawn.
    """

    model: Opened
    train: NDArray[np.float64]
    test: NDArray[np.float64]
    event: NDArray[np.int64]
    parts: NDArray[np.int64]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One explanation of the catalogue.

    name: in parameters and results, and of its module with hyphens. shown: on pages; says: what its
    numbers are, as a sentence of a page. of: COLUMNS, GROUPS or STEPS. form: the form of model that
    it needs (`Model.form`), "" for any. scale: LOG_ODDS, PROBABILITY, AUC or SHARE. background:
    what a value is compared with. summary: MEAN_SIZE or AUC_LOSS. passes: of the cross-validation,
    at most; 0 for all. most_groups: how many it can combine, 0 for any number. explain: (people,
    parts) values of the held-out people, NaN for those who are left out, drawn; imports its
    libraries when it is called.
    """

    name: str
    shown: str
    says: str
    of: str
    scale: str
    background: str
    summary: str
    explain: Callable[[Unseen], NDArray[np.float64]]
    form: str = ""
    passes: int = 0
    most_groups: int = 0


# Each module of an explanation calls `register` once.
EXPLANATIONS: Registry[Explanation] = Registry("explanation", ("registry",))
register = EXPLANATIONS.register
