"""Genotypes of related people, by Mendelian transmission of their founders' haplotypes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.kinship import STRETCH

CHROMOSOMES, STRETCHES = 22, 4
CROSSOVER = 0.1  # between two stretches of 10 million bases


@dataclass(frozen=True)
class Person:
    """haplotypes: (2, variants) of 0 and 1, of mother and father."""

    haplotypes: np.ndarray


class Population:
    """Founders and their descendants, with the same number of variants in each stretch."""

    def __init__(self, seed: int, variants_a_stretch: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._each = variants_a_stretch
        m = CHROMOSOMES * STRETCHES * variants_a_stretch
        self._frequency = self._draw.uniform(0.1, 0.9, m)
        chromosome, rest = np.divmod(np.arange(m), STRETCHES * variants_a_stretch)
        self.chromosome = (chromosome + 1).astype(np.uint8)
        self.position = (1 + rest * (STRETCH // variants_a_stretch)).astype(np.uint32)

    def founder(self) -> Person:
        alleles = self._draw.random((2, len(self._frequency))) < self._frequency
        return Person(alleles.astype(np.int8))

    def child(self, mother: Person, father: Person) -> Person:
        return Person(np.stack([self._gamete(mother), self._gamete(father)]))

    def _gamete(self, parent: Person) -> np.ndarray:
        switches = self._draw.random((CHROMOSOMES, STRETCHES)) < CROSSOVER
        switches[:, 0] = self._draw.random(CHROMOSOMES) < 0.5
        side = np.repeat((np.cumsum(switches, axis=1) % 2).ravel(), self._each)
        return np.where(side == 0, *parent.haplotypes)

    def genotypes(self, *people: Person, missing: float = 0.02) -> np.ndarray:
        """(people, variants) of 0, 1, 2, and -1 for a missing call."""
        dosage = np.stack([person.haplotypes.sum(axis=0) for person in people]).astype(np.int8)
        dosage[self._draw.random(dosage.shape) < missing] = -1
        return dosage
