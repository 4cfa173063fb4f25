"""Forged trails: an exporter who writes every head anew is told by a signature, or by the head of
the last step.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from narrated import ROOT, Narrative, as_bytes, bundle_of, calls, replay

from api.demo import forgeries
from api.demo.forgeries import rewrite
from api.demo.stage import DAY, World, random32
from chain.devnode.process import DevChain
from chain.errors import Refused
from chain.wallets import Wallet
from governance.verify import (
    CALLS,
    FAILED,
    PARTLY,
    VALID,
    code_of,
    decode_call,
    examine,
    identity_id,
    origin_of,
    parse_identity,
    words,
)

Bundle = dict[str, Any]
PROGRAM = ROOT / "governance" / "verify.py"


def arguments(item: dict[str, Any]) -> dict[str, Any]:
    return decode_call(bytes.fromhex(item["input"][2:]))[2]


def removed(function: str, which: int = 0, also: Callable[[Any], bool] = lambda item: False) -> Any:
    """The step of that call never happened, nor those that stood on it."""

    def change(bundle: Bundle) -> Bundle:
        position = calls(bundle, function)[which]
        transactions = bundle["transactions"]
        kept = [item for at, item in enumerate(transactions) if at != position and not also(item)]
        bundle["transactions"] = kept
        return rewrite(bundle)

    return change


def is_attempt(number: int) -> Callable[[Any], bool]:
    def asked(item: Any) -> bool:
        return bool(item["input"][2:10] == "6eb5a8ae" and arguments(item)["m"]["attempt"] == number)

    return asked


def stale_dropped(bundle: Bundle) -> Bundle:
    """She sent an old withdrawal again, and it was recorded: as if she never had."""
    return removed("revoke", 1)(bundle)


def stale_repeated(bundle: Bundle) -> Bundle:
    """The stale withdrawal appears twice; the contract records it once."""
    position = calls(bundle, "revoke")[1]
    item = copy.deepcopy(bundle["transactions"][position])
    bundle["transactions"].insert(position + 1, item | {"index": 1, "hash": "0x" + "77" * 32})
    return bundle


def refused_dropped(bundle: Bundle) -> Bundle:
    """A batch whose items were all refused is removed."""
    return removed("grant", 1)(bundle)


def refused_invented(bundle: Bundle) -> Bundle:
    """Consents that were given are told as sent once more, and refused: every signature is true.

    What a later consent has replaced leaves no trace, or whoever saw it could make the trail grow.
    """
    position = calls(bundle, "grant")[0]
    item = copy.deepcopy(bundle["transactions"][position])
    item |= {"index": 1, "hash": "0x" + "77" * 32, "logs": []}
    bundle["transactions"].insert(position + 1, item)
    items = len(arguments(item)["items"])
    item["logs"] = [
        {
            "address": item["to"],
            "topics": [
                "0x" + forgeries.TOPICS["ItemRefused"].hex(),
                "0x" + words(index).hex(),
            ],
            "data": "0x" + words(bytes.fromhex("9b8d7ca1")).hex(),  # VersionStale
            "index": index,
        }
        for index in range(items)
    ]
    return bundle  # the rules themselves leave no step to it: it cannot be rewritten


def refused_for_another_reason(bundle: Bundle) -> Bundle:
    log = bundle["transactions"][calls(bundle, "grant")[1]]["logs"][0]
    log["data"] = "0x" + words(bytes.fromhex("6747c9fd")).hex()  # DeadlinePassed
    return bundle


def votes_turned(bundle: Bundle) -> Bundle:
    """A rejected permit appears as approved."""
    for position in calls(bundle, "vote"):
        item = bundle["transactions"][position]
        message = arguments(item)["m"]
        if not message["yes"]:
            before, after = words(*message.values()), words(*(message | {"yes": 1}).values())
            item["input"] = item["input"].replace(before.hex(), after.hex())
    return rewrite(bundle)


def renumbered(bundle: Bundle) -> Bundle:
    """Every block has the next number."""
    bundle["blocks"] = {str(int(n) + 1): block for n, block in bundle["blocks"].items()}
    for item in bundle["transactions"]:
        item["block"] += 1
    return rewrite(bundle)


def dated_anew(bundle: Bundle) -> Bundle:
    """All of it happened an hour away, on the same day: what stands between two moments is as long
    as it was.
    """
    blocks = bundle["blocks"].values()
    morning = min(block["timestamp"] for block in blocks) % DAY < DAY // 2
    for block in blocks:
        block["timestamp"] += 3600 if morning else -3600
    return rewrite(bundle)


def release_as_refusal(bundle: Bundle) -> Bundle:
    """A released result appears as refused, because its analyst had been dismissed."""

    class Liar(forgeries.Rewriter):
        def _release(self, m: Any, a: Any) -> Any:
            kind, body, events = super()._release(m, a)
            if kind != 38:
                return kind, body, events
            plain = (m["attempt"], bytes(32), 36)
            return 39, words(m["run"], *plain), [("ReleaseRefused", (m["run"],), plain)]

    return forgeries.rewrite(bundle, Liar(bundle["identity"]))


def identity_with(**change: Any) -> Callable[[Bundle], Bundle]:
    def lie(bundle: Bundle) -> Bundle:
        bundle["identity"] |= change
        return rewrite(bundle)

    return lie


FORGED: dict[str, tuple[str, Callable[[Bundle], Bundle]]] = {
    "a stale withdrawal dropped": ("anchored", stale_dropped),
    "a stale withdrawal told twice": ("consistent", stale_repeated),
    "refused messages dropped": ("anchored", refused_dropped),
    "refused messages invented": ("consistent", refused_invented),
    "a refusal told for another reason": ("consistent", refused_for_another_reason),
    "the stop of a new worker dropped": ("anchored", removed("cancelRole")),
    "a registration taken back, dropped": ("anchored", removed("voidRecords")),
    "an analyst's resume dropped": ("anchored", removed("resume", 0, is_attempt(17))),
    "a resume dropped, its attempt kept": ("consistent", removed("resume")),
    "a member's no dropped": ("anchored", removed("vote", 3)),
    "noes turned into yeses": ("signed", votes_turned),
    "blocks renumbered": ("anchored", renumbered),
    "everything dated an hour away": ("anchored", dated_anew),
    "an access told as too few people": ("consistent", forgeries.hidden_as_too_few),
    "a withdrawal dated later": ("anchored", forgeries.redated_and_rewritten),
    "a release told as a refusal": ("consistent", release_as_refusal),
    "a suspension dropped": ("anchored", removed("suspend", 0)),
    "a smaller cohort floor": ("signed", identity_with(cohortFloor=1)),
    "a shorter delay for workers": ("signed", identity_with(roleDelay=1000)),
    "a longer lease": ("signed", identity_with(maxLease=10**6)),
    "the last step cut": ("anchored", forgeries.cut),
}


def forged_by(narrative: Narrative, name: str) -> Bundle:
    try:
        return FORGED[name][1](narrative.copy())
    except forgeries.Finding as error:  # even its own forger's replay refuses it
        raise AssertionError(f"{name} cannot be forged: {error}") from None


@pytest.mark.parametrize(
    "name", [name for name in FORGED if name != "a resume dropped, its attempt kept"]
)
def test_each_forged_trail_is_told(narrative: Narrative, name: str) -> None:
    """With the true last head: the word that must fail. Without one, or with any early one: never
    valid.
    """
    word = FORGED[name][0]
    forged = forged_by(narrative, name)
    assert forged["transactions"] != narrative.bundle["transactions"] or forged != narrative.bundle
    verdicts = examine(as_bytes(forged), [narrative.bundle["head"]])
    assert verdicts[word][0] in ("no", "partly"), verdicts
    assert code_of(verdicts) in (FAILED, PARTLY)
    assert code_of(examine(as_bytes(forged))) != VALID
    step = replay(narrative.bundle).steps[2]
    early = {"count": step.count, "head": step.head.hex()}
    assert code_of(examine(as_bytes(forged), [early])) != VALID


def test_a_resume_cannot_be_dropped_alone(narrative: Narrative) -> None:
    with pytest.raises(forgeries.Finding, match="not the next attempt"):
        FORGED["a resume dropped, its attempt kept"][1](narrative.copy())


def test_a_hidden_access_is_never_valid(narrative: Narrative) -> None:
    """With any earlier held head, nothing after it is anchored."""
    assert code_of(examine(as_bytes(narrative.bundle), [narrative.bundle["head"]])) == VALID
    steps = replay(narrative.bundle).steps
    places = calls(narrative.bundle, "authorise")
    hidden = narrative.copy()
    del hidden["transactions"][places[0] :]
    rewrite(hidden)
    for step in steps[: places[0] - 1]:
        head = {"count": step.count, "head": step.head.hex()}
        verdicts = examine(as_bytes(hidden), [head])
        assert code_of(verdicts) == PARTLY, verdicts
        assert verdicts["anchored"] == (
            "partly",
            f"up to step {step.count} of {hidden['head']['count']}; for the rest nobody vouches",
        )


def first_calls(bundle: Bundle) -> dict[str, int]:
    """The position of the first call of each function."""
    positions = {function: calls(bundle, function) for _, function, _ in map(split, CALLS.values())}
    assert all(positions.values()), "the story lacks a call"
    return {function: places[0] for function, places in positions.items()}


def split(call: str) -> list[str]:
    return call.split(" ", 2)


def test_whatever_was_signed_is_in_the_head(narrative: Narrative) -> None:
    """One bit of any word of any call changed, as if it had been signed so: another head, or
    refused.

    Deadlines, a refused worker's key and the registrar's assurance were in no head: several
    histories shared it.
    """
    true, taken = rewrite(narrative.copy())["head"]["head"], dict[str, int]()
    assert true == narrative.bundle["head"]["head"]
    for function, position in first_calls(narrative.bundle).items():
        words_of = (len(narrative.bundle["transactions"][position]["input"]) - 10) // 64
        for word in range(min(words_of, 40)):
            changed = narrative.copy()
            item = changed["transactions"][position]
            data = bytearray.fromhex(item["input"][2:])
            data[4 + 32 * word + 31] ^= 1
            item["input"] = "0x" + data.hex()
            try:
                forged = rewrite(changed)
            except forgeries.Finding:
                continue
            taken[function] = taken.get(function, 0) + 1
            assert forged["head"]["head"] != true, (function, word)
    assert len(taken) > 15, (
        taken
    )  # the rules alone allowed these, each with a word that no event tells


def test_a_head_is_held_under_its_own_rules_only(narrative: Narrative) -> None:
    """`--head COUNT:HEX` alone names founders, quorum and floor: under other ones no step has that
    head.
    """
    identity = narrative.bundle["identity"]
    others: dict[str, Any] = {
        "chainId": identity["chainId"] + 1,
        "genesisHash": "11" * 32,
        "salt": "22" * 32,
        "quorum": 3,
        "cohortFloor": identity["cohortFloor"] - 1,
        "maxLease": identity["maxLease"] + 1,
        "roleDelay": identity["roleDelay"] - 1,
        "founders": identity["founders"][::-1],
    }
    steps = replay(narrative.bundle).steps
    for name, value in others.items():
        changed = {**identity, name: value}
        assert origin_of(parse_identity(changed)) != origin_of(parse_identity(identity)), name
        try:
            forged = rewrite(narrative.copy() | {"identity": changed})
        except forgeries.Finding:
            continue  # such rules would have refused a step
        heads = {step.head for step in replay(forged).steps}
        assert not heads & {step.head for step in steps}, name


def test_a_changed_label_is_said_to_be_a_label(narrative: Narrative, tmp_path: Path) -> None:
    """Nothing can prove a block's or a transaction's hash here, so nothing pretends to."""
    changed = json.loads(
        json.dumps(narrative.bundle).replace(
            narrative.bundle["transactions"][4]["hash"][2:], "ab" * 32
        )
    )
    assert changed != narrative.bundle
    head = narrative.bundle["head"]
    assert code_of(examine(as_bytes(changed), [head])) == VALID
    trail = tmp_path / "trail.json"
    trail.write_bytes(as_bytes(changed))
    output = started(PROGRAM, trail, f"--head={head['count']}:{head['head']}").stdout
    assert re.search(r"^labels +not proven +block and transaction hashes", output, re.MULTILINE)


IMPOSTOR = """import sys
print("valid"); sys.exit(0)
"""


def started(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_file_of_any_name_beside_the_verifier_decides_anything(
    narrative: Narrative, tmp_path: Path
) -> None:
    trail, program = tmp_path / "trail.json", tmp_path / "verify.py"
    trail.write_bytes(as_bytes(narrative.bundle))
    shutil.copyfile(PROGRAM, program)
    for module in {*sys.stdlib_module_names, "__future__", "eth_keys", "eth_utils"}:
        (tmp_path / f"{module}.py").write_text(IMPOSTOR)
    result = started(program, trail)
    assert (result.returncode, "not proven" in result.stdout) == (8, True), result


@pytest.mark.parametrize("module", ["argparse", "json", "hashlib", "re", "pathlib", "typing"])
def test_a_file_beside_the_verifier_decides_nothing(
    narrative: Narrative, tmp_path: Path, module: str
) -> None:
    trail, program = tmp_path / "trail.json", tmp_path / "verify.py"
    trail.write_bytes(as_bytes(narrative.bundle))
    shutil.copyfile(PROGRAM, program)
    (tmp_path / f"{module}.py").write_text(IMPOSTOR)
    result = started(program, trail)
    assert (result.returncode, "not proven" in result.stdout) == (8, True), result
    source = program.read_text()
    unprotected = source.replace('if __name__ == "__main__" and not sys.flags.isolated:', "if 0:")
    assert unprotected != source
    program.write_text(unprotected)
    fooled = started(program, trail)
    assert (fooled.returncode, fooled.stdout) == (0, "valid\n")


def test_a_skipped_item_before_a_valid_one_of_the_same_person(
    devchain: DevChain,
) -> None:
    """Without crypto only what the ledger left tells which of the two was taken: the whole event,
    not the person.
    """
    world = World.create(devchain.url)
    (subject,) = world.enrol()
    good = world.grant_item(world.grant_message(subject))
    other = world.grant_item(world.grant_message(subject), Wallet.new())
    world.ledger.relay("ConsentRegistry", "grant", [other, good])
    newcomer, wallet = random32(), Wallet.new()
    world.ledger.relay(
        "ConsentRegistry",
        "enrol",
        [
            world.enrolment(newcomer, Wallet.new(), registrar="noor"),
            world.enrolment(newcomer, wallet),
        ],
    )
    bundle = bundle_of(world)
    assert code_of(examine(as_bytes(bundle), [bundle["head"]])) == VALID


def test_a_dataset_without_an_id_is_invalid(devchain: DevChain) -> None:
    """0 stands for none: a registration under it could be sent again and again, and would stop
    every reader.
    """
    world = World.create(devchain.url)
    with pytest.raises(Refused, match="DatasetUnknown"):
        world.register_dataset(bytes(32))


def test_a_wider_consent_with_extra_bytes_is_no_withdrawal(devchain: DevChain) -> None:
    world = World.create(devchain.url)
    (subject,) = world.enrol()
    world.grant([subject])
    world.revoke(subject)
    wider = world.grant_item(world.grant_message(subject))
    junk = world.grant_item(world.grant_message(subject, epoch=0), Wallet.new())
    world.ledger.relay("ConsentRegistry", "grant", [junk, wider])
    bundle = bundle_of(world)
    last, (count, head) = bundle["transactions"][-1], world.ledger.head()
    block = bundle["blocks"][str(last["block"])]
    position = {"count": count, "head": head.hex()}
    receipt = {
        "type": "volens/withdrawal-receipt/2",
        "identity": identity_id(bundle["identity"]).hex(),
        "subject": subject.hex(),
        "dataset": world.dataset.hex(),
        "receipt": {
            "tx": last["hash"],
            "block": last["block"],
            "blockHash": block["hash"],
            "time": block["timestamp"],
            **position,
        },
        "asOf": position,
        "settled": True,
        "effects": [],
    }
    verdicts = examine(as_bytes(bundle), receipts=[as_bytes(receipt)])
    assert verdicts["anchored"][0] == "no", verdicts
