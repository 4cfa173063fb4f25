"""Small LSTM over series with attention over time (analytics/recurrent.py)."""

from __future__ import annotations

from analytics.models.registry import Blueprint, Model, register


def build(blueprint: Blueprint) -> object:
    """Imports torch, which takes seconds and 200 MB."""
    from analytics.recurrent import RecurrentClassifier

    return RecurrentClassifier(blueprint.series, blueprint.steps, blueprint.seed, blueprint.device)


register(
    Model(
        name="lstm",
        shown="LSTM",
        in_full="LSTM with attention",
        cost=16,
        calibrated=True,
        build=build,
        loaded_late=True,
        form="recurrent",
        reads_series=True,
    )
)
