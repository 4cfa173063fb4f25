"""A patient's own pages: who may use her data, who did, giving permission, and stopping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.client.client import Client, wire
from api.client.results import withdrawal_receipt
from api.http.auth import Parts
from api.http.routes.serializers import show_withdrawal
from api.http.services import Services
from api.pages import labels as words
from api.pages.labels import DAY
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import Patient
from chain.vocabulary import ConsentStatus
from governance.consent import PRESETS, notice_points, offer
from governance.errors import NotFound, reason_of
from governance.readmodel import queries as register
from governance.readmodel.queries import AccessDetail
from governance.readmodel.tables import Consent

router = APIRouter(route_class=PageRoute)
DEADLINE_SECONDS = 3600
PAGE = 20  # runs that used her data
Hex32 = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]
_SAID = {
    "released": "A result with your data in it was released.",
    "denied": "Your data was left out: {}",
    "superseded": "It was begun again later; nothing of this try was kept.",
    "sealed": "It has finished; two checkers look at the result before anybody else does.",
    "held back": "It has finished, but you withdrew before: the ledger refuses to release it with you in it.",
    "in progress": "It is being computed now.",
    "ended": "It ended; nothing of it left.",
}


@dataclass(frozen=True, slots=True)
class Use:
    """What one run wanted to know and did with her data: its newest attempt first, with what came of each."""

    run: str
    dataset: str
    question: str
    tries: list[tuple[AccessDetail, str]]


@dataclass(frozen=True, slots=True)
class Permission:
    """One dataset as she decides on it; `used` is the second of the last use, 0 for none; `records`: hers in it."""

    dataset: str
    custodian: str
    consent: Consent | None
    live: bool
    used: int
    records: int


@router.get("/me")
def show_me(request: Request, services: Parts, me: Patient, page: PageNumber = 1) -> Response:
    """Who can use her data now, and who did: a page of runs at a time, newest first."""
    names = register.runs_with(services.engine, me.subject, PAGE + 1, PAGE * (page - 1))
    return render(
        request,
        "me.html",
        permissions=_permissions(services, me.subject),
        uses=_uses(services, me.subject, names[:PAGE]),
        page=page,
        more=len(names) > PAGE,
    )


@router.get("/me/permission")
def show_permission(
    request: Request, services: Parts, me: Patient, dataset: Hex32 = "", preset: str = ""
) -> Response:
    """Choose a dataset and one of the ready-made permissions; then exactly what is signed."""
    permissions = _permissions(services, me.subject)
    chosen = next((one for one in permissions if one.dataset == dataset), None)
    if chosen is None or preset not in PRESETS:
        return render(
            request,
            "permission.html",
            permissions=permissions,
            presets=PRESETS.values(),
            dataset=dataset,
        )
    now = services.clock()
    before = chosen.consent
    offered = offer(
        PRESETS[preset],
        bytes.fromhex(me.subject),
        bytes.fromhex(dataset),
        before.epoch if before else 0,
        before.version if before else 0,
        now,
        now + DEADLINE_SECONDS,
    )
    # Salt and commitment are drawn in her browser: the service never knows what connects the ledger with her terms.
    message = wire("Grant", offered.message) | {"termsCommitment": ""}
    return render(
        request,
        "agree.html",
        chosen=chosen,
        preset=PRESETS[preset],
        message=message,
        terms=offered.terms.decode(),
        notice=notice_points(),
        narrows=_narrows(before, message, chosen.live),
    )


@router.get("/me/stop")
def show_stop(request: Request, services: Parts, me: Patient, dataset: Hex32 = "") -> Response:
    """What stopping will do, for one dataset or all that are live."""
    found = [
        one
        for one in _permissions(services, me.subject)
        if one.consent and one.live and dataset in ("", one.dataset)
    ]
    messages = [
        {"subject": me.subject, "dataset": one.dataset, "epoch": one.consent.epoch}
        for one in found
        if one.consent
    ]
    return render(
        request,
        "stop.html",
        messages=messages,
        every=not dataset,
        open_runs=_open_runs(services, me.subject, {one.dataset for one in found}),
    )


@router.get("/me/stopped")
def show_stopped(
    request: Request,
    services: Parts,
    me: Patient,
    tx: Annotated[list[Hex32], Query(max_length=64)] = [],  # noqa: B006
) -> Response:
    """What became of what she stopped; asks again by itself until everything has stopped."""
    return render(
        request, "stopped.html", withdrawals=_withdrawals(services, me.subject, tx), chosen=tx
    )


@router.get("/pages/me/stopped")
def show_stopped_part(
    request: Request,
    services: Parts,
    me: Patient,
    tx: Annotated[list[Hex32], Query(max_length=64)] = [],  # noqa: B006
) -> Response:
    """The part of that page that changes."""
    return render(
        request, "part-stopped.html", withdrawals=_withdrawals(services, me.subject, tx), chosen=tx
    )


@router.get("/pages/me/stopped/{tx}/receipt")
def fetch_withdrawal_receipt(services: Parts, me: Patient, tx: str) -> Response:
    """Her receipt of one withdrawal, as the command line writes it. Raises NotFound for another's."""
    found = _withdrawals(services, me.subject, [tx])
    if not found:
        raise NotFound("you have no such withdrawal", "look at your own list")
    reader = Client(services.audience, services.identity, subject=bytes.fromhex(me.subject))
    mined = register.find_receipt(services.engine, tx)
    receipt = withdrawal_receipt(reader, mined, found[0], services.witness())
    reader.close()
    return Response(
        receipt,
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="volens-withdrawal-{tx[:16]}.json"'},
    )


def _withdrawals(services: Services, subject: str, chosen: Sequence[str]) -> list[dict[str, Any]]:
    withdrawals, as_of = services.withdrawals_of(subject)
    found = [show_withdrawal(one, as_of) for one in withdrawals]
    return [one for one in found if not chosen or one["tx"] in chosen]


def _permissions(services: Services, subject: str) -> list[Permission]:
    today = services.clock() // DAY
    consents = {one.dataset: one for one in register.consents_of(services.engine, subject)}
    last = register.last_uses(services.engine, subject)
    found = []
    for one in register.list_datasets(services.engine):
        consent = consents.get(one.dataset)
        live = (
            consent is not None
            and consent.status == ConsentStatus.LIVE
            and consent.from_day <= today <= consent.until_day
        )
        listed = services.projection.records_of(bytes.fromhex(one.dataset))
        hers = sum(leaf.subject.hex() == subject for leaf in listed)
        found.append(
            Permission(one.dataset, one.custodian, consent, live, last.get(one.dataset, 0), hers)
        )
    return sorted(found, key=lambda one: (not one.live, not one.records))


def _uses(services: Services, subject: str, names: Sequence[str]) -> list[Use]:
    """Her accesses in these runs, one entry a run: a page of one row an object would hide what happened."""
    datasets = {permit.permit: permit.dataset for permit in register.list_permits(services.engine)}
    held = {
        (effect.use.run.hex(), effect.use.attempt)
        for one in services.withdrawals_of(subject, names)[0]
        for effect in one.effects
        if effect.use.was == "sealed" or effect.use.sealed
    }
    by_run: dict[str, list[tuple[AccessDetail, str]]] = {}
    for access in register.accesses_of(services.engine, subject, names):
        if access.state == "sealed" and (access.run, access.attempt) in held:
            access = replace(access, state="held back")
        why = reason_of(access.reason).sentence if access.reason else ""
        by_run.setdefault(access.run, []).append((access, _SAID[access.state].format(why)))
    asked = register.params_of(services.engine, names)
    return [
        Use(run, datasets[tries[0][0].permit], words.question(asked[run]), tries)
        for run, tries in by_run.items()
    ]


def _open_runs(services: Services, subject: str, datasets: set[str]) -> dict[str, int]:
    """How many of her uses are computed, sealed or released now: what stopping meets."""
    counted = register.count_uses(services.engine, subject)
    return {
        state: sum(counted.get((dataset, state), 0) for dataset in datasets)
        for state in ("in progress", "sealed", "released")
    }


def _narrows(before: Consent | None, message: Mapping[str, Any], live: bool) -> bool:
    """Whether the new permission allows less than the one that stands: then running uses stop."""
    return bool(
        before
        and live
        and (
            before.purposes & ~message["purposes"]
            or before.categories & ~message["categories"]
            or message["untilDay"] < before.until_day
        )
    )
