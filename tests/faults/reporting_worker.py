"""A worker that reports each answer it receives to the test, before it can use it.

`python -m faults.reporting_worker` (with tests/ on the path) is `python -m api.worker.supervisor` with this told in
`answers.jsonl` of the home.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from api.worker import supervisor as worker
from governance.objects.broker_client import BrokerClient


def tell(client: BrokerClient, file: Path) -> None:
    """From now on each answer of the broker is a line {run, attempt, subjects} (tests/faults/oracle.py)."""
    ask = client.pieces

    def pieces(run: bytes, attempt: int, tx: bytes, key: bytes, headers: Any, asker: Any) -> Any:
        answer = ask(run, attempt, tx, key, headers, asker)
        people = sorted({header.label.subject.hex() for header in headers})
        with file.open("a") as log:
            log.write(json.dumps({"run": run.hex(), "attempt": attempt, "subjects": people}) + "\n")
        return answer

    client.pieces = pieces  # type: ignore[method-assign]


def main() -> int:
    opened = worker.open_worker

    def told(settings: Any) -> worker.Worker:
        made = opened(settings)
        tell(made.broker, settings.home / "answers.jsonl")
        return made

    worker.open_worker = told
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
