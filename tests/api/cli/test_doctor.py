"""`volens doctor`: each check has a state, a meaning and a hint; failures have exit codes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.confinement import ALL, Layer
from api.confinement.probe import probe
from api.operate import doctor as checkup
from api.operate import doctor_files as checkup_files
from api.operate.bootstrap import sign_identity
from api.operate.doctor import examine
from api.operate.health import workers_of
from api.operate.settings import Settings
from chain.ledger import Ledger
from chain.signatures import domain_of
from chain.vocabulary import Role
from chain.wallets import Wallet, save
from governance.readmodel.database import open_database
from governance.rules.ledger_data import identity_id

Checks = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def closed(deployment) -> None:
    """As `volens serve` leaves a home, whatever rights this machine gives to new files."""
    for name, mode in (("", 0o700), ("keys", 0o700), ("identity.json", 0o600), ("run.json", 0o600)):
        (deployment.home / name).chmod(mode)


@pytest.fixture
def diagnose(deployment, volens) -> Callable[[], tuple[int, Checks]]:
    def ask() -> tuple[int, Checks]:
        deployment.services.projection.sync()
        result = volens("doctor", "--json")
        return result.code, {
            check["name"]: check for check in json.loads(result.out.splitlines()[0])["checks"]
        }

    return ask


@pytest.fixture
def home(deployment, volens, tmp_path, monkeypatch) -> Path:
    """Another machine's home with the same identity and addresses, and no key of the committee."""
    folder = tmp_path / "home"
    (folder / "keys").mkdir(parents=True)
    for name in ("identity.json", "run.json", "keys/relay.json"):
        shutil.copy(deployment.home / name, folder / name)
    for path in (folder, folder / "keys"):
        path.chmod(0o700)
    monkeypatch.setenv("VOLENS_HOME", str(folder))
    monkeypatch.delenv("VOLENS_DATABASE_URL")
    return folder


def test_each_line_has_a_state_and_what_to_do(deployment, diagnose) -> None:
    deployment.worker_alive()
    code, checks = diagnose()
    assert code == 0
    assert {name for name, check in checks.items() if check["state"] == "warn"} == {
        "custody",
        "committee",
        "ledger nodes",
    }
    assert all(check["state"] in ("ok", "warn") and check["means"] for check in checks.values())
    assert all(bool(check["do"]) == (check["state"] != "ok") for check in checks.values())
    assert "1 operator" in checks["custody"]["means"]
    assert "3 of 3 committee members' keys" in checks["committee"]["means"]
    assert not [
        check for check in checks.values() if deployment.world.people["pia"].address in str(check)
    ]


def test_a_machine_without_a_quorums_keys_is_not_the_committee(deployment, home, diagnose) -> None:
    shutil.copy(deployment.home / "keys" / "pia.json", home / "keys")
    _, checks = diagnose()
    assert (checks["committee"]["state"], checks["committee"]["means"][:6]) == ("ok", "1 of 3")
    assert checks["rows"]["state"] == "warn"
    assert not (home / "volens.db").exists()  # looking makes nothing


def test_the_keys_of_todays_committee_are_counted(deployment, home, diagnose) -> None:
    """A founder has left, two others have come, and both of their keys lie here."""
    world, added = deployment.world, [Wallet.new(), Wallet.new()]
    world.people |= {"first": added[0], "second": added[1]}

    def count(ledger: Ledger | None = world.ledger) -> tuple[str, str]:
        members = checkup._holders(ledger, Role.COMMITTEE)
        check = checkup_files.committee(Settings(home=home), world.ledger.identity, members)
        return check.state, check.means.split(" keys are")[0]

    try:
        for name in ("first", "second"):
            save(world.people[name], home / "keys" / f"{name}.json")
            world.set_role(world.people[name].address, "committee")
        world.set_role(
            world.people["pia"].address, "committee", start=1, end=2, by=("first", "quinn")
        )
        assert count() == ("warn", "2 of 4 committee members'")
        assert (
            "whoever controls this machine is the committee" in diagnose()[1]["committee"]["means"]
        )
        assert count(None) == ("ok", "0 of 3 founders'")  # nobody says who is in it today
        shutil.copy(deployment.home / "keys" / "pia.json", home / "keys")
        (home / "keys" / "first.json").unlink()
        assert count() == ("ok", "1 of 4 committee members'")
    finally:
        world.set_role(world.people["pia"].address, "committee", by=("first", "quinn"))
        for name in ("first", "second"):
            world.set_role(world.people.pop(name).address, "committee", start=1, end=2)


class Stranger(BaseHTTPRequestHandler):
    """Answers the server's body to everything, and that it is healthy."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stranger() -> Iterator[Any]:
    """`stranger.url` is where it answers, `body` and `status` what."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    server.status, server.url = 200, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("body", [b"hello", b"{}", b'{"result": "hello"}'])
def test_a_foreign_server_at_a_services_address_is_noticed(
    deployment, home, diagnose, stranger, monkeypatch, body: bytes
) -> None:
    stranger.body = body
    for name in ("API", "BROKER_URL", "BUCKET_URL"):
        monkeypatch.setenv(f"VOLENS_{name}", stranger.url)
    code, checks = diagnose()
    assert code == 7
    for part in ("api", "broker", "bucket"):
        assert (checks[part]["state"], checks[part]["means"][:27]) == (
            "bad",
            "something else answers ther",
        ), part
    assert checks["ledger"]["state"] == "ok"
    monkeypatch.setenv("VOLENS_CHAIN_URL", stranger.url)
    code, checks = diagnose()
    assert (code, checks["ledger"]["state"], checks["contracts"]["state"]) == (6, "bad", "down")


def test_a_witness_must_be_current_and_from_the_pinned_broker(
    deployment, stranger, monkeypatch
) -> None:
    settings, ledger = (
        Settings(home=deployment.home, broker_url=stranger.url),
        deployment.world.ledger,
    )
    live = checkup._holders(ledger, Role.BROKER)
    real = deployment.services.broker.witness()

    def means_of(answer: object) -> str:
        stranger.body = json.dumps(answer).encode()
        return checkup._broker(settings, ledger.identity, ledger, live).means

    def signed(by: Wallet, **change: object) -> dict[str, object]:
        shown = {
            name: real[name] for name in ("block", "count", "blockHash", "time", "head")
        } | change
        message = {
            **shown,
            "blockHash": bytes.fromhex(str(shown["blockHash"])),
            "head": bytes.fromhex(real["head"]),
        }
        signature = by.sign(
            ledger.domain, "Witness", {**message, "identity": identity_id(ledger.identity)}
        )
        return {
            **shown,
            "broker": deployment.world.people["bram"].address,
            "signature": signature.hex(),
        }

    assert means_of(real) == means_of(signed(deployment.world.people["bram"])) != ""
    assert means_of(real).startswith("answers; its current witness")
    assert "not signed by a broker" in means_of(signed(Wallet.new()))
    assert "not signed by a broker" in means_of(
        signed(deployment.world.people["pia"])
    )  # a founder is no broker
    assert "of another ledger" in means_of(
        signed(deployment.world.people["bram"], blockHash="00" * 32)
    )
    monkeypatch.setattr(checkup, "SKEW", -1)
    assert "an old one" in means_of(real)
    stranger.status = 500
    assert "no signed witness" in means_of([])


def test_an_api_of_another_ledger_and_another_bucket_are_strangers(deployment, stranger) -> None:
    settings, identity = (
        Settings(home=deployment.home, api=stranger.url),
        deployment.world.ledger.identity,
    )
    assert checkup._bucket(Settings(home=deployment.home, bucket_name="another")).state == "bad"
    for other, state in (({}, "ok"), ({"salt": "00" * 32}, "bad")):
        stranger.body = json.dumps(identity | other).encode()
        assert checkup._api(settings, identity).state == state


def test_a_bucket_that_has_what_was_never_written_is_a_stranger(deployment, monkeypatch) -> None:
    """A real object takes the place of the drawn name: whoever has every object has this one, with
    fitting bytes.
    """
    settings = Settings(home=deployment.home)
    assert checkup._bucket(settings).state == "ok"
    deployment.services.bucket.put(b"written")
    monkeypatch.setattr(
        checkup, "secrets", SimpleNamespace(token_hex=lambda _: sha256(b"written").hexdigest())
    )
    check = checkup._bucket(settings)
    assert (check.state, "never written" in check.means) == ("bad", True)


def test_a_relay_that_holds_a_role_is_said(deployment, home) -> None:
    settings, ledger = Settings(home=home), deployment.world.ledger
    assert checkup._relay(settings, ledger).state == "ok"
    shutil.copy(deployment.home / "keys" / "noor.json", home / "keys" / "relay.json")
    check = checkup._relay(settings, ledger)
    assert (check.state, "its key holds a role" in check.means) == ("warn", True)


@pytest.mark.parametrize(
    ("body", "state"),
    [(b'{"isolated": false}', "warn"), (b'{"isolated": true}', "ok"), (b"{}", "ok"), (b"[]", "ok")],
)
def test_a_dev_chain_that_is_not_shut_off_is_said(
    deployment, stranger, body: bytes, state: str
) -> None:
    stranger.body = body
    assert checkup._isolation(Settings(home=deployment.home, chain_url=stranger.url)).state == state


def test_a_future_sign_of_life_is_none(deployment) -> None:
    """The clock was set back: what the worker wrote lies in the future, and stays there."""
    now = int(time.time())
    for at, alive in ((now, True), (now + 3600, False), (now + 60, False), (now - 3600, False)):
        deployment.worker_alive(at)
        workers = workers_of(deployment.settings, now)
        assert [worker.account for worker in workers] == (
            [deployment.world.people["wanda"].address] if alive else []
        )


@contextmanager
def without_role(deployment, name: str, role: str) -> Iterator[None]:
    account = deployment.world.people[name].address
    deployment.world.set_role(account, role, start=1, end=2)
    try:
        yield
    finally:
        deployment.world.set_role(account, role)


def test_a_broker_whose_role_is_over_lets_no_key_out(deployment, diagnose) -> None:
    deployment.worker_alive()
    with without_role(deployment, "bram", "broker"):
        code, checks = diagnose()
    assert code == 7
    assert {name for name, check in checks.items() if check["state"] == "bad"} == {
        "broker",
        "custody",
        "identity",
    }
    assert all("no key can leave" in checks[name]["means"] for name in ("broker", "custody"))
    assert "holds every share" not in checks["custody"]["means"]


def test_a_worker_whose_role_is_over_computes_nothing(deployment, home, diagnose) -> None:
    assert diagnose()[1]["worker role"]["means"] == "its key is not on this machine"
    shutil.copy(deployment.home / "keys" / "wanda.json", home / "keys" / "worker.json")
    assert diagnose()[1]["worker role"]["means"] == "its key may compute"
    with without_role(deployment, "wanda", "worker"):
        code, checks = diagnose()
    assert (code, checks["worker role"]["state"]) == (7, "bad")
    assert "it can compute no run" in checks["worker role"]["means"]


def test_the_identity_is_signed_by_a_quorum_and_the_ledgers_broker_only(deployment) -> None:
    people, identity = deployment.world.people, deployment.world.ledger.identity
    live = checkup._holders(deployment.world.ledger, Role.BROKER)

    def state(*signers: Wallet, live: set[bytes] | None = live) -> str:
        return checkup._signatures(
            {**identity, "signatures": sign_identity(identity, list(signers))}, live
        ).state

    pia, quinn, rui, bram = (people[name] for name in ("pia", "quinn", "rui", "bram"))
    assert state(pia, quinn, bram) == state(pia, quinn, rui, bram) == "ok"
    assert state(pia, bram) == "bad"
    assert state(pia, quinn) == "bad"  # no broker
    assert state(pia, quinn, Wallet.new(), Wallet.new()) == "bad"
    assert state(pia, quinn, bram, Wallet.new()) == "bad"
    assert state(pia, quinn, bram, people["omar"]) == "bad"  # has a role, another one
    assert state(pia, quinn, bram, live=None) == "warn"  # the ledger was not asked
    forged = Wallet.new().sign(domain_of(identity), "Identity", {"id": identity_id(identity)}).hex()
    complete = sign_identity(identity, [pia, quinn, bram])
    for who in (bram, rui):  # a quorum's are good, and one is not
        signatures = complete | {who.address: forged}
        assert checkup._signatures({**identity, "signatures": signatures}, live).state == "bad"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda identity: identity["contracts"][3].update(codeHash="00" * 32), "contracts"),
        (lambda identity: identity["signatures"].pop(identity["founders"][0]), "identity"),
        (lambda identity: identity.pop("salt"), "identity"),
        (
            lambda identity: identity["signatures"].update({identity["founders"][0]: "00" * 65}),
            "identity",
        ),
        (lambda identity: identity.update(genesisHash="00" * 32), "contracts"),
    ],
)
def test_an_identity_that_was_altered_is_bad(home, diagnose, change, name: str) -> None:
    identity = json.loads((home / "identity.json").read_text())
    change(identity)
    (home / "identity.json").write_text(json.dumps(identity))
    code, checks = diagnose()
    assert (code, checks[name]["state"]) == (7, "bad")


def test_a_key_file_that_others_can_read_is_bad(home, diagnose) -> None:
    (home / "keys" / "relay.json").chmod(0o644)
    code, checks = diagnose()
    assert (code, checks["key files"]["state"]) == (7, "bad")


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("", 0o777),
        ("", 0o720),
        ("keys", 0o702),
        ("identity.json", 0o666),
        ("identity.json", 0o620),
        ("run.json", 0o602),
    ],
)
def test_what_others_can_exchange_is_bad(home, name: str, mode: int) -> None:
    settings = Settings(home=home)
    assert checkup_files.key_files(settings).state == "ok"
    (home / name).chmod(mode)
    check = checkup_files.key_files(settings)
    assert (check.state, (name or "the home folder") in check.means) == ("bad", True)


@pytest.mark.parametrize(
    ("name", "mode"), [("wallet", 0o644), ("exchange", 0o640), ("provider", 0o604), ("", 0o755)]
)
def test_the_brokers_keys_are_its_owners_only(deployment, home, name: str, mode: int) -> None:
    shutil.copytree(deployment.home / "broker", home / "broker")
    assert checkup_files.key_files(Settings(home=home)).state == "ok"
    (home / "broker" / name).chmod(mode)
    assert checkup_files.key_files(Settings(home=home)).state == "bad"


def test_a_part_that_is_down_does_not_hide_the_others(deployment, diagnose, monkeypatch) -> None:
    monkeypatch.setenv("VOLENS_API", "http://127.0.0.1:9")
    code, checks = diagnose()
    assert (code, checks["api"]["state"], checks["identity"]["state"]) == (6, "down", "ok")
    monkeypatch.setenv("VOLENS_CHAIN_URL", "http://127.0.0.1:9")
    code, checks = diagnose()
    assert (code, checks["ledger"]["state"], checks["contracts"]["state"]) == (6, "down", "down")
    assert checks["disk"]["state"] == "ok"


@pytest.fixture(scope="module")
def broken(deployment, tmp_path_factory) -> Path:
    """A folder of databases: four whose bytes are spoilt, one of them in a table only, and one that
    is a folder.
    """
    deployment.services.projection.sync()
    folder = tmp_path_factory.mktemp("broken")
    (folder / "garbage").write_bytes(b"\xff\x00nothing" * 1000)
    deployment.copy_rows(folder / "whole")
    content = (folder / "whole").read_bytes()
    (folder / "cut").write_bytes(content[: len(content) // 3])
    (folder / "damaged").write_bytes(content[:4096] + b"\x55" * (len(content) - 4096))
    with sqlite3.connect(folder / "whole") as copy:
        (size,), (page,) = (
            copy.execute("pragma page_size").fetchone(),
            copy.execute("select rootpage from sqlite_master where name = 'blocks'").fetchone(),
        )
    start = size * (page - 1)
    (folder / "table").write_bytes(content[:start] + b"\x55" * size + content[start + size :])
    (folder / "folder").mkdir()
    return folder


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "postgresql://127.0.0.1:9/x",
        "mysql://x/y",
        *(f"sqlite:///FOLDER/{name}" for name in ("garbage", "cut", "damaged", "table", "folder")),
    ],
)
def test_a_broken_database_is_said_plainly(deployment, broken: Path, url: str) -> None:
    settings = Settings(home=deployment.home, database_url=url.replace("FOLDER", str(broken)))
    reports = list(checkup_files.rows(settings, deployment.world.ledger))
    assert ("rows", "bad") in [(report.name, report.state) for report in reports]
    assert all(report.do for report in reports if report.state == "bad")
    assert str(broken) not in str(reports)


def test_a_broken_database_and_addresses_hide_nothing_else(
    deployment, broken: Path, home, diagnose, monkeypatch
) -> None:
    deployment.worker_alive()
    monkeypatch.setenv("VOLENS_DATABASE_URL", f"sqlite:///{broken / 'garbage'}")
    code, checks = diagnose()
    assert (code, [name for name, check in checks.items() if check["state"] == "bad"]) == (
        7,
        ["rows"],
    )
    assert {"ledger", "identity", "key files", "disk", "clock"} <= checks.keys()
    for name, url in (
        ("bucket", "http://x:port"),
        ("broker", "http://["),
        ("api", "http://x:port"),
    ):
        monkeypatch.setenv(checkup._SET_AS[name], url)
    code, checks = diagnose()
    assert (code, checks["custody"]["state"], checks["ledger"]["state"]) == (7, "warn", "ok")
    assert {name for name, check in checks.items() if check["state"] == "bad"} == {
        "bucket",
        "broker",
        "api",
        "rows",
    }
    monkeypatch.setenv(checkup._SET_AS["ledger"], "http://x:port")
    code, checks = diagnose()
    assert code == 6  # and the contracts were not compared
    assert {name for name, check in checks.items() if check["state"] == "bad"} == {
        *checkup._SET_AS,
        "rows",
    }
    assert all(name in checks[part]["do"] for part, name in checkup._SET_AS.items())
    assert {"contracts", "identity", "committee", "key files", "disk", "versions"} <= checks.keys()


def test_what_is_an_address() -> None:
    for good in ("http://127.0.0.1:1", "https://a.example", "http://[::1]:8545/"):
        assert checkup._is_url(good)
    for bad in (
        "http://[",
        "http://x:port",
        "http://x:99999",
        "nonsense",
        "ftp://127.0.0.1/",
        "http://",
        "http://a\nb",
    ):
        assert not checkup._is_url(bad)


def test_a_check_that_fails_itself_hides_no_other(diagnose, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("somewhere/else")

    for name in ("_custody", "_relay", "_versions", "key_files", "rows", "_bucket", "committee"):
        monkeypatch.setattr(checkup, name, fail)
    code, checks = diagnose()
    assert code == 7
    bad = {name for name, check in checks.items() if check["state"] == "bad"}
    assert bad == {"custody", "relay", "versions", "key files", "rows", "bucket", "committee"}
    assert [checks[name]["state"] for name in ("ledger", "broker", "api", "identity", "disk")] == [
        "ok"
    ] * 5
    assert "somewhere" not in str(checks)


def test_an_identity_that_is_a_folder_is_bad(home, diagnose) -> None:
    (home / "identity.json").unlink()
    (home / "identity.json").mkdir()
    code, checks = diagnose()
    assert (code, checks["identity"]["state"], "disk" in checks) == (7, "bad", True)


def test_an_empty_home_says_what_to_start(home, diagnose, volens) -> None:
    (home / "identity.json").unlink()
    (home / "run.json").unlink()
    code, checks = diagnose()
    assert (code, checks["parts"]["state"], checks["identity"]["state"]) == (6, "down", "bad")
    assert "What to do: start it: volens serve." in volens("doctor").out


def test_an_unfinished_ceremony_must_be_continued(home, diagnose, volens) -> None:
    (home / "identity.json").unlink()
    (home / "ceremony").mkdir()
    (home / "ceremony" / "state.json").write_text("{}")
    code, checks = diagnose()
    assert (code, checks["identity"]["state"], checks["identity"]["do"]) == (
        7,
        "bad",
        "continue it: volens init",
    )
    result = volens("doctor")
    assert "volens serve" not in result.out + result.err


@pytest.mark.parametrize(
    "tampering",
    [
        "delete from events where name = 'Head' and step = :step",
        "update events set fields = replace(fields, :head, '00') where step = :step",
    ],
)
def test_a_newest_row_that_is_not_the_ledgers_is_found(
    deployment, tmp_path, tampering: str
) -> None:
    deployment.services.projection.sync()
    deployment.copy_rows(tmp_path / "copy.db")
    engine = open_database(f"sqlite:///{tmp_path / 'copy.db'}")
    fine = checkup_files.lag(engine, deployment.world.ledger)
    count, head = deployment.head()
    assert (
        fine.state,
        f"step {count}" in fine.means,
        "volens rebuild --compare" in fine.means,
    ) == ("ok", True, True)
    assert "older rows were not compared" in fine.means
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute(tampering, {"step": count, "head": head.hex()}).rowcount
    assert checkup_files.lag(engine, deployment.world.ledger).state == "bad"
    engine.dispose()


def test_relaxed_disk_clock_lag_and_queue_are_reported(deployment, diagnose, monkeypatch) -> None:
    monkeypatch.setenv("VOLENS_RELAX", "isolation")
    monkeypatch.setattr(checkup_files, "LOW_DISK", 1 << 62)
    monkeypatch.setattr(checkup_files, "LONG_QUEUE", -1)
    code, checks = diagnose()
    assert code == 0
    assert [checks[name]["state"] for name in ("relaxed", "disk", "queue")] == ["warn"] * 3
    url = deployment.world.ledger.node.url
    assert checkup._clock(url, time.time()).state == "ok"
    for apart in (-90, 120):
        assert checkup._clock(url, time.time() + apart).state == "warn"
    deployment.services.projection.sync()
    engine = open_database(deployment.settings.database)
    assert checkup_files.lag(engine, deployment.world.ledger).state == "ok"
    deployment.world.set_role(deployment.world.people["dora"].address, "protection")
    assert (
        "lack 1 of the ledger's blocks" in checkup_files.lag(engine, deployment.world.ledger).means
    )
    engine.dispose()


@pytest.mark.parametrize(
    ("relax", "state", "code"),
    [("", "bad", 7), ("isolation", "warn", 0)],
    ids=["strict", "relaxed"],
)
def test_a_host_that_cannot_confine_is_said(
    deployment, diagnose, monkeypatch, relax: str, state: str, code: int
) -> None:
    """A real child without a process namespace: what it lacks is named, and nothing is computed
    unless relaxed.
    """
    fine = diagnose()[1]["confinement"]
    assert (fine["state"], "filtered by seccomp" in fine["means"]) == ("ok", True)
    assert "Landlock (ABI" in fine["means"]
    lacking = ALL & ~Layer.PROCESSES
    monkeypatch.setattr(checkup, "probe", lambda given: probe(replace(given, wanted=lacking)))
    monkeypatch.setenv("VOLENS_RELAX", relax)
    exit_code, checks = diagnose()
    assert (exit_code, checks["confinement"]["state"]) == (code, state)
    assert "lack a process namespace" in checks["confinement"]["means"].replace("lacks", "lack")
    assert "VOLENS_RELAX=isolation" in checks["confinement"]["do"]


def test_no_finding_shows_a_path_or_a_key(deployment) -> None:
    text = str(examine(Settings(home=deployment.home)))
    assert str(deployment.home) not in text
    assert not [
        wallet
        for wallet in deployment.world.people.values()
        if wallet.key.hex() in text or wallet.address in text
    ]
