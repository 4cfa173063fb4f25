"""Nearest neighbours, weighted by distance (analytics/neighbours.py)."""

from __future__ import annotations

from analytics.models.registry import Blueprint, Model, register


def build(blueprint: Blueprint) -> object:
    from analytics.neighbours import Neighbours

    return Neighbours(15)


register(
    Model(
        name="knn",
        shown="kNN",
        in_full="nearest neighbours",
        cost=1,
        calibrated=False,
        build=build,
        grid={"most": (5, 15, 45)},
        releasable="it holds patients' rows (the training people are the model)",
    )
)
