"""Tampering with an exported trail: what an operator could try, and what must notice it.

Naive tampers change the file and hope. The others execute the law again over the changed transactions (`rewrite`), so
that every later event and head fits: only a signature, or a head that somebody else holds, tells them apart.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from governance.verify import (
    CALLS,
    TOPICS,
    Block,
    Fold,
    Log,
    canonical_json,
    decode_call,
    examine,
    parse_block,
    parse_transaction,
    raw,
)

Bundle = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tamper:
    """`change` makes a tampered copy; `word` is the check that must fail once a true head is given."""

    name: str
    word: str
    change: Callable[[Bundle], Bundle]


class Rewriter(Fold):
    """A fold that writes the logs the law demands instead of comparing them."""

    written: Sequence[tuple[str, bytes, Iterable[bytes], bytes]] = ()

    def _compare(self, written: Sequence[tuple[str, bytes, Iterable[bytes], bytes]]) -> None:
        self.written = written


def rewrite(bundle: Bundle) -> Bundle:
    """The bundle with logs and heads made to fit its transactions' inputs."""
    fold = Rewriter(bundle["identity"])
    for item in bundle["transactions"]:
        transaction = parse_transaction(
            item | {"blockNumber": item["block"], "transactionIndex": item["index"], "transactionHash": item["hash"]}
        )
        block: Block = parse_block({**bundle["blocks"][str(item["block"])], "number": item["block"]})
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
        fold.apply(block, transaction, logs)
        item["logs"] = [
            {
                "address": "0x" + address.hex(),
                "topics": ["0x" + topic.hex() for topic in (TOPICS[name], *indexed)],
                "data": "0x" + data.hex(),
                "index": index,
            }
            for index, (name, address, indexed, data) in enumerate(fold.written)
        ]
    bundle["head"] = {"count": fold.count, "head": fold.head.hex()}
    bundle["witnesses"] = []
    return bundle


def detected(bundle: Bundle, held: dict[str, Any]) -> tuple[str, str]:
    """The first word that says no, and its reason; ("", "") when all is well. `held` is a head somebody else holds."""
    found = examine(canonical_json(bundle), [held])
    return next(((word, reason) for word, (state, reason) in found.items() if state == "no"), ("", ""))


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


def _edited(bundle: Bundle) -> Bundle:
    """A denial's reason, or the last event's data: one bit."""
    log = bundle["transactions"][_calls(bundle, "grant")[0]]["logs"][0]
    data = bytearray.fromhex(log["data"][2:])
    data[-1] ^= 1
    log["data"] = "0x" + data.hex()
    return bundle


def _dropped(bundle: Bundle) -> Bundle:
    del bundle["transactions"][_calls(bundle, "authorise")[-1]]["logs"][0]
    return bundle


def _inserted(bundle: Bundle) -> Bundle:
    logs = bundle["transactions"][_calls(bundle, "authorise")[-1]]["logs"]
    logs.insert(1, copy.deepcopy(logs[0]))
    return bundle


def _reordered(bundle: Bundle) -> Bundle:
    found = bundle["transactions"]
    first, second = _calls(bundle, "grant")[:1] + _calls(bundle, "authorise")[-1:]
    for name in ("input", "to", "logs"):
        found[first][name], found[second][name] = found[second][name], found[first][name]
    return bundle


def _edited_and_rewritten(bundle: Bundle) -> Bundle:
    """A consent made wider than she signed: every later head fits, her signature does not."""
    item = bundle["transactions"][_calls(bundle, "grant")[0]]
    grant = _items(item)[0]["grant"]
    before = grant["categories"].to_bytes(32, "big") + grant["termsCommitment"]
    after = (grant["categories"] | 1 << 19).to_bytes(32, "big") + grant["termsCommitment"]
    item["input"] = "0x" + raw(item["input"]).replace(before, after, 1).hex()
    return rewrite(bundle)


def _dropped_and_rewritten(bundle: Bundle) -> Bundle:
    """The last step that nothing later stands on, taken out as if it had never been."""
    del bundle["transactions"][(_calls(bundle, "cancel") or _calls(bundle, "viewOutput") or [-1])[-1]]
    return rewrite(bundle)


def _inserted_and_rewritten(bundle: Bundle) -> Bundle:
    """An invented person's enrolment, signatures copied from a real one."""
    found = bundle["transactions"]
    place = _calls(bundle, "enrol")[0]
    item = copy.deepcopy(found[place])
    text = json.dumps(item)
    for person in _items(item):  # everybody in the copy becomes somebody else, in input and events alike
        subject = person["enrolment"]["subject"]
        text = text.replace(subject.hex(), bytes([subject[0] ^ 255]).hex() + subject[1:].hex())
    item = json.loads(text)
    item |= {"hash": "0x" + "ab" * 32, "index": item["index"] + 1}
    found.insert(place + 1, item)
    return rewrite(bundle)


def _reordered_and_rewritten(bundle: Bundle) -> Bundle:
    """Two votes change places: who voted when is no longer true, and every signature still holds."""
    found = bundle["transactions"]
    first, second = _calls(bundle, "vote")[:2]
    found[first]["input"], found[second]["input"] = found[second]["input"], found[first]["input"]
    found[first]["logs"], found[second]["logs"] = found[second]["logs"], found[first]["logs"]
    return rewrite(bundle)


def _cut(bundle: Bundle) -> Bundle:
    """The last step is forgotten."""
    bundle["transactions"] = bundle["transactions"][:-1]
    return rewrite(bundle)


TABLE = (
    Tamper("an event edited", "consistent", _edited),
    Tamper("an event dropped", "consistent", _dropped),
    Tamper("an event inserted", "consistent", _inserted),
    Tamper("two steps exchanged", "consistent", _reordered),
    Tamper("a consent widened, all heads recomputed", "signed", _edited_and_rewritten),
    Tamper("a step dropped, all heads recomputed", "anchored", _dropped_and_rewritten),
    Tamper("people invented, all heads recomputed", "signed", _inserted_and_rewritten),
    Tamper("two votes exchanged, all heads recomputed", "anchored", _reordered_and_rewritten),
    Tamper("the tail cut", "anchored", _cut),
)


def tamper(bundle: Bundle, what: Tamper) -> Bundle:
    """A tampered copy."""
    return what.change(copy.deepcopy(bundle))
