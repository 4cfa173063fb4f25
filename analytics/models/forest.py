"""Random forest."""

from __future__ import annotations

from analytics.models.registry import Blueprint, Model, register


def build(blueprint: Blueprint) -> object:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(50, min_samples_leaf=5, n_jobs=1, random_state=blueprint.seed)


register(
    Model(
        name="forest",
        shown="forest",
        in_full="random forest",
        cost=6,
        calibrated=True,
        build=build,
        grid={"min_samples_leaf": (2, 5, 15)},
    )
)
