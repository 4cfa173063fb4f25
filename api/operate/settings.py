"""Settings from the environment (VOLENS_*): folders, addresses, limits.

No other module reads the environment.

Every name below can be set as VOLENS_<NAME>. Addresses that are not set are read from `run.json` in
the home folder, which `volens serve` writes once its processes have their ports.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import ssl
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.errors import NotServing, UsageError

NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
LOCAL, RAY = "local", "ray"  # engines
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# Only the API sends notices; nothing else is given these.
FOR_NOTICES = ("VOLENS_SMTP_URL", "VOLENS_WEBHOOK_URL", "VOLENS_WEBHOOK_KEY_FILE")
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class Settings(BaseSettings):
    """Read once at the start of a process and passed on."""

    model_config = SettingsConfigDict(
        env_prefix="VOLENS_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Field(
        default=Path(".volens"), description="the folder of keys, receipts, ledger and database"
    )
    chain_url: str = Field(
        default="",
        description="where the ledger's node answers; without it `volens init` and `volens serve` "
        "start a dev chain in the home folder",
    )
    bucket_url: str = Field(
        default="",
        description="the bucket of the encrypted objects: `gs://NAME` is one of Google Cloud "
        "Storage, http://HOST:PORT an emulator's; without it `volens serve` starts an emulator",
    )
    bucket_name: str = Field(default="volens", description="the bucket's name in an emulator")
    bucket_project: str = Field(
        default="", description="the Google project that a new bucket belongs to"
    )
    bucket_location: str = Field(
        default="",
        description="where Google keeps a new bucket, e.g. europe-west3; with it `volens serve` "
        "makes the bucket if there is none",
    )
    bucket_endpoint: str = Field(
        default="",
        description="another address of Google Cloud Storage, e.g. one that answers from within "
        "a region",
    )
    broker_url: str = Field(default="", description="where the key broker answers")
    worker: str = Field(
        default="worker",
        description="the name of the worker's key in the home folder; `volens serve` starts several "
        "workers, each with its own: `worker,worker-2`",
    )
    engine: str = Field(
        default=LOCAL,
        description="where runs are computed: `local`, in the worker itself; `ray`, by a worker of "
        "each name in VOLENS_WORKER that Ray starts on this machine; ray://HOST:PORT, on the Ray "
        "cluster with its head there, which this machine is part of",
    )
    ray_workers: int = Field(
        default=0, description="how many workers Ray starts; 0: one for each name in VOLENS_WORKER"
    )
    ray_token: Path | None = Field(
        default=None,
        description="the file of the Ray cluster's token; a local Ray gets one of its own",
    )
    relay: str = Field(
        default="relay",
        description="the name of the key by which the API sends to the ledger; each API process "
        "has its own",
    )
    api: str = Field(default="", description="where the commands find the API")
    public_url: str = Field(
        default="",
        description="the address under which people reach API and pages, e.g. "
        "https://volens.example.org: a sign-in is good for this one only; without it "
        "http://localhost and the API's port",
    )
    public_chain_url: str = Field(
        default="",
        description="the public address of a node of the ledger's network that only reads, if there "
        "is one: pages name it to wallets that do not know the network",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="the certificate (PEM, with its chain) by which the API answers https",
    )
    tls_key: Path | None = Field(default=None, description="the key of that certificate (PEM)")
    api_host: str = Field(default="127.0.0.1", description="where the API listens")
    api_port: int = Field(default=0, description="the API's port; 0: any free one")
    senders: str = Field(
        default="",
        description="addresses, separated by commas, whose transactions this ledger accepts "
        "besides its relay and worker",
    )
    rate_limit: int = Field(
        default=500,
        description="refused requests that one address may send in a burst; five a second come "
        "back, and withdrawals are never turned away",
    )
    proxies: str = Field(
        default="",
        description="addresses of the proxies before the API, separated by commas: the client "
        "addresses that they forward are trusted",
    )
    database_url: str = Field(
        default="",
        description="the database of derived rows, e.g. postgresql+psycopg://USER:PASSWORD@HOST/NAME; "
        "without it `volens.db` (SQLite) in the home folder",
    )
    smtp_url: str = Field(
        default="",
        repr=False,
        description="the server that mails notices: `smtp://USER:PASSWORD@HOST:587` (with STARTTLS), "
        "`smtps://…:465`, or `smtp://localhost:25`, the only one without TLS; without it nothing is "
        "mailed",
    )
    mail_from: str = Field(default="", description="the address that notices are mailed from")
    webhook_url: str = Field(
        default="",
        repr=False,
        description="where notices to people with a role are posted, e.g. "
        "https://chat.example.org/volens",
    )
    webhook_key_file: Path | None = Field(
        default=None,
        description="the file of the key that those posts are signed with (HMAC-SHA256): 32 bytes "
        "or more",
    )
    relax: Literal["", "isolation"] = Field(
        default="",
        description="`isolation`: the chain runs without a network namespace, and the processes "
        "that read plaintext without what this machine cannot confine them by; `volens doctor` "
        "shows it",
    )
    demo: bool = Field(
        default=False,
        description="the pages offer the demo accounts; `volens serve --demo` sets it, for a home "
        "that the demo made",
    )
    demo_token: str = Field(
        default="",
        description="sha256 of the token in the address that `volens serve --demo` prints, which "
        "sets it",
    )
    chromium: str = Field(
        default="", description="the browser of the tests; without it one is found by name"
    )
    pictures: str = Field(
        default="", description="a folder where the tests leave pictures of the pages"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="where models are computed: `cpu`, `cuda`, or a GPU if there is one; each "
        "run's record names device, time and peak memory",
    )
    log: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the lowest level in the services' logs"
    )
    metrics_host: str = Field(default="127.0.0.1", description="the address where Prometheus reads")
    metrics_port: int = Field(
        default=0, description="its port; 0: none, but a free one under `volens serve`"
    )

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'volens.db'}"

    @property
    def workers(self) -> list[str]:
        """The names of the workers' keys here. Raises UsageError."""
        names = self.worker.replace(",", " ").split()
        if not names or len(set(names)) < len(names):
            raise UsageError(
                "VOLENS_WORKER names no worker, or one of them twice",
                "name each worker's key once: worker,worker-2",
            )
        return [checked_name(name) for name in names]

    @property
    def has_database(self) -> bool:
        """Whether there may be one: a server, or a file that exists."""
        file = self.database.removeprefix("sqlite:///")
        return file == self.database or Path(file).exists()

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

    def child_environment(self, home: Path) -> dict[str, str]:
        """The environment of started services: this environment with an absolute home folder."""
        own = {
            "HOME": str(home),
            "DEMO": str(self.demo),
            "CHAIN_URL": self.chain_url,
            "BUCKET_URL": self.bucket_url,
            "DATABASE_URL": self.database_url,
            "ENGINE": self.engine,
            "RAY_TOKEN": str(self.ray_token or ""),
            "WORKER": self.worker,
            "DEVICE": self.device,
        }
        return {**os.environ, **{f"VOLENS_{name}": value for name, value in own.items()}}

    def ray_address(self) -> str:
        """HOST:PORT of the Ray cluster's head, "" for a Ray of this machine. Raises UsageError."""
        if self.engine == RAY:
            return ""
        parts = urlsplit(self.engine)
        try:
            right = parts.scheme == RAY and parts.hostname and parts.port and not parts.path
        except ValueError:
            right = False
        if not right:
            raise UsageError(
                "VOLENS_ENGINE names no engine", "choose local, ray, or ray://HOST:PORT"
            )
        return parts.netloc

    def check_network(self) -> None:
        """Raise UsageError unless the public address and the certificate's files fit together."""
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise UsageError(
                "a certificate needs its key, and a key its certificate",
                "set VOLENS_TLS_CERTIFICATE and VOLENS_TLS_KEY",
            )
        public = checked_url(self.public_url, "VOLENS_PUBLIC_URL") if self.public_url else ""
        if self.public_chain_url:
            checked_url(self.public_chain_url, "VOLENS_PUBLIC_CHAIN_URL", may_have_path=True)
        if self.tls_certificate is None or self.tls_key is None:
            return
        if public.startswith("http:"):
            raise UsageError(
                "the API answers https, and VOLENS_PUBLIC_URL is a http address",
                "write https:// there",
            )
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.tls_certificate, self.tls_key, password=_refuse_password
            )
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            raise UsageError(
                "the certificate and its key cannot be read, or do not belong together",
                "see VOLENS_TLS_CERTIFICATE and VOLENS_TLS_KEY: PEM files, the key without a password",
            ) from None

    def remember_address(self, part: str, url: str) -> None:
        """Write the address of a process into run.json."""
        known = _read_addresses(self.run_file) | {part: url}
        temporary = self.run_file.with_name(f".{self.run_file.name}")
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(self.run_file)

    def key_file(self, name: str) -> Path:
        """The key file of a person. Raises UsageError for a name that could be a path."""
        return self.home / "keys" / f"{checked_name(name)}.json"

    def result_folder(self, name: str) -> Path:
        """The folder of the keys of a person's looks at plans, and of the result and viewer keys that
        earlier versions drew.
        """
        return self.home / "keys" / f"{checked_name(name)}.results"

    def receipt_folder(self, name: str) -> Path:
        return self.home / "receipts" / checked_name(name)

    def address(self, part: Literal["chain", "bucket", "broker", "api"]) -> str:
        """The URL of a process: as set, or from run.json. Raises NotServing."""
        given = {
            "chain": self.chain_url,
            "bucket": self.bucket_url,
            "broker": self.broker_url,
            "api": self.api or self.public_url,
        }
        url = given[part] or _read_addresses(self.run_file).get(part, "")
        if not url:
            hint = "start it: volens serve"
            if part == "api":
                hint = "join a service: volens join URL, as your invitation says; or start one: volens serve"
            raise NotServing(f"the address of the {part} is unknown", hint)
        return url.rstrip("/")


def read_settings() -> Settings:
    """The settings of this environment. Raises UsageError for a value that one cannot have."""
    try:
        return Settings()
    except ValidationError:
        raise UsageError(
            "a VOLENS_… setting has a value that it cannot have",
            "look at docs/reference/settings.md",
        ) from None


def checked_url(url: str, what: str, may_have_path: bool = False) -> str:
    """An https address of a host, with a port or without; http for this machine only. The path, which
    an RPC node usually has, is left out. Raises UsageError.

    Over plain http anybody on the way could show a false page, or take a session.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    plain = parts.scheme == "http" and host in THIS_MACHINE
    alone = not (parts.query or parts.fragment or "@" in parts.netloc) and (
        may_have_path or parts.path in ("", "/")
    )
    shown_only = re.fullmatch(r"[!-~]+", url.strip())  # nothing that is read over or rewritten
    named = _is_address(host) if "[" in parts.netloc else _is_host(host)
    right = bool(shown_only and named and alone and port != 0)
    if not (right and (plain or parts.scheme == "https")):
        raise UsageError(
            f"{what} is not an https address of a host",
            "write it like https://volens.example.org (http is for localhost only)",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def is_host(host: str) -> bool:
    """Whether this is a host's name, or an address."""
    return _is_host(host) or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    """Whether this is a name of ASCII labels (RFC 1123), or an IPv4 address, which looks like one."""
    return len(host) <= 253 and all(map(_LABEL.fullmatch, host.split(".")))


def set_for_ray(token: Path, folder: Path) -> None:
    """What Ray reads from the environment of this process and of those it starts.

    Without a token, any program that reaches one of Ray's ports could run code as this account.
    """
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers
    }


def _refuse_password() -> bytes:
    """Asked for by the library where a key is locked: a service has nobody to ask."""
    raise ValueError


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
