"""The demo's people as its pages show them: who has which part in the story, and whose address is whose."""

from __future__ import annotations

import json
from pathlib import Path

CAST = {
    "ada": "a patient",
    "noor": "the analyst",
    "vera": "the auditor",
    "sol": "an output checker",
    "tess": "an output checker",
    "pia": "of the committee",
    "quinn": "of the committee",
    "rui": "of the committee",
    "rita": "the registrar",
    "omar": "the custodian",
}


def names_of(home: Path) -> dict[str, str]:
    """The name of everybody in the story by address: the ledger itself knows no names."""
    found = {}
    for name in CAST:
        path = home / "keys" / f"{name}.json"
        if path.is_file():
            found[json.loads(path.read_text(encoding="utf-8"))["address"]] = name.capitalize()
    return found
