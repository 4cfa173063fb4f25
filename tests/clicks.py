"""Clicks that a daily task takes on the pages, counted as a test walks it and compared with the
table of docs/explain/how-it-works.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from playwright.sync_api import Locator

TABLE = Path(__file__).parents[1] / "docs" / "explain" / "how-it-works.md"
_ROW = re.compile(r"^\| ([a-z -]+) \| ([^|]+) \| ([0-9]+) \|$", re.MULTILINE)


def documented() -> dict[tuple[str, str], int]:
    """Clicks by role and task."""
    return {
        (role, task.strip()): int(clicks)
        for role, task, clicks in _ROW.findall(TABLE.read_text(encoding="utf-8"))
    }


class Clicks:
    """Counts clicks, ticks and choices while it is entered, as often as it is."""

    def __init__(self, role: str, task: str) -> None:
        self.named, self.number = (role, task), 0
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Clicks:
        for name in ("click", "check", "select_option"):
            self._patch.setattr(Locator, name, self._counted(getattr(Locator, name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._patch.undo()

    def _counted(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.number += 1
            return act(*arguments, **named)

        return counted

    def agree(self) -> None:
        """With the table, which has a row for this task."""
        assert documented().get(self.named) == self.number, self.named
