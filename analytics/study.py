"""A study: who is in it and what is predicted, written in a permit's plan and voted on with it.

The plan (a Markdown text) has it in a fenced block that begins with ```study:

    ```study
    {"cohort": {"age": [40, 70]}, "outcome": {"kind": "diagnosis", ...}}
    ```

Both are parts of a run's parameters, and mean the same there; a missing value is the usual one. The
permit's `paramsSchemaHash` is another one with a study than without (`params_schema_hash`), so a
run needs the plan to begin, and asks about the plan's people and outcome.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from markdown_it import MarkdownIt

from analytics.canonical import dump_canonical, load_strict
from analytics.code import params_schema_hash
from analytics.errors import JsonRefused, ParamsError
from analytics.params import MAX_BYTES, complete

_OPENING, _CLOSING = "```study", "```"
# A line that a reader may take for the beginning of a study: also in a list, a quotation or another
# block.
_SHOWN_SO = re.compile(r"[\s>*+\-.)\d]*(?:`{3,}|~{3,})\s*study\b", re.IGNORECASE)
# As the page reads a plan (api/pages/markdown.py): without HTML, which would hide a block from a
# reader.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable(["html_block", "html_inline"])
_PARTS = ("cohort", "outcome")
NO_PLAN = (
    "the permit is for another schema of parameters, or for the study of its plan, which nobody has "
    "sent"
)
OTHER_PLAN = "the permit is for another schema of parameters, or another study, than its plan's"
OTHER_STUDY = "the permit allows one study, and these parameters ask about other people"
NO_OUTCOME = (
    "the permit allows one study, and these parameters name no outcome: they ask about everybody in the "
    "cohort, also those whom the study leaves out"
)
OTHER_OUTCOME = "the permit allows one study, and these parameters ask about another outcome"


def find_study(plan: str) -> bytes | None:
    """The study of a plan as canonical JSON, None if it has none.

    Raises ParamsError for a block that is none, and for more than one.
    """
    text = _block_of(plan)
    if text is None:
        return None
    try:
        given = load_strict(text.encode(), max_bytes=MAX_BYTES, max_depth=5)
    except JsonRefused as refused:
        raise ParamsError(f"study: {refused}") from None
    if not isinstance(given, dict) or set(given) - set(_PARTS) or "outcome" not in given:
        raise ParamsError(
            "study: it is not one JSON object of cohort and outcome",
            'Write {"cohort": {...}, "outcome": {...}} as in the parameters of a run.',
        )
    completed = json.loads(complete({"analysis": "evaluate", **given}))
    return dump_canonical({name: completed[name] for name in _PARTS})


def may_show_study(plan: str) -> bool:
    """Whether a reader may take a part of the plan for a study, whatever it is called there."""
    return any(_SHOWN_SO.match(line) for line in plan.split("\n")) or '"outcome"' in plan


def _block_of(plan: str) -> str | None:
    """The text of the one block that Markdown shows as a study, None without any. Raises
    ParamsError for one that a reader sees and that is written otherwise, or that only looks like
    one.
    """
    lines = [line.rstrip(" \t") for line in plan.replace("\r\n", "\n").split("\n")]
    openings = {at for at, line in enumerate(lines) if _SHOWN_SO.match(line)}
    blocks = [
        token
        for token in _MARKDOWN.parse("\n".join(lines))
        if token.type == "fence" and token.info.strip().casefold().startswith("study")
    ]
    openings |= {block.map[0] for block in blocks if block.map}
    if not openings:
        return None
    if len(openings) > 1:
        raise ParamsError("study: the plan has more than one", "Ask for a permit for each.")
    at = openings.pop()
    closes = lines[at:].index(_CLOSING) + at if _CLOSING in lines[at:] else None
    shown = [block.map for block in blocks if block.level == 0]
    if lines[at] != _OPENING or closes is None or shown != [[at, closes + 1]]:
        raise ParamsError(
            "study: its block is not one of three backticks, outside lists, quotations and other blocks",
            "Write ```study alone on a line, the study as JSON, and ``` alone on a line.",
        )
    return "\n".join(lines[at + 1 : closes]).strip()


def schema_of(plan: str) -> bytes:
    """The `paramsSchemaHash` of a permit with this plan. Raises ParamsError."""
    return params_schema_hash(find_study(plan))


def bound_study(schema: bytes, plan: str | None) -> bytes | None:
    """The study that a permit with this `paramsSchemaHash` is bound to, as `find_study` gives it;
    None if it is bound to none, or the plan is not there.
    """
    try:
        study = None if plan is None else find_study(plan)
    except ParamsError:
        return None
    return study if study is not None and schema == params_schema_hash(study) else None


def check_study(schema: bytes, plan: str | None, params: str) -> None:
    """Check a run's parameters against its permit.

    schema: the permit's `paramsSchemaHash`. plan: its text, None while nobody has sent it; only a
    permit with a study needs it. Raises ParamsError.
    """
    if schema == params_schema_hash():
        return
    if plan is None:
        raise ParamsError(NO_PLAN, "Send it: volens permit document, with --send.")
    study = bound_study(schema, plan)
    if study is None:
        raise ParamsError(OTHER_PLAN, "Ask for another permit.")
    asked, agreed = json.loads(params), json.loads(study)
    if asked["cohort"] != agreed["cohort"]:
        raise ParamsError(OTHER_STUDY, "Take its cohort, or ask for another permit.")
    if "outcome" not in asked:
        raise ParamsError(NO_OUTCOME, "Ask for a permit without a study.")
    if _outcome(asked) != _outcome(agreed):
        raise ParamsError(OTHER_OUTCOME, "Take its outcome, or ask for another permit.")


def _outcome(document: Mapping[str, Any]) -> dict[str, Any]:
    """Without `censoring`: a survival run keeps everybody until her follow-up ends."""
    return {name: part for name, part in document["outcome"].items() if name != "censoring"}
