"""`volens serve` as a process of its own, for tests of what an operator starts and stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Served:
    """`volens serve` as a process of its own, on a home folder; it has what `Parts` tells others."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home, self.environment = home, environment
        self.start()

    def start(self) -> None:
        program = "from api.cli import main; main()"
        environment = {
            "VOLENS_HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "VOLENS_DEVICE": "cpu",
            **self.environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "serve"],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.printed = []
        for line in self.process.stdout:
            self.printed.append(line.strip())
            if line.startswith("Open "):
                break
        assert self.printed, self.process.communicate()
        self.urls: dict[str, str] = json.loads((self.home / "run.json").read_text())

    def next_line(self) -> str:
        """What it prints next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ended(self) -> dict[str, int]:
        code = self.process.poll()
        return {} if code is None else {"service": code}

    def processes(self) -> set[int]:
        """Every process under it, by the kernel's list of children."""
        known, fresh = set(), [self.process.pid]
        while fresh:
            for task in Path(f"/proc/{fresh.pop()}/task").glob("*/children"):
                children = [int(pid) for pid in task.read_text().split()]
                fresh += [pid for pid in children if pid not in known]
                known |= set(children)
        return known

    def end(
        self, *signals: signal.Signals, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[int, float, list[dict[str, Any]]]:
        """Exit code, seconds, and its log."""
        began = time.monotonic()
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.3)
        meanwhile()
        _, log = self.process.communicate(timeout=30)
        return (
            self.process.returncode,
            time.monotonic() - began,
            [json.loads(line) for line in log.splitlines()],
        )
