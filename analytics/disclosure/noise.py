"""Keyed noise: every printed number of people or of an outcome is perturbed before it is rounded.

The noise of a number follows from the dataset's secret key, the question that is asked, and the
set of distinct people behind the number: asked again, the same question gives the same number; a
row that is doubled or moved changes nothing; another set has other noise. The same idea as the cell
keys of the Australian Bureau of Statistics (Fraser & Wooton 2005; Thompson, Broadfoot & Elazar
2013), with two parts:

- a shared part, carried by the people: each person has a hidden number for each measure, and the
  part is the sum of the numbers in the set over the root of its size. Sets that share most people
  share most of it, so averaging over many cohorts, models or seeds does not take it away, nor does
  one measure that has another's noise;
- a part of the set's own, which another set and another question draw anew: so the difference of
  two sets that differ by one person is as noisy as each, and two answers about cohorts that differ
  by one person are never equal because she is not among those who are counted.

Both are normal, with standard deviations SHARED and OWN in people, and together at most BOUND. Who
knows everything about everybody but one person's outcome, and reads one number, orders two such
people rightly in 55 % (tests/analytics/test_disclosure_noise.py). A share or a rank moves by less
than one person when one outcome changes, so its noise is a fraction (RATE, RANK) of a person's.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np

from analytics.errors import NoiseKeyMissing

KEY_BYTES = 32
# Standard deviations, in people.
SPREAD = 5.0  # of both together
SHARED = 3.5
OWN = (SPREAD**2 - SHARED**2) ** 0.5
BOUND = 15  # people: three times the spread
# Of the noise of a count: of the numerator of a share whose denominator has the same person, and of
# a measure of ranks (AUC, concordance) or of probabilities, in people of the rarer outcome.
RATE, RANK = 0.6, 0.3
BRIER = (
    1.5  # one outcome moves the scaled Brier score further: by up to 2, for confident predictions
)
ERROR = 0.6  # of a standard error, as a share of it
# What a set of people is: those with the event, or any others.
EVENT, PERSON = "event", "person"
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of one dataset. Raises NoiseKeyMissing unless the key has 32 bytes.

    question: a digest of what is asked about whose records (`of_question`); "" for none.
    """

    key: bytes = field(repr=False)
    question: str = ""
    _carried: dict[tuple[str, str], float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise NoiseKeyMissing("the key of the dataset's noise is missing")

    def of_question(self, question: str) -> Noise:
        """The noise of the answers to one question: what people carry is the same, all else its own."""
        return replace(self, question=question)

    def count(self, kind: str, people: Collection[str], cell: str = "") -> int:
        """The perturbed number of distinct people: an integer, at least 0. kind: EVENT or PERSON;
        cell: which number, where several are of the same people.
        """
        return max(0, len(set(people)) + round(self.shift(kind, people, f"people of {cell}")))

    def shift(
        self, kind: str, people: Collection[str], cell: str = "", value: float = 0.0
    ) -> float:
        """The noise in people, within BOUND, of a statistic of these people.

        cell, value: which statistic ("AUC of genes": the measure, then of what), and its exact
        value where other settings of a model give another; they draw another own part, so that no
        difference of two statistics is exact.
        """
        distinct = sorted(set(people))
        carried = f"{kind} {cell.partition(' of ')[0]}"
        shared = (
            sum(self._carry(carried, person) for person in distinct) / max(1, len(distinct)) ** 0.5
        )
        own = self._normal("set", self.question, kind, cell, f"{value:.6f}", *distinct)
        return float(np.clip(SHARED * shared + OWN * own, -BOUND, BOUND))

    def uniform(self, purpose: str, people: Collection[str]) -> float:
        """A number from 0 to below 1, all equally likely, for a decision about these people. It is
        the same for every question: who asks again in other words is not decided about anew.
        """
        return (self._draw("uniform", purpose, *sorted(set(people))) >> 11) / 2**53

    def seed(self, purpose: str, people: Collection[str], seed: int) -> int:
        """A seed that only who has the key can compute, for draws that an attacker must not repeat."""
        return self._draw("seed", self.question, purpose, str(seed), *sorted(set(people))) >> 1

    def _carry(self, measure: str, person: str) -> float:
        at = (measure, person)
        if at not in self._carried:
            self._carried[at] = self._normal("person", measure, person)
        return self._carried[at]

    def _normal(self, *of: str) -> float:
        return _NORMAL.inv_cdf(((self._draw(*of) >> 11) + 0.5) / 2**53)

    def _draw(self, *of: str) -> int:
        """64 bits: HMAC-SHA-256 (RFC 2104) of texts that hold no zero."""
        return int.from_bytes(hmac.digest(self.key, "\0".join(of).encode(), "sha256")[:8], "big")
