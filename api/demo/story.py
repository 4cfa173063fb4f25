"""The demo: one fixed story through the public doors, from an empty home to a verified trail.

It prints what it proved while it happens, and leaves report.json (schema: report-schema.json), the trail and the
verifier. Every number comes from this run; a figure it did not measure is absent.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from api.demo import scenes, steps
from api.demo.cast import Cast
from api.errors import DoorError
from api.processes import Parts
from api.settings import Settings

MARK = "volens-demo"  # names a home that the demo made and may throw away
PARTS = {1: "THE GATE", 10: "THE CHANGE OF MIND", 12: "THE SCIENCE", 14: "THE PROOF"}
WIDTH = 120


@dataclass(slots=True)
class Teller:
    """Prints the story and keeps it for the report."""

    began: float = field(default_factory=time.monotonic)
    lines: list[dict[str, Any]] = field(default_factory=list)
    part: str = ""

    def tell(self, n: int, who: str, what: str, ledger: str = "") -> None:
        """One numbered line: who did what, and what the ledger says of it."""
        if n in PARTS and PARTS[n] != self.part:
            self.part = PARTS[n]
            print(f"\n {self.part}")
        seconds = round(time.monotonic() - self.began, 1)
        print(f" {n:>2} {seconds:>5.1f} s  {who:<11}{what:<59} {ledger}"[:WIDTH].rstrip(), flush=True)
        self.lines.append(
            {"n": n, "seconds": str(seconds), "part": self.part, "who": who, "what": what, "ledger": ledger}
        )

    def note(self, text: str) -> None:
        print(f"             {text}"[:WIDTH].rstrip(), flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def main(home: Path | None = None) -> int:
    """Play the story; 0 when everything held, 7 when something did not."""
    settings = Settings()
    home = (home or settings.home / "demo").resolve()
    _clear(home)
    print("volens demo   ledger: anvil, one node (not decentralised)   custody: 1 broker   device: cpu")
    print(
        "The people are played. 198 records are published research data (GSE7390); the consents are invented.",
        flush=True,
    )
    teller = Teller()
    parts = Parts.start(settings.model_copy(update={"home": home}))
    try:
        report = _play(home, parts, teller)
    finally:
        parts.stop()
    home.joinpath("report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return _close(home, report)


def _play(home: Path, parts: Parts, teller: Teller) -> dict[str, Any]:
    cast = Cast(home, parts)
    report: dict[str, Any] = {"versions": _versions(), "device": "cpu", "seed": steps.SEED}
    report |= scenes.gate(cast, teller)
    report |= scenes.change_of_mind(cast, teller)
    report |= scenes.science(cast, teller)
    report |= scenes.proof(cast, teller)
    return report | {"story": teller.lines, "seconds": f"{teller.seconds:.1f}"}


def _clear(home: Path) -> None:
    """An empty home; refuses to throw away one that the demo did not make. Raises DoorError."""
    if home.exists() and any(home.iterdir()):
        if not (home / MARK).exists():
            raise DoorError("the demo's folder holds something else", "name another with VOLENS_HOME")
        shutil.rmtree(home)
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    (home / MARK).touch()


def _versions() -> dict[str, str]:
    wanted = ("volens", "cryptography", "web3", "scikit-learn", "google-cloud-storage", "fastapi")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in wanted}}


def _close(home: Path, report: dict[str, Any]) -> int:
    keys, after = report["keys"], report["after_revocation"]
    good = (
        keys["released"] == keys["logged"]
        and not after["keys"]
        and not after["accesses"]
        and not report["phi"]["hits"]
        and report["attacks"]["tried"] == report["attacks"]["refused"]
        and report["verified"] == "valid"
        and report["tampers"]["tried"] == report["tampers"]["detected"]
        and report["accesses"]["recorded"] == report["accesses"]["explained"]
    )
    print(
        f"\n {'DONE' if good else 'NOT PROVEN'} in {report['seconds']} s.  unlogged decryptions "
        f"{abs(keys['released'] - keys['logged'])}   keys after withdrawal {after['keys']}   "
        f"names found in ledger, bucket, database, logs {report['phi']['hits']}"
    )
    print(
        " Limits: the worker sees plaintext; one machine holds every part here; a released result cannot be recalled."
    )
    where = _shown(home)
    print(f" Look:   {where}/report.json      Try:  VOLENS_HOME={where} volens serve   |   volens access list --as ada")
    print(
        f" Check it yourself:  python {where}/verify.py {where}/trail.json --receipt {where}/receipt.json",
        flush=True,
    )
    return 0 if good else 7


def _shown(home: Path) -> str:
    try:
        return str(home.relative_to(Path.cwd()))
    except ValueError:
        return str(home)
