"""Joins many people's packed genotypes into one matrix of quality-filtered variants.

Does not know who is a case: every filter reads only genotypes, so it cannot leak an outcome into a
fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from analytics.errors import InputsError
from analytics.kinship import CUTS, Kinship, Relatives, choose_common, count_genotypes, relate
from analytics.params import VariantRules
from analytics.readers.genotypes import MISSING, Genotypes, Sites


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """names: "1:12345:A>G"; chromosome, position (m,); dosage (n, m) of ALT, NaN for missing;
    frequency (m,) of ALT; flow: (rule, variants removed by it), in order."""

    names: tuple[str, ...]
    chromosome: NDArray[np.uint8]
    position: NDArray[np.uint32]
    dosage: NDArray[np.float64]
    frequency: NDArray[np.float64]
    flow: tuple[tuple[str, int], ...]


def stack(people: Sequence[Genotypes], rules: VariantRules) -> Variants:
    """One row per person, in order, and one column per variant that meets the rules (or none).

    Variants are joined by chromosome, position and alleles; a variant that some file lacks is left
    out for everybody, since absent does not mean homozygous reference. Raises InputsError.
    """
    if not people:
        raise InputsError("genotypes: there are no people")
    files = {person.sites.digest: person.sites for person in people}
    if len({sites.build for sites in files.values()}) != 1:
        raise InputsError(
            "genotypes: the records are of different genome builds",
            "Call everybody on one build; positions are never converted.",
        )
    indices, largest = _join(list(files.values()))
    calls = np.stack([_trusted(person, rules)[indices[person.sites.digest]] for person in people])
    first = next(iter(files.values()))
    chosen = indices[first.digest]
    passed = np.logical_and.reduce(
        [sites.passed[indices[digest]] for digest, sites in files.items()]
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


def find_relatives(
    people: Mapping[str, Genotypes], tick: Callable[[float], None] = lambda fraction: None
) -> Relatives:
    """Who of these people, by subject, have the same genome or belong to one family.

    From the variants that all their files have and that passed in each; no parameter of a run
    changes it. People of different genome builds are not compared: no run analyses both.
    """
    genome: dict[str, int] = {}
    family: dict[str, int] = {}
    reaches = []
    for build in sorted({person.sites.build for person in people.values()}):
        subjects = sorted(name for name in people if people[name].sites.build == build)
        kinship = _compare([people[name] for name in subjects], tick)
        reaches.append(kinship.furthest)
        for labels, degree in ((genome, 0), (family, len(CUTS) - 1)):
            first = len(labels)
            groups = kinship.groups(degree).tolist()
            labels |= {name: first + group for name, group in zip(subjects, groups, strict=True)}
    furthest = min((-1 if reach is None else reach for reach in reaches), default=-1)
    return Relatives(genome, family, None if furthest < 0 else furthest)


def _compare(people: Sequence[Genotypes], tick: Callable[[float], None]) -> Kinship:
    """Kinship of people of one build, in order."""
    files = {person.sites.digest: person.sites for person in people}
    indices, _ = _join(list(files.values()))
    passed = np.logical_and.reduce(
        [sites.passed[indices[digest]] for digest, sites in files.items()]
    )
    indices = {digest: index[passed] for digest, index in indices.items()}
    first = people[0].sites
    counts = np.zeros((3, len(indices[first.digest])), np.int64)
    for person in people:  # one at a time: everybody's variants together may be gigabytes
        counts += count_genotypes(person.dosage[indices[person.sites.digest]][None, :])
    columns = choose_common(counts)
    dosage = np.stack([person.dosage[indices[person.sites.digest][columns]] for person in people])
    chosen = indices[first.digest][columns]
    return relate(dosage, first.chromosome[chosen], first.position[chosen], tick)


def hardy_weinberg_p(
    homozygous: NDArray[np.int64], heterozygous: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Exact p (m,) of the observed heterozygotes under Hardy-Weinberg equilibrium; 1 if no calls.

    The two-sided test of Wigginton, Cutler and Abecasis (2005), https://doi.org/10.1086/429864: the
    probability of every possible number of heterozygotes that is not more likely than the observed
    one, given the alleles.
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
    """For each file the indices of the variants that all files have, in the order of the first; and
    the largest number of variants in one file."""
    largest = max(len(sites.alleles) for sites in files)
    if len(files) == 1:
        return {files[0].digest: np.arange(largest)}, largest
    index_of = [{name: i for i, name in enumerate(sites.names())} for sites in files]
    common = [name for name in index_of[0] if all(name in later for later in index_of[1:])]
    return {
        sites.digest: np.array([index[name] for name in common], np.intp)
        for sites, index in zip(files, index_of, strict=True)
    }, largest


def _trusted(person: Genotypes, rules: VariantRules) -> NDArray[np.int8]:
    """Dosages (n,); missing if depth or quality is given and too low."""
    trusted = person.is_trusted(rules.min_depth, rules.min_quality)
    return np.where(trusted, person.dosage, np.int8(MISSING))


def _filter(
    calls: NDArray[np.int8], passed: NDArray[np.bool_], rules: VariantRules
) -> tuple[NDArray[np.bool_], NDArray[np.float64], tuple[tuple[str, int], ...]]:
    """Variants that stay (m,), the frequency of ALT (m,), and how many each rule removed."""
    no_copy, one_copy, two_copies = (
        np.count_nonzero(calls == dosage, axis=0) for dosage in (0, 1, 2)
    )
    called = no_copy + one_copy + two_copies
    frequency = (one_copy + 2 * two_copies) / np.maximum(2 * called, 1)
    meets = (
        ("not-passed", passed if rules.passed_only else np.ones_like(passed)),
        ("call-rate", (called > 0) & (called / len(calls) >= rules.min_call_rate)),
        ("allele-frequency", np.minimum(frequency, 1 - frequency) >= rules.min_maf),
        ("hardy-weinberg", hardy_weinberg_p(no_copy, one_copy, two_copies) >= rules.min_hwe),
    )
    kept, flow = np.ones(calls.shape[1], np.bool_), []
    for rule, good in meets:
        flow.append((rule, int((kept & ~good).sum())))
        kept &= good
    return kept, frequency, tuple(flow)


def _probabilities(n: int, rare: int) -> NDArray[np.float64]:
    """Probability of each number of heterozygotes (parity of `rare`, rising) among n people."""
    heterozygous = np.arange(rare % 2, rare + 1, 2)
    logs = heterozygous * np.log(2.0) - (
        gammaln(heterozygous + 1)
        + gammaln((rare - heterozygous) / 2 + 1)
        + gammaln((2 * n - rare - heterozygous) / 2 + 1)
    )
    probabilities = np.exp(logs - logs.max())
    return np.asarray(probabilities / probabilities.sum())
