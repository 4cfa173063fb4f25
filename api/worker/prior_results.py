"""What was asked before: per-variant results that a new one is compared with, and the cohorts of a permit."""

from __future__ import annotations

from typing import Any

from analytics.errors import ParamsError
from analytics.params import parse_params
from governance.readmodel.projection import Projection

COHORTS = 10  # that one permit is good for


def list_earlier(projection: Projection, run: bytes) -> list[dict[str, Any]]:
    """Of every other run on the dataset of `run` whose per-variant statistics are released, or sealed and still to be
    released: its parameters, the categories of its permit, whom it was granted, and whether this run reads them all.

    From the ledger alone. What nobody can release any more (rejected, cancelled, a consent changed) is left out.
    """
    replayed = projection.replayed
    asked = replayed.permits[replayed.runs[run].request["permit"]].request
    found: list[dict[str, Any]] = []
    for other, entry in replayed.runs.items():
        permit, attempt = (
            replayed.permits[entry.request["permit"]].request,
            replayed.attempts.get((other, entry.attempts)),
        )
        if other == run or permit["dataset"] != asked["dataset"] or attempt is None:
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
        one = {
            "params": projection.params[other],
            "categories": permit["categories"],
            "people": [subject.hex() for subject, _, _ in attempt.granted],
            "readable": not permit["categories"] & ~asked["categories"],
        }
        if one not in found:
            found.append(one)
    return found


def spends_too_many_cohorts(projection: Projection, run: bytes) -> bool:
    """Whether a run asks about a cohort of its own, and its permit's runs have asked about COHORTS others.

    Whether a run fails is an answer that no checker sees: more than so many people fit the rules, or fewer. Enough
    answers about cohorts that are chosen for it single a person out; so a permit has few, and the committee gives the
    next. A cohort: who is in it, by which outcome, and which of their variants count; other models ask nothing new.
    """
    replayed = projection.replayed
    permit = replayed.runs[run].request["permit"]
    asked = {
        _cohort(projection.params[other])
        for other, entry in replayed.runs.items()
        if other != run and entry.request["permit"] == permit and entry.attempts
    }
    return _cohort(projection.params[run]) not in asked and len(asked) >= COHORTS


def _cohort(params: str) -> tuple[Any, ...]:
    try:
        parsed = parse_params(params.encode())
    except ParamsError:  # of another version of the parameters
        return (params,)
    return parsed.cohort, parsed.outcome, parsed.gene_source, parsed.variants
