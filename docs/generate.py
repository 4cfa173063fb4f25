"""Generates documents and modules from the program: its tables, code, tests and installed packages.

`python docs/generate.py` writes them; with --check it compares and changes nothing. In both cases
it fails on a licence that is not allowed, on a threat whose test does not exist, and on a rule of
care plans that is expired or without its source.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import care_rules
import join_verifier
import links
import model_lists
import notebook
import reference
import third_party
import threats
import vectors
import vocabulary

from analytics.catalogue import MODELS
from analytics.clusterings import REGISTERED as CLUSTERINGS
from analytics.explanations import REGISTERED as EXPLANATIONS
from api.demo.recording import shape
from governance.readmodel.run_states import ENDS, TRANSITIONS
from governance.rules.withdrawals import WORKER_REASONS

ROOT = Path(__file__).resolve().parent.parent
SAYS = {
    "people": ("People", "Why one person's data was not used (`AccessDenied`, `ReleaseRefused`)."),
    "runs": (
        "Runs",
        "Why a request, an attempt or a release was refused (`RunRefused`, `ReleaseRefused`).",
    ),
    "brokers": ("Brokers", "Why no key left custody; a release is refused for 75 too."),
    "checkers": ("Checkers", "Why a checker said no (`Rejected`)."),
}


def write_reasons() -> str:
    """docs/reasons.md: every code, its name and the sentence that people read."""
    table = json.loads((ROOT / "contracts" / "reasons.json").read_text(encoding="utf-8"))
    on_chain = {
        int(code)
        for code in re.findall(r"= (\d+);", (ROOT / "contracts" / "Reasons.sol").read_text("utf-8"))
    }
    lines = [
        "# Reasons",
        "",
        "Why something was refused, in one table for contracts, brokers, pages and command line. "
        "A code marked ● is one that a contract can write.",
    ]
    for group, codes in table.items():
        title, says = SAYS[group]
        lines += [
            "",
            f"## {title}",
            says,
            "",
            "| code | | name | what people read |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {code} | {'●' if int(code) in on_chain else ''} | {name} | {sentence} |"
            for code, (name, sentence) in codes.items()
        ]
    return _finish(lines, "contracts/reasons.json")


def write_run_states() -> str:
    """docs/run-states.md: the transition table."""
    worker_reasons = " and ".join(str(code) for code in WORKER_REASONS)
    lines = [
        "# Run states",
        "",
        "Few states, many reasons. A run's state follows from the ledger's events: "
        "a lost database loses no run.",
        "",
        "| event | the run is then | |",
        "|---|---|---|",
        *(
            f"| `{event.__name__}` | {state} | {'end' if state in ENDS else ''} |"
            for event, state in TRANSITIONS.items()
        ),
        "",
        f"`RunRefused` with the worker's own reasons ({worker_reasons}) leaves the run as it was: "
        "another worker may take it. "
        "The contracts' rules decide which event may follow which "
        "(docs/ledger.md, Runs). An end is one for our workers, which take such a run no more; on "
        "the ledger a refused attempt (`RunRefused`) ends no run, and a later one may be granted. "
        "While a worker computes, the run is authorised on the ledger; "
        "the worker's progress is not a state.",
    ]
    return _finish(lines, "governance/readmodel/run_states.py")


def write_ledger() -> str:
    """docs/ledger.md: written by hand up to its vectors, which are computed."""
    text = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    written = text.partition("\n## Vectors\n")[0].rstrip()
    return _finish([written, "", *vectors.write()], "docs/vectors.py (the vectors)")


def write_threats() -> str:
    """docs/threats.md: the threats, their controls, and the tests that prove them."""
    return _finish(threats.write(), "docs/threats.toml")


def write_third_party() -> str:
    """THIRD_PARTY.md: the packages that are installed with volens."""
    return _finish(
        [third_party.render(third_party.collect())], "what is installed, by docs/third_party.py"
    )


PROGRAM = ROOT / "governance" / "verify.py"
_DIGEST = re.compile(r"(sha256 of `verify\.py`: `)[0-9a-f]{64}`")


def write_params_schema() -> str:
    """analytics/params-schema.json: written by hand but for models, explanations and clusterings."""
    name = "analytics/params-schema.json"
    return model_lists.in_schema(
        (ROOT / name).read_text(encoding="utf-8"), MODELS, tuple(EXPLANATIONS), tuple(CLUSTERINGS)
    )


def write_analyst_guide() -> str:
    """docs/guide/analyst.md: written by hand but for the models."""
    text = (ROOT / "docs" / "guide" / "analyst.md").read_text(encoding="utf-8")
    return model_lists.in_sentence(text, MODELS)


def write_digest(name: str) -> str:
    """A document that is written by hand, with the current digest of the auditor's program."""
    text = (ROOT / name).read_text(encoding="utf-8")
    digest = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()
    written, count = _DIGEST.subn(rf"\g<1>{digest}`", text)
    if not count:
        raise LookupError(f"{name} does not name the digest of verify.py")
    return written


def _finish(lines: Iterable[str], source: str) -> str:
    return "\n".join(
        [*lines, "", f"<!-- generated by docs/generate.py from {source}; do not edit -->", ""]
    )


PICTURE, RECORDING = "docs/pictures/demo.svg", ROOT / ".volens" / "demo" / "terminal.svg"
DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/reasons.md": write_reasons,
    "docs/run-states.md": write_run_states,
    "docs/ledger.md": write_ledger,
    "docs/threats.md": write_threats,
    "THIRD_PARTY.md": write_third_party,
    "docs/reference/cli.md": lambda: _finish([reference.write_cli()], "api/cli"),
    "docs/reference/settings.md": lambda: _finish(
        reference.write_settings(), "api/operate/settings.py"
    ),
    "docs/reference/api.md": lambda: _finish(reference.write_api(), "api/http/routes"),
    # Before the page, which names its hash.
    "analytics/care/rules/index.json": care_rules.write_index,
    "docs/reference/care-rules.md": lambda: _finish(
        care_rules.write_page(), "analytics/care/rules"
    ),
    # Before what is written from it.
    "analytics/params-schema.json": write_params_schema,
    "docs/reference/parameters.md": lambda: _finish(
        reference.write_parameters(), "analytics/params-schema.json"
    ),
    "docs/decisions/README.md": lambda: _finish(
        reference.write_decisions(), "the titles of the records"
    ),
    "docs/reference/limits.md": lambda: _finish(reference.write_limits(), "docs/reference.py"),
    "docs/reference/modules.md": lambda: _finish(
        reference.write_modules(), "the first lines of the modules"
    ),
    "governance/rules/tables.py": join_verifier.tables,
    "governance/verify.py": join_verifier.joined,
    "chain/vocabulary.py": vocabulary.chain_module,
    "analytics/vocabulary.py": vocabulary.analytics_module,
    "README.md": lambda: write_digest("README.md"),
    "docs/guide/auditor.md": lambda: write_digest("docs/guide/auditor.md"),
    "docs/guide/analyst.md": write_analyst_guide,
    "docs/guide/notebook.md": lambda: _finish([notebook.page()], "docs/guide/analyst.ipynb"),
    "CHANGELOG.md": lambda: write_digest("CHANGELOG.md"),
}


def main(arguments: list[str] | None = None, folder: Path = ROOT) -> int:
    """Write the documents below `folder`, or with --check name each stale one; returns 1 for any
    fault.
    """
    parser = argparse.ArgumentParser(description="Writes the generated documents.")
    parser.add_argument("--check", action="store_true", help="compare only")
    options = parser.parse_args(arguments)
    try:
        wrong = third_party.refusals(third_party.collect()) + threats.missing() + links.missing()
        wrong += care_rules.faults()
        stale = [
            name
            for name, write in DOCUMENTS.items()
            if not _keep(folder / name, write(), options.check)
        ]
        stale += [] if _keep_recording(folder / PICTURE, options.check) else [PICTURE]
    except LookupError as error:  # something is not installed
        wrong, stale = [str(error)], []
    if stale:
        wrong.append(f"stale: {', '.join(stale)}; run `make fix` and commit the result")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def _keep(path: Path, text: str, check: bool) -> bool:
    """Write a document; with `check` only return whether it is up to date."""
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return True
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    return kept == text or (path.name == "THIRD_PARTY.md" and third_party.says_the_same(kept, text))


def _keep_recording(path: Path, check: bool) -> bool:
    """Update the README's picture of the demo: it must match the last demo here, except for
    measurements.
    """
    if not RECORDING.exists():
        return path.exists()
    recorded = RECORDING.read_text(encoding="utf-8")
    same = path.exists() and shape(path.read_text(encoding="utf-8")) == shape(recorded)
    if not same and not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(recorded, encoding="utf-8")
    return same or not check


if __name__ == "__main__":
    sys.exit(main())
