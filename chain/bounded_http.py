"""HTTP server of the standard library with limits: strict framing (request smuggling), threads,
slow clients.

For the small servers, the ledger's gateway and the key broker. A request that two programs could
read differently is refused with 400, and the connection is closed: a length beside a transfer
coding, two lengths, any transfer coding, a body where none belongs, an invalid header line. The
bytes of the head are checked before the library's parser, which accepts a lone CR as the end of a
line. Each connection has a thread, at most CONNECTIONS of them; a further connection replaces the
one that has waited longest for its client.

Parsing costs many times a body's bytes, in memory and in the interpreter that all threads share,
and happens before the client is known. So at most LARGE_AT_ONCE bodies above SMALL_BODY are
processed at a time: a client that sends many of them waits or is refused, and a small message, such
as a withdrawal, is not delayed. A body is queued only when it is complete, and is in a temporary
file until then: a slow client does not delay others, and fills no memory.
"""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.1"
CONNECTIONS = 128  # threads, one for each connection
IDLE_SECONDS = 300.0  # that a kept connection may wait for its next request
REQUEST_SECONDS = 15.0  # for a complete request, head and body, from its first byte on
ANSWER_SECONDS = 60.0  # for the client to receive a complete response
LAST_SECONDS = 1.0  # for the answers that are under way when the server ends
SLOT_SECONDS = 1.0  # that a new connection waits for another one to end
_CHECK_SECONDS = 0.25  # between two checks for slow connections
MAX_HEAD = 64 << 10  # bytes of all header lines
SMALL_BODY = 16 << 10  # bytes; a withdrawal has one thousand
LARGE_AT_ONCE, LARGE_WAITING = 2, 64  # larger bodies that are processed, and that wait
_PIECE = 64 << 10  # bytes of a body that are read at once
MAX_LINES = 100  # header lines
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2
_REQUEST_LINE = re.compile(_TOKEN + rb" [!-~]+ HTTP/1\.[01]\r\n")
_HEADER_LINE = re.compile(_TOKEN + rb":[\t -~]*\r\n")

# In the order in which connections are ended to make room; a WORKING one is not.
IDLE, READING, WRITING, WORKING = range(4)
_LIMITS = {IDLE: IDLE_SECONDS, READING: REQUEST_SECONDS, WRITING: ANSWER_SECONDS}


@dataclass(slots=True)
class _Slot:
    """One connection: its socket, its state, and since when (monotonic seconds)."""

    socket: socket.socket
    doing: int
    since: float
    ended: bool = False


class BoundedServer(ThreadingHTTPServer):
    """A server with at most `connections` at a time, on the loopback address unless told otherwise.

    tls: a context with the server's certificate. A connection's own thread shakes hands, so that a
    slow client holds up nobody; until then it counts as one that waits for its request.
    """

    daemon_threads = True
    request_queue_size = 128
    limits = _LIMITS

    def __init__(
        self,
        port: int,
        handler: type[BoundedHandler],
        connections: int = CONNECTIONS,
        host: str = LOOPBACK,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connections, self._tls = connections, tls
        self._slots: dict[int, _Slot] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self.large = threading.BoundedSemaphore(LARGE_AT_ONCE)
        self.large_waiting = threading.BoundedSemaphore(LARGE_WAITING)
        super().__init__((host, port), handler)
        threading.Thread(target=self._end_slow, daemon=True).start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is None:
            return connection, address
        encrypted = self._tls.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        return encrypted, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the new connection a thread; if none is free, end the connection that has waited
        longest.
        """
        with self._changed:
            self._make_slot()
            if len(self._slots) >= self._connections:  # all are working
                self.shutdown_request(request)
                return
            self._slots[id(request)] = _Slot(request, IDLE, time.monotonic())
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be made
            with self._changed:
                self._slots.pop(id(request), None)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._slots.pop(id(request), None)
                self._changed.notify_all()

    def server_close(self) -> None:
        """Close it, after the answers that are under way, if they come at once."""
        with self._changed:
            self._changed.wait_for(self._answered_all, LAST_SECONDS)
        self._closing.set()
        super().server_close()

    def handle_error(self, *_: object) -> None:
        """The client left during the response: no traceback is printed."""

    def now_doing(self, request: Any, doing: int) -> None:
        """Set the state of a connection; called by its own thread."""
        with self._changed:
            slot = self._slots.get(id(request))
            if slot is not None:
                slot.doing, slot.since = doing, time.monotonic()
                self._changed.notify_all()

    def _answered_all(self) -> bool:
        return all(slot.doing in (IDLE, READING) for slot in self._slots.values())

    def was_ended(self, request: Any) -> bool:
        """Whether the server has ended this connection."""
        with self._changed:
            slot = self._slots.get(id(request))
            return slot is None or slot.ended

    def _make_slot(self) -> None:
        """End the connection that waits longest, and wait for its thread to end; the caller holds
        the lock.
        """
        if len(self._slots) < self._connections:
            return
        waiting = [slot for slot in self._slots.values() if slot.doing != WORKING]
        if waiting:
            _end(min(waiting, key=lambda slot: (slot.doing, slot.since)))
        self._changed.wait_for(lambda: len(self._slots) < self._connections, SLOT_SECONDS)

    def _end_slow(self) -> None:
        """End every connection that exceeds the time limit of its state."""
        while not self._closing.wait(_CHECK_SECONDS):
            now = time.monotonic()
            with self._changed:
                for slot in self._slots.values():
                    if now - slot.since > self.limits.get(slot.doing, float("inf")):
                        _end(slot)


def _end(slot: _Slot) -> None:
    """Wake the connection's thread, which then sees a closed connection."""
    slot.ended = True
    try:
        # The connection below TLS: its own shutdown would let the thread go on in clear text.
        socket.socket.shutdown(slot.socket, socket.SHUT_RDWR)
    except OSError:
        pass  # it is gone already


class BoundedHandler(BaseHTTPRequestHandler):
    """One connection. A subclass defines `do_GET` and `do_POST`, with `read_body` and `send_json`."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "volens", ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    timeout = IDLE_SECONDS
    max_body = 1 << 20  # bytes
    raw_requestline: bytes  # set by the library
    server: BoundedServer
    _has_turn = False  # whether this connection holds a permit for a large body

    def refuse(self, status: int, message: str) -> None:
        """Respond without reading the body, and close: an unread body would be taken for the next
        request.
        """
        self.close_connection = True
        self.send_json(
            status, json.dumps({"detail": f"{message[:1].upper()}{message[1:]}."}).encode()
        )

    def handle_one_request(self) -> None:
        self.server.now_doing(self.connection, IDLE)
        try:
            if not self.rfile.peek(1):  # type: ignore[attr-defined]  # the caller has closed
                self.close_connection = True
                return
        except OSError:  # among them a time-out
            self.close_connection = True
            return
        self.server.now_doing(self.connection, READING)
        try:
            super().handle_one_request()
        finally:
            self._end_turn()

    def parse_request(self) -> bool:
        """Whether the head is unambiguous; an ambiguous one is refused here."""
        lines, fault = self._read_lines()
        if lines is None:
            return False
        if not fault:
            stream, self.rfile = self.rfile, io.BufferedReader(io.BytesIO(b"".join(lines)))
            try:
                if not super().parse_request():
                    return False
            finally:
                self.rfile = stream
            fault = self._fault()
        if fault:
            self.refuse(400, fault)
            return False
        if self.command != "POST":
            self.server.now_doing(self.connection, WORKING)
        return True

    def _read_lines(self) -> tuple[list[bytes] | None, str]:
        """The header lines with the empty line after them, and the fault of the first invalid line,
        "" for none.

        None if the head was refused as too large, or the client left before its end.
        """
        self.requestline, self.request_version = "", self.protocol_version
        if not _REQUEST_LINE.fullmatch(self.raw_requestline):
            return [], "the request line is not: method, address and version, one space between"
        lines: list[bytes] = []
        left = MAX_HEAD
        while not lines or lines[-1] != b"\r\n":
            line = self.rfile.readline(left + 1)
            left -= len(line)
            if not line:
                self.close_connection = True
                return None, ""
            if left < 0 or len(lines) > MAX_LINES:
                self.refuse(431, f"a head has at most {MAX_LINES} lines and {MAX_HEAD} bytes")
                return None, ""
            if line != b"\r\n" and not _HEADER_LINE.fullmatch(line):
                return [], "a header line is none, or goes on in the next one"
            lines.append(line)
        return lines, ""

    def _fault(self) -> str:
        """The fault in the framing of the request, "" for none."""
        lengths = self.headers.get_all("Content-Length", [])
        hosts = len(self.headers.get_all("Host", []))
        if hosts > 1 or (hosts == 0 and self.request_version == "HTTP/1.1"):
            return "a request names its host once"
        if "Transfer-Encoding" in self.headers:
            return "a body comes with its length, not in another coding"
        if len(lengths) > 1:
            return "the body's length stands twice"
        if lengths and not (lengths[0].isascii() and lengths[0].isdigit()):
            return "the body's length is no number"
        if self.command != "POST" and lengths and lengths[0].strip("0"):
            return "a body stands where none belongs"
        return ""

    def read_body(self) -> bytes | None:
        """The body of a POST; None if it was refused, or the client left before its end."""
        length = self.headers.get("Content-Length")
        if length is None:
            self.refuse(411, "the body's length is missing")
            return None
        if len(length) > 9 or int(length) > self.max_body:
            self.refuse(413, f"a body has at most {self.max_body} bytes")
            return None
        if int(length) > SMALL_BODY:
            return self._read_large(int(length))
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            self.close_connection = True
            return None
        self.server.now_doing(self.connection, WORKING)
        return body

    def _read_large(self, length: int) -> bytes | None:
        """A large body, kept in a file until it is complete and its turn comes; None as in
        `read_body`.
        """
        with tempfile.TemporaryFile() as file:
            while length > file.tell():
                piece = self.rfile.read(min(_PIECE, length - file.tell()))
                if not piece:
                    self.close_connection = True
                    return None
                file.write(piece)
            if not self._take_turn():
                self.refuse(
                    503, "too many large messages are being sent: try again in some seconds"
                )
                return None
            self.server.now_doing(self.connection, WORKING)
            file.seek(0)
            return file.read()

    def _take_turn(self) -> bool:
        """Wait until this large body may be read; False if too many wait, or the connection was
        ended.
        """
        if not self.server.large_waiting.acquire(blocking=False):
            return False
        try:
            while not self._has_turn and not self.server.was_ended(self.connection):
                self._has_turn = self.server.large.acquire(timeout=_CHECK_SECONDS)
        finally:
            self.server.large_waiting.release()
        return self._has_turn

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self.server.large.release()

    def send_json(self, status: int, data: bytes, **headers: str) -> None:
        """Send a complete response; the client has ANSWER_SECONDS to receive it."""
        self._end_turn()
        self.server.now_doing(self.connection, WRITING)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """No request log: what matters is on the chain, or in the journal."""
