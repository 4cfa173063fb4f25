"""Describe what refused an attack, for the terminal and the report."""

from __future__ import annotations

import re

from governance.errors import reason_of

HEX = re.compile(r"(, transaction )?(0x)?[0-9a-f]{16,}")


def rule(expected: str) -> str:
    """The refusal of an attack: the contract's error, or the sentence of its reason."""
    _, _, code = expected.partition("reason ")
    return reason_of(int(code)).sentence.rstrip(".") if code.isdecimal() else expected


def without_hex(text: str) -> str:
    """A verifier's sentence without its hashes, which are behind the toggle."""
    return HEX.sub(lambda match: "" if match[1] else "…", text)
