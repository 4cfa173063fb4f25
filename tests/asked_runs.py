"""Runs that tests ask several workers for, and wait for."""

from __future__ import annotations

import time

from faults.operations import PARAMS
from faults.random_kills import ServedHome

from api.demo.steps import request

WORKERS = ("worker", "worker-2")


def ask(home: ServedHome, count: int) -> list[str]:
    return [request(home.cast, home.permit, PARAMS) for _ in range(count)]


def await_all(home: ServedHome, runs: list[str]) -> dict[str, int]:
    """The attempts of each run, once all are sealed."""
    noor, deadline = home.cast.client("noor"), time.monotonic() + 60 + 10 * len(runs)
    while True:
        attempts = {
            run["run"]: run["attempt"]
            for run in noor.runs()
            if run["run"] in runs and run["state"] == "sealed"
        }
        if len(attempts) == len(runs):
            return attempts
        assert home.parts.ended() == {}
        assert time.monotonic() < deadline, f"{len(attempts)} of {len(runs)} runs are sealed"
        time.sleep(0.2)
