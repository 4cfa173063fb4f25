"""Pages of the trail: a list with filters, and the verification of one step."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from eth_utils.address import is_address, to_checksum_address
from fastapi import APIRouter, Path, Query, Request, Response

from api.http.auth import Parts
from api.http.services import Services
from api.pages import event_text as sentences
from api.pages.rendering import Names, PageRoute, render
from api.pages.session import OwnOrigin, SignedIn, Visitor
from chain.vocabulary import Role
from governance.errors import NotAllowed, RequestInvalid, reasons
from governance.readmodel.trail_queries import (
    DAY,
    Step,
    Wanted,
    care_days,
    find_step,
    is_care,
    list_steps,
)
from governance.sessions import Caller
from governance.step_verification import Recheck

router = APIRouter(route_class=PageRoute)
PAGE = 20
SHOWN_EVENTS = 12  # of one step
_ONE_AT_A_TIME = threading.Lock()  # a check executes all rules again
MOST_DAYS = 366  # counts of care on a page; the filter's days lead to others
LATER = 1 << 53  # more than any step's number
CARE_KINDS = ("care", "opening")  # of the filter
ID, NUMBER = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9]{1,15}")
Number = Annotated[str, Query(pattern=r"^[0-9]{0,15}$")]
Count = Annotated[int, Path(ge=1, le=(1 << 53) - 1)]


@dataclass(frozen=True, slots=True)
class Row:
    """One step for the template; `details` is (event, fields) of the events that this visitor may
    see.
    """

    step: Step
    kind: str
    sentence: str
    refused: bool
    run: str
    details: list[tuple[str, list[tuple[str, str]]]]
    hidden: int


@dataclass(frozen=True, slots=True)
class CareDay:
    """How many steps of patients' own care a day has: the times of single ones are shown to
    auditors and data protection alone.
    """

    day: int
    count: int


@router.get("/trail")
def show_trail(
    request: Request,
    services: Parts,
    visitor: Visitor,
    kind: str = "",
    subject: str = "",
    run: str = "",
    actor: str = "",
    reason: str = "",
    first: str = "",
    last: str = "",
    since: str = "",
    until: str = "",
    before: Number = "",
) -> Response:
    """Steps by pages, newest first. Only auditors see single people in them, and more than a count
    of each day of patients' own care.
    """
    everything = _sees_everything(visitor)
    if subject and not everything:
        raise NotAllowed(
            "only an auditor may look for a person", "a patient finds her own uses on her own page"
        )
    given = {
        "kind": kind,
        "subject": subject,
        "run": run,
        "actor": actor,
        "reason": reason,
        "first": first,
        "last": last,
        "since": since,
        "until": until,
    }
    wanted = replace(_wanted(given), care=everything)
    steps = list_steps(services.engine, wanted, int(before or 0), PAGE + 1)
    shown = steps[:PAGE]
    more = len(steps) > PAGE
    days = (
        []
        if everything or _names_steps(given)
        else _care_days(services, wanted, shown, before, more)
    )
    names = Names(services)
    return render(
        request,
        "trail.html",
        rows=_with_days([_row(step, names, everything, subject) for step in shown], days),
        given=given,
        kinds=sentences.KINDS,
        reasons=reasons().values(),
        everything=everything,
        older=_older(given, shown) if more else "",
        filtered=any(given.values()),
        before=before,
    )


@router.post("/pages/trail/{count}/verify", dependencies=[OwnOrigin])
def verify_step(count: Count, request: Request, services: Parts, me: SignedIn) -> Response:
    """Check one step again and show each check with its time."""
    step = find_step(services.engine, count)
    if is_care(services.engine, step) and not _sees_everything(me):
        raise NotAllowed(
            "a step of a patient's own care is shown to auditors alone",
            "a patient sees her own on the pages of her plans",
        )
    with _ONE_AT_A_TIME:
        checks = Recheck(
            services.ledger,
            services.engine,
            services.projection,
            services.bucket,
            services.witness,
            step,
        ).checks()
    row = _row(step, Names(services), _sees_everything(me), "")
    return render(
        request,
        "part-verify.html" if "hx-request" in request.headers else "verify.html",
        row=row,
        checks=checks,
        failed=sum(check.state == "no" for check in checks),
        unchecked=sum(check.state == "not-checked" for check in checks),
    )


def _older(given: dict[str, str], shown: list[Step]) -> str:
    """The query of the next page: the same filter, before this page's last step."""
    kept = {name: value for name, value in given.items() if value}
    return urlencode(kept | {"before": str(shown[-1].count)})


def _names_steps(given: dict[str, str]) -> bool:
    """Whether a filter asks for more than days and everything, or care: with a name or a block in it, a
    day's count would tell of single steps.
    """
    kinds = ("", *CARE_KINDS)
    others = [value for name, value in given.items() if name not in ("kind", "since", "until")]
    return any(others) or given["kind"] not in kinds


def _care_days(
    services: Services, wanted: Wanted, shown: list[Step], before: str, more: bool
) -> list[CareDay]:
    """The days from the one of the step before this page to that of its oldest step, at most
    MOST_DAYS.
    """
    earlier = list_steps(services.engine, Wanted(), int(before) + 1, 1) if before else []
    newest = earlier[0].time // DAY if earlier else None
    oldest = shown[-1].time // DAY if shown and more else 0
    counted = care_days(services.engine, wanted.since, wanted.until)
    return [
        CareDay(day, counted[day])
        for day in sorted(counted, reverse=True)
        if oldest <= day and (newest is None or day < newest)
    ][:MOST_DAYS]


def _with_days(rows: list[Row], days: list[CareDay]) -> list[Row | CareDay]:
    """Each day above the steps of that day, newest first."""
    merged: list[Row | CareDay] = [*rows, *days]
    # Of one day, its count comes first; the steps stay in their order.
    return sorted(
        merged,
        key=lambda row: (
            (-row.day, -LATER)
            if isinstance(row, CareDay)
            else (-(row.step.time // DAY), -row.step.count)
        ),
    )


def _sees_everything(visitor: Caller | None) -> bool:
    return visitor is not None and visitor.role in (Role.AUDITOR, Role.PROTECTION)


def _row(step: Step, names: Names, everything: bool, subject: str) -> Row:
    shown = sentences.details(step.events, everything, subject)
    run = next((event.run for event in step.events if event.run), "")
    return Row(
        step,
        sentences.kind_of(step),
        sentences.sentence(step, names),
        sentences.is_refusal(step),
        run,
        shown[:SHOWN_EVENTS],
        len(step.events) - min(len(shown), SHOWN_EVENTS),
    )


def _wanted(given: dict[str, str]) -> Wanted:
    """The filter as a query for the read model. Raises RequestInvalid."""
    kind, actor = given["kind"], given["actor"].strip()
    if kind and kind not in sentences.KINDS:
        raise RequestInvalid("there is no such kind of step", "choose one of the list")
    if not all(ID.fullmatch(given[name]) for name in ("subject", "run") if given[name]):
        raise RequestInvalid("a person and a run are 64 hex digits each", "copy them from a step")
    if not all(
        NUMBER.fullmatch(given[name]) for name in ("reason", "first", "last") if given[name]
    ):
        raise RequestInvalid(
            "a reason and a block are numbers", "docs/reasons.md lists the reasons"
        )
    if actor and not is_address(actor):
        raise RequestInvalid("an actor is an address: 0x and 40 hex digits", "copy it from a step")
    return Wanted(
        sentences.KINDS[kind][1] if kind else (),
        given["subject"],
        given["run"],
        to_checksum_address(actor) if actor else "",
        int(given["reason"] or 0),
        int(given["first"] or 0),
        int(given["last"] or 0),
        _start_of(given["since"]),
        _start_of(given["until"], 1),
    )


def _start_of(date: str, later: int = 0) -> int:
    """Seconds at which a UTC day begins (`later` days after it), 0 for none.

    Raises RequestInvalid.
    """
    if not date:
        return 0
    try:
        return (
            int(datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
            + later * 86_400
        )
    except ValueError:
        raise RequestInvalid(
            "a day is written as 2026-11-24", "choose it from the calendar"
        ) from None
