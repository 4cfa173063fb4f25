"""Notices through real servers: mails, webhooks, the inbox of a deployment, and what no mail holds."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from certificates import Authority
from mail_server import MailServer, mail_server
from notice_rows import DAY, NOW, Rows, account
from sqlalchemy import select

from api.errors import UsageError
from api.operate import doctor_notices, logs, mail, processes
from api.operate.notifier import Notifier
from api.operate.processes import Parts
from api.operate.settings import Settings
from api.operate.webhook import HEADER, signature
from chain import events as ev
from governance.errors import NotFound
from governance.notices import addresses, deliveries, inbox
from governance.notices.inbox import News
from governance.notices.kinds import KINDS, page_of
from governance.readmodel.database import open_database
from governance.readmodel.tables import Notice

HTML = {"Accept": "text/html"}
URL = "https://volens.example.org"
PERSON, OTHER = bytes([7]) * 32, bytes([8]) * 32
KEY = b"k" * 32


@dataclass
class Hook:
    """A receiver; `status` is what it answers."""

    port: int = 0
    status: int = 204
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Hook]:
    known = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known.posts.append((self.path, dict(self.headers), body))
            self.send_response(known.status)
            if known.status == 302:
                self.send_header("Location", f"http://127.0.0.1:{known.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known.port = server.server_address[1]
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        yield known
        server.shutdown()


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    engine = open_database(f"sqlite:///{tmp_path / 'volens.db'}")
    yield Rows(engine)
    engine.dispose()


@pytest.fixture
def post() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def hook() -> Iterator[Hook]:
    with receiver() as known:
        yield known


def notifier(rows: Rows, clock: list[int] | None = None, **change: Any) -> Notifier:
    """A process of its own on these rows."""
    settings = Settings(mail_from="volens@example.org", **change)
    projection = SimpleNamespace(replayed=rows.replayed, sync=lambda: 0)
    now = clock or [NOW]
    return Notifier(rows.engine, projection, settings, URL, lambda: now[0])  # type: ignore[arg-type]


def by_mail(rows: Rows, post: MailServer, clock: list[int] | None = None) -> Notifier:
    return notifier(rows, clock, smtp_url=f"smtp://localhost:{post.port}")


def by_hook(rows: Rows, hook: Hook, folder: Path, clock: list[int] | None = None) -> Notifier:
    key = folder / "hook.key"
    key.write_bytes(KEY + b"\n")
    url = f"http://localhost:{hook.port}/in?to=us"
    return notifier(rows, clock, webhook_url=url, webhook_key_file=key)


def link_in(text: str) -> str:
    match = re.search(rf"{URL}/notices/confirm/([A-Za-z0-9_-]{{43}})\n", text)
    assert match
    return match[1]


def reachable(rows: Rows, post: MailServer, recipient: str, address: str) -> None:
    """Her address, confirmed by the link that was mailed."""
    addresses.ask(rows.engine, recipient, address, NOW)
    by_mail(rows, post).send("mail")
    addresses.confirm(rows.engine, link_in(post.mails[-1].text), NOW)
    post.mails.clear()


def add(rows: Rows, *news: News) -> None:
    with rows.engine.begin() as connection:
        inbox.add(connection, news)


def of_every_kind(recipients: tuple[str, str]) -> list[News]:
    """For a member of the staff, and a patient."""
    return [
        News(recipients[kind.for_patients], name, "1", "ab" * 32, NOW)
        for name, kind in KINDS.items()
    ]


def test_a_mail_says_one_sentence_and_names_nobody(rows: Rows, post: MailServer) -> None:
    her, staff = PERSON.hex(), account("noor")
    reachable(rows, post, her, "ada@example.org")
    reachable(rows, post, staff, "noor@example.org")
    add(rows, *of_every_kind((staff, her)))
    with rows.engine.connect() as connection:
        known = connection.execute(select(Notice)).all()
    sender = by_mail(rows, post)
    sender.make()
    assert sender.send("mail") == len(KINDS) == len(post.mails)
    assert post.connections == 3  # one for each link, one for all of these
    hidden = [
        her,
        staff,
        "ab" * 8,
        *(row.id[:16] for row in known),
        *(n.origin[:16] for n in known),
    ]
    for received in post.mails:
        patient = "ada@" in received.recipients[0]
        assert received.recipients == [f"TO:<{'ada' if patient else 'noor'}@example.org>"]
        assert not any(text.lower() in received.text.lower() for text in hidden)
        head, _, body = received.text.partition("\n\n")
        names = [line.partition(":")[0] for line in head.splitlines() if line[0] != " "]
        assert {*names} == {
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "Content-Type",
            "Content-Transfer-Encoding",
            "MIME-Version",
        }
        assert received.mail["Subject"] == "volens: something concerns you"
        assert f"Sign in to see it: {URL}{'/me' if patient else '/notices'}\n" in body
        assert set(re.findall(r"https?://\S+?(?=[,\s])", body)) <= {
            f"{URL}/me",
            f"{URL}/notices",
        }
    assert any(
        "Something concerns you: a run used your data.\n" in message.text for message in post.mails
    )
    assert len({received.mail["Message-ID"] for received in post.mails}) == len(KINDS)
    assert sender.send("mail") == 0


def test_nothing_is_mailed_to_who_did_not_confirm_or_has_left(rows: Rows, post: MailServer) -> None:
    her = PERSON.hex()
    addresses.ask(rows.engine, her, "ada@example.org", NOW)
    add(rows, News(her, "data-used", "1", "a" * 64, NOW))
    sender = by_mail(rows, post)
    sender.make()
    sender.send("mail")
    assert [received.mail["Subject"] for received in post.mails] == [mail.LINK_SUBJECT]
    addresses.confirm(rows.engine, link_in(post.mails[0].text), NOW)
    with pytest.raises(NotFound):
        addresses.confirm(rows.engine, link_in(post.mails[0].text), NOW)
    add(rows, News(her, "data-used", "2", "a" * 64, NOW))
    sender.make()
    addresses.remove(rows.engine, her)
    sender.send("mail")
    assert len(post.mails) == 1


def test_a_refused_mail_waits_and_comes_with_its_reference(
    rows: Rows, post: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the log has no address, though the server's answer has one."""
    clock, lines = [NOW], StringIO()
    reachable(rows, post, PERSON.hex(), "ada@example.org")
    add(rows, News(PERSON.hex(), "data-used", "1", "a" * 64, NOW))
    post.refusals = 2
    sender = by_mail(rows, post, clock)
    sender.make()
    logs.configure("test", "info", lines)
    assert sender.send("mail") == 1
    clock[0] += 59
    assert sender.send("mail") == 0
    clock[0] += 1
    assert sender.send("mail") == 1
    clock[0] += 120
    assert sender.send("mail") == 1
    assert len(post.mails) == 1
    assert "a delivery waits" in lines.getvalue()
    for hidden in ("ada", "example.org", PERSON.hex()[:8]):
        assert hidden not in lines.getvalue() + capsys.readouterr().err


def test_a_mail_that_never_goes_is_given_up_and_said(rows: Rows) -> None:
    clock, lines = [NOW], StringIO()
    with mail_server() as post:
        reachable(rows, post, PERSON.hex(), "ada@example.org")
        sender = by_mail(rows, post, clock)
    add(rows, News(PERSON.hex(), "data-used", "1", "a" * 64, NOW))
    sender.make()
    logs.configure("test", "info", lines)
    for _ in range(deliveries.MOST_ATTEMPTS):  # nothing listens there any more
        assert sender.send("mail") == 1
        clock[0] += deliveries.LONGEST_PAUSE
    assert sender.send("mail") == 0
    assert lines.getvalue().count("a delivery was given up") == 1
    assert deliveries.count_given_up(rows.engine, PERSON.hex()) == 1


def test_a_process_that_is_killed_while_sending_sends_again_with_the_same_reference(
    rows: Rows, post: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the server's word and the row that says so."""
    clock = [NOW]
    reachable(rows, post, PERSON.hex(), "ada@example.org")
    add(rows, News(PERSON.hex(), "data-used", "1", "a" * 64, NOW))

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    first, second = by_mail(rows, post, clock), by_mail(rows, post, clock)
    first.make()
    with monkeypatch.context() as broken:
        broken.setattr(deliveries, "done", kill)
        with pytest.raises(Killed):
            first.send("mail")
    assert second.send("mail") == 0
    clock[0] += deliveries.LEASE_SECONDS
    assert second.send("mail") == 1
    assert len(post.mails) == 2
    assert len({received.mail["Message-ID"] for received in post.mails}) == 1


def test_two_processes_send_everything_once(rows: Rows, post: MailServer) -> None:
    reachable(rows, post, PERSON.hex(), "ada@example.org")
    add(rows, *(News(PERSON.hex(), "data-used", str(n), "a" * 64, NOW) for n in range(30)))
    both = [by_mail(rows, post), by_mail(rows, post)]
    threads = [
        threading.Thread(target=lambda sender=sender: (sender.make(), sender.send("mail")))
        for sender in both
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(post.mails) == len({message.mail["Message-ID"] for message in post.mails}) == 30


def test_an_outage_of_ledger_or_database_loses_nothing(rows: Rows, post: MailServer) -> None:
    reachable(rows, post, account("noor"), "noor@example.org")
    sender = by_mail(rows, post)
    run = rows.run()
    seal = {"run": run, "attempt": 1, "sealHash": OTHER, "sealedOutput": ()}
    rows.write((ev.Sealed, seal))

    def away() -> int:
        raise NotFound("the node is away", "")

    sender._projection.sync = away  # type: ignore[method-assign]
    with pytest.raises(NotFound):
        sender.make()
    assert inbox.list_notices(rows.engine, account("noor"), 10) == []
    sender._projection.sync = lambda: 0  # type: ignore[method-assign]
    sender.make()
    sender.send("mail")
    assert len(post.mails) == 1


@pytest.mark.parametrize("implicit", [False, True])
def test_a_mail_server_is_known_by_its_certificate(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, implicit: bool
) -> None:
    """Else neither the password nor the mail is sent."""
    authority = Authority(tmp_path)
    scheme = "smtps" if implicit else "smtp"
    with mail_server(authority.certificate("127.0.0.2"), implicit) as post:
        # A name that is not this machine's by the settings, for TLS.
        monkeypatch.setattr(mail, "THIS_MACHINE", ())
        addresses.ask(rows.engine, PERSON.hex(), "ada@example.org", NOW)
        clock = [NOW]

        def sender(host: str) -> Notifier:
            url = f"{scheme}://volens:p%40ss@{host}:{post.port}"
            return notifier(rows, clock, smtp_url=url)

        for host, trusted in (("127.0.0.1", True), ("127.0.0.1", False)):
            context = ssl.create_default_context()
            if trusted:
                context.load_verify_locations(authority.file)
            monkeypatch.setattr(mail, "trusted", lambda context=context: context)
            assert sender(host).send("mail") == 1  # another host's, then nobody's certificate
            assert post.mails == []
            clock[0] += 600
        with mail_server(authority.certificate("127.0.0.1"), implicit) as right:
            context.load_verify_locations(authority.file)
            url = f"{scheme}://volens:p%40ss@127.0.0.1:{right.port}"
            notifier(rows, clock, smtp_url=url).send("mail")
            assert [(message.encrypted, message.user) for message in right.mails] == [
                (True, "volens")
            ]
        with mail_server() as plain:
            clock[0] += DAY
            addresses.ask(rows.engine, OTHER.hex(), "ben@example.org", clock[0])
            url = f"smtp://volens:p%40ss@127.0.0.1:{plain.port}"
            notifier(rows, clock, smtp_url=url).send("mail")  # it has no STARTTLS
            assert plain.mails == []


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_url": "http://mail.example.org"},
        {"smtp_url": "smtp://"},
        {"smtp_url": "smtp://mail.example.org:0"},
        {"smtp_url": "smtp://mail.example.org:99999"},
        {"smtp_url": "smtp://user@mail.example.org"},
        {"smtp_url": "smtp://user:secret%0d%0aQUIT@mail.example.org"},
        {"smtp_url": "smtp://user:secret@mail example.org"},
        {"smtp_url": "smtp://user:secret@mail.example.org/path"},
        {"smtp_url": "smtp://localhost", "mail_from": ""},
        {"smtp_url": "smtp://localhost", "mail_from": "a@example.org\r\nBcc: b@example.org"},
        {"webhook_url": "http://hooks.example.org/secret"},
        {"webhook_url": "https://user:secret@hooks.example.org/"},
        {"webhook_url": "https://hooks.example.org/secret#part"},
        {"webhook_url": "https://hooks.example.org/sec ret"},
        {"webhook_url": "https://hooks.example.org/secret", "webhook_key_file": Path("/nowhere")},
        {"webhook_url": "https://hooks.example.org/secret"},
    ],
)
def test_settings_that_cannot_be_are_refused_without_their_secret(
    rows: Rows, change: dict[str, Any]
) -> None:
    settings = Settings(**{"mail_from": "volens@example.org"} | change)
    assert "secret" not in repr(settings)
    projection = SimpleNamespace(replayed=rows.replayed)
    with pytest.raises(UsageError) as refused:
        Notifier(rows.engine, projection, settings, URL)  # type: ignore[arg-type]
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def test_a_webhook_is_signed_and_names_no_patient(
    rows: Rows, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    add(rows, *of_every_kind((account("noor"), PERSON.hex())))
    add(rows, News(account("pia"), "permit-asked", "1", "ab" * 32, NOW))  # a second recipient
    sender = by_hook(rows, hook, tmp_path)
    sender.make()
    sender.send("webhook")
    bodies = [json.loads(body) for _, _, body in hook.posts]
    staff = {name for name, kind in KINDS.items() if not kind.for_patients}
    assert sorted(body["kind"] for body in bodies) == sorted(staff)
    for (path, headers, raw), body in zip(hook.posts, bodies, strict=True):
        assert path == "/in?to=us"
        # As a receiver does it (docs/guide/operator.md).
        given = dict(part.split("=") for part in headers[HEADER].split(","))
        signed = hmac.new(KEY, f"{given['t']}.".encode() + raw, sha256).hexdigest()
        assert hmac.compare_digest(signed, given["v1"])
        assert headers[HEADER] != signature(b"x" * 32, raw, NOW)
        assert body.keys() == {"type", "id", "kind", "at", "href"}
        assert body["type"] == "volens/notice/1"
        assert body["href"] == URL + page_of(body["kind"], "ab" * 32)
        assert account("noor") not in raw.decode()
        assert PERSON.hex() not in raw.decode()
    assert len({body["id"] for body in bodies}) == len(bodies)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_refuses_is_asked_again_and_not_followed(
    rows: Rows, hook: Hook, tmp_path: Path, status: int
) -> None:
    clock = [NOW]
    hook.status = status
    add(rows, News(account("pia"), "permit-asked", "1", "ab" * 32, NOW))
    sender = by_hook(rows, hook, tmp_path, clock)
    sender.make()
    assert sender.send("webhook") == 1
    assert sender.send("webhook") == 0
    hook.status = 200
    clock[0] += 60
    assert sender.send("webhook") == 1
    ids = {json.loads(body)["id"] for _, _, body in hook.posts}
    assert (len(hook.posts), len(ids)) == (2, 1)
    assert {path for path, _, _ in hook.posts} == {"/in?to=us"}


# --- a deployment --------------------------------------------------------------------------------


def session(deployment, client) -> dict[str, str]:
    client.sign_in()
    return {"Cookie": f"volens-session={client._token}", "Origin": deployment.url} | HTML


def notices(client) -> dict[str, Any]:
    client.sign_in()
    answer = httpx.get(
        f"{client.url}/notices", headers={"Authorization": f"Bearer {client._token}"}
    )
    assert answer.status_code == 200
    return answer.json()


def test_a_deployments_steps_are_notices_of_those_they_concern(deployment) -> None:
    services = deployment.services
    (person,) = deployment.people(1)
    deployment.world.permit()
    her, pia = deployment.patient(person), deployment.as_("pia")
    Notifier(services.engine, services.projection, deployment.settings, deployment.url).make()
    mine = notices(pia)
    assert "permit-asked" in [notice["kind"] for notice in mine["notices"]]
    assert mine["unread"] == len([n for n in mine["notices"] if n["read"] is None]) > 0
    assert notices(her) == {"unread": 0, "notices": []}
    headers = session(deployment, pia)
    home = httpx.get(f"{deployment.url}/roles", headers=headers).text
    assert f"Notices ({mine['unread']} unread)" in home
    page = httpx.get(f"{deployment.url}/notices", headers=headers).text
    assert "A permit was asked for, and waits for votes." in page
    until = re.search(r'name="until" value="(\d+)"', page)[1]
    answer = httpx.post(
        f"{deployment.url}/pages/notices/read", headers=headers, data={"until": until}
    )
    assert answer.status_code == 303
    assert notices(pia)["unread"] == 0
    assert "unread" not in httpx.get(f"{deployment.url}/notices", headers=headers).text


def test_anothers_notices_and_address_are_not_shown(deployment) -> None:
    first, second = deployment.people(2)
    engine = deployment.services.engine
    at = deployment.services.clock()
    with engine.begin() as connection:
        inbox.add(connection, [News(first.hex(), "data-used", "1", secrets.token_hex(32), at)])
    addresses.ask(engine, first.hex(), "first@example.org", at)
    assert notices(deployment.patient(first))["unread"] == 1
    assert notices(deployment.patient(second))["unread"] == 0
    for client in (deployment.patient(second), deployment.as_("vera"), deployment.as_("pia")):
        page = httpx.get(f"{deployment.url}/notices", headers=session(deployment, client)).text
        assert "first@example.org" not in page
        assert "used your data" not in page
    own = session(deployment, deployment.patient(first))
    assert "first@example.org" in httpx.get(f"{deployment.url}/notices", headers=own).text
    assert httpx.get(f"{deployment.url}/notices").status_code == 401
    assert httpx.get(f"{deployment.url}/notices", headers=HTML).status_code == 401
    others = session(deployment, deployment.patient(second))
    httpx.post(f"{deployment.url}/pages/notices/read", headers=others, data={"until": at + 9})
    httpx.post(f"{deployment.url}/pages/notices/address", headers=others, data={"act": "delete"})
    assert notices(deployment.patient(first))["unread"] == 1
    assert addresses.addresses_of(engine, first.hex()).pending == "first@example.org"
    httpx.post(f"{deployment.url}/pages/notices/address", headers=own, data={"act": "delete"})
    assert addresses.addresses_of(engine, first.hex()).pending == ""


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1"])
@pytest.mark.parametrize("path", ["read", "address", "confirm"])
def test_a_foreign_form_changes_nothing(deployment, path: str, origin: str | None) -> None:
    headers = session(deployment, deployment.as_("pia"))
    headers.pop("Origin")
    answer = httpx.post(
        f"{deployment.url}/pages/notices/{path}",
        headers=headers | ({"Origin": origin} if origin else {}),
        data={"until": "99", "address": "eve@example.org", "token": "x" * 43},
    )
    assert answer.status_code == 403
    pia = deployment.world.people["pia"].address
    assert addresses.addresses_of(deployment.services.engine, pia).pending == ""


def test_an_address_is_confirmed_on_the_pages_by_its_mail(another_endpoint, deployment) -> None:
    """The link alone changes nothing, the form does, once, and needs no session."""
    with mail_server() as post:
        url = another_endpoint(
            smtp_url=f"smtp://localhost:{post.port}", mail_from="volens@example.org"
        )
        services = deployment.services
        settings = Settings(
            smtp_url=f"smtp://localhost:{post.port}", mail_from="volens@example.org"
        )
        sender = Notifier(services.engine, services.projection, settings, url)
        (person,) = deployment.people(1)
        her = deployment.patient(person)
        headers = session(deployment, her) | {"Origin": url}
        for text in ("ada@example.org\r\nBcc: eve@example.org", "nobody"):
            answer = httpx.post(
                f"{url}/pages/notices/address", headers=headers, data={"address": text}
            )
            assert answer.status_code == 422
        lines = StringIO()
        with redirect_stderr(lines):
            answer = httpx.post(
                f"{url}/pages/notices/address",
                headers=headers,
                data={"address": "ada@example.org"},
            )
        assert answer.status_code == 303
        assert "ada@" not in lines.getvalue()
        sender.send("mail")
        (received,) = [message for message in post.mails if "ada@" in message.recipients[0]]
        token = re.search(rf"{url}/notices/confirm/(\S+)\n", received.text)[1]
        page = httpx.get(f"{url}/notices/confirm/{token}", headers=HTML).text
        assert "ada@" not in page
        assert addresses.addresses_of(services.engine, person.hex()).confirmed == ""
        own = HTML | {"Origin": url}
        for status in (200, 404):
            answer = httpx.post(f"{url}/pages/notices/confirm", headers=own, data={"token": token})
            assert answer.status_code == status
        assert addresses.addresses_of(services.engine, person.hex()).confirmed == "ada@example.org"
        page = httpx.get(f"{url}/notices", headers=headers).text
        assert "Notices go to <b>ada@example.org</b>" in page


def test_no_request_waits_for_mail(another_endpoint, deployment) -> None:
    """A withdrawal is answered though the mail server takes connections and says nothing."""
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = another_endpoint(smtp_url=f"smtp://localhost:{port}", mail_from="v@example.org")
        (person,) = deployment.people(1)
        client = deployment.patient(person)
        client.url = url
        began = time.monotonic()
        client.revoke(deployment.world.dataset, 0)
        assert time.monotonic() - began < mail.SECONDS / 2


def test_only_the_api_is_given_the_secrets_of_mail_and_webhook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLENS_SMTP_URL", "smtp://user:secret@mail.example.org")
    given: dict[str, dict[str, str]] = {}
    parts = Parts(tmp_path, Settings(home=tmp_path))

    def launch(argv: list[str], env: dict[str, str], **_: object) -> SimpleNamespace:
        given[argv[-1]] = env
        return SimpleNamespace()

    monkeypatch.setattr(processes.subprocess, "Popen", launch)
    for name in ("api", "broker", "worker"):
        parts._launch("module", name, name)
    assert [name for name, env in given.items() if "VOLENS_SMTP_URL" in env] == ["api"]


def examined(**change: Any) -> tuple[str, str, str]:
    """State and words of the doctor on mail, which name no secret, and what was asked for."""
    given = {"mail_from": "volens@example.org", "public_url": URL} | change
    check = doctor_notices.mail(Settings(**given))
    words = f"{check.means} {check.do}"
    assert not [secret for secret in ("volens:", "p%40ss", "p@ss") if secret in words]
    return check.state, check.means, check.do


def test_the_doctor_tries_the_mail_server_and_sends_nothing(
    post: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examined()[:2] == ("ok", doctor_notices.INBOX_ONLY)
    url = f"smtp://volens:p%40ss@127.0.0.1:{post.port}"
    assert examined(smtp_url=url)[:2] == (
        "ok",
        "the server answers without TLS, on this machine, and takes the user and password",
    )
    assert (post.connections, post.mails) == (1, [])
    assert examined(smtp_url=url, public_url="")[0] == "warn"
    post.stranger = True
    state, means, _ = examined(smtp_url=url)
    assert (state, "it refuses the user and password" in means) == ("down", True)
    monkeypatch.setattr(mail, "THIS_MACHINE", ())  # from here on TLS is asked for
    state, means, _ = examined(smtp_url=url)
    assert (state, "it offers no TLS" in means) == ("down", True)
    authority = Authority(tmp_path)
    with mail_server(authority.certificate("127.0.0.1")) as encrypted:
        url = f"smtp://volens:p%40ss@127.0.0.1:{encrypted.port}"
        state, means, _ = examined(smtp_url=url)
        assert (state, "no authority that this machine trusts" in means) == ("down", True)
        context = ssl.create_default_context(cafile=str(authority.file))
        monkeypatch.setattr(mail, "trusted", lambda: context)
        assert examined(smtp_url=url)[1].startswith("the server answers with TLS")
        assert encrypted.mails == []
    state, means, _ = examined(smtp_url="smtp://volens:p%40ss@127.0.0.1:9")
    assert (state, "it does not answer" in means) == ("down", True)


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_url": "https://volens:p%40ss@mail.example.org"},
        {"smtp_url": "smtp://volens@mail.example.org"},
        {"smtp_url": "smtp://volens:p%40ss@127.0.0.1:25", "mail_from": ""},
    ],
)
def test_the_doctor_says_which_mail_setting_is_wrong(change: dict[str, str]) -> None:
    state, means, do = examined(**change)
    assert (state, means.startswith("VOLENS_"), bool(do)) == ("bad", True, True)


def test_the_doctor_reaches_the_webhook_and_posts_nothing(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY)

    def state_of(url: str, file: Path = key) -> tuple[str, str]:
        settings = Settings(webhook_url=url, webhook_key_file=file, public_url=URL)
        check = doctor_notices.webhook(settings)
        assert "token" not in f"{check.means} {check.do}"
        return check.state, check.means

    assert doctor_notices.webhook(Settings()).means == doctor_notices.INBOX_ONLY
    url = f"http://127.0.0.1:{hook.port}/token"
    assert state_of(url)[0] == "ok"
    assert hook.posts == []
    assert state_of(url, tmp_path / "none")[0] == "bad"
    assert state_of("http://hook.example.org/token")[0] == "bad"
    assert state_of("http://127.0.0.1:9/token")[0] == "down"
    authority = Authority(tmp_path)
    with mail_server(authority.certificate("127.0.0.1"), implicit=True) as server:
        url = f"https://127.0.0.1:{server.port}/token"
        state, means = state_of(url)
        assert (state, "no authority that this machine trusts" in means) == ("down", True)
        context = ssl.create_default_context(cafile=str(authority.file))
        monkeypatch.setattr(doctor_notices, "trusted", lambda: context)
        assert state_of(url) == (
            "ok",
            "the receiver takes connections with TLS; nothing was posted",
        )
