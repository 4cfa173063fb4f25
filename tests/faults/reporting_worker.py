"""A worker that reports each answer it receives to the test, before it can use it.

`python -m faults.reporting_worker` (with tests/ on the path) is `python -m api.worker.start` with
this told in `answers.jsonl` of the home.
"""

from __future__ import annotations

import sys
from typing import Any

from faults.reported_answers import tell

from api.operate.settings import LOCAL, Settings
from api.worker import start, supervisor


def main() -> int:
    if Settings().engine != LOCAL:
        from faults.reporting_actor import Actor

        from api.worker import ray_engine

        ray_engine.Actor = Actor  # type: ignore[misc]
        return start.main()
    opened = supervisor.open_worker

    def open_reporting(settings: Any) -> supervisor.Worker:
        made = opened(settings)
        tell(made.broker, settings.home / "answers.jsonl")
        return made

    supervisor.open_worker = open_reporting
    return start.main()


if __name__ == "__main__":
    sys.exit(main())
