"""The analyst's notebook: `python docs/notebook.py` executes it on a served demo home and writes
its outputs; docs/generate.py writes the page of the site from it.

The demo's home is made first where there is none. While the notebook waits, the demo's output
checkers release what it requested.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "guide" / "analyst.ipynb"
# What a reader of the notebook has: `volens serve --demo` at this address, in this folder.
URL, KEY = "http://localhost:8000", ".volens/demo/keys/noor.json"
SECONDS = 300  # for a cell
CHECKERS = ("sol", "tess")


def execute(url: str, key: Path, folder: Path, cells: int | None = None) -> dict[str, Any]:
    """The notebook with the outputs of a kernel that runs in `folder`, asks `url` and signs with
    `key`; what is returned names neither. `cells`: only so many, from the first on.

    Raises nbclient's CellExecutionError.
    """
    import nbformat
    from nbclient import NotebookClient

    text = NOTEBOOK.read_text(encoding="utf-8").replace(URL, url).replace(KEY, str(key))
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells = notebook.cells[:cells]
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3")
    client.execute(cwd=str(folder))
    executed = nbformat.writes(notebook).replace(str(key), KEY).replace(url, URL)
    return clean(json.loads(executed))


def clean(notebook: dict[str, Any]) -> dict[str, Any]:
    """Without times, versions and names of a machine."""
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


@contextmanager
def releasing(url: str, home: Path) -> Iterator[None]:
    """The demo's output checkers view and release each output that is sealed meanwhile."""
    from api.client.client import Client
    from api.operate.bootstrap import read_identity
    from chain.wallets import load
    from governance.objects.keys import new_pair

    identity = read_identity(home) or {}
    checkers = [Client(url, identity, load(home / "keys" / f"{name}.json")[0]) for name in CHECKERS]
    waiting = {row["run"] for row in checkers[0].runs("sealed")}
    ended = threading.Event()

    def release() -> None:
        while not ended.wait(0.5):
            for row in checkers[0].runs("sealed"):
                for checker in checkers if row["run"] not in waiting else ():
                    checker.view_output(row["run"], row["attempt"], new_pair()[1])
                    checker.approve(row["run"])

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def page() -> str:
    """The notebook as a page of the site: its texts, its code and what the code printed."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [shown for output in cell["outputs"] if (shown := _shown(output))]
    parts.append("This page is [a notebook](analyst.ipynb): open it in Jupyter.")
    return "\n\n".join(parts)


def _shown(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text']).rstrip()}\n```"
    data = output.get("data", {})
    if "text/html" in data:
        lines = (line.strip() for line in "".join(data["text/html"]).splitlines())
        return "\n".join(line for line in lines if line)
    return f"```text\n{unescape(''.join(data.get('text/plain', [])))}\n```"


def main() -> None:
    """Serve the demo's home, execute, write."""
    from api.demo.story import main as play
    from api.operate.processes import Parts
    from api.operate.settings import read_settings

    settings = read_settings()
    home = settings.home.resolve() / "demo"
    if not (home / "identity.json").exists() and play(home):
        sys.exit("the demo failed, so there is nothing to serve")
    own = {"home": home, "demo": True, "bucket_url": "", "database_url": ""}
    parts = Parts.start(settings.model_copy(update=own))
    try:
        with releasing(parts.urls["api"], home):
            executed = execute(parts.urls["api"], home / "keys" / "noor.json", home)
    finally:
        parts.stop()
    NOTEBOOK.write_text(json.dumps(executed, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
