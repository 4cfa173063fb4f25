"""Which layers of confinement are wanted, which are required, and the error when a required one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Self

from api.confinement.interpreter import find_readable
from api.errors import ApiError

NEWEST_LANDLOCK = 6  # the newest ABI whose rights are known here; newer kernels offer it too


class Layer(IntFlag):
    """One layer of confinement each; the package's docstring says what each is for."""

    NETWORK = 1
    PROCESSES = 2
    FILES = 4
    CALLS = 8


ALL = Layer.NETWORK | Layer.PROCESSES | Layer.FILES | Layer.CALLS
MEANS = {
    Layer.NETWORK: "a network namespace of its own",
    Layer.PROCESSES: "a process namespace of its own",
    Layer.FILES: "files shut off by Landlock or a mount namespace",
    Layer.CALLS: "system calls filtered by seccomp and the command line hidden",
}


class NotConfined(ApiError):
    """This host cannot confine a child as it must be; the message names the missing layers."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a child is confined by: every wanted layer that the host offers, and never less than the required ones.

    `landlock` is the newest Landlock ABI to use (0: none), `mounts` whether the child gets a root of its own.
    """

    wanted: Layer = ALL
    required: Layer = ALL
    landlock: int = NEWEST_LANDLOCK
    mounts: bool = True

    @classmethod
    def of(cls, relax: str, home: Path) -> Self:
        """By the setting VOLENS_RELAX: with `isolation` nothing is required, and what the host offers is used.

        Raises NotConfined for a home folder that a child could read.
        """
        if relax == "isolation":
            return cls(required=Layer(0))
        place = home.resolve()
        if any(place.is_relative_to(Path(path).resolve()) for path in find_readable()):
            raise NotConfined(
                "the home folder lies among the libraries that a child may read",
                "move it to a folder of its own, and set VOLENS_HOME",
            )
        return cls()

    def encode(self) -> str:
        """For the command line of the child."""
        return f"{int(self.wanted)}:{int(self.required)}:{self.landlock}:{int(self.mounts)}"

    @classmethod
    def decode(cls, text: str) -> Self:
        wanted, required, landlock, mounts = map(int, text.split(":"))
        return cls(Layer(wanted), Layer(required), landlock, bool(mounts))

    def check(self, in_force: Layer) -> Layer:
        """The layers that are missing, as a bit mask (0: none). Raises NotConfined for a required one."""
        if lacking := self.required & ~in_force:
            raise NotConfined(f"a child that reads plaintext would lack {describe(lacking)}", HINT)
        return ALL & ~in_force


HINT = (
    "use a host with user namespaces, seccomp, checkpoint/restore, and Landlock or mount namespaces; or set "
    "VOLENS_RELAX=isolation, which every report will show"
)


def describe(layers: Layer) -> str:
    """The layers in words, by commas."""
    return ", ".join(means for layer, means in MEANS.items() if layer in layers)
