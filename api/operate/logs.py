"""Logging: JSON lines on standard error (coloured on a terminal), without anything that names a
person.

1. Only fields of the list below are printed; the others are counted as withheld.
2. Long hex and UUIDs (ids, keys, hashes), tokens, e-mail addresses and paths in a text are
   replaced.
3. Control characters, terminal codes and characters that change the writing direction are escaped.
4. For messages of libraries only module and line are logged, because a text may contain an address
   with ids.
"""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

FIELDS = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "part",
        "request_id",
        "method",
        "route",
        "status",
        "ms",
        "request",
        "kind",
        "module",
        "line",
        "places",
        "run",
        "attempt",
        "why",
        "fact",
        "hint",
        "reason",
        "seconds",
    }
)
LONGEST = 400  # characters of one value
WITHHELD = "[withheld]"
_HIDDEN = (
    (
        re.compile(r"(0x)?[0-9a-fA-F]{32,}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
        "[id]",
    ),
    (re.compile(r"[^\s@]+@[^\s@]+"), "[address]"),
    (re.compile(r"(?i)(?<![\w.])(?:[a-z]+://[^\s\"']+|~?/[^\s\"',;]+)"), "[path]"),
    (re.compile(r"[A-Za-z0-9_\-]{40,}"), "[token]"),
)
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode categories


def configure(part: str, level: str, stream: TextIO | None = None) -> None:
    """Log as `part` from `level` (debug, info, warning, error); call once, at the start of a
    process.
    """
    out = sys.stderr if stream is None else stream
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _Redactor(part),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(out),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryWarnings()], force=True)
    logging.captureWarnings(True)


def clean(text: str) -> str:
    """Remove what could name a person or move a cursor; at most LONGEST characters."""
    for pattern, instead in _HIDDEN:
        text = pattern.sub(instead, text[: 4 * LONGEST])
    return escape(text)


def escape(text: str) -> str:
    """Replace every invisible character by its number."""
    shown = "".join(
        f"\\u{ord(character):04x}" if unicodedata.category(character) in _UNSEEN else character
        for character in text[:LONGEST]
    )
    return shown + ("…" if len(text) > LONGEST else "")


def redact(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that may be printed, cleaned; `withheld` counts the others."""
    kept = {name: _value(name, value) for name, value in fields.items() if name in FIELDS}
    lost = len(fields) - len(kept)
    return kept | {"withheld": lost} if lost else kept


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        # A route's template is our own text, but looks like a path.
        return escape(value) if name == "route" else clean(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str | int) for item in value):
        return [_value(name, item) for item in value[:20]]
    return WITHHELD


class _Redactor:
    """The last step before a line is written."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __call__(
        self, _logger: Any, _name: str, fields: MutableMapping[str, Any]
    ) -> dict[str, Any]:
        return {"part": self._part, **redact(fields)}


class _LibraryWarnings(logging.Handler):
    """Logs warnings of libraries: only module, line and type."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        structlog.get_logger().log(
            record.levelno, "a library warns", module=record.name, line=record.lineno, kind=kind
        )
