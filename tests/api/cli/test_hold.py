"""`volens trail hold`: heads that an auditor keeps, and their comparison with an export."""

from __future__ import annotations

import json
from pathlib import Path

from api.client import held_heads


def lines(path: str = "heads.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_head_from_ones_own_node_anchors_an_export_to_its_end(
    deployment, volens, devchain
) -> None:
    deployment.people(1)
    early = volens("trail", "hold", "--node", devchain.url)
    assert (early.code, "is kept in heads.jsonl" in early.out) == (0, True)
    deployment.people(1)
    assert volens("trail", "export", "trail.json").code == 0
    part = volens("verify", "trail.json", "--heads", "heads.jsonl")
    assert part.code == 9
    assert f"up to step {lines()[0]['count']} of" in part.out
    deployment.people(1)  # the ledger goes on: the head of the export's own last step is asked for
    result = volens("trail", "hold", "--node", devchain.url, "--trail", "trail.json")
    assert result.code == 0
    count = json.loads(Path("trail.json").read_text())["head"]["count"]
    assert [line["count"] for line in lines()][1] == count
    verdict = volens("verify", "trail.json", "--heads", "heads.jsonl")
    assert (verdict.code, verdict.out.splitlines()[-1]) == (0, "valid")
    assert "no head covers them" in verdict.out
    with Path("heads.jsonl").open("a") as kept:
        kept.write("\n \n")  # as editors leave it
    assert volens("verify", "trail.json", "--heads", "heads.jsonl").code == 0
    volens("trail", "hold", "--node", devchain.url)  # newer than the export: it was cut, or is old
    newer = volens("verify", "trail.json", "--heads", "heads.jsonl")
    assert (newer.code, "the trail ends at step" in newer.out) == (7, True)


def test_a_brokers_head_is_kept_with_its_signature_checked(deployment, volens, devchain) -> None:
    deployment.people(1)
    address = deployment.settings.address("broker")
    result = volens("trail", "hold", "--broker", address, "--json")
    assert result.code == 0
    assert json.loads(result.out)["from"] == "broker"
    again = volens("trail", "hold", "--node", devchain.url)
    assert "is kept already" in again.out


def test_a_head_that_contradicts_a_kept_one_is_said_and_not_kept(
    deployment, volens, devchain
) -> None:
    deployment.people(1)
    volens("trail", "hold", "--node", devchain.url)
    (kept,) = lines()
    Path("heads.jsonl").write_text(json.dumps(kept | {"head": "00" * 32}) + "\n")
    before = Path("heads.jsonl").read_bytes()
    result = volens("trail", "hold", "--node", devchain.url)
    assert (result.code, "another head" in result.err) == (7, True)
    assert Path("heads.jsonl").read_bytes() == before


def test_what_cannot_be_held_is_said(deployment, volens, devchain) -> None:
    assert volens("trail", "hold").code == 2
    assert volens("trail", "hold", "--node", devchain.url, "--broker", "http://x").code == 2
    assert volens("trail", "hold", "--node", devchain.url, "--trail", "none.json").code == 2
    Path("trail.json").write_text('{"head": {"count": 900000}}')
    far = volens("trail", "hold", "--node", devchain.url, "--trail", "trail.json")
    assert (far.code, "no such step" in far.err) == (2, True)
    Path("heads.jsonl").write_text("{}\n")
    assert (
        volens("verify", "trail.json", "--heads", "heads.jsonl").code == 8
    )  # no verdict on the trail
    assert held_heads.TYPE == "volens/held-head/1"
