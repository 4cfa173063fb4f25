"""Reads decrypted records into people: one reader per category, joined by subject."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.cohort import Person
from analytics.errors import InputsError
from analytics.readers.assays import name_of, read_assay
from analytics.readers.clinical import is_record, read_clinical_record
from analytics.readers.codes import SENSITIVE
from analytics.readers.expression import read_expression
from analytics.readers.genotypes import Genotypes, Sites, is_genotypes, read_genotypes
from analytics.vocabulary import Category

# Categories of a clinical record, including the sensitive ones, which a code decides: genetic
# results have the category of the genome, and a separate record.
CLINICAL_RECORD = tuple(
    sorted(
        {
            Category.DEMOGRAPHICS,
            Category.CONDITIONS,
            Category.OBSERVATIONS,
            Category.MEDICATIONS,
            Category.PROCEDURES,
            Category.LIFESTYLE,
        }
        | SENSITIVE
    )
)
_SUBJECT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Input:
    """One decrypted record: subject (64 lower-case hex), category, payload."""

    subject: str
    category: int
    payload: bytes


def read_people(inputs: Sequence[Input], source: str, assays: Sequence[str] = ()) -> list[Person]:
    """Every person in `inputs`. source: expression, variants or none; others are not read, nor are
    assays besides these.

    Raises InputsError for a set of records that does not fit together, PayloadError for one that
    cannot be read.
    """
    by_subject: dict[str, list[Input]] = {}
    for item in inputs:
        if not _SUBJECT.fullmatch(item.subject):
            raise InputsError("a subject is not 64 lower-case hexadecimal characters")
        by_subject.setdefault(item.subject, []).append(item)
    known: dict[bytes, Sites] = {}  # people from one file share their list of sites
    return [
        _read_person(subject, items, source, assays, known) for subject, items in by_subject.items()
    ]


def _read_person(
    subject: str,
    items: Sequence[Input],
    source: str,
    assays: Sequence[str],
    known: dict[bytes, Sites],
) -> Person:
    clinical: dict[int, bytes] = {}
    of_assay: dict[str, bytes] = {}
    expression: bytes | None = None
    variants: list[bytes] = []
    for item in items:
        if item.category == Category.GERMLINE_VARIANTS and not is_record(item.payload):
            variants.append(item.payload)
        elif item.category == Category.EXPRESSION and (assay := name_of(item.payload)) is not None:
            if assay in of_assay:
                raise InputsError("a subject has two records of one assay")
            of_assay[assay] = item.payload
        elif item.category == Category.EXPRESSION and expression is None:
            expression = item.payload
        elif item.category in CLINICAL_RECORD and item.category not in clinical:
            clinical[item.category] = item.payload
        elif item.category in CLINICAL_RECORD or item.category == Category.EXPRESSION:
            raise InputsError("a subject has two records of one category")
        else:
            raise InputsError("a record has a category that analytics cannot read")
    has = {*of_assay, *["expression"] * (expression is not None), *["variants"] * bool(variants)}
    return Person(
        subject,
        read_clinical_record(clinical, subject) if clinical else None,
        read_expression(expression) if expression is not None and source == "expression" else None,
        _read_variants(variants, known) if variants and source == "variants" else None,
        {name: read_assay(of_assay[name])[1] for name in assays if name in of_assay},
        frozenset(has - {source, *assays}),
    )


def _read_variants(payloads: Sequence[bytes], known: dict[bytes, Sites]) -> Genotypes:
    """The packed genotypes; a VCF of the same person, if given, must be their source."""
    packed = [payload for payload in payloads if is_genotypes(payload)]
    sources = [payload for payload in payloads if not is_genotypes(payload)]
    if len(packed) != 1 or len(sources) > 1:
        raise InputsError(
            "a subject's variant records are not one packed genotype record and at most one VCF"
        )
    genotypes = read_genotypes(packed[0], known)
    if sources and hashlib.sha256(sources[0]).digest() != genotypes.source:
        raise InputsError(
            "packed genotypes were made from another VCF than the one beside them",
            "Ingest the VCF again; both records are written together.",
        )
    return genotypes
