"""Checks after `make demo`, where nothing else runs, that it took a minute at most, and its first
line five seconds.

A minute of the reference machine (tests/speed.py), and a quarter more, since others share the host.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from speed import allowed

REPORT = Path(__file__).resolve().parent.parent / ".volens" / "demo" / "report.json"
SECONDS, FIRST_SECONDS = 60.0, 5.0
SHARED = 1.25


def main() -> int:
    """Says how long the demo took, and of how many seconds; 1 if it took longer."""
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    took, first = float(report["seconds"]), float(report["story"][0]["seconds"])
    most, most_first = SHARED * allowed(SECONDS), SHARED * allowed(FIRST_SECONDS)
    print(
        f"The demo took {took:.1f} s of {most:.1f} s on this machine, and its first line "
        f"{first:.1f} s of {most_first:.1f} s."
    )
    return 0 if took <= most and first <= most_first else 1


if __name__ == "__main__":
    sys.exit(main())
