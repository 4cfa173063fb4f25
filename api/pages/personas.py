"""The demo's personas for its pages: their roles in the story, and their addresses."""

from __future__ import annotations

import json
from pathlib import Path

CAST = {
    "ada": "a patient",
    "bea": "a patient with a clinician",
    "cleo": "a clinician",
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
    """The names of the personas by address, because the ledger has no names."""
    names = {}
    for name in CAST:
        path = home / "keys" / f"{name}.json"
        if path.is_file():
            names[json.loads(path.read_text(encoding="utf-8"))["address"]] = name.capitalize()
    return names
