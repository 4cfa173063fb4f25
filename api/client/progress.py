"""Progress on a terminal: a bar on standard error, none where it goes to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[str, float | None], None]


@contextmanager
def in_terminal() -> Iterator[Tell]:
    """A function that shows (step, fraction); without a fraction the bar only moves."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    # Without rich's own way in notebooks, which needs widgets.
    console = Console(stderr=True, force_jupyter=False)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), console=console, transient=True
    ) as shown:
        task = shown.add_task("starting", total=None)

        def tell(step: str, fraction: float | None) -> None:
            known = None if fraction is None else 1.0
            shown.update(task, description=step, total=known, completed=fraction)

        yield tell
