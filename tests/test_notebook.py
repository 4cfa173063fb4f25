"""The notebook of the documents: executed in order, without errors, small, and of no machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "guide" / "analyst.ipynb"


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    text = NOTEBOOK.read_text("utf-8")
    nbformat.validate(nbformat.reads(text, as_version=4))
    return dict(json.loads(text))


def test_every_cell_was_executed_in_order_and_shows_something(notebook: dict[str, Any]) -> None:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        kinds = {output["output_type"] for output in cell["outputs"]}
        assert kinds, cell["source"]
        assert "error" not in kinds
        assert not any(output.get("name") == "stderr" for output in cell["outputs"])


def test_it_is_small_and_names_no_machine(notebook: dict[str, Any]) -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert len(text) < 60_000
    assert re.search(r"(?<![\w.:/])/(tmp|home|root|Users|mnt|opt|work)/", text) is None
    assert set(re.findall(r"https?://[\w.:]+", text)) <= {"http://localhost:8000"}
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
