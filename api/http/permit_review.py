"""A permit's review as an answer: rounded numbers, what changed in the code, earlier questions."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from analytics.code import Manifest, changes_between, code_hash, manifest_of
from analytics.disclosure.rounding import round_count
from api.http.code_manifests import get_manifest, put_manifest, write_manifest
from api.http.routes.serializers import show_permit
from api.http.services import Services
from governance.errors import BucketUnavailable, NotFound, ObjectAltered
from governance.permit_review import count_willing, earlier_permits, last_approved
from governance.readmodel.tables import Permit

MOST_CHANGES = 100  # lines of what differs between two codes


def describe_review(services: Services, permit: Permit) -> dict[str, Any]:
    """{willing, datasetQuestions, code, earlier} of a permit, as the committee reads it."""
    return {
        "willing": willing(services, permit),
        "datasetQuestions": questions_about(services, permit.dataset),
        "code": _describe_code(services, permit),
        "earlier": [
            {
                name: describe_permit(services, other.permit)[name]
                for name in ("permit", "title", "dataset", "status", "expiry")
            }
            | {"questions": [run.params for run in other.runs], "runs": other.count}
            for other in earlier_permits(services.engine, permit)
        ],
    }


def describe_permit(services: Services, permit: Permit) -> dict[str, Any]:
    """A permit of the register, with its plan's title and how much of it is used."""
    title = services.documents.title(permit.document)
    return show_permit(permit, title, len(questions_under(services, permit.permit)))


def questions_under(services: Services, permit: str) -> list[dict[str, Any]]:
    """The different questions that runs of a permit have asked: {params, current}, the hash of the
    parameters and whether the dataset's records are still the same.
    """
    replayed = services.projection.replayed
    questions, name = replayed.questions, bytes.fromhex(permit)
    records = questions.records_of(replayed.permits[name].request["dataset"])
    return [
        {"params": asked.params.hex(), "current": asked.records == records}
        for asked in questions.under(name).values()
    ]


def questions_about(services: Services, dataset: str) -> int:
    """How many different questions were asked about a dataset, under all its permits."""
    return services.projection.replayed.questions.about.get(bytes.fromhex(dataset), 0)


def willing(services: Services, permit: Permit) -> int | None:
    """How many people's consents allow what the permit asks for, rounded; None below ten."""
    count = count_willing(
        services.engine, permit.dataset, permit.need, permit.categories, services.clock()
    )
    return round_count(count)


def keep_own_manifest(services: Services, code: str) -> None:
    """Keep the manifest of a requested permit's code if it is this service's own: a later release
    cannot tell any more what this one was. The applicant can send it again if the bucket is away.
    """
    if code == running_code():
        with suppress(BucketUnavailable):
            put_manifest(services.bucket, code, write_manifest(manifest_of()))


def _describe_code(services: Services, permit: Permit) -> dict[str, Any]:
    before = last_approved(services.engine, permit)
    changes = None
    if before is not None:
        old, new = _manifest(services, before.code), _manifest(services, permit.code)
        changes = changes_between(old, new) if old and new else None
    if changes is not None and len(changes) > MOST_CHANGES:
        left = len(changes) - MOST_CHANGES
        changes = [*changes[:MOST_CHANGES], f"and {left} more: the manifests are at /code/HASH"]
    return {
        "current": permit.code == running_code(),
        "comparedWith": before.permit if before else None,
        "changes": changes,
    }


def _manifest(services: Services, code: str) -> Manifest | None:
    if code == running_code():
        return manifest_of()
    try:
        return get_manifest(services.bucket, code)
    except (NotFound, ObjectAltered, BucketUnavailable):
        return None


@cache
def running_code() -> str:
    """The code hash of this process's own installation, at its first question."""
    return code_hash().hex()
