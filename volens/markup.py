"""HTML for notebooks. Every text is escaped: names and reasons come from others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

SHOWN = 20  # rows of a table


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], every: str, caption: str = ""
) -> str:
    """A table of the first rows; `every`: what shows all of them, where there are more."""
    head = "".join(f"<th>{text(name)}</th>" for name in columns)
    body = "".join(_row(row) for row in rows[:SHOWN])
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    more = len(rows) - SHOWN
    note = f"<p>and {more} more: {text(every)} has all</p>" if more > 0 else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def facts(values: Mapping[str, Any]) -> str:
    """Names with their values, one a line."""
    body = "".join(f"<tr><th>{text(k)}</th><td>{text(v)}</td></tr>" for k, v in values.items())
    return f"<table><tbody>{body}</tbody></table>"


def bar(label: str, fraction: float | None) -> str:
    """A progress bar with what is being done."""
    value = "" if fraction is None else f' value="{min(max(fraction, 0.0), 1.0):.3f}"'
    return f'<progress max="1"{value}></progress> {text(label)}'


def text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, tuple | list):
        return ", ".join(map(text, value))
    return escape(str(value), quote=True)


def _row(row: Iterable[Any]) -> str:
    return "<tr>" + "".join(f"<td>{text(value)}</td>" for value in row) + "</tr>"
