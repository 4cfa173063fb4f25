"""volens in a notebook or a script: datasets, permits, runs and results, asked as the command line
asks.

    import volens

    service = volens.connect("https://volens.example.org#3f0c…", ".volens/keys/noor.json")
    run = service.request_run(permit, {"outcome": …}).wait()
    run.wait(until="released").result().metrics()

It does not know the server's parts, rules or pages. pandas is loaded where a DataFrame is asked for
(`pip install 'volens[notebook]'`).
"""

from __future__ import annotations

from importlib.metadata import version

from volens.connection import Connection, connect
from volens.result import Rehearsal, Result
from volens.rows import Access, Dataset, Permit, Rows, RunSummary, TrailHead
from volens.run import Run

__all__ = [
    "Access",
    "Connection",
    "Dataset",
    "Permit",
    "Rehearsal",
    "Result",
    "Rows",
    "Run",
    "RunSummary",
    "TrailHead",
    "__version__",
    "connect",
]

__version__ = version("volens")
