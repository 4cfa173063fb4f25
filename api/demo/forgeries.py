"""How a trail is forged: each function changes a bundle in place and returns it; `api.demo.tampers` says what notices.

Naive ones change the file and hope. The others execute the law again over the changed transactions (`rewrite`), so
that every later event and head fits: only a signature, or a head that somebody else holds, tells them apart.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Any

from chain.vocabulary import Role
from governance.rules.abi import TOPICS, decode_call
from governance.rules.encoding import Finding, raw, sha256, words
from governance.rules.ledger_data import Block, Log, parse_block, parse_transaction
from governance.rules.replayed import ReplayedState
from governance.rules.signatures import HALF_ORDER, Args
from governance.rules.state import Effect, Event
from governance.rules.tables import CALLS

Bundle = dict[str, Any]
KIND_REFUSED, COHORT_MINIMUM = 35, 40  # a kind of step, and a reason (docs/ledger.md)
CURVE_ORDER = 2 * HALF_ORDER + 1


def high_s(signature: bytes) -> bytes:
    """The other signature of the same key over the same digest, which ECDSA itself accepts."""
    s = CURVE_ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


class Rewriter(ReplayedState):
    """A fold that writes the logs the law demands instead of comparing them."""

    written: Sequence[tuple[str, bytes, Iterable[bytes], bytes]] = ()

    def _compare(self, written: Sequence[tuple[str, bytes, Iterable[bytes], bytes]]) -> None:
        self.written = written

    def _believed(self, place: int, index: int, event: Event) -> Event | None:
        """A forger knows which items were taken, also where he writes what they say anew."""
        log = self._logs[place] if place < len(self._logs) else None
        kind = (TOPICS[event[0]], words(event[1][0]))
        taken = event[0] != "ItemRefused" and log is not None and log.topics[:2] == kind
        return event if taken else super()._believed(place, index, event)


class Hider(Rewriter):
    """Says of one attempt that too few people were willing, although enough were."""

    def __init__(self, identity: object, hidden: bytes) -> None:
        super().__init__(identity)
        self._hidden = hidden  # the hash of the transaction

    def _authorise(self, m: Args, a: Args) -> Effect:
        if self._tx.hash != self._hidden:
            return super()._authorise(m, a)
        plain = (m["attempt"], COHORT_MINIMUM)
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
    """Where the transactions of one function stand."""
    return [
        place
        for place, item in enumerate(bundle["transactions"])
        if CALLS[item["input"].removeprefix("0x")[:8]].split()[1] == function
    ]


def _items(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The decoded items of a batch call."""
    return [decode() for decode in decode_call(raw(item["input"]))[2]["items"]]


def edited(bundle: Bundle) -> Bundle:
    """One person's access: one bit."""
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
    found = bundle["transactions"]
    first, second = _calls(bundle, "grant")[:1] + _calls(bundle, "authorise")[-1:]
    for name in ("input", "to", "logs"):
        found[first][name], found[second][name] = found[second][name], found[first][name]
    return bundle


def edited_and_rewritten(bundle: Bundle) -> Bundle:
    """A consent made wider than she signed: every later head fits, her signature does not."""
    item = bundle["transactions"][_calls(bundle, "grant")[0]]
    grant = _items(item)[0]["grant"]
    before = grant["categories"].to_bytes(32, "big") + grant["termsCommitment"]
    after = (grant["categories"] | 1 << 19).to_bytes(32, "big") + grant["termsCommitment"]
    item["input"] = "0x" + raw(item["input"]).replace(before, after, 1).hex()
    return rewrite(bundle)


def dropped_and_rewritten(bundle: Bundle) -> Bundle:
    """The last step that nothing later stands on, taken out as if it had never been."""
    del bundle["transactions"][
        (_calls(bundle, "cancel") or _calls(bundle, "viewOutput") or [-1])[-1]
    ]
    return rewrite(bundle)


def inserted_and_rewritten(bundle: Bundle) -> Bundle:
    """An invented person's enrolment, signatures copied from a real one."""
    found = bundle["transactions"]
    place = _calls(bundle, "enrol")[0]
    item = copy.deepcopy(found[place])
    text = json.dumps(item)
    for person in _items(
        item
    ):  # everybody in the copy becomes somebody else, in input and events alike
        subject = person["enrolment"]["subject"]
        text = text.replace(subject.hex(), bytes([subject[0] ^ 255]).hex() + subject[1:].hex())
    item = json.loads(text)
    item |= {"hash": "0x" + "ab" * 32, "index": item["index"] + 1}
    found.insert(place + 1, item)
    return rewrite(bundle)


def reordered_and_rewritten(bundle: Bundle) -> Bundle:
    """Two votes change places: who voted when is no longer true, and every signature still holds."""
    found = bundle["transactions"]
    first, second = _calls(bundle, "vote")[:2]
    found[first]["input"], found[second]["input"] = found[second]["input"], found[first]["input"]
    found[first]["logs"], found[second]["logs"] = found[second]["logs"], found[first]["logs"]
    return rewrite(bundle)


def hidden_as_too_few(bundle: Bundle) -> Bundle:
    """The last access becomes a refusal for too few people, and what followed from it never was."""
    place = _calls(bundle, "authorise")[-1]
    found = bundle["transactions"]
    hidden = found[place]
    # The ledger's own floor is above every permit's: only the floor in the signed identity tells that this is a lie.
    del found[place + 1 :]
    return rewrite(bundle, Hider(bundle["identity"], raw(hidden["hash"], 32)))


def redated_and_rewritten(bundle: Bundle) -> Bundle:
    """A withdrawal, and all that came after it, happened later than it did."""
    first = bundle["transactions"][_calls(bundle, "revoke")[0]]["block"]
    for seconds in (7200, 600, 60, 1):
        later = copy.deepcopy(bundle)
        for number, block in later["blocks"].items():
            block["timestamp"] += seconds if int(number) >= first else 0
        try:
            return rewrite(later)
        except Finding:  # a deadline would have passed by then
            continue
    raise ValueError("nothing of this trail can be dated later")


def stale_and_rewritten(bundle: Bundle) -> Bundle:
    """Her own withdrawal, sent again as she never did: the signature is true, and it changes nothing."""
    found = bundle["transactions"]
    place = _calls(bundle, "revoke")[-1]
    item = copy.deepcopy(found[place])
    found.insert(place + 1, item | {"hash": "0x" + "ab" * 32, "index": item["index"] + 1})
    return rewrite(bundle)


def relaxed_and_rewritten(bundle: Bundle) -> Bundle:
    """Another word of which protections the worker's machine had than the worker signed."""
    item = bundle["transactions"][_calls(bundle, "authorise")[-1]]
    message = decode_call(raw(item["input"]))[2]["m"]
    changed = message | {"relaxed": message["relaxed"] ^ 1}
    return rewrite(_replaced(bundle, words(*message.values()), words(*changed.values())))


def role_again_and_rewritten(bundle: Bundle) -> Bundle:
    """A role given once more: signed for the version before."""
    found = bundle["transactions"]
    place = _calls(bundle, "setRole")[0]
    item = copy.deepcopy(found[place])
    message = decode_call(raw(item["input"]))[2]["m"]
    again = message | {"replaces": message["replaces"] + 1}
    item["input"] = item["input"].replace(
        words(*message.values()).hex(), words(*again.values()).hex()
    )
    found.insert(place + 1, item | {"hash": "0x" + "ab" * 32, "index": item["index"] + 1})
    return rewrite(bundle)


def lower_floor(bundle: Bundle) -> Bundle:
    """A smaller cohort than the founders signed for."""
    bundle["identity"]["cohortFloor"] = 1
    return rewrite(bundle)


def cut(bundle: Bundle) -> Bundle:
    """The last step is forgotten."""
    bundle["transactions"] = bundle["transactions"][:-1]
    return rewrite(bundle)


def appended(bundle: Bundle) -> Bundle:
    logs = bundle["transactions"][_calls(bundle, "authorise")[-1]]["logs"]
    logs.append(copy.deepcopy(logs[-1]) | {"index": logs[-1]["index"] + 1})
    return bundle


def another_head(bundle: Bundle) -> Bundle:
    """Only the last head, as somebody would who holds nothing else."""
    bundle["head"]["head"] = "00" * 32
    return bundle


def backdated(bundle: Bundle) -> Bundle:
    place = bundle["transactions"][_calls(bundle, "authorise")[-1]]["block"]
    bundle["blocks"][str(place)]["timestamp"] -= 3600
    return bundle


def sent_elsewhere(bundle: Bundle) -> Bundle:
    item = bundle["transactions"][_calls(bundle, "vote")[0]]
    item["to"] = bundle["identity"]["contracts"][-1]["address"]
    return bundle


def repeated(bundle: Bundle) -> Bundle:
    found = bundle["transactions"]
    place = _calls(bundle, "vote")[0]
    item = copy.deepcopy(found[place])
    found.insert(place + 1, item | {"hash": "0x" + "ab" * 32, "index": item["index"] + 1})
    return bundle


def other_parameters(bundle: Bundle) -> Bundle:
    """What a run computed, told otherwise: the analyst signed a hash of it."""
    item = bundle["transactions"][_calls(bundle, "requestRun")[0]]
    params = decode_call(raw(item["input"]))[2]["params"]
    return _replaced(bundle, params, params[:-1] + b" ")


def unsigned(bundle: Bundle) -> Bundle:
    bundle["identity"]["signatures"] = {}
    return bundle


def other_founder(bundle: Bundle) -> Bundle:
    """A founder who signed nothing yet, exchanged for the operator: one yes is his own from now on."""
    identity = bundle["identity"]
    place = next(
        n for n, who in enumerate(identity["founders"]) if who not in identity["signatures"]
    )
    identity["founders"][place] = "0x" + "ab" * 20
    return rewrite(bundle)


def exchanged_signatures(bundle: Bundle) -> Bundle:
    """No event tells a signature, so with the heads recomputed everything fits."""
    item = bundle["transactions"][_calls(bundle, "grant")[0]]
    first, second = (one["signature"].hex() for one in _items(item)[:2])
    item["input"] = item["input"].replace(first, "-").replace(second, first).replace("-", second)
    return rewrite(bundle)


def signed_twice(bundle: Bundle) -> Bundle:
    """A quorum of one: the same member's signature in both places."""
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
    """The true head under the name of a live broker, who never said it."""
    roles = [
        decode_call(raw(bundle["transactions"][place]["input"]))[2]["m"]
        for place in _calls(bundle, "setRole")
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
    """A permit that asks for fewer people than its applicant signed; the votes name the changed request."""
    request = decode_call(raw(bundle["transactions"][_calls(bundle, "requestPermit")[0]]["input"]))[
        2
    ]["m"]
    return rewrite(_signed_over(bundle, request, request | {"minCohort": 1}))


def output_and_rewritten(bundle: Bundle) -> Bundle:
    """Another result than the sealed one; looks and decisions name the changed seal."""
    seal = decode_call(raw(bundle["transactions"][_calls(bundle, "seal")[0]]["input"]))[2]["m"]
    return rewrite(
        _signed_over(bundle, seal, seal | {"outputCommitment": sha256(b"another result")})
    )


def hidden_and_rewritten(bundle: Bundle) -> Bundle:
    """One person's access, as if it had never been: taken out of the worker's list and of its hash."""
    ended = [
        decode_call(raw(bundle["transactions"][place]["input"]))[2]["m"]
        for place in _calls(bundle, "release")
    ]
    released = {(m["run"], m["attempt"]) for m in ended}
    for item in (bundle["transactions"][place] for place in _calls(bundle, "authorise")):
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
    """One message changed, and its hash wherever others signed it: signatures stay as they were."""
    old, new = words(*before.values()), words(*after.values())
    return _replaced(_replaced(bundle, old, new), sha256(old), sha256(new))


def _replaced(bundle: Bundle, before: bytes, after: bytes) -> Bundle:
    found: Bundle = json.loads(json.dumps(bundle).replace(before.hex(), after.hex()))
    return found
