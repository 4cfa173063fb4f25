"""Runs that look for clusters of people, and what of them is printed: sizes, outcomes, what each
is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analytics.clusterings import REGISTERED
from analytics.clusters import MOST_CLUSTERS, Clusters, Data, find_clusters, gather_data
from analytics.cohort import NOT_CENSORED, Cohort
from analytics.disclosure.clusters import (
    LARGEST_P,
    Member,
    choose_number,
    describe_cluster,
    describe_means,
    list_coarsened,
    list_withheld,
    order_by_size,
    perturb_measure,
)
from analytics.disclosure.counts import (
    PROFILES_NEEDED,
    Counts,
    Sizes,
    filter_counts,
    filter_flow,
    filter_variants,
    left_out_at,
)
from analytics.disclosure.explanations import tells_enough_apart
from analytics.disclosure.noise import RATE, Noise
from analytics.disclosure.record import describe_clusters
from analytics.disclosure.rounding import print_p
from analytics.params import Params
from analytics.prediction import FeatureSets, perturbation_of, sizes_of

Progress = Callable[[str, float], None]


def cluster_people(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, noise: Noise, progress: Progress
) -> tuple[dict[str, object], dict[str, object]]:
    """(result, disclosure record) as printed; withheld numbers are absent, with a reason."""
    sizes = sizes_of(cohort, noise)
    counts = filter_counts(sizes)
    data = _gather(feature_sets, params)
    few = perturbation_of(cohort, noise).profiles(data.x) < PROFILES_NEEDED
    result = _describe_cohort(cohort, feature_sets, params, sizes, counts)
    progress("cluster", 0.0)
    described: dict[str, Any] = {"rows": [], "profiles": []}
    more = False
    if not few:
        clusters = find_clusters(
            REGISTERED[params.method],
            data,
            [params.clusters] if params.clusters else range(2, MOST_CLUSTERS + 1),
            params.resamples,
            params.references,
            lambda silhouettes: choose_number(noise, cohort.subjects, sizes, silhouettes),
            lambda part: progress("cluster", part),
        )
        more = clusters.p <= LARGEST_P
        described = _describe(clusters, data, cohort, feature_sets, noise) | _measures(
            clusters, cohort, noise, sizes, params
        )
    progress("filter", 1.0)
    rows, profiles = described["rows"], described["profiles"]
    record = describe_clusters(
        counts,
        list_coarsened(rows, profiles),
        list_withheld(rows, more, few),
        bool(feature_sets.flow),
    )
    return result | described, record


def _gather(feature_sets: FeatureSets, params: Params) -> Data:
    rules = params.genes
    keep, components = (1, 1) if rules is None else (rules.keep, rules.components)
    genes = feature_sets.genes
    return gather_data(genes, feature_sets.clinical, keep, components, params.impute, params.seed)


def _describe_cohort(
    cohort: Cohort, feature_sets: FeatureSets, params: Params, sizes: Sizes, counts: Counts
) -> dict[str, object]:
    """Who is in, and by what people are compared."""
    result: dict[str, object] = {
        "granted": counts.granted,
        "flow": [
            {"step": name, "people": people}
            for name, people in filter_flow(sizes.granted, sizes.flow)
        ],
        "method": params.method,
        "compared_by": [*params.clinical, *(["genes"] * (feature_sets.genes.shape[1] > 0))],
    }
    if feature_sets.flow:
        result["variants"] = filter_variants(feature_sets.genes.shape[1], feature_sets.flow)
        result["kinship"] = cohort.relatives.reach
    shown = {
        "people": counts.people,
        "events": counts.events,
        "censored": left_out_at(NOT_CENSORED, sizes.granted, sizes.flow),
    }
    return result | {name: value for name, value in shown.items() if value is not None}


def _measures(
    clusters: Clusters, cohort: Cohort, noise: Noise, sizes: Sizes, params: Params
) -> dict[str, object]:
    """How sure the clusters are, all together."""
    ids, k = cohort.subjects, len(clusters.stability)
    printed = {
        "agreement": clusters.agreement,
        "agreement_expected": clusters.agreement_expected,
    }
    tried = clusters.silhouettes
    return {
        "clusters": k,
        "silhouette": perturb_measure(
            noise, ids, sizes, f"silhouette of {k}", tried.get(k, max(tried.values()))
        ),
        **{
            name: perturb_measure(noise, ids, sizes, name, value, RATE)
            for name, value in printed.items()
        },
        "p": print_p(clusters.p),
        "references": params.references,
    }


def _describe(
    clusters: Clusters, data: Data, cohort: Cohort, feature_sets: FeatureSets, noise: Noise
) -> dict[str, object]:
    """The clusters, and what each of the described ones is."""
    subjects, event = cohort.subjects, cohort.event
    members = [
        Member(
            [subjects[at] for at in np.flatnonzero(clusters.labels == label)],
            [subjects[at] for at in np.flatnonzero((clusters.labels == label) & (event == 1))],
            float(stability),
        )
        for label, stability in enumerate(clusters.stability)
    ]
    ordered = list(enumerate(order_by_size(noise, members), 1))
    more = clusters.p <= LARGEST_P
    rows = [describe_cluster(noise, number, member, more) for number, member in ordered]
    z = data.prepared()[:, -data.clinical :] if data.clinical else np.empty((len(event), 0))
    named = [
        (name, column)
        for name, column, exact in zip(
            feature_sets.clinical_names, z.T, feature_sets.clinical.T, strict=True
        )
        if tells_enough_apart(noise, exact, subjects)
    ]
    at = {subject: number for number, subject in enumerate(subjects)}
    profiles = [
        profile
        for row, (number, member) in zip(rows, ordered, strict=True)
        if "people" in row
        for profile in describe_means(
            noise,
            number,
            member.ids,
            {name: float(column[[at[i] for i in member.ids]].mean()) for name, column in named},
        )
    ]
    return {"rows": rows, "profiles": profiles}
