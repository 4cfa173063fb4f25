"""Progress of what takes time: in a notebook a bar in the cell's output, else one on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from api.client.progress import Tell, in_terminal
from volens import markup


@contextmanager
def progress(shown: bool) -> Iterator[Tell]:
    """A function that shows (step, fraction), or with `shown` false does nothing."""
    way = nullcontext(_silent) if not shown else _in_cell() if _in_notebook() else in_terminal()
    with way as tell:
        yield tell


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel; it loads nothing to learn that."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def _in_cell() -> Iterator[Tell]:
    """The bar stays in the saved notebook, as it was last."""
    import IPython.display

    cell: Any = IPython.display
    handle, last = cell.display(cell.HTML(markup.bar("starting", None)), display_id=True), ""

    def tell(step: str, fraction: float | None) -> None:
        nonlocal last
        shown = markup.bar(step, fraction)
        if shown != last:
            handle.update(cell.HTML(shown))
        last = shown

    yield tell


def _silent(step: str, fraction: float | None) -> None:
    return None
