"""The table of metrics: each agrees with another library, and keeps what pages assume of it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from analytics.evaluate import Cells, count_cells, metrics_of
from analytics.metrics import METRICS, NAMES, Confusion


def _net_benefit(y: np.ndarray, predicted: np.ndarray) -> float:
    (_, fp), (_, tp) = sklearn_metrics.confusion_matrix(y, predicted)
    return tp / len(y) - fp / len(y) * y.mean() / (1 - y.mean())


# Each metric as somebody else computes it; a new one is one row.
REFERENCES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": sklearn_metrics.accuracy_score,
    "precision": sklearn_metrics.precision_score,
    "recall": sklearn_metrics.recall_score,
    "f1": sklearn_metrics.f1_score,
    "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
    "net_benefit": _net_benefit,
}
SHARES = st.floats(0.01, 0.99)


def test_every_metric_agrees_with_another_library() -> None:
    assert set(REFERENCES) == set(NAMES)
    generator = np.random.default_rng(2)
    y, predicted = generator.integers(0, 2, 90), generator.integers(0, 2, 90)
    ours = metrics_of(count_cells(y, predicted[None, :] == 1))
    assert ours == pytest.approx({name: of(y, predicted) for name, of in REFERENCES.items()})


def test_whoever_treats_everybody_or_nobody_has_no_net_benefit() -> None:
    benefits = [
        metrics_of(cells)["net_benefit"]
        for cells in (Cells(10, 30, 0, 0), Cells(0, 0, 10, 30), Cells(10, 0, 0, 30))
    ]
    assert benefits == [0, 0, 0.25]  # 0.25: as many as have the outcome


def test_predicting_nobody_has_precision_zero() -> None:
    assert metrics_of(Cells(0, 0, 10, 30)) == {
        **{"accuracy": 0.75, "precision": 0.0, "recall": 0.0, "f1": 0.0},
        **{"balanced_accuracy": 0.5, "net_benefit": 0.0},
    }


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
@given(SHARES, SHARES, SHARES, SHARES)
def test_a_metric_rises_or_falls_with_each_rate_alone(
    metric: object, prevalence: float, recall: float, alarm: float, other: float
) -> None:
    """An output checker's range of it is at the ends of its rates (api/pages/output_arithmetic.py)."""
    (computed,) = (known.compute for known in METRICS if known is metric)

    def at(prevalence: float, recall: float, alarm: float) -> float:
        affected, others = prevalence, 1 - prevalence
        return computed(Confusion(recall * affected, alarm * others, affected, others))

    rates = [prevalence, recall, alarm]
    for position in range(3):
        moved = [list(rates) for _ in range(3)]
        for part, weight in zip(moved, (0.0, 0.5, 1.0), strict=True):
            part[position] += weight * (other - rates[position])
        low, between, high = (at(*part) for part in moved)
        assert min(low, high) - 1e-9 <= between <= max(low, high) + 1e-9
        assert -1 <= between <= 1
