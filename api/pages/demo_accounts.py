"""Demo accounts (only with `volens serve --demo`): people of a home made by the demo, whose keys
are in files here.

Their keys go to one browser: the first that opens the address printed by `serve --demo`. The token
in the address works once; it is exchanged for a cookie that scripts cannot read, and for a secret
word that our pages keep in the browser's storage. The cookie lets the browser see the list of
accounts. A key needs the word, in a header: browsers send the cookies of 127.0.0.1 to all its
ports, so any other local server that the browser visits learns the cookie; storage is bound to the
port as well. Other programs of this machine, which can reach the port, get no key. The web process
knows only the token's hash.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from api.errors import ApiError, NotServing
from api.http.auth import Parts
from api.http.services import Services
from api.operate.bootstrap import check_demo_home
from api.operate.settings import NAME, Settings
from api.pages.personas import CAST
from api.pages.rendering import PageRoute
from api.pages.session import OwnOrigin
from chain.wallets import Wallet, load
from governance.errors import BrokerRefused, NotAllowed, NotFound

router = APIRouter(route_class=PageRoute)
HERE_ONLY = "127.0.0.1"
COOKIE = "volens-demo"
HEADER = "Volens-Demo"  # the word, sent by web/sign.js
ENTER = "/pages/demo-accounts/enter"
_PARTS = ("relay", "worker")  # keys of programs, which are no accounts


@dataclass(frozen=True, slots=True)
class DemoAccounts:
    """`part` is the person's role in the story, "" for the other patients."""

    name: str
    part: str


class Entrance:
    """Admits the first browser that shows the token with this sha256 (hex); without a hash, none."""

    def __init__(self, token_hash: str) -> None:
        self._lock = threading.Lock()
        self._token_hash, self._cookie_hash, self._word_hash = token_hash, "", ""

    def exchange(self, token: str) -> tuple[str, str]:
        """(the cookie's value, the word) for the first caller with the token. Raises NotAllowed."""
        with self._lock:
            if not self._token_hash or not hmac.compare_digest(hash_of(token), self._token_hash):
                raise NotAllowed(
                    "this address was opened already, or is not the one that was printed",
                    "start again: volens serve --demo; then open the address that it prints",
                )
            cookie, word = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
            self._token_hash = ""
            self._cookie_hash, self._word_hash = hash_of(cookie), hash_of(word)
            return cookie, word

    def admits(self, cookie: str) -> bool:
        return _fits(cookie, self._cookie_hash)

    def hands_out(self, word: str) -> bool:
        return _fits(word, self._word_hash)


def _fits(secret: str, known: str) -> bool:
    return bool(known) and hmac.compare_digest(hash_of(secret), known)


def hash_of(secret: str) -> str:
    """sha256 in hex of a token, a cookie or a word."""
    return hashlib.sha256(secret.encode()).hexdigest()


def entered(request: Request) -> bool:
    """Whether this browser opened the printed address first."""
    entrance: Entrance | None = getattr(request.app.state, "entrance", None)
    return entrance is not None and entrance.admits(request.cookies.get(COOKIE, ""))


def _must_know_the_word(request: Request) -> None:
    entrance: Entrance = request.app.state.entrance
    if not entrance.hands_out(request.headers.get(HEADER, "")):
        raise NotAllowed(
            "the demo accounts can be used in one browser only",
            "open the address that `volens serve --demo` printed",
        )


KnowsTheWord = Depends(_must_know_the_word)


def check_home(settings: Settings) -> None:
    """Raise NotServing unless this home was made by the demo and is served to this machine only."""
    check_demo_home(settings.home)
    if settings.api_host != HERE_ONLY:
        raise NotServing(
            "the demo's keys are served to this machine only", f"set VOLENS_API_HOST to {HERE_ONLY}"
        )


def list_people(services: Services) -> list[DemoAccounts]:
    """All demo accounts: those of the story first, then the other patients."""
    names = {path.stem for path in _folder(services).glob("*.json")} - set(_PARTS)
    cast = [DemoAccounts(name, part) for name, part in CAST.items() if name in names]
    return cast + [DemoAccounts(name, "") for name in sorted(names - set(CAST))]


@router.get(ENTER)
def enter(request: Request, token: str = "") -> Response:
    """Exchange the printed token for cookie and word, and redirect. Raises NotAllowed."""
    entrance: Entrance = request.app.state.entrance
    cookie, word = entrance.exchange(token)
    # Browsers do not send the part after "#"; web/sign.js stores it and removes it from the
    # address.
    answer = RedirectResponse(f"/#{COOKIE}={word}", 303)
    services: Services = request.app.state.services
    secure = services.audience.startswith("https:")
    answer.set_cookie(COOKIE, cookie, path="/", httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/pages/demo-accounts/{name}", dependencies=[OwnOrigin, KnowsTheWord])
def hand_out_key(name: str, services: Parts) -> Response:
    """The key file of a demo account, for the tab that acts as it. Raises NotFound."""
    path = _folder(services) / f"{name}.json"
    if NAME.fullmatch(name) is None or name in _PARTS or not path.is_file():
        raise NotFound("there is no demo account with this name", "choose one from the list")
    return JSONResponse(json.loads(path.read_text(encoding="utf-8")))


def open_result(
    services: Services, run: Mapping[str, Any], account: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(result, disclosure) of a released run, opened with the files of its analyst's demo account.

    Raises NotFound when it cannot be opened here, BrokerUnavailable.
    """
    from api.client.client import Client
    from api.client.results import open_output, shown

    name, wallet = _wallet_of(services, account)
    analyst = Client(services.audience, services.identity, wallet)
    try:
        opened = shown(
            open_output(
                analyst,
                services.broker,
                run,
                services.settings.result_folder(name) / f"{run['run']}.key",
            )
        )
    except (ApiError, BrokerRefused) as error:
        raise NotFound(str(error), error.hint) from None
    finally:
        analyst.close()
    return opened["result"], opened["disclosure"]


def has_key(services: Services, account: str) -> bool:
    """Whether the key of this account is in a demo account's file."""
    try:
        _wallet_of(services, account)
    except NotFound:
        return False
    return True


def _wallet_of(services: Services, account: str) -> tuple[str, Wallet]:
    for name in CAST:
        path = _folder(services) / f"{name}.json"
        if path.is_file() and (wallet := load(path)[0]).address == account:
            return name, wallet
    raise NotFound(
        "the key of this analyst is not here", "open the result on your machine: volens result open"
    )


def _folder(services: Services) -> Path:
    return services.settings.home / "keys"
