"""A long history: 200 runs of 1,000 people; every service starts on it, alone and on a busy
machine.

`python tests/faults/soak_history.py [RUNS [PEOPLE]]` prints what it took, and leaves it in
`.volens/fault/history.json`; exit code 1 when something did not hold.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from history import build, start_all
from speed import allowed

RUNS, PEOPLE = 200, 1_000
HOME_CPU = 0.050  # seconds of computing for the first page
REPORT = Path(".volens/fault/history.json")


def main() -> int:
    runs, people = [int(number) for number in sys.argv[1:3]] + [RUNS, PEOPLE][len(sys.argv) - 1 :]
    folder = Path(tempfile.mkdtemp(prefix="volens-history-"))
    home, measured = folder / "home", {}
    try:
        began = time.monotonic()
        build(home, people, runs, partial(print, flush=True))
        print(
            f"{runs} runs of {people} people made in {time.monotonic() - began:.0f} s", flush=True
        )
        for name, busy in (
            ("first start", 0),
            ("second start", 0),
            ("beside two busy programs", 2),
        ):
            began = time.monotonic()
            start = start_all(home, busy)
            measured[name] = asdict(start) | {"whole": time.monotonic() - began}
            parts = ", ".join(f"{part} {spent:.0f} s" for part, spent in start.seconds.items())
            print(f"{name}: {parts}; {start.steps} steps", flush=True)
            print(f"  the first page computes for {1000 * start.page_cpu:.0f} ms", flush=True)
    finally:
        shutil.rmtree(folder)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(measured, indent=1) + "\n")
    limit = allowed(HOME_CPU, time.process_time)
    good = all(row["runs"] == runs and row["page_cpu"] <= limit for row in measured.values())
    print("everything held" if good else "SOMETHING DID NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
