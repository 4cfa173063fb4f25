"""How much of a campaign the tests do: a sample in `make test` and `make test-long`, all of it with
`--whole`, as `make soak` does.

A campaign repeats one check with more and more inputs, moments or people. Its sample has at least
one of each kind, so that a protection that is taken out is missed at once; the whole looks for what
is rare.
"""

from __future__ import annotations

_whole = False


def choose(whole: bool) -> None:
    """Said once, before any test is collected (tests/conftest.py)."""
    global _whole
    _whole = whole


def extent(sample: int, whole: int) -> int:
    """How often a campaign repeats itself in this run."""
    return whole if _whole else sample
