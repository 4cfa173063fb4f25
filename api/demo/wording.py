"""How the demo says what refused an attack, on the terminal as in its report."""

from __future__ import annotations

import re

from governance.errors import reason_of

HEX = re.compile(r"(, transaction )?(0x)?[0-9a-f]{16,}")


def rule(expected: str) -> str:
    """The refusal that an attack meets: the contract's word, or the sentence of its reason."""
    _, _, code = expected.partition("reason ")
    return reason_of(int(code)).sentence.rstrip(".") if code.isdecimal() else expected


def without_hex(text: str) -> str:
    """A verifier's sentence for readers: its hashes stand behind the toggle."""
    return HEX.sub(lambda found: "" if found[1] else "…", text)
