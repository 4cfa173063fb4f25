"""Ingest of FHIR R4 exports: splits a person's Bundle into one reduced Bundle per category.

Routing is by code, not by type: a resource with a code of a sensitive value set goes only into that
category's record; a resource in two of them, or one that cannot be interpreted (unknown code
system, no code, free text), goes into no record and is counted. SNOMED CT is unknown here, since
its licence does not allow shipping it, unless a custodian's map says what its codes mean
(code_map.py). Every resource of the file is kept, held back or not taken, and the report counts all
of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics.canonical import key_values, load_strict, paired
from analytics.errors import JsonRefused, PayloadError
from analytics.readers.bundle import (
    CONFIDENTIALITY,
    COPY,
    FILES,
    MAX_BYTES,
    MAX_DEPTH,
    NOT_R4,
    ReferenceContext,
    Source,
    contained,
    read_source,
    resolve,
)
from analytics.readers.clinical import day_number
from analytics.readers.codes import (
    FACT_PREFIXES,
    FACT_SYSTEMS,
    MAPPED,
    SENSITIVE,
    SHIPPED,
    UCUM,
    UNKNOWN_SYSTEM,
    URIS,
    VARIABLE_OF,
    VARIABLES,
    Coding,
    ValueSets,
    codings_of,
    measure,
    sensitive_categories,
    usual_system,
    why_unroutable,
)
from analytics.readers.dates import (
    check_dates,
    group_ages,
    group_birth_year,
    open_periods,
    shift_dates,
    tomorrow,
)
from analytics.readers.genomics import (
    FINAL,
    FINAL_REPORT,
    GENOTYPE,
    GERMLINE,
    IMPLICATION,
    RESULTS,
    SOURCE_CLASS,
    gene_of,
    is_advice,
    is_result,
    spelled,
)
from analytics.readers.links import Links, read_links, values_at
from analytics.readers.marks import (
    ALL_MEDICINES,
    ALLERGY_NOT_KEPT,
    CHEMOTHERAPY_SESSION,
    CLASS_NOT_KEPT,
    EXCLUDED,
    FOR_BREAST_CANCER,
    HISTORY,
    OF_SEVERAL_TUMOURS,
    OTHER_OPERATION,
    RESULTS_NOT_FINAL,
    RESULTS_NOT_KEPT,
    SUSPECTED,
    TRUE_DATES,
    VOID,
    asked_codes,
    certainties_of,
    codes_called,
    condition_mark,
    could_be_allergy,
    could_be_diagnosis,
    could_be_medicine,
    genes_called,
    is_called_otherwise,
    is_denied,
    is_session,
    marks_of,
    observation_mark,
    session_mark,
    texts_within,
    write_marks,
)
from analytics.readers.meaning import code_reasons, meant, without_optional
from analytics.readers.medication_use import (
    disease_marks,
    is_of_breast,
    lasting_marks,
    use_marks,
)
from analytics.readers.resources import (
    CLINICAL,
    MEDICINE_SYSTEMS,
    NATIONAL,
    NO_FACT,
    PROFILES,
    HeldBack,
    codings_or_none,
    concepts_of,
    dates_not_kept,
    reduce_patient,
    reduce_resource,
    value_codings,
)
from analytics.readers.staging import is_another_cancer
from analytics.vocabulary import Category

_HL7 = "http://terminology.hl7.org/CodeSystem/"
_CONFIDENTIALITY = CONFIDENTIALITY
# The same code systems as FHIR STU3 and as HL7 v3 itself name them.
_SPELLINGS = {
    "http://hl7.org/fhir/v3/ActCode": _HL7 + "v3-ActCode",
    "urn:oid:2.16.840.1.113883.5.4": _HL7 + "v3-ActCode",
    "http://hl7.org/fhir/v3/Confidentiality": _CONFIDENTIALITY,
    "urn:oid:2.16.840.1.113883.5.25": _CONFIDENTIALITY,
    "http://hl7.org/fhir/v3/ActReason": _HL7 + "v3-ActReason",
    "urn:oid:2.16.840.1.113883.5.8": _HL7 + "v3-ActReason",
    "http://hl7.org/fhir/v2/0074": _HL7 + "v2-0074",
    "urn:oid:2.16.840.1.113883.12.74": _HL7 + "v2-0074",
    "http://hl7.org/fhir/v3/ObservationInterpretation": _HL7 + "v3-ObservationInterpretation",
    "urn:oid:2.16.840.1.113883.5.83": _HL7 + "v3-ObservationInterpretation",
}
# A genetic profile, extension or type means the same as the label "genetic disease information".
# Profiles: HL7 Genomics Reporting, those of R4 itself (observation-genetics,
# DiagnosticReport-genetics, hlaresult), mCODE's genomic ones.
_GENETIC_LABEL = Coding(_HL7 + "v3-ActCode", "GDIS")
_GENETIC_STRUCTURE = re.compile(r"genomics-reporting|-genetic|-genomic|hlaresult", re.IGNORECASE)
# A family history is about other people's genes, and the person's inherited risk.
_GENETIC_TYPES = frozenset({"FamilyMemberHistory", "MolecularSequence"})
_RESTRICTED = frozenset({Coding(_CONFIDENTIALITY, "R"), Coding(_CONFIDENTIALITY, "V")})
# HL7 orders V > R > N > M > L > U, and N is the usual label of a health record: no label up to N
# requires more than the consent that every record needs. HTEST marks test data. Every other label
# holds the resource back.
_HARMLESS = frozenset(
    {Coding(_CONFIDENTIALITY, code) for code in "ULMN"} | {Coding(_HL7 + "v3-ActReason", "HTEST")}
)
# Source references that are needed to interpret a resource. An order (basedOn, request) may be
# absent: most exports leave orders out, and their results have their own codes.
_NEEDED = (
    "complicationDetail",
    "derivedFrom",
    "evidence.detail",
    "stage.assessment",
    "supportingInformation",
)
_REASONS = ("reasonReference", "diagnosis.condition")  # the latter of an Encounter
# Extensions that name somebody or something else that an Observation is about instead of its
# subject (focusCode; focal-subject of STU3; R5's own focus, sent as R4).
_OTHER_FOCUS = re.compile(r"observation[-.]foc(us|al)", re.IGNORECASE)
_FOCUS = "about somebody or something else than the person"
# The topic of these is unknown if their code is unknown, and their results could reveal it, as with
# a reason.
_ASKING = frozenset({"ServiceRequest", "DiagnosticReport"})
_UNREAD = "of an order or report whose code is not known here"
_SEARCH = "of a conditional reference that cannot be read"
_OTHERS = "of something that is about somebody else"
_MARKED = "marked restricted by its source"
_LABEL = "a security label that this reader does not know"
# A report or panel that is preliminary, superseded or withdrawn takes its results with it, whatever
# their own status is. R4 diagnostic-report-status, observation-status.
_REPORT_NOT_FINAL = "a result of a report or panel that is not final"
# What names a medicine without saying that she takes it, or bills one that was prescribed.
_NOT_TAKEN_BY_HER = frozenset(
    "Medication MedicationKnowledge AllergyIntolerance Immunization Claim ClaimResponse"
    " ExplanationOfBenefit ChargeItem Invoice".split()
)
# What is paid for was given; these statuses say that it was not.
_PAID_FOR = frozenset({"Claim", "ExplanationOfBenefit"})
_NOT_PAID = frozenset({"cancelled", "draft", "entered-in-error"})
# Kinds that name a medicine which they are not about, but used or asked for.
_MAY_USE_MEDICINES = frozenset({"Condition", "Encounter", "Observation", "Procedure"})
_MEDICINE_KINDS = frozenset(
    "MedicationRequest MedicationStatement MedicationAdministration MedicationDispense".split()
)
# LOINC: date of death; vital status, of which the German MII's answer for "dead" is T. R4
# discharge-disposition: expired.
_DAY_OF_DEATH, _VITAL_STATUS, _DEAD = "81956-5", "67162-8", "T"
_DIED_THERE = Coding(_HL7 + "discharge-disposition", "exp")
_UNFIT_SPECIMEN = "of a specimen that was not fit for its test"
# R4 specimen-status; HL7 v2 table 0493: autolysed, clotted, contaminated, haemolysed, not received.
_UNFIT_STATUSES = frozenset({"unsatisfactory", "entered-in-error"})
_UNFIT_STATES = frozenset({"AUT", "CLOT", "CON", "HEM", "SNR"})
# Specimens of a fetus or newborn: HL7 v2 tables 0487 and 0070, SNOMED CT, or their names.
_FETAL_CODES = frozenset({"AMN", "BLDCO", "CBLD", "CORD", "PLC", "TISPL", "119373006", "122556008"})
_FETAL = re.compile(
    r"amnio|chorion|cord blood|umbilical|pla[cz]ent|fo?etal|fo?etus|fruchtwasser|nabelschnur",
    re.IGNORECASE,
)
# What a tumour's specimen is called, or the way to test one: HL7 v2 table 0487, SNOMED CT (tumour
# tissue, tissue), words. Its genes are not those that she was born with.
_OF_TUMOUR = re.compile(
    r"tumou?r|neoplas|ffpe|paraffin|cell[- ]free|c[ft]dna|liquid biopsy|^(?:258435002|119376003)$",
    re.IGNORECASE,
)
_FROM_TUMOUR = "a result of the germline from a tumour's specimen"
# LOINC: what a gene's product does as a laboratory says it, with the gene (HGNC); a haplotype.
_PHENOTYPES = {"79719-1": "HGNC:3012", "79715-9": "HGNC:2625"}
_HAPLOTYPE = "84414-2"
_CALLED_OTHERWISE = "its words say another quantity than its code"
_TEST_DATA = Coding(_HL7 + "v3-ActReason", "HTEST")
_ONLY_TEST_DATA = "test data in a record that is none"
_ORIGIN_NOT_KEPT = "made from a genomic result that is held back"
# Spread to the results and members of a part, never to what lists it.
_DOWNWARDS = frozenset({_UNREAD, _SEARCH, _MARKED, _LABEL, _REPORT_NOT_FINAL})
# A medication that many orders name is written with each of them, so the output has its own limits.
MAX_CODINGS = 64  # of one concept
MAX_RECORDS = 4 * 1024 * 1024  # bytes of all records of one bundle; at an ingest, FILES times
NOTES = (
    "SNOMED CT is not among the code systems (licence): what is coded in it is held back, unless a map explains it.",
    "LOINC and RxNorm have no hierarchy: only listed codes are recognised as sensitive; add the full value sets.",
)


@dataclass(frozen=True, slots=True)
class Split:
    """records: a FHIR R4 Bundle (collection) by category. report: counts only, no code or value.

    unknown: the codes of unknown systems for which something was held back; for the custodian's
    own screen.
    """

    records: Mapping[int, bytes]
    report: Mapping[str, object]
    unknown: frozenset[Coding] = frozenset()


def split_bundle(payload: bytes, subject: str, sets: ValueSets = SHIPPED) -> Split:
    """Records by category of the only person in a Bundle of one of the BUNDLE_TYPES.

    subject: 64 hex characters, which replace every reference to the person. The same input gives
    the same bytes. Raises PayloadError if the entire file cannot be trusted: not well-formed JSON,
    no R4 Bundle, about two people, incomplete, or not certainly about one person.
    """
    return _split(read_source([payload], subject), subject, sets, None, MAX_RECORDS)


def split_files(
    bundles: Sequence[bytes],
    lines: Sequence[bytes],
    subject: str,
    sets: ValueSets = SHIPPED,
    weeks: int | None = None,
    beside: Sequence[bytes] = (),
    server: str | None = None,
) -> Split:
    """Like `split_bundle`, for the only person in several Bundles and lines of NDJSON, and for more
    of them. weeks: by how much all dates are shifted; None if nobody asked for it. beside: lines
    about somebody else, which hold back what is linked with them. server: that of all lines.
    """
    source = read_source(bundles, subject, lines, FILES, beside, server)
    return _split(source, subject, sets, weeks, FILES * MAX_RECORDS)


def _split(source: Source, subject: str, sets: ValueSets, weeks: int | None, most: int) -> Split:
    """The records of a person. most: bytes of all of them."""
    for resource in source.resources:
        code_reasons(resource)
    marks = _Marks(sets, source)
    kept: dict[int, dict[int, dict[str, Any]]] = {}  # by category, reduced by identity of original
    held_back = _HeldBack(source.dropped, sets)
    left: dict[str, int] = dict(source.left)
    not_taken: list[Mapping[str, object]] = []
    size, last = 0, tomorrow()
    for resource in source.resources:
        kind = str(resource.get("resourceType"))
        unfit = source.unfit.get(id(resource))
        if unfit is None and kind != "Patient" and kind not in PROFILES:
            left[kind] = left.get(kind, 0) + 1
            not_taken.append(resource)
            continue
        try:
            if unfit is not None:
                raise HeldBack(unfit)
            category, reduced = _route(resource, source, subject, marks)
            if kind == "Patient" and any(map(_says_died, source.resources)):
                reduced["deceasedBoolean"] = True
            open_periods(reduced, last)
            check_dates(reduced, last)
            group_ages(reduced)
            if weeks:
                shift_dates(reduced, weeks)
        except HeldBack as why:
            held_back.add(resource, str(why))
        else:
            kept.setdefault(category, {})[id(resource)] = reduced
            size += len(_encode(reduced))
            if size > most:
                raise PayloadError("FHIR bundle: its records are larger than a bundle may be")
    _hold_back_late(kept, source, held_back, last)
    _link_results(kept.get(Category.GERMLINE_VARIANTS, {}), source, held_back)
    taken = {key for listed in kept.values() for key in listed}
    for resource in source.resources:
        held_back.note_inner(resource)
        held_back.note_inner(_only_as_reason(resource, source, sets))
    for resource in not_taken:
        # It may be for a sensitive category alone, and the prescription is of another one.
        apart = _is_sensitive(resource, sets)
        prescriptions = [] if apart else _prescriptions_of(resource, source, taken)
        for prescription in prescriptions:
            _note_dispense(resource, prescription, kept)
        if not prescriptions:
            held_back.note_left(resource)
    _note_medicines_elsewhere(kept, source, held_back, sets)
    split = {category: list(listed.values()) for category, listed in sorted(kept.items()) if listed}
    report = _report(source, split, held_back, left)
    records = {
        category: write_record(split.get(category, ()), held_back.marks(category, weeks is None))
        for category in sorted({*split, *held_back.marked_categories(weeks is None)})
    }
    return Split(records, report, frozenset(marks.unknown))


class _HeldBack:
    """What is held back, counted by reason, and what a later care plan must know of it."""

    def __init__(self, dropped: Mapping[str, int], sets: ValueSets) -> None:
        self._sets = sets
        self.counts: dict[str, int] = dict(dropped)
        self._medicines = any(dropped[why] for why in dropped if why != COPY)
        self._results: set[str] = set()
        self._observations: dict[tuple[Coding, bool], str] = {}  # code, final: the last day
        self._condition: str | None = None  # the last day of a diagnosis
        self._sessions: list[str] = []  # the last day of a visit for chemotherapy, if any
        self._allergies = False
        self._others: set[int] = set()  # about somebody else, by identity

    def add(self, resource: Mapping[str, object], why: str) -> None:
        self.counts[why] = self.counts.get(why, 0) + 1
        self.note_left(resource)
        self._medicines = self._medicines or why == NOT_R4  # it may be anything
        if why.startswith((_FOCUS, _OTHERS)):
            self._others.add(id(resource))
        else:
            self._note(resource)
        if is_result(resource) and not _is_implication(resource):
            self._note_result(resource, why in (_REPORT_NOT_FINAL, NO_FACT), gene_of(resource))

    def _note(self, resource: Mapping[str, object]) -> None:
        """Note what a plan must know of a resource of the person that is not kept."""
        kind = resource.get("resourceType")
        if kind == "Observation":
            self._note_observation(resource)
        elif kind == "Condition" and could_be_diagnosis(meant(resource, self._sets)):
            days = self._days_to_tell(resource)
            known = [] if self._condition is None else [self._condition]
            self._condition = max([*days, *known], key=_lateness)
        elif kind in ("Encounter", "Procedure"):
            reasons = values_at(meant(resource, self._sets), "reasonCode")
            if any(map(is_session, (code for reason in reasons for code in codings_of(reason)))):
                days = [*self._days_to_tell(resource), *self._sessions]
                self._sessions = [max(days, key=_lateness)]
        elif kind == "AllergyIntolerance":
            self._allergies = self._allergies or could_be_allergy(resource)

    def _days_to_tell(self, resource: Mapping[str, object]) -> list[str]:
        """Its days; an empty one for what is sensitive, of which not even the day is for the record of
        another category."""
        if _is_sensitive(resource, self._sets):
            return [""]
        return list(map(_certain, dates_not_kept(resource)))

    def _note_result(
        self, resource: Mapping[str, object], not_final: bool, *genes: str | None
    ) -> None:
        mark = RESULTS_NOT_FINAL if not_final else RESULTS_NOT_KEPT
        self._results |= {mark if gene is None else f"{mark}/{gene}" for gene in genes}

    def note_haplotype(self, haplotype: Mapping[str, object]) -> None:
        """Note a star allele that stands alone: it may be one of a genotype that says otherwise."""
        if haplotype.get("status") not in VOID and id(haplotype) not in self._others:
            self._note_result(haplotype, False, gene_of(haplotype))

    def note_unlinked(self, implication: Mapping[str, object], gene: str | None) -> None:
        """Note a classification of a variant that is not known: it may be of any of the gene's."""
        if implication.get("status") not in VOID and id(implication) not in self._others:
            self._results.add(CLASS_NOT_KEPT if gene is None else f"{CLASS_NOT_KEPT}/{gene}")

    def _note_observation(self, observation: Mapping[str, object]) -> None:
        """Keep of each code that a care plan reads the last day; one without a day may be later."""
        status = str(observation.get("status"))
        if status in VOID or is_result(observation):
            return
        final, day = status in FINAL, _certain(dates_not_kept(observation)[0])
        genes = genes_called(observation)
        if genes is not None:
            self._note_result(observation, not final, *(genes or [None]))
        for coding in codings_of(observation.get("code")):
            if coding.code in _PHENOTYPES:
                self._note_result(observation, not final, _PHENOTYPES[coding.code])
        parts = [observation, *values_at(observation, "component")]
        written = [part for part in parts if isinstance(part, Mapping)]
        concepts = [part.get("code") for part in written]
        named = [meant(part, self._sets).get("code") for part in written]
        called = frozenset[Coding]().union(*map(codes_called, named))
        for coding in called | asked_codes([concepts, named]):
            known = self._observations.get((coding, final), day)
            self._observations[coding, final] = max(known, day, key=_lateness)

    def note_left(self, resource: Mapping[str, object]) -> None:
        """Note a resource that comes into no record."""
        kind = str(resource.get("resourceType"))
        other = kind not in PROFILES and kind not in _NOT_TAKEN_BY_HER
        never = kind == "MedicationDispense" and not could_be_medicine(resource)
        named = other and not never and _names_medicine(resource)
        self._medicines = self._medicines or could_be_medicine(resource) or named

    def note_inner(self, resource: Mapping[str, object]) -> None:
        """Note what a resource has inside it, which no reader looks at: results, medicines."""
        for inner in _inside(resource):
            self._note(inner)
            self._medicines = self._medicines or (
                isinstance(inner.get("resourceType"), str) and could_be_medicine(inner)
            )

    def note_unlisted(self, named: Set[Coding], listed: Set[Coding]) -> None:
        """Note the codes of a medicine that stands elsewhere than in an entry of one. listed: the
        codes of all such entries that are kept."""
        self._medicines = self._medicines or bool(named - listed)

    def marked_categories(self, true_dates: bool) -> set[int]:
        """The categories whose records a plan must find, if they hold nothing but marks too."""
        marked = {Category.GERMLINE_VARIANTS} if self._results else set()
        return marked | ({Category.PROCEDURES} if self._sessions and true_dates else set())

    def marks(self, category: int, true_dates: bool) -> set[str]:
        """The marks of a record of this category."""
        marks = {TRUE_DATES} if true_dates else set()
        marks |= set() if self._medicines else {ALL_MEDICINES}
        marks |= {ALLERGY_NOT_KEPT} if self._allergies else set()
        if category == Category.OBSERVATIONS and true_dates:  # a mark has the day as it is
            listed = self._observations.items()
            marks |= {observation_mark(coding, day, final) for (coding, final), day in listed}
            marks |= set() if self._condition is None else {condition_mark(self._condition)}
        if category == Category.PROCEDURES and true_dates:  # it tells of chemotherapy
            marks |= set(map(session_mark, self._sessions))
        return marks | (self._results if category == Category.GERMLINE_VARIANTS else set())


def _is_sensitive(resource: Mapping[str, object], sets: ValueSets) -> bool:
    """Whether a code of a resource belongs to a sensitive category, or it is labelled as such."""
    codings = set(_walk(resource))
    return bool(codings & _RESTRICTED) or any(
        sensitive_categories(coding, sets) for coding in codings
    )


def _inside(value: object) -> Iterator[Mapping[str, object]]:
    """Every resource inside a resource, however deep: contained, in a Bundle, in Parameters."""
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(parts, str) or not isinstance(parts, Iterable):
        return
    for part in parts:
        if isinstance(part, Mapping) and "resourceType" in part:
            yield part
        yield from _inside(part)


def _names_medicine(resource: Mapping[str, object]) -> bool:
    return any(coding.system in MEDICINE_SYSTEMS for coding in _walk(resource))


def _certain(day: str) -> str:
    """The date, or nothing if it is none of the calendar."""
    try:
        day_number(day)
    except PayloadError:
        return ""
    return day


def _lateness(day: str) -> tuple[bool, int]:
    """By what is later at most: no day is later than any; a month or year counts to its end."""
    return not day, day_number(day) if day else 0


def _hold_back_late(
    kept: Mapping[int, dict[int, dict[str, Any]]],
    source: Source,
    held_back: _HeldBack,
    last: str,
) -> None:
    """Group the year of birth, and take out of `kept` what the grouped year does not allow."""
    late = group_birth_year(
        (record for listed in kept.values() for record in listed.values()), last
    )
    for resource in source.resources:
        for listed in kept.values():
            reduced = listed.get(id(resource))
            if reduced is not None and id(reduced) in late:
                held_back.add(resource, late[id(reduced)])
                del listed[id(resource)]


def _prescriptions_of(
    resource: Mapping[str, object], source: Source, kept: Set[int]
) -> list[Mapping[str, object]]:
    """The prescriptions by which a medicine was handed out, if all of them are kept and of the same
    medicine, so that they tell as much of it but the day. kept: by identity."""
    context = source.contexts[id(resource)]
    named = [
        resolve(reference, context, source)
        for reference in values_at(resource, "authorizingPrescription")
    ]
    codes = _medicine_codes(resource, source)
    substances = {code for code in codes if code.system in MEDICINE_SYSTEMS}
    handed_over = _certain(str(resource.get("whenHandedOver"))[:10])
    prescriptions = []
    for prescription in named:
        if prescription is None or id(prescription) not in kept:
            return []
        prescribed = _medicine_codes(prescription, source)
        if not codes & prescribed or not substances <= prescribed:
            return []
        if prescription.get("status") not in ("active", "on-hold") and not handed_over:
            return []
        prescriptions.append(prescription)
    return prescriptions


def _medicine_codes(resource: Mapping[str, object], source: Source) -> set[Coding]:
    """The codes of a medicine, or of the Medication that it refers to."""
    context = source.contexts[id(resource)]
    medication = resolve(resource.get("medicationReference"), context, source) or {}
    return set(codings_of(resource.get("medicationCodeableConcept", medication.get("code"))))


def _note_dispense(
    dispense: Mapping[str, object],
    prescription: Mapping[str, object],
    kept: Mapping[int, dict[int, dict[str, Any]]],
) -> None:
    """Let the day on which a medicine was handed out survive at its prescription, which is kept."""
    for listed in kept.values():
        reduced = listed.get(id(prescription), {})
        if reduced:
            marks = marks_of(reduced) | lasting_marks(prescription, dispense)
            reduced.update(write_marks(marks))


def _note_medicines_elsewhere(
    kept: Mapping[int, dict[int, dict[str, Any]]],
    source: Source,
    held_back: _HeldBack,
    sets: ValueSets,
) -> None:
    """Note medicines that are paid for or used, that are the value of a result, or that something
    else than an entry of one refers to or has inside it."""
    listed = {
        coding
        for records in kept.values()
        for reduced in records.values()
        if str(reduced.get("resourceType")) in _MEDICINE_KINDS
        for coding in codings_of(reduced.get("medicationCodeableConcept"))
    }
    referred_to = {
        id(resolve(resource.get("medicationReference"), source.contexts[id(resource)], source))
        for resource in source.resources
        if str(resource.get("resourceType")) in _MEDICINE_KINDS
    }
    for resource in source.resources:
        kind, parts = str(resource.get("resourceType")), list[Mapping[str, object]]()
        if kind == "Medication" and id(resource) not in referred_to:
            parts.append(resource)
        if kind in _MAY_USE_MEDICINES and not is_advice(resource):
            parts.append(resource)
        if kind in _PAID_FOR and str(resource.get("status")) not in _NOT_PAID:
            parts.append(resource)
        if kind not in _MEDICINE_KINDS:
            inside = _inside(resource)
            parts += [part for part in inside if part.get("resourceType") == "Medication"]
        for part in parts:
            systems = MEDICINE_SYSTEMS | NATIONAL
            named = {code for code in _walk(meant(part, sets)) if code.system in systems}
            if not named and part.get("resourceType") == "Medication":
                named = {Coding(None, None)}  # a medicine that no code here names is on no list
            held_back.note_unlisted(named, listed)


def _only_as_reason(
    resource: Mapping[str, object], source: Source, sets: ValueSets
) -> dict[str, object]:
    """The diagnoses of which a care plan states a "no" that a resource names as its reason, its value
    or its conclusion, as if they were Conditions inside it that are not kept; not those that a
    Condition of the file has."""
    explained, kind = meant(resource, sets), str(resource.get("resourceType"))
    named = [
        *values_at(explained, "reasonCode"),
        *(values_at(explained, "valueCodeableConcept") if kind == "Observation" else ()),
        *(values_at(explained, "conclusionCode") if kind == "DiagnosticReport" else ()),
    ]
    codes = {coding for concept in named for coding in codings_of(concept) if is_denied(coding)}
    if not codes or kind not in {*PROFILES, "DiagnosticReport"}:
        return {}
    known = {
        coding
        for part in source.resources
        if part.get("resourceType") == "Condition"
        for coding in codings_of(meant(part, sets).get("code"))
    }
    dated = resource if kind in PROFILES else {**resource, "resourceType": "Observation"}
    day = max(map(_certain, dates_not_kept(dated)), key=_lateness)
    if _is_sensitive(explained, sets) or _is_sensitive(resource, sets):
        day = ""  # not even that is for the record of another category
    only = [_coded(coding.system, coding.code) for coding in codes - known]
    return {
        "contained": [
            {"resourceType": "Condition", "code": concept, "recordedDate": day or None}
            for concept in only
        ]
    }


def _says_died(resource: Mapping[str, object]) -> bool:
    """Whether a resource about the person says that she has died, beside the Patient."""
    if str(resource.get("status")) in VOID or "focus" in resource:
        return False
    if resource.get("resourceType") == "Encounter":
        left = values_at(resource, "hospitalization.dischargeDisposition")
        return any(code == _DIED_THERE for concept in left for code in codings_of(concept))
    if resource.get("resourceType") != "Observation":
        return False
    asked = {spelled(code).code for code in codings_of(resource.get("code"))}
    valued = any(key.startswith("value") for key in resource)
    answers = {code.code for code in codings_of(resource.get("valueCodeableConcept"))}
    return (_DAY_OF_DEATH in asked and valued) or (_VITAL_STATUS in asked and _DEAD in answers)


def _report(
    source: Source,
    split: Mapping[int, Sequence[Mapping[str, object]]],
    held_back: _HeldBack,
    left: Mapping[str, int],
) -> dict[str, object]:
    """Counts of all resources. Raises PayloadError if they do not add up."""
    seen = len(source.resources) + sum(source.dropped.values()) + sum(source.left.values())
    taken = sum(map(len, split.values()))
    if seen != taken + sum(held_back.counts.values()) + sum(left.values()):
        raise PayloadError("FHIR bundle: the resources kept, held back and not taken do not add up")
    return {
        "type": "volens/split/1",
        "seen": seen,
        "kept": {str(category): len(listed) for category, listed in split.items()},
        "held back": dict(sorted(held_back.counts.items())),
        "not taken": dict(sorted(left.items())),
        "values": _count_values([resource for listed in split.values() for resource in listed]),
        "notes": [*NOTES, *source.notes],
    }


def _link_results(kept: dict[int, dict[str, Any]], source: Source, held_back: _HeldBack) -> None:
    """Give each genomic result an id, and each implication those of what it is derived from.

    An id is a hash of the reduced result: the ids of the file are kept nowhere, and two results that
    say the same have the same. kept: reduced resources by identity of the original, changed here.
    """
    implications = [candidate for candidate in source.resources if _is_implication(candidate)]
    origins = {id(implication): _origins(implication, source) for implication in implications}
    for resource in implications:
        complete = all(id(result) in kept for result in origins[id(resource)])
        if id(resource) in kept and not (complete and origins[id(resource)]):
            held_back.add(resource, _ORIGIN_NOT_KEPT)
            del kept[id(resource)]
        if id(resource) not in kept and resource.get("status") not in VOID:
            for origin in origins[id(resource)]:
                kept.get(id(origin), {}).update(write_marks({CLASS_NOT_KEPT}))
            not_kept = [result for result in origins[id(resource)] if id(result) not in kept]
            if not origins[id(resource)] or _lacks_origin(resource, source):
                not_kept.append(resource)
            for unlinked in not_kept:
                held_back.note_unlinked(resource, gene_of(unlinked) or gene_of(resource))
    for resource in source.resources:
        if _is_other_class(resource):
            held_back.note_unlinked(resource, gene_of(resource))
        if any(coding.code == _HAPLOTYPE for coding in codings_of(resource.get("code"))):
            held_back.note_haplotype(resource)
        if id(resource) in kept and is_result(resource):
            reduced = kept[id(resource)]
            reduced["id"] = hashlib.sha256(_encode(reduced)).hexdigest()[:32]
    for resource in implications:
        if id(resource) in kept:
            ids = sorted({kept[id(result)]["id"] for result in origins[id(resource)]})
            references = [{"reference": f"Observation/{name}"} for name in ids]
            kept[id(resource)]["derivedFrom"] = references


def _is_other_class(resource: Mapping[str, object]) -> bool:
    """Whether an Observation classifies a variant in a shape that is not read: in LOINC alone, or by
    the guide's code in another system."""
    codes = {coding.code for coding in codings_of(resource.get("code"))}
    return (
        resource.get("resourceType") == "Observation"
        and not is_result(resource)
        and bool(codes & {"53037-8", IMPLICATION.code})
    )


def _is_implication(resource: Mapping[str, object]) -> bool:
    return is_result(resource) and IMPLICATION in map(spelled, codings_of(resource.get("code")))


def _lacks_origin(resource: Mapping[str, object], source: Source) -> bool:
    """Whether something that it is derived from is not in the file."""
    derived = [*values_at(resource, "derivedFrom")]
    return len(_origins(resource, source)) < len(derived)


def _origins(resource: Mapping[str, object], source: Source) -> list[Mapping[str, object]]:
    """What an implication of the file is derived from."""
    context = source.contexts[id(resource)]
    resolved = [resolve(item, context, source) for item in values_at(resource, "derivedFrom")]
    return [origin for origin in resolved if origin is not None]


def has_sensitive_codes(payload: bytes, sets: ValueSets) -> bool:
    """Whether any coding in a JSON document is sensitive, also in elements that are not read.

    Raises PayloadError if the document is not strict JSON.
    """
    try:
        document = load_strict(payload, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
    except JsonRefused as refused:
        raise PayloadError(f"FHIR bundle: {refused}") from None
    return any(sensitive_categories(coding, sets) for coding in _walk(document))


def write_record(resources: Sequence[Mapping[str, object]], marks: Iterable[str] = ()) -> bytes:
    """A Bundle (collection) of reduced resources, sorted by their bytes, with these marks."""
    encoded = sorted(_encode({"resource": resource}) for resource in resources)
    around = {"resourceType": "Bundle", "type": "collection", **write_marks(marks)}
    return b'{"entry":[' + b",".join(encoded) + b"]," + _encode(around)[1:]


def _encode(value: object) -> bytes:
    def number(item: object) -> float:
        if isinstance(item, Decimal):
            return float(item)
        raise TypeError

    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=number
    ).encode()


class _Marks:
    """The marks of each part by codes and labels: sensitive categories, reasons to hold back.

    Each part is read once, even if many others refer to it.
    """

    def __init__(self, sets: ValueSets, source: Source) -> None:
        self.sets = sets
        self.unknown: set[Coding] = set()  # codes of unknown systems that held something back
        # By identity, since the source keeps every part alive.
        self._marks: dict[int, frozenset[int | str]] = {}
        self._unread: dict[int, bool] = {}
        self.file = frozenset[int | str]().union(*map(self.of, source.labelled))
        self.links = read_links(source)
        self._linked = _linked_categories(source, self)
        diagnoses = [part for part in source.resources if part.get("resourceType") == "Condition"]
        self._another_cancer = any(
            is_another_cancer(codings_of(meant(part, sets).get("code"))) for part in diagnoses
        )
        focuses = {
            id(focus): focus
            for part in source.resources
            if part.get("resourceType") == "Observation"
            for focus in _related(part, "focus", source.contexts[id(part)], source)
            if focus is not None
        }
        named = [meant(focus, sets).get("code") for focus in focuses.values()]
        self._several_tumours = sum(map(is_of_breast, named)) > 1

    def of_use(self, marks: Set[str]) -> dict[str, object]:
        """Of the marks of a medicine or result those that a care plan needs, as its element."""
        used = set(marks)
        if FOR_BREAST_CANCER in marks:
            used -= set() if self._another_cancer else {FOR_BREAST_CANCER}
            used |= {OF_SEVERAL_TUMOURS} if self._several_tumours else set()
        return write_marks(used)

    def linked(self, resource: Mapping[str, object]) -> frozenset[int | str]:
        """The marks from the sources of a resource, and from panels and reports that list it."""
        return frozenset(self._linked.get(id(resource), ()))

    def of(self, part: Mapping[str, object]) -> frozenset[int | str]:
        """The marks from the part's own codes and labels."""
        if id(part) not in self._marks:
            self._marks[id(part)] = self.read(part)
        return self._marks[id(part)]

    def read(self, part: Mapping[str, object]) -> frozenset[int | str]:
        """Like `of`, for a temporary object: its identity is not stored."""
        codings = set(_walk(part))
        marks: set[int | str] = {
            category for coding in codings for category in sensitive_categories(coding, self.sets)
        }
        marks |= {_MARKED} if codings & _RESTRICTED else set()
        marks |= {_LABEL} if any(map(self._is_unknown_label, _labels(part))) else set()
        return frozenset(marks)

    def is_unread(self, reason: Mapping[str, object]) -> bool:
        """Whether the code of a reason, order or report is unknown: its results could reveal it."""
        if id(reason) not in self._unread:
            self._unread[id(reason)] = bool(
                self.why_unroutable(
                    codings_or_none(without_optional(reason, self.sets).get("code"))
                )
            )
        return self._unread[id(reason)]

    def why_unroutable(self, codings: Iterable[Coding]) -> set[str]:
        """Why the category of these codes cannot be determined; notes those of unknown systems."""
        reasons = set()
        for coding in codings:
            # A map's own system is no way in for a file.
            own = coding.system == MAPPED
            why = UNKNOWN_SYSTEM if own else why_unroutable(coding, self.sets)
            if why is not None:
                reasons.add(why)
            if why == UNKNOWN_SYSTEM:
                self.unknown.add(coding)
        return reasons

    def _is_unknown_label(self, label: Coding) -> bool:
        spellings = set(_spellings(label))
        return not (
            spellings & (_HARMLESS | _RESTRICTED)
            or any(sensitive_categories(spelling, self.sets) for spelling in spellings)
        )


def _linked_categories(source: Source, marks: _Marks) -> dict[int, set[int | str]]:
    """By identity of a resource: the sensitive categories that reach it through references of the
    file, and reasons to hold it back. The results of an unreadable order, report or conditional
    reference are marked, never what lists it.
    """
    initial = {key: _own_marks(part, marks) for key, part in marks.links.parts.items()}
    others = {*source.others, *_of_kin(source, marks.links)}
    for sentence, keys in ((_SEARCH, marks.links.unread), (_OTHERS, others)):
        for key in keys:
            initial.setdefault(key, []).append(sentence)
    return marks.links.propagate(initial, _DOWNWARDS)


def _of_kin(source: Source, links: Links) -> Iterator[int]:
    """By identity: what a history of a relative names or gave rise to, and specimens of somebody
    else than the person, as of her child."""
    for resource in source.resources:
        context = source.contexts[id(resource)]
        if resource.get("resourceType") == "FamilyMemberHistory":
            for extension in links.extensions.get(id(resource), ()):
                result = resolve(extension.get("valueReference"), context, source)
                yield from () if result is None else (id(result),)
        if any(
            origin is not None and origin.get("resourceType") == "FamilyMemberHistory"
            for origin in _related(resource, "derivedFrom", context, source)
        ):
            yield id(resource)
        yield from (
            id(part)
            for part in (resource, *context.inside.values())
            if part.get("resourceType") == "Specimen" and _is_of_another_body(part)
        )


def _is_of_another_body(specimen: Mapping[str, object]) -> bool:
    """Whether its kind is of a fetus, or it names somebody in words alone."""
    kind, subject = specimen.get("type"), specimen.get("subject")
    named = isinstance(subject, dict) and not {"reference", "identifier"} & subject.keys()
    codes = {coding.code for coding in codings_of(kind)}
    return named or bool(codes & _FETAL_CODES) or _FETAL.search(json.dumps(kind)) is not None


def _own_marks(part: Mapping[str, object], marks: _Marks) -> list[int | str]:
    """The marks from a part's own codes and labels, and _UNREAD; not of a document's sections."""
    if "section" in part:
        read = marks.read({name: value for name, value in part.items() if name != "section"})
    else:
        read = marks.of(part)
    own_marks: list[int | str] = list(read)
    asking = any(str(kind) in _ASKING for kind in key_values(part.get("resourceType")))
    if asking and marks.is_unread(part):
        own_marks.append(_UNREAD)
    reports = part.get("resourceType") == "DiagnosticReport" or "hasMember" in part
    if reports and str(part.get("status")) not in FINAL_REPORT:
        own_marks.append(_REPORT_NOT_FINAL)
    return own_marks


def _sensitive(marks: frozenset[int | str]) -> int | None:
    """The only sensitive category, or None. Raises HeldBack."""
    if _LABEL in marks:
        raise HeldBack(_LABEL)
    categories = [mark for mark in marks if isinstance(mark, int)]
    for sentence in (_UNREAD, _SEARCH):
        if sentence in marks:
            raise HeldBack(sentence)
    if len(categories) > 1:
        raise HeldBack("in two sensitive categories")
    if not categories and _MARKED in marks:
        raise HeldBack(_MARKED)
    return categories[0] if categories else None


def _route(
    resource: Mapping[str, object], source: Source, subject: str, marks: _Marks
) -> tuple[int, dict[str, Any]]:
    """Category and reduced resource. Raises HeldBack."""
    kind = str(resource["resourceType"])
    if kind == "Patient":
        return Category.DEMOGRAPHICS, _reduce_patient(resource, subject, marks)
    context = source.contexts[id(resource)]
    medication = resolve(resource.get("medicationReference"), context, source) or {}
    if id(medication) in source.unfit:
        raise HeldBack("its medication is held back")
    _check_focus(resource, context, source, marks)
    explained = meant(resource, marks.sets)
    concepts = concepts_of(explained, meant(medication, marks.sets))
    if sum(len(list(codings_of(concept))) for concept in concepts) > MAX_CODINGS:
        raise HeldBack("more codes than one thing has")
    reduced = reduce_resource(explained, concepts, subject)
    if kind == "Condition":
        reduced.update(_state_by_certainty(explained))
    written = without_optional(resource, marks.sets)
    originals = concepts_of(written, without_optional(medication, marks.sets))
    why = marks.why_unroutable(_deciding(written, originals))
    if why:
        raise HeldBack(min(why))
    reasons = _reasons_of(resource, context, source, marks)
    everywhere = marks.file | marks.of(resource) | marks.of(medication) | marks.linked(resource)
    everywhere = everywhere.union(*map(marks.of, reasons))
    _check_surroundings(resource, context, source, marks, everywhere)
    for_what = [*values_at(explained, "reasonCode")]
    for_what += [meant(reason, marks.sets).get("code") for reason in reasons]
    if "medication" in PROFILES[kind].concept:
        used = use_marks(explained, for_what) | lasting_marks(explained)
        reduced.update(marks.of_use(used))
    elif kind == "Observation" and not is_result(resource):
        focuses = _related(resource, "focus", context, source)
        about = [meant(focus, marks.sets).get("code") for focus in focuses if focus]
        reduced.update(marks.of_use(disease_marks(about)))
    elif kind in ("Encounter", "Procedure"):
        codes = [code for concept in for_what for code in codings_of(concept)]
        why = {CHEMOTHERAPY_SESSION} if any(map(is_session, codes)) else set()
        for_another = kind == "Procedure" and codes and not any(map(is_of_breast, for_what))
        reduced.update(write_marks(why | ({OTHER_OPERATION} if for_another else set())))
    category = _sensitive(everywhere)
    if category is None:
        category = _ordinary_category(reduced, originals, marks.sets)
    return category, reduced


def _reduce_patient(patient: Mapping[str, object], subject: str, marks: _Marks) -> dict[str, Any]:
    reduced = reduce_patient(patient, subject)
    inside = marks.of(patient) & {_MARKED}  # a label of one element of the Patient
    # A record of a sensitive category has no Patient.
    if _sensitive(marks.file | inside) is not None:
        raise HeldBack(_MARKED)
    return reduced


def _state_by_certainty(condition: Mapping[str, object]) -> dict[str, Any]:
    """The state of a German diagnosis that is a history. Raises HeldBack for one that is none."""
    certainties = certainties_of(condition.get("code"))
    if EXCLUDED in certainties or SUSPECTED in certainties:
        raise HeldBack(NO_FACT)
    return {"clinicalStatus": _coded(CLINICAL, "inactive")} if HISTORY in certainties else {}


def _reasons_of(
    resource: Mapping[str, object], context: ReferenceContext, source: Source, marks: _Marks
) -> list[Mapping[str, object]]:
    """What a resource refers to as its reasons. Raises HeldBack for one that is not read."""
    if any(
        resolve(reference, context, source) is None
        for part in (resource, *context.inside.values())
        for path in _NEEDED
        for reference in values_at(part, path)
    ):
        raise HeldBack("made from something that is not in the file")
    reasons = []
    for reason in (part for path in _REASONS for part in _related(resource, path, context, source)):
        if reason is None:
            raise HeldBack("a reason that is not in the file")
        if marks.is_unread(reason):
            raise HeldBack("a reason whose code is not known here")
        reasons.append(reason)
    return reasons


def _check_surroundings(
    resource: Mapping[str, object],
    context: ReferenceContext,
    source: Source,
    marks: _Marks,
    everywhere: frozenset[int | str],
) -> None:
    """Raises HeldBack by what stands around a resource: reports, specimens, other people, links.

    everywhere: the marks of all of it."""
    kind = str(resource["resourceType"])
    if kind == "Observation" and _REPORT_NOT_FINAL in everywhere:
        raise HeldBack(_REPORT_NOT_FINAL)
    specimens = _related(resource, "specimen", context, source)
    if any(map(_is_unfit, specimens)):
        raise HeldBack(_UNFIT_SPECIMEN)
    if _is_test_data(resource) and not any(map(_is_test_data, source.labelled)):
        raise HeldBack(_ONLY_TEST_DATA)
    if _OTHERS in everywhere and kind != "FamilyMemberHistory":
        raise HeldBack(f"{_OTHERS}: {kind}")
    if id(resource) in marks.links.unreadable:
        raise HeldBack(f"{_SEARCH}: {kind}.{marks.links.unreadable[id(resource)]}")
    kinds: list[object] = [
        part.get("display") for part in values_at(resource, "specimen") if isinstance(part, Mapping)
    ]
    for specimen in filter(None, specimens):
        kinds += [specimen.get("type"), *values_at(specimen, "collection.bodySite")]
    of_tumour = any(_OF_TUMOUR.search(text) for text in _made_from(resource, kinds))
    if kind == "Observation" and of_tumour and _calls_germline(resource):
        raise HeldBack(_FROM_TUMOUR)
    if kind == "Observation" and not is_result(resource):
        explained = meant(resource, marks.sets)
        measured = zip(_codes_within(resource), _codes_within(explained), strict=True)
        if any(is_called_otherwise(code, by_map, kinds) for code, by_map in measured):
            raise HeldBack(_CALLED_OTHERWISE)


def _made_from(resource: Mapping[str, object], specimens: object) -> Iterator[str]:
    """Every text and code of what a result was made from and how."""
    return texts_within([specimens, resource.get("bodySite"), resource.get("method")])


def _calls_germline(resource: Mapping[str, object]) -> bool:
    """Whether a genomic result says that it is of the germline, or is a genotype."""
    parts = [part for part in values_at(resource, "component") if isinstance(part, Mapping)]
    sources = [
        coding.code
        for part in parts
        if any(coding.code == SOURCE_CLASS for coding in codings_of(part.get("code")))
        for coding in codings_of(part.get("valueCodeableConcept"))
    ]
    genotype = GENOTYPE in codings_of(resource.get("code"))
    return is_result(resource) and (GERMLINE in sources or (genotype and not sources))


def _codes_within(observation: Mapping[str, object]) -> list[object]:
    """What a result measures: its own code, and that of each component."""
    return [observation.get("code"), *values_at(observation, "component.code")]


def _ordinary_category(
    reduced: Mapping[str, object], originals: Sequence[object], sets: ValueSets
) -> int:
    """The category of what has no sensitive one. Raises HeldBack where a map says another.

    originals: its concepts as written, of which the map speaks."""
    kind = PROFILES[str(reduced["resourceType"])]
    category = _ordinary(kind.category, reduced)
    own = (coding for concept in originals for coding in codings_of(concept))
    mapped = (sets.mapped[coding] for coding in own if coding in sets.mapped)
    meant_for = set[int]().union(*(meaning.categories - SENSITIVE for meaning in mapped))
    if category == Category.OBSERVATIONS and meant_for == {Category.LIFESTYLE}:
        return Category.LIFESTYLE
    if meant_for - {category}:
        raise HeldBack("of another category than its code map says")
    return category


def _is_unfit(specimen: Mapping[str, object] | None) -> bool:
    """Whether no valid result comes from a specimen, as its laboratory says."""
    if specimen is None or specimen.get("resourceType") != "Specimen":
        return False
    states = {
        code.code
        for condition in values_at(specimen, "condition")
        for code in codings_of(condition)
    }
    return specimen.get("status") in _UNFIT_STATUSES or bool(states & _UNFIT_STATES)


def _is_test_data(part: Mapping[str, object]) -> bool:
    return any(_TEST_DATA in _spellings(label) for label in _labels(part))


def _check_focus(
    resource: Mapping[str, object], context: ReferenceContext, source: Source, marks: _Marks
) -> None:
    """Raises HeldBack for what is about something else than the person or her own disease."""
    # mCODE: a staging's focus is the person's own cancer. Any other focus is a fetus, a donor, a
    # relative, a device, where its type says so.
    for reference in values_at(resource, "focus"):
        focus = resolve(reference, context, source)
        kind = str(focus.get("resourceType")) if focus else _kind_named(reference)
        if kind in ("BodyStructure", "") or (
            kind == "Condition" and (focus is None or marks.is_unread(focus))
        ):
            raise HeldBack("about a diagnosis or part of the body that is not known here")
        if focus is None or kind not in PROFILES:
            raise HeldBack(_FOCUS)
    if any(
        _OTHER_FOCUS.search(str(extension.get("url")))
        for extension in marks.links.extensions.get(id(resource), ())
    ):
        raise HeldBack(f"{_FOCUS}: {resource['resourceType']}.extension")


def _kind_named(reference: object) -> str:
    """The type that a reference to something outside the file names, or nothing."""
    text = reference.get("reference") if isinstance(reference, dict) else None
    named = re.search(r"(?:^|/)([A-Z][A-Za-z]+)/[^/]+$", text if isinstance(text, str) else "")
    return named[1] if named else ""


def _ordinary(category: int, reduced: Mapping[str, object]) -> int:
    """The category of the type, or for an observation of a known variable, of that variable."""
    variables = [
        VARIABLE_OF[coding] for coding in codings_of(reduced.get("code")) if coding in VARIABLE_OF
    ]
    return (
        variables[0].category
        if category == PROFILES["Observation"].category and variables
        else category
    )


def _deciding(resource: Mapping[str, object], concepts: Sequence[object]) -> Iterator[Coding]:
    """The codings that must all be known: of the record, its answers, and its reasons."""
    of_result = RESULTS if is_result(resource) else frozenset()
    for concept in concepts or [None]:
        yield from (
            coding for coding in codings_or_none(concept) if spelled(coding) not in of_result
        )
    yield from value_codings(resource)
    reasons = resource.get("reasonCode")
    for reason in reasons if isinstance(reasons, list) else []:
        yield from codings_or_none(reason)


def _related(
    resource: Mapping[str, object], element: str, context: ReferenceContext, source: Source
) -> list[Mapping[str, object] | None]:
    """The targets of the references of an element; None for a target that is not in the file."""
    return [resolve(item, context, source) for item in values_at(resource, element)]


def _labels(part: Mapping[str, object]) -> Iterator[Coding]:
    """The security labels of a resource and its contained ones; invalid ones are empty codings."""
    for resource in (part, *contained(part).values()):
        for meta in key_values(resource.get("meta")):
            # Null means no labels.
            security = (meta.get("security") or []) if isinstance(meta, dict) else []
            for label in security if isinstance(security, list) else [security]:
                yield next(codings_of({"coding": [label]}), Coding(None, None))


def _spellings(coding: Coding) -> Iterator[Coding]:
    yield coding
    if coding.system in _SPELLINGS:
        yield Coding(_SPELLINGS[coding.system], coding.code)


def _walk(value: object) -> Iterator[Coding]:
    """Every coding inside, also of elements that are not kept: a reason or label may reveal it."""
    if isinstance(value, dict):
        for system, code in paired(value.get("system"), value.get("code")):
            if isinstance(system, str):  # some systems are sensitive without a code
                for name in {system: None, usual_system(system): None}:
                    yield from _spellings(Coding(name, code if isinstance(code, str) else None))
        if _is_genetic(value):
            yield _GENETIC_LABEL
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _is_genetic(value: Mapping[str, object]) -> bool:
    """Whether its type, a profile in its meta, or an extension's url marks a genetic result."""
    profiles = value.get("profile")
    named = [
        *key_values(value.get("url")),
        *(profiles if isinstance(profiles, list) else [profiles]),
    ]
    kinds = key_values(value.get("resourceType"))
    return any(isinstance(kind, str) and kind in _GENETIC_TYPES for kind in kinds) or any(
        isinstance(name, str) and _GENETIC_STRUCTURE.search(name) for name in named
    )


def _count_values(resources: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """How a run will read the kept observations: "read", "converted", or why not."""
    counts: dict[str, int] = {}
    for resource in resources:
        if resource["resourceType"] != "Observation":
            continue
        components = resource.get("component", [])
        for part in [resource, *(components if isinstance(components, list) else [])]:
            if not any(key.startswith("value") for key in part):
                continue
            variables = [
                VARIABLE_OF[coding]
                for coding in codings_of(part.get("code"))
                if coding in VARIABLE_OF
            ]
            for note in [measure(variable, part).note or "read" for variable in variables] or [
                "no variable"
            ]:
                counts[note] = counts.get(note, 0) + 1
    return dict(sorted(counts.items()))


def bundle_of(
    subject: str,
    *,
    gender: str,
    birth_year: int,
    conditions: Sequence[tuple[str, str, str | None]] = (),
    observations: Sequence[tuple[str | tuple[str, str], float | bool, str | None]] = (),
    medications: Sequence[tuple[str, str, str | None]] = (),
    procedures: Sequence[tuple[str, str, str | None]] = (),
    facts: Sequence[tuple[str, str, str | None]] = (),
) -> bytes:
    """A Bundle like a hospital export, from (system's short name, code, date) tuples. facts: with
    the system of a Fact, of any type. Observations have a variable of variables.json (in its unit)
    or (system, code), with a pure number or a
    boolean.

    The same arguments give the same bytes. Raises PayloadError for a system or variable that is not
    known.
    """
    resources: list[dict[str, object]] = [
        {
            "resourceType": "Patient",
            "id": subject,
            "gender": gender,
            "birthDate": f"{birth_year:04d}",
        }
    ]
    about = {"subject": {"reference": f"Patient/{subject}"}}
    of_types = [("Condition", fact) for fact in conditions]
    of_types += [("MedicationRequest", fact) for fact in medications]
    of_types += [("Procedure", fact) for fact in procedures]
    of_types += [(_type_of(system), (system, code, date)) for system, code, date in facts]
    for kind, (system, code, date) in of_types:
        resources.append(_stated(kind, FACT_SYSTEMS.get(system, system), code, date, subject))
    for name, value, date in observations:
        dated = {} if date is None else {"effectiveDateTime": date}
        resources.append(
            {
                "resourceType": "Observation",
                "status": "final",
                **_observed(name, value),
                **about,
                **dated,
            }
        )
    entries = [{"resource": {"id": f"r{n}", **resource}} for n, resource in enumerate(resources)]
    return _encode({"resourceType": "Bundle", "type": "collection", "entry": entries})


def _type_of(system: str) -> str:
    """The type of a resource that states a fact of this system."""
    prefix = system.removesuffix(FACT_SYSTEMS.get(system, system))
    for kind, own in FACT_PREFIXES.items():
        if prefix == own:
            return kind
    usual = {"atc": "MedicationRequest", "rxnorm": "MedicationRequest", "icd-10-pcs": "Procedure"}
    return usual.get(system, "Condition")


def _stated(kind: str, system: str, code: str, date: str | None, subject: str) -> dict[str, object]:
    """A resource that states one fact, as a hospital writes it."""
    concept = _named(system, code)
    profile = PROFILES[kind]
    dated: dict[str, object] = {} if date is None else {profile.times[0][1]: date}
    about: dict[str, object] = {profile.person: {"reference": f"Patient/{subject}"}}
    stated: dict[str, object]
    match kind:
        case "MedicationRequest":
            stated = {"status": "active", "intent": "order", "medicationCodeableConcept": concept}
        case "Procedure":
            stated = {"status": "completed", "code": concept}
        case "Encounter":
            inpatient = {"system": URIS["act-code"], "code": "IMP"}
            stated = {"status": "finished", "class": inpatient, "type": [concept]}
            dated = {} if date is None else {"period": {"start": date, "end": date}}
        case "FamilyMemberHistory":
            kin = _coded(_HL7 + "v3-RoleCode", "FAMMEMB")
            stated = {"status": "completed", "relationship": kin, "condition": [{"code": concept}]}
        case _:
            systems = [profile.states[name][0] for name in ("clinicalStatus", "verificationStatus")]
            stated = {
                "clinicalStatus": _coded(systems[0], "active"),
                "verificationStatus": _coded(systems[1], "confirmed"),
                "code": concept,
            }
    return {"resourceType": kind, **stated, **about, **dated}


def _observed(name: str | tuple[str, str], value: float | bool) -> dict[str, object]:
    if isinstance(name, tuple):
        pure = (
            {"valueBoolean": value}
            if isinstance(value, bool)
            else {"valueQuantity": _amount(value, "1")}
        )
        return {"code": _named(*name), **pure}
    if name not in VARIABLES:
        raise PayloadError("FHIR bundle: a variable is not in the list")
    variable = VARIABLES[name]
    code = next(coding for coding, measured in VARIABLE_OF.items() if measured is variable)
    coded = {"code": _coded(code.system, code.code)}
    if variable.kind == "quantity":
        return {**coded, "valueQuantity": _amount(value, next(iter(variable.units)))}
    if variable.kind == "boolean":
        return {**coded, "valueBoolean": bool(value)}
    answer = next((coding for coding, number in variable.answers.items() if number == value), None)
    if answer is None:
        raise PayloadError("FHIR bundle: an answer is not in the list")
    return {**coded, "valueCodeableConcept": _coded(answer.system, answer.code)}


def _amount(value: float, unit: str) -> dict[str, object]:
    return {
        "value": int(value) if float(value).is_integer() else float(value),
        "system": UCUM,
        "code": unit,
    }


def _named(system: str, code: str) -> dict[str, object]:
    if system not in URIS:
        raise PayloadError(
            "FHIR bundle: a code system is not known", "Use the short names of SYSTEMS."
        )
    return _coded(URIS[system], code)


def _coded(system: str | None, code: str | None) -> dict[str, object]:
    return {"coding": [{"system": system, "code": code}]}
