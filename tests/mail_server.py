"""An SMTP server of a test's own: plain, with STARTTLS, or within TLS; keeps what it is sent."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path


@dataclass
class Received:
    sender: str
    recipients: list[str]
    raw: bytes
    encrypted: bool
    user: str

    @property
    def mail(self) -> Message:
        return message_from_bytes(self.raw, policy=default)

    @property
    def text(self) -> str:
        return self.raw.decode("ascii").replace("\r\n", "\n")


@dataclass
class MailServer:
    """`refusals`: how many mails are refused before the others are taken; `stranger`: whether a
    user is.
    """

    port: int = 0
    mails: list[Received] = field(default_factory=list)
    refusals: int = 0
    stranger: bool = False
    context: ssl.SSLContext | None = None
    implicit: bool = False
    connections: int = 0


class _Dialogue(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        server: MailServer = self.server.known  # type: ignore[attr-defined]
        server.connections += 1
        encrypted, user = False, ""
        if server.implicit:
            self._encrypt(server)
            encrypted = True
        self._say("220 test")
        sender, recipients = "", []
        while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            word, _, rest = line.partition(" ")
            match word.upper():
                case "EHLO" | "HELO":
                    offers = ["AUTH PLAIN"] + (
                        ["STARTTLS"] if server.context and not encrypted else []
                    )
                    self._say("250-test", *[f"250-{offer}" for offer in offers], "250 8BITMIME")
                case "STARTTLS":
                    self._say("220 go on")
                    try:
                        self._encrypt(server)
                    except ssl.SSLError:
                        return  # the client trusts nobody who signed the certificate
                    encrypted = True
                case "AUTH":
                    user = base64.b64decode(rest.split()[1]).split(b"\0")[1].decode()
                    self._say("535 no: p@ss" if server.stranger else "235 welcome")
                case "MAIL":
                    sender, recipients = rest, []
                    self._say("250 ok")
                case "RCPT":
                    recipients.append(rest)
                    self._say("250 ok")
                case "DATA":
                    self._say("354 go on")
                    lines = []
                    while (data := self.rfile.readline()) not in (b".\r\n", b""):
                        lines.append(data)
                    if server.refusals:
                        server.refusals -= 1
                        self._say("451 later: ada@example.org")
                        continue
                    server.mails.append(
                        Received(sender, recipients, b"".join(lines), encrypted, user)
                    )
                    self._say("250 ok")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def _encrypt(self, server: MailServer) -> None:
        assert server.context is not None
        self.connection = server.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)


class _Quiet(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is what some tests want."""


@contextmanager
def mail_server(
    certificate: tuple[Path, Path] | None = None, implicit: bool = False
) -> Iterator[MailServer]:
    known = MailServer(implicit=implicit)
    if certificate:
        known.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        known.context.load_cert_chain(*certificate)
    with _Quiet(("127.0.0.1", 0), _Dialogue) as server:
        known.port = server.server_address[1]
        server.known = known  # type: ignore[attr-defined]
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        yield known
        server.shutdown()
