"""What may be printed of a comparison of groups: steps of five people or more, or nothing.

A rate of few people tells about each of them, so a step of a printed number holds at least
PEOPLE_IN_A_STEP people of the smallest of the four parts of a comparison: those with and without
the event, of both groups. With a part of fewer than 28 (whose rounded number is not surely 25) it is
"too few to tell", and so is a difference with an interval wider than WIDEST percent.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics.disclosure.counts import percent
from analytics.disclosure.rounding import COUNT_GRID, round_count

GROUP_STEPS = (5, 10, 20)
PEOPLE_IN_A_STEP = 5
WIDEST = 40  # percent, of an interval
TOO_FEW, NOT_SHOWN, HIGHER, LOWER = "too few to tell", "no difference shown", "higher", "lower"


def group_step(parts: Sequence[int]) -> int | None:
    """The step in percent, from the numbers of people in the parts; None for too few."""
    rounded = round_count(min(parts))
    least = 0 if rounded is None else rounded - COUNT_GRID // 2
    enough = 100 * PEOPLE_IN_A_STEP
    return next((step for step in GROUP_STEPS if step * least >= enough), None)


def show_gap(gap: float, interval: tuple[float, float], step: int | None) -> dict[str, object]:
    """A difference of two groups as printed: its verdict, and the numbers unless it is too few to
    tell. The verdict follows from what is printed."""
    if step is None or not 100 * (interval[1] - interval[0]) <= WIDEST:
        return {"verdict": TOO_FEW}
    low, high = (percent(end, step) for end in interval)
    verdict = HIGHER if low > 0 else LOWER if high < 0 else NOT_SHOWN
    return {
        "gap": percent(gap, step),
        "interval": [low, high],
        "step": step,
        "verdict": verdict,
    }
