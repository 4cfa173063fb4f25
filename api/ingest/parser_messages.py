"""Check the unencrypted messages of the sandboxed parser (report, dictionary, errors) against known
words.

The custodian publishes the dictionary and may pass on the report, so neither may contain a text
chosen by the child. A report contains only the readers' keys, numbers, and reasons from their
source code; in a dictionary everything except the rounded counts is computed here again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Set
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import analytics
from analytics.readers.bundle import FILES, MAX_OBJECTS, MAX_VALUES, NOT_R4
from analytics.readers.code_map import MAX_CODES, CodeMap
from analytics.readers.export import MAX_LINES, Export
from api.worker.known_sentences import Sentences, reachable

MAX_COUNT = 1 << 40  # of a cohort's report
MAX_REASON = 80  # characters of a reason, without its path
READERS = Path(str(analytics.__file__)).parent / "readers"
VCF, VCF_REPORT = READERS / "vcf" / "split.py", READERS / "vcf" / "calls.py"
FHIR = tuple(
    READERS / f"{name}.py"
    for name in ("bundle", "codes", "dates", "fhir", "genomics", "links", "resources")
)
JSON = (READERS.parent / "canonical.py",)
FHIR_REPORT = {"type", "seen", "kept", "held back", "not taken", "values", "notes"}
# "not valid FHIR R4: Observation.code.coding", "nested deeper than 32: Observation.code", "no
# code", and of what is not strict JSON "JSON: an object has the same key twice:
# Observation.valueInteger"
_REASON = re.compile(
    rf"(JSON: )?([^:]{{1,{MAX_REASON}}}?)(?: [0-9]{{1,3}})?(?:: (\w+(?:\.\w+){{0,8}}))?"
)
# "class Observation(domainresource.DomainResource):", and "    code: fhirtypes.CodeableConceptType
# = Field(" with the name that JSON has for it.
_DEFINED = re.compile(
    r"^class (?P<kind>\w+)\((?:\w+\.)?(?P<base>\w+)"
    r"|^    (?P<element>\w+): (?P<type>[^=]*?) = Field\(|\balias=\"(?P<alias>\w+)\"",
    re.MULTILINE,
)
_TYPE = re.compile(r"fhirtypes\.(\w+)Type\b")
# What an error is about: a record, a line or a map that the request names.
_ABOUT = re.compile(
    "((?:the clinical record of ([0-9a-f]{64})|line [0-9]{1,8} of NDJSON file [0-9]{1,5}"
    "|code map [0-9]{1,3}) cannot be taken: )(.*)"
)


def is_vcf_report(report: object) -> bool:
    """Whether a cohort's report contains only counts, by the names of its reader."""
    if not isinstance(report, dict) or set(report) != _fields(VCF_REPORT, "VcfReport"):
        return False
    counts = dict(report)
    skipped = counts.pop("skipped")
    return _are_counts(counts) and _are_counts(skipped) and set(skipped) <= _texts((VCF,))


def are_fhir_reports(reports: object, subjects: Set[str]) -> bool:
    """Whether each subject has a report with only counts, by the readers' categories, reasons and
    types.
    """
    return (
        isinstance(reports, dict)
        and set(reports) == subjects
        and all(map(_is_fhir_report, reports.values()))
    )


def is_export_report(report: object) -> bool:
    """Whether the report on NDJSON files contains only counts, also by types of R4."""
    if not isinstance(report, dict) or set(report) != set(Export().to_json()):
        return False
    counts = dict(report)
    nobody = counts.pop("nobody")
    return (
        _are_counts(counts, MAX_LINES)
        and _are_counts(nobody, MAX_LINES)
        and set(nobody) <= {*_elements_of_r4(), NOT_R4}
    )


def are_map_reports(reports: object, maps: int) -> bool:
    """Whether there is a report on each code map, of counts only."""
    return (
        isinstance(reports, list)
        and len(reports) == maps
        and all(
            isinstance(report, dict)
            and set(report) == set(CodeMap({}).to_json())
            and _are_counts(report, MAX_CODES)
            for report in reports
        )
    )


def failure_of(header: Mapping[str, Any], subjects: Set[str]) -> tuple[str, str] | None:
    """(message, hint) of a failing child, as known sentences; None for an unknown message.

    The subject of a record stays, because the request named it. Small numbers stay, because the
    caller has the file.
    """
    message = header.get("message")
    about = _ABOUT.fullmatch(message) if isinstance(message, str) else None
    if about and (about[2] is None or about[2] in subjects):
        inner = _messages().find(about[3])
        sentence = None if inner is None else about[1] + inner
    else:
        sentence = _messages().find(message)
    return None if sentence is None else (sentence, _hints().find(header.get("hint")) or "")


def _is_fhir_report(report: object) -> bool:
    if not isinstance(report, dict) or set(report) != FHIR_REPORT:
        return False
    parts = [report[name] for name in ("kept", "held back", "not taken", "values")]
    known = _texts(FHIR)
    return (
        report["type"] == "volens/split/1"
        and _are_counts({"seen": report["seen"]}, FILES * MAX_OBJECTS)
        and all(_are_counts(counts, FILES * MAX_OBJECTS) for counts in parts[:3])
        and _are_counts(report["values"], FILES * MAX_VALUES)
        and report["seen"] == sum(sum(counts.values()) for counts in parts[:3])
        and all(category in map(str, range(32)) for category in report["kept"])
        and all(map(_is_reason, report["held back"]))
        and set(report["not taken"]) <= set(_elements_of_r4()) | known
        and set(report["values"]) <= known
        and isinstance(report["notes"], list)
        and all(isinstance(note, str) and note in known for note in report["notes"])
        and len(set(report["notes"])) == len(report["notes"])
    )


def _is_reason(text: str) -> bool:
    """Whether it is a sentence of the readers, with an optional number or a type and element of R4."""
    match = _REASON.fullmatch(text)
    return match is not None and (
        match[2] in _texts(JSON if match[1] else FHIR)
        and (match[3] is None or _is_path(*match[3].split(".")))
    )


def _is_path(kind: str, *elements: str) -> bool:
    """Whether R4 has this type with this path of elements."""
    here: str | None = kind
    for element in elements:
        here = _type_of(here, element)
        if here is None:
            return False
    return kind in _elements_of_r4()


def _type_of(kind: str | None, element: str) -> str | None:
    """The type of an element of a type or of its base types; None if there is no such element."""
    types = _elements_of_r4()
    while kind is not None and kind in types:
        base, elements = types[kind]
        if element in elements:
            return elements[element]
        kind = base
    return None


def _are_counts(counts: object, most: int = MAX_COUNT) -> bool:
    return isinstance(counts, dict) and all(
        type(count) is int and 0 <= count <= most for count in counts.values()
    )


@cache
def _messages() -> Sentences:
    return Sentences(reachable(Path(__file__).with_name("parser.py")), numbers=True)


@cache
def _hints() -> Sentences:
    return Sentences(reachable(Path(__file__).with_name("parser.py")), hints=True, numbers=True)


@cache
def _texts(files: tuple[Path, ...]) -> frozenset[str]:
    """Every string in the readers' code, without a final colon before a type or element."""
    return frozenset(
        node.value.removesuffix(": ").rstrip()
        for file in files
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@cache
def _fields(file: Path, name: str) -> frozenset[str]:
    """The fields of a dataclass; its module loads a parser, which this process does not need."""
    (definition,) = (
        node
        for node in ast.parse(file.read_bytes()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    return frozenset(
        line.target.id
        for line in definition.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    )


@cache
def _elements_of_r4() -> Mapping[str, tuple[str, dict[str, str]]]:
    """For each type of FHIR R4: its base type and the types of its elements, by Python's and JSON's
    names.

    Read from the library's files, because its models are not loaded here.
    """
    library = find_spec("fhir")
    folders = library.submodule_search_locations if library else None
    types: dict[str, tuple[str, dict[str, str]]] = {}
    for folder in folders or ():
        for file in Path(folder, "resources", "R4B").glob("*.py"):
            elements: dict[str, str] = {}
            kind = ""
            for match in _DEFINED.finditer(file.read_text()):
                if match["kind"]:
                    elements = {}
                    types[match["kind"]] = match["base"], elements
                elif match["element"]:
                    named = _TYPE.search(match["type"])
                    kind = named[1] if named else match["type"]
                    elements[match["element"]] = kind
                else:
                    elements[match["alias"]] = kind
    return types
