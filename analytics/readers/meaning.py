"""What the codes of a resource mean: by a custodian's map, and beside codes that are not known.

A map names codes of known systems instead of those that it explains. Of a system that the custodian
calls optional, a code is left out where a known one stands beside it: the entry then says what
the known code says, and no more. It is not left out where it, or words beside it, could turn that
around, so the entry is held back as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from analytics.readers.codes import (
    SYSTEMS,
    UNKNOWN_SYSTEM,
    URIS,
    Coding,
    ValueSets,
    codings_of,
    sensitive_categories,
    why_unroutable,
)
from analytics.readers.genomics import is_result
from analytics.readers.marks import asked_codes, is_called_otherwise

# The elements that say what a thing is, or why it was done; an answer is none of them, since a
# second code of it may say another answer.
_NAMING = ("code", "medicationCodeableConcept", "reasonCode", "substance", "type", "serviceType")
_PARTS = ("component", "condition", "reaction")
# Words that turn a diagnosis around or make it somebody else's.
_TURNED = re.compile(
    r"\b(?:suspect|possib|probab|presum|questionable|query|ruled? out|excluded|absen|"
    r"no (?:evidence|sign|known|history|current)|family|maternal|paternal|mother|father|f(?:o?e)tal|"
    r"f(?:o?e)tus|newborn|donor|history|hx\b|h/o|risk (?:of|for)|screening|verdacht|v\. ?a\.|"
    r"ausschluss|ausgeschlossen|zustand nach|z\. ?n\.|kein|familien|mutter|vater)",
    re.IGNORECASE,
)
# ICD-10: factors that influence health. Its own codes are of histories, screening and relatives.
_FACTORS = re.compile(r"[Zz]")
_ICD = frozenset({URIS["icd-10"], URIS["icd-10-cm"]})


def meant(part: Any, sets: ValueSets) -> Any:
    """A copy of a resource or concept with the codes that a map names, without those that are
    optional beside known ones.
    """
    return _mapped(without_optional(part, sets), sets)


def without_optional(part: Any, sets: ValueSets) -> Any:
    """A resource without the codes that may be left out; all else is as it was."""
    if not sets.optional or not isinstance(part, Mapping) or is_result(part):
        return part
    read = {name: _without(part[name], sets) for name in _NAMING if name in part}
    for name in _PARTS:
        listed = part.get(name)
        if isinstance(listed, list):
            read[name] = [without_optional(item, sets) for item in listed]
    return {**part, **read}


def _without(concept: Any, sets: ValueSets) -> Any:
    if isinstance(concept, list):
        return [_without(item, sets) for item in concept]
    listed = concept.get("coding") if isinstance(concept, Mapping) else None
    if not isinstance(listed, list):
        return concept
    codings = [next(codings_of({"coding": [item]}), Coding(None, None)) for item in listed]
    known = [coding for coding in codings if why_unroutable(coding, sets) is None]
    left = [number for number, coding in enumerate(codings) if _is_optional(coding, sets)]
    if not known or not left:
        return concept
    words = [concept.get("text"), *(listed[number].get("display") for number in left)]
    texts = [text for text in words if isinstance(text, str)]
    asked = asked_codes([listed[number] for number in left])
    factor = any(coding.system in _ICD and _FACTORS.match(coding.code or "") for coding in known)
    if (
        not asked <= set(known)
        or is_called_otherwise(known, texts)
        or (not factor and any(map(_TURNED.search, texts)))
    ):
        return concept
    return {**concept, "coding": [item for number, item in enumerate(listed) if number not in left]}


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


def can_be_mapped(coding: Coding) -> bool:
    """Whether a map may explain a code: one of a system that is not known here, or of RxNorm, whose
    products are too many to be known here."""
    return coding.system not in SYSTEMS or coding.system == URIS["rxnorm"]
