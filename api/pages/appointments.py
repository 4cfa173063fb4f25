"""A patient's own care: whom she appointed for it, and the form by which she appoints or ends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from api.http.auth import Parts
from api.http.services import Services
from api.pages.forms import DEADLINE_SECONDS
from api.pages.labels import DAY, day
from api.pages.patient import Hex32
from api.pages.rendering import Names, PageRoute, render
from api.pages.session import Patient
from chain.vocabulary import Role
from governance import care
from governance.errors import NotFound, RequestInvalid
from governance.notices.inbox import holders_of
from governance.readmodel import queries as register
from governance.readmodel.tables import Consent

router = APIRouter(route_class=PageRoute)
YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class OwnCare:
    """One dataset for her decision; allowed: whether she allows her own care in it now.

    end: the message that ends the appointment, None where there is none to end.
    """

    dataset: str
    custodian: str
    consent: Consent | None
    allowed: bool
    appointed: care.Appointed | None
    end: dict[str, Any] | None


@router.get("/me/care")
def show_own_care(request: Request, services: Parts, me: Patient) -> Response:
    """Whom she appointed in each dataset, with the form of another appointment."""
    now = services.clock()
    return render(
        request,
        "my-care.html",
        datasets=_own_care(services, me.subject),
        clinicians=_clinicians(services),
        today=_iso(now // DAY),
        usual=_iso(now // DAY + YEAR_DAYS),
        notice=care.notice_points(),
    )


@router.get("/me/care/appoint")
def show_appointment(
    request: Request,
    services: Parts,
    me: Patient,
    dataset: Hex32 = "",
    clinician: str = "",
    until: str = "",
    wish: str = "",
) -> Response:
    """Exactly what she would sign, with the notice about care. Raises RequestInvalid, NotFound."""
    chosen = next(
        (own_care for own_care in _own_care(services, me.subject) if own_care.dataset == dataset),
        None,
    )
    if chosen is None:
        raise NotFound("there is no such dataset", "choose it on the page of your own care")
    if chosen.consent is None or not chosen.allowed:
        raise RequestInvalid(
            "you do not allow your own care in this dataset",
            "give that permission first; then appoint your clinician",
        )
    if clinician not in {account for account, _, _ in _clinicians(services)}:
        raise RequestInvalid("nobody with this account is a clinician here", "choose from the list")
    if wish not in ("yes", "no"):
        raise RequestInvalid("the form does not say whether you want to open plans", "choose one")
    message = _message(services, chosen.consent, _until(services, chosen.consent, until))
    return render(
        request,
        "appoint.html",
        chosen=chosen,
        clinician=clinician,
        message=message | {"resultToMe": "true" if wish == "yes" else "false"},
        notice=care.notice_points(),
    )


def _own_care(services: Services, subject: str) -> list[OwnCare]:
    """Her datasets: those with a live appointment first, then those in which she allows her care."""
    replayed, now = services.projection.replayed, services.clock()
    consents = {row.dataset: row for row in register.consents_of(services.engine, subject)}
    listed = care.appointments(services.engine, replayed, now, subject=subject)
    appointed = {appointment.dataset: appointment for appointment in listed}
    rows = []
    for row in register.list_datasets(services.engine):
        consent, last = consents.get(row.dataset), appointed.get(row.dataset)
        name = bytes.fromhex(row.dataset)
        denied = replayed.care_denied(name, bytes.fromhex(subject), 2**32 - 1, now // DAY)
        end = None
        if consent is not None and last is not None and last.live:
            wish = "true" if last.result_to_me else "false"
            end = _message(services, consent, now // DAY - 1) | {"resultToMe": wish}
        rows.append(OwnCare(row.dataset, row.custodian, consent, not denied, last, end))
    return sorted(rows, key=lambda own_care: (own_care.end is None, not own_care.allowed))


def _message(services: Services, consent: Consent, until_day: int) -> dict[str, Any]:
    """An appointment but for its clinician, whom her browser hides, and her wish."""
    name, subject = bytes.fromhex(consent.dataset), bytes.fromhex(consent.subject)
    return {
        "subject": consent.subject,
        "dataset": consent.dataset,
        "clinician": "",
        "epoch": consent.epoch,
        "replaces": services.projection.replayed.appointment(name, subject).version,
        "untilDay": until_day,
        "noticeHash": care.notice_hash().hex(),
        "deadline": services.clock() + DEADLINE_SECONDS,
    }


def _clinicians(services: Services) -> list[tuple[str, str, str]]:
    """(account, name, institution) of those who are clinicians now and have a name, by name: nobody
    is chosen by an address alone.
    """
    names = Names(services)
    holders = holders_of(services.projection.replayed, Role.CLINICIAN, services.clock())
    listed = [(account, *names.of(account)) for account in holders]
    return sorted(
        (clinician for clinician in listed if clinician[1]),
        key=lambda clinician: (clinician[1], clinician[0]),
    )


def _until(services: Services, consent: Consent, text: str) -> int:
    """The last day that she chose, in days since 1970. Raises RequestInvalid."""
    today = services.clock() // DAY
    try:
        chosen = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise RequestInvalid(
            "a day is written as 2026-11-24", "choose it from the calendar"
        ) from None
    last = int(chosen.timestamp()) // DAY
    if not today <= last <= consent.until_day:
        raise RequestInvalid(
            "the last day is not between today and the end of your permission",
            f"choose one until {day(consent.until_day)}",
        )
    return last


def _iso(number: int) -> str:
    return datetime.fromtimestamp(number * DAY, UTC).strftime("%Y-%m-%d")
