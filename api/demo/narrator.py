"""Print the demo's story line by line, and keep the lines for the report."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PARTS = {1: "THE GATE", 10: "THE WITHDRAWAL", 12: "THE SCIENCE", 15: "THE PROOF"}


@dataclass(slots=True)
class Teller:
    """Prints the story and keeps it for the report; its clock starts with the process."""

    began: float = field(default_factory=lambda: time.monotonic() - _age())
    lines: list[dict[str, Any]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    part: str = ""

    def say(self, text: str) -> None:
        """Print, and keep for the recording."""
        print(text, flush=True)
        self.printed.append(text)

    def tell(self, n: int, who: str, what: str, ledger: str = "", holds: bool = True) -> None:
        """One numbered line: who did what, the ledger's answer, and whether it is the expected one."""
        if n in PARTS and PARTS[n] != self.part:
            break_before = "\n" if self.part else ""
            self.part = PARTS[n]
            self.say(f"{break_before} {self.part}")
        seconds = round(self.seconds, 1)
        self.say(f" {n:>2} {seconds:>5.1f} s  {who:<11}{what:<59} {ledger}".rstrip())
        self.lines.append(
            {
                "n": n,
                "seconds": str(seconds),
                "part": self.part,
                "who": who,
                "what": what,
                "ledger": ledger,
                "holds": holds,
            }
        )

    def note(self, text: str) -> None:
        self.say(f"             {text}".rstrip())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def _age() -> float:
    """Seconds since this process was started, by the kernel's count (proc(5), field 22)."""
    started = int(Path("/proc/self/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
