"""Operations for fault injection: grant, withdraw, ingest, run, release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analytics.params import complete
from chain import events
from chain.ledger import message_tuple
from governance.objects.envelope import record_id

if TYPE_CHECKING:
    from faults.campaign import Actor, Stage

PARAMS = complete(
    {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"logistic": ["clinical"]},
        "folds": 2,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
    }
)


class Operation:
    """Something that people do.

    `prepare` signs in advance, so that a repetition is the same message.
    """

    name: str
    worker = False

    def prepare(self, stage: Stage) -> None: ...
    def act(self, actor: Actor) -> None: ...
    def is_done(self, stage: Stage) -> bool: ...


class Grant(Operation):
    name = "grant"

    def prepare(self, stage: Stage) -> None:
        world, self.subject = stage.rig.world, stage.somebody()
        message = world.grant_message(self.subject)
        self.item, self.version = world.grant_item(message), message["replaces"] + 1

    def act(self, actor: Actor) -> None:
        actor.ledger.relay("ConsentRegistry", "grant", [self.item])

    def is_done(self, stage: Stage) -> bool:
        return stage.rig.world.slot(self.subject) >> 192 & 0xFFFFFF == self.version


class Revoke(Operation):
    name = "revoke"

    def prepare(self, stage: Stage) -> None:
        world, self.subject = stage.rig.world, stage.somebody()
        if world.slot(self.subject) >> 248 != 1:
            world.grant([self.subject])
        epoch = world.slot(self.subject) >> 216 & 0xFFFFFFFF
        message = {"subject": self.subject, "dataset": world.dataset, "epoch": epoch}
        signature = world.subjects[self.subject].sign(world.ledger.domain, "Revoke", message)
        self.call = message_tuple("Revoke", message), world.subjects[self.subject].signer, signature

    def act(self, actor: Actor) -> None:
        actor.ledger.relay("ConsentRegistry", "revoke", *self.call)

    def is_done(self, stage: Stage) -> bool:
        return stage.rig.world.slot(self.subject) >> 248 == 2


class Ingest(Operation):
    """A new version of one person's record; a repetition encrypts anew, under other keys."""

    name = "ingest"

    def prepare(self, stage: Stage) -> None:
        self.source = stage.source(stage.somebody(), 2)
        record = record_id(stage.rig.world.dataset, self.source.subject, self.source.category, 0)
        mined = stage.events(events.RecordsSealed)
        self.versions, self.expected = {record: stage.versions.get(record, 1)}, len(mined) + 1
        stage.versions[record] = self.versions[record] + 1

    def act(self, actor: Actor) -> None:
        actor.rig.ingest([self.source], self.versions)

    def is_done(self, stage: Stage) -> bool:
        return len(stage.events(events.RecordsSealed)) == self.expected


class Run(Operation):
    """From the authorisation, by way of keys and plaintext, to the sealed output."""

    name, worker = "run", True

    def prepare(self, stage: Stage) -> None:
        self.run = stage.rig.request(stage.permit, params=PARAMS)

    def act(self, actor: Actor) -> None:
        actor.step()

    def is_done(self, stage: Stage) -> bool:
        return any(event.run == self.run for event in stage.events(events.Sealed))


class Release(Operation):
    """Two looks and the decision of both checkers."""

    name = "release"

    def prepare(self, stage: Stage) -> None:
        run = Run()
        run.prepare(stage)
        stage.act(run)
        self.sealed = next(event for event in stage.events(events.Sealed) if event.run == run.run)
        granted = [event for event in stage.events(events.AccessGranted) if event.run == run.run]
        self.people = [
            (event.subject, event.epoch)
            for event in granted
            if event.attemptEpochVersion >> 56 == self.sealed.attempt
        ]

    def act(self, actor: Actor) -> None:
        run, attempt, world = self.sealed.run, self.sealed.attempt, actor.rig.world
        looked = actor.projection.replayed.attempts[run, attempt].views
        for name in ("sol", "tess"):
            if bytes.fromhex(world.people[name].address[2:]) not in looked:
                world.view_output(run, name, attempt)
        people, epochs = zip(*self.people, strict=True)
        world.release(run, self.sealed.sealHash, people, epochs, attempt=attempt)

    def is_done(self, stage: Stage) -> bool:
        return any(event.run == self.sealed.run for event in stage.events(events.Released))


OPERATIONS = (Grant, Revoke, Ingest, Run, Release)
