"""Support vector machine with a radial kernel; it orders people and estimates no probability."""

from __future__ import annotations

from analytics.models.registry import Blueprint, Model, register


def build(blueprint: Blueprint) -> object:
    from sklearn.svm import SVC

    # Both outcomes weigh alike: where one is rare, the margin would order people by who is few.
    return SVC(kernel="rbf", C=1.0, gamma="scale", class_weight="balanced")


register(
    Model(
        name="svm",
        shown="SVM",
        in_full="support vector machine",
        cost=1,
        calibrated=False,
        build=build,
        grid={"C": (0.1, 1.0, 10.0)},
        releasable="it holds patients' rows (support vectors)",
    )
)
