"""The parameters of a run: strict parsing by params-schema.json into dataclasses, and the defaults.

Parameters on the ledger are always complete: `complete` fills in the omitted fields before anything
is signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from analytics.canonical import dump_canonical, load_strict
from analytics.care.rule_set import rule_set_hash
from analytics.catalogue import AUTOENCODER, COMBINED, FEATURE_SETS, FUSED, PCA, TOGETHER
from analytics.errors import JsonRefused, ParamsError
from analytics.explanations import REGISTERED as EXPLANATIONS
from analytics.explanations.registry import COLUMNS, GENES, STEPS, series_part
from analytics.models import REGISTERED
from analytics.readers.assays import is_name
from analytics.readers.codes import (
    FACT_PREFIXES,
    FACT_SYSTEMS,
    HIERARCHIES,
    SHIPPED,
    TOO_BROAD,
    URIS,
    VARIABLES,
    Coding,
    normal_code,
    sensitive_categories,
    why_unroutable,
)
from analytics.strata import OUTCOME_ITSELF, parse_split
from analytics.vocabulary import Category, OutputClass

MAX_BYTES = 2048
# The class of output of each analysis.
OUTPUT_CLASSES = {
    "evaluate": OutputClass.METRICS,
    "survival": OutputClass.TABLE,
    "clusters": OutputClass.TABLE,
    "associate": OutputClass.GENOMIC,
    "frequencies": OutputClass.GENOMIC,
}
ANALYSES = tuple(OUTPUT_CLASSES)  # of research
PLAN = "plan"  # of one patient's care: neither a cohort nor an outcome
# The category of each source of gene columns.
GENE_RECORDS: dict[str, int] = {
    "variants": Category.GERMLINE_VARIANTS,
    "expression": Category.EXPRESSION,
}
# Variables that can be an outcome by themselves.
YES_OR_NO = tuple(
    name
    for name, variable in VARIABLES.items()
    if name not in OUTCOME_ITSELF
    and (variable.kind == "boolean" or set(variable.answers.values()) == {0.0, 1.0})
)
GENE_SETS = "gene-sets"  # a source: sets of the genes of the expression record

# The category of the facts of a system, unless the code is sensitive. LOINC names all kinds.
_CATEGORY_OF_SYSTEM: dict[str, int] = {
    "icd-10-cm": Category.CONDITIONS,
    "icd-10": Category.CONDITIONS,
    "icd-10-pcs": Category.PROCEDURES,
    "atc": Category.MEDICATIONS,
    "rxnorm": Category.MEDICATIONS,
}
_CATEGORY_OF_PREFIX: dict[str, int] = {
    FACT_PREFIXES["AllergyIntolerance"]: Category.MEDICATIONS,
    FACT_PREFIXES["Encounter"]: Category.PROCEDURES,
    FACT_PREFIXES["FamilyMemberHistory"]: Category.GERMLINE_VARIANTS,
}
# Secondary cancers, those of unknown and of several sites: the diagnoses that say what the outcome
# "distant-metastasis" says.
_METASTASIS = tuple(f"icd-10:{code}" for code in ("C77", "C78", "C79", "C7B", "C80", "C97"))

_COHORT = {"age": [0, 130], "with": [], "without": []}
_VARIANTS = {
    "min_call_rate": "0.95",
    "min_depth": 0,
    "min_hwe": "0.000001",
    "min_maf": "0.01",
    "min_quality": 0,
    "passed_only": True,
}
_GENES = {"components": 0, "keep": 10, "select": "f", "source": "expression"}
USUAL_SERIES = {"days": 84, "step": 7}  # twelve weeks
MOST_STEPS = 26
# What is measured over time.
SERIES_VARIABLES = frozenset(
    name for name, variable in VARIABLES.items() if variable.kind == "quantity"
) - {*OUTCOME_ITSELF, "age_years"}
_CLINICAL = ["age_years", "er_positive", "grade", "size_mm"]
ALL_HISTORY = 36_500  # days: as far back as a record goes
# When somebody counts, and from when on she is at risk (`Outcome`).
_TIMING = {"washout_days": 0, "lookback_days": ALL_HISTORY, "risk_start_days": 1}
# Permutations cost the most time; 99 is the smallest number that can give p = .01.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "evaluate": {
        "cohort": _COHORT,
        "genes": _GENES,
        "variants": _VARIANTS,
        "impute": "median",
        "scale": "z-score",
        "models": {"logistic": ["genes", "clinical", COMBINED, FUSED]},
        "folds": 5,
        "repeats": 10,
        "permutations": 99,
        # The standard deviation of 50 samples is right within 10 % (one standard error).
        "bootstraps": 50,
        "tune": False,
        "explain": [],
        "fairness": [],
        "seed": 1,
        "clinical": _CLINICAL,
    },
    "survival": {
        "cohort": _COHORT,
        "genes": {**_GENES, "select": "score", "source": "none"},
        "variants": _VARIANTS,
        "clinical": _CLINICAL,
        "strata": [],
        "folds": 5,
        "repeats": 10,
        "permutations": 99,
        "bootstraps": 100,
        "seed": 1,
    },
    "clusters": {
        "cohort": _COHORT,
        "clinical": _CLINICAL,
        "genes": {"components": 5, "keep": 500, "source": "none"},
        "variants": _VARIANTS,
        "impute": "median",
        "method": "k-means",
        "clusters": 0,
        "resamples": 50,
        "references": 39,
        "seed": 1,
    },
    "associate": {
        "cohort": _COHORT,
        "variants": _VARIANTS,
        "clinical": [],
        "components": 2,
        "statistics": 10,
    },
    "frequencies": {"cohort": _COHORT, "variants": _VARIANTS},
    PLAN: {},
}


@dataclass(frozen=True, slots=True)
class CohortRules:
    """Inclusion rules: age at the index day in years, inclusive; codes are `system:beginning`."""

    age: tuple[int, int]
    present: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome that is predicted, within `horizon_days` after the index day.

    kind "finding": `variable`, which is yes or no, as it was at the index day; nothing is followed.
    kind "distant-metastasis": follow-up counts from diagnosis, index and event are empty. kind
    "diagnosis": the first fact ever with an index code is day 0. The time at risk is from
    `risk_start_days` to `horizon_days` after it: an event code in it is the event, and whoever had
    the event between day 0 and its start is left out. So is who had the event in the last
    `lookback_days` until day 0, and whose record begins less than `washout_days` before day 0: what
    looks like the first time may not be. These are the terms of OHDSI's cohorts (Reps et al. 2018,
    JAMIA 25:969). `excludes`: a person whose follow-up ends before the horizon without an event is
    left out (otherwise counted as event-free); a survival run keeps her as censored.
    """

    kind: str
    horizon_days: int
    index: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    excludes: bool = True
    washout_days: int = 0
    lookback_days: int = ALL_HISTORY
    risk_start_days: int = 1
    variable: str = ""

    @property
    def described(self) -> dict[str, object]:
        """What a result says of it."""
        if self.kind == "finding":
            return {"kind": self.kind, "variable": self.variable}
        return {"kind": self.kind, "horizon_days": self.horizon_days}

    @property
    def days_at_risk(self) -> int:
        """The longest time at risk, counted from the day before its first."""
        return self.horizon_days - (self.risk_start_days - 1)


@dataclass(frozen=True, slots=True)
class GeneRules:
    """Gene columns: their source, the selection inside the fold (of clusters: by variance), and
    what gives the components that are added to them, PCA or AUTOENCODER.

    sets: sha256 of the file of gene sets that stand for the genes; "" without any.
    """

    source: str
    keep: int
    components: int
    select: str = ""
    encoder: str = PCA
    sets: str = ""


@dataclass(frozen=True, slots=True)
class SeriesRules:
    """Measurements over time: the variables, the last `days` until the index day, and the days of
    each step, whose values become one mean.
    """

    variables: tuple[str, ...]
    days: int
    step: int

    @property
    def steps(self) -> int:
        return self.days // self.step


@dataclass(frozen=True, slots=True)
class VariantRules:
    """Requirements for a variant: min_maf (frequency of the rarer allele), min_call_rate and
    min_hwe (exact p) between 0 and 1; passed_only: FILTER passed in every file. A call below
    min_depth (DP) or min_quality (GQ) is missing; a call without that value is not below the
    minimum and stays."""

    min_maf: float
    min_call_rate: float
    min_hwe: float
    min_depth: int
    min_quality: int
    passed_only: bool


@dataclass(frozen=True, slots=True)
class Params:
    """One approved analysis; fields that belong to another analysis are empty.

    models: (model, feature sets in the order of FEATURE_SETS), in the catalogue's order. primary:
    the model whose intervals and gains come from `bootstraps` repetitions of the whole
    cross-validation (0: none); named beforehand, so that the best of many is not reported as if it
    were the only one. strata: by which a survival curve is split (`strata.parse_split`). tune:
    whether each model's settings are chosen within the fold (`Model.grid`). explain: explanations
    of the primary model, in the catalogue's order. fairness: by which groups its predictions are
    compared, as strata. assays: by name, besides the genes; each is a feature set of its own.
    rules: of a plan, the sha256 of the rule set that draws it.
    """

    analysis: str
    cohort: CohortRules
    variants: VariantRules
    outcome: Outcome | None = None
    genes: GeneRules | None = None
    clinical: tuple[str, ...] = ()
    series: SeriesRules | None = None
    impute: str = "median"
    scale: str = "z-score"
    models: tuple[tuple[str, tuple[str, ...]], ...] = ()
    assays: tuple[str, ...] = ()
    folds: int = 0
    repeats: int = 0
    permutations: int = 0
    primary: str = ""
    bootstraps: int = 0
    tune: bool = False
    seed: int = 0
    components: int = 0
    statistics: int = 0
    sites: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    explain: tuple[str, ...] = ()
    fairness: tuple[str, ...] = ()
    method: str = ""
    clusters: int = 0
    resamples: int = 0
    references: int = 0
    rules: str = ""

    @property
    def gene_source(self) -> str:
        """The gene record people must have: expression, variants, or none (no genes are used)."""
        if self.genes is None:
            return "none" if self.analysis == PLAN else "variants"
        source = "expression" if self.genes.source == GENE_SETS else self.genes.source
        if self.analysis in ("survival", "clusters"):
            return source
        return source if self._uses(GENES) else "none"

    @property
    def used_assays(self) -> tuple[str, ...]:
        """The assays that people must have: each that a feature set has columns of."""
        return tuple(name for name in self.assays if self._uses(name))

    @property
    def gene_sets(self) -> str:
        """The sha256 of the gene sets that the run needs, "" for none."""
        return self.genes.sets if self.genes is not None and self.gene_source != "none" else ""

    def _uses(self, kind: str) -> bool:
        return any(
            feature_set in (kind, *TOGETHER) for _, chosen in self.models for feature_set in chosen
        )

    def kinds(self, feature_set: str) -> tuple[str, ...]:
        """The kinds of columns that a feature set has, in their order: genes, assays, clinical,
        series.
        """
        if feature_set not in TOGETHER:
            return (feature_set,) if feature_set else ()
        named = {
            GENES: self.gene_source != "none",
            **dict.fromkeys(self.assays, True),
            "clinical": bool(self.clinical),
            "series": self.series is not None,
        }
        return tuple(kind for kind, is_named in named.items() if is_named)

    @property
    def splits(self) -> tuple[str, ...]:
        """The rules by which people are split into groups."""
        return (*self.strata, *self.fairness)

    @property
    def output_class(self) -> int:
        """The contract's OutputClass of the result: 1 metrics, 2 table, 3 genomic. An explanation
        that names single columns of genes makes it genomic: it is a statistic of each.
        """
        if self.analysis == PLAN:
            return OutputClass.INDIVIDUAL
        names_columns = any(EXPLANATIONS[name].of == COLUMNS for name in self.explain)
        if names_columns and self.examines_genes:
            return OutputClass.GENOMIC
        return OUTPUT_CLASSES[self.analysis]

    @property
    def examined_feature_set(self) -> str:
        """The feature set on which the primary model is explained, and compared between groups: of
        those it is evaluated on, the one with the most data in one model; "" without a model."""
        chosen = dict(self.models).get(self.primary, ())
        first = (COMBINED, GENES, *self.assays, "series", "clinical", FUSED)
        return next((name for name in first if name in chosen), "")

    @property
    def examines_genes(self) -> bool:
        """Whether that feature set has columns of genes, variants or assays."""
        return not {"clinical", "series"}.issuperset(self.kinds(self.examined_feature_set))

    @property
    def examined_groups(self) -> tuple[str, ...]:
        """What is explained together on that feature set: each kind of genes, each clinical
        variable, each series.
        """
        series = () if self.series is None else map(series_part, self.series.variables)
        parts = {"clinical": self.clinical, "series": tuple(series)}
        kinds = self.kinds(self.examined_feature_set)
        return tuple(part for kind in kinds for part in parts.get(kind, (kind,)))

    @property
    def fits_cox(self) -> bool:
        """Whether a survival run has covariates; without any it is curves alone."""
        return self.analysis == "survival" and bool(self.clinical or self.gene_source != "none")

    @property
    def categories(self) -> tuple[int, ...]:
        """Data categories (docs/ledger.md) without which a permit cannot serve this analysis.

        Without them nobody would have a value, or the code that is asked for; and whoever is to be
        left out by a code would stay in. A code that stands above several categories asks for none,
        nor does the age, which any record may tell.
        """
        needed = [GENE_RECORDS[self.gene_source]] if self.gene_source in GENE_RECORDS else []
        needed += [Category.EXPRESSION] * bool(self.used_assays)
        if self.outcome is not None and self.outcome.kind == "distant-metastasis":
            needed.append(VARIABLES["metastasis"].category)
        if self.outcome is not None and self.outcome.kind == "finding":
            needed.append(VARIABLES[self.outcome.variable].category)
        codes = [*self.cohort.present, *self.cohort.absent]
        if self.outcome is not None:
            codes += [*self.outcome.index, *self.outcome.event]
        for name in (*self.clinical, *(parse_split(rule).variable for rule in self.splits)):
            if ":" in name:
                codes.append(name)
            elif name == "female":
                needed.append(Category.DEMOGRAPHICS)
            elif name != "age_years":
                needed.append(VARIABLES[name].category)
        if self.series is not None:
            needed += [VARIABLES[name].category for name in self.series.variables]
        for code in codes:
            needed += _categories_of(code)
        return tuple(sorted(set(needed)))


_ANYBODY = CohortRules((0, 130), (), ())
_ANY_VARIANT = VariantRules(0.0, 0.0, 0.0, 0, 0, False)


def find_late_models(params: str) -> list[str]:
    """The models of these parameters whose libraries are loaded late, and the autoencoder.

    None of what is not parameters: whoever parses them says what is wrong.
    """
    try:
        document = json.loads(params)
        named = document["models"]
        late = [name for name, model in REGISTERED.items() if model.loaded_late and name in named]
        encoder = document.get("genes", {}).get("encoder")
        return [*late, AUTOENCODER] if encoder == AUTOENCODER else late
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def complete(document: Mapping[str, Any]) -> bytes:
    """Canonical parameters from a partial document; defaults fill the rest. Raises ParamsError.

    {"analysis":"evaluate","outcome":{"kind":"distant-metastasis","horizon_days":1825}} is enough.
    """
    analysis = document.get("analysis", "evaluate")
    defaults = _DEFAULTS.get(analysis) if isinstance(analysis, str) else None
    if defaults is None:
        raise ParamsError("parameters: analysis is not one of " + ", ".join((*ANALYSES, PLAN)))
    completed: dict[str, Any] = {"analysis": analysis, **defaults, **document}
    if analysis == PLAN:
        completed.setdefault("rules", rule_set_hash().hex())
    outcome = document.get("outcome")
    if isinstance(outcome, Mapping) and "clinical" not in document:
        usual = [name for name in completed.get("clinical", ()) if name != outcome.get("variable")]
        completed |= {"clinical": usual} if "clinical" in completed else {}
    for name in ("cohort", "genes", "variants"):
        if name in defaults and isinstance(document.get(name), Mapping):
            completed[name] = {**defaults[name], **document[name]}
    if isinstance(completed.get("genes"), dict) and completed["genes"].get("encoder") == PCA:
        # Left out where it is the usual one: parameters from before it keep their bytes.
        completed["genes"] = {n: v for n, v in completed["genes"].items() if n != "encoder"}
    if isinstance(document.get("series"), Mapping):
        completed["series"] = {**USUAL_SERIES, **document["series"]}
    if isinstance(outcome, Mapping) and outcome.get("kind") == "diagnosis":
        completed["outcome"] = {**_TIMING, **outcome}
    if analysis == "evaluate":
        completed.setdefault("primary", _cheapest(completed["models"]))
    try:
        params = dump_canonical(completed)
    except JsonRefused as refused:
        raise ParamsError(f"parameters: {refused}") from None
    parse_params(params)
    return params


def _cheapest(models: object) -> str:
    """The named model that takes least to fit; "" where none is named (the schema refuses that)."""
    known = [
        REGISTERED[name] for name in REGISTERED if isinstance(models, Mapping) and name in models
    ]
    return (
        min(known, key=lambda model: (model.cost, model.name != "logistic")).name if known else ""
    )


def parse_params(params: bytes) -> Params:
    """Parameters from complete canonical JSON of at most 2 KiB. Raises ParamsError."""
    try:
        document = load_strict(params, max_bytes=MAX_BYTES, max_depth=5)
    except JsonRefused as refused:
        raise ParamsError(f"parameters: {refused}") from None
    if b"\\" in params:  # the end of a schema pattern also matches before a line break
        raise ParamsError("parameters: a string holds a character that is not allowed")
    _check(document)
    if not isinstance(document, dict) or dump_canonical(document) != params:
        raise ParamsError("parameters: they are not canonical JSON (sorted keys, no spaces)")
    parsed = _build(document)
    _check_sense(parsed)
    return parsed


def _check(document: object) -> None:
    """Check the document against its branch of the schema. Raises ParamsError."""
    analysis = document.get("analysis") if isinstance(document, dict) else None
    if not isinstance(analysis, str) or analysis not in (*ANALYSES, PLAN):
        raise ParamsError("parameters: analysis is not one of " + ", ".join((*ANALYSES, PLAN)))
    error = best_match(_validator(analysis).iter_errors(document))
    if error is not None:
        raise ParamsError(f"parameters: {_sentence(error)}")


@cache
def _validator(analysis: str) -> Draft202012Validator:
    schema = json.loads((Path(__file__).parent / "params-schema.json").read_bytes())
    return Draft202012Validator({"$ref": f"#/$defs/{analysis}", "$defs": schema["$defs"]})


def _sentence(error: ValidationError) -> str:
    where = ".".join(str(step) for step in error.absolute_path) or "the document"
    schema: Any = error.schema
    given: Any = error.instance
    match error.validator:
        case "required":
            return f"{where} lacks {', '.join(sorted(set(schema['required']) - set(given)))}"
        case "additionalProperties":
            return f"{where} may have only {', '.join(sorted(schema['properties']))}"
    holder: Any = error
    while holder is not None and "description" not in holder.schema:
        holder = holder.parent
    return (
        f"{where} is not {holder.schema['description']}"
        if holder is not None
        else f"{where} is not as it must be"
    )


def _build(document: Mapping[str, Any]) -> Params:
    if document["analysis"] == PLAN:
        return Params(PLAN, _ANYBODY, _ANY_VARIANT, rules=document["rules"])
    cohort, given = document["cohort"], dict(document)
    rules: dict[str, Any] = {
        n: float(v) if isinstance(v, str) else v for n, v in document["variants"].items()
    }
    fields: dict[str, Any] = {
        "cohort": CohortRules(
            tuple(cohort["age"]), tuple(cohort["with"]), tuple(cohort["without"])
        ),
        "variants": VariantRules(**rules),
    }
    if "outcome" in given:
        outcome = given["outcome"]
        fields["outcome"] = Outcome(
            outcome["kind"],
            outcome.get("horizon_days", 0),
            tuple(outcome.get("index", ())),
            tuple(outcome.get("event", ())),
            outcome.get("censoring") != "event-free",
            **{name: outcome[name] for name in (*_TIMING, "variable") if name in outcome},
        )
    if "genes" in given:
        fields["genes"] = GeneRules(**given["genes"])
    if "series" in given:
        series = given["series"]
        fields["series"] = SeriesRules(tuple(series["variables"]), series["days"], series["step"])
    if "models" in given:
        assays = given.get("assays", ())
        known = (GENES, *assays, *(name for name in FEATURE_SETS if name != GENES))
        fields["models"] = tuple(
            (
                model,
                tuple(name for name in known if name in feature_sets)
                + tuple(sorted(set(feature_sets) - set(known))),  # refused below
            )
            for model, feature_sets in sorted(given["models"].items())
        )
    for name in ("clinical", "sites", "strata", "fairness", "assays"):
        if name in given:
            fields[name] = tuple(given[name])
    fields["explain"] = tuple(name for name in EXPLANATIONS if name in given.get("explain", ()))
    return Params(**{**given, **fields})


def _categories_of(pattern: str) -> frozenset[int]:
    """The categories of the facts that a code pattern names; none if nobody can say.

    What stands above a sensitive code has facts of several categories below it.
    """
    system, _, code = pattern.partition(":")
    base = FACT_SYSTEMS.get(system)
    if base is None:
        return frozenset()
    if base not in _CATEGORY_OF_SYSTEM and system != f"{FACT_PREFIXES['Encounter']}act-code":
        return frozenset()
    coding = Coding(URIS[base], code)
    broad = normal_code(base, code) in SHIPPED.broad.get(base, ())
    if broad or why_unroutable(coding, SHIPPED) == TOO_BROAD:
        return frozenset()
    sensitive = sensitive_categories(coding, SHIPPED)
    usual = _CATEGORY_OF_PREFIX.get(system.removesuffix(base)) or _CATEGORY_OF_SYSTEM.get(base)
    if usual == Category.GERMLINE_VARIANTS:
        return frozenset({usual}) | sensitive
    return sensitive or (frozenset() if usual is None else frozenset({usual}))


def _overlap(first: str, second: str) -> bool:
    """Whether both patterns may tell the same. The two editions of ICD-10 share their beginnings,
    and a visit is for what the person has.
    """
    visit = FACT_PREFIXES["Encounter"]
    (system, _, a), (other_system, _, b) = (
        pattern.removeprefix(visit).partition(":") for pattern in (first, second)
    )
    if system.replace("icd-10-cm", "icd-10") != other_system.replace("icd-10-cm", "icd-10"):
        return False
    base = FACT_SYSTEMS.get(system, system)
    a, b = normal_code(base, a), normal_code(base, b)
    return a.startswith(b) or b.startswith(a) if base in HIERARCHIES else a == b


def _check_sense(params: Params) -> None:
    """Contradictions between fields, which a schema cannot express."""
    if params.cohort.age[0] > params.cohort.age[1]:
        raise ParamsError("parameters: cohort.age begins after it ends")
    codes = [name for name in params.clinical if ":" in name]
    for code in codes:
        if not _categories_of(code):
            raise ParamsError(
                "parameters: clinical names a code whose category of consent is not clear",
                "Name a code of one category, in " + ", ".join(_CATEGORY_OF_SYSTEM) + ".",
            )
    if params.outcome is not None and params.outcome.kind == "finding":
        _check_finding(params, params.outcome.variable)
    elif params.outcome is not None:
        if params.outcome.risk_start_days > params.outcome.horizon_days:
            raise ParamsError("parameters: outcome.risk_start_days is after outcome.horizon_days")
        of_outcome = (*params.outcome.index, *(params.outcome.event or _METASTASIS))
        if any(_overlap(code, other) for code in codes for other in of_outcome):
            raise ParamsError(
                "parameters: clinical names a code that tells the outcome, or that everybody has",
                "Predict from codes that are neither the outcome's index nor its event.",
            )
    unknown = [name for name in params.clinical if name not in (*VARIABLES, "female", *codes)]
    if unknown:
        raise ParamsError(
            "parameters: clinical names a variable that is not in the dictionary",
            "Choose among: " + ", ".join(sorted((*VARIABLES, "female"))),
        )
    if OUTCOME_ITSELF & set(params.clinical):
        raise ParamsError(
            "parameters: clinical names what tells the outcome (metastasis, follow_up_days)",
            "Predict from what is known before it.",
        )
    splits = [parse_split(rule) for rule in params.splits]
    if len({split.variable for split in splits}) < len(splits):
        raise ParamsError("parameters: strata or fairness names a variable twice")
    if params.models and params.primary not in dict(params.models):
        raise ParamsError(
            "parameters: primary is not one of the models",
            "Choose among: " + ", ".join(model for model, _ in params.models),
        )
    if params.analysis == "clusters" and not params.clinical and params.gene_source == "none":
        raise ParamsError(
            "parameters: people are compared by nothing, since clinical is empty and genes.source none"
        )
    _check_feature_sets(params)
    _check_series(params)
    _check_explanations(params)


def _check_feature_sets(params: Params) -> None:
    """Whether the kinds of data that the feature sets need are named, and those that are named fit."""
    feature_sets = {feature_set for _, chosen in params.models for feature_set in chosen}
    if not feature_sets <= {*FEATURE_SETS, *params.assays}:
        raise ParamsError(
            "parameters: models names a feature set that is neither a usual one nor one of assays",
            "Name genes, clinical, series, combined, fused, or an assay that assays names too.",
        )
    if not all(map(is_name, params.assays)):
        raise ParamsError("parameters: assays names what is a feature set or source already")
    needed = set(feature_sets)
    if feature_sets.intersection(TOGETHER) and len(params.kinds(COMBINED)) < 2:
        needed |= {GENES, "clinical"}
    if params.genes is not None:
        _check_genes(params, params.genes, GENES in needed)
    if not params.clinical and "clinical" in needed:
        raise ParamsError(
            "parameters: a feature set needs clinical variables, but clinical is empty"
        )
    if params.series is None and "series" in needed:
        raise ParamsError("parameters: a feature set needs series, but none is named")


def _check_genes(params: Params, genes: GeneRules, needed: bool) -> None:
    """Whether gene columns come from somewhere, if a feature set needs them, and are chosen by what
    they have.
    """
    if genes.source == "none" and needed:
        raise ParamsError("parameters: a feature set needs genes, but genes.source is none")
    if genes.select == "chi2":
        if genes.source in ("expression", GENE_SETS):
            raise ParamsError(
                "parameters: genes.select chi2 counts genotypes, and expression has none"
            )
        if params.assays:
            raise ParamsError(
                "parameters: genes.select chi2 counts genotypes, and assays have none"
            )
    if genes.encoder == AUTOENCODER and not genes.components:
        raise ParamsError("parameters: genes.encoder makes components, but genes.components is 0")
    if (genes.source == GENE_SETS) != bool(genes.sets):
        raise ParamsError(
            "parameters: genes.sets is the sha256 of a file of gene sets, for the source gene-sets alone",
            "The dataset's page shows it.",
        )


def _check_series(params: Params) -> None:
    """Whether a series has steps, which end on an index day."""
    series = params.series
    if series is None:
        return
    if params.outcome is None or not params.outcome.index:
        raise ParamsError(
            "parameters: series end on the index day, and this outcome has none",
            "Predict a diagnosis after an index diagnosis.",
        )
    if not SERIES_VARIABLES.issuperset(series.variables):
        raise ParamsError(
            "parameters: series.variables names what is not measured over time",
            "Choose among: " + ", ".join(sorted(SERIES_VARIABLES)),
        )
    if series.days % series.step or not 2 <= series.steps <= MOST_STEPS:
        raise ParamsError(
            f"parameters: series.days is not 2 to {MOST_STEPS} times series.step",
            "For example 84 days in steps of 7.",
        )


def _check_finding(params: Params, name: str) -> None:
    """Whether a variable can be an outcome, and nothing else in the parameters tells it."""
    if name not in YES_OR_NO:
        raise ParamsError(
            "parameters: outcome.variable is not a variable that is yes or no",
            "Choose among: " + ", ".join(YES_OR_NO),
        )
    if name in (*params.clinical, *(parse_split(rule).variable for rule in params.splits)):
        raise ParamsError(
            "parameters: outcome.variable is among clinical, strata or fairness as well",
            "Predict from other variables than the one that is predicted.",
        )


def _check_explanations(params: Params) -> None:
    """Whether the primary model, on the feature set that is explained, has what they need."""
    feature_set, kinds = params.examined_feature_set, params.kinds(params.examined_feature_set)
    groups = len(params.examined_groups)
    for name in params.explain:
        explanation = EXPLANATIONS[name]
        fits = explanation.form in ("", REGISTERED[params.primary].form)
        fits = fits and (explanation.of != STEPS or "series" in kinds)
        several = feature_set == FUSED or (params.impute == "multiple" and params.clinical)
        if not fits or (explanation.form and several):
            raise ParamsError(
                f"parameters: explain names {name}, which the primary model has not",
                "Explain a model of the form that it needs, on genes, clinical, series or combined, of one imputation; "
                "permutation and shapley-groups explain every model.",
            )
        if explanation.most_groups and groups > explanation.most_groups:
            raise ParamsError(
                "parameters: explain names an explanation of at most ten groups of columns",
                "Name fewer clinical variables: all genes are one group, each variable is one.",
            )
