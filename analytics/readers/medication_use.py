"""What a medicine is for or a result is about, and where a medicine is put on: marks of an entry,
without content (marks.py).

A reason is a diagnosis, of another category than the medicine, so its code is not kept with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from analytics.readers.codes import URIS, Coding, codings_of, normal_code
from analytics.readers.links import values_at
from analytics.readers.marks import FOR_ANOTHER_DISEASE, FOR_BREAST_CANCER, ON_SKIN_OR_EYE
from analytics.readers.staging import is_another_cancer

_ICD = {URIS[system]: system for system in ("icd-10", "icd-10-cm")}
# ICD-10 and ICD-10-CM: a malignant neoplasm of a site that is neither the breast nor unclear, or a
# disease that is none. Not so: a metastasis, symptoms, history, tumours of uncertain kind.
_ANOTHER = re.compile(r"C(?!50|7[6-9]|80|97)|[ABE-M]|N(?!6[0-4])|D[5-8]")
_BREAST = re.compile(r"C50")
_BREAST_SYSTEMS = frozenset({*_ICD, URIS["icd-o-3"]})
_SNOMED, _V3 = "http://snomed.info/sct", "http://terminology.hl7.org/CodeSystem/v3-"
# SNOMED CT as FHIR's own value set route-codes names it (topical, cutaneous, ophthalmic), and HL7 v3
# RouteOfAdministration.
_LOCAL = frozenset(
    {
        *(Coding(_SNOMED, code) for code in ("6064005", "448598008", "54485002")),
        *(Coding(_V3 + "RouteOfAdministration", code) for code in ("SKIN", "OPTHALTA")),
    }
)
_LOCAL_WORDS = re.compile(
    r"(?:topical|cutaneous|ophthalmic|ocular)(?: (?:use|route))?(?: \(qualifier value\))?",
    re.IGNORECASE,
)


def use_marks(medicine: Mapping[str, object], reasons: Sequence[object]) -> set[str]:
    """The marks of a medicine's entry. reasons: the concepts of all that it is taken for."""
    marks = disease_marks(reasons)
    dosages = [*values_at(medicine, "dosageInstruction"), *values_at(medicine, "dosage")]
    local = dosages and all(
        isinstance(dosage, dict) and _is_local(dosage.get("route")) for dosage in dosages
    )
    return marks | ({ON_SKIN_OR_EYE} if local else set())


def disease_marks(concepts: Sequence[object]) -> set[str]:
    """The mark of what is for, or about, these diagnoses."""
    if concepts and all(map(is_of_breast, concepts)):
        return {FOR_BREAST_CANCER}
    return {FOR_ANOTHER_DISEASE} if concepts and all(map(_is_another, concepts)) else set()


def is_of_breast(concept: object) -> bool:
    """Whether a code of a concept names a cancer of the breast."""
    return any(
        coding.system in _BREAST_SYSTEMS and _BREAST.match((coding.code or "").upper())
        for coding in codings_of(concept)
    )


def _is_another(concept: object) -> bool:
    """Whether all codes of a concept name a disease that is surely none of the breast."""
    codings = list(codings_of(concept))
    of_icd = [coding for coding in codings if coding.system in _ICD]
    others = {coding.system for coding in codings} - _BREAST_SYSTEMS
    return not others and (
        all(
            _ANOTHER.match(normal_code(_ICD[coding.system or ""], coding.code or ""))
            for coding in of_icd
        )
        if of_icd
        else is_another_cancer(codings)
    )


def _is_local(route: object) -> bool:
    """Whether a route is by its code, or its words, onto the skin or into the eye."""
    if not isinstance(route, dict):
        return False
    codings = route.get("coding")
    displays = [coding.get("display") for coding in codings] if isinstance(codings, list) else []
    words = [text for text in (route.get("text"), *displays) if isinstance(text, str)]
    return bool(_LOCAL.intersection(codings_of(route))) or any(
        _LOCAL_WORDS.fullmatch(text.strip()) for text in words
    )
