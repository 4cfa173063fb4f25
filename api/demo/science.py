"""The demo's computations, compared with the paper: models on real data, a known truth, and pure
noise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from analytics.params import complete

if TYPE_CHECKING:
    from api.client.results import Opened
    from api.demo.narrator import Teller

SEED = 7390
# People and variants of the known truth, as many as fit into a minute.
SIMULATED, VARIANTS = 100, 400
# Simulated people of a second run of the same code without the gate, which needs so many.
ENOUGH = 2000
NEAR = 0.05  # allowed distance from the best possible accuracy there
RELAPSE = {"kind": "distant-metastasis", "horizon_days": 1825}
SHORT = complete(
    {
        "outcome": RELAPSE,
        "models": {"logistic": ["clinical"]},
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
        "seed": SEED,
    }
)
FULL = complete(
    {
        "outcome": RELAPSE,
        "repeats": 5,
        "permutations": 19,
        "bootstraps": 25,
        "seed": SEED,
        "models": {
            "logistic": ["genes", "clinical", "combined"],
            "svm": ["combined"],
            "forest": ["combined"],
            "cnn": ["combined"],
        },
    }
)
TRUTH = complete(
    {
        "outcome": {
            "kind": "diagnosis",
            "index": ["icd-10-cm:C50"],
            "event": ["icd-10-cm:C79"],
            "horizon_days": 1825,
            "censoring": "exclude",
        },
        "genes": {"source": "variants", "select": "score", "keep": 20},
        "impute": "mean",
        "clinical": ["bmi", "ldl_mmol_l", "smoker", "systolic_mmhg"],
        "models": {"logistic": ["genes", "clinical", "combined"]},
        "repeats": 5,
        "permutations": 19,
        "bootstraps": 25,
        "seed": SEED,
    }
)
# The source paper's accuracy, precision, recall and F1; and its genes alone, and genes with
# findings.
PAPER = {"svm": (85, 82, 87, 84), "forest": (88, 86, 89, 87), "cnn": (91, 90, 92, 91)}
PAPER_GENES, PAPER_COMBINED = 85, 91
METRICS = ("accuracy", "precision", "recall", "f1")
ORDER = (
    "logistic/genes",
    "logistic/clinical",
    "logistic/combined",
    "svm/combined",
    "forest/combined",
    "cnn/combined",
)
_CONTROLS = """import json, os
os.nice(10)
from analytics.simulate.noise import leak_demonstration, noise_control
from analytics.science import known_truth_report
print(json.dumps({"noise": noise_control(models=["logistic"])[0],
                  "leak": leak_demonstration(seeds=1),
                  "truth": known_truth_report(%d, %d, seeds=1, repeats=1)}))
"""


class Controls:
    """The same code on data with a known answer (nothing in noise, a rule in many simulated
    people), in a separate process: no ledger, no consent, no key.
    """

    def __init__(self) -> None:
        environment = {"PATH": os.defpath, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CONTROLS % (ENOUGH, VARIANTS)],
            stdout=subprocess.PIPE,
            env=environment,
        )

    def results(self) -> dict[str, Any]:
        """{noise, leak} as analytics.simulate.noise says them, {truth} as analytics.science does."""
        output, _ = self._process.communicate(timeout=120)
        answer: dict[str, Any] = json.loads(output)
        return answer


def print_table(teller: Teller, result: dict[str, Any]) -> None:
    """One row for each model and feature set: the paper's metrics, ours, and their significance."""
    teller.note(
        "model    features    paper: acc prec rec F1  here: acc prec rec F1  AUC [95 %]     p (shuffled) "
        "-: withheld"
    )
    rows = {f"{row['model']}/{row['feature_set']}": row for row in result["rows"]}
    for name in ORDER:
        row = rows[name]
        paper = "".join(f"{metric:>5}" for metric in PAPER.get(row["model"], ())) or f"{'-':>5}"
        ours = "".join(f"{row.get(metric, '-'):>5}" for metric in METRICS)
        low, high = row["auc_interval"]
        auc = f"{row['auc']} [{low}, {high}]"
        teller.note(
            f"{row['model']:<9}{row['feature_set']:<11}      {paper:<20}     {ours}  {auc:<14} {row['p'][:5]}"
        )


def gain_of(result: dict[str, Any]) -> dict[str, Any]:
    """What clinical findings add to genes, in one model of both."""
    wanted = ("logistic", "combined", "genes")
    return next(
        gain
        for gain in result["gains"]
        if (gain["model"], gain["feature_set"], gain["over"]) == wanted
    )


def gain_sentence(result: dict[str, Any]) -> str:
    """The gain of clinical findings over genes alone, with its interval, and the paper's claim."""
    gain = gain_of(result)
    low, high = gain["interval"]
    shown = "a gain" if low > 0 else "no gain shown"
    return (
        f"genes only -> genes + clinical: paper {PAPER_GENES} -> {PAPER_COMBINED}; "
        f"here AUC {gain['auc']:+} [{low}, {high}], {shown}"
    )


def noise_sentence(controls: dict[str, Any]) -> str:
    """The permutation control, and the result of the usual mistake (leakage) on it."""
    noise, outside = controls["noise"], controls["leak"]["outside"]
    spread = 200 * noise["standard_error"]
    return (
        f"the same code on pure noise: accuracy {100 * noise['accuracy']:.0f} +- {spread:.0f}   "
        f'(selection outside the fold would have "found" {100 * outside["accuracy"]:.0f})'
    )


def truth_sentence(result: dict[str, Any]) -> str:
    """The models' accuracy on a known rule, with too few people to find the genes' part."""
    ours = {row["feature_set"]: row.get("accuracy", "-") for row in result["rows"]}
    return (
        f"{SIMULATED} simulated people, as governed: genes {ours['genes']}, clinical {ours['clinical']}, "
        f"both {ours['combined']}, rounded; too few for the genes' part"
    )


def enough_sentence(truth: dict[str, Any]) -> str:
    """The same with enough people, and the best possible accuracy, which is an expectation."""
    ours, best = (_percents(values) for values in (accuracies(truth), truth["optimum"]))
    return (
        f"{ENOUGH} such, same code, not governed: genes {ours['genes']}, clinical {ours['clinical']}, "
        f"both {ours['combined']}; best rule, on average: {best['genes']}, {best['clinical']}, {best['combined']}"
    )


def accuracies(truth: dict[str, Any]) -> dict[str, float]:
    """By feature set, as fractions."""
    return {row["feature_set"]: row["accuracy"] for row in truth["models"]}


def is_near_best(truth: dict[str, Any]) -> bool:
    """Whether every accuracy is near the best possible, and both feature sets together beat each
    alone.
    """
    ours = accuracies(truth)
    return all(
        abs(ours[feature_set] - truth["optimum"][feature_set]) <= NEAR for feature_set in ours
    ) and ours["combined"] > max(ours["genes"], ours["clinical"])


def _percents(fractions: dict[str, float]) -> dict[str, int]:
    return {name: round(100 * value) for name, value in fractions.items()}


def withheld(opened: Opened) -> str:
    """The withheld parts that people ask for most, and the reasons."""
    kept = json.loads(opened.disclosure)["withheld"]
    svm = next(item["why"] for item in kept if item["what"] == "model file: svm")
    return f"BLOCKED {svm.partition(' (')[0]}"


def permutation_control(controls: dict[str, Any]) -> dict[str, Any]:
    """For the report: fractions as decimal texts."""
    noise, leak = controls["noise"], controls["leak"]
    return {
        "accuracy": f"{noise['accuracy']:.3f}",
        "standard_error": f"{noise['standard_error']:.3f}",
        "seeds": noise["seeds"],
        "outside": f"{leak['outside']['accuracy']:.3f}",
        "inside": f"{leak['inside']['accuracy']:.3f}",
    }


def shares(fractions: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.3f}" for name, value in fractions.items()}
