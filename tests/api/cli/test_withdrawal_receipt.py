"""The receipt of a withdrawal, as written by the command line."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import api.client.results
from chain.wallets import save
from governance.runs import mark


def in_a_run(deployment, people: list[bytes]) -> tuple[str, bytes]:
    """The name of the first one's key file, and a run that computes on all of them."""
    name = f"ada-{people[0].hex()[:6]}"
    path = deployment.home / "keys" / f"{name}.json"
    save(deployment.world.subjects[people[0]], path, {"subject": people[0].hex()})
    run = deployment.world.request_run(deployment.world.permit())
    deployment.world.authorise(run, people)
    return name, run


def test_the_receipt_of_a_withdrawal_holds(deployment, volens) -> None:
    """The command waits until uses have stopped; its file anchors the exported trail, where its
    transaction stands.
    """
    people = deployment.people(4)
    name, run = in_a_run(deployment, people)
    worker = threading.Timer(1.0, mark, (deployment.services.engine, f"stopped:{run.hex()}:1"))
    worker.start()
    result = volens("consent", "revoke", "--as", name, deployment.world.dataset.hex(), "--yes")
    worker.join()
    text = result.out
    assert result.code == 0, result
    assert "Nothing of yours in it is used any more." in text
    assert "A running use of your data was stopped after" in text
    file = (
        deployment.home
        / "receipts"
        / name
        / text.rpartition("Your receipt: ")[2].strip().rstrip(".")
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    receipt = json.loads(file.read_text())
    assert (receipt["type"], receipt["subject"], receipt["settled"]) == (
        "volens/withdrawal-receipt/2",
        people[0].hex(),
        True,
    )
    assert receipt["identity"] == deployment.anybody().identity_id.hex()
    (effect,) = (affected for affected in receipt["effects"] if affected["run"] == run.hex())
    assert (effect["was"], "stopped" in effect, effect["attempt"]) == ("computing", True, 1)

    assert volens("trail", "export", "trail.json").code == 0
    mined = receipt["receipt"]
    head = f"{mined['count']}:{mined['head']}"
    assert volens("verify", "trail.json", "--head", head).code == 0
    verdict = volens("verify", "trail.json", "--receipt", str(file))
    assert (verdict.code, verdict.out.rstrip().splitlines()[-1]) == (0, "valid"), verdict
    file.with_name("forged.json").write_text(
        json.dumps(receipt | {"effects": [effect | {"was": "released"}]})
    )
    assert volens("verify", "trail.json", "--receipt", str(file.with_name("forged.json"))).code == 7
    other = f"{mined['count']}:{'00' * 32}"
    assert volens("verify", "trail.json", "--head", other).code == 7
    (transaction,) = (
        candidate
        for candidate in json.loads(Path("trail.json").read_text())["transactions"]
        if candidate["hash"].removeprefix("0x") == mined["tx"]
    )
    assert transaction["block"] == mined["block"]
    assert any(people[0].hex() in topic for log in transaction["logs"] for topic in log["topics"])
    shown = volens("consent", "withdrawals", "--as", name, "--json")
    assert (shown.code, effect["sentence"] in shown.out) == (0, True)


def test_a_receipt_written_too_early_is_completed_by_itself(
    deployment, volens, monkeypatch
) -> None:
    """The process is stopped after the command has given up waiting: her next look completes the
    file.
    """
    people = deployment.people(4)
    name, run = in_a_run(deployment, people)
    real = api.client.results.await_settled
    monkeypatch.setattr(api.client.results, "await_settled", lambda me, tx: real(me, tx, seconds=0))
    result = volens("consent", "revoke", "--as", name, deployment.world.dataset.hex(), "--yes")
    assert "Not everything has stopped yet" in result.out
    folder = deployment.home / "receipts" / name
    (early,) = folder.glob("*.json")
    assert json.loads(early.read_text())["settled"] is False
    volens("trail", "export", "early.json")
    assert volens("verify", "early.json", "--receipt", str(early)).code == 0

    assert volens("consent", "withdrawals", "--as", name).code == 0
    assert list(folder.glob("*.json")) == [early]  # nothing has stopped yet
    mark(deployment.services.engine, f"stopped:{run.hex()}:1", "a person is no longer willing")
    listed = volens("consent", "withdrawals", "--as", name)
    (complete,) = folder.glob("*.json")
    assert complete != early
    assert complete.name in listed.err
    receipt = json.loads(complete.read_text())
    assert receipt["settled"] is True
    (effect,) = (affected for affected in receipt["effects"] if affected["run"] == run.hex())
    assert "stopped after" in effect["sentence"]
    volens("trail", "export", "late.json")
    assert volens("verify", "late.json", "--receipt", str(complete)).code == 0
    forged = receipt | {"effects": []}
    complete.write_text(json.dumps(forged))
    assert volens("verify", "late.json", "--receipt", str(complete)).code == 7
