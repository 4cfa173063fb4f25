"""What the codes of a resource mean: by a custodian's map, and beside codes that are not known.

A map names codes of known systems instead of those that it explains. Of a medicine, a code of a
system that the custodian calls optional is left out where a known one stands beside it, as NDC beside
RxNorm. Of a diagnosis or a result it is not: its words may turn the known code around, and no list of
words is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analytics.readers.codes import (
    SYSTEMS,
    UNKNOWN_SYSTEM,
    URIS,
    WORDS,
    Coding,
    ValueSets,
    codings_of,
    sensitive_categories,
    why_unroutable,
)

_NO_WORDS = f"{WORDS}/of-a-file"
LONGEST_REASON = 100  # characters of words that count as a code


def meant(part: Any, sets: ValueSets) -> Any:
    """A copy of a resource or concept with the codes that a map names, without those that are
    optional beside known ones.
    """
    return _mapped(without_optional(part, sets), sets)


def without_optional(part: Any, sets: ValueSets) -> Any:
    """A resource, if it is a medicine without the codes that may be left out."""
    if not sets.optional or not isinstance(part, Mapping):
        return part
    name = "code" if part.get("resourceType") == "Medication" else "medicationCodeableConcept"
    return {**part, name: _without(part[name], sets)} if name in part else part


def _without(concept: Any, sets: ValueSets) -> Any:
    listed = concept.get("coding") if isinstance(concept, Mapping) else None
    if not isinstance(listed, list):
        return concept
    codings = [next(codings_of({"coding": [item]}), Coding(None, None)) for item in listed]
    if all(why_unroutable(coding, sets) is not None for coding in codings):
        return concept
    kept = [
        item for item, code in zip(listed, codings, strict=True) if not _is_optional(code, sets)
    ]
    return {**concept, "coding": kept}


def _is_optional(coding: Coding, sets: ValueSets) -> bool:
    return (
        coding.system in sets.optional
        and why_unroutable(coding, sets) == UNKNOWN_SYSTEM
        and not sensitive_categories(coding, sets)
    )


def _mapped(value: Any, sets: ValueSets) -> Any:
    """A copy of a part, with the codes that a map names instead of those that it explains."""
    if not sets.mapped:
        return value
    if isinstance(value, list):
        return [_mapped(item, sets) for item in value]
    if not isinstance(value, dict):
        return value
    copied = {name: _mapped(item, sets) for name, item in value.items()}
    if isinstance(value.get("coding"), list):
        codings: list[Any] = []
        for item in value["coding"]:
            named = list(_named(item, sets))
            codings += [code for code in named if code not in codings]
        copied["coding"] = codings
    return copied


def _named(item: Any, sets: ValueSets) -> Iterator[Any]:
    """What a map says instead of a code, else the code itself."""
    coding = next(codings_of({"coding": [item]}), Coding(None, None))
    mapped = sets.mapped.get(coding) if can_be_mapped(coding) else None
    if mapped is None or mapped.possible:
        yield item
        return
    kept = {name: item[name] for name in ("extension",) if name in item}
    for code in mapped.targets:
        yield {"system": code.system, "code": code.code} | kept


def code_reasons(part: Any) -> None:
    """Give each reason that is in words alone a code, in place: its words, which a map may explain;
    also in what a resource contains. A code that a file gives as such words is none."""
    if isinstance(part, list):
        for item in part:
            code_reasons(item)
    if not isinstance(part, dict):
        return
    if part.get("system") == WORDS:
        part["system"] = _NO_WORDS
    for item in part.values():
        code_reasons(item)
    reasons = part.get("reasonCode")
    for reason in reasons if isinstance(reasons, list) else []:
        if not isinstance(reason, dict) or "coding" in reason:
            continue
        text = reason.get("text")
        if isinstance(text, str) and 0 < len(words := words_of(text)) <= LONGEST_REASON:
            reason["coding"] = [{"system": WORDS, "code": words}]


def words_of(text: str) -> str:
    """Words as a map's key: without a difference of case, and of spaces."""
    return " ".join(text.split()).casefold()


def can_be_mapped(coding: Coding) -> bool:
    """Whether a map may explain a code: one of a system that is not known here, or of RxNorm, whose
    products are too many to be known here."""
    return coding.system not in SYSTEMS or coding.system == URIS["rxnorm"]
