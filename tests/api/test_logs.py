"""Logs: one JSON object for each line, only listed fields, nothing that names a person or moves a
cursor.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from api.operate import logs

HEX = "ab" * 32
UUID = "5f0c2f6e-8a57-4a57-9f3e-0123456789ab"
CORPUS = [
    "a\r\nb",
    "a\nINFO forged",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnol",
    "\u2066a\u2069",
    "\u200bz",
    "\u2028line",
    "\x00",
    "\x08\x08",
    "\x7f",
    "\ufeff",
    "\u2029",
    "a\tb",
    "\u061c",
    "\u200e",
    "\x85",
    "\ud800",
    "\U000e0001",
    f"run {HEX}",
    f"0x{HEX[:40]}",
    f"/runs/{HEX}/output",
    "http://host/runs/12",
    "ada@example.org",
    "a" * 5000,
    "sk_" + "Zm9v" * 20,
    "{'a': 1}",
    "%s %d",
    "{0}",
    "open:/host/x/y",
    "HTTP://host/x",
    "path=/host/y",
    UUID,
    UUID.upper(),
]
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What has been logged so far, parsed line by line."""
    before, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    logs.configure("test", "info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


def test_a_field_that_is_not_on_the_list_is_never_printed(lines: Lines) -> None:
    structlog.get_logger().info(
        "said", run="12345678", subject="somebody", key="secret", exc_info=ValueError("value")
    )
    (line,) = lines()
    assert (line["run"], line["withheld"], line["part"]) == ("12345678", 3, "test")
    assert not {"subject", "key", "exc_info", "exception"} & line.keys()
    assert all(word not in json.dumps(line) for word in ("somebody", "secret", "value"))


@pytest.mark.parametrize("text", CORPUS)
def test_no_text_forges_a_line_or_moves_a_cursor(lines: Lines, text: str) -> None:
    for name in sorted(logs.FIELDS - {"event", "level", "timestamp", "part"}):
        structlog.get_logger().info(text, **{name: text})
    logged = lines()
    assert len(logged) == len(logs.FIELDS) - 4
    for line in logged:
        for shown in line.values():
            assert not [sign for sign in str(shown) if not sign.isprintable()], line
            assert HEX[:40] not in str(shown) or line["event"] != shown
            assert len(str(shown)) <= 7 * logs.LONGEST
        shown = line["event"].lower()
        assert all(
            word not in shown for word in (HEX[:32], "example.org", "host", "zm9vzm9v", UUID[24:])
        )


def test_what_is_nested_is_withheld(lines: Lines) -> None:
    structlog.get_logger().info(
        "said", fact={"name": "somebody"}, places=["a:1", "b:2"], why=object()
    )
    (line,) = lines()
    assert (line["fact"], line["places"], line["why"]) == (
        logs.WITHHELD,
        ["a:1", "b:2"],
        logs.WITHHELD,
    )


def test_of_a_library_warning_only_the_line_is_logged(lines: Lines) -> None:
    try:
        raise KeyError("somebody's diagnosis")
    except KeyError:
        logging.getLogger("some.library").exception("while answering /subjects/%s", HEX)
    logging.getLogger("other").info("quiet")
    warnings.warn("somebody is old", DeprecationWarning, stacklevel=1)
    line, *_ = logged = lines()
    assert (line["event"], line["module"], line["kind"]) == (
        "a library warns",
        "some.library",
        "KeyError",
    )
    assert "diagnosis" not in str(logged)
    assert "somebody" not in str(logged)
    assert HEX not in str(logged)
    assert "quiet" not in str(logged)


def test_the_level_is_kept_and_a_terminal_gets_words() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    before = logging.root.handlers[:]
    screen = Terminal()
    try:
        logs.configure("test", "warning", screen)
        structlog.get_logger().info("quiet")
        structlog.get_logger().warning("loud", fact="\x1b[2Jgone")
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        logging.root.handlers[:] = before
    shown = screen.getvalue()
    assert "quiet" not in shown
    assert "loud" in shown
    assert "\x1b[2J" not in shown
    with pytest.raises(json.JSONDecodeError):
        json.loads(shown)
