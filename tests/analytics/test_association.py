"""Per-variant statistics: the score test, disclosure limits, and membership inference attacks."""

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from extent import extent
from hypothesis import given, settings
from hypothesis import strategies as st
from quiet import QUIET, subjects
from scan_cohorts import asking, cohort_of, silent
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import chi2, hypergeom, norm
from sklearn.metrics import roc_auc_score

from analytics import association
from analytics.ancestry import MOST_R2, components_by_chromosome, prune
from analytics.association import (
    NO_COMPONENTS,
    _testable,
    associate,
    count_alleles,
    score_test,
    selection_costs,
)
from analytics.cohort import Cohort
from analytics.disclosure.counts import genomic_bound
from analytics.errors import CohortTooSmall, InputsError
from analytics.simulate.known_truth import BLOCK, CLINICAL, simulate_cohort
from analytics.variants import stack


def naive_z(column: np.ndarray, event: np.ndarray, covariates: np.ndarray) -> float:
    """Score statistic from the likelihood alone: numerical derivatives at beta = 0."""
    design = np.column_stack([np.ones(len(event)), covariates, column])

    def loss(beta: np.ndarray) -> float:
        odds = design @ beta
        return float(np.sum(np.log1p(np.exp(odds)) - event * odds))

    null = minimize(
        lambda beta: loss(np.append(beta, 0)),
        np.zeros(design.shape[1] - 1),
        method="BFGS",
        options={"gtol": 1e-9},
    ).x
    at, h, size = np.append(null, 0.0), 1e-4, design.shape[1]
    steps = np.eye(size) * h
    gradient = np.array([(loss(at + step) - loss(at - step)) / (2 * h) for step in steps])
    hessian = np.array(
        [
            [
                (loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b))
                / (4 * h * h)
                for a in steps
            ]
            for b in steps
        ]
    )
    return float(-gradient[-1] / np.sqrt(1 / np.linalg.inv(hessian)[-1, -1]))


def draw(people: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    dosage = generator.binomial(2, generator.uniform(0.2, 0.5, columns), (people, columns)).astype(
        float
    )
    return dosage, (generator.random(people) < 0.4).astype(np.int64)


@pytest.mark.parametrize("covariates", [0, 2])
def test_the_score_test_agrees_with_the_likelihood(covariates: int) -> None:
    dosage, event = draw(60, 6, 1)
    given_too = np.random.default_rng(2).normal(size=(60, covariates)) + event[:, None]
    z = score_test(dosage, event, given_too)
    naive = np.array([naive_z(column, event, given_too) for column in dosage.T])
    near = np.abs(naive) < 2
    assert near.sum() >= 5
    assert z[near] == pytest.approx(naive[near], abs=2e-3)
    assert z[~near] == pytest.approx(naive[~near], abs=0.1)


def test_a_column_without_information_scores_nothing() -> None:
    dosage, event = draw(50, 3, 3)
    dosage[:, 1] = 1
    z = score_test(dosage, event, dosage[:, 2:])
    assert z[1:].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert np.isfinite(
        score_test(dosage, event, event[:, None].astype(float))
    ).all()  # a covariate that is the outcome


def test_scores_are_normal_without_signal() -> None:
    dosage, event = draw(500, 3000, 4)
    z = score_test(dosage, event, np.random.default_rng(5).normal(size=(500, 2)))
    assert np.median(z**2) / chi2.ppf(0.5, 1) == pytest.approx(1.0, abs=0.1)
    assert z.std() == pytest.approx(1.0, abs=0.05)


@pytest.fixture(scope="module")
def known() -> tuple[Cohort, dict[str, Any], set[str]]:
    """(cohort, result, names of the variants within a block of a causal one) of 2,000 people with
    known truth."""
    truth = simulate_cohort(2000, 1)
    cohort = cohort_of(
        truth.dosage, truth.event, names=list(CLINICAL), values=truth.matrix(list(CLINICAL))
    )
    result, record, m = associate(
        cohort, asking(clinical=list(CLINICAL), statistics=8), silent, QUIET
    )
    assert (record["statistics"], record["statistic_class"]) == (m, "genomic")
    blocks = {int(column) // BLOCK for column in truth.causal}
    near = {
        f"1:{column + 1}:A>G"
        for column in range(truth.dosage.shape[1])
        if column // BLOCK in blocks
    }
    return cohort, result, near


def test_the_causal_blocks_come_out_on_top(known: tuple[Cohort, dict[str, Any], set[str]]) -> None:
    _, result, near = known
    assert len(result["rows"]) == 8
    assert all(row["variant"] in near for row in result["rows"])
    assert all(abs(float(row["z"])) > 5 for row in result["rows"])
    for row in result["rows"]:
        assert float(row["p"]) == pytest.approx(2 * norm.sf(abs(float(row["z"]))), rel=0.06)
    assert result["covariates"] == list(CLINICAL)
    assert [pair for pair in result["quantiles"] if len(pair) != 2] == []


def test_the_rest_of_the_known_truth_is_not_inflated() -> None:
    truth = simulate_cohort(2000, 2)
    cohort = cohort_of(truth.dosage, np.random.default_rng(1).permutation(truth.event))
    result, _, _ = associate(cohort, asking(), silent, QUIET)
    # Blocks: some 60 independent variants.
    assert float(str(result["inflation"])) == pytest.approx(1.0, abs=0.3)


def test_missing_covariates_take_their_mean_and_keep_the_person() -> None:
    truth = simulate_cohort(300, 3)
    values = truth.matrix(["bmi"])
    holes = np.isnan(values)
    assert holes.any()
    filled = np.where(holes, np.nanmean(values), values)
    asked = asking(clinical=["bmi"])
    with_missing, with_mean = (
        associate(
            cohort_of(truth.dosage, truth.event, names=["bmi"], values=v), asked, silent, QUIET
        )[0]
        for v in (values, filled)
    )
    assert with_missing == with_mean


@settings(max_examples=25, deadline=None)
@given(
    people=st.integers(25, 300),
    more=st.integers(0, 30),
    asked=st.integers(1, 60),
    seed=st.integers(0, 1000),
)
def test_no_more_statistics_are_reported_than_the_bound_allows(
    people: int, more: int, asked: int, seed: int
) -> None:
    dosage, event = draw(people, 60, seed)
    cohort = cohort_of(dosage, event, granted=people + more)
    try:
        result, record, m = associate(
            cohort, asking(statistics=asked, variants={"min_hwe": "0"}), silent, QUIET
        )
    except CohortTooSmall:
        return
    assert 1 <= len(result["rows"]) <= min(m, asked)  # type: ignore[arg-type]
    statistics: Any = record["statistics"]
    assert statistics * 1000 <= 128 * people
    # As the contract charges it, which divides by everybody granted.
    assert m * 1000 <= 128 * (people + more)
    assert m == statistics if more < 10 else m * people >= statistics * (people + more)
    names = [f"1:{at}:A>G" for at in range(1, 1 + min(asked, 60))]
    frequencies = asking("frequencies", sites=names, variants={"min_call_rate": "0"})
    try:
        _, _, spent = count_alleles(cohort, frequencies, silent, QUIET)
    except InputsError:
        return
    asked = 2 * len(names)
    assert asked <= 0.128 * people
    assert spent == asked if more < 10 else spent * people >= asked * (people + more)


def test_the_bound_does_not_reveal_the_exact_number_of_people() -> None:
    """All numbers of people between two printed numbers get the same bound."""
    dosage, event = draw(300, 40, 9)
    bounds = []
    for people in range(291, 301):
        _, record, _ = associate(
            cohort_of(dosage[:people], event[:people], granted=300), asking(), silent, QUIET
        )
        rules: Any = record["rules"]
        bounds.append(next(rule["at_most"] for rule in rules if rule["rule"] == "genomic bound"))
    assert len(set(bounds)) == 1


def infer_membership(
    columns: int, people: int, chosen: int | None, share: float, repeats: int = 12
) -> tuple[float, int]:
    """(AUC, variants) of an attacker who has everybody's genotypes and outcomes, the population's
    frequencies, and the released z of the largest (chosen None) or of the first variants, as many
    as `share` of the people pay for."""
    aucs, counts = [], []
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        p = generator.uniform(0.1, 0.5, columns)
        spread = np.sqrt(2 * p * (1 - p))
        inside, outside = (
            generator.binomial(2, p, (people, columns)).astype(float) for _ in range(2)
        )
        event = np.arange(people) % 2
        z = score_test(inside, event, np.empty((people, 0)))
        if chosen is None:
            order = np.argsort(-np.abs(z))
            at = order[np.cumsum(selection_costs(z[order], columns)) <= share * people]
        else:
            at = np.arange(chosen)
        released = np.round(z[at], 1)
        scores = [
            ((x[:, at] - 2 * p[at]) / spread[at] * (2 * event - 1)[:, None]) @ released
            for x in (inside, outside)
        ]
        aucs.append(roc_auc_score([1] * people + [0] * people, np.concatenate(scores)))
        counts.append(len(at))
    return float(np.mean(aucs)), int(np.mean(counts))


def test_at_the_bound_released_z_tell_little_of_who_was_in_the_cohort() -> None:
    auc, variants = infer_membership(400, 400, None, 0.128)
    assert variants >= 4
    assert auc <= 0.65
    assert infer_membership(400, 400, None, 1.28)[0] >= 0.75


def test_without_selection_costs_the_largest_z_reveal_membership(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Named beforehand: the bound is enough.
    assert infer_membership(400, 400, genomic_bound(400), 0)[0] <= 0.65
    monkeypatch.setitem(globals(), "selection_costs", lambda z, tested: np.ones(len(z)))
    assert infer_membership(400, 400, None, 0.128)[0] > 0.68


def homer(people: int, sites: int, repeats: int = 12) -> float:
    """AUC of the statistic of Sankararaman et al. 2009 on exact frequencies of `sites` variants of
    `people`."""
    aucs = []
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        p = generator.uniform(0.1, 0.5, sites)
        inside, outside = (generator.binomial(2, p, (people, sites)) for _ in range(2))
        frequencies = inside.mean(axis=0) / 2
        likely = [
            x @ np.log(frequencies / p) + (2 - x) @ np.log((1 - frequencies) / (1 - p))
            for x in (inside, outside)
        ]
        aucs.append(roc_auc_score([1] * people + [0] * people, np.concatenate(likely)))
    return float(np.mean(aucs))


def test_at_the_bound_released_frequencies_tell_little_of_who_was_in_the_cohort() -> None:
    bound = genomic_bound(500)
    assert homer(500, bound) <= 0.65
    assert homer(500, 10 * bound) >= 0.75


def test_frequencies_and_carriers_are_right_and_coarse() -> None:
    dosage, event = draw(200, 8, 10)
    dosage[::9, 0] = np.nan
    dosage[:, 1], dosage[:, 2] = 0, 2
    dosage[:9, 1] = 1  # nine carriers
    dosage[:9, 2] = 1  # everybody carries it
    asked = asking(
        "frequencies",
        sites=[f"1:{at}:A>G" for at in (1, 2, 3, 4)],
        variants={"min_call_rate": "0.5"},
    )
    result, record, m = count_alleles(cohort_of(dosage, event), asked, silent, QUIET)
    assert (m, record["statistics"]) == (8, 8)
    rows: Any = result["rows"]
    assert [row["variant"] for row in rows] == list(asked.sites)
    assert [set(row) for row in rows[1:3]] == [{"variant"}, {"variant"}]
    for at in (0, 3):
        known = dosage[:, at][~np.isnan(dosage[:, at])]
        assert abs(rows[at]["frequency"] - 50 * known.mean()) <= 0.5
        assert abs(rows[at]["carriers"] - (known > 0).sum()) <= 2
        assert rows[at]["carriers"] % 5 == 0
        assert rows[at]["step"] == 1


@pytest.mark.parametrize(("granted", "printed"), [(230, 205), (205, None)])
def test_the_people_of_frequencies_are_rounded_and_few_left_out_are_hidden(
    granted: int, printed: int | None
) -> None:
    dosage, event = draw(203, 8, 10)
    result, _, _ = count_alleles(
        cohort_of(dosage, event, granted=granted),
        asking("frequencies", sites=["1:1:A>G"]),
        silent,
        QUIET,
    )
    assert result.get("people") == printed


def test_no_filter_reveals_how_many_carry_a_site() -> None:
    """With a filter on frequency, a refusal would reveal whether anybody carries the site."""
    dosage, event = draw(200, 3, 11)
    dosage[:, 0] = 0
    answers = []
    for carriers in (0, 1, 9):
        dosage[:carriers, 0] = 1
        asked = asking(
            "frequencies", sites=["1:1:A>G"], variants={"min_maf": "0.4", "min_hwe": "0.01"}
        )
        answers.append(count_alleles(cohort_of(dosage, event), asked, silent, QUIET)[0])
    assert answers[0] == answers[1] == answers[2]


def test_absent_sites_and_too_many_sites_are_refused() -> None:
    dosage, event = draw(100, 20, 12)
    cohort = cohort_of(dosage, event, granted=120)
    # Of at least 83 people, as 98 less the bound of the noise.
    most = asking("frequencies", sites=[f"1:{n}:A>G" for n in range(1, 6)])
    assert count_alleles(cohort, most, silent, QUIET)[2] == 15  # 10 of 83
    with pytest.raises(InputsError, match="more sites") as refused:
        count_alleles(
            cohort, asking("frequencies", sites=[f"1:{n}:A>G" for n in range(1, 7)]), silent, QUIET
        )
    assert "100" not in str(refused.value) + refused.value.hint
    with pytest.raises(InputsError, match="not among") as refused:
        count_alleles(cohort, asking("frequencies", sites=["2:77:C>T"]), silent, QUIET)
    assert "77" not in str(refused.value) + refused.value.hint


def test_a_variant_with_few_carriers_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """The z of a single carrier would reveal their outcome."""
    dosage, event = draw(200, 5, 13)
    dosage[:, 0] = 0
    dosage[np.flatnonzero(event)[:9], 0] = 1  # carriers with the event only: the largest z
    cohort = cohort_of(dosage, event)
    # choose_step alone would also withhold it.
    monkeypatch.setattr(association, "choose_step", lambda *_: 1)
    asked = asking(statistics=1, components=0, variants={"min_maf": "0", "min_hwe": "0"})
    result, _, _ = associate(cohort, asked, silent, QUIET)
    assert json.dumps(result["rows"]).count("1:1:A>G") == 0
    monkeypatch.setattr(association, "_testable", lambda variants, _share: variants)
    result, _, _ = associate(cohort, asked, silent, QUIET)
    assert json.dumps(result["rows"]).count("1:1:A>G") == 1


def test_a_variant_with_few_non_carriers_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """The z of a variant that all but nine carry reveals the outcome of the nine; unknown genotypes
    do not count."""
    # choose_step alone would also withhold it.
    monkeypatch.setattr(association, "choose_step", lambda *_: 1)
    dosage, event = draw(200, 5, 13)
    dosage[:, 0] = 1
    dosage[np.flatnonzero(event)[:9], 0] = 0
    dosage[:, 1] = np.where(np.arange(200) < 100, dosage[:, 0], np.nan)
    asked = asking(
        statistics=5, components=0, variants={"min_maf": "0", "min_hwe": "0", "min_call_rate": "0"}
    )
    rows = json.dumps(associate(cohort_of(dosage, event), asked, silent, QUIET)[0]["rows"])
    assert ("1:1:A>G" in rows, "1:2:A>G" in rows) == (False, False)
    dosage[np.flatnonzero(event)[9], 0] = 0
    rows = json.dumps(associate(cohort_of(dosage, event), asked, silent, QUIET)[0]["rows"])
    assert ("1:1:A>G" in rows, "1:2:A>G" in rows) == (True, False)


@pytest.mark.parametrize("seed", range(5))
def test_the_charge_is_the_sum_of_the_selection_costs(seed: int) -> None:
    dosage, event = draw(400, 60, seed)
    asked = asking(statistics=8, components=0, variants={"min_maf": "0", "min_hwe": "0"})
    result, record, m = associate(cohort_of(dosage, event), asked, silent, QUIET)
    rows: Any = result["rows"]
    # It reveals no more than the printed values.
    largest = [abs(float(row["z"])) + float(row["step"]) / 2 for row in rows]
    assert (
        m
        == record["statistics"]
        == math.ceil(sum(min(max(z**2, 1), 2 * math.log(60)) for z in largest))
    )
    exact = score_test(dosage, event, np.empty((400, 0)))[
        [int(row["variant"].split(":")[1]) - 1 for row in rows]
    ]
    assert m >= selection_costs(exact, 60).sum()
    assert m > len(rows) > 1


@pytest.mark.parametrize("variants", [10, 25, 60, 100, 400])
def test_quantiles_are_at_least_ten_variants_apart(variants: int) -> None:
    quantiles: Any = association._quantiles(
        np.random.default_rng(variants).normal(size=variants), 0
    )
    possible = [f"{-np.log10((rank - 0.5) / variants):.1f}" for rank in range(10, variants + 1, 10)]
    assert 1 <= len(quantiles) <= len(possible)
    assert all(
        float(expected) <= float(most)
        for (expected, _), most in zip(quantiles, possible, strict=False)
    )


def test_printed_variants_are_not_in_the_quantiles() -> None:
    """If all but a few are printed, the quantiles would reveal their z on another grid."""
    z = np.linspace(0.2, 5, 40)
    assert association._quantiles(z[:9], 31) == []
    (expected, observed), *_ = association._quantiles(z[:20], 20)  # type: ignore[misc]
    assert expected == f"{-math.log10(29.5 / 40):.1f}"
    assert observed == f"{-math.log10(chi2.sf(z[10] ** 2, 1)):.1f}"
    dosage, event = draw(2000, 40, 14)
    asked = asking(statistics=30, components=0, variants={"min_hwe": "0"})
    result: Any = associate(cohort_of(dosage, event), asked, silent, QUIET)[0]
    assert len(result["rows"]) == 30
    assert result["quantiles"] == []


def test_copies_of_a_variant_count_as_one_for_quantiles_and_inflation() -> None:
    """A block in perfect linkage has one z: its quantiles and its median would reveal it."""
    dosage, event = draw(200, 99, 14)
    asked = asking(statistics=1, components=0, variants={"min_hwe": "0"})
    linked = np.hstack([dosage, *[dosage[:, :1]] * 30])
    result: Any = associate(cohort_of(linked, event), asked, silent, QUIET)[0]
    assert (result["quantiles"], "inflation" in result) == ([], False)
    more = np.hstack([dosage, draw(200, 1, 15)[0]])
    result = associate(cohort_of(more, event), asked, silent, QUIET)[0]
    assert (len(result["quantiles"]) > 3, "inflation" in result) == (True, True)


def test_people_who_were_left_out_do_not_pay_the_charge() -> None:
    """A small cohort among many granted may run repeatedly: the charge is for its own size."""
    dosage, event = draw(60, 8, 16)
    cohort = cohort_of(dosage, event, granted=1000)
    charged = count_alleles(
        cohort, asking("frequencies", sites=["1:1:A>G", "1:2:A>G"]), silent, QUIET
    )[2]
    assert charged == 94  # 4 of at least 43: of 1,000 people's 128 the next is too many
    assert 2 * charged * 1000 > 128 * 1000


@pytest.mark.parametrize(
    ("columns", "rows", "printed"), [(99, 1, False), (100, 1, True), (130, 64, False)]
)
def test_the_inflation_needs_many_variants(columns: int, rows: int, printed: bool) -> None:
    """With one variant it is z^2 over 0.4549: two decimals undid the rounding of z."""
    z = np.random.default_rng(columns).normal(size=columns)
    shown = association._inflation(z, rows)
    assert (shown is not None) == printed
    assert shown is None or re.fullmatch(r"\d+\.\d", shown)
    dosage, event = draw(200, columns, 15)
    result, record, _ = associate(
        cohort_of(dosage, event), asking(statistics=1, variants={"min_hwe": "0"}), silent, QUIET
    )
    assert (
        ("inflation" in result)
        == (columns >= 100)
        != ("inflation" in json.dumps(record["withheld"]))
    )


def test_every_number_of_a_scan_has_fixed_decimals() -> None:
    """One more decimal reveals a z, and with it a table."""
    steps, ties = set(), 0
    for seed in range(8):
        dosage, event = draw(90 + 10 * seed, 120, seed)
        dosage[8:, :100] = np.minimum(dosage[8:, :100], 1)  # few are homozygous: coarser steps
        cohort = cohort_of(dosage, event)
        cohort = Cohort(
            cohort.members,
            (("has the records", subjects(105 + 10 * seed)), ("is old", subjects(90 + 10 * seed))),
            250,
        )
        result: Any = associate(cohort, asking(variants={"min_hwe": "0"}), silent, QUIET)[0]
        for row in result["rows"]:
            assert row.keys() == {"variant", "z", "step", "p"}
            assert re.fullmatch(r"-?\d+\.\d", row["z"])
            assert re.fullmatch(r"\d\.\de[+-]\d\d", row["p"])
            step = round(10 * float(row["step"]))
            assert row["step"] in ("0.1", "0.2", "0.5", "1.0")
            assert round(10 * float(row["z"])) % step == 0
            assert row["p"] == f"{2 * norm.sf(abs(float(row['z']))):.1e}"
            steps.add(step)
        # In the order of the printed z: the order of the exact z would reveal more.
        placed = [
            (-abs(float(row["z"])), int(row["variant"].split(":")[1])) for row in result["rows"]
        ]
        assert placed == sorted(placed)
        ties += len(placed) - len({z for z, _ in placed})
        assert re.fullmatch(r"\d+\.\d", result["inflation"])
        assert result["quantiles"]
        assert all(
            re.fullmatch(r"-?\d+\.\d", value) for pair in result["quantiles"] for value in pair
        )
        assert result["people"] % 5 == result["events"] % 5 == result["variants"]["used"] % 5 == 0
        assert all(step["variants"] % 5 == 0 for step in result["variants"]["left_out"])
        assert [step["people"] % 5 for step in result["flow"]] == [0] * len(result["flow"])
    assert len(steps) > 1
    assert ties > 1


def test_the_flow_chart_of_a_scan_hides_a_step_of_few() -> None:
    dosage, event = draw(200, 30, 16)
    cohort = Cohort(
        cohort_of(dosage, event).members, (("a", subjects(203)), ("b", subjects(200))), 230
    )
    result, _, _ = associate(cohort, asking(), silent, QUIET)
    assert result["flow"] == [{"step": "a, b", "people": 200}]


def test_too_few_people_for_any_statistic_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    event = np.arange(40) % 2
    dosage = np.tile(event[:, None], (1, 20)).astype(float)
    with pytest.raises(CohortTooSmall, match="five tables"):
        associate(
            cohort_of(dosage, event, granted=60),
            asking(components=0, variants={"min_hwe": "0"}),
            silent,
            QUIET,
        )
    monkeypatch.setattr(association, "choose_step", lambda *_: 1)
    with pytest.raises(CohortTooSmall, match="may count as"):
        associate(
            cohort_of(dosage, event, granted=60),
            asking(components=0, variants={"min_hwe": "0"}),
            silent,
            QUIET,
        )
    with pytest.raises(CohortTooSmall, match="carriers"):
        associate(
            cohort_of(dosage[:19], event[:19], granted=60),
            asking(variants={"min_hwe": "0"}),
            silent,
            QUIET,
        )


def structured(seed: int, people: int = 400, columns: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """(genotypes, outcomes) of two populations with other frequencies (Balding-Nichols, F_ST 0.05)
    and other rates of the outcome; no variant has an effect."""
    generator = np.random.default_rng(seed)
    group, base, fst = np.arange(people) % 2, generator.uniform(0.2, 0.5, columns), 0.05
    spread = (1 - fst) / fst
    frequency = generator.beta(base * spread, (1 - base) * spread, (2, columns)).clip(0.05, 0.95)
    event = generator.random(people) < np.where(group, 0.6, 0.3)
    return generator.binomial(2, frequency[group]).astype(float), event.astype(np.int64)


def test_components_remove_the_inflation_of_two_populations() -> None:
    dosage, event = structured(1)
    inflation = []
    for components in (0, 2):
        cohort = cohort_of(dosage, event, chromosomes=3)
        result, _, _ = associate(cohort, asking(components=components), silent, QUIET)
        assert result["components"] == components
        assert "components_omitted" not in result
        inflation.append(float(str(result["inflation"])))
    assert inflation[0] > 1.5
    assert inflation[1] <= 1.1


def test_components_do_not_take_a_causal_signal_away() -> None:
    """A locus of linked variants is a leading component of its own chromosome."""
    generator = np.random.default_rng(3)
    dosage = generator.binomial(2, generator.uniform(0.2, 0.5, 1500), (400, 1500)).astype(float)
    flips = generator.random((400, 100)) < 0.02
    dosage[:, :100] = np.where(flips, 1.0, dosage[:, :1])  # a long block of linkage
    event = (generator.random(400) < expit(1.2 * (dosage[:, 0] - dosage[:, 0].mean()))).astype(
        np.int64
    )

    def z_with(components: int, chromosomes: int) -> float:
        cohort = cohort_of(dosage, event, chromosomes=chromosomes)
        result: Any = associate(cohort, asking(components=components, statistics=1), silent, QUIET)[
            0
        ]
        return float(result["rows"][0]["z"])

    alone = z_with(0, 3)
    assert abs(alone) > 5
    assert abs(z_with(2, 3)) >= 0.9 * abs(alone)
    own = principal_components(dosage)
    assert np.abs(score_test(dosage[:, :100], event, own)).max() < 0.5 * abs(alone)


def principal_components(dosage: np.ndarray) -> np.ndarray:
    """Two of all variants, the tested ones and the linked ones among them."""
    scaled = (dosage - dosage.mean(axis=0)) / dosage.std(axis=0)
    return np.linalg.svd(scaled, full_matrices=False)[0][:, :2]


def test_components_are_those_of_the_other_chromosomes() -> None:
    dosage, _ = draw(40, 1100, 6)
    dosage[:20, :300] = np.minimum(dosage[:20, :300] + 1, 2)  # two populations
    chromosome = np.repeat([1, 2], [1000, 100]).astype(np.uint8)
    components = components_by_chromosome(dosage, chromosome, [2], 3)[2]
    left = np.linalg.svd(
        (dosage[:, :1000] - dosage[:, :1000].mean(axis=0)) / dosage[:, :1000].std(axis=0)
    )[0][:, :1]
    assert abs(components[:, 0] @ left[:, 0]) == pytest.approx(1, abs=1e-3)
    assert np.abs(components.T @ components - np.eye(3)).max() < 1e-5
    assert components_by_chromosome(dosage, chromosome, [2], 0) == {}


@pytest.mark.parametrize(("columns", "chromosomes"), [(1000, 1), (700, 2)])
def test_a_panel_has_no_components_and_its_result_says_so(columns: int, chromosomes: int) -> None:
    dosage, event = draw(200, columns, 7)
    cohort = cohort_of(dosage, event, chromosomes=chromosomes)
    result, _, _ = associate(cohort, asking(components=2, variants={"min_hwe": "0"}), silent, QUIET)
    assert result["components"] == 0
    assert result["components_omitted"] == NO_COMPONENTS


def test_pruning_leaves_no_two_linked_variants_side_by_side() -> None:
    truth = simulate_cohort(400, 4)
    dosage = np.nan_to_num(truth.dosage)
    chromosome = np.repeat([1, 2], dosage.shape[1] // 2).astype(np.uint8)
    dosage[:, 200] = dosage[:, 199]  # alike, but on another chromosome
    kept = np.flatnonzero(prune(dosage, chromosome))
    r2 = np.corrcoef(dosage[:, kept].T) ** 2 - np.eye(len(kept))
    same = chromosome[kept][:, None] == chromosome[kept]
    assert r2[same].max() < MOST_R2
    assert len(kept) < 0.6 * dosage.shape[1]
    assert 200 in kept
    for left_out in set(range(200)) - set(kept.tolist()):
        assert (
            max(np.corrcoef(dosage[:, left_out], dosage[:, at])[0, 1] ** 2 for at in kept) > 0.199
        )


@pytest.mark.parametrize(
    ("carriers", "events", "tested"), [(100, 20, False), (110, 20, True), (110, 180, True)]
)
def test_a_variant_needs_ten_expected_copies_among_the_rarer_outcome(
    carriers: int, events: int, tested: bool
) -> None:
    dosage, _ = draw(200, 5, 13)
    dosage[:, 0] = (np.arange(200) < carriers) & (np.arange(200) != 3)
    event = np.random.default_rng(1).permutation(np.arange(200) < events).astype(np.int64)
    loose = {"min_maf": "0", "min_hwe": "0"}
    stacked = stack(cohort_of(dosage, event).genotypes, asking(variants=loose).variants)
    kept = _testable(stacked, events / 200)
    assert ("1:1:A>G" in kept.names) == tested
    assert dict(kept.flow)["few-expected-in-rarer-outcome"] == (0 if tested else 1)


def test_p_is_that_of_the_exact_test_where_the_normal_one_is_wrong() -> None:
    """100 carriers among 2,000, 200 with the event: the mid-p of Fisher's exact test."""
    carrier = (np.arange(2000) < 100).astype(float)
    for cases in (20, 24, 28):
        event = np.concatenate([np.arange(100) < cases, np.arange(1900) < 200 - cases])
        (z,) = score_test(carrier[:, None], event.astype(np.int64), np.empty((2000, 0)))
        mid = hypergeom.sf(cases, 2000, 100, 200) + hypergeom.pmf(cases, 2000, 100, 200) / 2
        assert 2 * norm.sf(z) == pytest.approx(mid, rel=0.15)
    raw = (28 - 10) / math.sqrt(100 * 0.95 * 0.1 * 0.9)
    assert 2 * norm.sf(raw) < mid / 100


def test_the_saddlepoint_z_is_finite_at_the_end_of_the_support() -> None:
    event = np.arange(60) % 2
    z = score_test(event[:, None].astype(float), event, np.empty((60, 0)))
    assert 5 < z[0] < 12


def test_the_interval_of_the_inflation_covers_one() -> None:
    """Linked variants, no effect: 95 % of intervals, whose ends are rounded outwards or inwards."""
    covered = []
    for seed in range(extent(40, 400)):
        generator = np.random.default_rng(seed)
        truth = (
            generator.normal(size=(60, 1, 300)) * 0.9 + generator.normal(size=(60, 8, 300)) * 0.44
        )
        dosage = np.digitize(truth.reshape(480, 300).T, [-0.3, 0.8]).astype(float)
        event = generator.permutation(np.arange(300) % 3 == 0).astype(np.int64)
        z = score_test(dosage, event, np.empty((300, 0)))
        independent = int(prune(dosage, np.ones(480, np.uint8)).sum())
        low, high = association._inflation_interval(z, 5, independent)  # type: ignore[misc]
        covered.append(float(low) <= 1 <= float(high))
    assert np.mean(covered) >= 0.85


def test_an_interval_that_would_tell_an_extreme_z_is_withheld() -> None:
    z = np.random.default_rng(1).normal(size=400)
    assert association._inflation_interval(z, 10, 380) is not None
    assert association._inflation_interval(z, 10, 4) is None
    assert association._inflation_interval(z[:99], 10, 99) is None
