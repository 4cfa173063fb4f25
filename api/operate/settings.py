"""Settings from the environment (VOLENS_*): folders, addresses, limits.

No other module reads the environment.

Every name below can be set as VOLENS_<NAME>. Addresses that are not set are read from `run.json` in
the home folder, which `volens serve` writes once its processes have their ports.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict

from api.errors import NotServing, UsageError

NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Settings(BaseSettings):
    """Read once at the start of a process and passed on."""

    model_config = SettingsConfigDict(env_prefix="VOLENS_", extra="ignore", frozen=True)

    home: Path = Path(".volens")
    chain_url: str = ""
    bucket_url: str = ""  # an emulator's address
    bucket_name: str = "volens"
    broker_url: str = ""
    api: str = ""  # where clients find the API
    api_host: str = "127.0.0.1"
    api_port: int = 0
    # Addresses, separated by commas, whose transactions this ledger accepts besides its relay and
    # worker.
    senders: str = ""
    # Refused requests that one address may send in a burst; five a second come back.
    rate_limit: int = 500
    # Addresses of the proxies before the API, separated by commas: their forwarded client addresses
    # are trusted.
    proxies: str = ""
    database_url: str = ""
    relax: Literal["", "isolation"] = ""
    # The pages offer the demo accounts; only for a home made by the demo.
    demo: bool = False
    # sha256 of the token in the address that `serve --demo` prints; set by `serve --demo` itself.
    demo_token: str = ""
    chromium: str = ""  # the browser of the tests; found by name when it is not set
    # The folder for pictures of the pages from tests; none are taken if it is not set.
    pictures: str = ""
    # Where models are computed; auto uses a GPU if there is one.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # The lowest level in the services' logs.
    log: Literal["debug", "info", "warning", "error"] = "info"
    # The address on which the API's metrics can be read.
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0  # 0: no metrics, but a free port under `volens serve`

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'volens.db'}"

    @property
    def identity_file(self) -> Path:
        return self.home / "identity.json"

    @property
    def run_file(self) -> Path:
        return self.home / "run.json"

    @property
    def ceremony_folder(self) -> Path:
        """The files of the key ceremony of a new deployment."""
        return self.home / "ceremony"

    @property
    def worker_beat(self) -> Path:
        """Touched by the worker every few seconds while it is alive."""
        return self.home / "worker.beat"

    def child_environment(self, home: Path) -> dict[str, str]:
        """The environment of started services: this environment with an absolute home folder."""
        return {**os.environ, "VOLENS_HOME": str(home), "VOLENS_DEMO": str(self.demo)}

    def key_file(self, name: str) -> Path:
        """The key file of a person. Raises UsageError for a name that could be a path."""
        return self.home / "keys" / f"{checked_name(name)}.json"

    def result_folder(self, name: str) -> Path:
        """The folder of a person's result and viewer keys, by run."""
        return self.home / "keys" / f"{checked_name(name)}.results"

    def receipt_folder(self, name: str) -> Path:
        return self.home / "receipts" / checked_name(name)

    def address(self, part: Literal["chain", "bucket", "broker", "api"]) -> str:
        """The URL of a process: as set, or from run.json. Raises NotServing."""
        given = {
            "chain": self.chain_url,
            "bucket": self.bucket_url,
            "broker": self.broker_url,
            "api": self.api,
        }
        url = given[part] or _read_addresses(self.run_file).get(part, "")
        if not url:
            raise NotServing(f"the address of the {part} is unknown", "start it: volens serve")
        return url.rstrip("/")


def checked_name(name: str) -> str:
    """A name of letters, digits, - and _, at most 40. Raises UsageError."""
    if NAME.fullmatch(name) is None:
        raise UsageError(
            "a name has letters, digits, - and _, at most 40 of them",
            "choose a plain name, e.g. ada",
        )
    return name


def _read_addresses(path: Path) -> dict[str, str]:
    try:
        addresses = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return (
        {str(name): str(url) for name, url in addresses.items()}
        if isinstance(addresses, dict)
        else {}
    )
