"""Checks of the doctor on what sends notices: whether mail server and webhook can be reached.

Nothing is sent to anybody, and no address, user or password is told.
"""

from __future__ import annotations

import socket
from contextlib import closing
from urllib.parse import urlsplit

from api.errors import UsageError
from api.operate.doctor_files import Check
from api.operate.mail import Mailer, NotSent, mail_server, sender_of
from api.operate.settings import Settings
from api.operate.webhook import webhook_of
from governance.certificates import trusted

SECONDS = 5.0
INBOX_ONLY = "not set: notices are in the inbox on the pages"
_WHY = {
    "SSLCertVerificationError": "its certificate is of no authority that this machine trusts",
    "SMTPNotSupportedError": "it offers no TLS (STARTTLS), or no sign-in",
    "SMTPAuthenticationError": "it refuses the user and password",
}


def mail(settings: Settings) -> Check:
    """Whether the mail server takes a connection as the API makes it, up to the sign-in."""
    try:
        server = mail_server(settings)
        if server is None:
            return Check("mail", "ok", INBOX_ONLY)
        mailer = Mailer(server, sender_of(settings), settings.public_url, SECONDS)
    except UsageError as error:
        return Check("mail", "bad", f"{error}; the API does not start with it", error.hint)
    with closing(mailer):
        try:
            mailer.connect()
        except NotSent as error:
            return _down("mail", "the mail server", error.why, "VOLENS_SMTP_URL")
    how = "without TLS, on this machine" if server.security == "none" else "with TLS"
    signed_in = ", and takes the user and password" if server.user else ""
    if not settings.public_url:
        return Check(
            "mail",
            "warn",
            f"the server answers {how}{signed_in}; the links in mails lead to this machine only",
            "name the address that people reach: VOLENS_PUBLIC_URL",
        )
    return Check("mail", "ok", f"the server answers {how}{signed_in}")


def webhook(settings: Settings) -> Check:
    """Whether something listens at the webhook's address, with a certificate that is trusted."""
    try:
        if webhook_of(settings, settings.public_url) is None:
            return Check("webhook", "ok", INBOX_ONLY)
    except UsageError as error:
        return Check("webhook", "bad", f"{error}; the API does not start with it", error.hint)
    parts = urlsplit(settings.webhook_url.strip())
    encrypted, host = parts.scheme == "https", parts.hostname or ""
    try:
        with socket.create_connection(
            (host, parts.port or (443 if encrypted else 80)), SECONDS
        ) as (connection):
            if encrypted:
                trusted().wrap_socket(connection, server_hostname=host).close()
    except (OSError, UnicodeError) as error:
        return _down("webhook", "the receiver", type(error).__name__, "VOLENS_WEBHOOK_URL")
    how = "with TLS" if encrypted else "without TLS, on this machine"
    return Check("webhook", "ok", f"the receiver takes connections {how}; nothing was posted")


def _down(name: str, what: str, why: str, setting: str) -> Check:
    reason = _WHY.get(why, f"it does not answer ({why})")
    return Check(
        name,
        "down",
        f"{what} cannot be used: {reason}. Notices wait, and are given up after about three days",
        f"see {setting}, and what is there; SSL_CERT_FILE adds an authority",
    )
