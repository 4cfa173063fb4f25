"""Lists of what modules of a package register: each module registers one item of its own name.

Imports no numerical library, so that the command line and the pages can read the names.
"""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from analytics.errors import CatalogueError


class Named(Protocol):
    """What can be registered: it has the name of its module."""

    @property
    def name(self) -> str: ...


_Item = TypeVar("_Item", bound=Named)


class Registry(Generic[_Item]):
    """noun: what an item is, in errors. around: the modules of the package that register none."""

    def __init__(self, noun: str, around: Iterable[str]) -> None:
        self._noun, self._around = noun, frozenset(around)
        self._registered: dict[str, _Item] = {}

    def register(self, item: _Item) -> None:
        """Called once by each module of an item. Raises CatalogueError for a name that is taken."""
        if item.name in self._registered:
            raise CatalogueError(f"the {self._noun} {item.name} is registered twice")
        self._registered[item.name] = item

    def load(self, package: str, folders: Iterable[str]) -> dict[str, _Item]:
        """Import the modules of a package (its name and `__path__`): {name: item}, sorted. The name
        of an item has hyphens where that of its module has underscores.

        Raises CatalogueError for a module that does not register one item of its own name, or that
        has no source: byte code is not in the code hash.
        """
        modules = sorted(module.name for module in pkgutil.iter_modules(folders))
        names = {
            module.replace("_", "-"): module for module in modules if module not in self._around
        }
        for name, module in names.items():
            spec = importlib.util.find_spec(f"{package}.{module}")
            if spec is None or not str(spec.origin).endswith(".py"):
                raise CatalogueError(f"the module {package}.{module} has no source")
            importlib.import_module(f"{package}.{module}")
            if name not in self._registered:
                raise CatalogueError(
                    f"the module {package}.{module} registers no {self._noun} of its name"
                )
        others = sorted(self._registered.keys() - names.keys())
        if others:
            raise CatalogueError(
                f"the {self._noun} {others[0]} is not registered by a module of its name"
            )
        return {name: self._registered[name] for name in sorted(names)}
