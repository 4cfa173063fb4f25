"""Links and citations: what a document or a comment names must exist in this repository."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# [text](target) of Markdown, images included; addresses of the web and anchors of the same page are
# left alone.
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)\s]*)?\)")
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
            sentences += [
                f"{path} links to {target}, which does not exist"
                for target in _LINK.findall(text)
                if not (root / path.parent / target).exists()
            ]
        if path.parts[0] != "tests":  # tests make documents up
            sentences += [
                f"{path} names {name}, which does not exist"
                for name in sorted(set(_DOCUMENT.findall(text)))
                if name.rpartition("/")[2] not in names
            ]
    return sentences


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
