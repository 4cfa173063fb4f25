"""End-to-end benchmarks: overhead of governance for training, ingest and database.

The people are 198 of GSE7390 and 200 simulated ones.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from io import BytesIO
from statistics import median
from typing import Any

from analytics.catalogue import MODELS
from analytics.params import complete
from analytics.people import Input
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.run import run as compute
from analytics.simulate.known_truth import simulate_cohort
from analytics.simulate.known_truth_files import BUILD, write_vcf
from api.demo.cast import Cast
from api.demo.science import SEED, VARIANTS
from api.demo.steps import ask_permits, ingest_all, request, view_and_open
from api.ingest.cohort_files import CohortFiles
from api.ingest.sources import bring_in
from bench.races import seconds, summarise
from governance.broker.custody import read_noise_root
from governance.objects.keys import noise_key
from governance.objects.vault import Bucket

SIMULATED = 200  # people with a genome and a clinical record
MINIMUM, LARGE = 20, 20_000  # minimum people of a permit; variants of the large file
OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
Log = Callable[[str], None]


class EndToEnd:
    """A deployment in which all people are enrolled and consent, and all records are ingested."""

    def __init__(self, cast: Cast, log: Log) -> None:
        self.cast, self.log = cast, log
        self.people = load_gse7390(locate_gse7390())
        cast.enrol(len(self.people), SIMULATED)
        ingest_all(cast, self.people, simulate_cohort(SIMULATED, SEED, VARIANTS))
        self.permit = ask_permits(cast)[0]["research"]
        cast.agree(cast.dataset, cast.patients)
        cast.agree(cast.simulated, cast.invented)
        self.bucket = Bucket("volens", cast.parts.urls["bucket"])

    def measure_training(self, pairs: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """(ratios, phases) by model: a governed run from request to seal, over the bare
        computation.

        Raises AssertionError if the two results differ in any byte.
        """
        ratios, phases = {}, {}
        for model in MODELS:
            self.log(f"training {model}")
            self._train(model, 0)  # warms up both
            turns = [self._train(model, seed) for seed in range(1, pairs + 1)]
            more = [governed - plain for governed, plain, _ in turns]
            ratios[f"train_{model}"] = summarise(
                [governed / plain for governed, plain, _ in turns]
            ) | {
                "overhead_seconds": round(median(more), 3),
                "most_overhead_seconds": round(max(more), 3),
                "people": len(self.people),
                "same_bytes": True,
            }
            phases[model] = {
                name: round(median(turn[name] for _, _, turn in turns), 4) for name in turns[0][2]
            }
        return ratios, phases

    def _noise_key(self) -> bytes:
        return noise_key(read_noise_root(self.cast.home / "broker"), self.cast.dataset)

    def _train(self, model: str, seed: int) -> tuple[float, float, dict[str, float]]:
        """(governed seconds, plain seconds, the governed run's seconds by phase)."""
        params = complete(
            {
                "outcome": OUTCOME,
                "models": {model: ["combined"]},
                "permutations": 19,
                "bootstraps": 0,
                "seed": seed,
            }
        )
        inputs = [
            Input(p.subject.hex(), category, payload)
            for p, person in zip(self.cast.patients, self.people, strict=True)
            for category, payload in (
                (2, person.observations(p.subject.hex())),
                (6, person.expression(p.subject.hex())),
            )
        ]
        began = time.perf_counter()
        plain = compute(params, inputs, MINIMUM, device="cpu", noise_key=self._noise_key())
        middle = time.perf_counter()
        run = request(self.cast, self.permit, params)
        self.cast.await_run(run, lambda r: r["state"] == "sealed")
        ended = time.perf_counter()
        opened = view_and_open(self.cast, "sol", run)
        if opened.result != plain.result:
            raise AssertionError(
                f"a governed run of {model} gave other bytes than the same code without governance"
            )
        record = self.cast.client("noor").run(run)["attempts"][-1]["record"]
        return (
            ended - middle,
            middle - began,
            {name: float(spent) for name, spent in record["seconds"].items()},
        )

    def measure_ingests(self) -> dict[str, Any]:
        """The complete ingest of a small and a large cohort file, and only reading and
        splitting."""
        return {
            f"ingest_{SIMULATED}x{variants}": self._ingest(variants)
            for variants in (VARIANTS, LARGE)
        }

    def _ingest(self, variants: int) -> dict[str, Any]:
        self.log(f"ingest of {SIMULATED} people x {variants} variants")
        samples = {f"S{p.number}": p.subject.hex() for p in self.cast.invented}
        vcf = write_vcf(simulate_cohort(SIMULATED, SEED, variants), list(samples))
        split = seconds(lambda: list(_cohort_files(vcf, samples).sources()))
        omar, dataset = self.cast.client("omar"), secrets.token_bytes(32)
        omar.register_dataset(dataset, secrets.token_bytes(32))
        sources = _cohort_files(vcf, samples).sources()
        ingest = seconds(lambda: bring_in(omar, self.cast.broker(), self.bucket, dataset, sources))
        return {
            "seconds": round(ingest, 2),
            "split_seconds": round(split, 2),
            "megabytes": round(len(vcf) / 1e6, 1),
            "records": 2 * SIMULATED,
        }


def _cohort_files(vcf: bytes, samples: dict[str, str]) -> CohortFiles:
    return CohortFiles(BytesIO(vcf), samples, BUILD, [])
