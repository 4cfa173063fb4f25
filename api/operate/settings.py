"""Where volens keeps its files and finds its processes: the only module that reads the environment.

Every name below can be set as VOLENS_<NAME>. What is not set is read from `run.json` in the home folder, which
`volens serve` writes once its processes have their ports.
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
    """Read once at the start of a process and handed on."""

    model_config = SettingsConfigDict(env_prefix="VOLENS_", extra="ignore", frozen=True)

    home: Path = Path(".volens")
    chain_url: str = ""
    bucket_url: str = ""  # an emulator's address
    bucket_name: str = "volens"
    broker_url: str = ""
    api: str = ""  # where clients find the API
    api_host: str = "127.0.0.1"
    api_port: int = 0
    senders: str = ""  # addresses by commas whose transactions the ledger here takes, beside relay and worker here
    rate_limit: int = (
        500  # refused requests that one address may send at once; five a second come back
    )
    proxies: str = ""  # addresses of the proxies before the API, by commas: their word for who calls is believed
    database_url: str = ""
    relax: Literal["", "isolation"] = ""
    demo: bool = (
        False  # the pages offer the demo's played people; only for a home that the demo made
    )
    demo_token: str = (
        ""  # sha256 of the token in the address that `serve --demo` prints; it sets this by itself
    )
    chromium: str = ""  # the browser of the tests; found by name when it is not set
    pictures: str = (
        ""  # the folder where the tests leave pictures of the pages; none are taken without it
    )
    device: Literal["auto", "cpu", "cuda"] = (
        "auto"  # where models are computed; auto takes a GPU if there is one
    )
    log: Literal["debug", "info", "warning", "error"] = (
        "info"  # the least that the services' logs tell
    )
    metrics_host: str = (
        "127.0.0.1"  # who may read the API's figures: this machine, unless another address is named
    )
    metrics_port: int = 0  # 0: none, and a free one under `volens serve`

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
        """What the people of a new deployment are to sign, and what came back."""
        return self.home / "ceremony"

    @property
    def worker_beat(self) -> Path:
        """Touched by the worker every few seconds: a young one means that it lives."""
        return self.home / "worker.beat"

    def child_environment(self, home: Path) -> dict[str, str]:
        """What the parts of one machine are started with: this environment, with the home folder made absolute."""
        return {**os.environ, "VOLENS_HOME": str(home), "VOLENS_DEMO": str(self.demo)}

    def key_file(self, name: str) -> Path:
        """The key file of a person. Raises UsageError for a name that could be a path."""
        return self.home / "keys" / f"{checked_name(name)}.json"

    def result_folder(self, name: str) -> Path:
        """Where a person's result and viewer keys lie, by run."""
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
            raise NotServing(f"nobody knows where the {part} runs", "start it: volens serve")
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
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(url) for name, url in found.items()} if isinstance(found, dict) else {}
