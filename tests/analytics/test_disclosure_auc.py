"""Attack on the AUC of a single variable: an insider tries every table of variable by outcome."""

from collections import Counter
from itertools import product
from typing import Any

import pytest

from analytics.disclosure import counts as disclosure
from analytics.disclosure.counts import build_table
from analytics.evaluate import Cells


def nearest(part: int, whole: int, step: int) -> int:
    """part / whole in percent, to the nearest multiple of `step`, halves upwards."""
    return step * ((2 * 100 * part + step * whole) // (2 * step * whole))


def aucs_of_a_finding(people: int, events: int) -> Counter[tuple[Any, int]]:
    """How many tables of finding by outcome are printed as each (row, AUC); the row decides by the
    finding, by nothing, or is withheld."""
    tables: Counter[tuple[Any, int]] = Counter()
    for tp, fp in product(range(events + 1), range(people - events + 1)):
        auc = nearest(
            tp * (people - events) + (people - events - fp) * events,
            2 * events * (people - events),
            5,
        )
        for row in (
            Cells(tp, fp, events - tp, people - events - fp),
            Cells(0, 0, events, people - events),
        ):
            shown = build_table({"a": row}, people=people, events=events).get("a")
            if disclosure.auc_leaves_enough_tables(auc, shown, people, events):
                tables[
                    shown and (shown.step, *shown.metrics.items(), row.tp == row.fp == 0), auc
                ] += 1
    return tables


def test_the_auc_of_a_single_finding_leaves_five_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = aucs_of_a_finding(40, 12)
    assert len(tables) > 10
    assert min(tables.values()) >= 5
    monkeypatch.setattr(disclosure, "auc_leaves_enough_tables", lambda *_: True)
    assert min(aucs_of_a_finding(40, 12).values()) < 5
