"""A patient's pages: who may use her data, who did, giving permission, and withdrawing."""

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
from api.pages.forms import DEADLINE_SECONDS
from api.pages.labels import DAY
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import Patient, SignedIn, check_patient
from chain.vocabulary import ConsentStatus, Purpose
from governance.consent import PRESETS, notice_points, offer
from governance.errors import NotFound, reason_of
from governance.readmodel import queries as register
from governance.readmodel.queries import AccessDetail
from governance.readmodel.tables import Consent

router = APIRouter(route_class=PageRoute)
PAGE = 20  # runs that used her data
Hex32 = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]
_SENTENCES = {
    "released": "A result with your data in it was released.",
    "denied": "Your data was left out: {}",
    "superseded": "It was begun again later; nothing of this try was kept.",
    "sealed": "It has finished; two checkers review the result before anybody else sees it.",
    "held back": (
        "It has finished, but you withdrew before: the ledger refuses to release it with you in it."
    ),
    "in progress": "It is being computed now.",
    "ended": "It ended; nothing of it left.",
}
# Of a plan of her own care.
_PLAN_SENTENCES = _SENTENCES | {
    "released": "Your clinician has signed the plan.",
    "denied": "No plan was drawn: {}",
    "sealed": "The plan is drawn; your clinician reads it first.",
    "in progress": "The plan is being drawn up.",
    "held back": "You withdrew before your clinician had signed the plan: it opens for nobody.",
}


@dataclass(frozen=True, slots=True)
class Use:
    """What one run asked and did with her data: its attempts, newest first, with the outcome of
    each. is_plan: it draws a plan of her own care.
    """

    is_plan: bool
    run: str
    dataset: str
    question: str
    tries: list[tuple[AccessDetail, str]]


@dataclass(frozen=True, slots=True)
class Permission:
    """One dataset for her decision; `used`: time of the last use, 0 for none; `records`: number of
    her records.
    """

    dataset: str
    custodian: str
    consent: Consent | None
    live: bool
    used: int
    records: int


@router.get("/me")
def show_me(request: Request, services: Parts, visitor: SignedIn, page: PageNumber = 1) -> Response:
    """Who can use her data now, and the runs that used it, by pages, newest first."""
    if not visitor.has_part:
        return render(request, "no-role.html", 403)
    me = check_patient(visitor)
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
    """Choose a dataset and a preset permission; then show exactly what is signed."""
    permissions = _permissions(services, me.subject)
    chosen = next((permission for permission in permissions if permission.dataset == dataset), None)
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
    # Her browser draws salt and commitment: the service never learns what connects the ledger with
    # her terms.
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
    """The effects of a withdrawal, for one dataset or all live ones."""
    live = [
        permission
        for permission in _permissions(services, me.subject)
        if permission.consent and permission.live and dataset in ("", permission.dataset)
    ]
    messages = [
        {"subject": me.subject, "dataset": permission.dataset, "epoch": permission.consent.epoch}
        for permission in live
        if permission.consent
    ]
    return render(
        request,
        "stop.html",
        messages=messages,
        every=not dataset,
        open_runs=_open_runs(services, me.subject, {permission.dataset for permission in live}),
    )


@router.get("/me/stopped")
def show_stopped(
    request: Request,
    services: Parts,
    me: Patient,
    tx: Annotated[list[Hex32], Query(max_length=64)] = [],  # noqa: B006
) -> Response:
    """The effects of her withdrawals; the page reloads them until everything has stopped."""
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
    """The part of show_stopped that changes."""
    return render(
        request, "part-stopped.html", withdrawals=_withdrawals(services, me.subject, tx), chosen=tx
    )


@router.get("/pages/me/stopped/{tx}/receipt")
def fetch_withdrawal_receipt(services: Parts, me: Patient, tx: str) -> Response:
    """Her receipt of one withdrawal, as the command line writes it.

    Raises NotFound for another's.
    """
    withdrawals = _withdrawals(services, me.subject, [tx])
    if not withdrawals:
        raise NotFound("you have no such withdrawal", "look at your own list")
    reader = Client(services.audience, services.identity, subject=bytes.fromhex(me.subject))
    mined = register.find_receipt(services.engine, tx)
    receipt = withdrawal_receipt(reader, mined, withdrawals[0], services.witness())
    reader.close()
    return Response(
        receipt,
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="volens-withdrawal-{tx[:16]}.json"'},
    )


def _withdrawals(services: Services, subject: str, chosen: Sequence[str]) -> list[dict[str, Any]]:
    withdrawals, as_of = services.withdrawals_of(subject)
    shown = [show_withdrawal(withdrawal, as_of) for withdrawal in withdrawals]
    return [withdrawal for withdrawal in shown if not chosen or withdrawal["tx"] in chosen]


def _permissions(services: Services, subject: str) -> list[Permission]:
    today = services.clock() // DAY
    consents = {row.dataset: row for row in register.consents_of(services.engine, subject)}
    last = register.last_uses(services.engine, subject)
    permissions = []
    for dataset in register.list_datasets(services.engine):
        consent = consents.get(dataset.dataset)
        live = (
            consent is not None
            and consent.status == ConsentStatus.LIVE
            and consent.from_day <= today <= consent.until_day
        )
        listed = services.projection.records_of(bytes.fromhex(dataset.dataset))
        own_records = sum(leaf.subject.hex() == subject for leaf in listed)
        permissions.append(
            Permission(
                dataset.dataset,
                dataset.custodian,
                consent,
                live,
                last.get(dataset.dataset, 0),
                own_records,
            )
        )
    return sorted(permissions, key=lambda permission: (not permission.live, not permission.records))


def _uses(services: Services, subject: str, names: Sequence[str]) -> list[Use]:
    """Her accesses in these runs, one entry for each run."""
    datasets = {permit.permit: permit.dataset for permit in register.list_permits(services.engine)}
    held_back = {
        (effect.use.run.hex(), effect.use.attempt)
        for withdrawal in services.withdrawals_of(subject, names)[0]
        for effect in withdrawal.effects
        if effect.use.was == "sealed" or effect.use.sealed
    }
    by_run: dict[str, list[tuple[AccessDetail, str]]] = {}
    for access in register.accesses_of(services.engine, subject, names):
        if access.state == "sealed" and (access.run, access.attempt) in held_back:
            access = replace(access, state="held back")
        why = reason_of(access.reason).sentence if access.reason else ""
        texts = _PLAN_SENTENCES if _is_care(access) else _SENTENCES
        by_run.setdefault(access.run, []).append((access, texts[access.state].format(why)))
    asked = register.params_of(services.engine, names)
    return [
        Use(
            _is_care(tries[0][0]),
            run,
            datasets[tries[0][0].permit],
            words.question(asked[run]),
            tries,
        )
        for run, tries in by_run.items()
    ]


def _is_care(access: AccessDetail) -> bool:
    return access.need == 1 << Purpose.CARE


def _open_runs(services: Services, subject: str, datasets: set[str]) -> dict[str, int]:
    """How many of her uses are computing, sealed or released now, and so affected by a withdrawal."""
    counted = register.count_uses(services.engine, subject)
    return {
        state: sum(counted.get((dataset, state), 0) for dataset in datasets)
        for state in ("in progress", "sealed", "released")
    }


def _narrows(before: Consent | None, message: Mapping[str, Any], live: bool) -> bool:
    """Whether the new permission allows less than the current one: then running uses stop."""
    return bool(
        before
        and live
        and (
            before.purposes & ~message["purposes"]
            or before.categories & ~message["categories"]
            or message["untilDay"] < before.until_day
        )
    )
