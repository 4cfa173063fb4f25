"""`python -m bench`: all benchmarks in five minutes; writes report.json and report.html."""

from __future__ import annotations

import itertools
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
from bench.end_to_end import EndToEnd
from bench.gas import measure_gas
from bench.projection import make_history, measure_projection
from bench.races import describe_machine
from bench.reads import measure_reads
from bench.report import print_summary, write_report
from chain.devnode.process import DevChain
from governance.readmodel.database import open_database

READ_PAIRS, TRAIN_PAIRS, CONFINED_PAIRS = 31, 3, 21


def main() -> int:
    """The exit code: 0 if everything was measured and no goal was missed."""
    began = time.monotonic()
    folder = Settings().home.resolve() / "bench"
    home = Path(tempfile.mkdtemp(prefix="volens-bench-"))

    def log(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    log("starting ledger, bucket, broker, api, worker")
    parts = Parts.start(Settings(home=home))
    try:
        report = _measure(home, parts, log)
    finally:
        parts.stop()
        shutil.rmtree(home)
    report["machine"] |= {"seconds": round(time.monotonic() - began, 1)}
    write_report(folder, report)
    return int(not print_summary(folder, report))


def _measure(home: Path, parts: Parts, log: Any) -> dict[str, Any]:
    machine = describe_machine()
    deployment = EndToEnd(Cast(home, parts), log)
    log("reading one genome, governed and plain")
    ratios = measure_reads(deployment.bucket, READ_PAIRS)
    log("one training, confined and not")
    with Trainings() as trainings:
        ratios["confined_training"] = trainings.measure(CONFINED_PAIRS)
    log("a network on a GPU, if there is one")
    machine["gpu"] = measure_device()
    training, training_phases = deployment.measure_training(TRAIN_PAIRS)
    phases = {
        "training": training_phases,
        **deployment.measure_ingests(),
    }
    log("gas of every call")
    with DevChain.start(home / "gas") as chain:
        gas = measure_gas(chain.url)
    log("deriving the rows of a long ledger, beside writing them only")
    with DevChain.start(home / "long") as chain:
        names = (f"sqlite:///{home / 'long' / str(n)}.db" for n in itertools.count())
        derived = measure_projection(
            make_history(chain.url), deployment.bucket, lambda: open_database(next(names))
        )
    ratios |= {name: derived.pop(name) for name in ("rows_over_inserts", "all_over_inserts")}
    phases["rebuild"] = derived
    return {"gas": gas, "ratios": ratios | training, "phases": phases, "machine": machine}


if __name__ == "__main__":
    sys.exit(main())
