"""Rounding of printed counts of people and of p. Loads no library, so any process can round alike."""

from __future__ import annotations

from math import ceil, floor, log10

SMALLEST_COUNT = 10  # smaller counts are suppressed
COUNT_GRID = 5


def round_count(count: int) -> int | None:
    """Nearest multiple of 5, or None below 10."""
    return (
        None
        if count < SMALLEST_COUNT
        else COUNT_GRID * ((2 * count + COUNT_GRID) // (2 * COUNT_GRID))
    )


def print_p(p: float) -> str:
    """A permutation p (0 < p <= 1) to one significant digit, upwards, so that it is never too
    small.

    A p by the ten permutations that reached the observed value is off by a third of itself
    (1 / sqrt(10)), and a smaller one by more: a second digit would be chance.
    """
    decimals = -floor(log10(p))
    digit = ceil(round(p * 10**decimals, 9))
    return f"{digit / 10**decimals:.{decimals if digit < 10 else decimals - 1}f}"
