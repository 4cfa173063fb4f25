"""Rounding of printed counts of people. Loads no library, so any process can round alike."""

from __future__ import annotations

SMALLEST_COUNT = 10  # smaller counts are suppressed
COUNT_GRID = 5


def round_count(count: int) -> int | None:
    """Nearest multiple of 5, or None below 10."""
    return (
        None
        if count < SMALLEST_COUNT
        else COUNT_GRID * ((2 * count + COUNT_GRID) // (2 * COUNT_GRID))
    )
