"""Timeouts for slow clients (slowloris): limits for request head, body and connections per address.

1. An idle connection has HEAD_SECONDS, from its opening or from the next byte after an answer, to
   send a complete request head; then it is closed.
2. A request's body has BODY_SECONDS in all; then it counts as ended, and the answer is that it
   cannot be read.
3. A client that reads nothing of an answer for ANSWER_SECONDS is disconnected, because the unread
   rest is in memory.
4. One address has at most CONNECTIONS open, unless a proxy is named: then all of them come from the
   proxy.
5. Requests that are interrupted by the stop of the service are answered that they may have taken
   effect.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from typing import Any, ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.http.problems import problem
from api.http.rate_limit import client_of

HEAD_SECONDS = 20.0
BODY_SECONDS = 60.0
ANSWER_SECONDS = 30.0
CONNECTIONS = 256


class TimedProtocol(H11Protocol):
    """Closes stalled connections; `open_from` counts the open ones by address, of which `most` are
    allowed.
    """

    most: ClassVar[int] = 0  # any number
    open_from: ClassVar[Counter[str]]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._cut: asyncio.TimerHandle | None = None
        self._not_taken: asyncio.TimerHandle | None = None
        self._from = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._from = client_of({"client": self.client})
        self.open_from[self._from] += 1
        if 0 < self.most < self.open_from[self._from]:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._not_taken is None:
            self._not_taken = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def _taken(self) -> None:
        if self._not_taken is not None:
            self._not_taken.cancel()
            self._not_taken = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        self._taken()
        self.open_from[self._from] -= 1
        if not self.open_from[self._from]:
            del self.open_from[self._from]
        super().connection_lost(exc)

    def _watch(self) -> None:
        """After new data: a request is being answered, or a timer starts for the rest of its head.

        The same timer limits the rest of a body whose answer was already sent.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._cut is None:
            self._cut = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


def timed_protocol(connections: int) -> type[TimedProtocol]:
    """For uvicorn.Config(http=…) of one server: at most so many connections per address, 0 for any
    number.
    """

    class Counted(TimedProtocol):
        most: ClassVar[int] = connections
        open_from: ClassVar[Counter[str]] = Counter()

    return Counted


class Timeouts:
    """Middleware: bounds the time of a body, and answers requests cancelled before their answer
    began.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline, body_complete, response_started = (
            asyncio.get_running_loop().time() + BODY_SECONDS,
            False,
            False,
        )

        async def receive_in_time() -> Message:
            nonlocal body_complete
            if body_complete:  # only waits for the client to disconnect, without a limit
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            body_complete = not message.get("more_body", False)
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        try:
            await self._app(scope, receive_in_time, send_and_note)
        except asyncio.CancelledError:
            if response_started:
                raise
            answer = problem(
                503,
                "The service stopped while this was being answered.",
                "It may have taken effect: look before you send it again.",
            )
            await answer(scope, receive, send)


def open_as_many_files_as_allowed() -> None:
    """Raise the soft limit of open files to the hard one, because each connection needs one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
