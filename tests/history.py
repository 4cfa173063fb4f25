"""A long history on a served deployment's ledger: many people, many runs, by signed calls, without any computing.

`Crowd.of(parts)` signs for everybody of a played deployment (api/birth.py); `live(runs)` adds runs of everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from api.birth import FOUNDERS, STAFF, read_identity
from api.demo.stage import MemoryOutbox, World, random32
from chain.ledger import Ledger
from chain.wallets import load

ENDINGS = ("released", "sealed", "authorised", "queued")  # of the runs, in turn


@dataclass
class Crowd:
    """Enrolled, willing people of one deployment, and the permit that their runs are under."""

    world: World
    people: list[bytes]
    permit: bytes
    runs: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, home: Path, url: str, people: int) -> Crowd:
        """Enrols so many and lets them agree. The relay key is the deployment's own, and nobody else uses it."""
        identity = read_identity(home)
        assert identity is not None
        names = {name: load(home / "keys" / f"{name}.json")[0] for name in (*FOUNDERS, *STAFF)}
        names["wanda"] = names["worker"]
        relay, _ = load(home / "keys" / "relay.json")
        ledger = Ledger.connect(url, identity, relay, MemoryOutbox())
        world = World(ledger, names, random32(), relay)
        world.register_dataset()
        subjects = world.enrol(people)
        world.grant(subjects)
        return cls(world, subjects, world.permit())

    def live(self, runs: int) -> None:
        """So many more runs of everybody, each with its requests, looks and ends."""
        for number in range(len(self.runs), len(self.runs) + runs):
            self.runs.append(self.run(ENDINGS[number % len(ENDINGS)]))

    def run(self, ending: str) -> bytes:
        """One run of everybody, as far as `ending`."""
        world = self.world
        run = world.request_run(self.permit)
        if ending == "queued":
            return run
        world.authorise(run, self.people)
        if ending == "authorised":
            return run
        seal = world.seal(run)
        for checker in ("sol", "tess"):
            world.look(run, checker)
        if ending == "released":
            epochs = [0] * len(self.people)
            world.release(run, seal, self.people, epochs)
        return run
