"""Keys of results that had another name before: results that were released then are read by today's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESULT = "volens/result/3"
# Old name -> new name, of `volens/result/2`.
RENAMED = {"layer": "feature_set"}


def with_current_keys(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result of any version under the names of RESULT; its values are as they were."""
    current: dict[str, Any] = _renamed(result)
    return current | {"type": RESULT}


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {RENAMED.get(key, key): _renamed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one) for one in value]
    return value
