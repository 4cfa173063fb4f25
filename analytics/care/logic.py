"""Kleene's strong three-valued logic: True, False and None, which is "not known".

A conjunction with one False is False whatever is not known, a disjunction with one True is True;
everything else that needs an unknown value is unknown. Python's own `and`, `or`, `all` and `any`
read None as False.
"""

from __future__ import annotations

from collections.abc import Iterable

Truth = bool | None


def negation(value: Truth) -> Truth:
    """NOT: what is not known stays so."""
    return None if value is None else not value


def conjunction(values: Iterable[Truth]) -> Truth:
    """AND: False if one is False, else None if one is None, else True (of nothing: True)."""
    parts = list(values)
    if any(part is False for part in parts):
        return False
    return None if any(part is None for part in parts) else True


def disjunction(values: Iterable[Truth]) -> Truth:
    """OR: True if one is True, else None if one is None, else False (of nothing: False)."""
    return negation(conjunction(negation(value) for value in values))
