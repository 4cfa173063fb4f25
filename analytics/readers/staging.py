"""Categories of the TNM classification, which hospitals write as codes of several systems or text.

This material contains content from LOINC (http://loinc.org), © Regenstrief Institute, Inc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from analytics.readers.codes import TNM, URIS, Coding, codings_of

# LOINC: T, N and M, clinical and pathological (HL7 mCODE 3.0, TNM profiles; read on 2026-11-30).
CLINICAL = {"T": "21905-5", "N": "21906-3", "M": "21907-1"}
PATHOLOGICAL = {"T": "21899-0", "N": "21900-6", "M": "21901-4"}
_LETTERS = {
    Coding(URIS["loinc"], code): letter
    for codes in (CLINICAL, PATHOLOGICAL)
    for letter, code in codes.items()
}


def stage_of(resource: Mapping[str, object]) -> Coding | None:
    """The category in an Observation of T, N or M, if its value is one that fits the pattern.

    A value in text must be nothing but a category; None for two different ones.
    """
    letters = {_LETTERS[code] for code in codings_of(resource.get("code")) if code in _LETTERS}
    if len(letters) != 1 or "component" in resource:
        return None
    letter = letters.pop()
    values = {text for text in _texts(resource) if TNM.fullmatch(text) and letter in text}
    return Coding(URIS["tnm"], values.pop()) if len(values) == 1 else None


def _texts(resource: Mapping[str, object]) -> Iterator[str]:
    value = resource.get("valueCodeableConcept")
    texts = [resource.get("valueString")]
    if isinstance(value, dict):
        texts += [value.get("text"), *(coding.code for coding in codings_of(value))]
    yield from (text.strip() for text in texts if isinstance(text, str))
