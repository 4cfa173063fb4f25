"""`python -m bench`: every measurement, at most five minutes; leaves .volens/bench/report.json and a page of plots."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from api.demo.cast import Cast
from api.operate.processes import Parts
from api.operate.settings import Settings
from bench.confinement import Trainings
from bench.device import measure_device
from bench.gas import measure_gas
from bench.races import describe_machine
from bench.reads import measure_reads
from bench.report import print_summary, write_report
from bench.road import Road
from chain.devnode.process import DevChain

READ_PAIRS, TRAIN_PAIRS, CONFINED_PAIRS = 31, 3, 21


def main() -> int:
    """0 when every figure was taken and no goal was missed."""
    began = time.monotonic()
    folder = Settings().home.resolve() / "bench"
    home = Path(tempfile.mkdtemp(prefix="volens-bench-"))

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    tell("starting ledger, bucket, broker, api, worker")
    parts = Parts.start(Settings(home=home))
    try:
        report = _measure(home, parts, tell)
    finally:
        parts.stop()
        shutil.rmtree(home)
    report["machine"] |= {"seconds": round(time.monotonic() - began, 1)}
    write_report(folder, report)
    return int(not print_summary(folder, report))


def _measure(home: Path, parts: Parts, tell: Any) -> dict[str, Any]:
    machine = describe_machine()
    road = Road(Cast(home, parts), tell)
    tell("reading one genome, governed and plain")
    ratios = measure_reads(road.bucket, READ_PAIRS)
    tell("one training, confined and not")
    with Trainings() as trainings:
        ratios["confined_training"] = trainings.measure(CONFINED_PAIRS)
    tell("a network on a GPU, if there is one")
    machine["gpu"] = measure_device()
    training, phases = road.measure_training(TRAIN_PAIRS)
    found = {"training": phases} | road.measure_ingests() | {"rebuild": road.measure_rebuild(home)}
    tell("gas of every call")
    with DevChain.start(home / "gas") as chain:
        gas = measure_gas(chain.url)
    return {"gas": gas, "ratios": ratios | training, "phases": found, "machine": machine}


if __name__ == "__main__":
    sys.exit(main())
