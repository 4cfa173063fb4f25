"""An exported trail put through the rules, and the receipts and heads that somebody holds compared with it."""

import re
from typing import Any, NamedTuple

from governance.rules.abi import TOPICS, decode_call
from governance.rules.encoding import (
    canonical,
    canonical_json,
    need,
    number,
    part,
    raw,
    sha256,
    strict_json,
    to_int,
    words,
)
from governance.rules.ledger_data import (
    Block,
    Log,
    Transaction,
    identity_id,
    parse_block,
    parse_log,
    parse_transaction,
)
from governance.rules.replayed import ReplayedState
from governance.rules.signatures import Args, Crypto
from governance.rules.state import Consent, slot_of
from governance.rules.vocabulary import BROKER, LIVE
from governance.rules.withdrawals import (
    RUN_STATES,
    Access,
    Past,
    Use,
    may_stop,
    sentence_of,
    use_ended,
    use_met,
)

RECEIPTS = {
    "volens/receipt/2": "grants",
    "volens/run-receipt/2": "releases",
    "volens/withdrawal-receipt/2": "stops",
}
PLACE = "tx block blockHash time count head"
WITNESS = "broker block blockHash time count head signature"
RECEIPT_FIELDS = {
    "grants": f"subject dataset epoch version terms termsSalt signedMessage signature {PLACE}",
    "releases": "run attempt permit listHash granted sealHash outputCommitment outputSalt releaseTx time count head "
    "codeHash paramsHash",
    "stops": "subject dataset receipt asOf settled effects",
}


class Step(NamedTuple):
    """One step of the trail: the head after it, and the transaction that made it."""

    count: int  # type: ignore[assignment]  # hides a tuple's own method
    head: bytes
    block: Block
    tx: Transaction
    logs: list[Log]


Found = dict[str, tuple[str, str]]  # word: ok, no, partly or not-checked, and a plain reason


class Replay:
    """A bundle put through the fold: `steps[n - 1]` is step n of the trail. Raises Malformed, Finding."""

    def __init__(self, source: object, crypto: Crypto | None = None) -> None:
        need(part(source, "type") == "volens/trail/2", "this is not a trail of this release")
        self.replayed, self.crypto, self.steps = (
            ReplayedState(part(source, "identity")),
            crypto,
            list[Step](),
        )
        self.id, self.blocks = identity_id(part(source, "identity")), part(source, "blocks", dict)
        for item in part(source, "transactions", list):
            names = {"blockNumber": "block", "transactionIndex": "index", "transactionHash": "hash"}
            place = {name: part(item, short) for name, short in names.items()}
            tx, entries = parse_transaction(item | place), part(item, "logs", list)
            block = parse_block({**part(self.blocks, str(tx.block), dict), "number": tx.block})
            logs = [
                parse_log({**place, "logIndex": part(entry, "index"), **entry}) for entry in entries
            ]
            self.replayed.apply(block, tx, logs, crypto)
            self.steps.append(Step(self.replayed.count, self.replayed.head, block, tx, logs))
        end, last = part(source, "head"), (self.replayed.count, self.replayed.head)
        need(
            (number(part(end, "count")), raw(part(end, "head"), 32)) == last,
            "the last step has another head",
        )
        signed, founders = self.replayed.identity.signatures, set(self.replayed.identity.founders)
        need(
            len(signed.keys() & founders) >= self.replayed.identity.quorum,
            "too few founders signed the identity",
        )
        for who, by in signed.items() if crypto else ():
            need(
                crypto and crypto.signer("Identity", {"id": self.id}, by) == who,
                f"0x{who.hex()} did not sign it",
            )

    def held(self, source: Any) -> Step:
        """The step whose {count, head} somebody holds. Raises Malformed when the trail has another one, or none."""
        count, head = number(part(source, "count")), raw(part(source, "head"), 32)
        ours = "identity" not in source or raw(source["identity"], 32) == self.id
        need(ours, f"the head of step {count} is of another ledger")
        need(
            0 < count <= len(self.steps),
            f"step {count} is held elsewhere, and the trail ends at step {len(self.steps)}: "
            "it was cut, or exported earlier",
        )
        step = self.steps[count - 1]
        need(
            step.head == head,
            f"step {count}, block {step.block.number}: its head is not the one that is held",
        )
        return step

    def witnessed(self, source: Any) -> tuple[int, bool]:
        """The step that a witness is of, and whether its signer was a live broker when it signed.

        Judged by the block and the time that it signed, as far as the trail tells, not by its step: on a quiet
        ledger a term begins or ends long after the last one. Raises Malformed for a forged witness, or one of
        another trail.
        """
        step, who = self.held(source), raw(part(source, "broker"), 20)
        need(source.keys() == set(WITNESS.split()), "a witness has other fields")
        by, hashed = raw(part(source, "signature")), raw(part(source, "blockHash"), 32)
        seen, time = number(part(source, "block")), number(part(source, "time"))
        mined = self.blocks.get(str(seen), {"hash": hashed.hex(), "timestamp": time})
        same = raw(part(mined, "hash")) == hashed and number(part(mined, "timestamp")) == time
        earlier = [one for one in self.steps if one.block.number <= seen]
        later = self.steps[len(earlier) : len(earlier) + 1]
        between = all(one.block.timestamp <= time for one in earlier[-1:]) and all(
            time <= one.block.timestamp for one in later
        )
        need(same and between and seen >= step.block.number, "a witness saw another block")
        message = {
            "identity": self.id,
            "block": seen,
            "blockHash": hashed,
            "time": time,
            "count": step.count,
            "head": step.head,
        }
        need(
            not self.crypto or self.crypto.signer("Witness", message, by) == who,
            "a witness did not sign this head",
        )
        return step.count, self.replayed.member_then(who, BROKER, len(earlier), time)

    def receipt(self, data: bytes) -> int:
        """Check a receipt (docs/ledger.md, Receipts) against the trail; the step up to which its witness anchors it.

        Whoever keeps a receipt may have written it: without a witness it can contradict the trail, and anchors
        nothing. Raises Malformed.
        """
        r: Any = strict_json(data)
        kind = RECEIPTS.get(part(r, "type", str), "")
        ours = kind and raw(part(r, "identity"), 32) == self.id
        need(ours, "the receipt is of another ledger or kind")
        # What nobody checks must not be read as checked.
        extra = r.keys() - {"type", "identity", "witness", *RECEIPT_FIELDS[kind].split()}
        need(not extra, "the receipt has fields that no receipt of its kind has")
        place = part(r, "receipt", dict) if kind == "stops" else r
        need(kind != "stops" or place.keys() == set(PLACE.split()), "its place has other fields")
        step = self.held(place)
        name = raw(part(place, "releaseTx" if kind == "releases" else "tx"), 32)
        need(step.tx.hash == name, "the trail has another transaction at the receipt's step")
        same = number(part(place, "time")) == step.block.timestamp
        need(same, "the receipt names another time than its block has")
        need(
            getattr(self, f"_{kind}")(r, step),
            "the receipt is not what its transaction recorded",
        )
        if "witness" not in r:
            return 0
        reached, live = self.witnessed(part(r, "witness", dict))
        need(live, "the receipt's witness was no live broker when it signed")
        told = max(step.count, self.held(r["asOf"]).count if kind == "stops" else 0)
        need(reached >= told, "the receipt's witness is older than the receipt")
        return reached if self.crypto else 0

    def _grants(self, r: Any, step: Step) -> bool:
        subject, dataset = raw(part(r, "subject"), 32), raw(part(r, "dataset"), 32)
        key = (TOPICS["ConsentGranted"], subject, dataset)
        terms = canonical(
            b"volens/terms/1", raw(part(r, "termsSalt"), 32), sha256(part(r, "terms", str).encode())
        )
        epoch, version = number(part(r, "epoch")), number(part(r, "version"))
        place = number(part(r, "block")), raw(part(r, "blockHash"), 32)
        g: Any = {
            n: raw(v) if isinstance(v, str) else number(v)
            for n, v in part(r, "signedMessage", dict).items()
        }
        sent = any(
            (item.get("signature"), item.get("grant")) == (raw(part(r, "signature")), g)
            for item in (read() for read in decode_call(step.tx.input)[2].get("items", []))
        )
        need(sent, "the transaction holds no such signed message")
        # A batch may hold other messages in her name, which the contract skips: this one made the very event.
        given = (g[n] for n in ("fromDay", "untilDay", "purposes", "categories"))
        slot = slot_of(Consent(LIVE, epoch, version, *given))
        event = words(epoch, version, slot, sha256(terms), g["noticeHash"])
        same = (g["subject"], g["dataset"], g["termsCommitment"]) == (
            subject,
            dataset,
            sha256(terms),
        )
        signer = self._grantor(g, raw(part(r, "signature")))
        own = signer == self.replayed.signers.get(subject) and g["replaces"] + 1 == version
        made = any((log.topics, log.data) == (key, event) for log in step.logs)
        return made and same and own and place == (step.block.number, step.block.hash)

    def _grantor(self, grant: Args, signature: bytes) -> bytes:
        """Who signed a consent; without crypto, whose it is."""
        if self.crypto:
            return self.crypto.signer("Grant", grant, signature)
        return self.replayed.signers.get(grant["subject"], b"")

    def _stops(self, r: Any, step: Step) -> bool:
        """A revocation, or a grant that narrows, and every use that it met, as the trail up to `asOf` proves them.

        Seconds, and a run that failed on its worker's machine, are that machine's word and in no head.
        """
        subject, dataset = raw(part(r, "subject"), 32), raw(part(r, "dataset"), 32)
        ended = (TOPICS["ConsentRevoked"], subject, dataset)
        narrowed = (TOPICS["ConsentGranted"], subject, dataset)
        before = self._epoch(subject, dataset, step.count - 1)
        said = any(
            log.topics == ended or (log.topics == narrowed and to_int(log.data[:32]) > before)
            for log in step.logs
        )
        as_of = self.held(part(r, "asOf", dict)).count
        need(r["asOf"].keys() == {"count", "head"}, "what it is told as of has other fields")
        need(as_of >= step.count, "the receipt tells what followed as of a step before its own")
        proven = self._met(subject, dataset, step, as_of)
        final = self._met(subject, dataset, step, len(self.steps))
        told = {raw(part(one, "run"), 32): one for one in part(r, "effects", list)}
        need(len(part(r, "effects")) == len(told), "the receipt names a run twice")
        need(told.keys() == proven.keys(), "the receipt leaves out a run that it met, or adds one")
        for run, one in told.items():
            stoppable = one.get("stopped") is None or may_stop(final[run])
            need(stoppable, "what is told as stopped was sealed all the same")
            failed = one.get("state") == "failed"
            went_on = failed and self._went_on(run, subject, as_of)
            need(not went_on, "a run that is told as failed went on, and nobody had resumed it")
        over = [_as_proven(told[run], use) for run, use in proven.items()]
        need(part(r, "settled", bool) == all(over), "the receipt says otherwise whether all ended")
        place = part(r, "receipt", dict)
        block = number(part(place, "block")), raw(part(place, "blockHash"), 32)
        return said and block == (step.block.number, step.block.hash)

    def _went_on(self, run: bytes, subject: bytes, as_of: int) -> bool:
        """Whether the run was sealed, or took her in, after that step: a failed one is not tried again.

        Unless its analyst resumes it: what follows then is no contradiction.
        """
        for log in (log for step in self.steps[as_of:] for log in step.logs):
            if log.topics[1:2] == (run,):
                if log.topics[0] == TOPICS["RunResumed"]:
                    return False
                hers = log.topics == (TOPICS["AccessGranted"], run, subject)
                if hers or log.topics[0] == TOPICS["Sealed"]:
                    return True
        return False

    def _epoch(self, subject: bytes, dataset: bytes, last: int) -> int:
        """The epoch of her consent after the first `last` steps."""
        epoch = 0
        for step in self.steps[:last]:
            for log in step.logs:
                if log.topics[1:] == (subject, dataset):
                    if log.topics[0] == TOPICS["ConsentGranted"]:
                        epoch = to_int(log.data[:32])
                    elif log.topics[0] == TOPICS["ConsentRevoked"]:
                        epoch = to_int(log.data[:32]) + 1
        return epoch

    def _met(self, subject: bytes, dataset: bytes, step: Step, last: int) -> dict[bytes, Use]:
        """The uses that a withdrawal met, by run, as the first `last` steps tell them."""
        names = {topic: name for name, topic in TOPICS.items()}
        history, hers = dict[bytes, list[Past]](), dict[bytes, list[Access]]()
        for one in self.steps[:last]:
            for log in one.logs:
                name, place = names[log.topics[0]], (one.count, one.block.number)
                run = log.topics[1] if len(log.topics) > 1 else b""
                if name == "AccessGranted" and log.topics[2] == subject:
                    hers.setdefault(run, []).append(Access(to_int(log.data) >> 56, True, *place))
                elif name == "AccessDenied" and log.topics[2] == subject:
                    hers.setdefault(run, []).append(Access(to_int(log.data[:32]), False, *place))
                elif name in RUN_STATES:
                    numbers = to_int(log.data[:32]), to_int(log.data[32:64])
                    attempt, reason = numbers if name == "RunRefused" else (numbers[0], 0)
                    history.setdefault(run, []).append(Past(name, one.count, attempt, reason))
        found = dict[bytes, Use]()
        for run, past in history.items():
            asked = self.replayed.runs.get(run)
            if (
                asked
                and self.replayed.permits[asked.request["permit"]].request["dataset"] == dataset
            ):
                use = use_met(run, step.count, past, hers.get(run, []))
                found |= {run: use} if use else {}
        return found

    def _releases(self, r: Any, step: Step) -> bool:
        name, nth = raw(part(r, "run"), 32), number(part(r, "attempt"))
        done = [
            to_int(log.data[:32]) for log in step.logs if log.topics == (TOPICS["Released"], name)
        ]
        need(done == [nth], "the receipt's transaction released something else")
        run, attempt = self.replayed.runs[name], self.replayed.attempts[name, nth]
        raw(part(r, "outputSalt"), 32)  # its shape: the output, which it opens, is not here
        facts = {
            **attempt.binding,
            **run.request,
            **attempt.seal,
            "listHash": attempt.list_hash,
            "sealHash": attempt.seal_hash,
            "granted": len(attempt.granted),
        }
        hashes = "permit paramsHash codeHash outputCommitment listHash sealHash".split()
        return canonical_json(part(r, "granted")) == canonical_json(facts["granted"]) and all(
            raw(part(r, n), 32) == facts[n] for n in hashes
        )


def _as_proven(told: Any, use: Use) -> bool:
    """Whether all that can be stopped of the use was; raises Malformed unless it is told as the trail proves it."""
    text, state = told.get("stopped"), use.state
    shaped = text is None or (isinstance(text, str) and re.fullmatch(r"[0-9]{1,7}\.[0-9]{2}", text))
    need(shaped, "the receipt names seconds that are no number")
    need(text is None or may_stop(use), "the receipt tells a stop where there was none to make")
    stopped = None if text is None else float(text)
    if state in ("queued", "authorised") and told.get("state") == "failed":
        state = "failed"  # on its worker's machine: in no head
    proven = {
        "run": use.run.hex(),
        "was": use.was,
        "attempt": use.attempt,
        "sealed": use.sealed,
        "nextAttempt": use.next_attempt,
        "nextBlock": use.next_block,
        "state": state,
        "over": use.over,
        "sentence": sentence_of(use, stopped),
    }
    # Compared as JSON: in Python true is 1, and a receipt that says one is not one that says the other.
    same = {name: value for name, value in told.items() if name != "stopped"}
    need(
        canonical_json(same) == canonical_json(proven),
        f"the receipt tells another end of run 0x{use.run.hex()} than the trail proves",
    )
    return use_ended(use, stopped, state)
