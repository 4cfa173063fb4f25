"""Earlier per-variant results to compare a new one with, and the cohorts used by a permit."""

from __future__ import annotations

from typing import Any

from analytics.errors import ParamsError
from analytics.params import parse_params
from governance.readmodel.projection import Projection

COHORTS = 10  # that the runs of one permit may ask about


def list_earlier(projection: Projection, run: bytes) -> list[dict[str, Any]]:
    """Other runs on the dataset of `run` whose per-variant statistics are or may be released.

    For each: its parameters, the categories of its permit, the people granted, and whether `run`
    reads all these categories. From the ledger alone. Results that can no longer be released
    (rejected, cancelled, a consent changed) are left out.
    """
    replayed = projection.replayed
    asked = replayed.permits[replayed.runs[run].request["permit"]].request
    results: list[dict[str, Any]] = []
    for other_run, entry in replayed.runs.items():
        permit, attempt = (
            replayed.permits[entry.request["permit"]].request,
            replayed.attempts.get((other_run, entry.attempts)),
        )
        if other_run == run or permit["dataset"] != asked["dataset"] or attempt is None:
            continue
        if (
            not attempt.seal
            or not attempt.seal["statistics"]
            or entry.ended not in ("", "released")
        ):
            continue
        if not entry.ended and any(
            replayed.consent(asked["dataset"], subject).epoch != epoch
            for subject, epoch, _ in attempt.granted
        ):
            continue
        result = {
            "params": projection.params[other_run],
            "categories": permit["categories"],
            "people": [subject.hex() for subject, _, _ in attempt.granted],
            "readable": not permit["categories"] & ~asked["categories"],
        }
        if result not in results:
            results.append(result)
    return results


def spends_too_many_cohorts(projection: Projection, run: bytes) -> bool:
    """Whether a run asks about a new cohort after its permit's runs asked about COHORTS others.

    A failing run is an answer that no checker reviews: it shows whether enough people fit the
    rules. Enough answers about suitably chosen cohorts single out a person. So a permit allows few
    cohorts, and the committee decides about the next permit. A cohort is: who is in it, by which
    outcome, which of their variants count, and into which groups they fall. Other models on the
    same cohort ask nothing new.
    """
    replayed = projection.replayed
    permit = replayed.runs[run].request["permit"]
    asked = {
        _cohort(projection.params[other_run])
        for other_run, entry in replayed.runs.items()
        if other_run != run and entry.request["permit"] == permit and entry.attempts
    }
    return _cohort(projection.params[run]) not in asked and len(asked) >= COHORTS


def _cohort(params: str) -> tuple[Any, ...]:
    try:
        parsed = parse_params(params.encode())
    except ParamsError:  # parameters of another version
        return (params,)
    # A survival run leaves other people out than the others do, and each of its borders between
    # strata, and between groups that are compared for fairness, asks about those near it.
    selects = (parsed.analysis == "survival", parsed.splits)
    return parsed.cohort, parsed.outcome, parsed.gene_source, parsed.variants, selects
