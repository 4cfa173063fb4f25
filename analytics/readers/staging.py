"""Categories of the TNM classification and its stage groups, which hospitals write as codes of
several systems or text.

This material contains content from LOINC (http://loinc.org), © Regenstrief Institute, Inc.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from analytics.readers.codes import TNM, URIS, Coding, codings_of, normal_code

# LOINC: T, N and M, clinical and pathological (HL7 mCODE 3.0, TNM profiles; read on 2026-11-30).
CLINICAL = {"T": "21905-5", "N": "21906-3", "M": "21907-1"}
PATHOLOGICAL = {"T": "21899-0", "N": "21900-6", "M": "21901-4"}
# Stage groups: clinical, pathological, other (HL7 mCODE, cancer stage group).
GROUPS = ("21908-9", "21902-2", "21914-7")
# SNOMED CT's codes of the same, as mCODE 3.0 and the German MII's oncology module name them: not read.
IN_SNOMED = {
    **dict.fromkeys(("78873005", "399504009"), CLINICAL["T"]),
    **dict.fromkeys(("277206009", "399534004"), CLINICAL["N"]),
    **dict.fromkeys(("277208005", "399387003"), CLINICAL["M"]),
    "384625004": PATHOLOGICAL["T"],
    "371494008": PATHOLOGICAL["N"],
    "371497001": PATHOLOGICAL["M"],
}
_GROUP_CODES = frozenset(Coding(URIS["loinc"], code) for code in GROUPS)
_GROUP = re.compile(
    r"(?:[^0-9]{0,40}\bstage )?(0|I{1,3}|IV|[1-4])(?:[A-D][0-9]?)?(?: \(qualifier value\))?",
    re.IGNORECASE,
)
_ROMAN = {"1": "I", "2": "II", "3": "III", "4": "IV"}
LATE = "IV"  # the group with distant metastases
_LETTERS = {
    Coding(URIS["loinc"], code): letter
    for codes in (CLINICAL, PATHOLOGICAL)
    for letter, code in codes.items()
}
_ICD = {URIS[system]: system for system in ("icd-10", "icd-10-cm")}
_ICD_O = URIS["icd-o-3"]
# A malignant tumour of another site than the breast, or its history: no metastasis, and no cancer of
# the skin but those that ICD-10-CM calls squamous, sebaceous or of another kind, which may spread.
_ANOTHER = re.compile(r"C(?!44(?!.[239])|50|7[7-9B]|800)|Z85[0-24-7]")
_ANOTHER_SITE = re.compile(r"C(?!50)")
_INVASIVE = re.compile(r"(?!809)[89][0-9]{3}/3")  # ICD-O-3 morphology: not a basal cell carcinoma


def is_another_cancer(codes: Iterable[Coding]) -> bool:
    """Whether the codes of a diagnosis name a malignant tumour of another site than the breast."""
    listed = list(codes)
    of_icd_o = [code.code or "" for code in listed if code.system == _ICD_O]
    return any(
        code.system in _ICD and _ANOTHER.match(normal_code(_ICD[code.system], code.code or ""))
        for code in listed
    ) or (any(map(_ANOTHER_SITE.match, of_icd_o)) and any(map(_INVASIVE.fullmatch, of_icd_o)))


def stage_of(resource: Mapping[str, object]) -> Coding | None:
    """The category in an Observation of T, N or M, or its stage group, if its value is one that fits
    the pattern.

    A value in text must be nothing but a category; None for two different ones.
    """
    if _GROUP_CODES.intersection(codings_of(resource.get("code"))):
        group = _group_of([*_texts(resource), *_displays(resource.get("valueCodeableConcept"))])
        return None if group is None or "component" in resource else Coding(URIS["tnm"], group)
    letters = {_LETTERS[code] for code in codings_of(resource.get("code")) if code in _LETTERS}
    if len(letters) != 1 or "component" in resource:
        return None
    letter = letters.pop()
    values = {text for text in _texts(resource) if TNM.fullmatch(text) and letter in text}
    return Coding(URIS["tnm"], values.pop()) if len(values) == 1 else None


def is_stage_in_doubt(condition: Mapping[str, object]) -> bool:
    """Whether a stage of a Condition is IV, or none that is understood."""
    stages = condition.get("stage")
    for stage in stages if isinstance(stages, list) else []:
        summary = stage.get("summary") if isinstance(stage, dict) else None
        if summary is None:
            continue  # its assessment is a result of its own
        texts = [*_texts({"valueCodeableConcept": summary}), *_displays(summary)]
        category = any(TNM.fullmatch(text) and "M1" not in text for text in texts)
        if _group_of(texts) in (None, LATE) and not category:
            return True
    return False


def _group_of(texts: list[str]) -> str | None:
    """The stage group that one of the texts is nothing but, as "IV"; None for two of them."""
    matched = (match[1].upper() for text in texts if (match := _GROUP.fullmatch(text)))
    groups = {_ROMAN.get(group, group) for group in matched}
    return groups.pop() if len(groups) == 1 else None


def _displays(concept: object) -> Iterator[str]:
    codings = concept.get("coding") if isinstance(concept, dict) else None
    for coding in codings if isinstance(codings, list) else []:
        if isinstance(coding, dict) and isinstance(coding.get("display"), str):
            yield coding["display"].strip()


def _texts(resource: Mapping[str, object]) -> Iterator[str]:
    value = resource.get("valueCodeableConcept")
    texts = [resource.get("valueString")]
    if isinstance(value, dict):
        texts += [value.get("text"), *(coding.code for coding in codings_of(value))]
    yield from (text.strip() for text in texts if isinstance(text, str))
