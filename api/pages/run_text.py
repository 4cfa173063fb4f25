"""A run in words: what its parameters ask, and the groups, parts and withheld numbers of its
result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from analytics.errors import ParamsError
from analytics.explanations import REGISTERED as EXPLANATIONS
from analytics.explanations.registry import OVER_TIME
from analytics.metrics import METRICS
from analytics.params import Params, parse_params
from analytics.readers.codes import VARIABLES
from analytics.strata import ALL, parse_split
from analytics.study import bound_study
from api.pages import labels as words
from api.pages.diagnoses import diagnosis
from governance.rules.encoding import strict_json

MEASURES = {
    "auc": "AUC",
    "tpr": "found, of those with the outcome",
    "fpr": "false alarms, of those without it",
}
# Numbers of a result, as its disclosure record calls them.
_NUMBERS = {
    "roc": "ROC curve",
    **{metric.name: metric.word for metric in METRICS},
    "auc": "AUC",
    "events": "number with the outcome",
    "people": "number of people",
    "survival": "survival curve",
    "frequency": "frequency",
}
_TOGETHER = {"genes": "all genes", "components of genes": "components of the genes"}


def group(name: str) -> str:
    """A group of people in words: "oestrogen receptor positive: yes", "age at diagnosis: under 50
    years".
    """
    if name == ALL:
        return "all people"
    return ", ".join(_part_of_group(part) for part in name.split(", "))


def _part_of_group(part: str) -> str:
    name, _, value = part.partition(" ")
    if name != "female" and name not in VARIABLES:  # such as "not known"
        return part
    label, unit = name_and_unit(name)
    if name == "female" or set(VARIABLES[name].answers.values()) == {0, 1}:
        return f"{label}: { {'0': 'no', '1': 'yes'}.get(value, value) }"
    if VARIABLES[name].kind != "quantity" or not unit:
        return f"{label}: {value}"
    number, more, _ = value.partition(" or more")
    return f"{label}: {number} {unit}{more}"


def name_and_unit(variable: str) -> tuple[str, str]:
    """A variable's label without its unit, and the unit, "" for none."""
    label, _, unit = words.variable(variable).partition(" (")
    return label, unit.removesuffix(")")


def split(rule: str) -> str:
    """A rule by which people are split, in words: "age at diagnosis: under 50 years, 65 years or
    more".
    """
    try:
        parsed = parse_split(rule)
    except (ParamsError, ValueError):
        return rule
    label, _ = name_and_unit(parsed.variable)
    if not parsed.cuts:
        return label
    groups = [group(parsed.label(low)).partition(": ")[2] for low, _ in parsed.groups()]
    return f"{label}: {', '.join(groups)}"


def feature(name: str) -> str:
    """A part of the data in words: a clinical variable, a variant or probe, or several columns."""
    variable, over_time, _ = name.partition(OVER_TIME)
    return _TOGETHER.get(name) or clinical(variable) + over_time


def clinical(name: str) -> str:
    """A clinical variable, or a code as one, in words; a variant or probe as it is."""
    if ":" in name:
        return diagnosis(name)
    return words.variable(name) if name == "female" or name in VARIABLES else name


def explanation(name: str) -> str:
    """An explanation by its short name: "linear SHAP"."""
    return EXPLANATIONS[name].shown.partition(",")[0] if name in EXPLANATIONS else name


def withheld(what: str) -> str:
    """What a disclosure record calls a number, in words: "ROC curve: SVM on genes"."""
    head, colon, tail = what.rpartition(": ")
    if not colon:
        return _listed(what)
    model, slash, feature_set = tail.partition("/")
    if head == "model file":
        tail = words.model(tail)
    elif slash:
        tail = f"{words.model(model)} on {words.feature_set(feature_set)}"
    else:
        tail = group(tail)
    measure, of, name = head.partition(" of ")
    if of and measure in MEASURES:
        return f"{MEASURES[measure]} ({group(name)}): {tail}"
    return f"{_listed(head)}: {tail}"


def _listed(text: str) -> str:
    """A list of numbers with each in words."""
    return ", ".join(_NUMBERS.get(part) or explanation(part) for part in text.split(", "))


# --- what was asked -------------------------------------------------------------------------------


def describe(params: str) -> list[tuple[str, str]]:
    """What the parameters ask, in a few lines: people, outcome, data, models and groups; [] for
    those of another version.
    """
    try:
        asked = parse_params(params.encode())
    except ParamsError:
        return []
    document: Any = strict_json(params.encode())
    lines = [("People", words.people_of(document["cohort"]))]
    if asked.outcome is not None:
        lines.append(("Outcome", words.outcome_defined(document["outcome"])))
    lines += _OF_ANALYSIS[asked.analysis](asked)
    mask = sum(1 << category for category in asked.categories)
    return [*lines, ("Kinds of data that it needs", words.categories(mask))]


def _of_prediction(asked: Params) -> list[tuple[str, str]]:
    models = [
        f"{words.model(model)} on {', on '.join(map(words.feature_set, chosen))}"
        for model, chosen in asked.models
    ]
    lines = [("Models", "; ".join(models)), *_data_of(asked)]
    examined = f"{words.model(asked.primary)} on {words.feature_set(asked.examined_feature_set)}"
    if asked.explain:
        lines.append(("Explained", f"{examined}, by {', '.join(map(explanation, asked.explain))}"))
    if asked.fairness:
        lines.append(("Compared between groups", f"{examined}, {_splits(asked.fairness)}"))
    return lines


def _of_survival(asked: Params) -> list[tuple[str, str]]:
    curves = f"all people, and {_splits(asked.strata)}" if asked.strata else "all people together"
    return [("Curves of", curves), *_data_of(asked)]


def _of_clusters(asked: Params) -> list[tuple[str, str]]:
    number = (
        f"{asked.clusters} clusters" if asked.clusters else "2 to 6 clusters, as many as fit best"
    )
    return [("Groups", f"{number}, by {words.parameter_value(asked.method)}"), *_data_of(asked)]


def _of_scan(asked: Params) -> list[tuple[str, str]]:
    return [
        ("Reported", f"at most {asked.statistics} variants, the most associated"),
        ("Covariates", ", ".join(map(clinical, asked.clinical)) or "none"),
    ]


def _of_sites(asked: Params) -> list[tuple[str, str]]:
    return [("Variants", ", ".join(asked.sites))]


_OF_ANALYSIS = {
    "evaluate": _of_prediction,
    "survival": _of_survival,
    "clusters": _of_clusters,
    "associate": _of_scan,
    "frequencies": _of_sites,
}


def _data_of(asked: Params) -> list[tuple[str, str]]:
    genes = words.parameter_value(asked.gene_source)
    rules = asked.genes
    if rules is not None and asked.gene_source != "none":
        columns = "columns"
        if rules.sets:
            columns = f"means of gene sets (of the file {words.short(rules.sets)})"
        genes += f": {rules.keep} {columns}, " + (
            f"chosen in each fold by {words.parameter_value(rules.select)}"
            if rules.select
            else f"those that vary most, as {rules.components} principal components"
        )
        if rules.select and rules.components:
            encoder = words.parameter_value(rules.encoder)
            genes += f", and {rules.components} components of all, by {encoder}"
    return [
        ("Clinical variables", ", ".join(map(clinical, asked.clinical)) or "none"),
        ("Genes", genes),
        *([("Assays", ", ".join(asked.used_assays))] if asked.used_assays else []),
        *_series_of(asked),
    ]


def _series_of(asked: Params) -> list[tuple[str, str]]:
    """Measurements over time, in words; [] for none."""
    series = asked.series
    if series is None:
        return []
    names = ", ".join(map(clinical, series.variables))
    window = f"the {series.days} days until the index diagnosis, in steps of {series.step}"
    return [("Measurements over time", f"{names}: {window}")]


def _splits(rules: Sequence[str]) -> str:
    return "by " + " and by ".join(map(split, rules))


def find_study_of(params_schema: str, plan: str | None) -> Mapping[str, Any] | None:
    """The people and the outcome that a permit with this plan is bound to; None for none."""
    study = bound_study(bytes.fromhex(params_schema), plan)
    return None if study is None else json.loads(study)


def study_of(params_schema: str, plan: str | None) -> str:
    """The study that a permit with this plan is bound to, in words; "" for none."""
    study = find_study_of(params_schema, plan)
    return "" if study is None else words.study(study)


def describe_all(params: str) -> list[tuple[str, str]]:
    """Every parameter as (name in words, value in words)."""
    document: Any = strict_json(params.encode())
    lines: list[tuple[str, str]] = []
    for name, value in sorted(document.items()):
        if isinstance(value, Mapping):
            lines += [
                (
                    f"{words.parameter(name, name)}: {words.parameter(f'{name}.{key}', key)}",
                    _value(f"{name}.{key}", inner),
                )
                for key, inner in sorted(value.items())
            ]
        else:
            lines.append((words.parameter(name, name), _value(name, value)))
    return lines


def _value(path: str, value: Any) -> str:
    if isinstance(value, list):
        between = (
            " to " if path == "cohort.age" else "; " if path in ("strata", "fairness") else ", "
        )
        return between.join(_item(path, str(item)) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if path == "primary":
        return words.model(str(value))
    return words.parameter_value(str(value))


def _item(path: str, item: str) -> str:
    if path in ("strata", "fairness"):
        return split(item)
    if path == "explain":
        return explanation(item)
    if path.startswith("models."):
        return words.feature_set(item)
    if re.fullmatch("cohort.with|cohort.without|outcome.index|outcome.event", path):
        return diagnosis(item)
    return clinical(item) if path == "clinical" else item
