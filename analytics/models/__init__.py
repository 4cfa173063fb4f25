"""The models of the catalogue: one module each, which registers itself when it is imported.

Holds what a model is called, what one fit costs, what may be shown of it and how it is built, and
the pipeline around all of them. Does not know people, outcomes, the parameters of a run or who
asked. Every module here is a model, but for `registry` and `pipeline`. Importing this package loads
no numerical library: a model imports its own when it is built. Hyperparameters are for 100s to
1000s of people and dozens of columns, tuned on simulations.
"""

from __future__ import annotations

from collections.abc import Mapping

from analytics.models.registry import MODELS, Model

# By name, sorted.
REGISTERED: Mapping[str, Model] = MODELS.load(__name__, __path__)
