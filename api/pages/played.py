"""Only with `volens serve --demo`: the played people of a home that the demo made, whose keys lie in files here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from api.auth import Parts
from api.errors import DoorError, NotServing
from api.pages.rendering import PageRoute
from api.pages.visitor import OwnOrigin
from api.services import Services
from api.settings import NAME, Settings
from chain.wallets import Wallet, load
from governance.errors import BrokerRefused, NotFound

router = APIRouter(route_class=PageRoute)
HERE_ONLY = "127.0.0.1"
_CAST = {
    "ada": "a patient",
    "noor": "the analyst",
    "vera": "the auditor",
    "sol": "an output checker",
    "tess": "an output checker",
    "pia": "of the committee",
    "quinn": "of the committee",
    "rui": "of the committee",
    "rita": "the registrar",
    "omar": "the custodian",
}
_PARTS = ("relay", "worker")  # keys of programs: nobody plays them


@dataclass(frozen=True, slots=True)
class Played:
    """`part` is what the person is in the story, "" for one of the many patients."""

    name: str
    part: str


def check_home(settings: Settings) -> None:
    """Raise NotServing unless this is a home that the demo made, served to this machine only."""
    from api.demo.story import MARK

    if not (settings.home / MARK).is_file():
        raise NotServing("there is no home that the demo made", "run it first: volens demo")
    if settings.api_host != HERE_ONLY:
        raise NotServing(
            "the demo's keys are served to this machine only", f"set VOLENS_API_HOST to {HERE_ONLY}"
        )


def names_of(home: Path) -> dict[str, str]:
    """The name of everybody in the story by address: the ledger itself knows no names."""
    found = {}
    for name in _CAST:
        path = home / "keys" / f"{name}.json"
        if path.is_file():
            found[json.loads(path.read_text(encoding="utf-8"))["address"]] = name.capitalize()
    return found


def list_people(services: Services) -> list[Played]:
    """Everybody who can be played: those of the story first, then the other patients."""
    names = {path.stem for path in _folder(services).glob("*.json")} - set(_PARTS)
    cast = [Played(name, part) for name, part in _CAST.items() if name in names]
    return cast + [Played(name, "") for name in sorted(names - set(_CAST))]


@router.post("/pages/played/{name}", dependencies=[OwnOrigin])
def hand_out_key(name: str, services: Parts) -> Response:
    """The key file of a played person, for the tab that acts as her. Raises NotFound."""
    path = _folder(services) / f"{name}.json"
    if NAME.fullmatch(name) is None or name in _PARTS or not path.is_file():
        raise NotFound("nobody of this name is played here", "choose somebody of the list")
    return JSONResponse(json.loads(path.read_text(encoding="utf-8")))


def open_result(
    services: Services, run: Mapping[str, Any], account: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(result, disclosure) of a released run, opened with its played analyst's own files.

    Raises NotFound when it cannot be opened here, BrokerUnavailable.
    """
    from api.client import Client
    from api.results import open_output, shown

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
    except (DoorError, BrokerRefused) as error:
        raise NotFound(str(error), error.hint) from None
    finally:
        analyst.close()
    return opened["result"], opened["disclosure"]


def _wallet_of(services: Services, account: str) -> tuple[str, Wallet]:
    for name in _CAST:
        path = _folder(services) / f"{name}.json"
        if path.is_file() and (wallet := load(path)[0]).address == account:
            return name, wallet
    raise NotFound(
        "the key of this analyst is not here", "open the result on your machine: volens result open"
    )


def _folder(services: Services) -> Path:
    return services.settings.home / "keys"
