"""The rules of ConsentRegistry: enrolments and consents, in batches that are read item by item."""

from collections.abc import Callable
from functools import partial

from governance.rules.abi import TOPICS
from governance.rules.encoding import ItemRefused, need, sha256, words
from governance.rules.signatures import Args
from governance.rules.state import Consent, Effect, Event, slot_of
from governance.rules.steps import Steps, effect
from governance.rules.vocabulary import (
    CATEGORIES,
    DAY,
    LIVE,
    MAX_ITEMS,
    PURPOSES,
    REGISTRAR,
    REVOKED,
)

# One item of a batch: its name (hash), the words it adds to the step's body, its event, and what
# accepts it.
_Item = tuple[bytes, bytes, Event, Callable[[], None]]


def _refused(name: bytes, refusal: ItemRefused) -> _Item:
    """A refused item of a batch; `_batch` puts in its index."""
    selector = bytes.fromhex(str(refusal)[-8:])
    return name, b"", ("ItemRefused", (0,), (selector,)), lambda: None


class ConsentRules(Steps):
    """One method for each call of the contract."""

    def _batch(
        self, kind: int, rule: Callable[[Args], _Item | None], items: list[Callable[[], Args]]
    ) -> Effect:
        """Each item by itself: accepted, refused with an event of its own (`ItemRefused`), or left
        out without an event.

        A refused item is recorded once, and only if an enrolled key or a live registrar signed it,
        no later message has replaced it, and it does not depend on an earlier message: strangers
        cannot make the trail grow. Without crypto the signer is unknown, and the ledger's events
        are believed.
        """
        need(len(items) <= MAX_ITEMS, "the batch is too long")
        accepted, refused, events = b"", b"", list[Event]()
        for index, read in enumerate(items):
            outcome = rule(read())
            if outcome is None or outcome[0] in self.used_up:
                continue
            name, added, required, accept = outcome
            event = required if self._crypto else self._believed(len(events), index, required)
            if event is None:
                continue
            if event[0] == "ItemRefused":
                event = (event[0], (index,), event[2])
                self.used_up.add(name)
                refused += words(name, *event[2])
            else:
                accept()
                accepted += added
            events.append(event)
        need(events, "the batch leaves nothing, and the contract refuses such a call")
        return kind, words(len(accepted) // 32) + accepted + refused, events

    def _believed(self, position: int, index: int, event: Event) -> Event | None:
        """Without crypto: the event if the ledger has it at that position, a refusal for a
        signature, or None.
        """
        log = self._logs[position] if position < len(self._logs) else None
        if log is None:
            return None
        if log.topics == (TOPICS["ItemRefused"], words(index)):
            return event
        name, indexed, plain = event
        expected = (TOPICS[name], *map(words, indexed)), words(*plain)
        return event if name != "ItemRefused" and (log.topics, log.data) == expected else None

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
            logs = [log for log in self._logs if log.topics[:2] == (TOPICS["Enrolled"], subject)]
            registrar = logs[0].topics[2][12:] if logs and len(logs[0].topics) == 3 else bytes(20)
            live = self.member_live(registrar, REGISTRAR, self.time)
            need(live or not logs, f"0x{registrar.hex()} is no live registrar")
        if self.signers.get(subject) == key:
            return None
        name = sha256(words(subject, sha256(key), e["assurance"], e["deadline"]))
        try:
            need(self.time <= e["deadline"], "DeadlinePassed 6747c9fd", ItemRefused)
            need(subject not in self.signers, "AlreadyEnrolled ea3cca5e", ItemRefused)
            need(len(key) == 20 and any(subject), "SignerInvalid e0061160", ItemRefused)
        except ItemRefused as refusal:
            return _refused(name, refusal)
        if self._signer("Enrolment", e, item["signerSignature"], key) != key:
            return None  # a copy with another signature must not use up the signed message
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
        # A consent that was replaced, or whose predecessor is missing, leaves no event: sending it
        # early uses up nothing.
        if dataset not in self.datasets or g["replaces"] != old.version or g["epoch"] > old.epoch:
            return None
        try:
            need(self.time <= g["deadline"], "DeadlinePassed 6747c9fd", ItemRefused)
            need(g["epoch"] == old.epoch, "EpochStale ee07e7f9", ItemRefused)
            need(start <= end >= today, "WindowInvalid b795c652", ItemRefused)
            need(purposes and categories, "NothingGranted f1cc6308", ItemRefused)
            unknown = purposes & ~PURPOSES or categories & ~CATEGORIES
            need(not unknown, "MaskUnknown 9cf1b05c", ItemRefused)
        except ItemRefused as refusal:
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
        fact = "the revocation is not her own, or of an epoch to come"
        need(own and m["epoch"] <= old.epoch, fact)
        if m["epoch"] < old.epoch:
            self.used_up.add(self._unused(words(*m.values())))
            return effect(19, "RevokeStale", who, (m["epoch"], old.epoch))
        self.consents[m["dataset"], m["subject"]] = old._replace(
            status=REVOKED, epoch=old.epoch + 1
        )
        return effect(18, "ConsentRevoked", who, (old.epoch,))

    def _own(self, kind: str, message: Args, given: Args) -> bool:
        signer = self.signers[message["subject"]]
        return bool(
            given["signer"] == signer == self._signer(kind, message, given["signature"], signer)
        )
