"""What a model says of itself, and the list of models: every module of the package but two.

Imports no numerical library, so that the command line and the pages can read the names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analytics.registered import Registry

if TYPE_CHECKING:
    from analytics.features import Members


@dataclass(frozen=True, slots=True)
class Block:
    """Gene columns of one kind, side by side: of the expression record, of variants or of an assay.
    Each block is imputed and selected by itself. sets: the gene sets whose means replace its
    columns.
    """

    columns: int
    sets: Members | None = None

    @property
    def features(self) -> int:
        """How many columns there are to select from."""
        return self.columns if self.sets is None else int(self.sets.shape[1])


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One model over a matrix with first `genes` gene columns (in genome order if there is one),
    then `clinical` clinical columns; either may be 0. NaN is missing.

    select, keep: the score that selects gene columns, and their number, of each block. components:
    number of components of the gene columns of each block, which are appended; encoder: what gives
    them, PCA or AUTOENCODER. device: of networks. blocks: which of the gene columns are of one
    kind; empty if all are. series: columns of series after the clinical ones, `steps` of each
    variable.
    """

    model: str
    genes: int
    clinical: int
    select: str
    keep: int
    components: int
    impute: str
    scale: str
    seed: int
    device: str = "cpu"
    blocks: tuple[Block, ...] = ()
    encoder: str = "pca"
    series: int = 0
    steps: int = 0

    @property
    def of_genes(self) -> tuple[Block, ...]:
        """The blocks of gene columns, in order."""
        return self.blocks or ((Block(self.genes),) if self.genes else ())

    @property
    def selected(self) -> int:
        """How many gene columns a classifier sees first, where there are no components."""
        return sum(min(self.keep, block.features) for block in self.of_genes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the catalogue.

    name: in parameters and results, and of its module. shown: on pages. in_full: in the demo's
    report. cost: of one fit, rough, 1 for the cheapest; used only for the displayed progress.
    calibrated: whether `predict` estimates a probability, or only orders people and gives the sign
    of a margin. grid: a setting of the classifier, with the values that a run with `tune` chooses
    among within each fold (that of `build` is one of them); empty: nothing is chosen. releasable:
    None, or the reason why the file of a fitted model may not be released. build: the unfitted
    scikit-learn classifier; imports its libraries when it is called. load: loads what the first fit
    on little data does not (`pipeline.warm_up`), before confinement. loaded_late: its libraries
    take seconds to load, so they are loaded for the first run that names it, not when a worker
    starts. form: `linear` if its classifier has coefficients (`coef_`), `network` if it has
    gradients (`integrated_gradients`), `recurrent` if it has attention over time (`attention`):
    explanations that need them ask for it. reads_series: whether it is given the steps of series;
    another model is given the mean and the slope of each.
    """

    name: str
    shown: str
    in_full: str
    cost: int
    calibrated: bool
    build: Callable[[Blueprint], object]
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    releasable: str | None = "model release is off"
    load: Callable[[], None] | None = None
    loaded_late: bool = False
    form: str = ""
    reads_series: bool = False


# Each module of a model calls `register` once.
MODELS: Registry[Model] = Registry("model", ("pipeline", "registry"))
register = MODELS.register
