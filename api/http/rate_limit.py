"""How much a client may have refused: a flood of forgeries stops at the door, and honest clients never notice.

1. Only what is refused costs, and a challenge until a sign-in answers it; so many tokens come back a second. Whoever
   has none left is turned away from everything that is sent in (429) before a byte of it is read. What is being
   answered has cost one already, so that many opened at once are no way around; what is not refused gets it back.
   A debt is never deeper than a minute pays off.
2. Reading is free, and so is a genuine withdrawal: nobody can be kept from stopping by what a neighbour does.
3. A client is an address (of IPv6 the /64), and behind a proxy the one that the proxy names, if the settings name the
   proxy. Otherwise all of its clients would share one allowance: the log says so, once.
4. Memory is bounded: of more clients than are kept, those that were charged longest ago are forgotten.
5. What a person agrees to costs an allowance of her own (`Decisions`), whatever address it comes from: it is a step
   for ever, and so is the withdrawal that may follow and is never refused. Only steps are counted, after they are
   mined: a copy of what she signed leaves none, so nobody else can use her allowance up.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import TooMany, problem_of

REFILL = 5.0  # tokens a second
DEEPEST = 1 - 60 * REFILL  # tokens: after a minute one is there
CLIENTS = 4096  # kept at most
_FREE = ("GET", "HEAD", "OPTIONS")
_WITHDRAWAL = "/consents/revocations"  # decides by itself, with `check_allowance`
_BEING_ANSWERED = 1  # token
_ASKED_THE_LEDGER = 5  # tokens: the dearest kind of refusal
WITHDREW_NOTHING = 60  # tokens: one in twelve seconds, each 1.8 kB of the trail
DECISIONS = 60  # consents of one person, on all datasets, that are taken at once
DECISION_SECONDS = (
    600  # until one of them is there again: with its withdrawal, half a megabyte a day
)

log = structlog.get_logger()


class RateLimit:
    """Tokens by client, `refill` a second come back; whoever has all of them takes no memory. For one thread."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        refill: float | None = None,
    ) -> None:
        self._most, self._clock = float(most), clock
        self._refill = REFILL if refill is None else refill
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at this second

    def left(self, client: str) -> float:
        tokens, at = self._left.get(client, (self._most, 0.0))
        return min(self._most, tokens + (self._clock() - at) * self._refill)

    def charge(self, client: str, tokens: float) -> None:
        """Take tokens, or give them back."""
        left = max(self.left(client) - tokens, DEEPEST)
        if left >= self._most:
            self._left.pop(client, None)
            return
        self._left[client] = left, self._clock()
        self._left.move_to_end(client)
        while len(self._left) > CLIENTS:
            self._left.popitem(last=False)

    def __len__(self) -> int:
        return len(self._left)


class Decisions:
    """How often one person's consents are taken: a person who changes her mind without end fills the ledger."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_limit = RateLimit(DECISIONS, clock, refill=1 / DECISION_SECONDS)
        self._lock = threading.Lock()

    def check(self, subjects: Iterable[str], request: Request) -> None:
        """Raises TooMany where one of these people has none left; that costs the caller, as any refusal does."""
        with self._lock:
            short = sorted(one for one in set(subjects) if self._rate_limit.left(one) < 1)
        if short:
            request.state.idle = _ASKED_THE_LEDGER
            raise TooMany(
                f"{len(short)} of these people agreed too often lately, the first one is {short[0]}",
                f"a consent is possible again {DECISION_SECONDS // 60} minutes from now; to withdraw always is",
            )

    def count(self, subjects: Iterable[str]) -> None:
        """One step of the ledger for each entry."""
        with self._lock:
            for one in subjects:
                self._rate_limit.charge(one, 1)


class Limits:
    """Turns away who has nothing left, and charges what was refused."""

    def __init__(self, app: ASGIApp, rate_limit: RateLimit, behind_proxy: bool) -> None:
        self._app, self._rate_limit, self._told = app, rate_limit, behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _FREE:
            await self._app(scope, receive, send)
            return
        self._look_for_proxy(scope)
        client, path = client_of(scope), scope["path"]
        left = self._rate_limit.left(client)
        scope.setdefault("state", {})["spent"] = left < 1
        if left < 1 and path != _WITHDRAWAL:
            answer = problem_of(_too_many())
            answer.headers["Retry-After"] = str(math.ceil((1 - left) / REFILL))
            await answer(scope, receive, send)
            return

        async def send_and_charge(message: Message) -> None:
            if message["type"] == "http.response.start":
                cost = _cost(path, message["status"]) + scope["state"].get("idle", 0)
                self._rate_limit.charge(client, cost - _BEING_ANSWERED)
            await send(message)

        self._rate_limit.charge(client, _BEING_ANSWERED)
        await self._app(
            scope, receive, send_and_charge
        )  # whoever goes away before the answer gets nothing back

    def _look_for_proxy(self, scope: Scope) -> None:
        if not self._told and "x-forwarded-for" in Headers(scope=scope):
            self._told = True
            log.warning(
                "a proxy is not named in VOLENS_PROXIES: all that come through it share one allowance"
            )


def check_rate_limit(request: Request, tokens: float = _ASKED_THE_LEDGER) -> None:
    """For a message that takes nothing back, at a door that is never closed: it costs. Raises TooMany."""
    if request.state.spent:
        raise _too_many()
    request.state.idle = tokens


def _too_many() -> TooMany:
    return TooMany("too much of what this address sent was refused", "wait a minute, then again")


def client_of(scope: Scope) -> str:
    """The address that a request comes from; of IPv6 the network, since a house has a whole one."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if (
        isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
    ):  # as proxies with both kinds write it
        return str(address.ipv4_mapped)
    if address.version == 6:
        return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
    return host


def _cost(path: str, status: int) -> float:
    """In tokens. Failures of ours cost nothing."""
    if path == "/sign-in/challenge":
        return 1
    if path == "/sign-in" and status < 400:
        return -1
    if status == 409:
        return _ASKED_THE_LEDGER
    return 1 if 400 <= status < 500 and status != 429 else 0
