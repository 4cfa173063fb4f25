"""Writes the names of models, explanations and clusterings into texts that people wrote around
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_FEATURE_SETS = r'\{"\$ref": "#/\$defs/feature_sets"\}'
_IN_SCHEMA = re.compile(
    r'("models": \{\n(?:[^{}\n]*\n)+? *"properties": \{\n)'
    rf'( *)"[^"\n]+": ({_FEATURE_SETS})(?:,\n *"[^"\n]+": {_FEATURE_SETS})*\n'
)
_PRIMARY = re.compile(r'("primary": \{"description": "[^"]+", "enum": )\[[^\]]*\]')
_EXPLAIN = re.compile(r'("explain": \{[^\]]*?"items": \{"enum": )\[[^\]]*\]')
_METHOD = re.compile(r'("method": \{"description": "[^"]+", "enum": )\[[^\]]*\]')
_IN_SENTENCE = re.compile(r"(\*\*evaluate\*\* fits )`\w+`(?:, `\w+`)*( or )`\w+`")


def in_schema(
    text: str, models: Sequence[str], explanations: Sequence[str], clusterings: Sequence[str]
) -> str:
    """params-schema.json with these models, explanations and clusterings. Raises LookupError when
    it has no place for them.
    """

    def listed(match: re.Match[str]) -> str:
        lines = (f'{match[2]}"{model}": {match[3]}' for model in models)
        return match[1] + ",\n".join(lines) + "\n"

    lists = ((_PRIMARY, models), (_EXPLAIN, explanations), (_METHOD, clusterings))
    for pattern, names in lists:
        enum = "[" + ", ".join(f'"{name}"' for name in names) + "]"
        text = _replaced(pattern, lambda match, enum=enum: match[1] + enum, text)
    return _replaced(_IN_SCHEMA, listed, text)


def in_sentence(text: str, models: Sequence[str]) -> str:
    """A document with these models in its one sentence about evaluate. Raises LookupError."""

    def listed(match: re.Match[str]) -> str:
        *names, last = (f"`{model}`" for model in models)
        return match[1] + ", ".join(names) + match[2] + last

    return _replaced(_IN_SENTENCE, listed, text)


def _replaced(pattern: re.Pattern[str], listed: Callable[[re.Match[str]], str], text: str) -> str:
    written, count = pattern.subn(listed, text)
    if count != 1:
        raise LookupError("a document does not have one list of them")
    return written
