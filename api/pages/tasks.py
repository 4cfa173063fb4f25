"""What waits for a signed-in visitor, by role: the first thing on the home page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice

from api.http.services import Services
from api.pages import labels as words
from chain.vocabulary import PermitStatus, Role
from governance import release
from governance.invitations import invitations_by
from governance.orders import list_orders
from governance.readmodel import queries as register
from governance.sessions import Caller

MOST = 20  # tasks on a page
_MOST_READ = 60  # tasks that are made for a page, before those that read alike are one
_LOOKED_AT = 200  # newest entries of a list that are looked through for tasks


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do: `text` says what, `note` why or until when; `what` names a permit or dataset
    by (digest of its document, id), if it is about one. times: how many alike there are, which
    `list_href` lists.
    """

    href: str
    text: str
    note: str = ""
    what: tuple[str, str] | None = None
    list_href: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Start:
    """A page where a role's work begins."""

    href: str
    label: str
    note: str


STARTS: Mapping[int, tuple[Start, ...]] = {
    Role.ANALYST: (
        Start("/datasets", "Datasets", "What can be asked about, and how many people are willing."),
        Start("/permits/new", "Ask for a permit", "Write a plan, and say what shall be enforced."),
        Start("/runs", "Runs", "How far they are, and their results."),
    ),
    Role.COMMITTEE: (
        Start("/permits?status=requested", "Permits to vote on", "Each plan beside its request."),
        Start("/permits?status=approved", "Approved permits", "Any of them can be suspended."),
        Start("/roles", "Roles", "Who may do what; a quorum gives and ends roles."),
    ),
    Role.CHECKER: (
        Start("/reviews", "Outputs to check", "Each as its analyst would see it."),
        Start("/runs", "Runs", "Everything that was ever asked."),
    ),
    Role.REGISTRAR: (
        Start("/enrolments", "Invitations", "Invite a person whom you have seen; print a sheet."),
    ),
    Role.CUSTODIAN: (
        Start("/datasets", "Datasets", "What was brought in, and whether it can be read."),
        Start("/datasets/new", "Register a dataset", "Describe it for everybody."),
    ),
    Role.CLINICIAN: (
        Start(
            "/care", "Patients and plans", "Who appointed you, and the plans that you asked for."
        ),
        Start("/care/permit", "Ask for a permit for care", "The committee votes on the rules."),
    ),
    Role.AUDITOR: (
        Start("/trail", "Trail", "Every recorded step, and a check of each."),
        Start("/permits", "Permits", "Plans, requests and votes."),
    ),
    Role.PROTECTION: (
        Start("/permits?status=approved", "Approved permits", "Any of them can be suspended."),
        Start("/trail", "Trail", "Every recorded step."),
    ),
}


def starts_of(me: Caller) -> tuple[Start, ...]:
    """Where this visitor's work begins; patients have a page of their own."""
    if me.subject:
        return (
            Start("/me", "My data", "Who can use it now, who did, and how I stop it."),
            Start("/me/care", "My own care", "My clinician, and the plans of my care."),
        )
    return STARTS.get(me.role, ())


def tasks_of(services: Services, me: Caller) -> list[Task]:
    """What waits for this visitor, most urgent first, at most MOST; those that read alike are one."""
    if me.subject or me.role not in _TASKS:
        return []
    return merge(islice(_TASKS[me.role](services, me), _MOST_READ))[:MOST]


def merge(tasks: Iterable[Task]) -> list[Task]:
    """The tasks with those that read alike as one, which leads to the first, and to the list of them."""
    merged: dict[tuple[object, ...], Task] = {}
    for task in tasks:
        alike = (task.text, task.note, task.what)
        first = merged.get(alike)
        merged[alike] = replace(first, times=first.times + 1) if first else task
    return list(merged.values())


def _committee(services: Services, me: Caller) -> Iterator[Task]:
    votes = services.projection.replayed.permits
    permits = register.list_permits(services.engine, PermitStatus.REQUESTED, limit=_LOOKED_AT)
    own = bytes.fromhex(me.account[2:])
    for permit in permits:
        open_ = permit.expiry > services.clock() and permit.applicant != me.account
        if open_ and own not in votes[bytes.fromhex(permit.permit)].votes:
            yield Task(
                f"/permits/{permit.permit}",
                "Vote on",
                f"{permit.yes} yes, {permit.no} no so far",
                (permit.document, permit.permit),
            )


def _analyst(services: Services, me: Caller) -> Iterator[Task]:
    runs = register.list_runs(services.engine, analyst=me.account, limit=_LOOKED_AT)
    shut = register.shut_among(services.engine, runs)
    for run in runs:
        question = words.question(run.params) or "a run"
        if run.run in shut:
            yield Task(
                f"/runs/{run.run}",
                "See why a released result stays shut",
                question,
                list_href="/runs",
            )
        elif run.state == "released":
            yield Task(f"/runs/{run.run}", "Read the released result", question, list_href="/runs")
        elif register.failure_of(services.engine, run.run):
            yield Task(
                f"/runs/{run.run}", "See why no worker tries it again", question, list_href="/runs"
            )
    for permit in register.list_permits(
        services.engine, PermitStatus.APPROVED, me.account, limit=MOST
    ):
        if permit.expiry > services.clock():
            yield Task(
                f"/runs/new?permit={permit.permit}",
                "Ask for a run under",
                "",
                (permit.document, permit.permit),
            )


def _checker(services: Services, me: Caller) -> Iterator[Task]:
    for run in register.list_runs(services.engine, "sealed", limit=_LOOKED_AT):
        waiting = release.pending(services.engine, run.run, run.attempt, services.clock())
        if run.analyst != me.account and (waiting is None or me.account not in waiting.checkers):
            note = "one checker has approved it" if waiting else "nobody has approved it yet"
            yield Task(
                f"/runs/{run.run}/review",
                f"Check the output of run {words.short(run.run)}",
                f"{words.question(run.params)} ({note})",
            )


def _custodian(services: Services, me: Caller) -> Iterator[Task]:
    for dataset in register.list_datasets(services.engine, _LOOKED_AT):
        if dataset.custodian != me.account:
            continue
        what = (dataset.document, dataset.dataset)
        if not services.documents.title(dataset.document):
            yield Task(f"/datasets/{dataset.dataset}", "Send the description of", "", what)
        states = {
            entry["state"]
            for entry in services.projection.ingests_of(bytes.fromhex(dataset.dataset))
        }
        if "missing" in states:
            yield Task(
                f"/datasets/{dataset.dataset}",
                "Hand over a list of records of",
                "no run on it begins before",
                what,
            )
        elif not states:
            yield Task(f"/datasets/{dataset.dataset}", "Bring records into", "", what)


def _orders(services: Services, me: Caller) -> Iterator[Task]:
    for order in list_orders(services.engine, services.clock()):
        if not order.done and me.account not in order.signers:
            what = "a role change" if order.kind == "RoleChange" else "a registration to take back"
            yield Task(
                f"/roles#order-{order.digest[:8]}",
                f"Sign or leave {what}",
                f"{len(order.signers)} of {services.identity['quorum']} signatures",
                list_href="/roles",
            )


def _registrar(services: Services, me: Caller) -> Iterator[Task]:
    known = invitations_by(
        services.engine, services.projection.replayed, me.account, services.clock(), _LOOKED_AT
    )
    waiting = sum(invitation.state == "open" for invitation in known)
    expired = sum(invitation.state == "expired" for invitation in known)
    if waiting:
        yield Task("/enrolments", f"See {waiting} invitations that nobody accepted yet")
    if expired:
        yield Task("/enrolments", f"Invite again: {expired} invitations have expired")


def _clinician(services: Services, me: Caller) -> Iterator[Task]:
    for plan in register.list_plans(services.engine, clinician=me.account, limit=_LOOKED_AT):
        if plan.state == "sealed":
            yield Task(
                f"/care/{plan.run}",
                f"Open a plan of patient {words.short(plan.subject)}, and countersign or end it",
            )
        elif register.failure_of(services.engine, plan.run):
            yield Task(f"/care/{plan.run}", "See why a plan could not be drawn")


_TASKS: Mapping[int, Callable[[Services, Caller], Iterator[Task]]] = {
    Role.COMMITTEE: lambda services, me: chain(_orders(services, me), _committee(services, me)),
    Role.REGISTRAR: _registrar,
    Role.ANALYST: _analyst,
    Role.CHECKER: _checker,
    Role.CLINICIAN: _clinician,
    Role.CUSTODIAN: _custodian,
}
