"""Which texts and steps an output may have: what was asked for, names and reasons of the program,
and numbers.

Only the names of gene columns and variants are free, within a pattern: the service has no list of
them, so a reader judges them (`names_to_read`). The lists repeat what the computing room writes
(analytics/run.py, analytics/disclosure/record.py), since the web process loads none of it; an
output with another text is named to its checkers, so that a missing entry shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from analytics.catalogue import FEATURE_SETS, RELEASABLE
from analytics.disclosure.rounding import COUNT_GRID
from analytics.explanations import REGISTERED as EXPLANATIONS
from analytics.explanations.registry import (
    COLUMNS,
    GENES,
    STEPS,
    UNITED,
    step_parts,
)
from analytics.metrics import NAMES
from analytics.params import Params
from analytics.strata import ALL, NOT_KNOWN, parse_split
from analytics.vocabulary import OutputClass

Rule = Callable[[str], bool]
Findings = list[tuple[str, Any]]

# A p value, and every other number that is printed as text: short, so that it can be no id.
_P = re.compile(r"[01](\.[0-9]{1,4})?|[0-9]\.[0-9]e[+-][0-9]{2,3}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,2})?", re.ASCII)
VARIANT = re.compile(r"([1-9]|1[0-9]|2[0-2]):[1-9][0-9]{0,8}:[ACGTN]{1,64}>[ACGTN]{1,64}", re.ASCII)
# Names of columns of expression: of Affymetrix, Illumina and Agilent, of Ensembl, RefSeq and NCBI
# Gene, and symbols as the HGNC gives them (capitals and digits, one hyphen; C1orf112).
PROBE = re.compile(
    r"[0-9]{1,9}(_[a-z]{1,2})?_at|AFFX-[A-Za-z0-9_-]{1,30}_at|ILMN_[0-9]{1,9}|A_[0-9]{2}_P[0-9]{1,9}"
    r"|ENS[A-Z]{0,4}[GTEP][0-9]{11}(\.[0-9]{1,2})?|[NX][MR]_[0-9]{6,9}(\.[0-9]{1,2})?|[0-9]{1,9}"
    r"|[A-Z][A-Z0-9]{0,9}(-[A-Z0-9]{1,5})?|C[0-9XY]{1,2}orf[0-9]{1,3}",
    re.ASCII,
)

# Names of gene sets as MSigDB gives them, and what other assays measure: genes, CpG sites,
# microRNAs and what a custodian calls them otherwise, without spaces.
GENE_SET = re.compile(r"[A-Z][A-Z0-9]*(_[A-Za-z0-9.\-]+)+", re.ASCII)
COLUMN = re.compile(
    r"[A-Z][A-Z0-9]{0,9}(-[A-Z0-9]{1,5})?(_[0-9]{1,9})?|C[0-9XY]{1,2}orf[0-9]{1,3}(_[0-9]{1,9})?"
    r"|(cg|ch|rs)[0-9.]{4,12}|hsa[-_](mir|miR|let)[-_][0-9a-z_-]{1,12}",
    re.ASCII,
)

_RULES_OF_VARIANTS = (
    *("not-in-every-file", "not-passed", "call-rate", "allele-frequency", "hardy-weinberg"),
    *("few-minor-alleles", "few-expected-in-rarer-outcome", "few-carriers"),
)
_KINSHIPS = ("none", "same-genome", "first-degree", "second-degree", "third-degree")
_MEASURES = ("auc", "tpr", "fpr")
_VERDICTS = ("too few to tell", "no difference shown", "higher", "lower")
# What the noise follows from; the second is of results from before it followed from the question.
_KEYED_BY = ("keyed by the question and the set of people", "keyed by the set of people")
_NO_COMPONENTS = "too few variants on other chromosomes after LD pruning (a panel)"
_OF_A_ROW = (
    *("threshold metrics", "AUC", "roc", "calibration"),
    "AUC interval, gain, Brier score",
)
_OF_ALL = (
    *("people", "events, baseline, threshold metrics, curves", "concordance", "inflation"),
    *("auc, interval, gains, Brier score", "concordance and its interval"),
    *("calibration at the horizon", "interval of the inflation"),
)
_REASONS = frozenset(
    {
        *(why or "model release is off" for why in RELEASABLE.values()),
        "they are no more than chance gives",
        "it comes again in too few samples of the people, or has fewer than 10",
        "fewer than 10 people with the event or without",
        "the columns have fewer than 10 distinct feature profiles",
        "fewer than 10 were left out; beside granted it would tell how many",
        "an outcome has fewer than 10 people",
        "fewer than 10 people are called positive",
        "fewer than 300 people of the rarer outcome",
        "a finer step holds fewer than 2 people of the rarer outcome",
        "a finer step holds fewer than 5 people",
        "a finer step holds less than the noise",
        "its feature set has fewer than 10 distinct feature profiles",
        "the covariates have fewer than 10 distinct feature profiles",
        "too few people of an outcome for the noise, or too few distinct feature profiles",
        "it has fewer than 50 people, or fewer than 10 with the event or without",
        "fewer than 10 people are at risk at the horizon, or nobody or everybody would be",
        "a group has too few people of an outcome, or there are too few profiles",
        "more would tell who was in the cohort, or fewer than 5 tables would fit",
        "fewer than 5 genotype counts would fit",
        "fewer than 5 genotype counts would fit at finer steps",
        "fewer than 10 carriers or others, or fewer than 5 genotype counts would fit",
        "fewer than 5 tables of genotypes and outcomes would fit at finer steps",
        "of so few variants it would tell the z of one",
        "of so few independent variants an end would tell the z of one",
        "one person could be read from it: an outcome has too few people",
        "one person must not be read from it",
        "more would tell who was in the cohort, or they are small, or fewer than 10 differ",
        "one of the groups has too few people with or without the event, or the interval is wide",
    }
)
_RULES_OF_RECORD = (
    *("small counts", "rounded counts", "noise before rounding", "one record of each genome"),
    *("relatives in one fold", "means over repeats", "distinct feature profiles", "curves"),
    *("never leaves", "table count", "genomic bound", "explanations of all people"),
    *("groups compared", "stability of a described cluster, percent"),
)
_NEVER_LEAVES = (
    *("per-person values", "coefficients", "fold membership", "model files", "genotypes"),
    *("statistics of other variants", "who is in a cluster", "centres"),
)
# Printed steps: of percents, of a z, and of explanations by their scale.
METRIC_STEPS, SURVIVAL_STEPS, CURVE_STEPS, GROUP_STEPS = (
    (1, 2, 5),
    (1, 2, 5, 10),
    (5, 10, 20),
    (5, 10, 20),
)
MEAN_STEPS = ("0.2", "0.5", "1")
# People that one step of a row holds at least: of the rarer outcome, of a curve, of a cluster.
LEAST_IN_STEP = {"evaluate": 2, "survival": 5, "clusters": 5}
_NUMBERED = re.compile(
    "clusters|sizes and outcomes of clusters|(outcome of |share with the outcome: |means of columns: )?cluster [1-6]"
)
Z_STEPS = ("0.1", "0.2", "0.5", "1.0")
EXPLANATION_STEPS: Mapping[str, tuple[str, ...]] = {
    "log-odds": ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5"),
    "probability": ("1", "2", "5", "10", "20", "50"),
    "share": ("1", "2", "5", "10", "20", "50"),
    "auc": ("1", "2", "5", "10"),
}


def unknown_texts(
    result: Mapping[str, Any], disclosure: Mapping[str, Any], asked: Params, params: str
) -> Findings:
    """(path, text) of each text of the result or its record that an analysis of these parameters
    does not write.
    """
    rows = {f"{model}/{feature_set}" for model, chosen in asked.models for feature_set in chosen}
    allowed = _of_result(asked, params) | _of_record(asked, rows, _variants_of(result, asked))
    parts = [*leaves(result), *leaves(disclosure, "disclosure", "disclosure")]
    return [
        (path, text)
        for path, name, text in parts
        if isinstance(text, str) and (not (rule := allowed.get(name)) or not rule(text))
    ] + _unknown_features(result, asked)


def names_to_read(result: Mapping[str, Any], asked: Params) -> Findings:
    """(path, names) of the variants and gene columns that the output chose to name: that a text of
    their form is such a name, only a reader can tell.
    """
    shown = [
        (f"explanations.{at}", names)
        for at, part in enumerate(objects(result, "explanations"))
        if (names := [n for n in _features(part) if n not in _parts(asked)])
    ]
    rows = [str(row["variant"]) for row in objects(result, "rows") if "variant" in row]
    if rows and asked.analysis != "frequencies":  # whose variants were asked for
        shown.append(("rows", rows))
    return [(path, ", ".join(names)) for path, names in shown]


def unknown_steps(result: Mapping[str, Any], asked: Params) -> Findings:
    """Steps that no rule of disclosure control gives: a fine one would tell nearly exact numbers."""
    genomic = asked.analysis == "associate"
    of_rows: Sequence[Any] = Z_STEPS if genomic else METRIC_STEPS
    if asked.analysis in ("survival", "clusters"):
        of_rows = SURVIVAL_STEPS
    wrong = [
        (f"{name}.{at}.step", row["step"])
        for name, steps in (("rows", of_rows), ("strata", SURVIVAL_STEPS), ("profiles", MEAN_STEPS))
        for at, row in enumerate(objects(result, name))
        if "step" in row and not _is_step(row["step"], steps)
    ]
    calibrations = [
        ("calibration", result.get("calibration")),
        *(
            (f"curves.{at}.calibration", curve.get("calibration"))
            for at, curve in enumerate(objects(result, "curves"))
        ),
    ]
    wrong += [
        (f"{path}.step", curve.get("step"))
        for path, curve in calibrations
        if isinstance(curve, Mapping) and not _is_step(curve.get("step"), CURVE_STEPS)
    ]
    for at, part in enumerate(objects(result, "explanations")):
        steps = EXPLANATION_STEPS.get(str(part.get("scale")), ())
        if not _is_step(part.get("step"), steps):
            wrong.append((f"explanations.{at}.step", part.get("step")))
    for at, part in enumerate(objects(result, "fairness")):
        wrong += [
            (f"fairness.{at}.{name}.{number}.step", row["step"])
            for name in ("groups", "gaps")
            for number, row in enumerate(objects(part, name))
            if "step" in row and not _is_step(row["step"], GROUP_STEPS)
        ]
    return wrong


def fine_steps(result: Mapping[str, Any], asked: Params) -> Findings:
    """Steps of rows that are finer than their people allow, by the most people that the printed and
    rounded counts may stand for.
    """
    least = LEAST_IN_STEP.get(asked.analysis, 0)
    coarsest = (METRIC_STEPS if asked.analysis == "evaluate" else SURVIVAL_STEPS)[-1]
    wrong: Findings = []
    for name in ("rows", "strata"):
        for at, row in enumerate(objects(result, name)):
            step, most = row.get("step"), _most_people(result, row, asked)
            if type(step) is int and step < coarsest and step * most < 100 * least:
                wrong.append((f"{name}.{at}.step", f"{step} % of at most {most} people"))
    return wrong


def _most_people(result: Mapping[str, Any], row: Mapping[str, Any], asked: Params) -> int:
    """Of whom the percentages of a row are shares: people of the rarer outcome where a model is
    evaluated. Where their number is withheld, it is at most that of the data that was opened.
    """
    granted = result.get("granted")
    everybody = granted if type(granted) is int else 0
    if asked.analysis != "evaluate":
        people = row.get("people")
        return people + COUNT_GRID if type(people) is int else everybody
    people, events = (result.get(name) for name in ("people", "events"))
    total = people if type(people) is int else everybody
    rarer = min(events, total - events) if type(events) is int else total // 2
    return rarer + COUNT_GRID


def groups_of(rules: Sequence[str]) -> set[str]:
    """The names of all groups that these rules make."""
    splits = [parse_split(rule) for rule in rules]
    labels = [[split.label(low) for low, _ in split.groups()] for split in splits]
    return {", ".join(names) for names in product(*labels)} if rules else set()


def objects(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects of a list in a document, whatever else it may hold."""
    rows = holder.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def leaves(value: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path, path without positions, value) of everything in a document that is no list and no
    object.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(
                inner, *(f"{prefix}.{key}" if prefix else str(key) for prefix in (path, name))
            )
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{at}", name)
    else:
        yield path, name, value


# --- rules for one text ---------------------------------------------------------------------------


def _one_of(*names: str) -> Rule:
    return frozenset(names).__contains__


def _shaped(pattern: re.Pattern[str]) -> Rule:
    return lambda text: pattern.fullmatch(text) is not None


def _list_of(names: Collection[str]) -> Rule:
    """Some of these names, each once, in their order, with commas."""

    def rule(text: str) -> bool:
        parts = text.split(", ")
        return parts == [name for name in names if name in parts]

    return rule


def _of_result(asked: Params, params: str) -> dict[str, Rule]:
    """The rule of each text of a result, by its path without numbers."""
    models = _one_of(*dict(asked.models))
    feature_sets = _one_of(*FEATURE_SETS, *asked.assays)
    groups = {rule: groups_of([rule]) for rule in asked.fairness}
    every_group = _one_of(*(name for names in groups.values() for name in names))
    strata = _one_of(ALL, NOT_KNOWN, *groups_of(asked.strata))
    method = _one_of("bootstrap", "delong")
    explanations = [EXPLANATIONS[name] for name in asked.explain]
    of_rows = {"model": models, "feature_set": feature_sets, "interval_method": method}
    rules: dict[str, Rule] = {
        "type": _one_of("volens/result/3"),
        "analysis": _one_of(asked.analysis),
        "params": _one_of(hashlib.sha256(params.encode()).hexdigest()),
        "outcome.kind": _one_of(asked.outcome.kind if asked.outcome else ""),
        "outcome.variable": _one_of(asked.outcome.variable if asked.outcome else ""),
        "settings": _one_of("chosen-within-folds" if asked.tune else "fixed"),
        "threshold": _one_of("event-rate"),
        "flow.step": _list_of(_flow_of(asked)),
        "variants.left_out.rule": _one_of(*_RULES_OF_VARIANTS),
        "kinship": _one_of(*_KINSHIPS),
        "build": _one_of("GRCh37", "GRCh38"),
        "covariates": _one_of(*asked.clinical, GENES),
        "components_omitted": _one_of(_NO_COMPONENTS),
        "rows.variant": (
            _one_of(*asked.sites) if asked.analysis == "frequencies" else _shaped(VARIANT)
        ),
        "rows.stratum": strata,
        "strata.stratum": strata,
        "strata.median": _one_of("not reached"),
        "strata.median_interval": _one_of("not reached"),
        "method": _one_of(asked.method),
        "compared_by": _one_of(*asked.clinical, GENES),
        "profiles.feature": _one_of(*asked.clinical),
        "gains.over": feature_sets,
        "explanations.explanation": _one_of(*asked.explain),
        "explanations.model": _one_of(asked.primary),
        "explanations.feature_set": _one_of(asked.examined_feature_set),
        "explanations.scale": _one_of(*(explanation.scale for explanation in explanations)),
        "explanations.background": _one_of(
            *(explanation.background for explanation in explanations)
        ),
        "explanations.features.feature": lambda name: True,  # by _unknown_features
        "explanations.features.direction": _one_of("more", "less", "unclear"),
        "explanations.features.beyond_chance": _one_of("yes", "no"),
        "fairness.by": _one_of(*asked.fairness),
        "fairness.model": _one_of(asked.primary),
        "fairness.feature_set": _one_of(asked.examined_feature_set),
        "fairness.reference": every_group,
        "fairness.groups.group": every_group,
        "fairness.gaps.group": every_group,
        "fairness.gaps.measure": _one_of(*_MEASURES),
        "fairness.gaps.verdict": _one_of(*_VERDICTS),
    }
    numbers = (
        *("rows.z", "rows.step", "quantiles", "inflation", "inflation_interval"),
        *("curves.calibration.slope", "curves.calibration.intercept"),
        *("explanations.step", "explanations.features.importance"),
        *("profiles.mean", "profiles.step"),
    )
    rules |= dict.fromkeys(numbers, _shaped(_NUMBER))
    rules |= dict.fromkeys(("rows.p", "concordance.p", "p"), _shaped(_P))
    for part in ("rows", "gains", "curves"):
        rules |= {f"{part}.{name}": rule for name, rule in of_rows.items()}
    return rules


def _of_record(asked: Params, rows: Collection[str], variants: Collection[str]) -> dict[str, Rule]:
    """The rule of each text of a disclosure record, likewise. rows: model/feature set; variants:
    those in the result.
    """
    strata = {ALL, NOT_KNOWN, *groups_of(asked.strata)}
    measured = {f"{m} of {g}" for m in _MEASURES for r in asked.fairness for g in groups_of([r])}
    explained = {*asked.explain, *(f"other columns of genes, {name}" for name in asked.explain)}
    some_metrics, some_numbers = _list_of(NAMES), _list_of(("frequency", "carriers"))

    def what(text: str) -> bool:
        if text in _OF_ALL or re.fullmatch("[0-9]{1,4} variants", text, re.ASCII):
            return True
        if asked.analysis == "clusters" and _NUMBERED.fullmatch(text):
            return True
        # The last colon of one with a row's name: a group has none followed by a space.
        head, _, tail = text.rpartition(": ")
        if tail in rows:
            return head in _OF_A_ROW or head in measured or head in explained or some_metrics(head)
        if head in ("survival", "risk at the horizon"):
            return tail in strata
        if head == "model file":
            return tail in dict(asked.models)
        return tail in variants and (head == "z" or some_numbers(head))

    classes = {kind.value: kind.name.lower() for kind in OutputClass}
    of_record: dict[str, Rule] = {
        "type": _one_of("volens/disclosure/1"),
        "statistic_class": _one_of(classes[asked.output_class]),
        "rules.rule": _one_of(*_RULES_OF_RECORD),
        "rules.source": _one_of("ACRO", *_KEYED_BY, "KING-robust"),
        "rules.what": _one_of(*_NEVER_LEAVES),
        "rules.at_least": _one_of("0.354", "0.0442"),  # kinship of one genome, of relatives
        "rules.inference_auc_at_most": _one_of("0.60"),
        "coarsened.what": what,
        "withheld.what": what,
        "coarsened.step": _shaped(_NUMBER),
        "coarsened.why": _REASONS.__contains__,
        "withheld.why": _REASONS.__contains__,
    }
    return {f"disclosure.{name}": rule for name, rule in of_record.items()}


def _flow_of(asked: Params) -> list[str]:
    """The steps from everybody to those analysed, in order (analytics/cohort.py)."""
    youngest, oldest = asked.cohort.age
    washout = asked.outcome.washout_days if asked.outcome else 0
    return [
        *("has the records", "has the index diagnosis"),
        f"observed for {washout} days before it",
        f"aged {youngest} to {oldest}",
        *("has and lacks the named codes", "outcome known"),
        *("not censored before the horizon", "one record of each genome"),
    ]


def _parts(asked: Params) -> set[str]:
    """The parts of the data that are named in any case, whatever the genes are called."""
    steps = _steps_of(asked) if "series" in asked.kinds(asked.examined_feature_set) else set()
    return {UNITED, *asked.examined_groups, *steps}


def _steps_of(asked: Params) -> set[str]:
    """The time steps of the series."""
    series = asked.series
    return set() if series is None else set(step_parts(series.days, series.step))


def _unknown_features(result: Mapping[str, Any], asked: Params) -> Findings:
    """What explanations name that is neither a part of what was asked for nor, where one names
    single columns of genes, of the form of one.
    """
    wrong = []
    for at, part in enumerate(objects(result, "explanations")):
        of = EXPLANATIONS.get(str(part.get("explanation")))
        names_columns = of is not None and of.of == COLUMNS and asked.examines_genes
        steps = _steps_of(asked)
        known = steps if of is not None and of.of == STEPS else _parts(asked) - steps
        wrong += [
            (f"explanations.{at}.features.{number}.feature", name)
            for number, name in enumerate(_features(part))
            if name not in known and not (names_columns and _names_column(name, asked))
        ]
    return wrong


def _names_column(name: str, asked: Params) -> bool:
    """Whether a text has the form of a column of genes, of a gene set, or of an assay that was
    asked for.
    """
    assay, colon, column = name.partition(":")
    if colon and assay in asked.assays:
        return COLUMN.fullmatch(column) is not None or PROBE.fullmatch(column) is not None
    of_genes = (
        VARIANT if asked.gene_source == "variants" else GENE_SET if asked.gene_sets else PROBE
    )
    return of_genes.fullmatch(name) is not None


def _features(part: Mapping[str, Any]) -> list[str]:
    return [str(row.get("feature")) for row in objects(part, "features")]


def _variants_of(result: Mapping[str, Any], asked: Params) -> set[str]:
    return {*asked.sites, *(str(row.get("variant")) for row in objects(result, "rows"))}


def _is_step(value: Any, steps: Sequence[Any]) -> bool:
    return any(type(value) is type(step) and value == step for step in steps)
