"""The reference pages: command line, settings, HTTP API, parameters of a run, and the table of
limits.
"""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from typer.cli import get_docs_for_click
from typer.main import get_command

from api.app import describe_api
from api.cli.failures import KINDS
from api.cli.root import app
from api.operate.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("governance", "chain", "analytics", "api", "volens", "bench", "docs")
_SHELLS = """## In a shell

`volens --install-completion` makes the shell of this terminal (bash, zsh, fish, PowerShell) complete
commands and options, the names of keys in the home folder, and the names of roles, presets, purposes,
categories and outputs; `volens --show-completion` prints the script instead. `volens --version` shows
the release, and the code hash that a permit for it names."""
_FAILURES = """## Failures, for programs

A command that fails says what happened and what to do next, in two sentences on standard error. With
`--json` the last line on standard error is one JSON object instead, also for options that do not
exist; standard output holds answers only, so it can be read by the next program:

```json
{"error": {"kind": "refused", "detail": "…", "hint": "…", "reason": "PermitUndecided"}, "exit": 3}
```
`kind` follows from the exit code, `reason` names the rule that refused, `hint` and `reason` may be
null. Questions to a person, and what happens meanwhile, are on standard error too, before that line.
`volens verify` also exits with 8 (something was not checked) and 9 (anchored up to an earlier step).

| exit code | kind |
|---|---|"""
_SHARED_PROBLEMS = {"422", "500", "503"}


def write_cli() -> str:
    """Every command with its arguments and options, as `--help` says them."""
    command = get_command(app)
    context = click.Context(command, info_name="volens")  # type: ignore[arg-type]
    text = get_docs_for_click(obj=command, ctx=context, name="volens", title="Command line")
    kinds = "\n".join(f"| {code} | `{kind}` |" for code, kind in KINDS.items())
    return f"{text.strip()}\n\n{_SHELLS}\n\n{_FAILURES}\n{kinds}"


def write_settings() -> list[str]:
    """Every setting: its environment variable, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable. An address that is not set is read from "
        "`run.json` in the home folder, which `volens serve` writes.",
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
        "The OpenAPI document of a running deployment is at `/openapi.json`; its page `/docs` shows it "
        "in a browser, with nothing from other hosts, and tries out what only asks. Errors are "
        "problem+json (RFC 9457) with a `hint` that says what to do. Every route may also answer "
        "422, 500 or 503.",
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


def write_decisions() -> list[str]:
    """The decision records by number, with their titles."""
    lines = [
        "# Decisions",
        "",
        "Why things are as they are, in the order in which it was decided.",
        "",
    ]
    for path in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        title = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return lines


@dataclass(frozen=True, slots=True)
class Limit:
    """What is bounded, by which constant, in which unit, and what happens beyond it."""

    what: str
    module: str
    name: str
    unit: str
    beyond: str


LIMITS = (
    Limit(
        "values of one measurement in a care plan",
        "analytics.care.monitoring",
        "MOST",
        "values",
        "the newest stay, the others are counted",
    ),
    Limit(
        "a group's prognosis beside a plan",
        "analytics.care.prognosis",
        "LARGEST",
        "characters",
        "the notes are refused",
    ),
    Limit(
        "columns of an assay's record",
        "analytics.readers.assays",
        "MAX_COLUMNS",
        "columns",
        "the record is refused",
    ),
    Limit(
        "file of gene sets",
        "analytics.readers.gene_sets",
        "MAX_BYTES",
        "bytes",
        "the file is refused",
    ),
    Limit(
        "sets of one file",
        "analytics.readers.gene_sets",
        "MAX_SETS",
        "sets",
        "the file is refused",
    ),
    Limit(
        "genes of one set",
        "analytics.readers.gene_sets",
        "MAX_GENES",
        "genes",
        "the file is refused",
    ),
    Limit(
        "lease a worker asks for",
        "api.worker.attempt",
        "REQUESTED_LEASE",
        "s",
        "the broker releases no key; the attempt ends",
    ),
    Limit(
        "longest lease, of a new deployment",
        "chain.ledger",
        "MAX_LEASE",
        "s",
        "the contract shortens what is asked for",
    ),
    Limit(
        "claim without a sign of life",
        "api.worker.supervisor",
        "HOLD",
        "s",
        "another worker takes the run",
    ),
    Limit(
        "attempts of a run",
        "governance.rules.vocabulary",
        "MAX_ATTEMPTS",
        "",
        "the contract refuses until the analyst resumes it",
    ),
    Limit(
        "people of one attempt",
        "governance.rules.vocabulary",
        "MAX_SUBJECTS",
        "people",
        "the contract refuses",
    ),
    Limit("parameters", "governance.permits", "MAX_PARAMS", "bytes", "422"),
    Limit(
        "FHIR files of one person",
        "analytics.readers.bundle",
        "MAX_ALL_BYTES",
        "bytes",
        "nothing is registered",
    ),
    Limit(
        "resources of one person",
        "analytics.readers.bundle",
        "MAX_ALL_ENTRIES",
        "",
        "nothing is registered",
    ),
    Limit(
        "FHIR files of one ingest",
        "api.ingest.parser",
        "MAX_BUNDLES",
        "bytes",
        "nothing is registered; hand in fewer people at once",
    ),
    Limit("records of one ingest", "governance.objects.ingest", "MAX_RECORDS", "", "422"),
    Limit("items of one batch", "governance.consent", "BATCH", "", "422"),
    Limit("entries of a list", "api.http.strict_route", "MOST", "", "422; ask for the next page"),
    Limit(
        "a person's consents in a burst", "api.http.rate_limit", "DECISIONS", "", "429, later again"
    ),
    Limit(
        "messages that wait for the ledger in the API, without withdrawals",
        "chain.transactor",
        "MOST_WAITING",
        "",
        "503, later again; a withdrawal comes first",
    ),
    Limit("CPU time of an attempt", "api.worker.compute", "CPU_SECONDS", "s", "the child is ended"),
    Limit(
        "silence of a child that the worker does not watch",
        "api.worker.sandbox",
        "SILENCE",
        "s",
        "the attempt ends",
    ),
    Limit(
        "a rehearsal on the pages",
        "api.pages.rehearsals",
        "SECONDS",
        "s",
        "it is ended; 422",
    ),
    Limit("memory of such a rehearsal", "api.pages.rehearsals", "MEMORY", "bytes", "it ends; 422"),
    Limit(
        "such rehearsals at once, and one of each analyst",
        "api.pages.rehearsals",
        "AT_ONCE",
        "",
        "429, later again",
    ),
    Limit(
        "an analyst's rehearsals in a row",
        "api.pages.rehearsals",
        "BURST",
        "",
        "429, one more each minute",
    ),
    Limit("frame of a child", "api.worker.sandbox", "FRAME", "s", "the attempt ends"),
    Limit("sign-in challenge", "governance.sessions", "CHALLENGE_SECONDS", "s", "401"),
    Limit("session", "governance.sessions", "SESSION_SECONDS", "s", "401"),
    Limit("sessions of one account", "governance.sessions", "MOST_SESSIONS", "", "the oldest ends"),
    Limit(
        "notices kept of one person",
        "governance.notices.inbox",
        "MOST_KEPT",
        "",
        "the oldest that were read go first",
    ),
    Limit("a notice", "governance.notices.inbox", "KEPT_SECONDS", "s", "it is deleted"),
    Limit(
        "attempts to send a mail or post",
        "governance.notices.deliveries",
        "MOST_ATTEMPTS",
        "",
        "it is given up, and its person's page says so",
    ),
    Limit(
        "links to confirm an address, of one person and day",
        "governance.notices.addresses",
        "MOST_ASKED",
        "",
        "422, tomorrow again",
    ),
    Limit("such a link", "governance.notices.addresses", "LINK_SECONDS", "s", "404"),
    Limit("body to the broker", "governance.broker.endpoint", "MAX_BODY", "bytes", "413"),
    Limit(
        "smallest printed count",
        "analytics.disclosure.rounding",
        "SMALLEST_COUNT",
        "people",
        "smaller ones are suppressed",
    ),
    Limit(
        "grid of printed counts",
        "analytics.disclosure.rounding",
        "COUNT_GRID",
        "people",
        "counts are rounded to it",
    ),
    Limit(
        "noise of a printed number",
        "analytics.disclosure.noise",
        "BOUND",
        "people",
        "never more, either way",
    ),
    Limit(
        "tables that print a variant's z or frequency alike",
        "analytics.disclosure.counts",
        "CANDIDATES_NEEDED",
        "",
        "fewer: a coarser step, or it is withheld",
    ),
    Limit(
        "distinct feature profiles",
        "analytics.disclosure.counts",
        "PROFILES_NEEDED",
        "",
        "fewer: curves are withheld, and the AUC is printed in steps of 5 %",
    ),
    Limit(
        "different questions that a permit may allow",
        "governance.rules.vocabulary",
        "PERMIT_QUESTIONS",
        "",
        "`PermitInvalid`; beyond its own number a run is refused (44): ask for another permit",
    ),
    Limit(
        "different questions about one dataset, for ever",
        "governance.rules.vocabulary",
        "DATASET_QUESTIONS",
        "",
        "no run with another question is authorised (45)",
    ),
    Limit(
        "trail that verify.py reads",
        "governance.rules.encoding",
        "MAX_BUNDLE",
        "bytes",
        "exit code 8",
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
    for limit in LIMITS:
        value = getattr(importlib.import_module(limit.module), limit.name)
        number = f"{value:g}" if isinstance(value, float) else f"{value:,}"
        where = f"`{limit.module}.{limit.name}`"
        lines.append(f"| {limit.what} | {number} {limit.unit} | {limit.beyond} | {where} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write_modules() -> list[str]:
    """Every module with the first paragraph of its docstring, by package."""
    lines = ["# Modules", ""]
    for room in ROOMS:
        for folder in sorted({path.parent for path in (ROOT / room).rglob("*.py")}):
            modules = sorted(folder.glob("*.py"))
            package = next((module for module in modules if module.name == "__init__.py"), None)
            lines.append(f"## `{folder.relative_to(ROOT).as_posix()}`")
            lines += [_first_lines(package), ""] if package else [""]
            rows = [
                f"| `{module.name}` | {_cell(_first_lines(module))} |"
                for module in modules
                if module != package
            ]
            lines += ["| module | what it is for |", "|---|---|", *rows, ""] if rows else []
    return lines


def _first_lines(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())
