"""Prediction runs: evaluates the requested models on feature sets, on the same folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.pipeline import Pipeline

from analytics.catalogue import (
    AUTOENCODER,
    COMBINED,
    COST,
    FEATURE_SETS,
    FUSED,
    GRID,
    PCA,
    TOGETHER,
    estimates_probability,
)
from analytics.cohort import (
    NOT_CENSORED,
    Cohort,
    assay_matrix,
    clinical_matrix,
    expression_matrix,
    series_matrix,
)
from analytics.disclosure.counts import (
    PROFILES_NEEDED,
    STEPS,
    Calls,
    Counts,
    Perturbation,
    Shown,
    Sizes,
    baseline_of,
    build_table,
    filter_counts,
    filter_flow,
    filter_variants,
    first_of_each,
    left_out_at,
    percent,
    perturb_interval,
    perturb_rank,
    perturb_sizes,
)
from analytics.disclosure.curves import calibration_groups, roc_grid
from analytics.disclosure.noise import (
    BRIER,
    OWN,
    RANK,
    SPREAD,
    Noise,
)
from analytics.disclosure.record import describe_metrics
from analytics.disclosure.rounding import print_p
from analytics.errors import InputsError, PredictionError
from analytics.evaluate import (
    PARTITIONS,
    Perturb,
    Scores,
    Watch,
    auc_error_of,
    auc_with_error,
    bootstrap_aucs,
    calibration,
    clip_auc,
    clip_gain,
    evaluate_model,
    exactly,
    gain_error_of,
    permutation_p,
    placement_values,
)
from analytics.explainer import Columns, Explained, Explainer, watch_with
from analytics.explanations.registry import GENES, series_part, step_parts
from analytics.features import IMPUTATIONS, Members, SetMeans
from analytics.folds import DIVIDES
from analytics.fusion import FITS, Fused
from analytics.imputation import BetweenImputations, one_imputation
from analytics.models.pipeline import build_model, predict
from analytics.models.registry import Block, Blueprint
from analytics.params import Params
from analytics.readers.gene_sets import LEAST_GENES, GeneSets
from analytics.tuning import count_fits, search
from analytics.variants import stack

Progress = Callable[[str, float], None]
# How an interval was made: see `bootstrap_aucs` and `Scores.auc_interval`.
BOOTSTRAP, DELONG = "bootstrap", "delong"
NO_VARIANT = "none"  # the name of the column of zeros that replaces them
ENCODER_COST = 8  # of the autoencoder, as the models' `cost`


@dataclass(frozen=True, slots=True)
class Part:
    """Gene columns of one kind, "genes" or an assay: their matrix (n, columns), the names of what
    is selected from, which are those of gene sets where these stand for the columns, and their
    block.
    """

    kind: str
    matrix: NDArray[np.float64]
    names: tuple[str, ...]
    block: Block

    @property
    def shown(self) -> NDArray[np.float64]:
        """(n, names) the values behind the names; of sets those by everybody's mean, since whether
        enough people differ is no matter of folds."""
        if self.block.sets is None:
            return self.matrix
        means: NDArray[np.float64] = (
            SetMeans(self.block.sets).fit(self.matrix).transform(self.matrix)
        )
        return means


@dataclass(frozen=True, slots=True)
class FeatureSets:
    """The matrices shared by all models: n people, gene and clinical columns; NaN is missing.

    flow: exact number of variants that each rule left out; empty for other gene sources. families:
    (n,) who is related to whom, None if nobody is (`Cohort.families`). gene_names, clinical_names:
    of the columns, for explanations. sets: (names, which columns are in which set, number left out)
    of the gene sets that stand for the gene columns. assays: in the order of the parameters.
    series: (n, columns) of measurements over time, `steps` names of steps for each of
    `series_names`.
    """

    genes: NDArray[np.float64]
    clinical: NDArray[np.float64]
    flow: tuple[tuple[str, int], ...]
    families: NDArray[np.int64] | None = None
    gene_names: tuple[str, ...] = ()
    clinical_names: tuple[str, ...] = ()
    sets: tuple[tuple[str, ...], Members, int] | None = None
    assays: tuple[Part, ...] = ()
    series: NDArray[np.float64] | None = None
    series_names: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def parts(self, feature_set: str) -> list[Part]:
        """The blocks of gene columns of a feature set; each is selected from by itself."""
        names, members, _ = self.sets or (self.gene_names, None, 0)
        genes = Part(GENES, self.genes, names, Block(self.genes.shape[1], members))
        return [
            part
            for part in (*[genes] * (self.genes.shape[1] > 0), *self.assays)
            if feature_set in (part.kind, *TOGETHER)
        ]

    def matrix(self, feature_set: str) -> tuple[NDArray[np.float64], int, int]:
        """((n, columns), gene columns, clinical columns) of a feature set: genes first, then
        assays, clinical columns, and last series. Fused ones see the same columns as combined ones.
        """
        genes = [part.matrix for part in self.parts(feature_set)]
        clinical = [self.clinical] if feature_set in ("clinical", *TOGETHER) else []
        series = [] if self.series is None else [self.series]
        series = series if feature_set in ("series", *TOGETHER) else []
        columns = [*genes, *clinical, *series] or [np.empty((len(self.clinical), 0))]
        x = columns[0] if len(columns) == 1 else np.hstack(columns)
        of_genes = sum(matrix.shape[1] for matrix in genes)
        return x, of_genes, self.clinical.shape[1] if clinical else 0

    def columns(self, feature_set: str) -> Columns:
        """The columns of a feature set with their names."""
        x, genes, clinical = self.matrix(feature_set)
        parts = self.parts(feature_set)
        names = (*(name for part in parts for name in part.names), *self.clinical_names[:clinical])
        series = x.shape[1] - genes - clinical
        if series:
            names += tuple(series_part(name) for name in self.series_names for _ in self.steps)
        blocks = tuple((part.kind, part.block.columns, part.block.features) for part in parts)
        shown = None
        if any(part.block.sets is not None for part in parts):
            shown = np.hstack([*(part.shown for part in parts), x[:, genes:]])
        of_genes = sum(part.block.features for part in parts)
        steps = self.steps if series else ()
        return Columns(x, names, of_genes, blocks, shown, series, steps)


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one feature set: exact scores; permutation p and number of permutations, by
    perturbed AUCs.

    profiles: number of distinct feature profiles (rows of the feature set), perturbed. replicates:
    (bootstraps, PARTITIONS) AUCs of the primary model, None for another one. explained: what
    explanations say of the primary model on one feature set, nothing of the others. between_error:
    what imputations that differ add to the standard error of an AUC (`BetweenImputations`).
    """

    model: str
    feature_set: str
    scores: Scores
    p: float
    permutations: int
    profiles: int
    replicates: NDArray[np.float64] | None = None
    explained: tuple[Explained, ...] = ()
    between_error: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.model}/{self.feature_set}"

    @property
    def few(self) -> bool:
        """Whether few distinct profiles make its AUC and curves depend on only a few cells."""
        return self.profiles < PROFILES_NEEDED


def gather_feature_sets(
    cohort: Cohort, params: Params, noise: Noise, gene_sets: GeneSets | None = None
) -> FeatureSets:
    """The matrices of a cohort. Raises InputsError when its people share no column of a kind.

    gene_sets: those that the parameters name, None for other parameters. If no variant meets the
    rules, one column of zeros replaces them. If the run failed instead, the failure would reveal,
    without any output review, that nobody carries a variant this frequent.
    """
    gathered = _gather_genes_and_clinical(cohort, params, noise, gene_sets)
    rules = params.series
    if rules is None:
        return gathered
    return replace(
        gathered,
        series=series_matrix(cohort, rules, noise),
        series_names=rules.variables,
        steps=step_parts(rules.days, rules.step),
    )


def _gather_genes_and_clinical(
    cohort: Cohort, params: Params, noise: Noise, gene_sets: GeneSets | None
) -> FeatureSets:
    clinical = clinical_matrix(cohort, params.clinical, noise)
    named, assays = params.clinical, gather_assays(cohort, params.used_assays, noise)
    if params.gene_source == "expression":
        genes, probes = expression_matrix(cohort, noise)
        sets = None if gene_sets is None else _members(gene_sets, probes)
        return FeatureSets(genes, clinical, (), None, probes, named, sets, assays)
    if params.gene_source == "variants":
        variants = stack(cohort.genotypes, params.variants)
        dosage = variants.dosage if variants.names else np.zeros((cohort.people, 1))
        names, families = variants.names or (NO_VARIANT,), cohort.families
        return FeatureSets(dosage, clinical, variants.flow, families, names, named, assays=assays)
    nothing = np.empty((cohort.people, 0))
    return FeatureSets(nothing, clinical, (), clinical_names=named, assays=assays)


def gather_assays(cohort: Cohort, names: Sequence[str], noise: Noise) -> tuple[Part, ...]:
    """These assays of a cohort. In several of them one gene may have a column, so the names of
    theirs begin with the assay's.
    """
    parts = []
    for name in names:
        matrix, columns = assay_matrix(cohort, name, noise)
        shown = tuple(f"{name}:{column}" for column in columns)
        parts.append(Part(name, matrix, shown, Block(len(columns))))
    return tuple(parts)


def _members(gene_sets: GeneSets, probes: Sequence[str]) -> tuple[tuple[str, ...], Members, int]:
    """The sets of at least LEAST_GENES measured genes, by name. Raises InputsError for none."""
    at = {probe: number for number, probe in enumerate(probes)}
    measured = {
        name: positions
        for name, genes in gene_sets.items()
        if len(positions := [at[gene] for gene in genes if gene in at]) >= LEAST_GENES
    }
    if not measured:
        raise InputsError(
            f"no gene set has {LEAST_GENES} genes that are measured",
            "Name genes as the columns of the expression records are named.",
        )
    names = tuple(sorted(measured))
    rows = np.concatenate([measured[name] for name in names])
    columns = np.repeat(np.arange(len(names)), [len(measured[name]) for name in names])
    members = csr_array((np.ones(len(rows)), (rows, columns)), (len(probes), len(names)))
    return names, members, len(gene_sets) - len(names)


def evaluate_rows(
    event: NDArray[np.int64],
    feature_sets: FeatureSets,
    params: Params,
    device: str,
    progress: Progress,
    perturbation: Perturbation | None = None,
) -> list[Row]:
    """Evaluate all models on their feature sets for event (n,) of 0 and 1; progress is 0 to 1.

    perturbation: the cohort's noise, None for simulated people and published data. Raises
    PredictionError, which names the model and the feature set.
    """
    requested = [(model, feature_set) for model, chosen in params.models for feature_set in chosen]
    passes = params.repeats + params.permutations
    costs = [_cost(model, feature_set, params) for model, feature_set in requested]
    first = sum(
        cost for cost, (model, _) in zip(costs, requested, strict=True) if model == params.primary
    )
    total_cost = sum(costs) * passes + first * params.bootstraps * PARTITIONS
    done, rows = 0.0, []
    for (model, feature_set), cost in zip(requested, costs, strict=True):
        share = cost * passes / total_cost
        row_progress = _part_of(progress, done, share)
        try:
            rows.append(
                _evaluate(
                    model,
                    feature_set,
                    event,
                    feature_sets,
                    params,
                    device,
                    row_progress,
                    perturbation,
                )
            )
        except PredictionError:
            feature_set = _shown_name(feature_set)
            raise PredictionError(
                f"the model {model} on {feature_set} predicted something that is not a number"
            ) from None
        done += share
    if not params.bootstraps:
        return rows
    last = _part_of(progress, done, 1 - done)
    return _add_replicates(rows, event, feature_sets, params, device, last)


def _cost(model: str, feature_set: str, params: Params) -> int:
    """Of one fit, for the displayed progress; the model's own is 1 for the cheapest."""
    fits = FITS if feature_set == FUSED else 1
    if params.impute == "multiple" and "clinical" in params.kinds(feature_set):
        fits *= IMPUTATIONS
    rules = params.genes
    encodes = rules is not None and rules.components and rules.encoder == AUTOENCODER
    encoded = ENCODER_COST if encodes and "genes" in params.kinds(feature_set) else 0
    tuned = count_fits(GRID[model]) if params.tune and GRID[model] else 1
    return (COST[model] + encoded) * fits * tuned


def _add_replicates(
    rows: list[Row],
    event: NDArray[np.int64],
    feature_sets: FeatureSets,
    params: Params,
    device: str,
    progress: Progress,
) -> list[Row]:
    """The rows, those of the primary model with the AUCs of their bootstrap samples.

    Raises PredictionError.
    """
    chosen = {row.name: row for row in rows if row.model == params.primary and not row.few}
    replicates = bootstrap_aucs(
        {
            name: _plan(row.model, row.feature_set, feature_sets, params, device)
            for name, row in chosen.items()
        },
        event,
        folds=params.folds,
        samples=params.bootstraps,
        seed=params.seed,
        tick=lambda part: progress(f"bootstrap:{params.primary}", part),
        families=feature_sets.families,
    )
    return [replace(row, replicates=replicates.get(row.name)) for row in rows]


def _shown_name(feature_set: str) -> str:
    """What an error calls a feature set: an assay's name is the custodian's word, and stays here."""
    return feature_set if feature_set in FEATURE_SETS else "an assay"


def _part_of(progress: Progress, start: float, share: float) -> Progress:
    """Convert the progress of one row to the progress of the run."""
    return lambda step, part: progress(step, start + share * part)


def _evaluate(
    model: str,
    feature_set: str,
    event: NDArray[np.int64],
    feature_sets: FeatureSets,
    params: Params,
    device: str,
    progress: Progress,
    perturbation: Perturbation | None,
) -> Row:
    pipeline, x = _plan(model, feature_set, feature_sets, params, device)
    settings = {"folds": params.folds, "seed": params.seed}
    examined = (model, feature_set) == (params.primary, params.examined_feature_set)
    columns = feature_sets.columns(feature_set)
    explainers = [
        Explainer(name, columns, event, params.seed) for name in params.explain if examined
    ]
    several = params.impute == "multiple" and "clinical" in params.kinds(feature_set)
    between = BetweenImputations(event) if several else None
    share = params.repeats / (params.repeats + params.permutations)
    scores = evaluate_model(
        pipeline,
        x,
        event,
        repeats=params.repeats,
        calibrated=estimates_probability(model, feature_set),
        **settings,
        families=feature_sets.families,
        tick=lambda part: progress(f"evaluate:{model}/{feature_set}", share * part),
        watch=_watch(watch_with(explainers, columns), between, x, event),
    )
    p, performed = permutation_p(
        pipeline,
        x,
        event,
        scores.auc,
        permutations=params.permutations,
        **settings,
        families=feature_sets.families,
        perturb=_printed_auc(f"{model}/{feature_set}", perturbation),
        tick=lambda part: progress(f"permute:{model}/{feature_set}", share + (1 - share) * part),
    )
    profiles = len(first_of_each(x)) if perturbation is None else perturbation.profiles(x)
    explained = tuple(explainer.finish() for explainer in explainers)
    error = 0.0 if between is None else between.error()
    return Row(
        model,
        feature_set,
        scores,
        p,
        performed,
        profiles,
        explained=explained,
        between_error=error,
    )


def _watch(
    first: Watch,
    between: BetweenImputations | None,
    x: NDArray[np.float64],
    event: NDArray[np.int64],
) -> Watch:
    """Shows each fold's model to the explanations, and its imputations one by one to `between`."""
    if between is None:
        return first

    def watch(repeat: int, fitted: Pipeline, who: NDArray[np.bool_]) -> None:
        first(repeat, fitted, who)
        placed = []
        for number in range(IMPUTATIONS):
            with one_imputation(fitted, number):
                placed.append(placement_values(predict(fitted, x[who]), event[who]))
        between.add(repeat, placed, who)

    return watch


def _printed_auc(row: str, perturbation: Perturbation | None) -> Perturb:
    """Adds the noise with which a row's AUC is printed."""
    return exactly if perturbation is None else partial(perturbation.rank, f"AUC of {row}")


def _plan(
    model: str, feature_set: str, feature_sets: FeatureSets, params: Params, device: str
) -> tuple[Pipeline, NDArray[np.float64]]:
    """The unfitted pipeline of a row, and its columns (n, columns)."""
    x, genes, clinical = feature_sets.matrix(feature_set)
    parts = feature_sets.parts(feature_set)
    blocks = [part.block for part in parts]
    series = x.shape[1] - genes - clinical
    if feature_set != FUSED:
        return _build(model, blocks, clinical, series, params, device), x
    ends = np.cumsum([0, *(block.columns for block in blocks), clinical, series]).tolist()
    alone: list[tuple[Sequence[Block], int, int]] = [([block], 0, 0) for block in blocks]
    alone += [([], clinical, 0), ([], 0, series)]
    fused = [
        (_build(model, *own, params, device), slice(start, end))
        for own, (start, end) in zip(alone, pairwise(ends), strict=True)
        if start < end
    ]
    fused.append((_build(model, blocks, clinical, series, params, device), slice(0, ends[-1])))
    return Pipeline([(DIVIDES, Fused(fused, params.seed))]), x


def _build(
    model: str, blocks: Sequence[Block], clinical: int, series: int, params: Params, device: str
) -> Pipeline:
    built = build_model(_blueprint(model, blocks, clinical, series, params, device))
    return search(built, GRID[model], params.seed) if params.tune and GRID[model] else built


def _blueprint(
    model: str, blocks: Sequence[Block], clinical: int, series: int, params: Params, device: str
) -> Blueprint:
    genes = sum(block.columns for block in blocks)
    rules = params.genes if genes else None
    return Blueprint(
        model,
        genes,
        clinical,
        "f" if rules is None else rules.select,
        0 if rules is None else rules.keep,
        0 if rules is None else rules.components,
        params.impute,
        params.scale,
        params.seed,
        device,
        blocks=tuple(blocks),
        encoder=PCA if rules is None else rules.encoder,
        series=series,
        steps=0 if params.series is None else params.series.steps,
    )


def describe_prediction(
    cohort: Cohort, feature_sets: FeatureSets, rows: list[Row], params: Params, noise: Noise
) -> tuple[dict[str, object], dict[str, object]]:
    """(result, disclosure record) as printed; withheld metrics are absent, with a reason."""
    sizes = sizes_of(cohort, noise)
    counts = filter_counts(sizes)
    printer = _Printer(
        noise,
        cohort,
        sizes,
        STEPS[-1] if counts.events is None else STEPS[0],
        cohort.affected,
        tuple(part.kind for part in feature_sets.assays),
    )
    table = {} if counts.events is None else printer.table(rows)
    curves = [] if counts.events is None else printer.curves(rows)
    result: dict[str, object] = {
        "folds": params.folds,
        "repeats": params.repeats,
        "settings": "chosen-within-folds" if params.tune else "fixed",
        "threshold": "event-rate",
        "granted": counts.granted,
        "flow": [
            {"step": name, "people": people}
            for name, people in filter_flow(sizes.granted, sizes.flow)
        ],
        "rows": [printer.row(row, table.get(row.name)) for row in rows],
        "gains": printer.gains(rows),
        "curves": curves,
    }
    if feature_sets.flow:
        result["variants"] = filter_variants(feature_sets.genes.shape[1], feature_sets.flow)
        result["kinship"] = cohort.relatives.reach
    if feature_sets.sets is not None:
        names, _, left_out = feature_sets.sets
        result["gene_sets"] = {"used": len(names), "left_out": left_out}
    result |= _describe_counts(counts, sizes)
    few = [row.name for row in rows if row.few]
    return result, describe_metrics(
        counts,
        table,
        [row.name for row in rows],
        curves,
        params.repeats,
        few,
        bool(feature_sets.flow),
    )


def sizes_of(cohort: Cohort, noise: Noise) -> Sizes:
    """The perturbed numbers of a cohort."""
    return perturb_sizes(noise, cohort.granted, cohort.flow, cohort.subjects, cohort.affected)


def perturbation_of(cohort: Cohort, noise: Noise) -> Perturbation:
    """The noise of a cohort."""
    return Perturbation(noise, cohort.subjects, sizes_of(cohort, noise))


def _describe_counts(counts: Counts, sizes: Sizes) -> dict[str, object]:
    shown = {
        "people": counts.people,
        "events": counts.events,
        "baseline": None if counts.events is None else baseline_of(sizes),
        "censored": left_out_at(NOT_CENSORED, sizes.granted, sizes.flow),
    }
    return {name: value for name, value in shown.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Printer:
    """What is printed of the rows of one cohort: exact scores get their noise, then `step` percent."""

    noise: Noise
    cohort: Cohort
    sizes: Sizes
    step: int
    affected: tuple[str, ...]
    assays: tuple[str, ...] = ()

    def table(self, rows: list[Row]) -> dict[str, Shown]:
        subjects = self.cohort.subjects
        calls = {
            row.name: Calls(
                row.scores.cells, [subjects[at] for at in np.flatnonzero(row.scores.called)]
            )
            for row in rows
        }
        return build_table(self.noise, calls, self.affected, self.sizes)

    def row(self, row: Row, shown: Shown | None) -> dict[str, object]:
        entry: dict[str, object] = {
            "model": row.model,
            "feature_set": row.feature_set,
            "p": print_p(row.p),
            "permutations": row.permutations,
        }
        scores = row.scores
        auc = self._rank(row, "AUC", scores.auc)
        if row.few:
            entry["auc"] = percent(auc, STEPS[-1])
        else:
            error, method = hypot(scores.error, row.between_error), DELONG
            if row.replicates is not None:
                error, method = auc_error_of(scores, row.replicates), BOOTSTRAP
            entry["auc"] = percent(auc, self.step)
            entry["auc_interval"] = self._ends(clip_auc(*self._interval(row.name, auc, error)))
            entry["interval_method"] = method
            if scores.brier is not None:
                brier = self._rank(row, "Brier", scores.brier, BRIER)
                entry["scaled_brier"] = percent(brier, self.step)
        return entry if shown is None else {**entry, **shown.metrics, "step": shown.step}

    def gains(self, rows: list[Row]) -> list[object]:
        """AUC gain of the feature sets that hold several kinds of data over each alone, and of
        fused over combined (paired, on the same folds): the difference of the perturbed AUCs. What
        is compared is fixed beforehand, and not with the best of them.
        """
        by_name = {row.name: row for row in rows if not row.few}
        gains: list[object] = []
        for row in by_name.values():
            for over in _less_than(row.feature_set, self.assays):
                less = by_name.get(f"{row.model}/{over}")
                if less is None:
                    continue
                error, method = _gain_error(row, less, self.cohort.event)
                gap = self._rank(row, "AUC", row.scores.auc) - self._rank(
                    less, "AUC", less.scores.auc
                )
                # What the AUCs share of their noise is not in the difference.
                own = 2**0.5 * OWN
                interval = self._interval(f"{row.name} - {less.name}", gap, error, own)
                gains.append(
                    {
                        "model": row.model,
                        "feature_set": row.feature_set,
                        "over": over,
                        "auc": percent(gap, self.step),
                        "interval": self._ends(clip_gain(*interval)),
                        "interval_method": method,
                    }
                )
        return gains

    def curves(self, rows: list[Row]) -> list[dict[str, Any]]:
        """ROC and calibration of each row, on grids with at least ten people in every step."""
        curves: list[dict[str, Any]] = []
        event, people = self.cohort.event, self.cohort.subjects
        for row in (row for row in rows if not row.few):
            entry: dict[str, Any] = {"model": row.model, "feature_set": row.feature_set}
            probabilities = row.scores.probabilities
            roc = roc_grid(self.noise, row.name, probabilities, event, people, self.sizes)
            if roc:
                entry["roc"] = [list(point) for point in roc]
            calibrated = (
                calibration_groups(self.noise, probabilities, event, people)
                if estimates_probability(row.model, row.feature_set)
                else None
            )
            if calibrated is not None:
                step, groups = calibrated
                slope, intercept = calibration(probabilities, event)
                entry["calibration"] = {
                    "slope": f"{self._rank(row, 'slope', slope, 1.0):.1f}",
                    "intercept": f"{self._rank(row, 'intercept', intercept, 1.0):.1f}",
                    "step": step,
                    "groups": [list(group) for group in groups],
                }
            if len(entry) > 2:
                curves.append(entry)
        return curves

    def _rank(self, row: Row, measure: str, value: float, part: float = RANK) -> float:
        cell = f"{measure} of {row.name}"
        perturbed = perturb_rank(self.noise, self.affected, self.sizes, cell, value, part)
        # A slope may exceed 1, no rank or score does.
        return perturbed if part == 1.0 else min(1.0, perturbed)

    def _interval(
        self, cell: str, value: float, error: float, spread: float = SPREAD
    ) -> tuple[float, float]:
        return perturb_interval(self.noise, self.affected, self.sizes, cell, value, error, spread)

    def _ends(self, interval: tuple[float, float]) -> list[int]:
        return [percent(end, self.step) for end in interval]


def _less_than(feature_set: str, assays: Sequence[str]) -> tuple[str, ...]:
    """The feature sets that this one has all the data of."""
    single = (GENES, *assays, "clinical", "series")
    return {COMBINED: single, FUSED: (*single, COMBINED)}.get(feature_set, ())


def _gain_error(more: Row, less: Row, event: NDArray[np.int64]) -> tuple[float, str]:
    """(standard error of the gain in AUC, how it was made)."""
    if more.replicates is not None and less.replicates is not None:
        return gain_error_of(more.replicates - less.replicates), BOOTSTRAP
    error = auc_with_error(more.scores.placements - less.scores.placements, event)[1]
    # At most: what the two have in common of their imputations is not in the difference.
    return hypot(error, more.between_error, less.between_error), DELONG
