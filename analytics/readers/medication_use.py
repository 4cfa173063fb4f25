"""What a medicine is for, and where it is put on: marks of its entry, without content (marks.py).

A reason is a diagnosis, of another category than the medicine, so its code is not kept with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from analytics.readers.codes import URIS, Coding, codings_of, normal_code
from analytics.readers.links import values_at
from analytics.readers.marks import FOR_ANOTHER_DISEASE, ON_SKIN_OR_EYE

_ICD = {URIS[system]: system for system in ("icd-10", "icd-10-cm")}
# ICD-10 and ICD-10-CM: a malignant neoplasm of a site that is neither the breast nor unclear, or a
# disease that is none. Not so: a metastasis, symptoms, history, tumours of uncertain kind.
_ANOTHER = re.compile(r"C(?!50|7[6-9]|80|97)|[ABE-M]|N(?!6[0-4])|D[5-8]")
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
    marks = {FOR_ANOTHER_DISEASE} if reasons and all(map(_is_another, reasons)) else set()
    dosages = [*values_at(medicine, "dosageInstruction"), *values_at(medicine, "dosage")]
    local = dosages and all(
        isinstance(dosage, dict) and _is_local(dosage.get("route")) for dosage in dosages
    )
    return marks | ({ON_SKIN_OR_EYE} if local else set())


def _is_another(concept: object) -> bool:
    """Whether all codes of a concept name a disease that is surely none of the breast."""
    codings = list(codings_of(concept))
    return bool(codings) and all(
        coding.system in _ICD
        and _ANOTHER.match(normal_code(_ICD[coding.system], coding.code or "")) is not None
        for coding in codings
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
