"""What the judge is told of each answer that reaches a worker (tests/faults/oracle.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governance.objects.broker_client import BrokerClient


def tell(client: BrokerClient, file: Path) -> None:
    """From now on each answer of the broker is a line {run, attempt, subjects}."""
    ask = client.pieces

    def pieces(run: bytes, attempt: int, tx: bytes, key: bytes, headers: Any, asker: Any) -> Any:
        answer = ask(run, attempt, tx, key, headers, asker)
        people = sorted({header.label.subject.hex() for header in headers})
        with file.open("a") as log:
            log.write(json.dumps({"run": run.hex(), "attempt": attempt, "subjects": people}) + "\n")
        return answer

    client.pieces = pieces  # type: ignore[method-assign]
