"""DataFrames with typed columns. pandas is imported here, and only when a frame is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from api.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

# The annotation of a row's field: the type of its column.
_TYPES = {
    "str": "str",
    "str | None": "str",
    "bool": "bool",
    "int": "int64",
    "int | None": "Int64",
    "datetime": "datetime64[s, UTC]",
    "datetime | None": "datetime64[s, UTC]",
}


def typed_frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> pd.DataFrame:
    """A frame of these columns, also without rows; `types`: the annotation of each."""
    pd = _pandas()
    columns = {
        name: pd.Series([_utc(row[name]) for row in rows], dtype=_TYPES.get(annotation, "object"))
        for name, annotation in types.items()
    }
    return pd.DataFrame(columns)


def metrics_frame(rows: Sequence[Mapping[str, Any]], first: Sequence[str]) -> pd.DataFrame:
    """A frame of released values: intervals in two columns, decimal texts as numbers, and nothing
    (NaN) where a value was withheld. The columns of `first` come first.
    """
    flat = [dict(_flat(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    ordered = [name for name in first if name in names] + [n for n in names if n not in first]
    return _pandas().DataFrame(flat, columns=ordered or list(first))


def _flat(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in row.items():
        if name.endswith("interval") and isinstance(value, list) and len(value) == 2:
            stem = name.removesuffix("interval")
            flat += [(f"{stem}low", _number(value[0])), (f"{stem}high", _number(value[1]))]
        else:
            flat.append((name, _number(value)))
    return flat


def _number(value: Any) -> Any:
    """A decimal text as a number: results hold no binary fractions."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise UsageError(
            "a DataFrame needs pandas, which is not installed",
            "install it: pip install 'volens[notebook]'",
        ) from None
    return pandas
