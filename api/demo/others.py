"""Further scenes of the demo, each about one topic: `volens demo NAME`, or all with --all.

Each has its own ledger in a temporary folder, prints line by line what happened, and returns
whether everything was as expected.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from api.demo.stage import World
from api.demo.wording import rule, without_hex
from chain.devnode.process import DevChain
from chain.errors import LedgerDown

Say = Callable[[str], None]
KILLS = 10


@dataclass(frozen=True, slots=True)
class Scene:
    """`play(folder, say)` returns whether all checks passed."""

    says: str
    play: Callable[[Path, Say], bool]


def tell(line: str) -> None:
    print(line, flush=True)


def play_scene(name: str, say: Say = tell) -> bool:
    """Play one scene in a temporary folder."""
    scene = SCENES[name]
    say(f"\n {name.upper()}: {scene.says}\n")
    with tempfile.TemporaryDirectory(prefix="volens-") as folder:
        passed = scene.play(Path(folder), say)
    say(f"\n {'DONE' if passed else 'NOT PROVEN'}: {name}")
    return passed


def _attacks(folder: Path, say: Say) -> bool:
    from api.demo import attacks

    with DevChain.start(folder) as chain:
        world, wrong = World.create(chain.url), 0
        table = [*attacks.TABLE, *attacks.CARE_TABLE]
        for attacker in dict.fromkeys(attack.attacker for attack in table):
            say(f" {attacker}")
            for attack in (attack for attack in table if attack.attacker == attacker):
                forged, control = (
                    attacks.outcome(partial(attack.action, world, tried)) for tried in (True, False)
                )
                right = forged == attack.expected and control == "accepted"
                wrong += not right
                say(
                    f"   {'REFUSED' if right else 'WRONG  '} {rule(forged):<28}  {attack.name}"
                    + (
                        ""
                        if right
                        else f"   (expected {rule(attack.expected)}; without it: {control})"
                    )
                )
    tried = len(attacks.TABLE)
    say(
        f"\n {tried - wrong} of {tried} refused by their rule; each goes through once its one fault is mended"
    )
    return wrong == 0


def _tampers(folder: Path, say: Say) -> bool:
    from api.demo import tampers
    from governance.audit import export_bundle
    from governance.rules.cli import examine
    from governance.rules.encoding import canonical_json

    with DevChain.start(folder) as chain:
        world = World.create(chain.url)
        world.live_through()
        bundle = export_bundle(world.ledger)
    head, detected = bundle["head"], 0
    untouched = {state for state, _ in examine(canonical_json(bundle), [head]).values()}
    say(f"   {'valid' if untouched == {'ok'} else 'WRONG':<11}the trail as it is")
    for tamper in tampers.TABLE:
        word, reason = tampers.detected(tampers.tamper(bundle, tamper), head)
        detected += word == tamper.word
        say(f"   {'not ' + word if word else 'NOT SEEN':<16} {tamper.name}: {without_hex(reason)}")
    say(
        f"\n {detected} of {len(tampers.TABLE)} found; "
        "somebody else's copy of the head represents a printed receipt"
    )
    return detected == len(tampers.TABLE) and untouched == {"ok"}


def _kills(folder: Path, say: Say) -> bool:
    """kill -9 of the ledger while consents are written: every answered consent must persist, block
    by block.
    """
    generator, answered, sound, port = random.Random(), dict[int, bytes](), True, 0  # noqa: S311 (when to kill)
    world: World | None = None
    subjects: list[bytes] = []
    for turn in range(KILLS + 1):
        with DevChain.start(folder, port, snapshot_seconds=0) as chain:
            port = chain.port
            if world is None:
                world = World.create(chain.url)
                subjects = world.enrol(1)
            ledger = world.ledger
            same = all(
                bytes.fromhex(ledger.block(number)["hash"][2:]) == answered[number]
                for number in answered
            )
            sound = sound and same
            if turn:
                say(
                    f"   kill {turn:>2}: back after {chain.seconds:.2f} s; "
                    f"{len(answered)} blocks that somebody was told of: "
                    f"{'all there, the same' if same else 'NOT ALL THERE'}"
                )
            if turn == KILLS:
                break
            for receipt in ledger.resume():
                answered[receipt.block] = receipt.block_hash
            killer = threading.Timer(generator.uniform(0.1, 0.6), chain.process.kill)
            killer.start()
            with contextlib.suppress(LedgerDown):
                while True:
                    receipt = world.grant(subjects)
                    answered[receipt.block] = receipt.block_hash
            killer.join()
    say(
        f"\n {len(answered)} consents answered over {turn} kills, {'none lost' if sound else 'NOT ALL OF THEM THERE'}"
    )
    return sound


def _reach(folder: Path, say: Say) -> bool:
    from api.demo import reach

    return reach.play(folder, say)


def _science(folder: Path, say: Say) -> bool:
    from api.demo import methods

    return methods.play(folder, say)


def _care(folder: Path, say: Say) -> bool:
    from api.demo import care

    return care.play(folder, say)


SCENES = {
    "attacks": Scene("every attack on the contracts, and the rule that refuses it", _attacks),
    "tampers": Scene(
        "an exported trail changed in thirty ways, and what the verifier says", _tampers
    ),
    "kills": Scene("the ledger is killed in the middle of writing, again and again", _kills),
    "science": Scene(
        "survival and clusters on real data; explanation, fairness and series on simulated people",
        _science,
    ),
    "care": Scene("plans of care for invented patients, under their own consent", _care),
    "reach": Scene("a database server, two workers, Ray, and a second home that joins", _reach),
}
