"""What several people sign one after the other: orders of the committee, invitations, comments."""

from __future__ import annotations

import json
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.client.client import wire
from api.client.orders import read_order, role_order
from api.demo.postgres import Postgres
from api.errors import Answered, NotAuthorised, NotUnderstood
from api.http.auth import COOKIE as SESSION
from api.pages.forms import LARGEST, file_in
from chain.errors import LedgerUnsure
from chain.events import Receipt
from chain.vocabulary import Role
from chain.wallets import Wallet
from governance import orders, permits
from governance.comments import LONGEST, MOST, add_comment, comments_on
from governance.errors import RequestInvalid
from governance.notices.inbox import list_notices
from governance.readmodel.database import open_database
from governance.rules.vocabulary import FOREVER


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'orders.db'}"
    return postgres.url(f"d{secrets.token_hex(8)}")


def order_of(deployment, account: str, **change: Any) -> dict[str, Any]:
    pia = deployment.as_("pia")
    return role_order(pia, account, Role.ANALYST, int(time.time())).message | change


def send(
    deployment,
    name: str,
    message: dict[str, Any],
    headers: dict[str, str] | None = None,
    kind: str = "RoleChange",
    **more: str,
) -> httpx.Response:
    signature = deployment.as_(name).sign(kind, message).hex()
    return httpx.post(
        f"{deployment.url}/orders",
        json={"kind": kind, "message": wire(kind, message), "signature": signature, **more},
        headers=headers,
    )


def role_of(deployment, account: str) -> int:
    return next((r["role"] for r in deployment.anybody().roles() if r["account"] == account), 0)


def test_the_quorums_last_signature_carries_an_order_out(deployment) -> None:
    account = Wallet.new().address
    message = order_of(deployment, account)
    first = send(deployment, "pia", message)
    assert (first.status_code, first.json()["receipt"]) == (200, None)
    # The others have a notice, and the one who began it has none.
    engine, people = deployment.services.engine, deployment.world.people
    notified = {
        name: [
            notice.about
            for notice in list_notices(engine, people[name].address, 50)
            if notice.kind == "order-waits"
        ]
        for name in ("pia", "quinn", "rui")
    }
    order = first.json()["order"]
    assert [order in orders for orders in notified.values()] == [False, True, True]
    # Twice the same member is one signature.
    assert send(deployment, "pia", message).json()["receipt"] is None
    assert role_of(deployment, account) == 0
    listed = httpx.get(f"{deployment.url}/orders").json()
    known = next(row for row in listed if row["order"] == first.json()["order"])
    assert known["signers"] == [deployment.world.people["pia"].address]
    assert known["tx"] is None
    last = send(deployment, "quinn", message).json()
    assert last["receipt"]["count"] == deployment.head()[0]
    assert role_of(deployment, account) == Role.ANALYST
    again = send(deployment, "rui", message)
    assert again.status_code == 422
    assert "carried out already" in again.json()["detail"]


def test_tasks_that_read_alike_are_one_with_their_number(deployment) -> None:
    """Two role changes that wait for the same member were two lines of the same words."""
    for _ in range(2):
        sent = send(deployment, "pia", order_of(deployment, Wallet.new().address))
        assert sent.json()["receipt"] is None
    quinn = deployment.as_("quinn")
    quinn.sign_in()
    page = httpx.get(
        f"{deployment.url}/",
        headers={"Accept": "text/html", "Cookie": f"{SESSION}={quinn._token}"},
    )
    assert page.text.count("Sign or leave a role change") == 1
    assert re.search(r'<a [^>]*href="/roles">\([2-9] of these\)</a>', page.text)


@pytest.mark.parametrize("name", ["noor", "sol", "rita"])
def test_only_members_sign_orders(deployment, name: str) -> None:
    answer = send(deployment, name, order_of(deployment, Wallet.new().address))
    assert answer.status_code == 403
    assert "nly a member of the committee" in answer.json()["detail"]


def test_a_signature_over_another_order_counts_for_nobody(deployment) -> None:
    message = order_of(deployment, Wallet.new().address)
    signature = deployment.as_("pia").sign("RoleChange", message | {"role": Role.WORKER}).hex()
    answer = httpx.post(
        f"{deployment.url}/orders",
        json={
            "kind": "RoleChange",
            "message": wire("RoleChange", message),
            "signature": signature,
        },
    )
    assert answer.status_code == 403


def test_one_member_alone_does_not_fill_the_list(
    deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the notices of orders would push everything else out of the others' inboxes."""
    soon = int(time.time()) + 2
    short = send(deployment, "rui", order_of(deployment, Wallet.new().address, deadline=soon))
    assert "less than ten minutes" in short.json()["detail"]
    assert send(deployment, "rui", order_of(deployment, Wallet.new().address)).status_code == 200
    monkeypatch.setattr(orders, "MOST_OF_ONE", 1)
    answer = send(deployment, "rui", order_of(deployment, Wallet.new().address))
    assert answer.status_code == 422
    assert "let another one begin it" in answer.json()["hint"].lower()


@pytest.mark.parametrize("deadline", [0, FOREVER])
def test_an_order_ends(deployment, deadline: int) -> None:
    message = order_of(deployment, Wallet.new().address, deadline=deadline)
    answer = send(deployment, "pia", message)
    assert answer.status_code == 422
    assert "deadline" in answer.json()["detail"]


def test_a_former_members_signature_does_not_count(deployment) -> None:
    """It is kept, but the contract would refuse the whole order with it."""
    world, former = deployment.world, Wallet.new()
    world.people["former"] = former
    world.set_role(former.address, "committee")
    message = order_of(deployment, Wallet.new().address)
    assert send(deployment, "former", message).status_code == 200
    now = int(time.time())
    world.set_role(former.address, "committee", end=now)
    assert send(deployment, "pia", message).json()["receipt"] is None
    assert send(deployment, "quinn", message).json()["receipt"] is not None


def test_orders_are_bounded(deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = len(
        [row for row in httpx.get(f"{deployment.url}/orders").json() if row["tx"] is None]
    )
    monkeypatch.setattr(orders, "MOST_OPEN", waiting + 1)
    assert send(deployment, "pia", order_of(deployment, Wallet.new().address)).status_code == 200
    answer = send(deployment, "pia", order_of(deployment, Wallet.new().address))
    assert answer.status_code == 422
    assert "wait for signatures already" in answer.json()["detail"]


def on_the_page(deployment, name: str, method: str, path: str, **sent: Any) -> httpx.Response:
    """As a browser does: with the session's cookie, from our own page."""
    client = deployment.as_(name)
    client.sign_in()
    return httpx.request(
        method,
        deployment.url + path,
        cookies={"volens-session": client._token},
        headers={"Origin": deployment.url},
        **sent,
    )


def upload(deployment, name: str, data: bytes) -> httpx.Response:
    return on_the_page(
        deployment, name, "POST", "/pages/roles/orders", files={"file": ("order.json", data)}
    )


def test_an_order_begun_by_a_file_is_signed_on_the_page(deployment, tmp_path: Path) -> None:
    pia, account = deployment.as_("pia"), Wallet.new().address
    order = role_order(pia, account, Role.ANALYST, int(time.time())).signed_by(pia)
    order.write(tmp_path / "order.json", pia)
    data = (tmp_path / "order.json").read_bytes()
    assert upload(deployment, "noor", data).status_code == 403
    taken = upload(deployment, "pia", data)
    assert (taken.status_code, role_of(deployment, account)) == (303, 0)
    listed = httpx.get(f"{deployment.url}/orders").json()
    (known,) = [row for row in listed if row["message"]["account"] == account]
    assert taken.headers["location"] == f"/roles#order-{known['order'][:8]}"
    assert known["signers"] == [pia.wallet.address]
    assert send(deployment, "quinn", order.message).json()["receipt"] is not None
    assert role_of(deployment, account) == Role.ANALYST


def test_a_file_with_a_quorums_signatures_is_carried_out(deployment, tmp_path: Path) -> None:
    pia, account = deployment.as_("pia"), Wallet.new().address
    order = role_order(pia, account, Role.AUDITOR, int(time.time()))
    order.signed_by(pia).signed_by(deployment.as_("rui")).write(tmp_path / "order.json", pia)
    assert upload(deployment, "quinn", (tmp_path / "order.json").read_bytes()).status_code == 303
    assert role_of(deployment, account) == Role.AUDITOR


def test_an_order_begun_on_the_page_is_signed_by_its_file(deployment, tmp_path: Path) -> None:
    account = Wallet.new().address
    message = order_of(deployment, account)
    digest = send(deployment, "pia", message).json()["order"]
    path = f"/pages/roles/orders/{digest}"
    assert on_the_page(deployment, "noor", "GET", path).status_code == 403
    assert on_the_page(deployment, "pia", "GET", f"{path[:-64]}{'0' * 64}").status_code == 404
    given = on_the_page(deployment, "rui", "GET", path)
    assert given.headers["content-disposition"].startswith("attachment")
    file = tmp_path / "order.json"
    file.write_bytes(given.content)
    rui = deployment.as_("rui")
    order = read_order(file, rui).signed_by(rui)
    assert set(order.signatures) == {deployment.world.people[n].address for n in ("pia", "rui")}
    rui.set_role(order.message, list(order.signatures.values()))
    assert role_of(deployment, account) == Role.ANALYST


def test_what_is_no_order_of_this_ledger_is_not_taken(deployment, tmp_path: Path) -> None:
    pia = deployment.as_("pia")
    order = role_order(pia, Wallet.new().address, Role.ANALYST, int(time.time())).signed_by(pia)
    order.write(tmp_path / "order.json", pia)
    document = json.loads((tmp_path / "order.json").read_text())
    message = document["message"]
    before = httpx.get(f"{deployment.url}/orders").json()
    for change in (
        {"identity": "00" * 32},
        {"kind": "Vote"},
        {"signatures": {}},
        {"signatures": {pia.wallet.address: "00"}},
        {"message": message | {"role": Role.CHECKER}},
        {"message": message | {"account": "0x12"}},
        {"message": message | {"account": 7}},
        {"message": message | {"deadline": -1}},
        {"message": message | {"deadline": 1 << 60}},
    ):
        answer = upload(deployment, "pia", json.dumps(document | change).encode())
        assert answer.status_code == 422, change
    for data in (b"", b"{}", b"[]", b"\xff", b" " * (300 << 10)):
        assert upload(deployment, "pia", data).status_code == 422
    bare = on_the_page(deployment, "pia", "POST", "/pages/roles/orders", data={"file": "x"})
    assert bare.status_code == 422
    assert httpx.get(f"{deployment.url}/orders").json() == before


REASON = "The plan names <b>no method</b>.\nWrite one."


def asked_permit(deployment) -> str:
    return deployment.world.permit(approve=()).hex()


def test_a_no_says_why_and_a_yes_may(deployment) -> None:
    permit, steps = asked_permit(deployment), deployment.head()[0]
    for reason in ("", "  ", "x" * (LONGEST + 1), "to \u202eyou"):
        with pytest.raises(NotUnderstood):
            deployment.as_("pia").vote(permit, False, reason)
    assert deployment.head()[0] == steps  # nothing is recorded without its reason
    deployment.as_("pia").vote(permit, False, REASON)
    deployment.as_("rui").vote(permit, True)
    deployment.as_("quinn").vote(permit, True, "Sound.")
    people = deployment.world.people
    given = {row["account"]: row for row in deployment.as_("pia").reasons(permit)}
    assert {account: (row["act"], row["text"]) for account, row in given.items()} == {
        people["pia"].address: ("reject", REASON),
        people["quinn"].address: ("approve", "Sound."),
    }
    assert abs(given[people["pia"].address]["at"] - time.time()) < 60
    with pytest.raises(NotUnderstood):
        deployment.as_("dora").suspend(permit, " ")
    deployment.as_("dora").suspend(permit, "Data left.")
    assert {"suspend"} == {
        row["act"]
        for row in deployment.as_("dora").reasons(permit)
        if row["account"] == people["dora"].address
    }


def test_reasons_are_for_committee_applicant_and_auditors(deployment) -> None:
    permit = asked_permit(deployment)
    deployment.as_("pia").vote(permit, False, REASON)
    for name in ("pia", "quinn", "dora", "vera", "noor"):
        assert [row["text"] for row in deployment.as_(name).reasons(permit)] == [REASON]
    for name in ("sol", "rita", "omar"):
        with pytest.raises(NotAuthorised):
            deployment.as_(name).reasons(permit)
    assert httpx.get(f"{deployment.url}/permits/{permit}/reasons").status_code == 401


def test_a_reason_is_not_changed_by_who_has_seen_the_vote(deployment) -> None:
    """The signature is public once the vote is mined, and does not cover the reason."""
    permit, pia = asked_permit(deployment), deployment.as_("pia")
    message = {
        "permit": bytes.fromhex(permit),
        "requestHash": bytes.fromhex(pia.permit(permit)["requestHash"]),
        "yes": False,
        "deadline": int(time.time()) + 600,
    }
    body = {"vote": wire("Vote", message), "signature": pia.sign("Vote", message).hex()}
    address = f"{deployment.url}/permits/{permit}/votes"

    def vote(reason: str, name: str | None) -> httpx.Response:
        headers = {} if name is None else bearer(deployment, name)
        return httpx.post(address, json=body | {"reason": reason}, headers=headers)

    # Whoever got the signature before it was sent writes nothing in her name either.
    assert [vote("not hers", name).status_code for name in (None, "rui")] == [401, 401]
    assert pia.reasons(permit) == []
    assert vote("mine", "pia").status_code == 200
    assert vote("another", "pia").status_code == 409
    assert [row["text"] for row in pia.reasons(permit)] == ["mine"]


def test_a_reason_outlives_a_lost_answer_and_not_a_refusal(deployment, monkeypatch) -> None:
    """It is kept before the vote is sent: the ledger may have it although nobody was told."""
    permit, vote = asked_permit(deployment), permits.vote

    def lose(*call: Any) -> Receipt:
        vote(*call)
        raise LedgerUnsure("the node stopped responding", "")

    monkeypatch.setattr(permits, "vote", lose)
    with pytest.raises(Answered):
        deployment.as_("pia").vote(permit, False, "The plan is weak.")
    monkeypatch.setattr(permits, "vote", vote)
    with pytest.raises(Answered):  # she has voted already: her first reason stays
        deployment.as_("pia").vote(permit, False, "Another.")
    with pytest.raises(Answered):  # no member of the committee
        deployment.as_("dora").vote(permit, False, "I may not.")
    shown = [row["text"] for row in deployment.as_("pia").reasons(permit)]
    assert shown == ["The plan is weak."]


def bearer(deployment, name: str) -> dict[str, str]:
    client = deployment.as_(name)
    client.sign_in()
    return {"Authorization": f"Bearer {client._token}"}


@pytest.mark.parametrize("nested", [True, False])
def test_a_form_that_is_made_to_cost_is_refused_at_once(deployment, nested: bool) -> None:
    """A parser of mail takes a minute for such a form, and nobody else is served meanwhile."""
    if nested:
        part = "".join(
            f"--{n}\r\nContent-Type: multipart/mixed; boundary={n + 1}\r\n\r\n" for n in range(4000)
        )
        data, kind = part.encode(), "multipart/form-data; boundary=0"
    else:
        data, kind = b"--0\r\n\r\n" * 26_000, "multipart/form-data; boundary=0"
    began = time.process_time()
    with pytest.raises(RequestInvalid):
        file_in(kind, data, "file")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("change", ["boundary", "name", "empty", "large"])
def test_the_file_of_a_form_is_read_to_the_byte(change: str) -> None:
    data = b"\r\n--other\r\n\x00\xff\r\n"
    request = httpx.Request(
        "POST", "http://x", files={"note": (None, "x"), "file": ("o.json", data)}
    )
    kind, body = request.headers["content-type"], request.read()
    assert file_in(kind, body, "file") == data
    wrong = {
        "boundary": (kind + "0", body, "file"),
        "name": (kind, body, "note"),
        "empty": (kind, b"", "file"),
        "large": (kind, body + bytes(LARGEST), "file"),
    }[change]
    with pytest.raises(RequestInvalid):
        file_in(*wrong)


def test_an_order_may_say_why(deployment) -> None:
    message = order_of(deployment, Wallet.new().address)
    why = "She joins the team."
    assert send(deployment, "pia", message, reason=why).status_code == 401
    mine = bearer(deployment, "pia")
    order = send(deployment, "pia", message, mine, reason=why).json()["order"]
    # A member's signature is in the order's file: whoever has the file writes nothing in her name.
    assert send(deployment, "quinn", message, mine, reason="I was paid.").status_code == 401
    assert send(deployment, "rui", message | {"role": Role.CHECKER}, reason="x" * 2001).is_error

    def reasons(name: str) -> httpx.Response:
        address = f"{deployment.url}/orders/{order}/reasons"
        return httpx.get(address, headers=bearer(deployment, name))

    (row,) = reasons("quinn").json()
    assert (row["account"], row["act"], row["text"]) == (
        deployment.world.people["pia"].address,
        "sign",
        "She joins the team.",
    )
    assert reasons("vera").status_code == 200
    assert reasons("noor").status_code == 403


def invitation_for(deployment, wallet: Wallet, by: str = "rita", **change: Any):
    message = {
        "subject": secrets.token_bytes(32),
        "signer": wallet.signer,
        "assurance": 1,
        "deadline": int(time.time()) + 600,
    } | change
    return message, httpx.post(
        f"{deployment.url}/invitations",
        json={
            "enrolment": wire("Enrolment", message),
            "signature": deployment.as_(by).sign("Enrolment", message).hex(),
        },
    )


def test_an_invitation_waits_for_the_person(deployment) -> None:
    wallet = Wallet.new()
    message, answer = invitation_for(deployment, wallet)
    digest = answer.json()["invitation"]
    known = httpx.get(f"{deployment.url}/invitations/{digest}").json()
    assert known["state"] == "open"
    assert known["enrolment"] == wire("Enrolment", message)
    her = deployment.patient(message["subject"], wallet)
    done = her.enrol([her.accept(known)])
    assert done["items"][0]["accepted"]
    assert httpx.get(f"{deployment.url}/invitations/{digest}").json()["state"] == "accepted"
    again = httpx.post(
        f"{deployment.url}/invitations",
        json={
            "enrolment": wire("Enrolment", message),
            "signature": deployment.as_("rita").sign("Enrolment", message).hex(),
        },
    )
    assert "enrolled already" in again.json()["detail"]


@pytest.mark.parametrize("name", ["noor", "pia", "omar"])
def test_only_registrars_invite(deployment, name: str) -> None:
    _, answer = invitation_for(deployment, Wallet.new(), by=name)
    assert answer.status_code == 403


@pytest.mark.parametrize("deadline", [0, FOREVER])
def test_an_invitation_ends(deployment, deadline: int) -> None:
    _, answer = invitation_for(deployment, Wallet.new(), deadline=deadline)
    assert answer.status_code == 422


def test_comments_are_bounded_and_readable() -> None:
    engine, run = open_database("sqlite://"), "a" * 64
    add_comment(engine, run, 1, "0x" + "b" * 40, " See row 3.\r\n\r\nIt is small. ", 7)
    assert [(row.text, row.at) for row in comments_on(engine, run)] == [
        ("See row 3.\n\nIt is small.", 7)
    ]
    for text in ("", " ", "x" * (LONGEST + 1), "to \u202eyou"):
        with pytest.raises(RequestInvalid):
            add_comment(engine, run, 1, "0x" + "b" * 40, text, 7)
    for _ in range(MOST - 1):
        add_comment(engine, run, 1, "0x" + "b" * 40, "again", 7)
    with pytest.raises(RequestInvalid, match="too many"):
        add_comment(engine, run, 1, "0x" + "b" * 40, "again", 7)
    assert comments_on(engine, "c" * 64) == []


def test_signatures_of_several_processes_are_all_kept(url: str) -> None:
    """Each process reads and writes the same row; none of them writes over another's signature."""
    engines = [open_database(url) for _ in range(4)]
    members = [Wallet.new().address for _ in range(8)]
    now = int(time.time())

    def add(at: int) -> dict[str, str]:
        return orders._keep(
            engines[at % 4],
            "a" * 64,
            "RoleChange",
            "{}",
            members[at],
            b"\1",
            now + 60,
            now,
            members,
        )

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(add, range(8)))
    assert max(map(len, results)) == 8
    assert set(orders.list_orders(engines[0], now)[0].signers) == set(members)
