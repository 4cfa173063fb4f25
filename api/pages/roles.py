"""Pages of roles: who may do what, orders that wait for a quorum, and a new order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_utils.address import is_checksum_address, to_checksum_address
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from api.client.client import wire
from api.client.orders import file_of, parse_order
from api.errors import UsageError, VerificationFailed
from api.http.auth import Parts
from api.http.services import Services
from api.http.strict_route import Digest
from api.pages import labels as words
from api.pages.forms import DEADLINE_SECONDS, file_in, form_of, number_in
from api.pages.labels import DAY
from api.pages.rendering import PageRoute, render
from api.pages.session import Member, OwnOrigin, Visitor
from chain.vocabulary import Role
from governance import orders, reasons
from governance.comments import LONGEST
from governance.errors import NotFound, RequestInvalid
from governance.names import set_name
from governance.readmodel import queries as register
from governance.rules.vocabulary import FOREVER
from governance.sessions import Caller

router = APIRouter(route_class=PageRoute)
PAGE = 50
ORDER_SECONDS = 14 * DAY  # that the members have for signing
LONGEST_DAYS = 36_600
# In the order of the form: what is given most first, and what governs last.
GIVEN_HERE = (
    Role.ANALYST,
    Role.CHECKER,
    Role.REGISTRAR,
    Role.CUSTODIAN,
    Role.AUDITOR,
    Role.PROTECTION,
    Role.WORKER,
    Role.BROKER,
    Role.COMMITTEE,
)


@router.get("/roles")
def show_roles(request: Request, services: Parts, visitor: Visitor, after: str = "") -> Response:
    """Who has which role, by account; for members, the orders that wait and forms for new ones."""
    services.projection.sync()
    members = register.list_members(services.engine, after, PAGE + 1)
    is_member = visitor is not None and visitor.role == Role.COMMITTEE
    now = services.clock()
    known = {member.account for member in members}
    waiting = orders.list_orders(services.engine, now)
    given = (
        reasons.reasons_on(services.engine, [order.digest for order in waiting])
        if reasons.may_read(visitor)
        else []
    )
    founders = [
        to_checksum_address(account) for account in services.identity["founders"] if not after
    ]
    return render(
        request,
        "roles.html",
        members=[
            {
                "account": member.account,
                "role": member.role,
                "start": member.start,
                "end": member.end,
                "state": "over" if member.end <= now else "waits" if member.start > now else "",
                "cancel": {
                    "account": member.account,
                    "version": member.version,
                    "deadline": now + DEADLINE_SECONDS,
                }
                if is_member
                and member.role in (Role.WORKER, Role.BROKER)
                and now < member.start < member.end
                else None,
            }
            for member in members[:PAGE]
        ],
        founders=[account for account in founders if account not in known],
        after=members[PAGE - 1].account if len(members) > PAGE else "",
        forever=FOREVER,
        orders=[_describe(order) for order in waiting],
        reasons={
            order.digest: [reason for reason in given if reason.about == order.digest]
            for order in waiting
        },
        longest_reason=LONGEST,
        quorum=services.identity["quorum"],
        is_member=is_member,
        roles={int(role): words.role(role) for role in GIVEN_HERE},
        longest=LONGEST_DAYS,
    )


@router.post("/pages/roles/preview", dependencies=[OwnOrigin])
async def preview_role(request: Request, services: Parts, me: Member) -> Response:
    """What would be signed to give or end a role; a name that is given with it is kept now, so that
    everybody who signs reads it.
    """
    given = form_of(await request.body())

    def answer() -> Response:
        services.projection.sync()
        message = _role_change(services, given)
        if given.get("name", [""])[0].strip():
            _name(services, given, me)
        return render(
            request,
            "role-preview.html",
            message=message,
            ends=message["end"] <= services.clock(),
            forever=FOREVER,
            quorum=services.identity["quorum"],
            longest_reason=LONGEST,
        )

    return await run_in_threadpool(answer)


@router.get("/pages/roles/orders/{digest}")
def fetch_order(digest: Digest, services: Parts, me: Member) -> Response:
    """An order begun here, as the file that `volens committee sign` takes."""
    listed = orders.list_orders(services.engine, services.clock())
    order = next((order for order in listed if order.digest == digest and not order.done), None)
    if order is None:
        raise NotFound("no such order waits for signatures", "look at the list of roles")
    return Response(
        file_of(services.identity_id, order.kind, order.message, order.signatures),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="order-{digest[:8]}.json"'},
    )


@router.post("/pages/roles/orders", dependencies=[OwnOrigin])
async def take_order(request: Request, services: Parts, me: Member) -> Response:
    """An order begun on the command line: its signatures wait here for the others. With those of a
    quorum it is carried out.
    """
    sent = file_in(request.headers.get("content-type", ""), await request.body(), "file")

    def answer() -> Response:
        services.projection.sync()
        return RedirectResponse(f"/roles#order-{_keep(services, sent)[:8]}", 303)

    return await run_in_threadpool(answer)


@router.post("/pages/roles/name", dependencies=[OwnOrigin])
async def name_account(request: Request, services: Parts, me: Member) -> Response:
    """Say what an account is called."""
    given = form_of(await request.body())

    def answer() -> Response:
        services.projection.sync()
        _name(services, given, me)
        return RedirectResponse("/roles", 303)

    return await run_in_threadpool(answer)


def _name(services: Services, given: Mapping[str, list[str]], me: Caller) -> None:
    set_name(
        services.engine,
        services.projection.replayed,
        me,
        _account_in(given),
        given.get("name", [""])[0],
        given.get("institution", [""])[0],
        services.clock(),
    )


def _keep(services: Services, sent: bytes) -> str:
    """Keep each signature of an order's file; the order's digest. Raises RequestInvalid, and what
    `orders.sign` raises.
    """
    try:
        order = parse_order(sent, services.identity_id, services.ledger.domain)
    except (UsageError, VerificationFailed) as error:
        raise RequestInvalid(str(error), error.hint) from None
    if not order.signatures:
        raise RequestInvalid("nobody has signed this order", "sign it: volens committee sign")
    digest = ""
    for signature in order.signatures.values():
        digest, receipt = orders.sign(
            services.ledger,
            services.engine,
            services.projection.replayed,
            int(services.identity["quorum"]),
            order.kind,
            wire(order.kind, order.message),
            order.message,
            signature,
            services.clock(),
        )
        if receipt:
            services.settle(receipt)
            break
    return digest


def _describe(order: orders.OpenOrder) -> dict[str, Any]:
    meanings = {
        "RoleChange": (
            ("account", "whose role it is"),
            ("role", words.role(order.message.get("role", 0))),
            ("start", "when it begins; 0: at once"),
            ("end", "when it ends"),
            ("replaces", "how often this account's role was changed before"),
            ("deadline", "until when the signatures can be used"),
        ),
        "VoidRecords": (
            ("ingest", "the registration that is taken back, for good"),
            ("deadline", "until when the signatures can be used"),
        ),
    }
    return {
        "digest": order.digest,
        "kind": order.kind,
        "message": order.message,
        "meanings": meanings[order.kind],
        "signers": order.signers,
        "by": order.by,
        "deadline": order.deadline,
        "done": order.done,
    }


def _account_in(given: Mapping[str, list[str]]) -> str:
    account = given.get("account", [""])[0].strip()
    if not is_checksum_address(account):
        raise RequestInvalid(
            "the account is no address, or one of its letters is wrong",
            "copy it from where the key was made: 0x and 40 hex digits",
        )
    return account


def _role_change(services: Services, given: Mapping[str, list[str]]) -> dict[str, Any]:
    """The message of a filled form. Raises RequestInvalid, NotFound."""
    account, now = _account_in(given), services.clock()
    current = services.projection.replayed.members.get(bytes.fromhex(account[2:]))
    base = {
        "account": account,
        "replaces": current.version if current else 0,
        "deadline": now + ORDER_SECONDS,
    }
    if given.get("act", [""])[0] == "end":
        if current is None or current.end <= now:
            raise NotFound("this account has no role", "look at the list")
        return base | {
            "role": current.role,
            "start": current.start,
            "end": max(now, current.start),
        }
    role = number_in(given, "role", min(Role), max(Role), "the role")
    if role not in GIVEN_HERE:
        raise RequestInvalid("this role is not given here", "choose one of the list")
    days = given.get("days", [""])[0].strip()
    end = now + number_in(given, "days", 1, LONGEST_DAYS, "days") * DAY if days else FOREVER
    return base | {"role": role, "start": 0, "end": end}
