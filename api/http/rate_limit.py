"""Rate limits: each client has tokens (token bucket) and pays for refused requests; each person for
consents.

1. Refused requests cost tokens, and so does a challenge until a sign-in answers it; REFILL tokens
   come back a second. A client without tokens gets 429 for every request that sends data, before
   its body is read. Each request costs one token while it is being answered, so that many parallel
   requests do not evade the limit; an accepted one gets the token back. A debt is never larger than
   what a minute pays off.
2. Reading is free, and so is a genuine withdrawal: no other client's behaviour can prevent a
   withdrawal.
3. A client is an address (for IPv6 the /64), and behind a proxy the one that the proxy names, if
   the settings name the proxy. Otherwise all of its clients share one rate limit: the log warns
   about that once.
4. Memory is bounded: with more than CLIENTS clients, those charged longest ago are forgotten.
5. Each person has a rate limit for consents (`Decisions`), from whatever address they come: a
   consent is a permanent step of the ledger, and so is the withdrawal that may follow and is never
   refused. Only mined steps are counted: a copy of a signed consent leaves no step, so nobody else
   can use up a person's limit.
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
DEEPEST = 1 - 60 * REFILL  # tokens: a minute refills to one
CLIENTS = 4096  # kept in memory at most
_FREE = ("GET", "HEAD", "OPTIONS")
_WITHDRAWAL = "/consents/revocations"  # calls `check_rate_limit` itself
_BEING_ANSWERED = 1  # token
_ASKED_THE_LEDGER = 5  # tokens: the most expensive kind of refusal
WITHDREW_NOTHING = 60  # tokens: one in twelve seconds, each 1.8 kB of the trail
WRITES_TO_THE_BUCKET = 5  # tokens for a text that anybody may send
DECISIONS = 60  # consents of one person, on all datasets, that are accepted in a burst
# Seconds until one of them is available again. With its withdrawal, that is half a megabyte a day.
DECISION_SECONDS = 600

log = structlog.get_logger()


class RateLimit:
    """Tokens by client, refilled by `refill` a second; a client with all tokens uses no memory.

    For one thread.
    """

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        refill: float | None = None,
    ) -> None:
        self._most, self._clock = float(most), clock
        self._refill = REFILL if refill is None else refill
        self._left: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # tokens, and the second of this count

    def left(self, client: str) -> float:
        tokens, at = self._left.get(client, (self._most, 0.0))
        return min(self._most, tokens + (self._clock() - at) * self._refill)

    def charge(self, client: str, tokens: float) -> None:
        """Take tokens; a negative number gives them back."""
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
    """Limits how often one person's consents are accepted, because each one grows the ledger."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_limit = RateLimit(DECISIONS, clock, refill=1 / DECISION_SECONDS)
        self._lock = threading.Lock()

    def check(self, subjects: Iterable[str], request: Request) -> None:
        """Raises TooMany when one of these people has no tokens left; the caller pays for that
        refusal.
        """
        with self._lock:
            short = sorted(
                subject for subject in set(subjects) if self._rate_limit.left(subject) < 1
            )
        if short:
            request.state.idle = _ASKED_THE_LEDGER
            raise TooMany(
                f"{len(short)} of these people consented too often lately, the first is {short[0]}",
                f"a consent is possible again in {DECISION_SECONDS // 60} minutes; "
                "a withdrawal is always possible",
            )

    def count(self, subjects: Iterable[str]) -> None:
        """Charge one step of the ledger for each entry."""
        with self._lock:
            for subject in subjects:
                self._rate_limit.charge(subject, 1)


class Limits:
    """Middleware: refuses clients without tokens, and charges refused requests."""

    def __init__(self, app: ASGIApp, rate_limit: RateLimit, behind_proxy: bool) -> None:
        self._app, self._rate_limit, self._proxy_checked = app, rate_limit, behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _FREE:
            await self._app(scope, receive, send)
            return
        self._warn_of_unnamed_proxy(scope)
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
        # A client that disconnects before the answer does not get its token back.
        await self._app(scope, receive, send_and_charge)

    def _warn_of_unnamed_proxy(self, scope: Scope) -> None:
        if not self._proxy_checked and "x-forwarded-for" in Headers(scope=scope):
            self._proxy_checked = True
            log.warning(
                "VOLENS_PROXIES does not name a proxy in use: all its clients share one rate limit"
            )


def check_rate_limit(request: Request, tokens: float = _ASKED_THE_LEDGER) -> None:
    """Charge a withdrawal that changed nothing, because `Limits` does not. Raises TooMany."""
    if request.state.spent:
        raise _too_many()
    request.state.idle = tokens


def _too_many() -> TooMany:
    return TooMany(
        "too many requests from this address were refused", "wait a minute, then try again"
    )


def client_of(scope: Scope) -> str:
    """The address of a request; for IPv6 its /64 network, because a household has a whole one."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    # Proxies with both protocols write IPv4 addresses so.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    if address.version == 6:
        return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
    return host


def _cost(path: str, status: int) -> float:
    """The cost of an answered request in tokens. Failures of the service cost nothing."""
    if path == "/sign-in/challenge":
        return 1
    if path == "/sign-in" and status < 400:
        return -1
    if status == 409:
        return _ASKED_THE_LEDGER
    return 1 if 400 <= status < 500 and status != 429 else 0
