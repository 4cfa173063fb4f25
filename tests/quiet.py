"""Keys of noise for tests, and noise that adds nothing, for tests of what is computed before it."""

from __future__ import annotations

from collections.abc import Collection

from analytics.disclosure.noise import KEY_BYTES, Noise

NOISE_KEY = b"n" * KEY_BYTES
NOISE = Noise(NOISE_KEY)
OPEN_KEY = b"\4" * KEY_BYTES  # little is withheld with it in the tests' small runs


class Quiet(Noise):
    """Every number as it is."""

    def shift(
        self, kind: str, people: Collection[str], cell: str = "", value: float = 0.0
    ) -> float:
        return 0.0

    def uniform(self, purpose: str, people: Collection[str]) -> float:
        return 1 - 2**-53


QUIET = Quiet(NOISE_KEY)


def subjects(people: int) -> tuple[str, ...]:
    """Ids of so many people."""
    return tuple(f"{number:064x}" for number in range(people))
