"""Timeouts for slow clients (slowloris): limits for request head, body and connections per address.

1. A connection has HEAD_SECONDS, from its opening or from the end of an answer, to send a complete
   request head; then it is closed.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.http.problems import problem
from api.http.rate_limit import client_of
from api.http.strict_http import StrictHttp

HEAD_SECONDS = 20.0
BODY_SECONDS = 60.0
ANSWER_SECONDS = 30.0
CONNECTIONS = 256


class TimedConnection(asyncio.Protocol):
    """One connection: passes everything on to the server's protocol, and closes it when it stalls.

    It reads no HTTP. `Timeouts` tells it when a request's head is complete and when its answer is:
    the server starts the application from `data_received`, so the application inherits the context
    variable `connection`.
    """

    def __init__(self, server: asyncio.Protocol, open_from: Counter[str], most: int) -> None:
        """open_from: the open connections by address; most: of one address, 0 for any number."""
        self._server, self._open_from, self._most = server, open_from, most
        self._loop = asyncio.get_running_loop()
        self._transport = asyncio.Transport()  # until the connection is made
        self._head: asyncio.TimerHandle | None = None
        self._answer: asyncio.TimerHandle | None = None
        self._requests = 0  # that are being answered: more than one if they are pipelined
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._address = client_of({"client": transport.get_extra_info("peername")})
        self._open_from[self._address] += 1
        self._server.connection_made(transport)
        if 0 < self._most < self._open_from[self._address]:
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        token = connection.set(self)
        try:
            self._server.data_received(data)
        finally:
            connection.reset(token)

    def eof_received(self) -> bool | None:
        return self._server.eof_received()

    def pause_writing(self) -> None:
        self._server.pause_writing()
        self._answer = self._loop.call_later(ANSWER_SECONDS, self._transport.abort)

    def resume_writing(self) -> None:
        self._server.resume_writing()
        _cancel(self._answer)

    def connection_lost(self, error: Exception | None) -> None:
        _cancel(self._head)
        _cancel(self._answer)
        self._open_from[self._address] -= 1
        if not self._open_from[self._address]:
            del self._open_from[self._address]
        self._server.connection_lost(error)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Around the answer to one request: its head is complete, and the next one may follow."""
        self._requests += 1
        _cancel(self._head)
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests and not self._transport.is_closing():
                self._await_head()

    def _await_head(self) -> None:
        """The same timer limits the rest of a body whose answer was sent before it was read."""
        self._head = self._loop.call_later(HEAD_SECONDS, self._stalled)

    def _stalled(self) -> None:
        if self._transport.get_write_buffer_size():  # the client still reads the last answer
            self._await_head()
        else:
            self._transport.abort()


connection: ContextVar[TimedConnection] = ContextVar("connection")


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def timed_connections(most: int) -> Callable[..., TimedConnection]:
    """For uvicorn.Config(http=...) of one server: at most so many connections per address, 0 for
    any number.
    """
    open_from: Counter[str] = Counter()

    def connect(**of_server: Any) -> TimedConnection:
        protocol = H11Protocol(**of_server)
        protocol.conn = StrictHttp(h11.SERVER)
        return TimedConnection(protocol, open_from, most)

    return connect


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
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        body_complete = response_started = False

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

        timed = connection.get(None)  # none where the application is called in this process
        with timed.answering() if timed else nullcontext():
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
