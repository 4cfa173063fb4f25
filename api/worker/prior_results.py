"""Earlier per-variant results to compare a new one with."""

from __future__ import annotations

from typing import Any

from governance.readmodel.projection import Projection


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
