"""Small convolutional network over the gene columns in genome order (analytics/networks.py)."""

from __future__ import annotations

from analytics.models.registry import Blueprint, Model, register


def build(blueprint: Blueprint) -> object:
    """Imports torch, which takes seconds and 200 MB."""
    from analytics.networks import ConvolutionClassifier

    return ConvolutionClassifier(blueprint.selected, blueprint.seed, blueprint.device)


register(
    Model(
        name="cnn",
        shown="CNN",
        in_full="1-D CNN",
        cost=4,
        calibrated=True,
        build=build,
        loaded_late=True,
        form="network",
    )
)
