"""Commands of the committee: roles, suspensions, voided registrations, resumed runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.operate.bootstrap import ROLES
from chain.wallets import Wallet

ANALYST, WORKER = ROLES["analyst"], ROLES["worker"]


def live(deployment, account: str, role: int) -> bool:
    return bool(deployment.world.ledger.read("PermitRegistry", "isLive", account, role))


def test_two_members_give_a_role_and_two_end_it(deployment, volens) -> None:
    account = Wallet.new().address
    begun = volens("role", "give", account, "analyst", "--as", "pia")
    assert (begun.code, "1 more signature is needed" in begun.out) == (0, True)
    assert not live(deployment, account, ANALYST)
    file = f"give-analyst-{account[2:10]}.json"
    assert "becomes" not in begun.out
    assert "You sign the grant of a role" in begun.out
    again = volens("committee", "sign", file, "--as", "pia", "--yes")
    assert "1 more signature is needed" in again.out  # the same member twice is one
    done = volens("committee", "sign", file, "--as", "quinn", "--yes")
    assert (done.code, "Done in block" in done.out, Path(file).exists()) == (0, True, False)
    assert live(deployment, account, ANALYST)
    shown = json.loads(volens("role", "list", "--json").out)
    assert [row["role"] for row in shown if row["account"] == account] == ["analyst"]
    founders = [row for row in shown if row["version"] == 0]
    assert {founder["role"] for founder in founders} == {"committee"}

    assert volens("role", "end", account, "--as", "pia").code == 0
    file = f"end-role-{account[2:10]}.json"
    result = volens("committee", "sign", file, "--as", "quinn", "--yes")
    assert "You sign the end of a role" in result.out
    assert not live(deployment, account, ANALYST)


def test_an_order_that_is_overtaken_altered_or_foreign_is_refused(deployment, volens) -> None:
    account = Wallet.new().address
    for _ in range(2):
        volens("role", "give", account, "analyst", "--as", "pia", "--out", "held.json")
    document = json.loads(Path("held.json").read_text())
    volens("role", "give", account, "analyst", "--as", "pia", "--out", "first.json")
    volens("committee", "sign", "first.json", "--as", "quinn", "--yes")
    result = volens("committee", "sign", "held.json", "--as", "quinn", "--yes")
    assert (result.code, "changed since" in result.err) == (3, True)

    def tried(**change: object) -> tuple[int, str]:
        Path("other.json").write_text(json.dumps(document | change))
        answer = volens("committee", "sign", "other.json", "--as", "quinn", "--yes")
        return answer.code, answer.err

    message = document["message"]
    code, error = tried(message=message | {"role": ROLES["checker"]})
    assert (code, "is not theirs" in error) == (7, True)
    assert tried(identity="00" * 32)[0] == 2
    assert tried(kind="Vote")[0] == 2
    assert tried(message=message | {"more": 1})[0] == 2
    assert tried(signatures=[])[0] == 2
    assert volens("committee", "sign", "nothing.json", "--as", "quinn").code == 2
    assert volens("role", "give", account, "king", "--as", "pia").code == 2
    assert volens("role", "give", "0x12", "analyst", "--as", "pia").code == 2
    assert volens("role", "end", Wallet.new().address, "--as", "pia").code == 4


def test_without_a_yes_nothing_is_signed(deployment, volens) -> None:
    account = Wallet.new().address
    volens("role", "give", account, "analyst", "--as", "pia", "--out", "order.json")
    before = Path("order.json").read_bytes()
    assert volens("committee", "sign", "order.json", "--as", "quinn").code != 0
    assert Path("order.json").read_bytes() == before


def test_a_live_worker_cannot_be_cancelled(deployment, volens) -> None:
    worker = deployment.world.people["wanda"].address
    result = volens("role", "cancel", worker, "--as", "rui")
    assert (result.code, "waiting to act" in result.err) == (3, True)
    assert volens("role", "cancel", Wallet.new().address, "--as", "rui").code == 4


def test_one_officer_suspends_a_permit(deployment, volens) -> None:
    permit = deployment.world.permit().hex()
    assert volens("permit", "suspend", permit, "--as", "dora").code == 2
    assert deployment.anybody().permit(permit)["status"] == "approved"
    why = ("--reason", "Data left the agreed machine.")
    result = volens("permit", "suspend", permit, "--as", "dora", *why)
    assert (result.code, "Suspended in block" in result.out) == (0, True)
    (row,) = json.loads(volens("permit", "reasons", permit, "--as", "noor", "--json").out)
    assert (row["act"], row["text"]) == ("suspend", "Data left the agreed machine.")
    assert deployment.anybody().permit(permit)["status"] == "suspended"
    assert volens("permit", "suspend", permit, "--as", "noor", *why).code == 3


def test_a_quorum_of_no_rejects_a_permit(deployment, volens) -> None:
    permit = deployment.world.permit(approve=()).hex()
    for name in ("pia", "rui"):
        bare = volens("permit", "vote", permit, "--no", "--as", name)
        assert (bare.code, "its reason is missing" in bare.err) == (2, True)
        result = volens("permit", "vote", permit, "--no", "--reason", f"{name}: no", "--as", name)
    assert "The permit is rejected" in result.out
    assert volens("permit", "vote", permit, "--yes", "--as", "quinn").code == 3
    shown = volens("permit", "reasons", permit, "--as", "noor").out
    assert "pia: no" in shown
    assert "rui: no" in shown
    assert volens("permit", "reasons", permit, "--as", "sol").code == 5


@pytest.mark.parametrize("by", ["the custodian", "the committee"])
def test_a_list_that_was_never_handed_over_is_taken_back(deployment, volens, by: str) -> None:
    world, dataset = deployment.world, deployment.world.dataset.hex()
    ingest = world.register_records().hex()

    def state() -> str:
        rows = json.loads(volens("dataset", "ingests", dataset, "--json").out)
        return next(row["state"] for row in rows if row["ingest"] == ingest)

    assert state() == "missing"
    assert deployment.services.projection.unread(world.dataset)
    if by == "the custodian":
        assert volens("dataset", "void", dataset, ingest, "--as", "omar").code == 0
    else:
        begun = volens("dataset", "void", dataset, ingest, "--as", "pia")
        assert "1 more signature is needed" in begun.out
        done = volens("committee", "sign", f"void-{ingest[:8]}.json", "--as", "rui", "--yes")
        assert (done.code, "taken back, for good" in done.out) == (0, True)
    assert state() == "void"
    assert not deployment.services.projection.unread(world.dataset)
    again = volens("dataset", "void", dataset, ingest, "--as", "omar")
    assert (again.code, "void already" in again.err) == (3, True)
    assert volens("dataset", "void", dataset, "00" * 32, "--as", "omar").code == 4


def test_an_analyst_resumes_a_run_with_all_attempts_used(deployment, volens) -> None:
    world, people = deployment.world, deployment.people(3)
    run = world.request_run(world.permit())
    early = volens("run", "resume", run.hex(), "--as", "noor")
    assert (early.code, "attempts left" in early.err) == (3, True)
    for attempt in range(1, 17):
        world.authorise(run, people, attempt=attempt)
    with pytest.raises(Exception, match="AttemptOutOfOrder"):
        world.authorise(run, people, attempt=17)
    result = volens("run", "resume", run.hex(), "--as", "noor")
    assert (result.code, "It goes on" in result.out) == (0, True)
    world.authorise(run, people, attempt=17)
    assert volens("run", "resume", run.hex(), "--as", "sol").code == 3
