"""A connection to one deployment: whose ledger it is, is checked before anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

from api.client import runs
from api.client.client import Client
from api.client.joining import Address, check_fingerprint, fetch_identity, grouped
from api.errors import UsageError, VerificationFailed
from api.operate.settings import Settings, read_settings
from chain.wallets import Wallet, is_locked, load
from governance.objects.broker_client import BrokerClient
from governance.rules.encoding import Malformed, VerifyError, strict_json
from governance.rules.ledger_data import identity_id
from volens.progress import progress as show_progress
from volens.result import Rehearsal
from volens.rows import Access, Dataset, Permit, Rows, RunSummary, TrailHead
from volens.run import Run

Params = Mapping[str, Any] | Path | str


@dataclass(frozen=True, slots=True)
class _Signer:
    """Whose key signs, a patient's id, the home of the key, and where result keys and receipts go."""

    wallet: Wallet | None
    subject: bytes | None
    home: Path | None
    folders: tuple[Path, Path] | None


def connect(
    url: str,
    key: Path | str | Wallet | None = None,
    *,
    identity: Path | str | Mapping[str, Any] | None = None,
    fingerprint: str | None = None,
    password: str | None = None,
    folder: Path | str | None = None,
    broker: str | None = None,
) -> Connection:
    """Connect to the deployment at `url` (or URL#FINGERPRINT, as on an invitation).

    key: the file of a key (its password is asked for where it needs one), or a Wallet; without it
    only what is public can be read. A key in the home folder of `volens join` brings the ledger
    identity that is kept there; otherwise name it (`identity`: a file or its content), or the
    `fingerprint` that somebody you know read out to you.
    folder: for receipts (and result keys of earlier versions); without it they are where the
    commands keep them. broker: the key broker's address, which opens results; without it as the
    commands know it.

    Raises UsageError, VerificationFailed for another ledger, NotServing.
    """
    address, settings = _address(url, fingerprint), read_settings()
    signer = _signer(key, password, _path(folder, "folder") if folder is not None else None)
    if signer.home is not None:
        settings = settings.model_copy(update={"home": signer.home})
    pinned = _pinned(address, _given(identity), settings)
    client = Client(address.url, pinned, signer.wallet, signer.subject)
    return Connection(client, settings, signer.folders, broker)


class Connection:
    """One deployment, and whoever signs. Every answer is asked for anew."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        folders: tuple[Path, Path] | None,
        broker: str | None = None,
    ) -> None:
        self._client, self._settings = client, settings
        self._kept, self._broker_url = folders, broker

    @property
    def fingerprint(self) -> str:
        """Of the ledger identity that every signature is bound to."""
        return self._client.identity_id.hex()

    def datasets(self) -> Rows[Dataset]:
        return Rows(Dataset, map(Dataset.of, self._client.datasets()))

    def permits(self) -> Rows[Permit]:
        return Rows(Permit, map(Permit.of, self._client.permits()))

    def runs(self) -> Rows[RunSummary]:
        """Every run, newest first."""
        return Rows(RunSummary, map(RunSummary.of, self._client.runs()))

    def run(self, run: str | RunSummary) -> Run:
        return self._run(run.run if isinstance(run, RunSummary) else _id(run))

    def accesses(self) -> Rows[Access]:
        """The uses of your own data, granted or not, with a patient's key."""
        return Rows(Access, map(Access.of, self._client.accesses()))

    def trail_head(self) -> TrailHead:
        """The newest head of the trail: keep it, to compare an exported trail with it later."""
        return TrailHead.of(self._client.trail_head())

    def rehearse(self, params: Params, people: int = 200, progress: bool = True) -> Rehearsal:
        """Try a run on synthetic people on this machine: no permit, no ledger, no real data."""
        from api.worker.rehearsal import rehearse_here

        if not 10 <= people <= 2500:
            raise UsageError("a rehearsal has 10 to 2500 people", "name another number")
        wanted = runs.complete_params(_document(params))
        with show_progress(progress) as tell:
            return Rehearsal(rehearse_here(self._settings, wanted, people, tell))

    def request_run(self, permit: str | Permit, params: Params) -> Run:
        """Request a run; the key that will open its result follows from yours.

        params: what differs from the defaults, as for `volens run request`.
        """
        wanted = runs.complete_params(_document(params))
        named = permit.permit if isinstance(permit, Permit) else permit
        answer = runs.request_run(self._client, bytes.fromhex(_id(named)), wanted)
        return self._run(str(answer["run"]))

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection {self._client.url}, ledger {self.fingerprint[:8]}…>"

    def _run(self, run: str) -> Run:
        return Run(self._client, self._client.run(run), self._broker, self._folders)

    def _broker(self) -> BrokerClient:
        url = self._broker_url or self._settings.address("broker")
        return BrokerClient(url, self._client.domain, self._client.identity_id)

    def _folders(self) -> tuple[Path, Path]:
        """Of the result keys that earlier versions drew, and of receipts."""
        if self._kept is None:
            raise UsageError(
                "nothing says where receipts are kept",
                "connect with a key file, or name a folder: volens.connect(…, folder=…)",
            )
        return self._kept


def _address(url: str, fingerprint: str | None) -> Address:
    address = Address.parse(url)
    if fingerprint is None:
        return address
    named = Address.parse(f"{address.url}#{fingerprint}")
    if not named.fingerprint or address.fingerprint not in ("", named.fingerprint):
        raise UsageError(
            "the fingerprint is empty, or not the one in the address", "copy it once more"
        )
    return named


def _given(identity: Path | str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if identity is None or isinstance(identity, Mapping):
        return None if identity is None else dict(identity)
    return _object(_path(identity, "ledger identity"), "ledger identity")


def _pinned(
    address: Address, given: Mapping[str, Any] | None, settings: Settings
) -> Mapping[str, Any]:
    """The ledger identity that somebody has compared: given, kept, or named by its fingerprint.

    The service must show the same one. Raises UsageError, VerificationFailed.
    """
    shown = fetch_identity(address.url)
    if given is None and not address.fingerprint and settings.identity_file.is_file():
        given = _object(settings.identity_file, "ledger identity in the home folder")
    if address.fingerprint:
        check_fingerprint(shown, address.fingerprint)
    if given is not None and _fingerprint(given) != identity_id(shown):
        raise VerificationFailed(
            "the service shows another ledger than the identity that you have",
            "do not sign anything here; ask whoever invited you",
        )
    if given is None and not address.fingerprint:
        raise UsageError(
            f"nobody has compared the ledger of {address.url} yet; it shows this fingerprint:\n"
            + grouped(identity_id(shown).hex()),
            "compare it with your invitation, or let somebody you know read theirs out to you (not "
            "over this service); then: volens.connect(url, key, fingerprint=…)",
        )
    return given or shown


def _fingerprint(identity: Mapping[str, Any]) -> bytes:
    try:
        return identity_id(identity)
    except VerifyError:
        raise UsageError(
            "this is no ledger identity", "use identity.json of the deployment"
        ) from None


def _signer(key: Path | str | Wallet | None, password: str | None, folder: Path | None) -> _Signer:
    named = (folder, folder / "receipts") if folder is not None else None
    if key is None or isinstance(key, Wallet):
        return _Signer(key, None, None, named)
    path = _path(key, "key").absolute()
    if is_locked(path) and password is None:
        password = getpass(f"Password of {path.stem}: ")
    wallet, facts = load(path, password)
    subject = bytes.fromhex(facts["subject"]) if "subject" in facts else None
    home = path.parent.parent if path.parent.name == "keys" else None
    receipts = home / "receipts" / path.stem if home is not None else path.with_suffix(".receipts")
    return _Signer(wallet, subject, home, named or (path.with_suffix(".results"), receipts))


def _document(params: Params) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        return _object(_path(params, "parameters"), "parameters")
    try:
        json.dumps(params, default=str, skipkeys=True)
    except (ValueError, RecursionError):
        raise UsageError(
            "the parameters contain themselves, or are nested too deeply",
            "write them as volens run request takes them",
        ) from None
    return dict(params)


def _path(given: object, what: str) -> Path:
    try:
        return Path(given)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"the {what} is no path of a file", "name a file") from None


def _object(path: Path, what: str) -> dict[str, Any]:
    try:
        document: Any = strict_json(path.read_bytes())
    except OSError:
        raise UsageError(f"there is no such file: {what}", "check its name") from None
    except Malformed:
        document = None
    if not isinstance(document, dict):
        raise UsageError(
            f"the {what} cannot be read", "write one strict JSON object: UTF-8, no key twice"
        )
    return document


def _id(text: str) -> str:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise UsageError("an id has 64 hex digits, lowercase", "copy it from a list")
    return text
