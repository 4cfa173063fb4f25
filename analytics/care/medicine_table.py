"""The table of known medicines: ingredients with their codes, and groups that may interact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analytics.canonical import load_strict


def _load() -> Any:
    path = Path(__file__).parent / "medicines.json"
    return load_strict(path.read_bytes(), max_bytes=1 << 20, max_depth=6)


TABLE = _load()


def code_of(name: str) -> str:
    """The code of a known ingredient: RxNorm's, or the first of ATC where none was confirmed."""
    row = TABLE["ingredients"][name]
    return f"rxnorm:{row['rxnorm']}" if "rxnorm" in row else f"atc:{row['atc'][0]}"


def names_by_code() -> dict[str, str]:
    """What the known ingredients are called, by the code of `code_of`."""
    return {code_of(name): name for name in TABLE["ingredients"]}
