"""Forgeries of a trail: each function changes a bundle in place and returns it; `api.demo.tampers`
detects them.

Simple ones only change the file. The others execute the rules again over the changed transactions
(`rewrite`), so that all later events and heads fit: only a signature, or a head that somebody else
kept, reveals them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Any

from chain.vocabulary import Reason, Role
from governance.rules.abi import TOPICS, decode_call
from governance.rules.encoding import Finding, raw, sha256, words
from governance.rules.ledger_data import Block, Log, parse_block, parse_transaction
from governance.rules.replayed import ReplayedState
from governance.rules.signatures import HALF_ORDER, Args
from governance.rules.state import Effect, Event
from governance.rules.tables import CALLS

Bundle = dict[str, Any]
KIND_REFUSED = 35  # a kind of step (docs/ledger.md)
CURVE_ORDER = 2 * HALF_ORDER + 1


def high_s(signature: bytes) -> bytes:
    """The malleated signature (high s) of the same key over the same digest, which plain ECDSA
    accepts.
    """
    s = CURVE_ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


class Rewriter(ReplayedState):
    """Replays the rules and writes the logs that they require, instead of comparing them."""

    written: Sequence[tuple[str, bytes, Iterable[bytes], bytes]] = ()

    def _compare(self, written: Sequence[tuple[str, bytes, Iterable[bytes], bytes]]) -> None:
        self.written = written

    def _believed(self, position: int, index: int, event: Event) -> Event | None:
        """A forger knows which items were accepted, even if he rewrites their content."""
        log = self._logs[position] if position < len(self._logs) else None
        kind = (TOPICS[event[0]], words(event[1][0]))
        taken = event[0] != "ItemRefused" and log is not None and log.topics[:2] == kind
        return event if taken else super()._believed(position, index, event)


class Hider(Rewriter):
    """Replays one attempt as if it had been refused for this reason."""

    def __init__(self, identity: object, hidden: bytes, reason: Reason) -> None:
        super().__init__(identity)
        self._reason = reason
        self._hidden = hidden  # the hash of the transaction

    def _authorise(self, m: Args, a: Args) -> Effect:
        if self._tx.hash != self._hidden:
            return super()._authorise(m, a)
        plain = (m["attempt"], int(self._reason))
        return KIND_REFUSED, words(m["run"], *plain), [("RunRefused", (m["run"],), plain)]


def rewrite(bundle: Bundle, by: Rewriter | None = None) -> Bundle:
    """The bundle with logs and heads made to fit its transactions' inputs."""
    replayed = by or Rewriter(bundle["identity"])
    for item in bundle["transactions"]:
        transaction = parse_transaction(
            item
            | {
                "blockNumber": item["block"],
                "transactionIndex": item["index"],
                "transactionHash": item["hash"],
            }
        )
        block: Block = parse_block(
            {**bundle["blocks"][str(item["block"])], "number": item["block"]}
        )
        logs = [
            Log(
                raw(log["address"], 20),
                tuple(raw(topic, 32) for topic in log["topics"]),
                raw(log["data"]),
                log["index"],
                item["block"],
                raw(item["hash"], 32),
            )
            for log in item["logs"]
        ]
        replayed.apply(block, transaction, logs)
        item["logs"] = [
            {
                "address": "0x" + address.hex(),
                "topics": ["0x" + topic.hex() for topic in (TOPICS[name], *indexed)],
                "data": "0x" + data.hex(),
                "index": index,
            }
            for index, (name, address, indexed, data) in enumerate(replayed.written)
        ]
    bundle["head"] = {"count": replayed.count, "head": replayed.head.hex()}
    bundle["witnesses"] = []
    return bundle


def _calls(bundle: Bundle, function: str) -> list[int]:
    """The indexes of the transactions of one function."""
    return [
        index
        for index, item in enumerate(bundle["transactions"])
        if CALLS[item["input"].removeprefix("0x")[:8]].split()[1] == function
    ]


def _items(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The decoded items of a batch call."""
    return [decode() for decode in decode_call(raw(item["input"]))[2]["items"]]


def edited(bundle: Bundle) -> Bundle:
    """Change one bit of one person's access."""
    log = bundle["transactions"][_calls(bundle, "authorise")[-1]]["logs"][0]
    data = bytearray.fromhex(log["data"][2:])
    data[-1] ^= 1
    log["data"] = "0x" + data.hex()
    return bundle


def dropped(bundle: Bundle) -> Bundle:
    del bundle["transactions"][_calls(bundle, "authorise")[-1]]["logs"][0]
    return bundle


def inserted(bundle: Bundle) -> Bundle:
    logs = bundle["transactions"][_calls(bundle, "authorise")[-1]]["logs"]
    logs.insert(1, copy.deepcopy(logs[0]))
    return bundle


def reordered(bundle: Bundle) -> Bundle:
    transactions = bundle["transactions"]
    first, second = _calls(bundle, "grant")[:1] + _calls(bundle, "authorise")[-1:]
    for name in ("input", "to", "logs"):
        transactions[first][name], transactions[second][name] = (
            transactions[second][name],
            transactions[first][name],
        )
    return bundle


def edited_and_rewritten(bundle: Bundle) -> Bundle:
    """Widen a consent: every later head fits, but not its signature."""
    item = bundle["transactions"][_calls(bundle, "grant")[0]]
    grant = _items(item)[0]["grant"]
    before = grant["categories"].to_bytes(32, "big") + grant["termsCommitment"]
    after = (grant["categories"] | 1 << 19).to_bytes(32, "big") + grant["termsCommitment"]
    item["input"] = "0x" + raw(item["input"]).replace(before, after, 1).hex()
    return rewrite(bundle)


def dropped_and_rewritten(bundle: Bundle) -> Bundle:
    """Remove the last step on which no later step depends."""
    del bundle["transactions"][
        (_calls(bundle, "cancel") or _calls(bundle, "viewOutput") or [-1])[-1]
    ]
    return rewrite(bundle)


def inserted_and_rewritten(bundle: Bundle) -> Bundle:
    """Insert the enrolment of an invented person, with copied signatures."""
    transactions = bundle["transactions"]
    index = _calls(bundle, "enrol")[0]
    item = copy.deepcopy(transactions[index])
    text = json.dumps(item)
    for person in _items(item):  # replace everybody in the copy, in input and events
        subject = person["enrolment"]["subject"]
        text = text.replace(subject.hex(), bytes([subject[0] ^ 255]).hex() + subject[1:].hex())
    item = json.loads(text)
    item |= {"hash": "0x" + "ab" * 32, "index": item["index"] + 1}
    transactions.insert(index + 1, item)
    return rewrite(bundle)


def reordered_and_rewritten(bundle: Bundle) -> Bundle:
    """Swap two votes: their times are false, but every signature is valid."""
    first, second = (bundle["transactions"][index] for index in _calls(bundle, "vote")[:2])
    for part in ("input", "logs"):
        first[part], second[part] = second[part], first[part]
    return rewrite(bundle)


def hidden_as_too_few(bundle: Bundle) -> Bundle:
    """Turn the last access into a refusal for too few people, and drop its consequences."""
    return _hidden(bundle, Reason.COHORT_MINIMUM)


def hidden_as_too_many(bundle: Bundle) -> Bundle:
    """Turn it into a refusal for too many questions: an answer that was given is not counted."""
    return _hidden(bundle, Reason.PERMIT_QUESTIONS)


def hidden_as_moved(bundle: Bundle) -> Bundle:
    """Turn it into a refusal of a run that went on to other people before."""
    return _hidden(bundle, Reason.RUN_MOVED)


def _hidden(bundle: Bundle, reason: Reason) -> Bundle:
    index = _calls(bundle, "authorise")[-1]
    transactions = bundle["transactions"]
    hidden = transactions[index]
    # The ledger's own floor is above every permit's: only the floor in the signed identity tells
    # that this is a lie.
    del transactions[index + 1 :]
    return rewrite(bundle, Hider(bundle["identity"], raw(hidden["hash"], 32), reason))


def redated_and_rewritten(bundle: Bundle) -> Bundle:
    """Date a withdrawal and all later steps later than they were."""
    first = bundle["transactions"][_calls(bundle, "revoke")[0]]["block"]
    for seconds in (7200, 600, 60, 1):
        later = copy.deepcopy(bundle)
        for number, block in later["blocks"].items():
            block["timestamp"] += seconds if int(number) >= first else 0
        try:
            return rewrite(later)
        except Finding:  # a deadline would have passed before
            continue
    raise ValueError("nothing of this trail can be dated later")


def stale_and_rewritten(bundle: Bundle) -> Bundle:
    """Repeat a withdrawal that was sent once: its signature is valid, and it changes nothing."""
    transactions = bundle["transactions"]
    index = _calls(bundle, "revoke")[-1]
    item = copy.deepcopy(transactions[index])
    transactions.insert(index + 1, item | {"hash": "0x" + "ab" * 32, "index": item["index"] + 1})
    return rewrite(bundle)


def relaxed_and_rewritten(bundle: Bundle) -> Bundle:
    """Change the missing layers of confinement that the worker signed."""
    item = bundle["transactions"][_calls(bundle, "authorise")[-1]]
    message = decode_call(raw(item["input"]))[2]["m"]
    changed = message | {"relaxed": message["relaxed"] ^ 1}
    return rewrite(_replaced(bundle, words(*message.values()), words(*changed.values())))


def role_again_and_rewritten(bundle: Bundle) -> Bundle:
    """Repeat a role change that was signed for the previous version."""
    transactions = bundle["transactions"]
    index = _calls(bundle, "setRole")[0]
    item = copy.deepcopy(transactions[index])
    message = decode_call(raw(item["input"]))[2]["m"]
    again = message | {"replaces": message["replaces"] + 1}
    item["input"] = item["input"].replace(
        words(*message.values()).hex(), words(*again.values()).hex()
    )
    transactions.insert(index + 1, item | {"hash": "0x" + "ab" * 32, "index": item["index"] + 1})
    return rewrite(bundle)


def lower_floor(bundle: Bundle) -> Bundle:
    """Lower the smallest cohort that the founders signed."""
    bundle["identity"]["cohortFloor"] = 1
    return rewrite(bundle)


def cut(bundle: Bundle) -> Bundle:
    """Cut off the last step."""
    bundle["transactions"] = bundle["transactions"][:-1]
    return rewrite(bundle)


def appended(bundle: Bundle) -> Bundle:
    logs = bundle["transactions"][_calls(bundle, "authorise")[-1]]["logs"]
    logs.append(copy.deepcopy(logs[-1]) | {"index": logs[-1]["index"] + 1})
    return bundle


def another_head(bundle: Bundle) -> Bundle:
    """Change only the last head."""
    bundle["head"]["head"] = "00" * 32
    return bundle


def backdated(bundle: Bundle) -> Bundle:
    block = bundle["transactions"][_calls(bundle, "authorise")[-1]]["block"]
    bundle["blocks"][str(block)]["timestamp"] -= 3600
    return bundle


def sent_elsewhere(bundle: Bundle) -> Bundle:
    item = bundle["transactions"][_calls(bundle, "vote")[0]]
    item["to"] = bundle["identity"]["contracts"][-1]["address"]
    return bundle


def repeated(bundle: Bundle) -> Bundle:
    transactions = bundle["transactions"]
    index = _calls(bundle, "vote")[0]
    item = copy.deepcopy(transactions[index])
    transactions.insert(index + 1, item | {"hash": "0x" + "ab" * 32, "index": item["index"] + 1})
    return bundle


def other_parameters(bundle: Bundle) -> Bundle:
    """Change a run's parameters, whose hash the analyst signed."""
    item = bundle["transactions"][_calls(bundle, "requestRun")[0]]
    params = decode_call(raw(item["input"]))[2]["params"]
    return _replaced(bundle, params, params[:-1] + b" ")


def unsigned(bundle: Bundle) -> Bundle:
    bundle["identity"]["signatures"] = {}
    return bundle


def other_founder(bundle: Bundle) -> Bundle:
    """Replace a founder who signed nothing yet by the operator, who then has one vote."""
    identity = bundle["identity"]
    index = next(
        n for n, who in enumerate(identity["founders"]) if who not in identity["signatures"]
    )
    identity["founders"][index] = "0x" + "ab" * 20
    return rewrite(bundle)


def exchanged_signatures(bundle: Bundle) -> Bundle:
    """Swap signatures: events contain none, so with recomputed heads everything else fits."""
    item = bundle["transactions"][_calls(bundle, "grant")[0]]
    first, second = (entry["signature"].hex() for entry in _items(item)[:2])
    item["input"] = item["input"].replace(first, "-").replace(second, first).replace("-", second)
    return rewrite(bundle)


def signed_twice(bundle: Bundle) -> Bundle:
    """A quorum of one: the same member's signature twice."""
    item = bundle["transactions"][_calls(bundle, "setRole")[0]]
    first, second = decode_call(raw(item["input"]))[2]["signatures"][:2]
    item["input"] = item["input"].replace(second.hex(), first.hex())
    return rewrite(bundle)


def high(bundle: Bundle) -> Bundle:
    item = bundle["transactions"][_calls(bundle, "vote")[0]]
    signature = decode_call(raw(item["input"]))[2]["signature"]
    item["input"] = item["input"].replace(signature.hex(), high_s(signature).hex())
    return rewrite(bundle)


def witness(bundle: Bundle) -> Bundle:
    """The true head in the name of a live broker that never signed it."""
    roles = [
        decode_call(raw(bundle["transactions"][index]["input"]))[2]["m"]
        for index in _calls(bundle, "setRole")
    ]
    last = bundle["transactions"][-1]["block"]
    bundle["witnesses"] = [
        {
            "broker": next(
                (m["account"].hex() for m in roles if m["role"] == Role.BROKER), "ab" * 20
            ),
            "block": last,
            "blockHash": bundle["blocks"][str(last)]["hash"],
            "time": bundle["blocks"][str(last)]["timestamp"],
            **bundle["head"],
            "signature": "11" * 64 + "1b",
        }
    ]
    return bundle


def lowered_and_rewritten(bundle: Bundle) -> Bundle:
    """Lower a permit's smallest cohort; the votes name the changed request."""
    request = decode_call(raw(bundle["transactions"][_calls(bundle, "requestPermit")[0]]["input"]))[
        2
    ]["m"]
    return rewrite(_signed_over(bundle, request, request | {"minCohort": 1}))


def output_and_rewritten(bundle: Bundle) -> Bundle:
    """Replace the sealed result; views and decisions name the changed seal."""
    seal = decode_call(raw(bundle["transactions"][_calls(bundle, "seal")[0]]["input"]))[2]["m"]
    return rewrite(
        _signed_over(bundle, seal, seal | {"outputCommitment": sha256(b"another result")})
    )


def hidden_and_rewritten(bundle: Bundle) -> Bundle:
    """Remove one person's access from the worker's list and from its hash."""
    ended = [
        decode_call(raw(bundle["transactions"][index]["input"]))[2]["m"]
        for index in _calls(bundle, "release")
    ]
    released = {(m["run"], m["attempt"]) for m in ended}
    for item in (bundle["transactions"][index] for index in _calls(bundle, "authorise")):
        call = decode_call(raw(item["input"]))[2]
        if (call["m"]["run"], call["m"]["attempt"]) not in released:
            break
    subjects, fewer = call["subjects"], call["subjects"][1:]
    for before, after in (
        (sha256(b"".join(subjects)), sha256(b"".join(fewer))),
        (words(len(subjects), *subjects), words(len(fewer), *fewer)),
    ):
        item["input"] = item["input"].replace(before.hex(), after.hex())
    return rewrite(bundle)


def _signed_over(bundle: Bundle, before: Args, after: Args) -> Bundle:
    """Change one message, and its hash in other signed messages; signatures stay the same."""
    old, new = words(*before.values()), words(*after.values())
    return _replaced(_replaced(bundle, old, new), sha256(old), sha256(new))


def _replaced(bundle: Bundle, before: bytes, after: bytes) -> Bundle:
    replaced: Bundle = json.loads(json.dumps(bundle).replace(before.hex(), after.hex()))
    return replaced
