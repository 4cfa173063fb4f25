"""Per-variant statistics: an association scan with covariates, allele frequencies and carrier counts.

Every variant that is reported on helps to tell who was in the cohort, so their number is bounded by the people
(disclosure.genomic_bound), and what was reported is spent on the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import chi2, norm

from analytics.cohort import Cohort, clinical_matrix
from analytics.disclosure.counts import (
    SMALLEST_COUNT,
    Counts,
    charge,
    filter_counts,
    filter_flow,
    filter_variants,
    genomic_bound,
    least_people,
)
from analytics.disclosure.record import describe_genomic
from analytics.disclosure.scan import LEAST_TESTED, Z_STEPS, choose_step, tabulate, tenths
from analytics.disclosure.sites import show_site
from analytics.errors import CohortTooSmall, InputsError
from analytics.params import Params
from analytics.variants import Variants, stack

Floats = NDArray[np.float64]
Described = tuple[dict[str, object], dict[str, object], int]
QUANTILES = 20  # points of the QQ plot
NEWTON_STEPS = 25


@dataclass(frozen=True, slots=True)
class Hit:
    """A variant that is reported: its column, and its z in tenths as it is printed, in steps of `step` tenths."""

    at: int
    step: int
    shown: int


def associate(cohort: Cohort, params: Params, progress: Callable[[str, float], None]) -> Described:
    """(result, disclosure record, m): the variants with the largest |z| that m statistics pay for, as far as
    disclosure_scan lets them out, and the scan's QQ quantiles.

    Logistic score test of each variant (additive, 0, 1, 2 copies), given the clinical covariates and the principal
    components of the genotypes. Missing genotypes and covariates take their mean. Raises CohortTooSmall when the
    people bear no statistic.
    """
    counts = filter_counts(
        granted=cohort.granted, people=cohort.people, events=int(cohort.event.sum())
    )
    allowed = _allowed(cohort, counts)
    variants = _with_carriers(stack(cohort.genotypes, params.variants))
    progress("components", 0.2)
    dosage = _filled(variants.dosage)
    clinical = _standardised(_filled(clinical_matrix(cohort, params.clinical)))
    covariates = np.hstack([clinical, leading_components(dosage, params.components)])
    progress("scan", 0.5)
    z = score_test(dosage, cohort.event, covariates)
    top = _choose(z, variants.dosage, cohort, params.statistics)
    if not top:
        raise CohortTooSmall(
            "of no variant would five tables of genotypes and outcomes fit what is printed"
        )
    # From what is printed alone, since the ledger shows the sum.
    largest = np.array([(abs(hit.shown) + hit.step / 2) / 10 for hit in top])
    spent = np.ceil(np.cumsum(selection_costs(largest, len(z)))).astype(np.int64)
    top = top[: int((spent <= allowed).sum())]
    if not top:
        most = float(selection_costs(np.array([np.inf]), len(z))[0])
        raise CohortTooSmall(
            f"a variant chosen among so many for its size may count as {ceil(most)} statistics, more "
            "than those who are surely in the cohort bear (0.128 each); named sites count once each"
        )
    result = _head(cohort, variants) | {
        "covariates": list(params.clinical),
        "components": params.components,
        "rows": [_describe_row(variants, hit) for hit in top],
        "quantiles": [],
    }
    sizes: dict[str, object] = {"people": counts.people, "events": counts.events}
    # Of few variants, or of many that are the same, they would tell the z of one, and undo its rounding.
    if len({column.tobytes() for column in np.ascontiguousarray(dosage.T)}) >= LEAST_TESTED:
        result["quantiles"] = _quantiles(np.delete(z, [hit.at for hit in top]), len(top))
        sizes["inflation"] = _inflation(z, len(top))
    result |= {name: value for name, value in sizes.items() if value is not None}
    m = int(spent[len(top) - 1])
    disclosure = describe_genomic(counts, m, params.statistics - len(top), allowed, scan=result)
    return result, disclosure, charge(m, cohort.granted, _told_of(cohort, counts))


def count_alleles(
    cohort: Cohort, params: Params, progress: Callable[[str, float], None]
) -> Described:
    """(result, disclosure record, m): frequency (percent, in steps of `step`) and carriers (rounded to 5) of each named
    site, as far as disclosure_sites lets them out.

    Both count towards m, printed or not. Raises InputsError for a site that
    the files do not have or for more than the people bear. No site is left out for its frequency or its
    Hardy-Weinberg p: whether it is would tell how many carry it.
    """
    counts = filter_counts(granted=cohort.granted, people=cohort.people, events=cohort.people)
    allowed, asked = _allowed(cohort, counts), 2 * len(params.sites)
    if asked > allowed:
        raise InputsError(
            "more sites are asked for than so many people bear",
            "Name fewer sites: each costs two statistics, and people bear 0.128 each.",
        )
    variants = stack(cohort.genotypes, replace(params.variants, min_maf=0.0, min_hwe=0.0))
    at = {name: number for number, name in enumerate(variants.names)}
    if any(site not in at for site in params.sites):
        raise InputsError(
            "a named site is not among the variants that passed the filter",
            "Compare the sites with the dataset's variants and the filter of the run.",
        )
    progress("count", 0.5)
    rows = [
        {"variant": site, **_describe_site(variants.dosage[:, at[site]])} for site in params.sites
    ]
    result = _head(cohort, variants) | {"rows": rows}
    if counts.people is not None:
        result["people"] = counts.people
    disclosure = describe_genomic(counts, asked, 0, allowed, rows)
    return result, disclosure, charge(asked, cohort.granted, _told_of(cohort, counts))


def _allowed(cohort: Cohort, counts: Counts) -> int:
    """The genomic bound, from printed counts alone where they tell less than the exact number; at most what the ledger
    takes when it is charged to everybody granted."""
    bound = genomic_bound(min(cohort.people, least_people(counts)))
    return min(bound, genomic_bound(cohort.granted) * _told_of(cohort, counts) // cohort.granted)


def _told_of(cohort: Cohort, counts: Counts) -> int:
    """By how many the statistics are borne: everybody granted where fewer than 10 were left out: nobody learns them."""
    return cohort.granted if counts.people is None else min(cohort.people, least_people(counts))


def score_test(dosage: Floats, event: NDArray[np.int64], covariates: Floats) -> Floats:
    """(m,) signed square root of the efficient score statistic of each column; 0 for a column without information.

    dosage: (n, m) without NaN; event: (n,) 0 or 1; covariates: (n, c), an intercept is added. McCullagh & Nelder
    1989, section 4; the null model is fitted once, for all columns.
    """
    design = np.column_stack([np.ones(len(event)), covariates])
    probability = expit(design @ _fit_logistic(design, event))
    weight = probability * (1 - probability)
    score = dosage.T @ (event - probability)
    cross = design.T @ (weight[:, None] * dosage)
    inverse = np.linalg.pinv(design.T @ (weight[:, None] * design))
    information = weight @ dosage**2 - np.einsum("ij,ij->j", cross, inverse @ cross)
    z: Floats = np.zeros(dosage.shape[1])
    informed = information > 1e-9 * len(event)
    z[informed] = score[informed] / np.sqrt(information[informed])
    return z


def _choose(z: Floats, dosage: Floats, cohort: Cohort, most: int) -> list[Hit]:
    """The largest as they are printed, at most `most` of them; a variant that no step hides is none.

    Order and choice hang on the printed z alone: the exact one would tell between which two a coarser one lies.
    """
    share, found = float(cohort.event.mean()), list[Hit]()
    for at in np.argsort(-np.abs(z), kind="stable").tolist():
        # No step could bring this one, or any after it, before the last of those that are printed.
        if len(found) >= most and abs(found[most - 1].shown) > 10 * abs(z[at]) + Z_STEPS[-1] / 2:
            break
        step = choose_step(tabulate(dosage[:, at], cohort.event), share)
        if step:
            found.append(Hit(at, step, int(tenths(z[at], step))))
            found.sort(key=lambda hit: (-abs(hit.shown), hit.at))
    return found[:most]


def selection_costs(z: Floats, tested: int) -> Floats:
    """How many statistics each reported z counts as, having been chosen for its size among `tested`.

    What is chosen because it is large fits its own cohort: membership inference from it is as good as from z^2
    statistics that were named beforehand (simulated in the tests: AUC 0.71 to 0.75 from the top 0.128 N, instead of
    0.60). Chance does not reach beyond about 2 ln(tested); what a z has above that is true of everybody.
    """
    most = max(1.0, 2 * np.log(tested))
    costs: Floats = np.clip(z**2, 1.0, most)
    return costs


def leading_components(dosage: Floats, count: int) -> Floats:
    """(n, count) principal components of the standardised genotypes (Patterson, Price & Reich 2006), unit length.

    Taken from the n x n relationship matrix, so many variants cost only one product. Signs are fixed.
    """
    if count == 0:
        return np.empty((len(dosage), 0))
    spread = dosage.std(axis=0)
    varies = spread > 0
    scaled = (dosage[:, varies] - dosage[:, varies].mean(axis=0)) / spread[varies]
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    chosen = vectors[:, np.argsort(values)[::-1][:count]]
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])])
    result: Floats = chosen * signs
    return result


def _with_carriers(variants: Variants) -> Variants:
    """The variants of at least 10 carriers and 10 known others: the z of a few would tell their outcome."""
    carriers, others = (variants.dosage > 0).sum(axis=0), (variants.dosage == 0).sum(axis=0)
    kept = np.flatnonzero(np.minimum(carriers, others) >= SMALLEST_COUNT)
    if not len(kept):
        raise CohortTooSmall("no variant meets the rules and has ten carriers and ten others")
    flow = (*variants.flow, ("few-carriers", len(variants.names) - len(kept)))
    return Variants(
        tuple(variants.names[at] for at in kept),
        variants.chromosome[kept],
        variants.position[kept],
        variants.dosage[:, kept],
        variants.frequency[kept],
        flow,
    )


def _filled(x: Floats) -> Floats:
    """Missing values take their column's mean; a column that is missing altogether becomes 0."""
    seen = ~np.isnan(x)
    means = np.where(seen, x, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    filled: Floats = np.where(seen, x, means)
    return filled


def _standardised(x: Floats) -> Floats:
    """Mean 0 and variance 1, so that no unit makes the fit ill-conditioned; a constant column becomes 0."""
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


def _head(cohort: Cohort, variants: Variants) -> dict[str, object]:
    return {
        "granted": cohort.granted,
        "flow": [
            {"step": name, "people": people}
            for name, people in filter_flow(cohort.granted, cohort.flow)
        ],
        "variants": filter_variants(len(variants.names), variants.flow),
    }


def _describe_row(variants: Variants, hit: Hit) -> dict[str, object]:
    """One number a variant: z in steps of `step`, and the p value that this rounded z has."""
    z = hit.shown / 10
    return {
        "variant": variants.names[hit.at],
        "z": f"{z:.1f}",
        "step": f"{hit.step / 10:.1f}",
        "p": f"{2 * norm.sf(abs(z)):.1e}",
    }


def _inflation(z: Floats, printed: int) -> str | None:
    """Median z^2 beside chance's, to one decimal; None of fewer than 100 variants, or near one that is printed.

    Of a single variant it would be its z^2, and undo the rounding of z.
    """
    if len(z) < max(LEAST_TESTED, 2 * (printed + SMALLEST_COUNT)):
        return None
    return f"{np.median(z**2) / chi2.ppf(0.5, 1):.1f}"


def _quantiles(z: Floats, printed: int) -> list[object]:
    """(expected, observed) -log10 p at ranks with at least 10 variants between two of them, one decimal each.

    z: of the variants that are not printed; before them stand `printed` others, of which no quantile tells more.
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
    """What disclosure_sites.show_site lets out of a column of genotypes; NaN is unknown and counts nowhere."""
    ref, het, hom = (int((dosage == copies).sum()) for copies in (0, 1, 2))
    return dict(show_site(ref, het, hom))
