"""The complete kill campaign (`make soak`); writes .volens/fault/report.json."""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import Any

from faults.campaign import ROOT, TARGETS, stages, sweep
from faults.operations import OPERATIONS
from faults.random_kills import DATABASE, PARTS, Outcome, kill_from_outside

from api.demo.postgres import Postgres


def report(outcomes: list[Outcome], outside: list[Any], seconds: float) -> dict[str, Any]:
    """What `.volens/fault/report.json` holds; its keys are fixed."""
    points: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        name = f"{outcome.target}-{outcome.mode}"
        points.setdefault(outcome.operation, {}).setdefault(name, 0)
        points[outcome.operation][name] += 1
    back = sorted(outcome.seconds for outcome in [*outcomes, *outside])
    return {
        "kill_points": sum(outcome.mode == "kill" for outcome in outcomes),
        "operations": points,
        "violations": [
            f"{outcome.operation}, {outcome.target}, {outcome.mode} at {outcome.where}: {violation}"
            for outcome in [*outcomes, *outside]
            for violation in outcome.violations
        ],
        "outside_kills": len(outside),
        "recovery_seconds": {"median": round(back[len(back) // 2], 3), "most": round(back[-1], 3)},
        "places": sorted({outcome.where.rsplit(" ", 1)[0] for outcome in outcomes}),
        "seconds": round(seconds),
    }


def main() -> int:
    """Everything: kills at each boundary, failures and hangs at some, and kills from outside.

    Writes the report.
    """
    began, outcomes = time.monotonic(), []
    with stages() as make:
        for operation, (mode, step) in itertools.product(
            OPERATIONS, (("kill", 1), ("fail", 3), ("hang", 11))
        ):
            for target in TARGETS:
                if mode == "hang" and target == "actor":
                    continue  # nobody waits for it but the person at the endpoint
                done = list(sweep(make, operation, target, mode, step=step))
                outcomes += done
                bad = [violation for outcome in done for violation in outcome.violations]
                print(
                    f"{operation.name:8} {target:8} {mode:5} {len(done):4} points   "
                    f"{time.monotonic() - began:6.0f} s   {bad or 'sound'}",
                    flush=True,
                )
    outside = kill_from_outside(40)
    postgres = Postgres.start()
    try:
        outside += kill_from_outside(42, seed=5, parts=(*PARTS, DATABASE), postgres=postgres)
    finally:
        postgres.stop()
    summary = report(outcomes, outside, time.monotonic() - began)
    path = ROOT / ".volens" / "fault" / "report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1))
    print(
        f"{summary['kill_points']} kills, {len(outcomes)} injuries, {len(outside)} kills from outside; back after "
        f"{summary['recovery_seconds']['most']} s at most; {len(summary['violations'])} violations: {path}"
    )
    return int(bool(summary["violations"]))


if __name__ == "__main__":
    sys.exit(main())
