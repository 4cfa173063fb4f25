"""The benchmark reports in a quick version; the bench runs them at full size."""

from typing import Any

from analytics.catalogue import MODELS
from analytics.science import gse7390_report, known_truth_report, leak_report, noise_report

ROW = {"feature_set", "model", "accuracy", "auc", "interval", "baseline", "p"}


def test_logistic_regression_is_near_the_optimum_and_both_feature_sets_help() -> None:
    report: Any = known_truth_report(seeds=2, repeats=1)
    # 0.96 over the 20 cohorts of the bench.
    assert report["gain_fraction_8_best_rule"]["logistic"] >= 0.93
    assert 0.85 < report["gain_fraction_8"]["logistic"] < 1.1
    rows = {row["feature_set"]: row for row in report["models"]}
    assert rows["genes"]["accuracy"] < rows["combined"]["accuracy"] < report["optimum"]["all"]
    (gain,) = report["gains"]
    assert gain["interval"][0] > 0


def test_metrics_on_published_data_show_no_leak() -> None:
    """Accuracy from .88 or AUC from .85 on GSE7390 would be a leak."""
    rows, gains = gse7390_report(0, repeats=1)
    assert len(rows) == 3 * len(MODELS)  # genes, clinical, combined
    assert [gain["model"] for gain in gains] == list(MODELS)
    for gain in gains:
        low, high = gain["interval"]
        assert low < gain["auc"] < high
        both, genes = (
            next(
                row
                for row in rows
                if (row["model"], row["feature_set"]) == (gain["model"], feature_set)
            )
            for feature_set in ("combined", "genes")
        )
        assert abs(gain["auc"] - (both["auc"] - genes["auc"])) < 1e-9
    for row in rows:
        assert row.keys() == ROW
        assert row["accuracy"] < 0.88
        assert row["auc"] < 0.85
        assert abs(row["baseline"] - 154 / 189) < 1e-12


def test_noise_gives_half_unless_columns_are_selected_outside_the_fold() -> None:
    noise: Any = noise_report(seeds=10, models=["logistic"])
    leak: Any = leak_report(seeds=1, repeats=1)
    assert all(row.keys() == ROW for row in (*noise, *leak))
    assert noise[0]["interval"][0] - 0.05 < 0.5 < noise[0]["interval"][1] + 0.05
    assert leak[0]["auc"] > 0.9
    assert leak[1]["auc"] < 0.65
