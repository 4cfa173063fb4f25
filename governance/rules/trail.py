"""Replays an exported trail, and compares the heads and receipts that somebody holds with it."""

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
    "volens/withdrawal-receipt/2": "withdrawals",
}
# What an export has (docs/ledger.md), by part.
TRAIL_FIELDS = {
    "trail": "type identity blocks transactions head witnesses",
    "identity": (
        "type chainId genesisHash deployBlock salt quorum cohortFloor maxLease roleDelay contracts "
        "founders signatures"
    ),
    "contract": "name address codeHash",
    "block": "hash timestamp",
    "transaction": "hash block index to input logs",
    "log": "address topics data index",
    "head": "count head",
}
POSITION = "tx block blockHash time count head"
WITNESS = "broker block blockHash time count head signature"
RECEIPT_FIELDS = {
    "grants": f"subject dataset epoch version terms termsSalt signedMessage signature {POSITION}",
    "releases": (
        "run attempt permit listHash granted sealHash outputCommitment outputSalt releaseTx "
        "time count head codeHash paramsHash"
    ),
    "withdrawals": "subject dataset receipt asOf settled effects",
}


class Step(NamedTuple):
    """One step of the trail: the head after it, and the transaction that made it."""

    count: int  # type: ignore[assignment]  # hides a tuple's own method
    head: bytes
    block: Block
    tx: Transaction
    logs: list[Log]


Verdicts = dict[str, tuple[str, str]]  # word: ok, no, partly or not-checked, and a plain reason


class Replay:
    """A replayed trail: `steps[n - 1]` is step n of the trail. Raises Malformed, Finding."""

    def __init__(self, source: object, crypto: Crypto | None = None) -> None:
        need(part(source, "type") == "volens/trail/2", "this is not a trail of this release")
        _check_fields(source)
        self.replayed, self.crypto = ReplayedState(part(source, "identity")), crypto
        self.steps = list[Step]()
        self.id, self.blocks = identity_id(part(source, "identity")), part(source, "blocks", dict)
        for item in part(source, "transactions", list):
            names = {"blockNumber": "block", "transactionIndex": "index", "transactionHash": "hash"}
            position = {name: part(item, short) for name, short in names.items()}
            tx, entries = parse_transaction(item | position), part(item, "logs", list)
            block = parse_block({**part(self.blocks, str(tx.block), dict), "number": tx.block})
            logs = [
                parse_log({**position, "logIndex": part(entry, "index"), **entry})
                for entry in entries
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

    def held_step(self, source: Any) -> Step:
        """The step whose {count, head} somebody holds. Raises Malformed if the trail has another
        head, or no such step.
        """
        count, head = number(part(source, "count")), raw(part(source, "head"), 32)
        same_ledger = "identity" not in source or raw(source["identity"], 32) == self.id
        need(same_ledger, f"the head of step {count} is of another ledger")
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
        """The step number of a witness, and whether its signer was a live broker when it signed.

        The block and the time that it signed decide, as far as the trail shows them, not its step:
        on a quiet ledger a term begins or ends long after the last step. Raises Malformed for a
        forged witness, or one of another trail.
        """
        step, who = self.held_step(source), raw(part(source, "broker"), 20)
        need(source.keys() == set(WITNESS.split()), "a witness has other fields")
        by, hashed = raw(part(source, "signature")), raw(part(source, "blockHash"), 32)
        seen, time = number(part(source, "block")), number(part(source, "time"))
        mined = self.blocks.get(str(seen), {"hash": hashed.hex(), "timestamp": time})
        same = raw(part(mined, "hash")) == hashed and number(part(mined, "timestamp")) == time
        earlier = [past for past in self.steps if past.block.number <= seen]
        later = self.steps[len(earlier) : len(earlier) + 1]
        not_before = all(previous.block.timestamp <= time for previous in earlier[-1:])
        between = not_before and all(time <= following.block.timestamp for following in later)
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
        """Check a receipt (docs/ledger.md, Receipts) against the trail; returns the step up to
        which it anchors the trail.

        The holder of a receipt may have forged it: without a witness it can contradict the trail,
        but anchors nothing (0). Raises Malformed.
        """
        r: Any = strict_json(data)
        kind = RECEIPTS.get(part(r, "type", str), "")
        same_ledger = kind and raw(part(r, "identity"), 32) == self.id
        need(same_ledger, "the receipt is of another ledger or kind")
        # A reader could take an unchecked field for a checked one.
        extra = r.keys() - {"type", "identity", "witness", *RECEIPT_FIELDS[kind].split()}
        need(not extra, "the receipt has fields that no receipt of its kind has")
        position = part(r, "receipt", dict) if kind == "withdrawals" else r
        need(
            kind != "withdrawals" or position.keys() == set(POSITION.split()),
            "the receipt's position has other fields",
        )
        step = self.held_step(position)
        name = raw(part(position, "releaseTx" if kind == "releases" else "tx"), 32)
        need(step.tx.hash == name, "the trail has another transaction at the receipt's step")
        same = number(part(position, "time")) == step.block.timestamp
        need(same, "the receipt names another time than its block has")
        need(
            getattr(self, f"_{kind}")(r, step),
            "the receipt is not what its transaction recorded",
        )
        if "witness" not in r:
            return 0
        reached, live = self.witnessed(part(r, "witness", dict))
        need(live, "the receipt's witness was no live broker when it signed")
        as_of = self.held_step(r["asOf"]).count if kind == "withdrawals" else 0
        need(reached >= max(step.count, as_of), "the receipt's witness is older than the receipt")
        return reached if self.crypto else 0

    def _grants(self, r: Any, step: Step) -> bool:
        subject, dataset = raw(part(r, "subject"), 32), raw(part(r, "dataset"), 32)
        key = (TOPICS["ConsentGranted"], subject, dataset)
        terms = canonical(
            b"volens/terms/1", raw(part(r, "termsSalt"), 32), sha256(part(r, "terms", str).encode())
        )
        epoch, version = number(part(r, "epoch")), number(part(r, "version"))
        position = number(part(r, "block")), raw(part(r, "blockHash"), 32)
        g: Any = {
            n: raw(v) if isinstance(v, str) else number(v)
            for n, v in part(r, "signedMessage", dict).items()
        }
        sent = any(
            (item.get("signature"), item.get("grant")) == (raw(part(r, "signature")), g)
            for item in (read() for read in decode_call(step.tx.input)[2].get("items", []))
        )
        need(sent, "the transaction holds no such signed message")
        # A batch may hold other messages in her name that the contract skips: this message must
        # have made the event.
        given = (g[n] for n in ("fromDay", "untilDay", "purposes", "categories"))
        slot = slot_of(Consent(LIVE, epoch, version, *given))
        event = words(epoch, version, slot, sha256(terms), g["noticeHash"])
        commitment = sha256(terms)
        same = (g["subject"], g["dataset"], g["termsCommitment"]) == (subject, dataset, commitment)
        signer = self._grantor(g, raw(part(r, "signature")))
        own = signer == self.replayed.signers.get(subject) and g["replaces"] + 1 == version
        made = any((log.topics, log.data) == (key, event) for log in step.logs)
        return made and same and own and position == (step.block.number, step.block.hash)

    def _grantor(self, grant: Args, signature: bytes) -> bytes:
        """The address that signed a consent; without crypto, the subject's enrolled key."""
        if self.crypto:
            return self.crypto.signer("Grant", grant, signature)
        return self.replayed.signers.get(grant["subject"], b"")

    def _withdrawals(self, r: Any, step: Step) -> bool:
        """Check a revocation, or a narrowing grant, and every affected use, against the trail up to
        `asOf`.

        Seconds, and failures on a worker's machine, are the machine's own statement: no head covers
        them.
        """
        subject, dataset = raw(part(r, "subject"), 32), raw(part(r, "dataset"), 32)
        ended = (TOPICS["ConsentRevoked"], subject, dataset)
        narrowed = (TOPICS["ConsentGranted"], subject, dataset)
        before = self._epoch(subject, dataset, step.count - 1)
        recorded = any(
            log.topics == ended or (log.topics == narrowed and to_int(log.data[:32]) > before)
            for log in step.logs
        )
        as_of = self.held_step(part(r, "asOf", dict)).count
        need(r["asOf"].keys() == {"count", "head"}, "what it is told as of has other fields")
        need(as_of >= step.count, "the receipt tells what followed as of a step before its own")
        proven = self._met(subject, dataset, step, as_of)
        final = self._met(subject, dataset, step, len(self.steps))
        effects = {raw(part(item, "run"), 32): item for item in part(r, "effects", list)}
        need(len(part(r, "effects")) == len(effects), "the receipt names a run twice")
        complete = effects.keys() == proven.keys()
        need(complete, "the receipt leaves out a run that it met, or adds one")
        for run, item in effects.items():
            stoppable = item.get("stopped") is None or may_stop(final[run])
            need(stoppable, "what is told as stopped was sealed all the same")
            failed = item.get("state") == "failed"
            went_on = failed and self._went_on(run, subject, as_of)
            need(not went_on, "a run that is told as failed went on, and nobody had resumed it")
        over = [_as_proven(effects[run], use) for run, use in proven.items()]
        need(part(r, "settled", bool) == all(over), "the receipt says otherwise whether all ended")
        position = part(r, "receipt", dict)
        block = number(part(position, "block")), raw(part(position, "blockHash"), 32)
        return recorded and block == (step.block.number, step.block.hash)

    def _went_on(self, run: bytes, subject: bytes, as_of: int) -> bool:
        """Whether the run was sealed, or included her, after that step, without being resumed by
        its analyst.

        A failed run is not tried again unless it is resumed.
        """
        for log in (log for step in self.steps[as_of:] for log in step.logs):
            if log.topics[1:2] == (run,):
                if log.topics[0] == TOPICS["RunResumed"]:
                    return False
                includes_her = log.topics == (TOPICS["AccessGranted"], run, subject)
                if includes_her or log.topics[0] == TOPICS["Sealed"]:
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
        """By run, the uses that a withdrawal affects, according to the first `last` steps."""
        names = {topic: name for name, topic in TOPICS.items()}
        history, accesses = dict[bytes, list[Past]](), dict[bytes, list[Access]]()
        for past_step in self.steps[:last]:
            count, block = past_step.count, past_step.block.number
            for log in past_step.logs:
                name = names[log.topics[0]]
                run = log.topics[1] if len(log.topics) > 1 else b""
                if name == "AccessGranted" and log.topics[2] == subject:
                    access = Access(to_int(log.data) >> 56, True, count, block)
                    accesses.setdefault(run, []).append(access)
                elif name == "AccessDenied" and log.topics[2] == subject:
                    access = Access(to_int(log.data[:32]), False, count, block)
                    accesses.setdefault(run, []).append(access)
                elif name in RUN_STATES:
                    numbers = to_int(log.data[:32]), to_int(log.data[32:64])
                    attempt, reason = numbers if name == "RunRefused" else (numbers[0], 0)
                    history.setdefault(run, []).append(Past(name, count, attempt, reason))
        uses = dict[bytes, Use]()
        for run, past in history.items():
            requested = self.replayed.runs.get(run)
            if requested is None:
                continue
            permit = self.replayed.permits[requested.request["permit"]]
            if permit.request["dataset"] == dataset:
                use = use_met(run, step.count, past, accesses.get(run, []))
                uses |= {run: use} if use else {}
        return uses

    def _releases(self, r: Any, step: Step) -> bool:
        name, nth = raw(part(r, "run"), 32), number(part(r, "attempt"))
        topics = (TOPICS["Released"], name)
        released = [to_int(log.data[:32]) for log in step.logs if log.topics == topics]
        need(released == [nth], "the receipt's transaction released something else")
        run, attempt = self.replayed.runs[name], self.replayed.attempts[name, nth]
        # Only the format of the salt: the output that it opens is not in the trail.
        raw(part(r, "outputSalt"), 32)
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


def _check_fields(source: Any) -> None:
    """Raise Malformed for a field that no export has: a reader could take it for one that is checked."""
    identity = part(source, "identity", dict)
    transactions = part(source, "transactions", list)
    parts = [("trail", source), ("identity", identity), ("head", part(source, "head", dict))]
    parts += [("contract", contract) for contract in part(identity, "contracts", list)]
    parts += [("block", block) for block in part(source, "blocks", dict).values()]
    parts += [("transaction", tx) for tx in transactions]
    parts += [("log", log) for tx in transactions for log in part(tx, "logs", list)]
    allowed = {name: set(fields.split()) for name, fields in TRAIL_FIELDS.items()}
    for name, item in parts:
        # What is no object is refused where it is read.
        extra = item.keys() - allowed[name] if isinstance(item, dict) else set()
        need(not extra, f"the trail's file has other fields than an export, in: {name}")


def _as_proven(effect: Any, use: Use) -> bool:
    """Whether nothing of the use can still be stopped; raises Malformed unless the effect is as the
    trail proves it.
    """
    text, state = effect.get("stopped"), use.state
    decimal = isinstance(text, str) and re.fullmatch(r"[0-9]{1,7}\.[0-9]{2}", text)
    need(text is None or decimal, "the receipt names seconds that are no number")
    need(text is None or may_stop(use), "the receipt tells a stop where there was none to make")
    stopped = None if text is None else float(text)
    if state in ("queued", "authorised") and effect.get("state") == "failed":
        state = "failed"  # on its worker's machine: no head covers that
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
    # Compared as JSON, which keeps true and 1 apart: in Python they are equal.
    stated = {name: value for name, value in effect.items() if name != "stopped"}
    need(
        canonical_json(stated) == canonical_json(proven),
        f"the receipt tells another end of run 0x{use.run.hex()} than the trail proves",
    )
    return use_ended(use, stopped, state)
