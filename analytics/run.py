"""Entry point of a run: parameters and records in, filtered result and disclosure record out.

Does not know who asked, which consents or keys were involved, or the time: the caller recorded the
access, decrypted the records and will seal exactly the bytes returned here. The same parameters,
records and noise key give the same bytes in any order of the records (same machine type and library
versions; one thread; on a GPU equal within rounding).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import sklearn

from analytics.association import associate, count_alleles
from analytics.canonical import dump_canonical
from analytics.cluster_run import cluster_people
from analytics.cohort import Cohort, Person, select_people
from analytics.disclosure.differencing import Earlier, refuse_small_differences
from analytics.disclosure.noise import Noise
from analytics.errors import InputsError
from analytics.explanation_run import add_explanations
from analytics.fairness_run import add_fairness
from analytics.params import Params, parse_params
from analytics.people import Input, read_people
from analytics.prediction import (
    describe_prediction,
    evaluate_rows,
    gather_feature_sets,
    perturbation_of,
)
from analytics.readers.gene_sets import GeneSets
from analytics.survival_run import describe_survival, fit_regression
from analytics.threads import one_thread
from analytics.variants import find_relatives
from analytics.vocabulary import OutputClass

__all__ = ["Earlier", "Input", "Params", "Result", "parse_params", "run"]

MOST_SEED = 2**32  # of the libraries' generators


@dataclass(frozen=True, slots=True)
class Result:
    """The output of a run.

    result: canonical JSON, already filtered; disclosure: the disclosure record as canonical JSON;
    output_class: protocol OutputClass; statistics: m, the number charged for per-variant
    statistics; people: exact number analysed, only for the worker (the filter may have withheld
    it).
    """

    result: bytes
    disclosure: bytes
    output_class: int
    statistics: int
    people: int


def run(
    params: bytes,
    inputs: Sequence[Input],
    minimum: int,
    progress: Callable[[str, float], None] = lambda phase, fraction: None,
    device: str = "cpu",
    earlier: Sequence[Earlier] = (),
    *,
    noise_key: bytes,
    gene_sets: GeneSets | None = None,
) -> Result:
    """Carry out the approved analysis on the given records.

    minimum: smallest number of people that must remain after filtering. progress: called with a
    phase and the completed fraction of the run; an exception from it ends the run. device: cpu,
    cuda or auto (cuda if available). earlier: runs on the same dataset whose per-variant statistics
    are or may be released. noise_key: 32 bytes, the dataset's secret behind the noise of what is
    printed, from the broker. gene_sets: those that the parameters name, checked by their hash
    (`readers.gene_sets.check_gene_sets`). Raises NoiseKeyMissing, ParamsError, InputsError,
    PayloadError, CohortTooSmall, TooFewDiffer.
    """
    noise = Noise(noise_key).of_question(_question(params, inputs))
    parsed = parse_params(params)
    if (gene_sets is None) != (parsed.gene_sets == ""):
        raise InputsError(
            "the gene sets that the parameters name are not there", "Publish them again."
        )
    progress("read", 0.0)
    people = read_people(inputs, parsed.gene_source, parsed.used_assays)
    # One thread, since a sum that is split differently differs in the last bit. Inputs are checked
    # above, so sklearn need not check them.
    with (
        one_thread(),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        cohort = _select(people, parsed, minimum, noise, progress)
        if parsed.output_class == OutputClass.GENOMIC:
            refuse_small_differences(cohort, parsed, inputs, people, earlier)
        progress("compute", 0.0)
        result, disclosure, statistics = _analyse(
            cohort, parsed, device, progress, noise, gene_sets
        )
    progress("disclose", 1.0)
    digest = hashlib.sha256(params).hexdigest()
    head: dict[str, object] = {
        "type": "volens/result/3",
        "analysis": parsed.analysis,
        "params": digest,
    }
    if parsed.outcome is not None:
        head["outcome"] = parsed.outcome.described
    disclosed = dump_canonical(disclosure)
    return Result(
        dump_canonical(head | result), disclosed, parsed.output_class, statistics, cohort.people
    )


def _question(params: bytes, inputs: Sequence[Input]) -> str:
    """A digest of what is asked about whose records, in any order of them."""
    records = sorted(
        f"{item.subject} {item.category} {hashlib.sha256(item.payload).hexdigest()}"
        for item in inputs
    )
    return hashlib.sha256(b"\n".join([params, *map(str.encode, records)])).hexdigest()


def _select(
    people: Sequence[Person],
    parsed: Params,
    minimum: int,
    noise: Noise,
    progress: Callable[[str, float], None],
) -> Cohort:
    """Those of the people whom the run is about."""
    relatives = find_relatives(
        {p.subject: p.genotypes for p in people if p.genotypes is not None},
        lambda part: progress("read", 0.0),
    )
    return select_people(
        people,
        parsed.cohort,
        parsed.outcome,
        parsed.gene_source,
        minimum,
        relatives,
        keep_censored=parsed.analysis == "survival",
        # A scan has rules of its own for few people, by exact numbers.
        noise=noise if parsed.analysis in ("evaluate", "survival", "clusters") else None,
        assays=parsed.used_assays,
    )


def _analyse(
    cohort: Cohort,
    params: Params,
    device: str,
    progress: Callable[[str, float], None],
    noise: Noise,
    gene_sets: GeneSets | None,
) -> tuple[dict[str, object], dict[str, object], int]:
    """(result, disclosure record, statistics to charge) of the asked analysis."""
    # Whoever could deal the people into the same folds, or draw the same random forest, would know
    # by an AUC whose outcome was what: each outcome deals everybody out anew. So the key draws all
    # that is random.
    keyed = noise.seed("folds", cohort.subjects, params.seed) % MOST_SEED
    params = replace(params, seed=keyed)
    match params.analysis:
        case "evaluate":
            return _predict(cohort, params, device, progress, noise, gene_sets)
        case "survival":
            feature_sets = gather_feature_sets(cohort, params, noise)
            perturbation = perturbation_of(cohort, noise)
            regression = fit_regression(cohort, feature_sets, params, progress, perturbation)
            progress("filter", 1.0)
            return *describe_survival(cohort, feature_sets, regression, params, noise), 0
        case "clusters":
            feature_sets = gather_feature_sets(cohort, params, noise)
            return *cluster_people(cohort, feature_sets, params, noise, progress), 0
        case "associate":
            return associate(cohort, params, progress, noise)
        case _:
            return count_alleles(cohort, params, progress, noise)


def _predict(
    cohort: Cohort,
    params: Params,
    device: str,
    progress: Callable[[str, float], None],
    noise: Noise,
    gene_sets: GeneSets | None,
) -> tuple[dict[str, object], dict[str, object], int]:
    """(result, disclosure record, statistics to charge) of models, and of one of them what it rests
    on and how good it is for groups of people."""
    feature_sets, statistics = gather_feature_sets(cohort, params, noise, gene_sets), 0
    perturbation = perturbation_of(cohort, noise)
    rows = evaluate_rows(cohort.event, feature_sets, params, device, progress, perturbation)
    progress("filter", 1.0)
    result, disclosure = describe_prediction(cohort, feature_sets, rows, params, noise)
    examined = next(
        row
        for row in rows
        if (row.model, row.feature_set) == (params.primary, params.examined_feature_set)
    )
    if params.explain:
        columns = feature_sets.columns(examined.feature_set)
        statistics = add_explanations(result, disclosure, examined, columns, cohort, noise)
    if params.fairness:
        add_fairness(result, disclosure, examined, cohort, params, noise)
    return result, disclosure, statistics
