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
    for one in outcomes:
        name = f"{one.target}-{one.mode}"
        points.setdefault(one.operation, {}).setdefault(name, 0)
        points[one.operation][name] += 1
    back = sorted(one.seconds for one in [*outcomes, *outside])
    return {
        "kill_points": sum(one.mode == "kill" for one in outcomes),
        "operations": points,
        "violations": [
            f"{one.operation}, {one.target}, {one.mode} at {one.where}: {said}"
            for one in [*outcomes, *outside]
            for said in one.violations
        ],
        "outside_kills": len(outside),
        "recovery_seconds": {"median": round(back[len(back) // 2], 3), "most": round(back[-1], 3)},
        "places": sorted({one.where.rsplit(" ", 1)[0] for one in outcomes}),
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
                bad = [said for one in done for said in one.violations]
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
    found = report(outcomes, outside, time.monotonic() - began)
    path = ROOT / ".volens" / "fault" / "report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1))
    print(
        f"{found['kill_points']} kills, {len(outcomes)} injuries, {len(outside)} kills from outside; back after "
        f"{found['recovery_seconds']['most']} s at most; {len(found['violations'])} violations: {path}"
    )
    return int(bool(found["violations"]))


if __name__ == "__main__":
    sys.exit(main())
