"""Renamed keys of results: older released results are read under the current names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESULT = "volens/result/3"
# Old name -> new name, of `volens/result/2`.
RENAMED = {"layer": "feature_set"}


def with_current_keys(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result of any version under the key names of RESULT; its values are unchanged."""
    current: dict[str, Any] = _renamed(result)
    return current | {"type": RESULT}


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {RENAMED.get(key, key): _renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return value
