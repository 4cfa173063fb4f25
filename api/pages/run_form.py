"""The form of a run's parameters, made from their schema (analytics/params-schema.json).

A field's name is its path in the document, e.g. `cohort.age.0`; a part of one of several kinds has
the kind in its path, e.g. `outcome.diagnosis.event`. What a form sends is completed and checked by
the code that runs (`analytics.params`), so the form decides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import analytics.params
from analytics.catalogue import PCA
from analytics.errors import ParamsError
from analytics.explanations import REGISTERED as EXPLANATIONS
from analytics.params import (
    ANALYSES,
    GENE_SETS,
    SERIES_VARIABLES,
    USUAL_SERIES,
    YES_OR_NO,
    complete,
)
from analytics.readers.codes import VARIABLES
from api.pages import labels as words
from api.pages import run_text
from api.pages.forms import number_from
from api.pages.run_problems import in_words
from governance.errors import RequestInvalid
from governance.rules.encoding import strict_json

Given = Mapping[str, Sequence[str]]
_OUTCOME_ITSELF = ("metastasis", "follow_up_days")  # never predictors
_SPLIT_BY = ("strata", "fairness")
_MOST_SPLITS, _MOST_CUTS = 2, 3  # of the schema
_POINT = re.compile(r"[0-9]{1,5}(\.[0-9]{1,2})?", re.ASCII)
_PATH = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")  # of a parameter, in a problem's text
_POSITIONS = re.compile(r"^(\.[0-9]+)+")  # of an item in a list, in a problem's text
_TRY_AGAIN = "change it, and try again"
# Where a number is usually cut: tumour stages by size (TNM), overweight and obesity (WHO), limits
# of blood pressure, diabetes, lipids and kidney function.
_USUAL_CUTS = {
    "age_years": "50 65",
    "size_mm": "20 50",
    "bmi": "25 30",
    "systolic_mmhg": "140",
    "diastolic_mmhg": "90",
    "glucose_mmol_l": "7",
    "hba1c_percent": "6.5",
    "ldl_mmol_l": "3",
    "cholesterol_mmol_l": "5",
    "triglycerides_mmol_l": "1.7",
    "egfr": "60",
    "activity_minutes_per_week": "150",
}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "evaluate": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
    "survival": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
    "clusters": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
    "associate": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
    "frequencies": {"sites": ["1:1000000:A>C"]},
}


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part of the form.

    kind: group, kinds (one of several groups, chosen by `options`), choice, many (boxes), splits (a
    box for each variable by which people are split), split (one of them; its values are the points
    at which a number is cut, its hint the unit), number, words (a list of words) or flag. options:
    (value, label). problem: what is wrong with what was given. folds: whether it is one line until it
    is opened, where it holds nothing.
    """

    kind: str
    name: str
    label: str
    hint: str = ""
    options: tuple[tuple[str, str], ...] = ()
    parts: tuple[FormPart, ...] = ()
    least: int = 0
    most: int = 0
    optional: bool = False
    values: tuple[str, ...] = field(default=())
    problem: str = ""
    folds: bool = False

    @property
    def is_open(self) -> bool:
        """Whether something in it was ticked, or is wrong: a part that folds stands open then."""
        ticked = self.kind in ("many", "splits") and bool(self.values)
        return ticked or bool(self.problem) or any(part.is_open for part in self.parts)

    @property
    def ticked(self) -> list[Any]:
        """The boxes that are ticked, each an option or a part; of splits, those with a problem too."""
        return [box for box in self._boxes if self._is_ticked(box)]

    @property
    def unticked(self) -> list[Any]:
        """The other boxes."""
        return [box for box in self._boxes if not self._is_ticked(box)]

    @property
    def _boxes(self) -> Sequence[Any]:
        return self.parts if self.kind == "splits" else self.options

    def _is_ticked(self, box: Any) -> bool:
        if isinstance(box, FormPart):
            return _variable(box) in self.values or bool(box.problem)
        return box[0] in self.values


class FieldInvalid(RequestInvalid):
    """What a form's field says is invalid; `field` is its name."""

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


def form_parts(
    analysis: str,
    given: Given | None,
    gene_source: str = "expression",
    study: Mapping[str, Any] | None = None,
) -> tuple[FormPart, ...]:
    """The parts of an analysis's form, filled with what was given, else with the usual values.

    gene_source: where gene columns come from, if nothing was given. study: the people and the
    outcome that the permit is bound to, then the usual ones (analytics/study.py).

    Raises RequestInvalid for an unknown analysis.
    """
    schema = _definitions().get(analysis) if analysis in ANALYSES else None
    if schema is None:
        raise RequestInvalid("there is no such analysis", "choose among: " + ", ".join(ANALYSES))
    usual: Any = strict_json(complete({"analysis": analysis, **_EXAMPLES[analysis]}))
    if analysis == "evaluate":
        usual["genes"] |= {"source": gene_source, "encoder": PCA}
        usual["series"] = {"variables": [], **USUAL_SERIES}
    usual |= {name: part for name, part in (study or {}).items() if name in usual}
    parts = _parts(schema, "", usual, given)
    return _with_folds(parts, _parts(schema, "", usual, None))


def _with_folds(parts: Sequence[FormPart], usual: Sequence[FormPart]) -> tuple[FormPart, ...]:
    """The form with what most people leave as it is in one line each: boxes, measurements over time,
    and how genotypes are filtered where nobody changed it and genes are not read from variants.
    """
    of_variants = any(
        part.name == "genes.source" and "variants" in part.values for part in _flattened(parts)
    )
    reads_genes = any(part.name == "genes" for part in parts)

    def folds(part: FormPart) -> bool:
        if part.name == "variants":
            return reads_genes and not of_variants and part in usual
        return part.name == "series" or (
            part.kind in ("many", "splits") and part.name != "series.variables"
        )

    return tuple(
        replace(part, folds=folds(part), parts=_with_folds(part.parts, usual)) for part in parts
    )


def with_variables(
    parts: Sequence[FormPart], dictionary: Mapping[str, Any] | None
) -> tuple[FormPart, ...]:
    """The form with only the clinical variables that the dataset has, by its dictionary: those of
    at least ten people, each with how complete it is. Without a dictionary the form says so.
    """
    return tuple(
        _with_variables(part, dictionary) if part.name in ("clinical", *_SPLIT_BY) else part
        for part in parts
    )


def with_features(
    parts: Sequence[FormPart], features: Mapping[str, Any] | None
) -> tuple[FormPart, ...]:
    """The form with the assays and files of gene sets that the dataset has, as its custodian says;
    what it has none of is not asked.
    """
    assays = tuple(
        (row["assay"], f"{row['assay']} ({row['columns']} columns)")
        for row in (features or {}).get("assays", ())
    )
    sets = tuple(
        (row["sha256"], f"{row['title']} ({row['sets']} sets)")
        for row in (features or {}).get("sets", ())
    )
    chosen = []
    for part in parts:
        if part.name in ("assays", "genes.sets") and not (
            assays if part.name == "assays" else sets
        ):
            continue
        if part.name == "assays":
            part = replace(part, options=assays)
        elif part.name == "genes.sets":
            part = replace(part, options=(("", "none"), *sets))
        elif part.name == "genes.source" and not sets:
            part = replace(
                part, options=tuple(option for option in part.options if option[0] != GENE_SETS)
            )
        elif part.name.startswith("models."):
            part = replace(part, options=(*part.options, *assays))
        chosen.append(replace(part, parts=with_features(part.parts, features)))
    return tuple(chosen)


def with_problem(parts: Sequence[FormPart], problem: Exception | None) -> tuple[FormPart, ...]:
    """The form with a problem beside the field that it is about, if it is about one."""
    if not isinstance(problem, FieldInvalid):
        return tuple(parts)
    return tuple(
        replace(
            part,
            problem=str(problem) if part.name == problem.field else "",
            parts=with_problem(part.parts, problem),
        )
        for part in parts
    )


def _with_variables(part: FormPart, dictionary: Mapping[str, Any] | None) -> FormPart:
    if dictionary is None and part.kind == "splits":
        return part
    if dictionary is None:
        return replace(
            part,
            hint="The dataset's custodian has published no dictionary: it may lack some of these.",
        )
    complete_by = {
        row["variable"]: row["completeness"]
        for row in dictionary["variables"]
        if row["people"] is not None
    }
    if part.kind == "splits":
        offered = tuple(split for split in part.parts if _variable(split) in complete_by)
        chosen = tuple(name for name in part.values if name in complete_by)
        return replace(part, parts=offered, values=chosen)
    lacking = [label for name, label in part.options if name not in complete_by]
    hint = "As the dataset's dictionary says."
    if lacking:
        hint += " Not offered, since fewer than 10 people have them: " + ", ".join(lacking) + "."
    return replace(
        part,
        hint=hint,
        options=tuple(
            (name, f"{label} ({_completeness(complete_by[name])})")
            for name, label in part.options
            if name in complete_by
        ),
        values=tuple(name for name in part.values if name in complete_by),
    )


def _completeness(percent: int | None) -> str:
    return "completeness not told" if percent is None else f"{percent} % complete"


def params_from(analysis: str, given: Given) -> bytes:
    """The complete canonical parameters of a filled form. Raises RequestInvalid."""
    if analysis not in ANALYSES:
        raise RequestInvalid("there is no such analysis", "choose among: " + ", ".join(ANALYSES))
    document = _read_object(_definitions()[analysis], "", given)
    if document.get("models") == {}:
        raise FieldInvalid("models", "no model is chosen", "tick a box under Models")
    try:
        return complete(document)
    except ParamsError as error:
        raise _problem_of(
            str(error).removeprefix("parameters: "), document, form_parts(analysis, given)
        ) from None


def _problem_of(
    text: str, document: Mapping[str, Any], parts: Sequence[FormPart]
) -> RequestInvalid:
    """What is wrong with the parameters, at the field that the text names, by its label."""
    by_name = {part.name: part for part in _flattened(parts)}
    explanations = {name: run_text.explanation(name) for name in EXPLANATIONS}
    problem = in_words(text, document, explanations)
    if problem is not None and problem.field in by_name:
        return FieldInvalid(problem.field, problem.message, problem.hint)
    kind = (document.get("outcome") or {}).get("kind", "")

    def part_of(word: str) -> FormPart | None:
        names = (word, word.replace("outcome.", f"outcome.{kind}."), f"{word}.kind")
        return next((by_name[name] for name in names if name in by_name), None)

    words_of_it = _PATH.findall(text)
    # A dotted word is surely a path; another may be a word of the sentence.
    named = sorted(filter(part_of, words_of_it), key=lambda word: "." not in word)
    part = part_of(named[0]) if named else None
    if part is None:
        return RequestInvalid(text, _TRY_AGAIN)
    if part.kind == "words" and part.hint:
        return FieldInvalid(part.name, f"“{part.label}” is not {part.hint}", _TRY_AGAIN)
    if text.startswith(named[0]):
        rest = _POSITIONS.sub("", text.removeprefix(named[0])).lstrip()
        text = f"“{part.label}”{' ' if rest.startswith('is ') else ': '}{rest}"
    for word in filter(lambda word: "." in word, words_of_it):
        if (other := part_of(word)) is not None:
            text = text.replace(word, f"“{other.label}”")
    return FieldInvalid(part.name, text, _TRY_AGAIN)


def _flattened(parts: Sequence[FormPart]) -> list[FormPart]:
    return [flat for part in parts for flat in (part, *_flattened(part.parts))]


@cache
def _definitions() -> dict[str, Any]:
    path = Path(analytics.params.__file__).parent / "params-schema.json"
    schema: dict[str, Any] = json.loads(path.read_bytes())["$defs"]
    return schema


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema behind references and `allOf`; the outer description counts."""
    if "$ref" in schema:
        return _resolved(_definitions()[schema["$ref"].rpartition("/")[2]])
    resolved = dict(schema)
    for part in resolved.pop("allOf", ()):
        resolved = _resolved(part) | resolved
    return resolved


def _kind_of(schema: Mapping[str, Any]) -> str:
    """What kind of part a value of this schema is in a form."""
    if "const" in schema:
        return "const"
    if "oneOf" in schema:
        return "kinds"
    if "enum" in schema:
        return "choice"
    if "prefixItems" in schema:
        return "group"
    match schema.get("type"):
        case "object":
            return "group"
        case "array":
            return "many" if _choices(schema) else "words"
        case "boolean":
            return "flag"
        case "string":
            return "named"
    return "number"


def _choices(schema: Mapping[str, Any]) -> Sequence[str]:
    """What a list of this schema may hold beside names that a custodian gave."""
    items = _resolved(schema["items"])
    return tuple(items.get("enum") or items.get("anyOf", [{}])[0].get("enum", ()))


# --- from the schema to the form ------------------------------------------------------------------


def _parts(
    schema: Mapping[str, Any], path: str, usual: Any, given: Given | None
) -> tuple[FormPart, ...]:
    required = schema.get("required", ())
    parts = [
        _part(
            part,
            f"{path}{name}",
            name,
            usual.get(name) if isinstance(usual, Mapping) else None,
            given,
            name not in required,
        )
        for name, part in schema["properties"].items()
    ]
    return tuple(part for part in parts if part is not None)


def _part(
    schema: Mapping[str, Any], path: str, name: str, usual: Any, given: Given | None, optional: bool
) -> FormPart | None:
    schema = _resolved(schema)
    kind, label = _kind_of(schema), words.parameter(path, name)
    hint = (
        "" if kind in ("choice", "flag", "group", "kinds") else str(schema.get("description", ""))
    )
    match kind:
        case "const":
            return None
        case "kinds":
            return _kinds(schema, path, label, usual, given)
        case "group":
            pair = "prefixItems" in schema
            parts = _pair if pair else _parts
            inner = parts(schema, f"{path}.", usual, given)
            return FormPart(kind, path, label, parts=inner)
        case "choice":
            return FormPart(
                kind, path, label, hint, _options(schema["enum"]), values=_given(given, path, usual)
            )
        case "many":
            options = _options(_choices(schema))
            return FormPart(
                kind,
                path,
                label,
                options=options,
                optional=optional,
                values=_given(given, path, usual),
            )
        case "words" if path == "series.variables":
            options = tuple((name, words.variable(name)) for name in sorted(SERIES_VARIABLES))
            return FormPart("many", path, label, options=options, values=_given(given, path, usual))
        case "words" if path == "clinical":
            names = [*(name for name in VARIABLES if name not in _OUTCOME_ITSELF), "female"]
            options = tuple((name, words.variable(name)) for name in names)
            return FormPart("many", path, label, options=options, values=_given(given, path, usual))
        case "words" if path in _SPLIT_BY:
            return _splits(path, label, usual or (), given)
        case "words" if path == "assays":  # those of the dataset: `with_features`
            return FormPart("many", path, label, optional=True, values=_given(given, path, usual))
        case "named":
            findings = YES_OR_NO if name == "variable" else ()
            options = tuple((finding, words.variable(finding)) for finding in findings)
            return FormPart("choice", path, label, hint, options, values=_given(given, path, usual))
        case "words":
            text = _given(given, path, " ".join(usual or ()))
            return FormPart(kind, path, label, hint, values=text)
        case "flag":
            ticked = ("yes",) if given is None and usual else tuple((given or {}).get(path, ()))
            return FormPart(kind, path, label, values=ticked)
    return FormPart(
        kind,
        path,
        label,
        least=schema["minimum"],
        most=schema["maximum"],
        values=_given(given, path, usual),
    )


def _kinds(
    schema: Mapping[str, Any], path: str, label: str, usual: Any, given: Given | None
) -> FormPart:
    """A choice between groups, e.g. of what is predicted."""
    names = [variant["properties"]["kind"]["const"] for variant in schema["oneOf"]]
    groups = tuple(
        FormPart(
            "group",
            f"{path}.{variant}",
            words.parameter_value(variant),
            parts=_parts(part, f"{path}.{variant}.", usual, given),
        )
        for variant, part in zip(names, schema["oneOf"], strict=True)
    )
    chosen = _given(given, f"{path}.kind", (usual or {}).get("kind"))
    return FormPart(
        "kinds", f"{path}.kind", label, options=_options(names), parts=groups, values=chosen
    )


def _splits(path: str, label: str, usual: Sequence[str], given: Given | None) -> FormPart:
    """A box for each variable by which people can be split; a number has the points of its cut."""
    cuts = {name: " ".join(points) for name, *points in (rule.split(":") for rule in usual)}
    parts = []
    for name in (*(name for name in VARIABLES if name not in _OUTCOME_ITSELF), "female"):
        is_number = name in VARIABLES and VARIABLES[name].kind == "quantity"
        text, unit = run_text.name_and_unit(name)
        points = _given(given, f"{path}.{name}", cuts.get(name) or _USUAL_CUTS.get(name, ""))
        parts.append(
            FormPart(
                "split",
                f"{path}.{name}",
                text,
                unit or "its unit" if is_number else "",
                values=points if is_number else (),
            )
        )
    hint = "At most two. A number is cut at one to three rising points."
    return FormPart(
        "splits", path, label, hint, parts=tuple(parts), values=_given(given, path, list(cuts))
    )


def _variable(part: FormPart) -> str:
    """The variable of one way to split people."""
    return part.name.rpartition(".")[2]


def _pair(
    schema: Mapping[str, Any], path: str, usual: Any, given: Given | None
) -> tuple[FormPart, ...]:
    """The two ends of a range."""
    return tuple(
        FormPart(
            "number",
            f"{path}{at}",
            ("from", "to")[at],
            least=_resolved(item)["minimum"],
            most=_resolved(item)["maximum"],
            values=_given(given, f"{path}{at}", usual[at] if usual else ""),
        )
        for at, item in enumerate(schema["prefixItems"])
    )


def _given(given: Given | None, path: str, usual: Any) -> tuple[str, ...]:
    if given is not None:
        return tuple(given.get(path, ()))
    if usual is None:
        return ()
    return tuple(map(str, usual)) if isinstance(usual, list) else (str(usual),)


def _options(values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((value, words.parameter_value(value)) for value in values)


# --- from the form to the document ----------------------------------------------------------------


def _read_object(schema: Mapping[str, Any], path: str, given: Given) -> dict[str, Any]:
    required = schema.get("required", ())
    document = {}
    for name, part in schema["properties"].items():
        value = _read(_resolved(part), f"{path}{name}", given)
        if value is not None and (name in required or value != []):
            document[name] = value
    return document


def _read(schema: Mapping[str, Any], path: str, given: Given) -> Any:
    values = given.get(path, [])
    match _kind_of(schema):
        case "const":
            return schema["const"]
        case "kinds":
            chosen = (given.get(f"{path}.kind") or [""])[0]
            for variant in schema["oneOf"]:
                if variant["properties"]["kind"]["const"] == chosen:
                    return _read_object(variant, f"{path}.{chosen}.", given)
            raise FieldInvalid(
                f"{path}.kind", "the form does not say what is predicted", "choose one"
            )
        case "group" if "prefixItems" in schema:
            return [
                _integer(given.get(f"{path}.{at}", []), path, _resolved(item))
                for at, item in enumerate(schema["prefixItems"])
            ]
        case "group" if path == "series" and not given.get("series.variables"):
            return None  # without a variable there are none
        case "group":
            return _read_object(schema, f"{path}.", given)
        case "choice":
            return values[0] if values else ""
        case "words" if path in _SPLIT_BY:
            return _read_splits(path, values, given)
        case "named":
            return values[0] if values and values[0] else None
        case "words" if path not in ("clinical", "assays", "series.variables"):
            return _words(values)
        case "many" | "words":
            return list(values)
        case "flag":
            return bool(values)
    return _integer(values, path, schema)


def _read_splits(path: str, variables: Sequence[str], given: Given) -> list[str]:
    """The rules by which people are split. Raises FieldInvalid."""
    if len(variables) > _MOST_SPLITS:
        raise FieldInvalid(
            path, f"at most {_MOST_SPLITS} can be chosen", "take a tick away, and try again"
        )
    rules = []
    for name in variables:
        is_number = name in VARIABLES and VARIABLES[name].kind == "quantity"
        points = _words(given.get(f"{path}.{name}", [])) if is_number else []
        numbers = [float(point) for point in points if _POINT.fullmatch(point)]
        rises = len(numbers) == len(points) and numbers == sorted(set(numbers))
        if is_number and not (rises and 1 <= len(points) <= _MOST_CUTS):
            label, _ = run_text.name_and_unit(name)
            raise FieldInvalid(
                f"{path}.{name}",
                f"{label} is cut at one to three rising numbers, such as 50 65",
                _TRY_AGAIN,
            )
        rules.append(":".join([name, *points]))
    return rules


def _words(values: Sequence[str]) -> list[str]:
    return [word for value in values for word in value.replace(",", " ").split()]


def _integer(values: Sequence[str], path: str, schema: Mapping[str, Any]) -> int:
    """A whole number within the schema's limits. Raises FieldInvalid, with the part's label."""
    label = words.parameter(path, path.rpartition(".")[2])
    text = values[0] if values else ""
    try:
        return number_from(text, schema["minimum"], schema["maximum"], f"“{label}”")
    except RequestInvalid as error:
        raise FieldInvalid(path, str(error), error.hint) from None
