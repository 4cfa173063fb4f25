"""Posts notices to a webhook, each signed with a key that the receiver has too.

The header `Volens-Signature: t=SECONDS,v1=HEX` holds the HMAC-SHA256 of `SECONDS.BODY`. A receiver
computes it over the bytes that came, compares in constant time, and refuses an old time.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from urllib.parse import urlsplit

import httpx

from api.errors import UsageError
from api.operate.mail import NotSent
from api.operate.settings import Settings, checked_url
from governance.certificates import trusted
from governance.notices.kinds import page_of
from governance.rules.encoding import canonical_json

TYPE = "volens/notice/1"
HEADER = "Volens-Signature"
SECONDS = 10.0
SHORTEST_KEY = 32  # bytes


class Webhook:
    """Posts to one address. Follows no redirection, and takes no proxy from the environment."""

    def __init__(self, url: str, key: bytes, public_url: str) -> None:
        self._url, self._key, self._public_url = url, key, public_url

    def send(self, kind: str, about: str, at: int, reference: str, now: int) -> None:
        """Raises NotSent."""
        body = canonical_json(
            {
                "type": TYPE,
                "id": reference,
                "kind": kind,
                "at": at,
                "href": f"{self._public_url}{page_of(kind, about)}",
            }
        )
        headers = {"Content-Type": "application/json", HEADER: signature(self._key, body, now)}
        try:
            with (
                httpx.Client(verify=trusted(), trust_env=False, timeout=SECONDS) as client,
                # Of the answer only the status is read.
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except httpx.HTTPError as error:
            raise NotSent(type(error).__name__) from None
        if not 200 <= status < 300:
            raise NotSent(f"status {status}")


def signature(key: bytes, body: bytes, now: int) -> str:
    """The value of the header."""
    return f"t={now},v1={hmac.new(key, f'{now}.'.encode() + body, sha256).hexdigest()}"


def webhook_of(settings: Settings, public_url: str) -> Webhook | None:
    """The webhook that the settings name, None for none. Raises UsageError."""
    if not settings.webhook_url:
        return None
    url = settings.webhook_url.strip()
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    checked_url(f"{parts.scheme}://{parts.netloc}", "VOLENS_WEBHOOK_URL")
    if parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("VOLENS_WEBHOOK_URL has a sign that no address has", "write it anew")
    try:
        key = settings.webhook_key_file.read_bytes().strip() if settings.webhook_key_file else b""
    except OSError:
        key = b""
    if len(key) < SHORTEST_KEY:
        raise UsageError(
            "the webhook's key cannot be read, or is shorter than 32 bytes",
            "make one (openssl rand -hex 32) and name its file: VOLENS_WEBHOOK_KEY_FILE",
        )
    return Webhook(url, key, public_url)
