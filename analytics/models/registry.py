"""What a model says of itself, and the list of models: every module of the package but two.

Imports no numerical library, so that the command line and the pages can read the names.
"""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from analytics.errors import CatalogueError

# The modules of the package that are no model.
AROUND = ("pipeline", "registry")


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One model over a matrix with first `genes` gene columns (in genome order if there is one),
    then `clinical` clinical columns; either may be 0. NaN is missing.

    select, keep: the score that selects gene columns, and their number. components: number of
    principal components of all gene columns, which are appended. device: for cnn only.
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
    starts.
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


_registered: dict[str, Model] = {}


def register(model: Model) -> None:
    """Called once by each module of a model. Raises CatalogueError for a name that is taken."""
    if model.name in _registered:
        raise CatalogueError(f"the model {model.name} is registered twice")
    _registered[model.name] = model


def load_models(package: str, folders: Iterable[str]) -> dict[str, Model]:
    """Import the modules of a package (its name and `__path__`): {name: model}, sorted.

    Raises CatalogueError for a module that does not register one model of its own name, or that has
    no source: byte code is not in the code hash.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(folders))
    names = [name for name in names if name not in AROUND]
    for name in names:
        spec = importlib.util.find_spec(f"{package}.{name}")
        if spec is None or not str(spec.origin).endswith(".py"):
            raise CatalogueError(f"the module {package}.{name} has no source")
        importlib.import_module(f"{package}.{name}")
        if name not in _registered:
            raise CatalogueError(f"the module {package}.{name} registers no model of its name")
    others = sorted(_registered.keys() - set(names))
    if others:
        raise CatalogueError(f"the model {others[0]} is not registered by a module of its name")
    return {name: _registered[name] for name in names}
