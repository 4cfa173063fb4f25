"""Find the confinement that this host offers: confine a child that does nothing, and inspect it."""

from __future__ import annotations

import select
import sys
from dataclasses import dataclass

from api.confinement.inside import confine
from api.confinement.landlock import find_abi
from api.confinement.launching import launch
from api.confinement.layers import ALL, Confinement, Layer, describe
from api.confinement.outside import has_own_root, layers_in_force

PROGRAM = "import sys; from api.confinement.probe import answer; answer(sys.argv[1])"
WAIT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Offer:
    """The layers in force, the child's Landlock ABI (0: none), whether it has a root of its own."""

    layers: Layer
    landlock: int
    own_root: bool

    @property
    def relaxed(self) -> Layer:
        """The layers that a child on this host lacks, as a bit mask; 0: none."""
        return ALL & ~self.layers

    def __str__(self) -> str:
        walls = [
            f"Landlock (ABI {self.landlock} of {find_abi()})" if self.landlock else "no Landlock",
            "a root of its own" if self.own_root else "no root of its own",
        ]
        return f"{describe(self.layers) or 'nothing'} ({', '.join(walls)})"


def probe(confinement: Confinement) -> Offer:
    """Confine a child and inspect it; no layers if none can be started."""
    nothing = Offer(Layer(0), 0, False)
    try:
        child = launch(
            [sys.executable, "-I", "-c", PROGRAM, confinement.encode()], confinement, pipes=True
        )
    except OSError:
        return nothing
    try:
        stream = child.stdout
        if stream is None or not select.select([stream], [], [], WAIT)[0]:
            return nothing
        line = stream.read(8)
        if not line:  # it ended before it was confined
            return nothing
        landlock = int(line)
        return Offer(layers_in_force(child.pid, landlock), landlock, has_own_root(child.pid))
    finally:
        child.end()


def require(confinement: Confinement) -> Offer:
    """Probe before starting children. Raises NotConfined when a required layer is missing."""
    offer = probe(confinement)
    confinement.check(offer.layers)
    return offer


def answer(confined_by: str) -> None:
    """In the child: confine itself, print the Landlock ABI, and wait for the end of input."""
    print(confine(Confinement.decode(confined_by)), flush=True)
    sys.stdin.read()
