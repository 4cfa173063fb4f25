"""Earlier runs of a dataset with per-variant statistics: what a new one is compared with before it prints any."""

from __future__ import annotations

from typing import Any

from governance.projection import Projection


def list_earlier(projection: Projection, run: bytes) -> list[dict[str, Any]]:
    """Of every other run on the dataset of `run` whose per-variant statistics are released, or sealed and still to be
    released: its parameters, the categories of its permit, whom it was granted, and whether this run reads them all.

    From the ledger alone. What nobody can release any more (rejected, cancelled, a consent changed) is left out.
    """
    fold = projection.fold
    asked = fold.permits[fold.runs[run].request["permit"]].request
    found: list[dict[str, Any]] = []
    for other, entry in fold.runs.items():
        permit, attempt = fold.permits[entry.request["permit"]].request, fold.attempts.get((other, entry.attempts))
        if other == run or permit["dataset"] != asked["dataset"] or attempt is None:
            continue
        if not attempt.seal or not attempt.seal["statistics"] or entry.ended not in ("", "released"):
            continue
        if not entry.ended and any(fold.consent(asked["dataset"], subject).epoch != epoch
                                   for subject, epoch, _ in attempt.granted):  # fmt: skip
            continue
        one = {"params": projection.params[other], "categories": permit["categories"],
               "people": [subject.hex() for subject, _, _ in attempt.granted],
               "readable": not permit["categories"] & ~asked["categories"]}  # fmt: skip
        if one not in found:
            found.append(one)
    return found
