"""The contracts' rules executed again: one method a call, each with what the call must leave on the trail."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, pairwise, zip_longest
from typing import Any

from governance.rules.abi import TOPICS, decode_call
from governance.rules.encoding import Finding, Malformed, Skipped, need, sha256, words
from governance.rules.ledger_data import Block, Log, Transaction, origin_of, parse_identity
from governance.rules.signatures import Args, Crypto
from governance.rules.state import (
    NOBODY,
    NOTHING,
    Attempt,
    Consent,
    Effect,
    Event,
    Ingest,
    Member,
    Permit,
    Run,
    most_attempts,
    slot_of,
)
from governance.rules.vocabulary import (
    ANALYST,
    APPROVED,
    BROKER,
    BUDGET,
    CARE,
    CATEGORIES,
    CHECKER,
    COMMITTEE,
    CUSTODIAN,
    DAY,
    FOREVER,
    GENOMIC,
    LAST_ROLE,
    LIVE,
    MAX_ITEMS,
    MAX_PARAMS,
    MAX_SUBJECTS,
    OUTPUT_CLASSES,
    PROTECTION,
    PURPOSES,
    REGISTRAR,
    REJECTED,
    REQUESTED,
    REVOKED,
    SUSPENDED,
    WORKER,
)

_Item = tuple[bytes, bytes, Event, Callable[[], None]]  # of a batch: see Fold._batch


def _effect(
    kind: int, name: str, indexed: tuple[Any, ...], plain: tuple[Any, ...] = (), body: bytes = b""
) -> Effect:
    return kind, body or words(*indexed, *plain), [(name, indexed, plain)]


def _refused(name: bytes, refusal: Skipped) -> _Item:
    """A refused item of a batch; its index is put in where it is known."""
    selector = bytes.fromhex(str(refusal)[-8:])
    return name, b"", ("ItemRefused", (0,), (selector,)), lambda: None


class Fold:
    """The state that the law gives, one transaction after the other; after a Finding it MUST NOT be used on."""

    def __init__(self, identity: object) -> None:
        self.identity = parse_identity(identity)
        self.members = {who: Member(COMMITTEE, 0, FOREVER, 0) for who in self.identity.founders}
        # What each account was, with the step from which on it was that.
        self.terms = dict[bytes, list[tuple[int, Member]]]()
        self.set_at = dict[bytes, int]()  # when an account's newest role was given
        self.committee_until = dict[bytes, int]()  # how far terms went that a change has replaced
        self.datasets = dict[bytes, bytes]()  # dataset: custodian
        self.spent = dict[bytes, int]()  # dataset: what released statistics took of its BUDGET
        self.permits = dict[bytes, Permit]()
        self.ingests = dict[bytes, Ingest]()  # in the ledger's order
        self.signers = dict[bytes, bytes]()
        self.consents = dict[tuple[bytes, bytes], Consent]()  # (dataset, subject)
        self.recorded = set[bytes]()  # messages that changed nothing, and have their step
        self.runs, self.attempts = dict[bytes, Run](), dict[tuple[bytes, int], Attempt]()
        # How many steps, and the value after the last.
        self.count, self.head = 0, origin_of(self.identity)
        self.signatures = 0  # how many were checked
        self.place, self.time = (0, -1), 0  # (block, index) and seconds of the last transaction

    def apply(
        self, block: Block, tx: Transaction, logs: Sequence[Log], crypto: Crypto | None = None
    ) -> None:
        """Execute one mined transaction; `logs` are all that it left at the four contracts. Raises Finding.
        With crypto every signature that leads to an access is checked; without it, the ledger's word is taken."""
        try:
            need(
                block.number == tx.block and self.place < (tx.block, tx.index),
                "it does not follow the one before",
            )
            need(self.time <= block.timestamp, "its time is before the time of the block before")
            need(all(x.index < y.index for x, y in pairwise(logs)), "its events are not in order")
            self.place, self.time = (tx.block, tx.index), block.timestamp
            self._tx, self._logs, self._crypto = tx, tuple(logs), crypto
            contract, function, arguments = decode_call(tx.input)
            address = self.identity.contracts[contract][0]
            need(tx.to == address, f"{function} was not sent to the {contract}")
            rule, m = getattr(self, f"_{function}"), arguments.get("m")
            kind, body, events = rule(m, arguments) if m else rule(arguments["items"])
            self.count, call, digest = self.count + 1, sha256(tx.input), sha256(body)
            place = (address, kind, tx.block, self.time)
            self.head = sha256(words(self.head, *place, call, digest))
            head: Event = ("Head", (self.count,), (self.head, kind, digest))
            trail = self.identity.contracts["Trail"][0]
            must = [(address, event) for event in events] + [(trail, head)]
            self._compare(
                [(name, who, [*map(words, at)], words(*rest)) for who, (name, at, rest) in must]
            )
        except Malformed as error:
            raise Finding(
                f"step {self.count}, block {tx.block}, transaction 0x{tx.hash.hex()}: {error}"
            ) from None

    def _compare(self, must: Sequence[tuple[str, bytes, Sequence[bytes], bytes]]) -> None:
        for i, (name, address, indexed, data) in enumerate(must, 1):
            need(len(self._logs) >= i, f"event {i} ({name}) is missing")
            log, law = self._logs[i - 1], (TOPICS[name], *indexed, data)
            ours = (log.address, log.tx, log.block, log.topics[:1]) == (
                address,
                self._tx.hash,
                self._tx.block,
                law[:1],
            )
            need(ours, f"event {i} ({name}) is another one, or not of this call")
            for want, said in zip_longest(law, (*log.topics, log.data), fillvalue=b""):
                need(
                    said == want,
                    f"event {i} ({name}) must say 0x{want.hex()} where it says 0x{said.hex()}",
                )
        need(len(self._logs) == len(must), f"event {len(must) + 1} should not be there")

    def consent(self, dataset: bytes, subject: bytes) -> Consent:
        return self.consents.get((dataset, subject), Consent(*NOTHING))

    def denied(
        self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int
    ) -> int:
        """0 while her consent allows all of it on that day, else the reason: 1 not enrolled, or 2-7."""
        status, _, _, first, last, allowed, kinds = self.consent(dataset, subject)
        if status != LIVE:
            return 1 if subject not in self.signers else 3 if status else 2
        if not first <= day <= last:
            return 4 if day < first else 5
        return 6 if purposes & ~allowed else 7 if categories & ~kinds else 0

    def consent_live(
        self, dataset: bytes, subject: bytes, purposes: int, categories: int, day: int
    ) -> bool:
        return not self.denied(dataset, subject, purposes, categories, day)

    def granted(self, run: bytes, attempt: int) -> list[tuple[bytes, int, int]]:
        return (
            list(self.attempts[run, attempt].granted) if (run, attempt) in self.attempts else []
        )  # as in Attempt

    def newest_attempt(self, run: bytes) -> int:
        return self.runs[run].attempts if run in self.runs else 0  # 0: none was authorised

    def member_live(self, account: bytes, role: int, time: int) -> bool:
        member = self.members.get(account, NOBODY)
        return member.role == role and member.start <= time < member.end

    def member_then(self, account: bytes, role: int, step: int, time: int) -> bool:
        """Whether the account was live in the role at that step and time, whatever became of it since."""
        told = [member for count, member in self.terms.get(account, []) if count <= step]
        member = told[-1] if told else NOBODY
        return member.role == role and member.start <= time < member.end

    def _become(self, account: bytes, member: Member) -> None:
        self.members[account] = member
        self.terms.setdefault(account, []).append((self.count + 1, member))

    def _claim(
        self, event: str, place: int, subject: bytes = b""
    ) -> bytes:  # what it says there, indexed words first
        found = [
            log
            for log in self._logs
            if log.topics[:1] == (TOPICS[event],) and subject in (b"", *log.topics[1:2])
        ]
        need(found, f"the call must leave the event {event}")
        return (b"".join(found[0].topics[1:]) + found[0].data)[32 * place : 32 * place + 32]

    def _signer(self, kind: str, message: Args, signature: bytes, claimed: bytes) -> bytes:
        self.signatures += bool(self._crypto)
        return self._crypto.signer(kind, message, signature) if self._crypto else claimed[-20:]

    def _by(
        self, kind: str, message: Args, signature: bytes, claimed: bytes = b"", role: int = 0
    ) -> bytes:
        """Who signed, in time, and live in the role; without crypto the claimed one, or b"". Raises Malformed."""
        need(self.time <= message["deadline"], "the signed deadline had passed")
        who = self._signer(kind, message, signature, claimed)
        need(who or not self._crypto, f"the {kind} carries nobody's signature")
        need(
            claimed[-20:] in (b"", who),
            f"the {kind} is signed by 0x{who.hex()}, not by 0x{claimed[-20:].hex()}",
        )
        need(
            not who or not role or self.member_live(who, role, self.time),
            f"0x{who.hex()} is not live in that role",
        )
        return who

    # PermitRegistry: who holds which role, which datasets exist, what the committee allowed
    def _setRole(self, m: Args, a: Args) -> Effect:
        held, quorum = self.members.get(m["account"], NOBODY), self.identity.quorum
        signers = [
            self._by("RoleChange", m, signature, role=COMMITTEE) for signature in a["signatures"]
        ]
        ordered = self._crypto is None or all(x < y for x, y in pairwise(signers))
        need(len(signers) >= quorum and ordered, "no quorum of different members signed, in order")
        need(m["role"] <= LAST_ROLE, "there is no such role")
        need(m["replaces"] == held.version, "the change replaces another version of the role")
        start, end = self._window(m, held)
        need(any(m["account"]) and m["role"] and start <= end, "the change is senseless")
        taken = held.role not in (0, m["role"]) and self.time < held.end
        need(not taken, "the account holds another role")
        version = held.version + 1
        self.committee_until[m["account"]] = self._member_until(m["account"])
        self._become(m["account"], Member(m["role"], start, end, version))
        self.set_at[m["account"]] = self.time
        need(self._committee_at(self.time) >= quorum, "no quorum is left")
        if self.datasets and COMMITTEE in (held.role, m["role"]):
            self._need_lasting_quorum()
        return _effect(1, "RoleSet", (m["account"], m["role"]), (start, end, version))

    def _need_lasting_quorum(self) -> None:
        left = self._committee_at(self.time + self.identity.role_delay, lasting=True)
        fact = "no quorum without an end is left after the delay"
        need(left >= self.identity.quorum, fact)

    def _committee_at(self, time: int, lasting: bool = False) -> int:
        return sum(
            self.member_live(who, COMMITTEE, time) and not (lasting and held.end != FOREVER)
            for who, held in self.members.items()
        )

    def _member_until(self, who: bytes) -> int:
        """Until when the account was in the committee, now at the latest; 0 if never."""
        member, before = self.members.get(who, NOBODY), self.committee_until.get(who, 0)
        begun = member.start < member.end and member.start <= self.time
        if member.role != COMMITTEE or not begun:
            return before
        return max(before, min(member.end, self.time))

    def _window(self, m: Args, held: Member) -> tuple[int, int]:
        """From when and until when a change of a role holds, once there is a dataset to read.

        A new worker or broker begins after the delay, and a member of the committee stays one until it is over.
        """
        start, end, earliest = m["start"], m["end"], self.time + self.identity.role_delay
        if not self.datasets:
            return start, end
        if self.member_live(m["account"], COMMITTEE, self.time):
            return held.start, max(end, min(earliest, held.end))
        live = self.member_live(m["account"], m["role"], self.time)
        waits = m["role"] in (BROKER, WORKER) and end > self.time and not live
        return (max(start, earliest) if waits else start), end

    def _cancelRole(self, m: Args, a: Args) -> Effect:
        held = self.members.get(m["account"], NOBODY)
        by = self._by("CancelRole", m, a["signature"], self._claim("RoleCancelled", 1))
        was = self._member_until(by) > self.set_at.get(m["account"], 0)
        live = self.member_live(by, COMMITTEE, self.time)
        need(was or live, f"0x{by.hex()} is no member of the committee, and was none then")
        need(m["version"] == held.version, "the order is about another version of the role")
        pending = held.role in (BROKER, WORKER) and held.start > self.time
        need(pending, "no worker or broker of this account is waiting")
        version = held.version + 1
        self._become(m["account"], Member(held.role, self.time, self.time, version))
        return _effect(6, "RoleCancelled", (m["account"], by), (version,))

    def _registerDataset(self, m: Args, a: Args) -> Effect:
        need(any(m["dataset"]), "a dataset has no id")
        need(m["dataset"] not in self.datasets, "the dataset is registered already")
        who = self._by(
            "RegisterDataset", m, a["signature"], self._claim("DatasetRegistered", 1), CUSTODIAN
        )
        if not self.datasets:
            self._need_lasting_quorum()
        self.datasets[m["dataset"]] = who
        return _effect(2, "DatasetRegistered", (m["dataset"], who), (m["documentHash"],))

    def _requestPermit(self, m: Args, a: Args) -> Effect:
        values, asked, categories = tuple(m.values()), m["purposeNeed"], m["categories"]
        who = self._by(
            "PermitRequest", m, a["signature"], self._claim("PermitRequested", 2), ANALYST
        )
        need(
            m["permit"] not in self.permits and m["dataset"] in self.datasets,
            "a known permit, or an unknown dataset",
        )
        need(
            asked and not asked & ~(PURPOSES & ~CARE),
            "the purposes are not allowed",
        )
        need(
            categories and not categories & ~CATEGORIES and m["outputClasses"],
            "categories or outputs not allowed",
        )
        need(m["expiry"] > self.time, "the permit would have ended already")
        self.permits[m["permit"]] = Permit(who, m, sha256(words(*values)), REQUESTED, {})
        return _effect(
            3, "PermitRequested", (m["permit"], m["dataset"], who), values, words(who, *values)
        )

    def _vote(self, m: Args, a: Args) -> Effect:
        permit = self._permit(m["permit"], REQUESTED)
        who = self._by("Vote", m, a["signature"], self._claim("Voted", 1), COMMITTEE)
        fresh = (
            who not in (permit.applicant, *permit.votes) and m["requestHash"] == permit.request_hash
        )
        need(fresh, "the applicant voted, somebody voted twice, or on another request")
        permit.votes[who] = bool(m["yes"])
        kind, body, events = _effect(4, "Voted", (m["permit"], who), (m["yes"],))
        same = [member for member, said in permit.votes.items() if said == bool(m["yes"])]
        live = sum(self.member_live(member, COMMITTEE, self.time) for member in same)
        if live >= self.identity.quorum:
            status = APPROVED if m["yes"] else REJECTED
            self.permits[m["permit"]] = permit._replace(status=status)
            expiry = (permit.request["expiry"],)
            events.append(
                ("PermitApproved", (m["permit"],), expiry)
                if m["yes"]
                else ("PermitRejected", (m["permit"],), ())
            )
        return kind, body, events

    def _suspend(self, m: Args, a: Args) -> Effect:
        said = self._claim("PermitSuspended", 1)
        role = PROTECTION if self.members.get(said[-20:], NOBODY).role == PROTECTION else COMMITTEE
        by = self._by("Suspend", m, a["signature"], said, role)
        self.permits[m["permit"]] = self._permit(m["permit"], APPROVED)._replace(status=SUSPENDED)
        return _effect(5, "PermitSuspended", (m["permit"],), (by,))

    def _permit(self, permit: bytes, status: int) -> Permit:
        found = self.permits.get(permit)
        need(found and found.status == status, "the permit is unknown, or not at that point")
        return self.permits[permit]

    # ConsentRegistry: who is enrolled with which key, and what she allows
    def _batch(
        self, kind: int, rule: Callable[[Args], _Item | None], items: list[Callable[[], Args]]
    ) -> Effect:
        """Each item by itself: accepted, refused with its own place on the trail, or without a trace.

        A refused item is recorded once, and only where an enrolled key or a live registrar signed it, no later message
        has replaced it, and it does not wait for an earlier one: strangers cannot make the trail grow. Without crypto
        nobody sees who signed, and what the ledger left of an item is believed.
        """
        need(len(items) <= MAX_ITEMS, "the batch is too long")
        accepted, refused, events = b"", b"", list[Event]()
        for index, read in enumerate(items):
            found = rule(read())
            if found is None or found[0] in self.recorded:
                continue
            name, added, must, accept = found
            event = must if self._crypto else self._believed(len(events), index, must)
            if event is None:
                continue
            if event[0] == "ItemRefused":
                event = (event[0], (index,), event[2])
                self.recorded.add(name)
                refused += words(name, *event[2])
            else:
                accept()
                accepted += added
            events.append(event)
        need(events, "the batch leaves nothing, and the contract refuses such a call")
        return kind, words(len(accepted) // 32) + accepted + refused, events

    def _believed(self, place: int, index: int, event: Event) -> Event | None:
        """Without crypto: the event if the ledger has it there, a refusal that takes keys to see, or None."""
        log = self._logs[place] if place < len(self._logs) else None
        if log is None:
            return None
        if log.topics == (TOPICS["ItemRefused"], words(index)):
            return event
        name, indexed, plain = event
        whole = (TOPICS[name], *map(words, indexed)), words(*plain)
        return event if name != "ItemRefused" and (log.topics, log.data) == whole else None

    def _enrol(self, items: list[Callable[[], Args]]) -> Effect:
        return self._batch(16, self._enrolment, items)

    def _enrolment(self, item: Args) -> _Item | None:
        e = item["enrolment"]
        subject, key = e["subject"], e["signer"]
        registrar = b""
        if self._crypto:
            registrar = self._signer("Enrolment", e, item["registrarSignature"], b"")
            if not self.member_live(registrar, REGISTRAR, self.time):
                return None
        else:
            said = [x for x in self._logs if x.topics[:2] == (TOPICS["Enrolled"], subject)]
            registrar = said[0].topics[2][12:] if said and len(said[0].topics) == 3 else bytes(20)
            live = self.member_live(registrar, REGISTRAR, self.time)
            need(live or not said, f"0x{registrar.hex()} is no live registrar")
        if self.signers.get(subject) == key:
            return None
        name = sha256(words(subject, sha256(key), e["assurance"], e["deadline"]))
        try:
            need(self.time <= e["deadline"], "DeadlinePassed 6747c9fd", Skipped)
            need(subject not in self.signers, "AlreadyEnrolled ea3cca5e", Skipped)
            need(len(key) == 20 and any(subject), "SignerInvalid e0061160", Skipped)
        except Skipped as refusal:
            return _refused(name, refusal)
        if self._signer("Enrolment", e, item["signerSignature"], key) != key:
            return None  # whoever sees it on its way must not use up what she signed
        # The signer is `bytes`: offset, length, content.
        encoded = (64, e["assurance"], 20, key.ljust(32, b"\0"))
        event: Event = ("Enrolled", (subject, registrar), encoded)
        accept = partial(self.signers.__setitem__, subject, key)
        return name, words(subject, sha256(key), registrar), event, accept

    def _grant(self, items: list[Callable[[], Args]]) -> Effect:
        return self._batch(17, self._consent, items)

    def _consent(self, item: Args) -> _Item | None:
        g, today = item["grant"], self.time // DAY
        subject, dataset, start, end, purposes, categories = (
            g[name]
            for name in ("subject", "dataset", "fromDay", "untilDay", "purposes", "categories")
        )
        old, name = self.consent(dataset, subject), sha256(words(*g.values()))
        if subject not in self.signers or not self._own("Grant", g, item):
            return None
        # Neither replaced by a later consent, nor ahead of what it follows: nobody uses that up by sending it first.
        if dataset not in self.datasets or g["replaces"] != old.version or g["epoch"] > old.epoch:
            return None
        try:
            need(self.time <= g["deadline"], "DeadlinePassed 6747c9fd", Skipped)
            need(g["epoch"] == old.epoch, "EpochStale ee07e7f9", Skipped)
            need(start <= end >= today, "WindowInvalid b795c652", Skipped)
            need(purposes and categories, "NothingGranted f1cc6308", Skipped)
            unknown = purposes & ~PURPOSES or categories & ~CATEGORIES
            need(not unknown, "MaskUnknown 9cf1b05c", Skipped)
        except Skipped as refusal:
            return _refused(name, refusal)
        lost = old.purposes & ~purposes or old.categories & ~categories or end < old.until_day
        narrower = old.status == LIVE and (lost or max(start, today) > max(old.from_day, today))
        epoch, version = old.epoch + bool(narrower), old.version + 1
        new = Consent(LIVE, epoch, version, start, end, purposes, categories)
        plain = (epoch, version, slot_of(new), g["termsCommitment"], g["noticeHash"])
        event: Event = ("ConsentGranted", (subject, dataset), plain)
        accept = partial(self.consents.__setitem__, (dataset, subject), new)
        return name, words(subject, *plain[2:4]), event, accept

    def _revoke(self, m: Args, a: Args) -> Effect:
        who, old = (m["subject"], m["dataset"]), self.consent(m["dataset"], m["subject"])
        need(m["dataset"] in self.datasets, "there is no such dataset")
        own = m["subject"] in self.signers and self._own("Revoke", m, a)
        need(
            own and m["epoch"] <= old.epoch, "the revocation is not her own, or of an epoch to come"
        )
        if m["epoch"] < old.epoch:
            self.recorded.add(self._unused(words(*m.values())))
            return _effect(19, "RevokeStale", who, (m["epoch"], old.epoch))
        self.consents[m["dataset"], m["subject"]] = old._replace(
            status=REVOKED, epoch=old.epoch + 1
        )
        return _effect(18, "ConsentRevoked", who, (old.epoch,))

    def _unused(self, message: bytes) -> bytes:
        """The message's hash. One that changed nothing is recorded, and neither repeated nor acted on later."""
        name = sha256(message)
        need(name not in self.recorded, "the same message is recorded already")
        return name

    def _own(self, kind: str, message: Args, given: Args) -> bool:
        signer = self.signers[message["subject"]]
        return bool(
            given["signer"] == signer == self._signer(kind, message, given["signature"], signer)
        )

    # AccessLedger: records, runs, accesses, releases
    def _registerRecords(self, m: Args, a: Args) -> Effect:
        need(
            m["dataset"] in self.datasets and m["ingest"] not in self.ingests and m["count"],
            "no new ingest",
        )
        self._by("RecordsRegistered", m, a["signature"], self.datasets[m["dataset"]], CUSTODIAN)
        self.ingests[m["ingest"]] = Ingest(
            m["dataset"], m["leavesRoot"], m["count"], m["relaxed"], False
        )
        plain = (m["leavesRoot"], m["count"], m["relaxed"])
        return _effect(32, "RecordsSealed", (m["ingest"], m["dataset"]), plain)

    def _voidRecords(self, m: Args, a: Args) -> Effect:
        ingest = self.ingests.get(m["ingest"])
        need(ingest and not ingest.void, "there is no such registration, or it is void already")
        ingest = self.ingests[m["ingest"]]
        signers = [self._by("VoidRecords", m, signature) for signature in a["signatures"]]
        custodian = self.datasets[ingest.dataset]
        if len(signers) == 1 and signers[0] in (custodian, b""):
            live = self.member_live(custodian, CUSTODIAN, self.time)
            need(live, "the custodian's role is not live")
        else:
            members = [self.member_live(who, COMMITTEE, self.time) for who in signers if who]
            ordered = not self._crypto or all(x < y for x, y in pairwise(signers))
            quorum = len(signers) >= self.identity.quorum
            need(quorum and ordered and all(members), "neither the custodian nor a quorum signed")
        self.ingests[m["ingest"]] = ingest._replace(void=True)
        return _effect(42, "RecordsVoided", (m["ingest"], ingest.dataset))

    def _requestRun(self, m: Args, a: Args) -> Effect:
        need(m["permit"] in self.permits, "there is no such permit")
        permit = self.permits[m["permit"]]
        need(permit.status != REQUESTED, "the committee has not decided on the permit")
        need(
            sha256(a["params"]) == m["paramsHash"] and len(a["params"]) <= MAX_PARAMS,
            "the parameters are not as signed",
        )
        who = self._by("RunRequest", m, a["signature"], permit.applicant, ANALYST)
        run, reason = sha256(words(who, m["nonce"])), self._permit_reason(permit)
        need(run not in self.runs, "the run exists already")
        message = self._unused(words(run, *m.values()))
        if reason:
            self.recorded.add(message)
            return _effect(35, "RunRefused", (run,), (0, reason))
        self.runs[run] = Run(who, m, 0, "", 0)
        return _effect(
            33,
            "RunRequested",
            (run, m["permit"], who),
            (m["paramsHash"], m["resultKey"], m["deadline"]),
        )

    def _permit_reason(self, permit: Permit) -> int:
        if permit.status != APPROVED:
            return {SUSPENDED: 34, REJECTED: 39}[permit.status]
        return 35 if self.time >= permit.request["expiry"] else 0

    def _authorise(self, m: Args, a: Args) -> Effect:
        subjects, name, nth, run = a["subjects"], m["run"], m["attempt"], self._run(m)
        permit, worker = (
            self.permits[run.request["permit"]],
            self._by("WorkerBinding", m, a["signature"], role=WORKER),
        )
        need(
            run.ended in ("", "cancelled") and nth == run.attempts + 1 <= most_attempts(run),
            "the run ended, or not the next attempt",
        )
        need(
            len(subjects) <= MAX_SUBJECTS
            and all(x < y for x, y in pairwise((bytes(32), *subjects))),
            "the list is too long or unsorted",
        )
        need(
            sha256(b"".join(subjects)) == m["subjectsHash"],
            "the list is not the one that the worker signed",
        )
        dataset, *want = (
            *(permit.request[n] for n in ("dataset", "purposeNeed", "categories")),
            self.time // DAY,
        )
        judged = [(subject, self.denied(dataset, subject, *want)) for subject in subjects]
        live = [
            (subject, self.consent(dataset, subject)) for subject, reason in judged if not reason
        ]
        least = max(1, permit.request["minCohort"], self.identity.cohort_floor)
        reasons = [  # in the contract's order
            run.ended and 43,
            self.time > run.request["deadline"] and 41,
            m["codeHash"] != permit.request["codeHash"] and 38,
            not self.member_live(run.analyst, ANALYST, self.time) and 36,
            self._permit_reason(permit),
            len(live) < least and 40,
        ]
        # Without crypto nobody sees which worker signed, and two may send the same.
        message = self._unused(words(worker, *m.values())) if self._crypto else b""
        if any(reasons):
            self.recorded.add(message)
            return _effect(35, "RunRefused", (name,), (nth, next(filter(None, reasons))))
        denied = [(subject, reason) for subject, reason in judged if reason]
        granted = [(subject, consent.epoch, consent.version) for subject, consent in live]
        packed = {subject: nth << 56 | epoch << 24 | version for subject, epoch, version in granted}
        list_hash = sha256(b"".join(words(subject, epoch) for subject, epoch, _ in granted))
        ends = [permit.request["expiry"], *((consent.until_day + 1) * DAY for _, consent in live)]
        lease, tx = (
            min(self.time + min(m["leaseSeconds"], self.identity.max_lease), *ends),
            self._tx,
        )
        self.runs[name] = run._replace(attempts=nth)
        self.attempts[name, nth] = Attempt(
            worker, m, granted, denied, lease, list_hash, tx.hash, tx.block, {}, b"", {}
        )
        events: list[Event] = [
            ("AccessDenied", (name, who), (nth, reason))
            if reason
            else ("AccessGranted", (name, who), (packed[who],))
            for who, reason in judged
        ]
        totals = (nth, len(granted), len(denied), lease, m["workerKey"], list_hash, m["relaxed"])
        return (
            34,
            words(name, m["relaxed"] << 32 | nth, *chain(*packed.items(), *denied)),
            [*events, ("RunAuthorised", (name,), totals)],
        )

    def _run(self, m: Args) -> Run:
        need(m["run"] in self.runs, "the run is unknown")
        return self.runs[m["run"]]

    def _open(self, m: Args) -> tuple[Run, Attempt]:
        run = self._run(m)
        need(
            not run.ended and m["attempt"] == run.attempts > 0,
            "the run ended, or the attempt is not the newest",
        )
        return run, self.attempts[m["run"], m["attempt"]]

    def _seal(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        self._by("Seal", m, a["signature"], attempt.worker, WORKER)
        need(
            self.time <= attempt.lease_until and not attempt.seal,
            "the lease is over, or the output sealed already",
        )
        allowed = (
            self.permits[run.request["permit"]].request["outputClasses"] >> m["outputClass"] & 1
        )
        need(
            allowed and m["outputClass"] in OUTPUT_CLASSES,
            "the permit does not allow this class of output",
        )
        need(m["outputClass"] != GENOMIC or m["statistics"], "a genomic output without statistics")
        self._cost(run, attempt, m)
        plain = (m["attempt"], sha256(words(*m.values())), *m.values())
        self.attempts[m["run"], m["attempt"]] = attempt._replace(seal=m, seal_hash=plain[1])
        return _effect(36, "Sealed", (m["run"],), plain, words(m["run"], *plain[:2]))

    def _cost(self, run: Run, attempt: Attempt, seal: Args) -> dict[bytes, int]:
        """What the dataset has spent with this seal: m statistics of N people, in millionths of m / N, rounded up."""
        dataset = self.permits[run.request["permit"]].request["dataset"]
        total = self.spent.get(dataset, 0) - (-seal["statistics"] * 10**6 // len(attempt.granted))
        need(total <= BUDGET, "the dataset's budget of per-variant statistics is spent")
        return {dataset: total} if seal["statistics"] else {}

    def _viewOutput(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        who = self._by("Review", m, a["signature"], self._claim("OutputViewed", 1), CHECKER)
        need(who != run.analyst and attempt.seal, "the analyst looked, or nothing is sealed")
        body = words(m["run"], m["attempt"], who, m["viewerKey"])
        self.recorded.add(self._unused(body))
        attempt.views[who] = m["viewerKey"]
        return _effect(37, "OutputViewed", (m["run"], who), (m["attempt"], m["viewerKey"]), body)

    def _checker(
        self, m: Args, run: Run, attempt: Attempt, signature: bytes, claimed: bytes
    ) -> bytes:
        need(m["sealHash"] == attempt.seal_hash, "the decision is not on what was sealed")
        who = self._by("Decision", m, signature, claimed, CHECKER)
        need(
            not who or (who != run.analyst and who in attempt.views),
            "the checker is the analyst, or did not look",
        )
        return who

    def _release(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        permit, done = (
            self.permits[run.request["permit"]],
            [log.topics[0] for log in self._logs if log.topics],
        )
        said = [
            self._claim("Released", place) if TOPICS["Released"] in done else b""
            for place in (3, 4)
        ]
        pair = [
            self._checker(m, run, attempt, *signed)
            for signed in zip(a["signatures"], said, strict=True)
        ]
        need(
            m["reason"] == 0 and (pair[0] < pair[1] or not any(pair)),
            "two different checkers must agree",
        )
        granted = [(subject, epoch) for subject, epoch, _ in attempt.granted]
        need(
            list(zip_longest(a["subjects"], a["epochs"])) == granted,
            "the list is not the granted one",
        )
        dataset, *want = (
            *(permit.request[n] for n in ("dataset", "purposeNeed", "categories")),
            self.time // DAY,
        )
        dismissed = not self.member_live(run.analyst, ANALYST, self.time)
        refusals = [
            (bytes(32), 36 if dismissed else self._permit_reason(permit)),
            *(
                (
                    who,
                    self.denied(dataset, who, *want)
                    or 75 * (self.consent(dataset, who).epoch != epoch),
                )
                for who, epoch in granted
            ),
        ]
        message = self._unused(words(*m.values()))
        for (
            subject,
            reason,
        ) in refusals:  # analyst and permit, then the first who is unwilling, or at another epoch
            if reason:
                self.recorded.add(message)
                return _effect(39, "ReleaseRefused", (m["run"],), (m["attempt"], subject, reason))
        self.spent |= self._cost(run, attempt, attempt.seal)
        self.runs[m["run"]] = run._replace(ended="released")
        return _effect(38, "Released", (m["run"],), (m["attempt"], m["sealHash"], *pair))

    def _reject(self, m: Args, a: Args) -> Effect:
        run, attempt = self._open(m)
        who = self._checker(m, run, attempt, a["signature"], self._claim("Rejected", 3))
        need(m["reason"], "a rejection names its reason")
        self.runs[m["run"]] = run._replace(ended="rejected")
        return _effect(40, "Rejected", (m["run"],), (m["attempt"], m["sealHash"], who, m["reason"]))

    def _cancel(self, m: Args, a: Args) -> Effect:
        run = self._run(m)
        self._by("Cancel", m, a["signature"], run.analyst)
        need(not run.ended, "the run has ended")
        self.runs[m["run"]] = run._replace(ended="cancelled")
        return _effect(41, "RunCancelled", (m["run"],))

    def _resume(self, m: Args, a: Args) -> Effect:
        run = self._run(m)
        self._by("Resume", m, a["signature"], run.analyst, ANALYST)
        used = m["attempts"] == run.attempts == most_attempts(run)
        need(not run.ended and used, "the run has ended, or has attempts left")
        self.runs[m["run"]] = run._replace(resumed=run.resumed + 1)
        return _effect(43, "RunResumed", (m["run"],), (m["attempts"],))
