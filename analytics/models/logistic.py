"""Logistic regression with a ridge penalty."""

from __future__ import annotations

from analytics.models.registry import Blueprint, Model, register


def build(blueprint: Blueprint) -> object:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.1, solver="newton-cholesky", max_iter=100)


register(
    Model(
        name="logistic",
        shown="logistic",
        in_full="logistic regression",
        cost=1,
        calibrated=True,
        build=build,
        grid={"C": (0.01, 0.1, 1.0)},
        form="linear",
    )
)
