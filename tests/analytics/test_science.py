"""The benchmark reports in a quick version; the bench runs them at full size."""

from typing import Any

from extent import extent

from analytics.catalogue import MODELS
from analytics.science import (
    association_null_report,
    cluster_report,
    fusion_report,
    gse7390_report,
    known_truth_report,
    leak_report,
    noise_report,
    survival_report,
)

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


def test_fused_is_as_good_as_the_best_feature_set_alone() -> None:
    report = fusion_report(200, cohorts=3)
    assert report["as_good"] == 1
    assert report["fused"] > report["combined"]


def test_metrics_on_published_data_show_no_leak() -> None:
    """Accuracy from .88 or AUC from .85 on GSE7390 would be a leak."""
    rows, gains = gse7390_report(0, repeats=1)
    assert len(rows) == 3 * len(MODELS) + 1  # genes, clinical, combined; fused for logistic
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


def test_p_of_a_scan_is_right_without_an_association() -> None:
    """Share of p < 0.001 (in full: of 0.0001 too) over the nominal one."""
    sizes = ((200, 36), (1000, 180), (5000, 100))[: extent(1, 3)]
    report: Any = association_null_report(extent(250_000, 2_000_000), sizes)
    tested = [row for row in report if "tests" in row]
    assert {row["frequency"] for row in tested} >= {0.2}
    assert all(row["tested"] < 0.01 for row in report if row not in tested)
    rare: Any = association_null_report(
        extent(250_000, 4_000_000), ((200, 36),), (0.05,), least_expected=0
    )
    for row in (*tested, *rare):
        assert all(0.8 <= share <= 1.25 for share in row["saddlepoint"][: extent(1, 2)]), row
    assert rare[0]["normal"][0] > 1.4


def test_a_printed_risk_is_true_whenever_people_were_censored() -> None:
    """While the share of those whose outcome is known is not; and noise orders nobody."""
    report: Any = survival_report(people=4000, sets=20)
    rows = {row["median_years"]: row for row in report["risk"]}
    for row in rows.values():
        assert abs(row["printed"] - row["truth"]) <= 0.02, row  # rounding, chance and noise
        assert row["share"] > row["truth_at_horizon"] + 0.02
    assert rows[8.0]["day"] == rows[4.0]["day"] == 1825
    assert rows[2.5]["share"] > 0.98
    assert abs(report["noise"]["mean"] - 0.5) <= 0.04


def test_clusters_are_reported_with_and_without_groups() -> None:
    rows: Any = cluster_report(cohorts=1, people=80)
    assert {(row["method"], row["data"], row["groups"]) for row in rows} == {
        (method, data, groups)
        for method in ("k-means", "ward")
        for data in ("clinical", "genes")
        for groups in (0, 3)
    }
    for row in rows:
        assert row["rand"] >= 0.7 if row["groups"] else abs(row["rand"]) <= 0.1
