"""Joining a deployment: an address with a fingerprint, `URL#FINGERPRINT`, leads to its ledger
identity.

The fingerprint is the sha256 that names the ledger identity. It comes to a person another way than
the identity: on her invitation, or read out by somebody she knows. With it a service at a false
address, or one that shows another ledger, is refused before anything is signed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from api.errors import NotServing, UsageError, VerificationFailed
from api.operate.ceremony_files import proven_signers
from api.operate.settings import Settings, checked_url
from governance.certificates import trusted
from governance.objects.keys import replace_private
from governance.rules.encoding import VerifyError, strict_json
from governance.rules.ledger_data import identity_id, parse_identity
from governance.rules.trail import TRAIL_FIELDS

LARGEST = 64 << 10  # bytes of an identity
SECONDS = 15.0
# What the fingerprint covers, and the signatures; a verifier refuses a trail with other fields.
_FIELDS = {name: set(TRAIL_FIELDS[name].split()) for name in ("identity", "contract")}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a deployment is, and the fingerprint of its ledger identity, "" if it was not told."""

    url: str
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """`URL#FINGERPRINT` or `URL`. Raises UsageError."""
        url, _, fingerprint = text.strip().partition("#")
        digits = re.sub(r"[\s:-]", "", fingerprint).lower()
        if fingerprint and _FINGERPRINT.fullmatch(digits) is None:
            raise UsageError(
                "what follows the # is no fingerprint: it has 64 hex digits",
                "copy the whole address from your invitation",
            )
        return cls(checked_url(url, "the address"), digits)

    def __str__(self) -> str:
        return f"{self.url}#{self.fingerprint}"


def address_to_join(settings: Settings, identity: Mapping[str, Any]) -> Address:
    """What others need to join the deployment that these settings reach."""
    return Address(settings.address("api"), identity_id(identity).hex())


def fetch_identity(url: str) -> dict[str, Any]:
    """The ledger identity that a service shows, signed by a quorum of its founders.

    Raises NotServing, VerificationFailed.
    """
    try:
        content = _read(f"{url}/identity")
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise NotServing(
            f"the service at {_host(url)} {_why(error)}", "check the address, or ask again later"
        ) from None
    try:
        identity: Any = strict_json(content, LARGEST)
        pinned, signers = parse_identity(identity), proven_signers(identity)
    except VerifyError:
        raise NotServing(
            f"what answers at {_host(url)} is no volens service", "check the address"
        ) from None
    if len(signers & set(pinned.founders)) < pinned.quorum:
        raise VerificationFailed(
            "the ledger identity is not signed by a quorum of its founders",
            "do not join; ask whoever invited you",
        )
    contracts = [set(contract) - _FIELDS["contract"] for contract in identity["contracts"]]
    if set(identity) - _FIELDS["identity"] or any(contracts):
        raise VerificationFailed(
            "the ledger identity has other fields than its fingerprint covers",
            "do not join; ask whoever invited you",
        )
    return dict(identity)


def _read(url: str) -> bytes:
    """The answer's bytes as they come, "" for another status: bounded in size and in time, since
    nobody knows yet who answers. Raises httpx.HTTPError.
    """
    until, content = time.monotonic() + SECONDS, b""
    with (
        httpx.Client(timeout=SECONDS, verify=trusted()) as client,
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            return b""
        for piece in answer.iter_raw():
            content += piece
            if len(content) > LARGEST:
                return b""
            if time.monotonic() > until:
                raise httpx.ReadTimeout("too slow")
    return content


def check_fingerprint(identity: Mapping[str, Any], fingerprint: str) -> None:
    """Raise VerificationFailed unless the identity is the one that the invitation names."""
    if identity_id(identity).hex() != fingerprint:
        raise VerificationFailed(
            "this is another ledger than your invitation names",
            "do not sign anything here; ask whoever invited you",
        )


def check_home(settings: Settings, identity: Mapping[str, Any]) -> None:
    """Raise UsageError if the home folder belongs to another ledger, or runs a deployment itself."""
    if (settings.home / "chain").exists():
        raise UsageError(
            "this home folder runs a deployment of its own", "name another folder: VOLENS_HOME"
        )
    if not settings.identity_file.exists():
        return
    try:
        kept: Any = strict_json(settings.identity_file.read_bytes())
        same = identity_id(kept) == identity_id(identity)
    except VerifyError:
        same = False
    if not same:
        raise UsageError(
            "this home folder belongs to another ledger", "name another folder: VOLENS_HOME"
        )


def keep(settings: Settings, url: str, identity: Mapping[str, Any]) -> None:
    """Pin the identity, and remember the address for the commands. The caller MUST have checked
    both.
    """
    check_home(settings, identity)
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.remember_address("api", url)
    text = json.dumps(dict(identity), indent=1) + "\n"
    replace_private(settings.identity_file, text.encode())


def grouped(fingerprint: str) -> str:
    """For comparing by eye or by voice: groups of four digits, eight in a line."""
    groups = [fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4)]
    return "\n".join("  " + " ".join(groups[at : at + 8]) for at in range(0, len(groups), 8))


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _why(error: Exception) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "shows a certificate that this machine does not trust"
    return "does not answer"
