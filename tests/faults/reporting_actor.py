"""A worker of Ray's that reports each answer it receives, as tests/faults/reporting_worker.py does."""

from __future__ import annotations

from typing import Any

from faults.reported_answers import tell

from api.operate.settings import Settings
from api.worker import ray_engine


class Actor(ray_engine.Actor):
    def __init__(self) -> None:
        opened = ray_engine.open_worker

        def open_reporting(settings: Settings) -> Any:
            made = opened(settings)
            tell(made.broker, settings.home / "answers.jsonl")
            return made

        ray_engine.open_worker = open_reporting
        super().__init__()
