"""Kaplan-Meier, Cox regression and concordance against published values."""

import math

import numpy as np
import pytest
from scipy.io import arff

from analytics.readers.gse7390 import locate_gse7390
from analytics.survival import (
    concordance,
    fit_cox,
    kaplan_meier,
    log_log_interval,
    null_residuals,
)

# Weeks in remission (Freireich et al. 1963, Blood 21:699; printed in Cox 1972, table 1).
SIX_MP = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
RELAPSED = [1] * 9 + [0] * 12
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
# S with its standard error (Klein & Moeschberger 2003, Survival Analysis, table 4.1), and the
# log-log interval as Stata's `sts list` prints it.
PUBLISHED = {
    6: (0.857, 0.076, 0.6197, 0.9516),
    7: (0.807, 0.087, 0.5631, 0.9228),
    10: (0.753, 0.096, 0.5032, 0.8894),
    13: (0.690, 0.107, 0.4316, 0.8491),
    16: (0.627, 0.114, 0.3675, 0.8049),
    22: (0.538, 0.128, 0.2678, 0.7468),
    23: (0.448, 0.135, 0.1881, 0.6801),
}
# R's `aml` (Miller 1981): weeks until relapse, with and without maintenance chemotherapy.
MAINTAINED = ([9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0])
NOT_MAINTAINED = ([5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45], [1, 1, 1, 1, 1, 0, *[1] * 6])


def of(time: list[int], event: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(time, float), np.array(event, bool)


def test_curve_and_interval_of_six_mercaptopurine() -> None:
    curve = kaplan_meier(*of(SIX_MP, RELAPSED))
    assert curve.times.tolist() == list(PUBLISHED)
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    for day, (survival, error, low, high) in PUBLISHED.items():
        shown = curve.at(day + 0.5)
        assert shown == pytest.approx((survival, low, high), abs=6e-4)
        at = list(PUBLISHED).index(day)
        assert curve.survival[at] * math.sqrt(curve.greenwood[at]) == pytest.approx(error, abs=6e-4)
    assert curve.at(5.9) == (1.0, 1.0, 1.0)


def test_medians_with_their_intervals() -> None:
    """As SAS PROC LIFETEST prints them: 23 (13, .) and 8 (4, 11)."""
    assert kaplan_meier(*of(SIX_MP, RELAPSED)).median() == (23.0, 13.0, None)
    assert kaplan_meier(*of(PLACEBO, [1] * 21)).median() == (8.0, 4.0, 11.0)


def test_an_interval_stays_within_its_bounds() -> None:
    low, high = log_log_interval(np.array([0.0, 0.5, 1.0]), np.array([np.inf, 0.1, 0.0]))
    assert (low[0], high[0], low[2], high[2]) == (0.0, 0.0, 1.0, 1.0)
    assert 0 < low[1] < 0.5 < high[1] < 1


def test_cox_regression_of_the_remissions_with_efron_ties() -> None:
    """R: coxph(ties="efron") gives 1.5721 (0.4124); by Breslow it would be 1.5092 (0.4096)."""
    time, event = of(SIX_MP + PLACEBO, RELAPSED + [1] * 21)
    placebo = np.repeat([0.0, 1.0], 21)[:, None]
    cox = fit_cox(placebo, time, event)
    assert (cox.coefficients[0], cox.errors[0]) == pytest.approx((1.5721, 0.4124), abs=1e-4)


def test_cox_regression_and_curve_of_maintenance() -> None:
    """R: survfit and coxph(Surv(time, status) ~ x, aml)."""
    kept = kaplan_meier(*of(*MAINTAINED))
    shown = [0.909, 0.818, 0.716, 0.614, 0.491, 0.368, 0.184]
    assert kept.survival == pytest.approx(shown, abs=6e-4)
    time, event = of(MAINTAINED[0] + NOT_MAINTAINED[0], MAINTAINED[1] + NOT_MAINTAINED[1])
    x = np.repeat([0.0, 1.0], (11, 12))[:, None]
    cox = fit_cox(x, time, event)
    assert (cox.coefficients[0], cox.errors[0]) == pytest.approx((0.9155, 0.5119), abs=1e-4)


@pytest.fixture(scope="module")
def gbsg2() -> dict[str, np.ndarray]:
    """686 women with node-positive breast cancer (Schumacher et al. 1994, J Clin Oncol 12:2086)."""
    path = locate_gse7390().with_name("GBSG2.arff")
    rows = arff.loadarff(path)[0]
    return {name: rows[name] for name in rows.dtype.names}


def test_cox_regression_of_the_german_breast_cancer_study(gbsg2: dict[str, np.ndarray]) -> None:
    """R: coxph(Surv(time, cens) ~ horTh) and ~ . of TH.data's GBSG2 (Everitt & Hothorn, Handbook of
    Statistical Analyses Using R, chapter 11), grade by polynomial contrasts.
    """
    time, event = gbsg2["time"], gbsg2["cens"] == b"1"
    assert (len(time), event.sum()) == (686, 299)
    hormones = (gbsg2["horTh"] == b"yes").astype(float)
    alone = fit_cox(hormones[:, None], time, event)
    assert (alone.coefficients[0], alone.errors[0]) == pytest.approx((-0.3640, 0.1250), abs=1e-4)
    grade = np.array([{b"I": 0, b"II": 1, b"III": 2}[value] for value in gbsg2["tgrade"]])
    x = np.column_stack(
        [
            hormones,
            gbsg2["age"],
            gbsg2["menostat"] == b"Post",
            gbsg2["tsize"],
            (np.array([-1, 0, 1]) / math.sqrt(2))[grade],
            (np.array([1, -2, 1]) / math.sqrt(6))[grade],
            gbsg2["pnodes"],
            gbsg2["progrec"],
            gbsg2["estrec"],
        ]
    )
    both = fit_cox(x, time, event)
    assert both.coefficients == pytest.approx(
        [-0.34628, -0.00946, 0.25844, 0.00780, 0.55130, -0.20109, 0.04879, -0.00222, 0.00020],
        abs=2e-5,
    )
    assert both.errors == pytest.approx(
        [0.12907, 0.00930, 0.18348, 0.00394, 0.18984, 0.12197, 0.00745, 0.00057, 0.00045], abs=2e-5
    )


def test_risk_of_nobody_in_particular_is_that_of_the_curve() -> None:
    """Without covariates that matter, the predicted risk is the hazard's (Nelson-Aalen)."""
    time, event = of(SIX_MP, RELAPSED)
    cox = fit_cox(np.zeros((21, 1)), time, event)
    assert cox.coefficients[0] == 0
    hazard = 1 / 21 + 1 / 20 + 1 / 19 + 1 / 17
    assert cox.risk(np.zeros((1, 1)), 9) == pytest.approx([1 - math.exp(-hazard)])
    assert cox.risk(np.zeros((1, 1)), 5) == [0.0]


def test_a_penalty_shrinks_and_keeps_separated_people_finite() -> None:
    time, event = of([1, 2, 3, 4, 5, 6], [1] * 6)
    x = np.array([[1.0], [1.0], [1.0], [0.0], [0.0], [0.0]])
    shrunk = fit_cox(x, time, event, ridge=10.0)
    assert 0 < shrunk.coefficients[0] < 0.5
    assert np.isfinite(fit_cox(x, time, event, ridge=0.1).coefficients).all()


def test_concordance_of_pairs_by_hand() -> None:
    time, event = of([1, 2, 2, 3], [1, 1, 0, 0])
    # Pairs: 1 before 2, 2+, 3+; the event on day 2 before 2+ and 3+.
    assert concordance(time, event, np.array([4.0, 3.0, 2.0, 1.0])) == (5.0, 5)
    assert concordance(time, event, np.array([1.0, 2.0, 3.0, 4.0])) == (0.0, 5)
    assert concordance(time, event, np.zeros(4)) == (2.5, 5)


def test_residuals_without_covariates_add_up_to_nothing() -> None:
    time, event = of(SIX_MP + PLACEBO, RELAPSED + [1] * 21)
    assert null_residuals(time, event).sum() == pytest.approx(0, abs=1e-12)
