"""Many people's packed genotypes as one matrix of variants that are good enough, chosen without looking at outcomes.

Does not know who is a case: every filter reads genotypes alone, so it cannot carry an outcome into a fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from analytics.errors import InputsError
from analytics.params import VariantRules
from analytics.readers.genotypes import MISSING, Genotypes, Sites

LEAST_SHARED = (
    100  # informative variants that two people must have in common before anything is said
)
_INFORMATIVE = 0.05  # smallest frequency of the rarer allele: at rare variants all people agree
_BLOCK = 4096  # variants of one matrix product


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """names: "1:12345:A>G"; chromosome, position (m,); dosage (n, m) of ALT, NaN for missing; frequency (m,) of ALT;
    flow: (rule, variants removed by it), in order."""

    names: tuple[str, ...]
    chromosome: NDArray[np.uint8]
    position: NDArray[np.uint32]
    dosage: NDArray[np.float64]
    frequency: NDArray[np.float64]
    flow: tuple[tuple[str, int], ...]


def stack(people: Sequence[Genotypes], rules: VariantRules) -> Variants:
    """One row for each of `people`, in their order, and one column for each variant that meets the rules, or none.

    Variants are joined by chromosome, position and alleles; one that a file lacks is left out for everybody, since
    absent is not homozygous reference. Raises InputsError.
    """
    if not people:
        raise InputsError("genotypes: there is nobody")
    files = {person.sites.digest: person.sites for person in people}
    if len({sites.build for sites in files.values()}) != 1:
        raise InputsError(
            "genotypes: the records are of different genome builds",
            "Call everybody on one build; positions are never converted.",
        )
    places, largest = _join(list(files.values()))
    calls = np.stack([_trusted(person, rules)[places[person.sites.digest]] for person in people])
    first = next(iter(files.values()))
    chosen = places[first.digest]
    passed = np.logical_and.reduce(
        [sites.passed[places[digest]] for digest, sites in files.items()]
    )
    kept, frequency, flow = _filter(calls, passed, rules)
    dosage = np.where(calls[:, kept] == MISSING, np.nan, calls[:, kept])
    names = first.names()
    return Variants(
        tuple(names[i] for i in chosen[kept]),
        first.chromosome[chosen[kept]],
        first.position[chosen[kept]],
        dosage,
        frequency[kept],
        (("not-in-every-file", largest - len(chosen)), *flow),
    )


def hardy_weinberg_p(
    homozygous: NDArray[np.int64], heterozygous: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Exact p (m,) of the observed numbers of heterozygotes under Hardy-Weinberg equilibrium; 1 without calls.

    The two-sided test of Wigginton, Cutler and Abecasis (2005), https://doi.org/10.1086/429864: the probability of
    every possible number of heterozygotes that is not more likely than the observed one, alleles being given.
    """
    people = homozygous + heterozygous + other
    rare = 2 * np.minimum(homozygous, other) + heterozygous
    cases, where = np.unique(np.stack([people, rare, heterozygous]), axis=1, return_inverse=True)
    p = np.ones(cases.shape[1])
    before, probabilities = (-1, -1), np.ones(1)
    for i, (n, a, h) in enumerate(cases.T.tolist()):  # sorted: equal (n, a) follow each other
        if (n, a) != before:
            before, probabilities = (n, a), _probabilities(n, a)
        p[i] = probabilities[probabilities <= probabilities[(h - a % 2) // 2] * (1 + 1e-9)].sum()
    return np.asarray(np.minimum(p, 1.0)[where.ravel()])


def _join(files: Sequence[Sites]) -> tuple[dict[bytes, NDArray[np.intp]], int]:
    """Where the variants that all files have stand in each of them, in the first one's order; and the largest number
    of variants in one file."""
    largest = max(len(sites.alleles) for sites in files)
    if len(files) == 1:
        return {files[0].digest: np.arange(largest)}, largest
    at = [{name: i for i, name in enumerate(sites.names())} for sites in files]
    common = [name for name in at[0] if all(name in other for other in at[1:])]
    return {
        sites.digest: np.array([place[name] for name in common], np.intp)
        for sites, place in zip(files, at, strict=True)
    }, largest


def _trusted(person: Genotypes, rules: VariantRules) -> NDArray[np.int8]:
    """Dosages (n,), missing where depth or quality are given and too low."""
    trusted = person.is_trusted(rules.min_depth, rules.min_quality)
    return np.where(trusted, person.dosage, np.int8(MISSING))


def _filter(
    calls: NDArray[np.int8], passed: NDArray[np.bool_], rules: VariantRules
) -> tuple[NDArray[np.bool_], NDArray[np.float64], tuple[tuple[str, int], ...]]:
    """Which variants stay (m,), the frequency of ALT (m,), and what each rule removed of those before it."""
    none, one, two = (np.count_nonzero(calls == dosage, axis=0) for dosage in (0, 1, 2))
    called = none + one + two
    frequency = (one + 2 * two) / np.maximum(2 * called, 1)
    meets = (
        ("not-passed", passed if rules.passed_only else np.ones_like(passed)),
        ("call-rate", (called > 0) & (called / len(calls) >= rules.min_call_rate)),
        ("allele-frequency", np.minimum(frequency, 1 - frequency) >= rules.min_maf),
        ("hardy-weinberg", hardy_weinberg_p(none, one, two) >= rules.min_hwe),
    )
    kept, flow = np.ones(calls.shape[1], np.bool_), []
    for rule, good in meets:
        flow.append((rule, int((kept & ~good).sum())))
        kept &= good
    return kept, frequency, tuple(flow)


def _probabilities(n: int, rare: int) -> NDArray[np.float64]:
    """Probability of each possible number of heterozygotes (of the parity of `rare`, rising) among n people."""
    heterozygous = np.arange(rare % 2, rare + 1, 2)
    logs = heterozygous * np.log(2.0) - (
        gammaln(heterozygous + 1)
        + gammaln((rare - heterozygous) / 2 + 1)
        + gammaln((2 * n - rare - heterozygous) / 2 + 1)
    )
    probabilities = np.exp(logs - logs.max())
    return np.asarray(probabilities / probabilities.sum())
