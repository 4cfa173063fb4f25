"""The reference pages: command line, settings, HTTP API, parameters of a run, and the table of limits."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from typer.cli import get_docs_for_click
from typer.main import get_command

from api.app import describe_api
from api.cli.root import app
from api.operate.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
_SHARED_PROBLEMS = {"422", "500", "503"}


def write_cli() -> str:
    """Every command with its arguments and options, as `--help` says them."""
    command = get_command(app)
    context = click.Context(command, info_name="volens")  # type: ignore[arg-type]
    text = get_docs_for_click(obj=command, ctx=context, name="volens", title="Command line")
    return text.strip()


def write_settings() -> list[str]:
    """Every setting: its environment variable, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable. An address that is not set is read from `run.json` "
        "in the home folder, which `volens serve` writes.",
        "",
        "| name | default | meaning |",
        "|---|---|---|",
    ]
    for name, entry in Settings.model_fields.items():
        default = "nothing" if entry.default in ("", None) else f"`{entry.default}`"
        lines.append(f"| `VOLENS_{name.upper()}` | {default} | {entry.description} |")
    return lines


def write_api() -> list[str]:
    """Every route of the HTTP API, from its OpenAPI document."""
    document = describe_api()
    lines = [
        "# HTTP API",
        "",
        "The OpenAPI document of a running deployment is at `/openapi.json`. Errors are problem+json (RFC 9457) with a "
        "`hint` that says what to do; each may also be 422, 500 or 503.",
        "",
        "| method | path | what it does | other answers |",
        "|---|---|---|---|",
    ]
    for path, operations in sorted(document["paths"].items()):
        for method, operation in operations.items():
            problems = sorted(set(operation["responses"]) - _SHARED_PROBLEMS)
            text = " ".join((operation.get("description") or operation["summary"]).split())
            lines.append(f"| {method.upper()} | `{path}` | {_cell(text)} | {', '.join(problems)} |")
    return lines


def write_parameters() -> list[str]:
    """The schema of a run's parameters, one table for each analysis."""
    schema = json.loads((ROOT / "analytics" / "params-schema.json").read_text("utf-8"))
    lines = ["# Parameters of a run", "", f"{schema['title']}.", ""]
    for reference in schema["oneOf"]:
        name = reference["$ref"].rpartition("/")[2]
        lines += [f"## {name}", "", "| parameter | values |", "|---|---|"]
        lines += _properties(schema["$defs"], schema["$defs"][name], "")
        lines.append("")
    return lines[:-1]


def _properties(
    definitions: Mapping[str, Any], entry: Mapping[str, Any], prefix: str
) -> Iterable[str]:
    """A row for each property of an object; those of inner objects follow under their dotted name."""
    for name, own in entry["properties"].items():
        described = definitions[own["$ref"].rpartition("/")[2]] if "$ref" in own else own
        text = own.get("description") or described.get("description") or _values(described)
        yield f"| `{prefix}{name}` | {_cell(text)} |"
        if "properties" in described:
            yield from _properties(definitions, described, f"{prefix}{name}.")


def _values(entry: Mapping[str, Any]) -> str:
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    return "see below" if "properties" in entry else str(entry.get("type", ""))


# (what, module, constant, unit, what happens beyond it)
LIMITS = (
    (
        "lease that a worker asks for",
        "api.worker.attempt",
        "LEASE",
        "seconds",
        "keys are refused after it",
    ),
    (
        "claim of a run without a sign of life",
        "api.worker.supervisor",
        "HOLD",
        "seconds",
        "another worker takes the run",
    ),
    (
        "silence of a computing child",
        "api.worker.sandbox",
        "SILENCE",
        "seconds",
        "the attempt ends, a new one follows",
    ),
    ("frame that a child says", "api.worker.sandbox", "FRAME", "seconds", "the attempt ends"),
    ("header of a frame", "api.worker.sandbox", "MAX_SAID", "bytes", "the attempt ends"),
    ("sign-in challenge", "governance.sessions", "CHALLENGE_SECONDS", "seconds", "ask for another"),
    ("session", "governance.sessions", "SESSION_SECONDS", "seconds", "sign in again"),
    ("sessions of one account", "governance.sessions", "MOST_SESSIONS", "", "the oldest ends"),
    ("open challenges", "governance.sessions", "MOST_CHALLENGES", "", "the oldest is forgotten"),
    ("body of a request to the broker", "governance.broker.endpoint", "MAX_BODY", "bytes", "413"),
    (
        "count that may be printed",
        "analytics.disclosure.counts",
        "SMALLEST_COUNT",
        "people",
        "smaller ones are suppressed",
    ),
    (
        "grid of printed counts",
        "analytics.disclosure.counts",
        "COUNT_GRID",
        "people",
        "counts are rounded to it",
    ),
    (
        "matrices that would print alike",
        "analytics.disclosure.counts",
        "CANDIDATES_NEEDED",
        "",
        "fewer: metrics are withheld",
    ),
    (
        "distinct feature profiles",
        "analytics.disclosure.counts",
        "PROFILES_NEEDED",
        "",
        "fewer: AUC and curves are withheld",
    ),
)


def write_limits() -> list[str]:
    """What is bounded, by the constants that bound it."""
    lines = [
        "# Table of limits",
        "",
        "| what | limit | beyond it | where |",
        "|---|---|---|---|",
    ]
    for what, module, name, unit, beyond in LIMITS:
        value = getattr(importlib.import_module(module), name)
        number = f"{value:g}" if isinstance(value, float) else f"{value:,}"
        lines.append(f"| {what} | {number} {unit} | {beyond} | `{module}.{name}` |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
