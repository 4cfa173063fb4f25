"""Strata: groups of people by clinical variables, by which a survival curve is split, and which are
compared for fairness.

A stratum rule is a variable with few values (`er_positive`, `grade`, `female`), or a number with
the points at which it is cut: `age_years:50:65` is under 50, 50 to under 65, and 65 or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import inf
from typing import TYPE_CHECKING

from analytics.errors import ParamsError
from analytics.readers.codes import VARIABLES

if TYPE_CHECKING:  # the parameters are parsed where numpy is not loaded
    import numpy as np
    from numpy.typing import NDArray

ALL, NOT_KNOWN = "all", "not known"
OUTCOME_ITSELF = frozenset({"metastasis", "follow_up_days"})


@dataclass(frozen=True, slots=True)
class Split:
    """A variable, and the rising points at which it is cut (none for one with few values)."""

    variable: str
    cuts: tuple[float, ...] = ()

    def groups(self) -> list[tuple[float, float]]:
        """(least value, bound above it) of each group, or (value, value) without cuts."""
        if self.cuts:
            return list(pairwise((-inf, *self.cuts, inf)))
        variable = VARIABLES.get(self.variable)
        values = set(variable.answers.values()) if variable and variable.answers else {0, 1}
        return [(float(value), float(value)) for value in sorted(values)]

    def label(self, low: float) -> str:
        """A group in words: "grade 2", "age_years 50 to under 65"."""
        if not self.cuts:
            return f"{self.variable} {low:g}"
        if low == -inf:
            return f"{self.variable} under {self.cuts[0]:g}"
        if low == self.cuts[-1]:
            return f"{self.variable} {low:g} or more"
        return f"{self.variable} {low:g} to under {self.cuts[self.cuts.index(low) + 1]:g}"


def parse_split(rule: str) -> Split:
    """The split of a stratum rule that the schema allows. Raises ParamsError."""
    name, *cuts = rule.split(":")
    split = Split(name, tuple(float(cut) for cut in cuts))
    if name in OUTCOME_ITSELF or name not in (*VARIABLES, "female"):
        raise ParamsError(
            "parameters: strata or fairness names a variable that is not in the dictionary, or the outcome",
            "Choose among: " + ", ".join(sorted({*VARIABLES, "female"} - OUTCOME_ITSELF)),
        )
    if (name != "female" and VARIABLES[name].kind == "quantity") != bool(cuts):
        raise ParamsError(
            "parameters: strata or fairness cuts a number at points, and a variable of few values at none",
            "Write for example age_years:50:65, or er_positive.",
        )
    if list(split.cuts) != sorted(set(split.cuts)):
        raise ParamsError("parameters: the points of a variable in strata or fairness do not rise")
    return split


def assign_strata(
    splits: Sequence[Split], values: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.int64]]]:
    """(name, positions) of every possible group, also of one that nobody is in, since a missing one
    would tell that; `values` (n, splits), NaN is missing. The last, NOT_KNOWN, lacks a value.
    """
    import numpy as np

    known = ~np.isnan(values).any(axis=1)
    groups = []
    for chosen in product(*(split.groups() for split in splits)):
        inside = known.copy()
        for column, split, (low, high) in zip(values.T, splits, chosen, strict=True):
            inside &= (low <= column) & (column < high if split.cuts else column == high)
        names = [split.label(low) for split, (low, _) in zip(splits, chosen, strict=True)]
        groups.append((", ".join(names), np.flatnonzero(inside)))
    return [*groups, (NOT_KNOWN, np.flatnonzero(~known))]
