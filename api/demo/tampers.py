"""Tampering with an exported trail by an operator (`api.demo.forgeries`), and the checks that must
detect it.

Tampering with other evidence (objects, receipts, the broker's journal, results) is in
`api.demo.evidence_tampers`. `python -m api.demo.tampers TRAIL 0` tries every second one, so that
two processes share the work.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.demo import forgeries
from api.demo.forgeries import Bundle
from governance.rules.cli import examine, partly
from governance.rules.encoding import VerifyError, canonical_json
from governance.rules.ledger_data import parse_identity
from governance.rules.signatures import Args, Crypto, load_crypto
from governance.rules.trail import Replay

Examine = Callable[..., dict[str, tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Tamper:
    """`change` makes a tampered copy; `word` is the check that must fail when a true head is given."""

    name: str
    word: str
    change: Callable[[Bundle], Bundle]


def detected(bundle: Bundle, head: dict[str, Any] | None, by: Examine = examine) -> tuple[str, str]:
    """The first check that fails, and its reason; ("", "") if none does.

    `held` is a head that somebody else kept, if any; `by` reads the bundle as `verify.examine`
    does.
    """
    checks = by(canonical_json(bundle), [head] if head else [])
    return next(
        ((word, reason) for word, (state, reason) in checks.items() if state in ("no", "partly")),
        ("", ""),
    )


class Reader:
    """`detected` for many copies of one trail, with the same answers: signers are recovered only
    once.
    """

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head
        self._known: dict[tuple[Any, ...], bytes] = {}

    def detected(self, bundle: Bundle) -> tuple[str, str]:
        """Like the function `detected`."""
        word = "consistent"
        try:
            Replay(bundle)
            word = "signed"
            replay = Replay(bundle, _Remembering(bundle["identity"], self._known))
            for witness in bundle["witnesses"]:
                replay.witnessed(witness)
            word = "anchored"
            if (upto := replay.held_step(self._head).count) < replay.replayed.count:
                return word, partly(upto, replay.replayed.count)
        except VerifyError as error:
            return word, str(error)
        return "", ""


class _Remembering(Crypto):
    """The auditor's check of signatures, with a cache."""

    def __init__(self, identity: Any, known: dict[tuple[Any, ...], bytes]) -> None:
        parsed = parse_identity(identity)
        # Signatures are bound to these three, so another deployment has other entries.
        self._of = (
            parsed.chain_id,
            parsed.salt,
            *(address for address, _ in parsed.contracts.values()),
        )
        self._real, self._known = load_crypto(parsed), known

    def signer(self, kind: str, message: Args, signature: bytes) -> bytes:
        asked = (*self._of, kind, *message.values(), signature)
        if asked not in self._known:
            self._known[asked] = self._real.signer(kind, message, signature)
        return self._known[asked]


TABLE = (
    Tamper("an event edited", "consistent", forgeries.edited),
    Tamper("an event dropped", "consistent", forgeries.dropped),
    Tamper("an event inserted", "consistent", forgeries.inserted),
    Tamper("an event appended", "consistent", forgeries.appended),
    Tamper("two steps exchanged", "consistent", forgeries.reordered),
    Tamper("a vote repeated", "consistent", forgeries.repeated),
    Tamper("a call sent to another contract", "consistent", forgeries.sent_elsewhere),
    Tamper("a block dated an hour earlier", "consistent", forgeries.backdated),
    Tamper("a run's parameters exchanged", "consistent", forgeries.other_parameters),
    Tamper("only the last head edited", "consistent", forgeries.another_head),
    Tamper("the founders' signatures taken off", "consistent", forgeries.unsigned),
    Tamper("a founder exchanged for the operator", "signed", forgeries.other_founder),
    Tamper("two people's signatures exchanged", "signed", forgeries.exchanged_signatures),
    Tamper("one member's signature in two places", "signed", forgeries.signed_twice),
    Tamper("the high-s twin of a signature", "signed", forgeries.high),
    Tamper("a broker's word forged", "signed", forgeries.witness),
    Tamper("a consent widened, all heads recomputed", "signed", forgeries.edited_and_rewritten),
    Tamper(
        "a permit for fewer people, all heads recomputed", "signed", forgeries.lowered_and_rewritten
    ),
    Tamper(
        "a person's access hidden, all heads recomputed", "signed", forgeries.hidden_and_rewritten
    ),
    Tamper(
        "a sealed output exchanged, all heads recomputed", "signed", forgeries.output_and_rewritten
    ),
    Tamper("people invented, all heads recomputed", "signed", forgeries.inserted_and_rewritten),
    Tamper("a step dropped, all heads recomputed", "anchored", forgeries.dropped_and_rewritten),
    Tamper(
        "two votes exchanged, all heads recomputed", "anchored", forgeries.reordered_and_rewritten
    ),
    Tamper("an access told as too few people", "consistent", forgeries.hidden_as_too_few),
    Tamper("an access told as a question too many", "consistent", forgeries.hidden_as_too_many),
    Tamper("an access told as a run about others again", "consistent", forgeries.hidden_as_moved),
    Tamper("a smaller cohort put into the identity", "signed", forgeries.lower_floor),
    Tamper(
        "a role given again, all heads recomputed", "signed", forgeries.role_again_and_rewritten
    ),
    Tamper(
        "other protections of a worker, all heads recomputed",
        "signed",
        forgeries.relaxed_and_rewritten,
    ),
    Tamper(
        "a withdrawal dated later, all heads recomputed",
        "anchored",
        forgeries.redated_and_rewritten,
    ),
    Tamper(
        "a withdrawal sent again, all heads recomputed", "anchored", forgeries.stale_and_rewritten
    ),
    Tamper("the tail cut", "anchored", forgeries.cut),
)


def tamper(bundle: Bundle, what: Tamper) -> Bundle:
    """A tampered copy."""
    return what.change(copy.deepcopy(bundle))


def main(trail: str, first: str) -> None:
    """Try every second tamper on the trail in a file; print {name: [word, reason]}."""
    bundle = json.loads(Path(trail).read_text(encoding="utf-8"))
    print(json.dumps(noticed(bundle, int(first))))


def noticed(bundle: Bundle, first: int) -> dict[str, tuple[str, str]]:
    """(word, reason) by the name of every second tamper; the kept head is the bundle's own."""
    reader = Reader(bundle["head"])
    return {entry.name: reader.detected(tamper(bundle, entry)) for entry in TABLE[first::2]}


if __name__ == "__main__":
    main(*sys.argv[1:])
