"""`python -m bench.science`: metrics on published data, on noise, and with a known truth.

Leaves .volens/science/report.json {gse7390, gse7390_gains, noise, leak, known_truth, fusion,
tuning, explanation, association_null, survival, clusters, coverage}; its keys stay, so that reports
can be compared. An interrupted measurement goes on where it was, as long as the code is the same.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics import science, threads
from analytics.catalogue import MODELS
from analytics.code import code_hash
from analytics.models import pipeline
from analytics.simulate import coverage
from api.confinement import Confinement
from api.confinement.inside import confine
from api.confinement.launching import launch
from api.operate.settings import Settings

NULL_TESTS = 400_000  # of the scan, for each size and frequency: 40 of them with p below 0.0001
COHORTS = 20  # with five, the share of the best gain is uncertain by two per cent
DISJOINT = 400  # cohorts whose intervals are compared with the truth
PEOPLE = 200  # of each
SURVIVORS = 10_000  # people whose printed risk is compared with the truth
# People and simulated cohorts for fused feature sets.
FUSION = ((200, 100), (500, 20), (1000, 10), (2000, 10), (5000, 3))
EXPLAINED = ((200, 20), (500, 10), (2000, 5))  # likewise, for explanations
TUNING = ((200, 10), (1000, 3))  # likewise, for settings that are chosen within the folds


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench.science", description="Metrics of every model; takes some minutes."
    )
    parser.add_argument(
        "--permutations", type=int, default=99, help="permutations of the labels on GSE7390 (99)"
    )
    parser.add_argument("--seeds", type=int, default=20, help="sets of pure noise (20)")
    parser.add_argument(
        "--cohorts",
        type=int,
        default=DISJOINT,
        help=f"simulated cohorts whose intervals are compared with the truth ({DISJOINT})",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--confined",
        action="store_true",
        help="compute in a process that is confined like the child of a run: the same bytes",
    )
    arguments = parser.parse_args()
    began = time.monotonic()

    def log(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    selected = (arguments.permutations, arguments.seeds, arguments.device)
    folder = Settings().home.resolve() / "science"
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.confined:
        report = measure_within(*selected)
    else:
        kept = Kept(folder, f"parts-{arguments.permutations}-{arguments.seeds}-{arguments.device}")
        report = measure_parts(parts_of(*selected), kept, log)
    if arguments.cohorts > 1:
        log(f"intervals of {arguments.cohorts} disjoint cohorts")
        report["coverage"] = measure_coverage(arguments.cohorts, Kept(folder, "coverage"), log)
    folder.joinpath("report.json").write_text(
        json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    _print(report)
    log(f"done: {folder / 'report.json'}")
    return 0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the report: `name` ("fusion/200" is one of a list), what it is about, what computes
    it.
    """

    name: str
    about: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]

    def compute(self) -> Any:
        return self.function(**self.arguments)


def parts_of(permutations: int, seeds: int, device: str) -> list[Part]:
    """All parts but the coverage of intervals."""

    def part(name: str, about: str, function: Callable[..., Any], **arguments: Any) -> Part:
        return Part(name, about, function, arguments)

    def several(
        name: str, about: str, function: Callable[..., Any], sizes: Sequence[tuple[int, int]]
    ) -> list[Part]:
        return [
            part(
                f"{name}/{people}",
                f"{about}, {cohorts} cohorts of {people} people",
                function,
                people=people,
                cohorts=cohorts,
            )
            for people, cohorts in sizes
        ]

    return [
        part(
            "gse7390",
            "published patients (GSE7390)",
            science.gse7390_report,
            permutations=permutations,
            device=device,
        ),
        part("noise", "pure noise", science.noise_report, seeds=seeds),
        part("leak", "selection outside the fold, on pure noise", science.leak_report),
        part(
            "known_truth",
            "known truth",
            science.known_truth_report,
            models=MODELS,
            device=device,
        ),
        part(
            "logistic",
            f"known truth, logistic regression on {COHORTS} cohorts",
            science.known_truth_report,
            seeds=COHORTS,
            feature_sets=["combined"],
        ),
        *several("fusion", "fused feature sets", science.fusion_report, FUSION),
        *several("tuning", "settings chosen within the folds", science.tuning_report, TUNING),
        *several(
            "explanation",
            "whether explanations name the causal variants",
            science.explanation_report,
            EXPLAINED,
        ),
        part(
            "association_null",
            "the association scan's p without an association",
            science.association_null_report,
            tests=NULL_TESTS,
        ),
        part(
            "survival",
            "risk of people who are followed up for different times",
            science.survival_report,
            people=SURVIVORS,
        ),
        part(
            "clusters",
            "clusters of people in groups, and of people in none",
            science.cluster_report,
        ),
    ]


def assemble(computed: Mapping[str, Any]) -> dict[str, Any]:
    """The report of computed parts, in the order of `parts_of`."""
    report: dict[str, Any] = {}
    for name, value in computed.items():
        table, slash, _ = name.partition("/")
        if slash:
            report.setdefault(table, []).append(value)
        else:
            report[name] = value
    report["gse7390"], report["gse7390_gains"] = report["gse7390"]
    report["known_truth"]["logistic"] = report.pop("logistic")
    return report


def measure(permutations: int, seeds: int, device: str) -> dict[str, Any]:
    """All parts, one after another in this process."""
    parts = parts_of(permutations, seeds, device)
    return assemble({part.name: json.loads(json.dumps(part.compute())) for part in parts})


class Kept:
    """What was computed by this code, in a file that an interrupted measurement goes on from."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}-{code_hash().hex()[:16]}.jsonl"
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        # The last line of a process that was killed may be half a line.
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        self.values: dict[str, Any] = dict(map(json.loads, lines))
        if "".join(lines) != text:
            self._path.write_text("".join(lines), encoding="utf-8")

    def add(self, name: str, value: Any) -> None:
        line = json.dumps([name, value]) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
        self.values[name] = json.loads(line)[1]


def processes() -> ProcessPoolExecutor:
    """As many as cores, with a thread each. Not forks of this one: numpy could hang in its threads."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(mp_context=context, initializer=begin)


def begin() -> None:
    """In each process, once the libraries are loaded."""
    pipeline.warm_up()
    threads.one_thread()


def measure_parts(parts: Sequence[Part], kept: Kept, log: Callable[[str], None]) -> dict[str, Any]:
    """All parts, on all cores; those that are kept are not computed again."""
    with processes() as pool:
        futures = {
            pool.submit(part.compute): part for part in parts if part.name not in kept.values
        }
        log(f"{len(futures)} of {len(parts)} parts are to be computed")
        for future in as_completed(futures):
            kept.add(futures[future].name, future.result())
            log(futures[future].about)
    return assemble({part.name: kept.values[part.name] for part in parts})


def measure_coverage(
    cohorts: int, kept: Kept, log: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Intervals beside the truth, over disjoint simulated cohorts."""
    with processes() as pool:
        truth = pool.submit(coverage.true_aucs, PEOPLE)
        futures = {
            pool.submit(coverage.evaluate_cohort, PEOPLE, seed): str(seed)
            for seed in range(cohorts)
            if str(seed) not in kept.values
        }
        for future in as_completed(futures):
            kept.add(futures[future], future.result())
            if len(kept.values) % 20 == 0:
                log(f"{len(kept.values)} of {cohorts} cohorts")
        shown = [kept.values[str(seed)] for seed in range(cohorts)]
        return coverage.coverage_report(truth.result(), shown)


def measure_within(permutations: int, seeds: int, device: str) -> dict[str, Any]:
    """Like `measure`, in a confined process. Raises OSError if it does not start or finish."""
    confinement = Confinement()
    program = (
        "import sys; from bench.science import answer; "
        f"answer({permutations}, {seeds}, {device!r}, {confinement.encode()!r})"
    )
    process = launch([sys.executable, "-I", "-c", program], confinement, pipes=True)
    try:
        text = b"" if process.stdout is None else process.stdout.read()
    finally:
        process.end()
    if not text:
        raise OSError("the confined process ended before its report")
    report: dict[str, Any] = json.loads(text)
    return report


def answer(permutations: int, seeds: int, device: str, confined_by: str) -> None:
    """Runs in the confined process: prints the report as JSON on standard output."""
    pipeline.warm_up()
    threads.one_thread()
    confine(Confinement.decode(confined_by))
    print(json.dumps(measure(permutations, seeds, device)))


def _print(report: dict[str, Any]) -> None:
    _print_metrics(report)
    _print_gains(report)
    _print_simulated(report)
    _print_coverage(report)
    _print_association(report)
    _print_survival(report)
    _print_clusters(report)
    _print_optimum(report["known_truth"])


def _print_metrics(report: dict[str, Any]) -> None:
    print(
        f"{'data':<34}{'model':<10}{'accuracy':>9}{'baseline':>9}{'AUC':>6}  95 % interval of     p"
    )
    truth = report["known_truth"]
    known = [
        {
            **row,
            "feature_set": f"known truth, {row['feature_set']}",
            "baseline": truth["majority"],
            "p": None,
        }
        for row in truth["models"]
    ]
    for row in [*report["gse7390"], *report["noise"], *report["leak"], *known]:
        low, high = row["interval"] or (None, None)
        of = "accuracy" if row["feature_set"] == "noise" else "AUC"
        interval = "" if low is None else f"[{low:.2f}, {high:.2f}] {of}"
        p = "" if row["p"] is None else f"{row['p']:.3f}"
        print(
            f"{row['feature_set']:<34}{row['model']:<10}{row['accuracy']:>9.3f}"
            f"{row['baseline']:>9.3f}{row['auc']:>6.2f}  "
            f"{interval:<21}{p}"
        )


def _print_gains(report: dict[str, Any]) -> None:
    print("AUC that clinical findings add to genes, with the paired 95 % interval:")
    known = report["known_truth"]["gains"]
    for where, gains in (("GSE7390", report["gse7390_gains"]), ("known truth", known)):
        for gain in gains:
            low, high = gain["interval"]
            print(
                f"{where:<34}{gain['model']:<10}{gain['auc']:>+9.3f}{'':<17}[{low:+.3f}, {high:+.3f}]"
            )


def _print_simulated(report: dict[str, Any]) -> None:
    """Fusion, tuning and explanation, each over many cohorts whose truth is known."""
    for row in report["fusion"]:
        aucs = ", ".join(f"{name} {row[name]:.3f}" for name in science.FEATURE_SETS)
        print(
            f"{row['people']} people, {row['cohorts']} cohorts: AUC {aucs}; fused as good as the better "
            f"one alone in {row['as_good']:.0%}, {row['gain_fraction']:.1%} of the best possible gain"
        )
    for row in report["tuning"]:
        aucs = ", ".join(
            f"{name} {auc['fixed']:.3f} -> {auc['tuned']:.3f}"
            for name, auc in row["models"].items()
        )
        print(f"{row['people']} people, {row['cohorts']} cohorts: AUC fixed -> tuned: {aucs}")
    for row in report["explanation"]:
        print(
            f"{row['people']} people, {row['cohorts']} cohorts: of 8 causal variants linear SHAP has "
            f"{row['shap-linear']:.0%} among its first 8; drawn at random {row['random']:.0%}"
        )


def _print_coverage(report: dict[str, Any]) -> None:
    for name, row in report.get("coverage", {}).items():
        print(
            f"95 % intervals of {name}: the bootstrap's hold the truth in {row['bootstrap_covers']:.1%}, "
            f"{row['bootstrap_width']:.2f} times as wide as an ideal one; "
            f"DeLong's in {row['delong_covers']:.1%}, {row['delong_width']:.2f}"
        )


def _print_association(report: dict[str, Any]) -> None:
    print(
        "p of the scan without an association: share below 0.001 and 0.0001, over the nominal one:"
    )
    for row in report["association_null"]:
        name = f"{row['people']} people, {row['events']} with the outcome, frequency {row['frequency']}"
        shares = (
            "saddlepoint {:.2f} {:.2f}, normal {:.2f} {:.2f}".format(
                *row["saddlepoint"], *row["normal"]
            )
            if "tests" in row
            else "too few copies: not tested"
        )
        print(f"  {name:<58}{shares}")


def _print_survival(report: dict[str, Any]) -> None:
    survival = report["survival"]
    for row in survival["risk"]:
        print(
            f"follow-up of {row['median_years']:g} years (median): risk {row['printed']:.2f} printed, "
            f"{row['truth']:.3f} true until day {row['day']}; {row['share']:.2f} of those with a known "
            "outcome had the event"
        )
    noise = survival["noise"]
    print(
        f"concordance of Cox regression on noise: {noise['mean']:.3f} ± {noise['standard_error']:.3f}"
    )


def _print_clusters(report: dict[str, Any]) -> None:
    for row in report["clusters"]:
        print(
            f"clusters by {row['method']}, {row['data']}, {row['groups'] or 'no'} groups: adjusted Rand "
            f"index with them {row['rand']:.2f}, more than chance in {row['significant']:.0%} of "
            f"{row['cohorts']} cohorts"
        )


def _print_optimum(truth: dict[str, Any]) -> None:
    print("share of the best possible gain over the majority, genes with findings:")
    many = truth["logistic"]
    for what, by in (
        ("of the optimum, which is an expectation", "gain_fraction_8"),
        ("of the best rule on the very same people", "gain_fraction_8_best_rule"),
    ):
        print(
            f"  {what:<42}logistic {many[by]['logistic']:.1%} over {many['seeds']} cohorts; over {truth['seeds']}: "
            + ", ".join(f"{name} {value:.1%}" for name, value in truth[by].items())
        )


if __name__ == "__main__":
    sys.exit(main())
