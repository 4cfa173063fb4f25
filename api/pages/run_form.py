"""The form of a run's parameters, made from their schema (analytics/params-schema.json).

A field's name is its path in the document, e.g. `cohort.age.0`; a part of one of several kinds has
the kind in its path, e.g. `outcome.diagnosis.event`. What a form sends is completed and checked by
the code that runs (`analytics.params`), so the form decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import analytics.params
from analytics.errors import ParamsError
from analytics.params import ANALYSES, complete
from analytics.readers.codes import VARIABLES
from api.pages import labels as words
from api.pages.forms import number_from
from governance.errors import RequestInvalid
from governance.rules.encoding import strict_json

Given = Mapping[str, Sequence[str]]
_OUTCOME_ITSELF = ("metastasis", "follow_up_days")  # never predictors
_EXAMPLES: dict[str, dict[str, Any]] = {
    "evaluate": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
    "survival": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
    "associate": {"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}},
    "frequencies": {"sites": ["1:1000000:A>C"]},
}


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part of the form.

    kind: group, kinds (one of several groups, chosen by `options`), choice, many (boxes), number,
    words (a list of words) or flag. options: (value, label).
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


def form_parts(
    analysis: str,
    given: Given | None,
    gene_source: str = "expression",
    study: Mapping[str, Any] | None = None,
) -> tuple[FormPart, ...]:
    """The parts of an analysis's form, filled with what was given, else with the usual values.

    gene_source: where gene columns come from, if nothing was given. study: the people and the outcome
    that the permit is bound to, then the usual ones (analytics/study.py).

    Raises RequestInvalid for an unknown analysis.
    """
    schema = _definitions().get(analysis) if analysis in ANALYSES else None
    if schema is None:
        raise RequestInvalid("there is no such analysis", "choose among: " + ", ".join(ANALYSES))
    usual: Any = strict_json(complete({"analysis": analysis, **_EXAMPLES[analysis]}))
    if analysis == "evaluate":
        usual["genes"]["source"] = gene_source
    usual |= {name: part for name, part in (study or {}).items() if name in usual}
    return _parts(schema, "", usual, given)


def with_variables(
    parts: Sequence[FormPart], dictionary: Mapping[str, Any] | None
) -> tuple[FormPart, ...]:
    """The form with only the clinical variables that the dataset has, by its dictionary: those of
    at least ten people, each with how complete it is. Without a dictionary the form says so.
    """
    return tuple(
        _with_variables(part, dictionary) if part.name == "clinical" else part for part in parts
    )


def _with_variables(part: FormPart, dictionary: Mapping[str, Any] | None) -> FormPart:
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
        raise RequestInvalid("no model is chosen", "tick a box under Models")
    try:
        return complete(document)
    except ParamsError as error:
        raise RequestInvalid(
            str(error).removeprefix("parameters: "), "change it, and try again"
        ) from None


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
            return "many" if "enum" in _resolved(schema["items"]) else "words"
        case "boolean":
            return "flag"
    return "number"


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
    hint = "" if kind in ("choice", "flag") else str(schema.get("description", ""))
    match kind:
        case "const":
            return None
        case "kinds":
            return _kinds(schema, path, label, hint, usual, given)
        case "group":
            pair = "prefixItems" in schema
            parts = _pair if pair else _parts
            inner = parts(schema, f"{path}.", usual, given)
            return FormPart(kind, path, label, hint, parts=inner)
        case "choice":
            return FormPart(
                kind, path, label, hint, _options(schema["enum"]), values=_given(given, path, usual)
            )
        case "many":
            options = _options(_resolved(schema["items"])["enum"])
            return FormPart(
                kind,
                path,
                label,
                options=options,
                optional=optional,
                values=_given(given, path, usual),
            )
        case "words" if path == "clinical":
            names = [*(name for name in VARIABLES if name not in _OUTCOME_ITSELF), "female"]
            options = tuple((name, words.variable(name)) for name in names)
            return FormPart("many", path, label, options=options, values=_given(given, path, usual))
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
    schema: Mapping[str, Any], path: str, label: str, hint: str, usual: Any, given: Given | None
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
    return FormPart("kinds", f"{path}.kind", label, hint, _options(names), groups, values=chosen)


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
            chosen = given.get(f"{path}.kind", [""])[0]
            for variant in schema["oneOf"]:
                if variant["properties"]["kind"]["const"] == chosen:
                    return _read_object(variant, f"{path}.{chosen}.", given)
            raise RequestInvalid("the form does not say what is predicted", "choose one")
        case "group" if "prefixItems" in schema:
            return [
                _integer(given.get(f"{path}.{at}", []), path, _resolved(item))
                for at, item in enumerate(schema["prefixItems"])
            ]
        case "group":
            return _read_object(schema, f"{path}.", given)
        case "choice":
            return values[0] if values else ""
        case "words" if path != "clinical":
            return [word for value in values for word in value.replace(",", " ").split()]
        case "many" | "words":
            return list(values)
        case "flag":
            return bool(values)
    return _integer(values, path, schema)


def _integer(values: Sequence[str], path: str, schema: Mapping[str, Any]) -> int:
    """A whole number within the schema's limits. Raises RequestInvalid, with the part's label."""
    label = words.parameter(path, path.rpartition(".")[2])
    text = values[0] if values else ""
    return number_from(text, schema["minimum"], schema["maximum"], f"“{label}”")
