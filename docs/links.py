"""Links and citations: what a document or a comment names must exist in this repository, and where a
link leads to a part of a document, a heading or an anchor of that name.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# [text](target#part) of Markdown, images included; addresses of the web are left alone.
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
_BLOCK = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)?$", re.MULTILINE)
_ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
# A Markdown document named in a comment, a docstring or a text.
_DOCUMENT = re.compile(r"(?<![\w*{])((?:[\w-]+/)*[\w-]+\.md)\b")
_READ = (".py", ".md", ".sol", ".toml", ".js", ".html", ".yml")
# What a user's own files are called in examples.
_EXAMPLES = {"cohort.md", "plan.md", "plan-2.md", "document.md", "notice.md"}


def missing(root: Path = ROOT) -> list[str]:
    """A sentence for each link or named document that does not exist."""
    tracked = [Path(name) for name in _tracked(root)]
    names = {path.name for path in tracked} | _EXAMPLES
    sentences = []
    for path in tracked:
        if path.suffix not in _READ or "data" in path.parts or "static" in path.parts:
            continue
        text = (root / path).read_text("utf-8")
        if path.suffix == ".md":
            sentences += _broken(root, path, text)
        if path.parts[0] != "tests":  # tests make documents up
            sentences += [
                f"{path} names {name}, which does not exist"
                for name in sorted(set(_DOCUMENT.findall(text)))
                if name.rpartition("/")[2] not in names
            ]
    return sentences


def _broken(root: Path, path: Path, text: str) -> Iterator[str]:
    """A sentence for each link of a document that leads nowhere."""
    for target, part in _LINK.findall(text):
        file = root / path.parent / target if target else root / path
        if not file.exists():
            yield f"{path} links to {target}, which does not exist"
        elif part and file.suffix == ".md" and part not in _parts(file.read_text("utf-8")):
            yield f"{path} links to {target}#{part}, and there is no such heading"


def _parts(text: str) -> set[str]:
    """The names of a document's headings and anchors, as GitHub makes them: in small letters, without
    signs, a hyphen for each space; one that stands again has a number.
    """
    text = _BLOCK.sub("", text)
    names = set(_ANCHOR.findall(text))
    for heading in _HEADING.findall(text):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).strip().replace(" ", "-")
        count = 1
        name = slug
        while name in names:
            name, count = f"{slug}-{count}", count + 1
        names.add(name)
    return names


def _tracked(root: Path) -> Iterator[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (root / name).is_file():
            yield name
