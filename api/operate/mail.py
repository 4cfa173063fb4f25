"""Mails notices by SMTP: fixed texts, checked certificates, and no word of a secret in an error.

A mail holds the recipient's address, a fixed sentence and a fixed address of a page: nothing that
anybody else wrote, and no id.
"""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from functools import cache
from urllib.parse import unquote, urlsplit

from api.errors import UsageError
from api.operate.settings import THIS_MACHINE, Settings, is_host
from governance.errors import RequestInvalid
from governance.notices.addresses import checked_address
from governance.notices.kinds import KINDS

SECONDS = 15.0  # until a server answers one command
SUBJECT = "volens: something concerns you"
LINK_SUBJECT = "volens: confirm this address"
_PORTS = {"smtp": 587, "smtps": 465}


class NotSent(Exception):
    """A mail or a post was not accepted; `why` names a kind of error, and no address."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class MailServer:
    """security: `starttls`, `tls`, or `none`, for this machine only."""

    host: str
    port: int
    security: str
    user: str = field(repr=False)
    password: str = field(repr=False)


def mail_server(settings: Settings) -> MailServer | None:
    """The server that the settings name, None for none. Raises UsageError."""
    if not settings.smtp_url:
        return None
    wrong = UsageError(
        "VOLENS_SMTP_URL names no mail server",
        "write it like smtp://USER:PASSWORD@mail.example.org:587 (signs in a password as %40 etc.), "
        "smtps://…:465, or smtp://localhost:25",
    )
    try:
        parts = urlsplit(settings.smtp_url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    rest = parts.path not in ("", "/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or rest or not is_host(host) or port == 0:
        raise wrong
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password) or not (user + password).isprintable():
        raise wrong
    plain = parts.scheme == "smtp" and host in THIS_MACHINE
    security = "none" if plain else "tls" if parts.scheme == "smtps" else "starttls"
    default = 25 if plain else _PORTS[parts.scheme]
    return MailServer(host, port or default, security, user, password)


def sender_of(settings: Settings) -> str:
    """Raises UsageError."""
    try:
        return checked_address(settings.mail_from)
    except RequestInvalid:
        raise UsageError(
            "VOLENS_MAIL_FROM is not a mail address", "write it like volens@example.org"
        ) from None


class Mailer:
    """Sends mails by one connection, which is opened when it is needed. For one thread."""

    def __init__(
        self, server: MailServer, sender: str, public_url: str, seconds: float = SECONDS
    ) -> None:
        self._server, self._sender, self._url = server, sender, public_url
        self._seconds = seconds
        self._host = urlsplit(public_url).hostname or "localhost"
        self._open: smtplib.SMTP | None = None

    def send_notice(self, address: str, kind: str, reference: str) -> None:
        """Raises NotSent."""
        known = KINDS[kind]
        sentence = known.sentence[0].lower() + known.sentence[1:]
        page = "/me" if known.for_patients else "/notices"
        self._send(
            address,
            SUBJECT,
            f"Something concerns you: {sentence}\n\nSign in to see it: {self._url}{page}\n\n"
            f"You asked for these mails at {self._url}/notices, and can end them there.\n",
            reference,
        )

    def send_link(self, address: str, token: str, reference: str) -> None:
        """Raises NotSent."""
        self._send(
            address,
            LINK_SUBJECT,
            f"Somebody who is signed in at {self._url} wants notices to be mailed to this address.\n\n"
            f"If that was you, confirm it within a day: {self._url}/notices/confirm/{token}\n\n"
            "If it was not, do nothing: then no notice comes here.\n",
            reference,
        )

    def connect(self) -> smtplib.SMTP:
        """The connection, opened and signed in. Raises NotSent."""
        try:
            self._open = self._open or self._connect()
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # The text of such an error may hold an address or what the server was sent.
            raise NotSent(type(error).__name__) from None
        return self._open

    def close(self) -> None:
        """End the connection, if there is one."""
        server, self._open = self._open, None
        if server is not None:
            try:
                server.quit()
            except (OSError, smtplib.SMTPException):
                server.close()

    def _send(self, address: str, subject: str, text: str, reference: str) -> None:
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"], mail["Subject"] = self._sender, address, subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = f"<{reference[:32]}@{self._host}>"
        mail["Auto-Submitted"] = "auto-generated"  # no automatic answer (RFC 3834)
        mail.set_content(text, cte="7bit")
        server = self.connect()
        try:
            server.send_message(mail, self._sender, [address])
        except (OSError, smtplib.SMTPException, ValueError) as error:
            self.close()
            raise NotSent(type(error).__name__) from None

    def _connect(self) -> smtplib.SMTP:
        known, name = self._server, self._host
        server: smtplib.SMTP
        if known.security == "tls":
            server = smtplib.SMTP_SSL(
                known.host, known.port, name, timeout=self._seconds, context=trusted()
            )
        else:
            server = smtplib.SMTP(known.host, known.port, name, timeout=self._seconds)
        try:
            if known.security == "starttls":
                server.starttls(context=trusted())  # a server without it gets no mail
            if known.user:
                server.login(known.user, known.password)
        except BaseException:
            server.close()
            raise
        return server


@cache
def trusted() -> ssl.SSLContext:
    """Not that of HTTP (governance/certificates.py), which offers HTTP as the protocol within."""
    return ssl.create_default_context()
