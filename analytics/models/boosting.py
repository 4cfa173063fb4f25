"""Gradient boosting of small trees."""

from __future__ import annotations

from analytics.models.registry import Blueprint, Model, register


def build(blueprint: Blueprint) -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=100,
        max_leaf_nodes=4,
        min_samples_leaf=10,
        early_stopping=False,
        random_state=blueprint.seed,
    )


register(
    Model(
        name="boosting",
        shown="boosting",
        in_full="gradient boosting",
        cost=5,
        calibrated=True,
        build=build,
        grid={"learning_rate": (0.03, 0.1, 0.3)},
    )
)
