"""Keys of results that had another name before: results that were released then are shown by
today's names.

It does not import the computing room: the web process loads no models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CURRENT = "volens/result/3"
# Old name -> new name, of `volens/result/2`.
RENAMED = {"layer": "feature_set"}


def with_current_keys(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result of any version under the names of CURRENT; its values are as they were."""
    current: dict[str, Any] = _renamed(result)
    return current | {"type": CURRENT}


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {RENAMED.get(key, key): _renamed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner) for inner in value]
    return value
