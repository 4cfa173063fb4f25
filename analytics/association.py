"""Per-variant statistics: association scan with covariates, allele frequencies, carrier counts.

Rare variants and rare outcomes: a variant needs LEAST_MINOR_ALLELES copies of its rarer allele, and
LEAST_EXPECTED of them expected among the people of the rarer outcome; from two standard deviations
on, p is the saddlepoint approximation's (saddlepoint.py).

Every reported variant helps to infer who was in the cohort, so their number is bounded by the
number of people (disclosure.genomic_bound), and each reported statistic is charged on the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import chi2, norm

from analytics.ancestry import components_by_chromosome, prune
from analytics.cohort import Cohort, clinical_matrix
from analytics.disclosure.counts import (
    Counts,
    Sizes,
    charge,
    filter_counts,
    filter_flow,
    filter_variants,
    genomic_bound,
    least_people,
    perturb_sizes,
)
from analytics.disclosure.noise import Noise
from analytics.disclosure.record import describe_genomic
from analytics.disclosure.rounding import SMALLEST_COUNT
from analytics.disclosure.scan import LEAST_TESTED, Z_STEPS, choose_step, tabulate, tenths
from analytics.disclosure.sites import show_site
from analytics.errors import CohortTooSmall, InputsError
from analytics.params import Params
from analytics.saddlepoint import NORMAL_WITHIN, equivalent_z
from analytics.variants import Variants, stack

Floats = NDArray[np.float64]
NO_COMPONENTS = "too few variants on other chromosomes after LD pruning (a panel)"
Described = tuple[dict[str, object], dict[str, object], int]
QUANTILES = 20  # points of the QQ plot
NEWTON_STEPS = 25
LEAST_MINOR_ALLELES = 10  # copies of the rarer allele, of those whose genotype is known
LEAST_EXPECTED = 10  # of these copies, expected among the people of the rarer outcome
_AT_ONCE = 256  # columns of one saddlepoint search


@dataclass(frozen=True, slots=True)
class Hit:
    """A reported variant: its column, and its printed z in tenths, in steps of `step` tenths."""

    at: int
    step: int
    shown: int


def associate(
    cohort: Cohort, params: Params, progress: Callable[[str, float], None], noise: Noise
) -> Described:
    """(result, disclosure record, m): the variants with the largest |z| that m statistics allow and
    disclosure/scan.py releases, and the QQ quantiles of the scan.

    Logistic score test of each variant (additive, 0, 1, 2 copies), given the clinical covariates
    and the ancestry components of the other chromosomes (ancestry.py). Missing genotypes and
    covariates take the mean of their column. Raises CohortTooSmall when the cohort is too small for
    any statistic.
    """
    sizes = perturb_sizes(noise, cohort.granted, cohort.flow, cohort.subjects, cohort.affected)
    counts = filter_counts(sizes)
    allowed = allowed_statistics(cohort, counts)
    variants = _testable(stack(cohort.genotypes, params.variants), float(cohort.event.mean()))
    progress("components", 0.2)
    dosage = _filled(variants.dosage)
    clinical = _standardised(_filled(clinical_matrix(cohort, params.clinical, noise)))
    independent = prune(dosage, variants.chromosome)
    components = components_by_chromosome(
        dosage[:, independent],
        variants.chromosome[independent],
        np.unique(variants.chromosome).tolist(),
        params.components,
    )
    progress("scan", 0.5)
    z = np.zeros(dosage.shape[1])
    for chromosome in np.unique(variants.chromosome).tolist():
        columns = np.flatnonzero(variants.chromosome == chromosome)
        ancestry = components.get(chromosome, np.empty((len(dosage), 0)))
        covariates = np.hstack([clinical, ancestry])
        z[columns] = score_test(dosage[:, columns], cohort.event, covariates)
    top = _choose(z, variants.dosage, cohort, params.statistics)
    if not top:
        raise CohortTooSmall(
            "for no variant would five tables of genotypes and outcomes fit the printed result"
        )
    # Computed from the printed values alone, since the ledger shows the sum.
    largest = np.array([(abs(hit.shown) + hit.step / 2) / 10 for hit in top])
    spent = np.ceil(np.cumsum(selection_costs(largest, len(z)))).astype(np.int64)
    top = top[: int((spent <= allowed).sum())]
    if not top:
        most = float(selection_costs(np.array([np.inf]), len(z))[0])
        raise CohortTooSmall(
            f"a variant chosen among so many for its size may count as {ceil(most)} statistics, "
            "more than those who are surely in the cohort bear (0.128 each); "
            "named sites count once each"
        )
    result = _head(cohort, variants, sizes) | {
        "build": cohort.genotypes[0].sites.build,
        "covariates": list(params.clinical),
        "components": params.components if components else 0,
        "rows": [_describe_row(variants, hit) for hit in top],
        "quantiles": [],
    }
    if params.components and not components:
        result["components_omitted"] = NO_COMPONENTS
    numbers: dict[str, object] = {"people": counts.people, "events": counts.events}
    # With few distinct variants, the quantiles would reveal the z of one variant and undo its
    # rounding.
    if len({column.tobytes() for column in np.ascontiguousarray(dosage.T)}) >= LEAST_TESTED:
        result["quantiles"] = _quantiles(np.delete(z, [hit.at for hit in top]), len(top))
        numbers["inflation"] = _inflation(z, len(top))
        numbers["inflation_interval"] = _inflation_interval(z, len(top), int(independent.sum()))
    result |= {name: value for name, value in numbers.items() if value is not None}
    m = int(spent[len(top) - 1])
    disclosure = describe_genomic(counts, m, params.statistics - len(top), allowed, scan=result)
    return result, disclosure, charge(m, cohort.granted, charged_people(cohort, counts))


def count_alleles(
    cohort: Cohort, params: Params, progress: Callable[[str, float], None], noise: Noise
) -> Described:
    """(result, disclosure record, m): frequency (percent, in steps of `step`) and carriers (rounded
    to 5) of each named site, if disclosure/sites.py releases them.

    Both count towards m, printed or not. Raises InputsError for a site that the files do not have,
    or for more sites than the number of people allows. No site is left out for its frequency or its
    Hardy-Weinberg p: leaving it out would reveal how many people carry it.
    """
    sizes = perturb_sizes(noise, cohort.granted, cohort.flow, cohort.subjects, ())
    counts = filter_counts(sizes)
    allowed, requested = allowed_statistics(cohort, counts), 2 * len(params.sites)
    if requested > allowed:
        raise InputsError(
            "more sites are requested than this number of people allows",
            "Name fewer sites: each costs two statistics, and each person allows 0.128.",
        )
    variants = stack(cohort.genotypes, replace(params.variants, min_maf=0.0, min_hwe=0.0))
    column_of = {name: number for number, name in enumerate(variants.names)}
    if any(site not in column_of for site in params.sites):
        raise InputsError(
            "a named site is not among the variants that passed the filter",
            "Compare the sites with the dataset's variants and the filter of the run.",
        )
    progress("count", 0.5)
    rows = [
        {"variant": site, **_describe_site(variants.dosage[:, column_of[site]])}
        for site in params.sites
    ]
    result = _head(cohort, variants, sizes) | {"rows": rows}
    if counts.people is not None:
        result["people"] = counts.people
    disclosure = describe_genomic(counts, requested, 0, allowed, rows)
    return result, disclosure, charge(requested, cohort.granted, charged_people(cohort, counts))


def allowed_statistics(cohort: Cohort, counts: Counts) -> int:
    """The genomic bound, computed from printed counts if they reveal less than the exact number; at
    most what the ledger accepts when it is charged to everybody granted."""
    bound = genomic_bound(min(cohort.people, least_people(counts)))
    return min(
        bound, genomic_bound(cohort.granted) * charged_people(cohort, counts) // cohort.granted
    )


def charged_people(cohort: Cohort, counts: Counts) -> int:
    """The number of people charged for the statistics: everybody granted if fewer than 10 were left
    out, since that number is not printed."""
    return cohort.granted if counts.people is None else min(cohort.people, least_people(counts))


def score_test(
    dosage: Floats,
    event: NDArray[np.int64],
    covariates: Floats,
    normal_within: float = NORMAL_WITHIN,
) -> Floats:
    """(m,) z of each column; 0 for a column without information.

    Within `normal_within` standard deviations the signed square root of the efficient score
    statistic, further out the z of the saddlepoint's p. dosage: (n, m) without NaN; event: (n,) 0
    or 1; covariates: (n, c), an intercept is added. McCullagh & Nelder 1989, section 4; the null
    model is fitted once, for all columns.
    """
    design = np.column_stack([np.ones(len(event)), covariates])
    probability = expit(design @ _fit_logistic(design, event))
    weight = probability * (1 - probability)
    score = dosage.T @ (event - probability)
    cross = design.T @ (weight[:, None] * dosage)
    explained = np.linalg.pinv(design.T @ (weight[:, None] * design)) @ cross
    information = weight @ dosage**2 - np.einsum("ij,ij->j", cross, explained)
    z: Floats = np.zeros(dosage.shape[1])
    informed = information > 1e-9 * len(event)
    z[informed] = score[informed] / np.sqrt(information[informed])
    far = np.flatnonzero(np.abs(z) > normal_within)
    for first in range(0, len(far), _AT_ONCE):
        at = far[first : first + _AT_ONCE]
        z[at] = equivalent_z(score[at], dosage[:, at] - design @ explained[:, at], probability)
    return z


def _choose(z: Floats, dosage: Floats, cohort: Cohort, most: int) -> list[Hit]:
    """The at most `most` variants with the largest printed |z|, except those that no step hides.

    Order and choice depend only on the printed z: order by the exact z would reveal between which
    two a coarser z lies.
    """
    share, hits = float(cohort.event.mean()), list[Hit]()
    for at in np.argsort(-np.abs(z), kind="stable").tolist():
        # No step could place this variant, or any later one, before the last of the printed ones.
        if len(hits) >= most and abs(hits[most - 1].shown) > 10 * abs(z[at]) + Z_STEPS[-1] / 2:
            break
        step = choose_step(tabulate(dosage[:, at], cohort.event), share, cohort.people)
        if step:
            hits.append(Hit(at, step, int(tenths(z[at], step))))
            hits.sort(key=lambda hit: (-abs(hit.shown), hit.at))
    return hits[:most]


def selection_costs(z: Floats, tested: int) -> Floats:
    """The number of statistics that each z counts as, since it was selected for its size.

    A z selected for its size fits its own cohort: membership inference from it is as good as from
    z^2 statistics that were named beforehand (simulated in the tests: AUC 0.71 to 0.75 from the top
    0.128 N, instead of 0.60). Chance alone does not exceed about 2 ln(tested); the part of z^2
    above that is true of the whole population.
    """
    most = max(1.0, 2 * np.log(tested))
    costs: Floats = np.clip(z**2, 1.0, most)
    return costs


def _testable(variants: Variants, share: float) -> Variants:
    """Keep variants whose z is calibrated, and whose z says nothing of few people: copies of the
    rarer allele, and 10 carriers and 10 known others. share: of the people, with the event."""
    known = (~np.isnan(variants.dosage)).sum(axis=0)
    copies = np.nansum(variants.dosage, axis=0)
    minor = np.minimum(copies, 2 * known - copies)
    carriers, non_carriers = (variants.dosage > 0).sum(axis=0), (variants.dosage == 0).sum(axis=0)
    kept, flow = np.ones(len(variants.names), np.bool_), list(variants.flow)
    for rule, good in (
        ("few-minor-alleles", minor >= LEAST_MINOR_ALLELES),
        ("few-expected-in-rarer-outcome", minor * min(share, 1 - share) >= LEAST_EXPECTED - 1e-9),
        ("few-carriers", np.minimum(carriers, non_carriers) >= SMALLEST_COUNT),
    ):
        flow.append((rule, int((kept & ~good).sum())))
        kept &= good
    if not kept.any():
        raise CohortTooSmall(
            "no variant meets the rules and has ten carriers, ten others, ten copies of its rarer "
            "allele, and ten of them expected among the people of the rarer outcome"
        )
    return Variants(
        tuple(variants.names[at] for at in np.flatnonzero(kept)),
        variants.chromosome[kept],
        variants.position[kept],
        variants.dosage[:, kept],
        variants.frequency[kept],
        tuple(flow),
    )


def _filled(x: Floats) -> Floats:
    """Replace missing values by the mean of their column; an entirely missing column becomes 0."""
    seen = ~np.isnan(x)
    means = np.where(seen, x, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    filled: Floats = np.where(seen, x, means)
    return filled


def _standardised(x: Floats) -> Floats:
    """Scale columns to mean 0, variance 1, for a well-conditioned fit; a constant one becomes 0."""
    spread = x.std(axis=0)
    scaled: Floats = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def _fit_logistic(design: Floats, event: NDArray[np.int64]) -> Floats:
    """Coefficients by Newton's method; a small ridge keeps separable data finite."""
    ridge = 1e-6 * np.eye(design.shape[1])
    beta: Floats = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = expit(design @ beta)
        hessian = design.T @ ((probability * (1 - probability))[:, None] * design) + ridge
        step = np.linalg.solve(hessian, design.T @ (event - probability) - ridge @ beta)
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return beta


def _head(cohort: Cohort, variants: Variants, sizes: Sizes) -> dict[str, object]:
    return {
        "granted": cohort.granted,
        "flow": [
            {"step": name, "people": people}
            for name, people in filter_flow(sizes.granted, sizes.flow)
        ],
        "variants": filter_variants(len(variants.names), variants.flow),
        "kinship": cohort.relatives.reach,
    }


def _describe_row(variants: Variants, hit: Hit) -> dict[str, object]:
    """The printed row of a variant: z in steps of `step`, and the p value of this rounded z."""
    z = hit.shown / 10
    return {
        "variant": variants.names[hit.at],
        "z": f"{z:.1f}",
        "step": f"{hit.step / 10:.1f}",
        "p": f"{2 * norm.sf(abs(z)):.1e}",
    }


def _inflation(z: Floats, printed: int) -> str | None:
    """Genomic inflation, median z^2 over its expectation, to one decimal; None if too few variants.

    With few variants the median would reveal the z^2 of one variant and undo its rounding.
    """
    if len(z) < max(LEAST_TESTED, 2 * (printed + SMALLEST_COUNT)):
        return None
    return f"{np.median(z**2) / chi2.ppf(0.5, 1):.1f}"


def _inflation_interval(z: Floats, printed: int, independent: int) -> list[str] | None:
    """95 % interval of the inflation, one decimal each; None where _inflation is, or where an end
    would lie among the 10 largest that are not printed, or the 10 smallest.

    Distribution-free, from order statistics of z^2 (David & Nagaraja 2003, 7.1): the shares of a
    sample below its median are 0.5 +- 1.96 * 0.5 / sqrt(independent), where `independent` variants
    are left after LD pruning, since linked ones repeat each other.
    """
    if _inflation(z, printed) is None:
        return None
    half = norm.ppf(0.975) * 0.5 / np.sqrt(independent)
    ranks = [round(len(z) * (0.5 - half)), round(len(z) * (0.5 + half))]
    if ranks[0] < SMALLEST_COUNT or ranks[1] > len(z) - printed - SMALLEST_COUNT:
        return None
    ordered = np.sort(z**2)
    return [f"{ordered[rank - 1] / chi2.ppf(0.5, 1):.1f}" for rank in ranks]


def _quantiles(z: Floats, printed: int) -> list[object]:
    """(expected, observed) -log10 p, one decimal each, at ranks at least 10 variants apart.

    z: of the variants that are not printed; `printed` others rank before them, and no quantile
    reveals more of those.
    """
    ordered = np.sort(chi2.sf(z**2, 1))
    m = len(ordered)
    ranks = sorted({int(rank) for rank in np.geomspace(10, m, QUANTILES)}) if m >= 10 else []
    kept: list[int] = []
    for rank in ranks:
        if not kept or rank - kept[-1] >= 10:
            kept.append(rank)
    return [
        [
            f"{-np.log10((printed + rank - 0.5) / (printed + m)):.1f}",
            f"{-np.log10(max(ordered[rank - 1], 1e-300)):.1f}",
        ]
        for rank in kept
    ]


def _describe_site(dosage: Floats) -> dict[str, object]:
    """The released numbers (show_site) of a column of genotypes; NaN is unknown and not counted."""
    ref, het, hom = (int((dosage == copies).sum()) for copies in (0, 1, 2))
    return dict(show_site(ref, het, hom))
