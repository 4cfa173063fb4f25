"""Checks after `make demo`, where nothing else runs, that it took a minute at most.

A minute of the reference machine (tests/speed.py), and a quarter more, since others share the host.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from speed import allowed

REPORT = Path(__file__).resolve().parent.parent / ".volens" / "demo" / "report.json"
SECONDS = 60.0
SHARED = 1.25


def main() -> int:
    """Says how long the demo took, and of how many seconds; 1 if it took longer."""
    took = float(json.loads(REPORT.read_text(encoding="utf-8"))["seconds"])
    most = SHARED * allowed(SECONDS)
    print(f"The demo took {took:.1f} s of {most:.1f} s on this machine.")
    return 0 if took <= most else 1


if __name__ == "__main__":
    sys.exit(main())
