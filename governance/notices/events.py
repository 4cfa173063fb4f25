"""Makes notices of the ledger's events, and of what is due at a time: expiries, settled
withdrawals.

1. A cursor names the last event of which notices were made; only later ones are read.
2. Notices, reminders and the cursor are written in one transaction, which locks the cursor: of
   several processes one at a time goes on, and a killed one leaves nothing half done.
3. A reminder is a question for later. Only those that are due are asked.
Blocks are written in order and complete (governance/readmodel/projection.py), so no event appears
before the cursor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, select, tuple_, update

from chain.vocabulary import ConsentStatus, PermitStatus, Role
from governance.notices import inbox
from governance.notices.inbox import News, holders_of
from governance.readmodel.database import insert_new, upsert
from governance.readmodel.queries import newest_step, runs_with
from governance.readmodel.tables import (
    Block,
    Consent,
    Event,
    Invitation,
    NoticeCursor,
    Permit,
    Reminder,
    Run,
)
from governance.rules.replayed import ReplayedState
from governance.rules.withdrawals import WORKER_REASONS
from governance.withdrawal_effects import Effect, withdrawals_of

BATCH = 1000  # events of one transaction
MOST_DUE = 100  # reminders of one transaction
DAY = 86_400
PERMIT_LEAD, CONSENT_LEAD = 14 * DAY, 30 * DAY  # before the end; never before half the time
SOONEST, LATEST = 5, 3600  # seconds until a withdrawal that has not settled is asked about again
LONGEST = 30 * DAY  # a withdrawal that has not settled by then is not asked about again
MOST_RUNS = 200  # of a person, the newest, that are asked about after a withdrawal
_CURSOR = "events"
_PERMIT_EVENTS: Mapping[str, str] = {
    "Voted": "permit-voted",
    "PermitApproved": "permit-approved",
    "PermitRejected": "permit-rejected",
    "PermitSuspended": "permit-suspended",
}
_RUN_EVENTS: Mapping[str, str] = {
    "Sealed": "run-sealed",
    "Released": "run-released",
    "RunRefused": "run-refused",
    "ReleaseRefused": "run-held-back",
    "Rejected": "output-refused",
}
# Of plans of patients' own care, for their clinicians.
_PLAN_EVENTS: Mapping[str, str] = {
    "Sealed": "plan-drawn",
    "RunRefused": "plan-refused",
    "ReleaseRefused": "plan-refused",
}
_OF_PLANS = ("AccessGranted", "Countersigned")
NAMES = {
    "PermitRequested",
    *_PERMIT_EVENTS,
    *_RUN_EVENTS,
    "Countersigned",
    "AccessGranted",
    "ConsentGranted",
    "ConsentRevoked",
    "Enrolled",
}


@dataclass(slots=True)
class _Page:
    """Events of one transaction, and what is known about their nouns."""

    news: list[News] = field(default_factory=list)
    reminders: list[Reminder] = field(default_factory=list)
    permits: dict[str, Permit] = field(default_factory=dict)
    analysts: dict[str, str] = field(default_factory=dict)
    plans: dict[str, tuple[str, str]] = field(default_factory=dict)  # clinician, patient
    decided: set[str] = field(default_factory=set)  # transactions that ended a vote
    consents: dict[tuple[str, str], Consent] = field(default_factory=dict)
    invitations: dict[str, tuple[str, str]] = field(default_factory=dict)


def derive(engine: Engine, replayed: ReplayedState, now: int) -> bool:
    """Make the notices of the next BATCH events; returns whether there may be more.

    The replayed state MUST be at the newest head: it says who has a role.
    """
    with engine.connect() as connection:
        newest = connection.execute(select(func.max(Block.number))).scalar()
        cursor = _cursor(connection)
    if newest is None or (cursor is not None and cursor[0] > newest):
        return False
    with engine.begin() as connection:
        block, position = lock(connection)
        newest = connection.execute(select(func.max(Block.number))).scalar() or 0
        events = connection.execute(
            select(
                Event.block,
                Event.position,
                Event.tx,
                Event.name,
                Event.step,
                Event.fields,
                Block.timestamp,
            )
            .join(Block, Block.number == Event.block)
            .where(
                tuple_(Event.block, Event.position) > (block, position),
                Event.block <= newest,
            )
            # In the order of the primary key, and all kinds: with a list of names, a database may
            # read every event of these names since the beginning.
            .order_by(Event.block, Event.position)
            .limit(BATCH)
        ).all()
        known = [event for event in events if event.name in NAMES]
        page = _read(connection, known)
        for event in known:
            _take(page, event, replayed, now)
        young = [news for news in page.news if news.at > now - inbox.KEPT_SECONDS]
        inbox.add(connection, young)
        upsert(connection, Reminder, page.reminders)
        full = len(events) == BATCH
        if full:
            block, position = events[-1].block, events[-1].position
        elif newest >= block:  # lower while the rows are derived anew
            block, position = newest + 1, -1
        connection.execute(update(NoticeCursor).values(block=block, position=position))
    return full


def lock(connection: Connection) -> tuple[int, int]:
    """Keep other processes out until the end of the transaction; where the cursor is."""
    insert_new(connection, NoticeCursor, [NoticeCursor(name=_CURSOR, block=0, position=-1)])
    connection.execute(update(NoticeCursor).values(name=NoticeCursor.name))
    cursor = _cursor(connection)
    return cursor or (0, -1)


def _cursor(connection: Connection) -> tuple[int, int] | None:
    row = connection.execute(select(NoticeCursor.block, NoticeCursor.position)).one_or_none()
    return (row.block, row.position) if row else None


def _read(connection: Connection, events: Sequence[Any]) -> _Page:
    """What the rows say about the nouns of these events: one query for each kind of noun."""
    page = _Page()
    fields = [(event.name, json.loads(event.fields), event.tx) for event in events]
    permits = {known["permit"] for _, known, _ in fields if "permit" in known}
    runs = {known["run"] for name, known, _ in fields if name in _RUN_EVENTS or name in _OF_PLANS}
    votes = {tx for name, _, tx in fields if name == "Voted"}
    agreed = {
        (known["dataset"], known["subject"])
        for name, known, _ in fields
        if name == "ConsentGranted"
    }
    enrolled = {known["subject"] for name, known, _ in fields if name == "Enrolled"}
    if permits:
        rows = connection.execute(select(Permit).where(Permit.permit.in_(permits)))
        page.permits = {row.permit: Permit(**row._mapping) for row in rows}
    if runs:
        asked = connection.execute(
            select(Run.run, Run.analyst, Run.subject).where(Run.run.in_(runs))
        ).all()
        page.analysts = {run: analyst for run, analyst, subject in asked if not subject}
        page.plans = {run: (clinician, subject) for run, clinician, subject in asked if subject}
    if votes:
        ends = select(Event.tx).where(
            Event.tx.in_(votes), Event.name.in_(("PermitApproved", "PermitRejected"))
        )
        page.decided = set(connection.execute(ends).scalars())
    if agreed:
        query = select(Consent).where(tuple_(Consent.dataset, Consent.subject).in_(agreed))
        page.consents = {
            (row.dataset, row.subject): Consent(**row._mapping) for row in connection.execute(query)
        }
    if enrolled:
        known_invitations = select(Invitation.subject, Invitation.by, Invitation.digest)
        page.invitations = {
            row.subject: (row.by, row.digest)
            for row in connection.execute(
                known_invitations.where(Invitation.subject.in_(enrolled)).order_by(Invitation.at)
            )
        }
    return page


def _take(page: _Page, event: Any, replayed: ReplayedState, now: int) -> None:
    """Add what one event means for whom."""
    fields: dict[str, Any] = json.loads(event.fields)
    name, at, step = event.name, event.timestamp, str(event.step)
    if name == "PermitRequested":
        permit = fields["permit"]
        page.news += [
            News(account, "permit-asked", step, permit, at)
            for account in holders_of(replayed, Role.COMMITTEE, now)
            if account != fields["applicant"]
        ]
    elif name in _PERMIT_EVENTS:
        _take_permit(page, name, fields["permit"], event)
    elif fields.get("run") in page.plans:
        _take_plan(page, name, fields, event)
    elif name in _RUN_EVENTS:
        _take_run(page, name, fields, event, replayed, now)
    elif name == "AccessGranted":
        # Once a run, however many attempts it has and objects it reads.
        run = fields["run"]
        page.news.append(News(fields["subject"], "data-used", run, run, at))
    elif name == "Enrolled" and fields["subject"] in page.invitations:
        registrar, digest = page.invitations[fields["subject"]]
        page.news.append(News(registrar, "invitation-accepted", step, digest, at))
    elif name in ("ConsentGranted", "ConsentRevoked"):
        page.reminders += _reminders_of_consent(page, name, fields, event, now)


def _take_permit(page: _Page, name: str, permit: str, event: Any) -> None:
    row = page.permits.get(permit)
    if row is None or (name == "Voted" and event.tx in page.decided):
        return
    page.news.append(
        News(row.applicant, _PERMIT_EVENTS[name], str(event.step), permit, event.timestamp)
    )
    if name == "PermitApproved":
        due = _before(row.expiry, event.timestamp, PERMIT_LEAD)
        page.reminders.append(
            _reminder(row.applicant, "permit-expiring", permit, event.timestamp, due)
        )


def _take_run(
    page: _Page,
    name: str,
    fields: Mapping[str, Any],
    event: Any,
    replayed: ReplayedState,
    now: int,
) -> None:
    run = fields["run"]
    analyst = page.analysts.get(run)
    if analyst is None:  # a request that was refused at once made no run
        return
    if name == "RunRefused" and fields["reason"] in WORKER_REASONS:
        return  # the worker's own fault: the run goes on
    step = str(event.step)
    page.news.append(News(analyst, _RUN_EVENTS[name], step, run, event.timestamp))
    if name == "Sealed":
        page.news += [
            News(account, "output-waits", step, run, event.timestamp)
            for account in holders_of(replayed, Role.CHECKER, now)
            if account != analyst
        ]


def _take_plan(page: _Page, name: str, fields: Mapping[str, Any], event: Any) -> None:
    """A plan of a patient's own care: no checker hears of it, and she of its signature."""
    run, step, at = fields["run"], str(event.step), event.timestamp
    clinician, patient = page.plans[run]
    if name == "AccessGranted":
        page.news.append(News(patient, "plan-begun", run, run, at))
    elif name == "Countersigned":
        page.news.append(News(patient, "plan-signed", step, run, at))
    elif name in _PLAN_EVENTS and fields.get("reason") not in WORKER_REASONS:
        page.news.append(News(clinician, _PLAN_EVENTS[name], step, run, at))


def _reminders_of_consent(
    page: _Page, name: str, fields: Mapping[str, Any], event: Any, now: int
) -> Iterator[Reminder]:
    subject, dataset, at = fields["subject"], fields["dataset"], event.timestamp
    narrows = name == "ConsentRevoked" or int(fields["epoch"]) > 0  # epoch 0 takes nothing back
    if narrows and at > now - LONGEST:
        yield _reminder(subject, "use-stopped", event.tx, at, at)
    consent = page.consents.get((dataset, subject))
    if name == "ConsentGranted" and consent is not None:
        due = _before((consent.until_day + 1) * DAY, at, CONSENT_LEAD)
        yield _reminder(subject, "consent-expiring", dataset, at, due)


def _before(end: int, begin: int, lead: int) -> int:
    return end - max(0, min(lead, (end - begin) // 2))


def _reminder(recipient: str, kind: str, about: str, since: int, due: int) -> Reminder:
    name = sha256(f"{kind}:{recipient}:{about}".encode()).hexdigest()
    return Reminder(id=name, recipient=recipient, kind=kind, about=about, since=since, due=due)


def remind(engine: Engine, now: int) -> bool:
    """Ask what is due; returns whether there may be more."""
    with engine.connect() as connection:
        query = select(Reminder).where(Reminder.due <= now).order_by(Reminder.due).limit(MOST_DUE)
        due = [Reminder(**row._mapping) for row in connection.execute(query)]
    if not due:
        return False
    # Withdrawals are read outside the lock: what they are asked about takes longest.
    settled = {row.id: _settled(engine, row) for row in due if row.kind == "use-stopped"}
    with engine.begin() as connection:
        lock(connection)
        for row in due:
            # Another process, or a later consent, may have changed it meanwhile.
            same = (Reminder.id == row.id, Reminder.due == row.due)
            again = settled.get(row.id) is None and row.kind == "use-stopped"
            if again and now < row.since + LONGEST:
                later = now + max(SOONEST, min(LATEST, (now - row.since) // 2))
                connection.execute(update(Reminder).where(*same).values(due=later))
            elif connection.execute(delete(Reminder).where(*same)).rowcount:
                inbox.add(connection, _answers(connection, row, bool(settled.get(row.id)), now))
    return len(due) == MOST_DUE


def _settled(engine: Engine, row: Reminder) -> bool | None:
    """Whether the withdrawal stopped a use of hers, None while that is not known yet."""
    runs = runs_with(engine, row.recipient, MOST_RUNS)
    upto = int(newest_step(engine)["count"])
    effects = [
        effect
        for withdrawal in withdrawals_of(engine, row.recipient, upto, runs)
        if withdrawal.tx == row.about
        for effect in withdrawal.effects
        if effect.use.was in ("computing", "sealed")
    ]
    if not all(effect.ended for effect in effects):
        return None
    return any(map(_was_stopped, effects))


def _was_stopped(effect: Effect) -> bool:
    use = effect.use
    return bool(use.was == "sealed" or use.sealed or effect.stopped is not None or use.next_attempt)


def _answers(connection: Connection, row: Reminder, stopped: bool, now: int) -> Iterable[News]:
    """The notice that a reminder has become, if what it is about is as it was."""
    end: int | None = None
    if row.kind == "use-stopped":
        end = 0 if stopped else None
    elif row.kind == "permit-expiring":
        query = select(Permit.expiry).where(
            Permit.permit == row.about,
            Permit.status == int(PermitStatus.APPROVED),
            Permit.expiry > now,
        )
        end = connection.execute(query).scalar()
    elif row.kind == "consent-expiring":
        day = connection.execute(
            select(Consent.until_day).where(
                Consent.dataset == row.about,
                Consent.subject == row.recipient,
                Consent.status == int(ConsentStatus.LIVE),
                Consent.until_day >= now // DAY,
            )
        ).scalar()
        end = day
    if end is None:
        return []
    return [News(row.recipient, row.kind, f"{row.about}:{end}", row.about, now)]
