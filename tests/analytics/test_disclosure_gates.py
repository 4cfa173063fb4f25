"""Attacks on whether something is printed, by whoever knows everybody but one person.

Nine people have something, and she has it or has not. A decision by the exact number tells it at
once; by the perturbed one, both happen about as often. Each is tried over many keys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from quiet import NOISE_KEY, QUIET, subjects

from analytics import features
from analytics.cohort import Cohort, Member, Person, _are_enough, clinical_matrix
from analytics.disclosure.counts import PROFILES_NEEDED, Perturbation, Sizes
from analytics.disclosure.curves import calibration_groups
from analytics.disclosure.explanations import Chosen, size_step, tells_enough_apart
from analytics.disclosure.noise import KEY_BYTES, Noise
from analytics.errors import CohortTooSmall
from analytics.evaluate import predict_once
from analytics.explainer import Explained
from analytics.explanation_run import _describe, _perturb
from analytics.explanations import REGISTERED
from analytics.models.pipeline import build_model
from analytics.models.registry import Blueprint
from analytics.params import complete, parse_params
from analytics.people import Input
from analytics.readers.clinical import ClinicalRecord, Fact, Reading
from analytics.readers.observations import Findings
from analytics.readers.person import Person as Simulated
from analytics.run import run
from analytics.survival_run import _stratify

SAFE, KEYS, PEOPLE = 0.60, 240, 200
OUTCOME = {"kind": "distant-metastasis", "horizon_days": 1825}
QUICK = {"permutations": 19, "bootstraps": 0, "folds": 2, "repeats": 2, "outcome": OUTCOME}
SURVIVAL = {"analysis": "survival", "strata": ["er_positive"], "clinical": [], **QUICK}
NO_GENES = {"genes": {"source": "none"}}
Gate = Callable[[Noise, bool], object]  # what is seen if she has it, or has not
Records = Callable[[Sequence[Simulated]], list[Input]]


def among(has: bool) -> np.ndarray:
    """Nine people of all, and the tenth if she has it."""
    return (np.arange(PEOPLE) < 9 + has).astype(np.float64)


def cohort_of(records: Sequence[ClinicalRecord]) -> Cohort:
    people = [Person(*pair) for pair in zip(subjects(len(records)), records, strict=True)]
    return Cohort(tuple(Member(person, None, False) for person in people), (), len(people))


def column_is_named(noise: Noise, has: bool) -> bool:
    return tells_enough_apart(noise, among(has), subjects(PEOPLE))


def code_is_used(noise: Noise, has: bool) -> bool:
    return bool(clinical_matrix(coded(has), ["icd-10-cm:B20"], noise).any())


@cache
def coded(has: bool) -> Cohort:
    facts = [(Fact(1, "icd-10-cm", "B20", None),) if inside else () for inside in among(has)]
    return cohort_of([ClinicalRecord(None, None, fact, (), 9000) for fact in facts])


def profiles_are_few(noise: Noise, has: bool) -> bool:
    """She has a combination of her own, or that of somebody else."""
    x = np.append(np.arange(PEOPLE - 1) % 9, 9 if has else 1).astype(np.float64)
    perturbation = Perturbation(noise, subjects(PEOPLE), Sizes(PEOPLE, (), PEOPLE, 60))
    return perturbation.profiles(x[:, None]) < PROFILES_NEEDED


def unknown_is_listed(noise: Noise, has: bool) -> bool:
    params = parse_params(complete(SURVIVAL | NO_GENES))
    return len(_stratify(measured(has), params, noise)) == 3


@cache
def measured(has: bool) -> Cohort:
    readings = [() if inside else (Reading("er_positive", 1.0, None),) for inside in among(has)]
    return cohort_of([ClinicalRecord(None, None, (), reading, 9000) for reading in readings])


def calibration_step(noise: Noise, has: bool) -> bool:
    """Five groups of a hundred are printed in steps of 5 %, smaller ones in wider steps."""
    people = 499 + has
    event = (np.arange(people) % 2).astype(np.int64)
    probabilities = np.linspace(0.1, 0.9, people)[None, :]
    shown = calibration_groups(noise, probabilities, event, subjects(people))
    return shown is not None and shown[0] == 5


class _Cohort:
    """Whose outcomes an explanation is of."""

    affected = subjects(60)


def direction(noise: Noise, has: bool) -> object:
    """Her outcome moves the sum that decides it by as much as one moves a mean size on average."""
    step = size_step(PEOPLE, "log-odds")
    assert step is not None
    value = step / 100 + (0.5 if has else -0.5) * 3 / PEOPLE
    exact = Explained(
        REGISTERED["shap-linear"],
        ("age",),
        np.zeros(1, np.int64),
        np.ones(1, np.bool_),
        np.array([0.4]),
        None,
        np.array([value]),
    )
    sizes = Sizes(PEOPLE + 50, (), PEOPLE, 60)
    printed = _perturb(exact, "shap", _Cohort(), sizes, noise)  # type: ignore[arg-type]
    return _describe(printed, Chosen(0, 2), step)["direction"]


GATES = (
    column_is_named,
    code_is_used,
    profiles_are_few,
    unknown_is_listed,
    calibration_step,
    direction,
)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_who_is_the_tenth_is_not_told_by_what_is_printed(gate: Gate) -> None:
    def seen(has: bool) -> float:
        expected = gate(QUIET, True)
        keys = (number.to_bytes(KEY_BYTES, "big") for number in range(has, 2 * KEYS, 2))
        return float(np.mean([gate(Noise(key), has) == expected for key in keys]))

    assert gate(QUIET, True) != gate(QUIET, False)  # by the exact number it would be
    assert 0.5 + abs(seen(True) - seen(False)) / 2 <= SAFE
    assert 0.02 < seen(False) < 0.98


def test_a_run_is_refused_the_more_probably_the_fewer_have_an_outcome() -> None:
    """Each person more changes it by a fifth: that a run fails tells an outcome with AUC .60. By
    the exact number it would tell it at once.
    """
    keys = [Noise(number.to_bytes(KEY_BYTES, "big")) for number in range(1000)]
    shares = [
        float(np.mean([_are_enough(subjects(count), noise) for noise in keys]))
        for count in range(4, 12)
    ]
    assert shares == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1], abs=0.05)
    assert (shares[1], shares[6]) == (0, 1)
    assert [_are_enough(subjects(count), None) for count in (9, 10)] == [False, True]


@pytest.mark.parametrize("folds", [2, 10])
def test_a_run_with_few_of_an_outcome_is_computed_to_its_end(
    make_records: Records, monkeypatch: pytest.MonkeyPatch, folds: int
) -> None:
    """Else its failure would tell the number that the decision hides."""
    monkeypatch.setattr(Noise, "uniform", lambda *_: 0.0)
    few = []
    for person in people_of(80):
        ill = person.ordinal < 6
        followed = {"metastasis": ill, "follow_up_days": 900.0 if ill else 3000.0}
        few.append(replace(person, findings=replace(person.findings, **followed)))
    further = {
        "models": {"logistic": ["clinical"]},
        "clinical": ["age_years", "grade"],
        "explain": ["permutation", "shap-linear"],
        "fairness": ["er_positive"],
    }
    for name, asked in (("evaluate", further), ("survival", {"clinical": ["age_years", "grade"]})):
        document = {
            "analysis": name,
            **QUICK,
            **NO_GENES,
            **asked,
            "folds": folds,
            "bootstraps": 25 if name == "evaluate" else 50,
        }
        assert run(complete(document), make_records(few), 10, noise_key=NOISE_KEY).people == 80


def people_of(count: int, *, unknown: int = 0, profiles: int = 9) -> list[Simulated]:
    """Some without a known receptor; so many combinations of grade and age."""
    draw = np.random.default_rng(1)
    people = []
    for at in range(count):
        event, kind = bool(at % 5 == 0), at % profiles
        findings = Findings(
            age_years=40.0 + 10 * (kind // 3),
            size_mm=20.0,
            grade=1 + kind % 3,
            er_positive=None if at < unknown else at % 2,
            follow_up_days=float(draw.integers(100, 1800)) if event else 3000.0,
            metastasis=event,
        )
        people.append(Simulated(at, (("SIM000", "1.0"),), findings))
    return people


def test_a_run_asks_the_key_whether_nine_are_enough(
    make_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [
        person for person in people_of(200) if not person.findings.metastasis or person.ordinal < 45
    ]
    records = make_records(people)
    for asked in (QUICK | {"models": {"logistic": ["clinical"]}}, {**SURVIVAL, "strata": []}):
        params = complete(asked | NO_GENES | {"clinical": ["age_years", "grade"]})
        monkeypatch.setattr(Noise, "uniform", lambda *_: 0.5)
        assert run(params, records, 10, noise_key=NOISE_KEY).people == len(people)
        monkeypatch.setattr(Noise, "uniform", lambda *_: 0.9)
        with pytest.raises(CohortTooSmall):
            run(params, records, 10, noise_key=NOISE_KEY)


@pytest.mark.parametrize(("moved", "seen"), [(0, False), (3, True)])
def test_a_run_decides_by_the_perturbed_numbers(
    make_records: Records, monkeypatch: pytest.MonkeyPatch, moved: int, seen: bool
) -> None:
    """Nine have it each time: with three more by the noise, it is printed."""

    def shift(_: Noise, __: str, people: Collection[str], *___: object) -> float:
        return moved if len(set(people)) == 9 else 0.0

    monkeypatch.setattr(Noise, "shift", shift)

    def result(asked: dict[str, Any], people: list[Simulated]) -> tuple[Any, bytes]:
        done = run(complete(asked), make_records(people), 10, noise_key=NOISE_KEY)
        return json.loads(done.result), done.disclosure

    models = {"models": {"logistic": ["clinical"]}, "clinical": ["age_years", "grade"]}
    few, _ = result(QUICK | models | NO_GENES, people_of(200))
    assert ("auc_interval" in few["rows"][0]) == seen
    listed, record = result(SURVIVAL | NO_GENES, people_of(240, unknown=9))
    assert (b"not known" in record) == seen
    assert all(row["stratum"] != "not known" for row in listed["strata"])


@pytest.mark.parametrize(("moved", "p"), [(-300.0, "1"), (300.0, "0.05")])
def test_p_is_of_the_auc_that_is_printed(
    make_records: Records, monkeypatch: pytest.MonkeyPatch, moved: float, p: str
) -> None:
    """Noise that takes away or adds as much as there can be changes p as it does the AUC."""
    records = make_records(people_of(200))
    affected = {records[2 * at].subject for at in range(0, 200, 5)}

    def shift(_: Noise, __: str, people: Collection[str], cell: str = "", *___: object) -> float:
        ranks = cell == "concordance" or cell.startswith("AUC of ")
        return moved if ranks and set(people) == affected else 0.0

    monkeypatch.setattr(Noise, "shift", shift)
    for asked in (QUICK | {"models": {"logistic": ["clinical"]}}, {**SURVIVAL, "strata": []}):
        document = asked | NO_GENES | {"clinical": ["age_years", "grade"]}
        done = json.loads(run(complete(document), records, 10, noise_key=NOISE_KEY).result)
        row = done["rows"][0] if done["analysis"] == "evaluate" else done["concordance"]
        assert row["p"] == p
        assert row["permutations"] == (10 if p == "1" else 19)


@pytest.mark.parametrize(("outermost", "disclosed"), [(10, False), (1, True)])
def test_who_has_an_unusual_value_turns_no_model(
    monkeypatch: pytest.MonkeyPatch, outermost: int, disclosed: bool
) -> None:
    """A tumour of a metre among those of a few centimetres: whether she had the event would turn
    the coefficient's sign, and so move the AUC of everybody by far more than noise hides.
    """
    monkeypatch.setattr(features, "OUTERMOST", outermost)
    moved = []
    for seed in range(6):
        draw = np.random.default_rng(seed)
        z = draw.normal(size=200)
        event = (draw.random(200) < 1 / (1 + np.exp(0.7 - z))).astype(np.int64)
        x = np.exp(3.1 + 0.45 * z)[:, None]
        x[0] = 1000.0
        model = build_model(Blueprint("logistic", 0, 1, "f", 1, 0, "median", "z-score", 1))
        aucs = []
        for event[0] in (0, 1):
            aucs.append(predict_once(model, x, event, folds=5, seed=seed).auc(event))
        moved.append(abs(aucs[0] - aucs[1]))
    assert (max(moved) > 0.05) == disclosed, moved
