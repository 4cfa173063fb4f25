"""What a parsing child may say beside its records: a report, a dictionary, a sentence, of words that this code knows.

The custodian publishes the dictionary and may pass the report on, so neither may hold a text of the child's choosing.
A report has the keys that the readers write, numbers, and reasons that stand in their code; of a dictionary everything
but the rounded counts is worked out here again.
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
from analytics.readers.bundle import MAX_OBJECTS, MAX_VALUES
from api.worker.known_sentences import Sentences, reachable

MAX_COUNT = 1 << 40  # of a cohort's report
MAX_REASON = 80  # characters of a reason, without its path
READERS = Path(str(analytics.__file__)).parent / "readers"
VCF, VCF_REPORT = READERS / "vcf" / "split.py", READERS / "vcf" / "calls.py"
FHIR = tuple(READERS / f"{name}.py" for name in ("bundle", "codes", "fhir", "links", "resources"))
JSON = (READERS.parent / "canonical.py",)
FHIR_REPORT = {"type", "seen", "kept", "held back", "not taken", "values", "notes"}
# "not valid FHIR R4: Observation.code.coding", "nested deeper than 32: Observation.code", "no code", and of what is
# not strict JSON "JSON: an object has the same key twice: Observation.valueInteger"
_REASON = re.compile(
    rf"(JSON: )?([^:]{{1,{MAX_REASON}}}?)(?: [0-9]{{1,3}})?(?:: (\w+(?:\.\w+){{0,8}}))?"
)
# "class Observation(domainresource.DomainResource):", and "    code: fhirtypes.CodeableConceptType = Field(" with the
# name that JSON has for it.
_DEFINED = re.compile(
    r"^class (?P<kind>\w+)\((?:\w+\.)?(?P<base>\w+)"
    r"|^    (?P<element>\w+): (?P<type>[^=]*?) = Field\(|\balias=\"(?P<alias>\w+)\"",
    re.MULTILINE,
)
_TYPE = re.compile(r"fhirtypes\.(\w+)Type\b")
_BUNDLE = re.compile("(the bundle of ([0-9a-f]{64}) cannot be taken: )(.*)")


def is_vcf_report(report: object) -> bool:
    """Whether a cohort's report is counts by the names that its reader has for them."""
    if not isinstance(report, dict) or set(report) != _fields(VCF_REPORT, "VcfReport"):
        return False
    counts = dict(report)
    skipped = counts.pop("skipped")
    return _are_counts(counts) and _are_counts(skipped) and set(skipped) <= _texts((VCF,))


def are_fhir_reports(reports: object, subjects: Set[str]) -> bool:
    """Whether there is a report for everybody, of counts by categories, reasons and types that the readers know."""
    return (
        isinstance(reports, dict)
        and set(reports) == subjects
        and all(map(_is_fhir_report, reports.values()))
    )


def failure_of(said: Mapping[str, Any], subjects: Set[str]) -> tuple[str, str] | None:
    """(message, hint) of a child that fails, in the code's own words; None for a message that is none of them.

    The subject of a bundle stays: it is one of those that were asked for. Small numbers stay: who asked has the file.
    """
    message = said.get("message")
    bundle = _BUNDLE.fullmatch(message) if isinstance(message, str) else None
    if bundle and bundle[2] in subjects:
        inner = _messages().find(bundle[3])
        found = None if inner is None else bundle[1] + inner
    else:
        found = _messages().find(message)
    return None if found is None else (found, _hints().find(said.get("hint")) or "")


def _is_fhir_report(report: object) -> bool:
    if not isinstance(report, dict) or set(report) != FHIR_REPORT:
        return False
    parts = [report[name] for name in ("kept", "held back", "not taken", "values")]
    known = _texts(FHIR)
    return (
        report["type"] == "volens/split/1"
        and _are_counts({"seen": report["seen"]}, MAX_OBJECTS)
        and all(_are_counts(counts, MAX_OBJECTS) for counts in parts[:3])
        and _are_counts(report["values"], MAX_VALUES)
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
    """A sentence of the readers; with a number, or with a type and element that are R4's own."""
    found = _REASON.fullmatch(text)
    return found is not None and (
        found[2] in _texts(JSON if found[1] else FHIR)
        and (found[3] is None or _is_path(*found[3].split(".")))
    )


def _is_path(kind: str, *elements: str) -> bool:
    """Whether R4 has such a type, with such an element, with such an element in it, and so on."""
    here: str | None = kind
    for element in elements:
        here = _type_of(here, element)
        if here is None:
            return False
    return kind in _elements_of_r4()


def _type_of(kind: str | None, element: str) -> str | None:
    """The type of an element of a type or of what it extends; None where it has none of this name."""
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
    """Every text in the readers' code, without the colon after which a type or element follows."""
    return frozenset(
        node.value.removesuffix(": ").rstrip()
        for file in files
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@cache
def _fields(file: Path, name: str) -> frozenset[str]:
    """The fields of a dataclass; its module loads a parser, which this process does not need."""
    (found,) = (
        node
        for node in ast.parse(file.read_bytes()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    return frozenset(
        line.target.id
        for line in found.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    )


@cache
def _elements_of_r4() -> Mapping[str, tuple[str, dict[str, str]]]:
    """By type of FHIR R4, what it extends and the type of each of its elements, by Python's name and JSON's.

    Read from the library's files: its models are not loaded here.
    """
    library = find_spec("fhir")
    places = library.submodule_search_locations if library else None
    types: dict[str, tuple[str, dict[str, str]]] = {}
    for place in places or ():
        for file in Path(place, "resources", "R4B").glob("*.py"):
            elements: dict[str, str] = {}
            kind = ""
            for found in _DEFINED.finditer(file.read_text()):
                if found["kind"]:
                    elements = {}
                    types[found["kind"]] = found["base"], elements
                elif found["element"]:
                    named = _TYPE.search(found["type"])
                    kind = named[1] if named else found["type"]
                    elements[found["element"]] = kind
                else:
                    elements[found["alias"]] = kind
    return types
