"""Attacks on printed numbers by whoever knows this code and everything about everybody but one
person's outcome, and not the key. Each succeeds where the noise is taken away.

The attacker prints both of the results that are possible, without noise, and says to which of them
the printed one is nearer, given how the noise varies. Measured by the AUC of that score over many
cohorts with keys of their own: 0.5 is guessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from cluster_attacks import outcome_in_a_cluster, presence_in_a_cluster
from quiet import NOISE, QUIET, subjects
from scipy.stats import rankdata
from sklearn.pipeline import Pipeline

from analytics import evaluate
from analytics.disclosure.counts import (
    Calls,
    Perturbation,
    build_table,
    filter_counts,
    left_out_at,
    percent,
    perturb_rank,
    perturb_sizes,
)
from analytics.disclosure.curves import roc_grid
from analytics.disclosure.noise import BOUND, BRIER, EVENT, KEY_BYTES, PERSON, RANK, SPREAD, Noise
from analytics.disclosure.rounding import print_p
from analytics.disclosure.survival import Lives, Shown, show_curve, show_strata
from analytics.errors import NoiseKeyMissing
from analytics.evaluate import Labels, Predictions, count_cells, placement_values, scaled_brier

HORIZON = 1000
SAFE = 0.60
Numbers = list[float]
Print = Callable[[Noise, bool], Numbers]  # what is printed if the person has the event, or not


def noise_of(number: int) -> Noise:
    return Noise(number.to_bytes(KEY_BYTES, "big"))


def auc_of(worlds: Callable[[int], Print], trials: int, noise: bool = True) -> float:
    """How well the attacker tells both outcomes apart, in trials of which half have each. The
    weight of each number goes by how the noise of all of them varies together, learnt from the
    other half.
    """
    gaps, middles, seen = [], [], []
    for trial in range(trials):
        printed = worlds(trial)
        yes, no = (np.array(printed(QUIET, happened)) for happened in (True, False))
        gaps.append(yes - no)
        middles.append((yes + no) / 2)
        seen.append(printed(noise_of(trial) if noise else QUIET, trial % 2 == 0))
    gap, beside = np.array(gaps), np.array(seen) - np.array(middles)
    left = beside - gap / 2 * np.where(np.arange(trials) % 2 == 0, 1, -1)[:, None]
    scores = np.empty(trials)
    for half in (slice(0, trials // 4 * 2), slice(trials // 4 * 2, trials)):
        others = np.delete(left, half, axis=0)
        spread = others.T @ others / len(others)
        spread += np.eye(len(spread)) * (0.01 * np.trace(spread) / len(spread) + 1e-6)
        scores[half] = (beside[half] * np.linalg.solve(spread, gap[half].T).T).sum(axis=1)
    positives = (trials + 1) // 2
    ranks = float(rankdata(scores)[::2].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * (trials - positives))


# --- survival curves
def follow(people: int, seed: int) -> Lives:
    generator = np.random.default_rng(seed)
    happens = generator.exponential(HORIZON / 0.35, people)
    ends = np.minimum(generator.uniform(0, 1.6 * HORIZON, people), HORIZON)
    return Lives(np.ceil(np.minimum(happens, ends)), happens <= ends, subjects(people))


def with_outcome(lives: Lives, happened: bool, day: float) -> Lives:
    """The first person has the event on this day, or is followed to the horizon without."""
    time, event = lives.time.copy(), lives.event.copy()
    time[0], event[0] = day if happened else HORIZON, happened
    return replace(lives, time=time, event=event)


def numbers_of(shown: Shown | None) -> Numbers:
    """Survival at each time that may be printed, and the counts; 0 where nothing is printed."""
    points = {} if shown is None else {point.day: point for point in shown.points}
    numbers: Numbers = []
    for at in range(1, 11):
        point = points.get(HORIZON * at // 10)
        numbers += (
            [0.0] * 5
            if point is None
            else [
                float(value or 0)
                for value in (point.survival, point.low, point.high, point.at_risk, point.censored)
            ]
        )
    return [*numbers, float((shown and shown.events) or 0)]


def curve(trial: int, people: int = 600) -> Print:
    lives, day = follow(people, trial), float(np.random.default_rng(trial).integers(50, 900))
    return lambda noise, happened: numbers_of(
        show_curve(noise, with_outcome(lives, happened, day), HORIZON)
    )


def curve_and_a_day_later(trial: int) -> Print:
    lives, day = follow(600, trial), float(np.random.default_rng(trial).integers(50, 900))

    def printed(noise: Noise, happened: bool) -> Numbers:
        followed = with_outcome(lives, happened, day)
        longer = replace(
            followed, time=np.where(followed.time >= HORIZON, HORIZON + 1, followed.time)
        )
        first = numbers_of(show_curve(noise.of_question("a"), followed, HORIZON))
        later = show_curve(noise.of_question("b"), longer, HORIZON + 1)
        points = () if later is None else later.points
        return [*first, *(float(p.survival) for p in points), *[0.0] * (10 - len(points))]

    return printed


def curve_beside_evaluate(trial: int) -> Print:
    """`evaluate` leaves the censored out; the person has the event, or is censored on the same day."""
    lives, day = follow(600, trial), float(np.random.default_rng(trial).integers(50, 900))

    def printed(noise: Noise, happened: bool) -> Numbers:
        time, event = lives.time.copy(), lives.event.copy()
        time[0], event[0] = day, happened
        followed = replace(lives, time=time, event=event)
        kept = followed.who(followed.event | (followed.time >= HORIZON))
        affected = followed.who(followed.event)
        flow = [("all", followed.ids), ("not censored", kept)]
        sizes = perturb_sizes(noise.of_question("evaluate"), 650, flow, kept, affected)
        counts = filter_counts(sizes)
        numbers = [counts.people, counts.events, left_out_at("not censored", 650, sizes.flow)]
        return [
            *(float(number or 0) for number in numbers),
            *numbers_of(show_curve(noise, followed, HORIZON)),
        ]

    return printed


def two_curves(trial: int, after: int = 300) -> Print:
    """Of cohorts that differ by the person alone; her event is early, if she has it."""
    lives = follow(600, trial)
    day = float(np.random.default_rng(trial).integers(50, after))
    others = lives[np.arange(1, 600)]

    def printed(noise: Noise, happened: bool) -> Numbers:
        followed = with_outcome(lives, happened, day)
        both = (
            numbers_of(show_curve(noise.of_question(question), cohort, HORIZON))
            for question, cohort in (("with", followed), ("without", others))
        )
        return [number - other for number, other in zip(*both, strict=True)]

    return printed


def stratum_beside_all(trial: int) -> Print:
    lives, day = follow(600, trial), float(np.random.default_rng(trial).integers(50, 900))
    groups = [("a", np.arange(250)), ("b", np.arange(250, 600))]

    def printed(noise: Noise, happened: bool) -> Numbers:
        followed = with_outcome(lives, happened, day)
        strata = show_strata(noise, groups, followed, HORIZON)
        return numbers_of(show_curve(noise, followed, HORIZON)) + numbers_of(strata.get("a"))

    return printed


# --- models
def cohort(people: int, events: int, trial: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(outcomes, predicted probabilities (repeats, n), the person whose outcome is unknown)."""
    generator = np.random.default_rng(trial)
    event = (np.arange(people) < events).astype(np.int64)
    scores = generator.normal(size=people) + event + generator.normal(0, 0.2, (3, people))
    order = scores.argsort(axis=1).argsort(axis=1)
    return event, order / people, int(generator.integers(people))


def row_of(noise: Noise, event: np.ndarray, probability: np.ndarray, name: str = "row") -> Numbers:
    """Everything that is printed of one row."""
    people = subjects(len(event))
    affected = [people[at] for at in np.flatnonzero(event)]
    sizes = perturb_sizes(noise, len(people) + 50, [("all", people)], people, affected)
    positive = probability > 0.6
    called = [people[at] for at in np.flatnonzero(positive.mean(axis=0) >= 0.5)]
    table = build_table(noise, {name: Calls(count_cells(event, positive), called)}, affected, sizes)
    auc = np.mean([placement_values(row, event)[event == 1].mean() for row in probability])
    counts = filter_counts(sizes)
    return [
        float(counts.events or 0),
        float(counts.people or 0),
        *(
            float(table[name].metrics.get(metric, 0))
            for metric in ("recall", "accuracy", "precision")
        ),
        100 * perturb_rank(noise, affected, sizes, f"AUC of {name}", float(auc)),
        *(float(rate) for _, rate in roc_grid(noise, name, probability, event, people, sizes)),
    ]


def row(trial: int, people: int = 200, events: int = 60) -> Print:
    event, probability, person = cohort(people, events, trial)

    def printed(noise: Noise, happened: bool) -> Numbers:
        known = event.copy()
        known[person] = happened
        return row_of(noise, known, probability)

    return printed


def brier(trial: int, people: int, part: float = BRIER) -> Print:
    """The scaled Brier score of confident predictions, and of the most confident one's outcome."""
    generator, ids = np.random.default_rng(trial), subjects(people)
    probability = 1 / (1 + np.exp(-3 * generator.normal(size=people)))
    event = (generator.random(people) < probability).astype(np.int64)
    person = int(np.abs(probability - 0.5).argmax())

    def printed(noise: Noise, happened: bool) -> Numbers:
        known = event.copy()
        known[person] = happened
        affected = [ids[at] for at in np.flatnonzero(known)]
        sizes = perturb_sizes(noise, people + 50, [("all", ids)], ids, affected)
        value = scaled_brier(probability[None, :], known)
        return [percent(perturb_rank(noise, affected, sizes, "Brier of row", value, part), 1)]

    return printed


def permutation(trial: int, people: int = 200, events: int = 36) -> Print:
    """p, and the number of permutations that it took, which the seconds of a run tell too. Of
    thirty divisions into folds, the one in which the person's outcome changes the AUC most.
    """
    generator = np.random.default_rng(trial)
    event = (np.arange(people) < events).astype(np.int64)
    base, person = generator.normal(size=people) + 0.35 * event, int(generator.integers(people))
    divisions = base + 0.3 * generator.normal(size=(30, people))
    outcomes = {happened: event.copy() for happened in (True, False)}
    for happened, known in outcomes.items():
        known[person] = happened
    aucs = {
        happened: [placement_values(division, known)[known == 1].mean() for division in divisions]
        for happened, known in outcomes.items()
    }
    chosen = int(np.abs(np.subtract(aucs[True], aucs[False])).argmax())

    def predict(_model: object, _x: object, y: Labels, *, seed: int, **_: object) -> Predictions:
        scores = divisions[chosen if not seed else seed % 30]
        return Predictions(scores, scores > 0, placement_values(scores, y))

    def printed(noise: Noise, happened: bool) -> Numbers:
        known, ids = outcomes[happened], subjects(people)
        affected = [ids[at] for at in np.flatnonzero(known)]
        sizes = perturb_sizes(noise, people + 50, [("all", ids)], ids, affected)
        perturb = partial(Perturbation(noise, ids, sizes).rank, "AUC of row")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(evaluate, "predict_once", predict)
            p, performed = evaluate.permutation_p(
                Pipeline([]),
                np.empty((people, 0)),
                known,
                float(aucs[happened][chosen]),
                folds=2,
                permutations=120,
                seed=0,
                tick=lambda _: None,
                perturb=perturb,
            )
        return [100 * np.log(p), 100 * np.log(performed), 100 * np.log(float(print_p(p)))]

    return printed


def number_of_events(trial: int) -> Print:
    people = subjects(200)
    return lambda noise, happened: [float(noise.count(EVENT, people[: 60 + happened]))]


def averaged(trial: int, questions: int = 12) -> Print:
    """The same person in many cohorts that an analyst chose: half of the people each."""
    generator = np.random.default_rng(trial)
    people, event = subjects(200), generator.random(200) < 0.3
    chosen = [np.append(0, 1 + generator.permutation(199)[:150]) for _ in range(questions)]

    def printed(noise: Noise, happened: bool) -> Numbers:
        known = event.copy()
        known[0] = happened
        return [
            float(
                noise.of_question(str(k)).count(EVENT, [people[at] for at in inside if known[at]])
            )
            for k, inside in enumerate(chosen)
        ]

    return printed


def border(trial: int) -> Print:
    """Two cohorts that differ by the person alone: how far their counts are apart, and whether at
    all."""
    people = subjects(200)

    def printed(noise: Noise, happened: bool) -> Numbers:
        without = noise.of_question("without").count(EVENT, people[:60])
        having = noise.of_question("with").count(EVENT, people[: 60 + happened])
        return [float(having - without), 100.0 * (having != without)]

    return printed


def asked_again(trial: int, questions: int = 12) -> Print:
    """The same people twelve times, in other words: each answer has a noise of its own."""
    people = subjects(200)
    return lambda noise, happened: [
        float(noise.of_question(str(question)).count(EVENT, people[: 60 + happened]))
        for question in range(questions)
    ]


def left_out_by_a_step(trial: int) -> Print:
    """The second step of a flow chart leaves nobody out but perhaps the person."""
    people = subjects(200)

    def printed(noise: Noise, happened: bool) -> Numbers:
        flow = [("first", people), ("second", people[happened:]), ("third", people[50:])]
        sizes = dict(perturb_sizes(noise, 400, flow, people[50:], people[50:90]).flow)
        return [float(sizes["first"] - sizes["second"]), 100.0 * (sizes["first"] > sizes["second"])]

    return printed


ATTACKS: list[tuple[Callable[[int], Print], int]] = [
    (curve, 300),
    (curve_and_a_day_later, 200),
    (curve_beside_evaluate, 300),
    (two_curves, 300),
    (stratum_beside_all, 300),
    (row, 1000),
    (permutation, 1200),
    (number_of_events, 1000),
    (averaged, 600),
    (asked_again, 600),
    (border, 1000),
    (left_out_by_a_step, 1000),
    (outcome_in_a_cluster, 400),
    (presence_in_a_cluster, 200),
]


@pytest.mark.parametrize(
    ("attack", "trials"), ATTACKS, ids=lambda value: getattr(value, "__name__", "")
)
def test_an_attacker_who_knows_everybody_else_learns_little(
    attack: Callable[[int], Print], trials: int
) -> None:
    assert auc_of(attack, trials) <= SAFE
    assert auc_of(attack, 60, noise=False) >= 0.9


@pytest.mark.parametrize(("people", "trials"), [(300, 300), (1000, 400)])
def test_the_brier_score_needs_more_noise_than_a_rank(people: int, trials: int) -> None:
    assert auc_of(partial(brier, people=people), trials) <= SAFE
    assert (
        auc_of(partial(brier, people=people), 40, noise=False) >= 0.85
    )  # whole percents hide some
    if people == 300:
        assert auc_of(partial(brier, people=people, part=RANK), 120) >= 0.7


def test_the_noise_follows_from_key_and_set_alone() -> None:
    people = subjects(40)
    assert NOISE.count(EVENT, people) == NOISE.count(EVENT, [*people[::-1], *people[:7]])
    assert Noise(NOISE.key).count(EVENT, people) == NOISE.count(EVENT, people)
    moved = {noise_of(n).count(EVENT, people) for n in range(50)}
    assert len(moved) > 10
    assert NOISE.shift(EVENT, people) != NOISE.shift(PERSON, people)
    assert NOISE.shift(EVENT, people, "a") != NOISE.shift(EVENT, people, "b")


def test_the_noise_is_bounded_symmetric_and_as_wide_as_stated() -> None:
    people = subjects(60)
    drawn = np.array([noise_of(n).shift(EVENT, people) for n in range(3000)])
    assert np.abs(drawn).max() <= BOUND
    assert abs(drawn.mean()) < 4 * SPREAD / np.sqrt(3000)
    assert abs(drawn.std() - SPREAD) < 0.3
    counts = [noise_of(n).count(EVENT, people[:3]) for n in range(200)]
    assert min(counts) == 0
    assert all(isinstance(count, int) for count in counts)


def test_sets_that_share_their_people_share_noise_and_one_person_more_draws_anew() -> None:
    """Else averaging over cohorts, or one difference, would take the noise away."""
    people = subjects(101)
    pairs = []
    for noise in map(noise_of, range(1500)):
        pairs.append([noise.shift(EVENT, people[:100]), noise.shift(EVENT, people)])
    first, second = np.array(pairs).T
    shared = np.corrcoef(first, second)[0, 1]
    assert 0.38 < shared < 0.6  # 12.25 of 25
    assert (second - first).std() > 4.5


def test_a_key_of_another_length_is_refused_and_never_shown() -> None:
    for key in (b"", b"k" * 31):
        with pytest.raises(NoiseKeyMissing):
            Noise(key)
    assert "nnnn" not in repr(NOISE)


def test_seeds_of_folds_and_permutations_follow_from_the_key() -> None:
    """Else whoever repeats a run with both outcomes would know a person's by what she computes."""
    people = subjects(20)
    seeds = {Noise(bytes([key]) * KEY_BYTES).seed("folds", people, 1) for key in range(9)}
    assert len(seeds) == 9
    assert NOISE.seed("folds", people, 1) == NOISE.seed("folds", people[::-1], 1)
    assert NOISE.seed("folds", people, 1) != NOISE.seed("folds", people, 2)
