"""Notices of the ledger's events: who gets which, once, and none lost or doubled over a restart."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from notice_rows import DAY, NOW, Rows, account
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.event import listen

from api.demo.postgres import Postgres
from chain import events as ev
from chain.vocabulary import ConsentStatus, PermitStatus
from governance.errors import NotFound, RequestInvalid
from governance.notices import addresses, deliveries, events, inbox
from governance.notices.inbox import News
from governance.notices.kinds import page_of
from governance.readmodel.database import open_database, upsert
from governance.readmodel.tables import (
    Delivery,
    Invitation,
    MailAddress,
    Mark,
    Notice,
    NoticeCursor,
    Permit,
    Reminder,
)
from governance.runs import claim, fail


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> Iterator[Engine]:
    url = (
        f"sqlite:///{tmp_path / 'volens.db'}"
        if request.param == "sqlite"
        else postgres.url(f"n{secrets.token_hex(8)}")
    )
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    engine = open_database(f"sqlite:///{tmp_path / 'rows.db'}")
    yield Rows(engine)
    engine.dispose()


def derive(rows: Rows, now: int = NOW) -> None:
    while events.derive(rows.engine, rows.replayed, now):
        pass
    while events.remind(rows.engine, now):
        pass


def kinds(rows: Rows, recipient: str) -> list[str]:
    """What a person has, oldest first."""
    return [n.kind for n in reversed(inbox.list_notices(rows.engine, recipient, 1000))]


def everything(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(Notice)).scalar_one()


PERSON, OTHER = bytes([7]) * 32, bytes([8]) * 32


def test_a_permit_is_asked_for_voted_on_and_decided(engine: Engine) -> None:
    rows = Rows(engine)
    permit = rows.permit("pia")  # a member who asks does not vote
    asked = {"permit": permit, "dataset": OTHER, "applicant": account("pia"), "request": ()}
    rows.write((ev.PermitRequested, asked))
    derive(rows)
    assert kinds(rows, account("quinn")) == ["permit-asked"]
    assert kinds(rows, account("pia")) == []
    vote = {"permit": permit, "member": account("quinn"), "yes": True}
    rows.write((ev.Voted, vote), at=NOW + 1)
    # The vote that decides is no notice of its own.
    rows.write((ev.Voted, vote), (ev.PermitApproved, {"permit": permit, "expiry": 1}), at=NOW + 2)
    rows.write((ev.PermitSuspended, {"permit": permit, "by": account("quinn")}), at=NOW + 3)
    derive(rows)
    assert kinds(rows, account("pia")) == ["permit-voted", "permit-approved", "permit-suspended"]
    refused = rows.permit()
    rows.write((ev.PermitRejected, {"permit": refused}))
    derive(rows)
    assert kinds(rows, account("noor")) == ["permit-rejected"]


def test_a_run_goes_its_way(rows: Rows) -> None:
    run = rows.run()
    attempt = {"run": run, "attempt": 1}
    seal = attempt | {"sealHash": OTHER, "sealedOutput": ()}
    for number, (kind, fields) in enumerate(
        (
            (ev.RunRefused, attempt | {"reason": 38}),  # the worker's own fault: it goes on
            (ev.RunRefused, attempt | {"reason": 30}),
            (ev.Sealed, seal),
            (ev.ReleaseRefused, attempt | {"subject": PERSON, "reason": 12}),
            (ev.Rejected, attempt | {"sealHash": OTHER, "checker": account("sol"), "reason": 60}),
            (
                ev.Released,
                attempt
                | {"sealHash": OTHER, "checkerA": account("sol"), "checkerB": account("tess")},
            ),
        )
    ):
        rows.write((kind, fields), at=NOW + number)
    rows.write((ev.RunRefused, {"run": OTHER, "attempt": 0, "reason": 30}))  # made no run
    derive(rows)
    assert kinds(rows, account("noor")) == [
        "run-refused",
        "run-sealed",
        "run-held-back",
        "output-refused",
        "run-released",
    ]
    assert kinds(rows, account("sol")) == kinds(rows, account("tess")) == ["output-waits"]
    assert inbox.list_notices(rows.engine, PERSON.hex(), 10) == []


def test_a_plan_is_for_its_clinician_and_its_patient(rows: Rows) -> None:
    """No checker hears of it, and she of its signature, not of its drawing."""
    run = rows.run(analyst="cleo", subject=PERSON.hex())
    attempt = {"run": run, "attempt": 1}
    signed = {"sealHash": OTHER, "clinician": account("cleo"), "notesHash": OTHER}
    rows.use(run, PERSON)
    rows.write((ev.Sealed, attempt | {"sealHash": OTHER, "sealedOutput": ()}), at=NOW + 1)
    derive(rows)
    assert kinds(rows, PERSON.hex()) == ["plan-begun"]
    rows.write((ev.ReleaseRefused, attempt | {"subject": PERSON, "reason": 12}), at=NOW + 2)
    rows.write((ev.Countersigned, attempt | signed), at=NOW + 3)
    derive(rows)
    assert kinds(rows, account("cleo")) == ["plan-drawn", "plan-refused"]
    assert kinds(rows, PERSON.hex()) == ["plan-begun", "plan-signed"]
    assert kinds(rows, account("sol")) == kinds(rows, account("noor")) == []
    other = rows.run(analyst="cleo", subject=PERSON.hex()).hex()
    own = claim(rows.engine, other, "a" * 64, NOW, 60)
    assert own is not None
    fail(rows.engine, own, "its memory was not enough")
    assert "plan-failed" in kinds(rows, account("cleo"))
    for kind in ("plan-drawn", "plan-refused", "plan-failed"):
        assert page_of(kind, other) == f"/care/{other}"
    for kind in ("plan-begun", "plan-signed"):
        assert page_of(kind, other) == f"/me/plan/{other}"


def test_a_run_that_failed_is_a_notice_with_its_failure(rows: Rows) -> None:
    run = rows.run().hex()
    own = claim(rows.engine, run, "a" * 64, NOW, 60)
    assert own is not None
    fail(rows.engine, own, "its memory was not enough")
    fail(rows.engine, own, "its memory was not enough")
    assert kinds(rows, account("noor")) == ["run-failed"]


def test_a_use_is_one_notice_a_run_and_person(engine: Engine) -> None:
    """However many attempts and objects there were."""
    rows = Rows(engine)
    run = rows.run()
    rows.use(run, PERSON, OTHER)
    derive(rows)
    rows.use(run, PERSON, attempt=2)
    rows.use(rows.run(), OTHER)
    derive(rows)
    assert kinds(rows, PERSON.hex()) == ["data-used"]
    assert kinds(rows, OTHER.hex()) == ["data-used", "data-used"]


def test_a_registrars_invitation_is_accepted(rows: Rows) -> None:
    with rows.engine.begin() as connection:
        upsert(
            connection,
            Invitation,
            [
                Invitation(
                    digest="a" * 64,
                    subject=PERSON.hex(),
                    enrolment="{}",
                    signature="",
                    by=account("rita"),
                    at=NOW,
                    deadline=NOW + 9,
                )
            ],
        )
    enrolled = {"signer": b"s" * 20, "assurance": 1, "registrar": account("rita")}
    rows.write(
        (ev.Enrolled, enrolled | {"subject": PERSON}),
        (ev.Enrolled, enrolled | {"subject": OTHER}),  # without an invitation here
    )
    derive(rows)
    assert kinds(rows, account("rita")) == ["invitation-accepted"]


def test_what_expires_is_said_before_and_only_if_it_still_does(engine: Engine) -> None:
    rows = Rows(engine)
    first, second = rows.permit(days=90), rows.permit(days=90)
    brief = rows.permit("pia", days=4)
    for permit, days in ((first, 90), (second, 90), (brief, 4)):
        rows.write((ev.PermitApproved, {"permit": permit, "expiry": NOW + days * DAY}))
    granted = {
        "dataset": bytes.fromhex("d" * 64),
        "epoch": 0,
        "version": 1,
        "slot": 0,
        "termsCommitment": OTHER,
        "noticeHash": OTHER,
    }
    for person in (PERSON, OTHER):
        rows.consent(person, 100)
        rows.write((ev.ConsentGranted, granted | {"subject": person}))
    derive(rows)
    assert "permit-expiring" not in kinds(rows, account("noor")) + kinds(rows, account("pia"))
    with engine.begin() as connection:
        suspended = int(PermitStatus.SUSPENDED)
        connection.execute(
            update(Permit).where(Permit.permit == second.hex()).values(status=suspended)
        )
    rows.consent(OTHER, 100, ConsentStatus.REVOKED)
    derive(rows, NOW + 2 * DAY + 1)
    assert kinds(rows, account("pia"))[-1] == "permit-expiring"  # halfway of what is short
    assert "permit-expiring" not in kinds(rows, account("noor"))
    for _ in range(2):
        derive(rows, NOW + 77 * DAY)
    assert kinds(rows, account("noor")).count("permit-expiring") == 1
    assert kinds(rows, PERSON.hex()) == ["consent-expiring"]
    assert kinds(rows, OTHER.hex()) == []
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(Reminder)).scalar() == 0


def withdraw(rows: Rows, epoch: int = 0) -> str:
    fields = {"subject": PERSON, "dataset": bytes.fromhex("d" * 64), "endedEpoch": epoch}
    return rows.write((ev.ConsentRevoked, fields))


def computing(rows: Rows) -> str:
    """A run that computes with the person's data."""
    run = rows.run(state="authorised")
    asked = {
        "run": run,
        "permit": OTHER,
        "analyst": account("noor"),
        "paramsHash": OTHER,
        "resultKey": OTHER,
        "deadline": 1 << 40,
    }
    rows.write((ev.RunRequested, asked))
    authorised = {
        "run": run,
        "attempt": 1,
        "granted": 1,
        "denied": 0,
        "leaseUntil": 1 << 40,
        "workerKey": OTHER,
        "listHash": OTHER,
        "relaxed": 0,
    }
    rows.write(
        (ev.RunAuthorised, authorised),
        (ev.AccessGranted, {"run": run, "subject": PERSON, "attemptEpochVersion": 1 << 56 | 1}),
    )
    rows.use(run, PERSON)
    return run.hex()


def head(rows: Rows) -> None:
    """The trail's newest step, up to which withdrawals are read."""
    rows.write((ev.Head, {"count": rows.block + 1, "head": OTHER, "kind": 1, "body": OTHER}))


def test_a_stopped_use_is_said_once_it_has_settled(rows: Rows) -> None:
    run = computing(rows)
    tx = withdraw(rows)
    head(rows)
    derive(rows)
    derive(rows, NOW + 60)
    assert kinds(rows, PERSON.hex()) == ["data-used"]
    with rows.engine.begin() as connection:
        upsert(
            connection,
            Mark,
            [
                Mark(name=f"mined:{tx}", at=1000, note=""),
                Mark(name=f"stopped:{run}:1", at=2500, note=""),
            ],
        )
    derive(rows, NOW + 120)
    derive(rows, NOW + 9000)
    assert sorted(kinds(rows, PERSON.hex())) == ["data-used", "use-stopped"]
    assert inbox.list_notices(rows.engine, PERSON.hex(), 1)[0].about == tx


def test_a_withdrawal_that_stopped_nothing_is_no_notice(rows: Rows) -> None:
    withdraw(rows)
    head(rows)
    derive(rows)
    with rows.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(Reminder)).scalar() == 0
    assert kinds(rows, PERSON.hex()) == []


def test_a_killed_process_loses_nothing_and_doubles_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its writes: the next one begins where the last complete transaction ended."""
    rows = Rows(engine)
    for _ in range(5):
        rows.use(rows.run(), PERSON, OTHER)
    monkeypatch.setattr(events, "BATCH", 4)

    class Killed(BaseException):
        pass

    for part in ("add", "upsert"):
        with monkeypatch.context() as broken:
            module = inbox if part == "add" else events
            original = getattr(module, part)

            def kill(*given: object, call=original) -> None:
                call(*given)
                raise Killed

            broken.setattr(module, part, kill)
            with pytest.raises(Killed):
                events.derive(engine, rows.replayed, NOW)
        assert everything(engine) == 0
    derive(rows)
    assert everything(engine) == 10


def test_several_processes_make_each_notice_and_delivery_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(engine)
    monkeypatch.setattr(events, "BATCH", 3)
    confirmed(engine, PERSON.hex(), "ada@example.org")
    for _ in range(10):
        rows.use(rows.run(), PERSON, OTHER)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: derive(rows), range(4)))
        list(pool.map(lambda _: deliveries.plan(engine, ["mail", "webhook"], NOW), range(4)))
        taken = list(pool.map(lambda _: deliveries.take(engine, "mail", NOW), range(10)))
    assert everything(engine) == 20
    names = [delivery.name for delivery in taken if delivery]
    assert len(set(names)) == len(names) == 10
    assert deliveries.take(engine, "mail", NOW) is None


def test_rows_derived_anew_make_no_notice_again(rows: Rows) -> None:
    rows.use(rows.run(), PERSON)
    derive(rows)
    with rows.engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))
        connection.execute(text("DELETE FROM blocks"))
    derive(rows)
    with rows.engine.connect() as connection:
        assert connection.execute(select(NoticeCursor.block)).scalar() == 2
    rows.use(rows.run(), PERSON)
    derive(rows)
    assert kinds(rows, PERSON.hex()) == ["data-used", "data-used"]


def test_what_is_read_does_not_grow_with_the_history(rows: Rows) -> None:
    """Each query by an index, and nothing is asked where no block is new."""
    for _ in range(3):
        rows.use(rows.run(), PERSON)
    derive(rows)
    deliveries.plan(rows.engine, ["mail"], NOW)
    statements: list[str] = []
    listen(rows.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    derive(rows)
    inbox.count_unread(rows.engine, PERSON.hex())
    deliveries.plan(rows.engine, ["mail"], NOW)
    deliveries.take(rows.engine, "mail", NOW)
    reads = [s for s in statements if s.lstrip().startswith("SELECT")]
    assert reads == statements  # no lock is taken
    rows.use(rows.run(), PERSON)
    derive(rows)
    inbox.list_notices(rows.engine, PERSON.hex(), 10)
    with rows.engine.connect() as connection:
        for statement in {s for s in statements if s.lstrip().startswith("SELECT")}:
            given = ("1",) * statement.count("?")
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given).all()
            for row in plan:
                assert not row.detail.startswith("SCAN") or "notice_cursor" in row.detail, statement
                assert "USE TEMP B-TREE" not in row.detail or "notices" in statement, statement


def news(recipient: str, number: int, at: int = NOW) -> News:
    kind = "data-used" if inbox.is_patient(recipient) else "run-sealed"
    return News(recipient, kind, str(number), "a" * 64, at)


def test_an_inbox_is_bounded_and_the_oldest_read_ones_go_first(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_KEPT", 4)
    her = PERSON.hex()
    with rows.engine.begin() as connection:
        inbox.add(connection, [news(her, 1, NOW + 1), news(her, 2, NOW + 2), news(her, 3, NOW + 3)])
        connection.execute(update(Notice).where(Notice.at == NOW + 2).values(read=NOW))
        inbox.add(connection, [news(her, 4, NOW + 4), news(her, 5, NOW + 5)])
    assert [n.at - NOW for n in inbox.list_notices(rows.engine, her, 9)] == [5, 4, 3, 1]
    with rows.engine.begin() as connection:
        inbox.add(connection, [news(her, 6, NOW + 6), news(OTHER.hex(), 6)])
    assert [n.at - NOW for n in inbox.list_notices(rows.engine, her, 9)] == [6, 5, 4, 3]
    with rows.engine.begin() as connection:
        inbox.sweep(connection, NOW + 4 + inbox.KEPT_SECONDS)
    assert [n.at - NOW for n in inbox.list_notices(rows.engine, her, 9)] == [6, 5]


def test_reading_marks_what_was_seen_and_nobody_elses(rows: Rows) -> None:
    with rows.engine.begin() as connection:
        inbox.add(
            connection,
            [news(PERSON.hex(), 1), news(PERSON.hex(), 2, NOW + 9), news(OTHER.hex(), 1)],
        )
    inbox.mark_read(rows.engine, PERSON.hex(), NOW + 5, NOW + 20)
    assert inbox.count_unread(rows.engine, PERSON.hex()) == 1
    assert inbox.count_unread(rows.engine, OTHER.hex()) == 1


def test_a_patients_kind_goes_to_patients_alone(rows: Rows) -> None:
    for recipient, kind in ((account("noor"), "data-used"), (PERSON.hex(), "run-sealed")):
        with (
            pytest.raises(ValueError, match="not for this recipient"),
            rows.engine.begin() as connection,
        ):
            inbox.add(connection, [News(recipient, kind, "1", "a" * 64, NOW)])


def test_old_events_of_a_new_database_are_not_sent(rows: Rows) -> None:
    """After a loss the ledger is read again: what it tells of last year is no news."""
    confirmed(rows.engine, PERSON.hex(), "ada@example.org")
    rows.use(rows.run(), PERSON, at=NOW - inbox.KEPT_SECONDS)
    rows.use(rows.run(), PERSON, at=NOW - deliveries.YOUNG_SECONDS)
    derive(rows)
    deliveries.plan(rows.engine, ["mail"], NOW)
    assert kinds(rows, PERSON.hex()) == ["data-used"]
    assert deliveries.take(rows.engine, "mail", NOW) is None


def confirmed(engine: Engine, recipient: str, address: str) -> None:
    addresses.ask(engine, recipient, address, NOW)
    drawn = addresses.draw_token(engine, recipient, NOW)
    assert drawn
    addresses.confirm(engine, drawn[1], NOW)
    with engine.begin() as connection:
        deliveries.drop_mails(connection, recipient)


def test_a_delivery_waits_longer_each_time_and_is_given_up(rows: Rows) -> None:
    confirmed(rows.engine, PERSON.hex(), "ada@example.org")
    with rows.engine.begin() as connection:
        inbox.add(connection, [news(PERSON.hex(), 1)])
    deliveries.plan(rows.engine, ["mail"], NOW)
    now, pauses, references = NOW, [], set()
    while (due := deliveries.take(rows.engine, "mail", now)) is not None:
        references.add(due.reference)
        # For this process alone.
        assert deliveries.take(rows.engine, "mail", now + deliveries.LEASE_SECONDS - 1) is None
        if deliveries.failed(rows.engine, due, now):
            break
        with rows.engine.connect() as connection:
            later = connection.execute(select(Delivery.next_at)).scalar_one()
        assert deliveries.take(rows.engine, "mail", later - 1) is None
        pauses.append(later - now)
        now = later
    assert pauses[:4] == [60, 120, 240, 480]
    assert max(pauses) == 6 * 3600
    assert 2.8 * DAY < now - NOW < 3.2 * DAY
    assert len(references) == 1
    assert deliveries.take(rows.engine, "mail", now + 9 * DAY) is None
    assert deliveries.count_given_up(rows.engine, PERSON.hex()) == 1
    assert deliveries.count_given_up(rows.engine, OTHER.hex()) == 0


def test_a_process_killed_while_it_sends_leaves_it_to_another(engine: Engine) -> None:
    confirmed(engine, PERSON.hex(), "ada@example.org")
    with engine.begin() as connection:
        inbox.add(connection, [news(PERSON.hex(), 1)])
    deliveries.plan(engine, ["mail"], NOW)
    killed = deliveries.take(engine, "mail", NOW)
    assert killed
    after = NOW + deliveries.LEASE_SECONDS
    again = deliveries.take(engine, "mail", after)
    assert again
    assert (again.name, again.reference) == (killed.name, killed.reference)
    deliveries.failed(engine, killed, after)  # it was only slow: it changes nothing any more
    deliveries.done(engine, again)
    assert deliveries.take(engine, "mail", after + DAY) is None


def test_a_mails_reference_follows_from_nothing_on_the_ledger(rows: Rows) -> None:
    """A hash of step and subject could be found by trying every id on the ledger."""
    confirmed(rows.engine, PERSON.hex(), "ada@example.org")
    item = news(PERSON.hex(), 1)
    with rows.engine.begin() as connection:
        inbox.add(connection, [item])
    deliveries.plan(rows.engine, ["mail"], NOW)
    due = deliveries.take(rows.engine, "mail", NOW)
    assert due
    assert due.reference not in (item.id, item.origin)


def test_a_webhook_gets_one_post_an_event_and_none_of_patients(rows: Rows) -> None:
    permit = rows.permit()
    asked = {"permit": permit, "dataset": OTHER, "applicant": account("noor"), "request": ()}
    rows.write((ev.PermitRequested, asked))
    rows.use(rows.run(), PERSON)
    derive(rows)
    deliveries.plan(rows.engine, ["webhook"], NOW)
    due = deliveries.take(rows.engine, "webhook", NOW)
    assert due
    assert (due.kind, due.about, due.recipient) == ("permit-asked", permit.hex(), "")
    assert deliveries.take(rows.engine, "webhook", NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "ada@localhost",
        "@example.org",
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@example.org\n",
        "ada\r\nDATA@example.org",
        "ada@example.org, eve@example.org",
        "ada@example.org>",
        "Ada <ada@example.org>",
        '"ada b"@example.org',
        "ada b@example.org",
        "ada@exa mple.org",
        "-ada@example.org",
        ".ada@example.org",
        "ada..b@example.org",
        "ada@[127.0.0.1]",
        "ada@-example.org",
        "ada@example..org",
        "ada@example.org\0",
        "ada\u202e@example.org",
        "ada@ex\u00e4mple.org",
        "a" * 65 + "@example.org",
        "ada@" + "a" * 64 + ".org",
        "ada@" + ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_no_address_is_not_kept(rows: Rows, text: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        addresses.ask(rows.engine, PERSON.hex(), text, NOW)
    assert "eve" not in f"{refused.value} {refused.value.hint}"
    assert addresses.addresses_of(rows.engine, PERSON.hex()) == addresses.Addresses("", "")


def test_an_address_is_used_once_it_is_confirmed(engine: Engine) -> None:
    her = PERSON.hex()
    addresses.ask(engine, her, " ada+x@example.org ", NOW)
    assert addresses.addresses_of(engine, her) == addresses.Addresses("", "ada+x@example.org")
    assert addresses.addresses_of(engine, OTHER.hex()) == addresses.Addresses("", "")
    link = deliveries.take(engine, "mail", NOW)
    assert link
    assert link.kind == deliveries.LINK
    assert deliveries.address_for(engine, link) == ""
    first = addresses.draw_token(engine, her, NOW)
    second = addresses.draw_token(engine, her, NOW)
    assert first
    assert second
    with engine.connect() as connection:
        kept = str(connection.execute(select(MailAddress)).all())
    assert second[1] not in kept  # only its hash
    for token in ("", "x" * 43, first[1]):
        with pytest.raises(NotFound):
            addresses.confirm(engine, token, NOW)
    with pytest.raises(NotFound):
        addresses.confirm(engine, second[1], NOW + addresses.LINK_SECONDS)
    addresses.confirm(engine, second[1], NOW + addresses.LINK_SECONDS - 1)
    with pytest.raises(NotFound):
        addresses.confirm(engine, second[1], NOW)
    assert deliveries.address_for(engine, link) == "ada+x@example.org"
    # A new one takes its place only when it is confirmed.
    addresses.ask(engine, her, "new@example.org", NOW + DAY)
    assert addresses.addresses_of(engine, her).confirmed == "ada+x@example.org"
    addresses.remove(engine, her)
    assert addresses.addresses_of(engine, her) == addresses.Addresses("", "")
    assert deliveries.take(engine, "mail", NOW + DAY) is None
    assert addresses.draw_token(engine, her, NOW + DAY) is None


def test_links_are_few_a_day_also_for_who_deletes_the_address(rows: Rows) -> None:
    for number in range(addresses.MOST_ASKED):
        addresses.ask(rows.engine, PERSON.hex(), f"ada{number}@example.org", NOW)
        addresses.remove(rows.engine, PERSON.hex())
        with rows.engine.begin() as connection:
            addresses.sweep(connection, NOW)
    with pytest.raises(RequestInvalid, match="today already"):
        addresses.ask(rows.engine, PERSON.hex(), "ada@example.org", NOW)
    addresses.ask(rows.engine, OTHER.hex(), "ben@example.org", NOW)
    addresses.ask(rows.engine, PERSON.hex(), "ada@example.org", NOW + DAY)
    with rows.engine.begin() as connection:
        addresses.sweep(connection, NOW + 3 * DAY)
    with rows.engine.connect() as connection:
        assert connection.execute(select(MailAddress)).all() == []
