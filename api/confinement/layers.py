"""The layers of confinement: which are wanted, which are required, the error for a missing one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Self

from api.confinement.interpreter import find_readable
from api.errors import ApiError

NEWEST_LANDLOCK = 6  # the newest ABI whose rights are known here; newer kernels offer it too


class Layer(IntFlag):
    """The layers of confinement, described in the package's docstring."""

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
    """This host cannot confine a child as required; the message names the missing layers."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """A child's confinement: every wanted layer that the host offers, at least the required ones.

    `landlock` is the newest Landlock ABI to use (0: none), `mounts` whether the child gets a root
    of its own.
    """

    wanted: Layer = ALL
    required: Layer = ALL
    landlock: int = NEWEST_LANDLOCK
    mounts: bool = True

    @classmethod
    def of(cls, relax: str, home: Path) -> Self:
        """From the setting VOLENS_RELAX: with `isolation` no layer is required, only what the host
        offers.

        Raises NotConfined for a home folder that a child could read.
        """
        if relax == "isolation":
            return cls(required=Layer(0))
        folder = home.resolve()
        if any(folder.is_relative_to(Path(path).resolve()) for path in find_readable()):
            raise NotConfined(
                "the home folder is among the libraries that a child may read",
                "move it to a separate folder, and set VOLENS_HOME",
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
        """The layers that are missing, as a bit mask (0: none).

        Raises NotConfined for a required one.
        """
        if lacking := self.required & ~in_force:
            raise NotConfined(f"a child that reads plaintext would lack {describe(lacking)}", HINT)
        return ALL & ~in_force


HINT = (
    "use a host with user namespaces, seccomp, checkpoint/restore, and Landlock or mount namespaces; "
    "or set VOLENS_RELAX=isolation, which every report will show"
)


def describe(layers: Layer) -> str:
    """The layers in words, separated by commas."""
    return ", ".join(means for layer, means in MEANS.items() if layer in layers)
