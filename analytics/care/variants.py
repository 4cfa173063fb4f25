"""Germline findings of a laboratory's report: BRCA1, BRCA2, DPYD and CYP2D6.

The variant's value decides: only Present is a finding. Its significance is what a diagnostic
implication of it says. What is not certain is a reason, never a "no": a variant of the tumour
alone, one whose source class, build, value or coded change is missing, or of which two statements
differ. A laboratory system's own advice on medicines is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from analytics.care.dpyd import CAUSAL, DECREASED, NORMAL, PROXY, VARIANTS, is_in_dpyd, name_of
from analytics.care.entries import LOINC, Entry, Records, answer, is_final, names
from analytics.care.facts import Fact, Known, Reason, Unknown
from analytics.readers.codes import codings_of
from analytics.readers.genomics import (
    ALLELE_SHARE,
    BUILD,
    C_HGVS,
    CONFIDENCE,
    G_HGVS,
    GENE,
    GENOTYPE,
    GERMLINE,
    IMPLICATION,
    SIGNIFICANCE,
    SOURCE_CLASS,
    TRANSCRIPT,
    VARIANT,
    ZYGOSITY,
)
from analytics.readers.marks import (
    CLASS_NOT_KEPT,
    RESULTS_NOT_FINAL,
    RESULTS_NOT_KEPT,
    marks_of,
)
from analytics.vocabulary import Category

# HGNC ids, and the sequence of the gene's chromosome in GRCh38 (NCBI).
BRCA = {"brca1_germline": "HGNC:1100", "brca2_germline": "HGNC:1101"}
DPYD, CYP2D6 = "HGNC:3012", "HGNC:2625"
_SEQUENCES = {"HGNC:1100": "NC_000017.11", "HGNC:1101": "NC_000013.11", DPYD: "NC_000001.11"}
# The gene's name and its transcripts (NCBI, LRG); the numbers of any other are of another gene.
_TRANSCRIPTS = {
    "HGNC:1100": ("BRCA1", frozenset({"NM_007294", "NM_007300", "LRG_292"})),
    "HGNC:1101": ("BRCA2", frozenset({"NM_000059", "LRG_293"})),
}
# Of a variant that does not name its gene by code: the gene of its transcript.
_GENE_OF = {
    **{transcript: gene for gene, (_, known) in _TRANSCRIPTS.items() for transcript in known},
    "NM_000110": DPYD,
    "NM_000106": CYP2D6,
}
_OF_A_REGION = ("NC_", "NG_", "ENST")  # these say nothing about the gene
# A germline variant is in about half of the reads; in fewer than these it may be of some cells only,
# as of blood that has grown from one cell. Below .3 is a bound that laboratories often use.
_LOWEST_SHARE = Decimal("0.3")
_SHARE_UNITS = {"1": Decimal(1), "%": Decimal("0.01")}
# Answers of LOINC: LL1971-2, LL378-1, LL381-5, LL1040-6, LL4034-6.
PRESENT, ABSENT = "LA9633-4", "LA9634-2"
_NO_FINDING = {"LA18198-4": Reason.NO_CALL, "LA11884-6": Reason.INDETERMINATE}
_SOMATIC = frozenset({"LA6684-0", "LA18195-0"})
_COPIES = {"LA6706-1": 1, "LA6705-3": 2}
_GRCH38, _GRCH38_TEXT = "LA26806-2", re.compile(r"GRCh38(?:\.p[0-9]{1,2})?|hg38")
_WORDS = {
    "LA6668-3": "pathogenic",
    "LA26332-9": "likely pathogenic",
    "LA26333-7": "uncertain significance",
    "LA26334-5": "likely benign",
    "LA6675-8": "benign",
}
# Of one variant alone: it says nothing about the rest of the gene.
_TESTED_ABSENT = "tested variant not found"
_ORDER = (*_WORDS.values(), _TESTED_ABSENT)
_QUALIFYING = _ORDER[:2]
# What a laboratory says that a gene's product does (LOINC), and its answers (LL3856-3).
_PHENOTYPES = {DPYD: "79719-1", CYP2D6: "79715-9"}
_METABOLISERS = {
    "LA9657-3": "poor",
    "LA10317-8": "intermediate",
    "LA25391-6": "normal",
    "LA25390-8": "rapid",
    "LA10315-2": "ultrarapid",
}
# Frequent star alleles of CYP2D6 without function, and with all of it (CPIC).
NO_FUNCTION = frozenset(f"*{n}" for n in (3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 18, 31, 36, 40, 42, 68))
FULL_FUNCTION = frozenset(f"*{n}" for n in (1, 2, 27, 33, 34, 35, 39, 45, 46, 48, 53))
_GENOME = Category.GERMLINE_VARIANTS


@dataclass(frozen=True, slots=True)
class _Finding:
    """A germline variant that is present (or absent), with its entry. change: c. or g., coded."""

    entry: Entry
    present: bool
    day: int
    change: str
    copies: int | None


def read_variants(records: Records) -> dict[str, Fact]:
    """The facts of a laboratory's report."""
    facts: dict[str, Fact] = {name: _significance(records, gene) for name, gene in BRCA.items()}
    facts |= _dpyd(records, _of_gene(records, DPYD))
    facts["cyp2d6_diplotype"] = _diplotype(records)
    for gene, result in ((DPYD, "dpyd_variants"), (CYP2D6, "cyp2d6_diplotype")):
        facts[result] = _as_stated(records, gene, facts[result])
    return facts


def _as_stated(records: Records, gene: str, result: Fact) -> Fact:
    """What was found of a gene, unless what its laboratory says that it does, of whatever day, is
    another phenotype, or cannot be read."""
    stated = records.observations(LOINC, _PHENOTYPES[gene])
    if not isinstance(result, Known) or not isinstance(result.value, tuple):
        return result
    possible = (_metabolisers_by_dpyd if gene == DPYD else _metabolisers_by_cyp2d6)(result.value)
    if all(answer(_METABOLISERS)(entry) in possible for entry in stated):
        return result
    source = tuple(sorted({*result.source, *names(stated)}))
    return Unknown(Reason.CONFLICTING, "its variants and a phenotype", result.day, source)


def _metabolisers_by_dpyd(variants: Sequence[str]) -> set[str]:
    """CPIC: by the two copies that do least."""
    lowered = [name for name in variants if name not in NORMAL]
    if not lowered:
        return {"normal"}
    return {"poor"} if len(lowered) > 1 and set(lowered) - DECREASED else {"intermediate"}


def _metabolisers_by_cyp2d6(diplotypes: Sequence[str]) -> set[str]:
    """Those that are not out of the question: laboratories draw the lines between them in different
    ways."""
    alleles = [re.sub(r"x.*", "", allele) for allele in diplotypes[0].split("/")]
    without = sum(allele in NO_FUNCTION for allele in alleles)
    if without == len(alleles):
        return {"poor"}
    full = sum(allele in FULL_FUNCTION for allele in alleles)
    possible = {"intermediate"} if full < len(alleles) else set()
    possible |= {"normal", "rapid"} if full else set()
    return possible | ({"ultrarapid"} if "x" in diplotypes[0] else set())


def _of_gene(records: Records, gene: str) -> list[Entry]:
    return [
        entry
        for entry in records.entries
        if VARIANT in entry.codes and gene in (_codes(entry, GENE) or _genes_by_change(entry))
    ]


def _genes_by_change(entry: Entry) -> set[str]:
    """The genes of the transcripts of a change, and DPYD where its change of the genome lies."""
    transcripts = {re.split(r"[.(:]", reference)[0] for reference in _references(entry)}
    genes = {_GENE_OF[transcript] for transcript in transcripts & _GENE_OF.keys()}
    of_dpyd = any(map(is_in_dpyd, _codes(entry, G_HGVS)))
    return genes | ({DPYD} if of_dpyd else set())


def _significance(records: Records, gene: str) -> Fact:
    """The most serious of what is known of a gene's variants, unless one that is not known could be
    more serious, or the same variant in another notation is said to be less."""
    variants = [
        (_classify(records, entries), _notations(entries))
        for entries in _by_variant(_of_gene(records, gene))
    ]
    known = [fact for fact, _ in variants if isinstance(fact, Known)]
    unknown = [fact for fact, _ in variants if isinstance(fact, Unknown)]
    qualifying = [variant for variant in variants if _qualifies(variant[0])]
    others = [notations for fact, notations in variants if _could_dispute(fact)]
    certain = [
        fact
        for fact, notations in qualifying
        if isinstance(fact, Known)
        and not any(_same_perhaps(notations, variant) for variant in others)
    ]
    unlinked = _class_not_kept(records, gene)
    if unlinked is not None and any(_qualifies(fact) for fact, _ in variants):
        return unlinked
    if certain:
        return _most_serious(certain)
    if qualifying:
        source = tuple(sorted({name for fact, _ in variants for name in fact.source}))
        detail = "a coding and a genomic change, or two transcripts, may be the same variant"
        return Unknown(Reason.CONFLICTING, detail, source=source)
    best = _most_serious(known) if known else None
    # A finding of the tumour alone is told only where nothing is known of the germline.
    unsure = [fact for fact in unknown if not _is_somatic(fact)] + _not_kept(records, gene)
    if unsure or (unknown and best is None):
        return _first(unsure or unknown)
    return best or records.missing(_GENOME)


def _most_serious(known: Sequence[Known]) -> Known:
    return min(known, key=lambda fact: (_ORDER.index(str(fact.value)), -(fact.day or 0)))


def _qualifies(fact: Known | Unknown) -> bool:
    return isinstance(fact, Known) and fact.value in _QUALIFYING


def _could_dispute(fact: Known | Unknown) -> bool:
    """Whether it says otherwise than a finding, if it is about the same variant. That one is not
    classified says nothing against the class of another entry."""
    if isinstance(fact, Unknown):
        return fact.reason not in (Reason.SOMATIC_ONLY, Reason.NOT_RECORDED)
    return not _qualifies(fact)


def _notations(entries: Iterable[Entry]) -> set[str]:
    """In what numbers the entries write their change: of the genome or of a transcript."""
    notations = set()
    for entry in entries:
        coding = _codes(entry, C_HGVS)
        other = any(reference.startswith("NM_007300") for reference in _references(entry))
        notations |= {"NM_007300" if other else "c."} if coding else set()
        notations |= {"g."} if _codes(entry, G_HGVS) else set()
    return notations


def _same_perhaps(first: set[str], second: set[str]) -> bool:
    """Whether two changes have no notation in common, so that nothing tells them apart."""
    return bool(first and second) and not first & second


def _by_variant(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries by the change that they name, in any notation that another entry also has; one
    without a coded change stays alone."""
    groups: list[tuple[frozenset[str], list[Entry]]] = []
    for entry in entries:
        change = _change(entry)
        changes = frozenset({change or f"without: {entry.name}"})
        changes |= _codes(entry, G_HGVS) if change else set()
        joined = [group for group in groups if group[0] & changes]
        groups = [group for group in groups if not group[0] & changes]
        together = [variant for _, others in joined for variant in others]
        groups.append((changes.union(*(shared for shared, _ in joined)), [*together, entry]))
    return [group for _, group in sorted(groups, key=lambda group: min(group[0]))]


def _classify(records: Records, entries: Sequence[Entry]) -> Known | Unknown:
    """What is known of one variant from all entries about it."""
    findings = [_finding(entry) for entry in entries]
    # Of the tumour alone says nothing about the germline, beside a statement that does.
    about = [finding for finding in findings if not _is_somatic(finding)] or findings
    unknown = [finding for finding in about if isinstance(finding, Unknown)]
    if unknown:
        return _first(unknown)
    known = [finding for finding in about if isinstance(finding, _Finding)]
    source = names(finding.entry for finding in known)
    day = max(finding.day for finding in known)
    if len({finding.present for finding in known}) > 1:
        return Unknown(Reason.CONFLICTING, "the variant is present and absent", day, source)
    if not known[0].present:
        return Known(_TESTED_ABSENT, day, source)
    return _classification(records, [finding.entry for finding in known], day)


def _classification(records: Records, entries: Sequence[Entry], day: int) -> Known | Unknown:
    """What the diagnostic implications of a present variant say, with their day."""
    ids = {str(entry.resource.get("id")) for entry in entries}
    own = {word for entry in entries for word in _codes(entry, SIGNIFICANCE)}
    implications = [
        entry
        for entry in records.entries
        if IMPLICATION in entry.codes and ids & _origins(entry) and _codes(entry, SIGNIFICANCE)
    ]
    source = names((*entries, *implications))
    if any(CLASS_NOT_KEPT in marks_of(entry.resource) for entry in entries):
        return Unknown(Reason.HELD_BACK, "a classification of the variant", day, source)
    if not implications:
        return Unknown(Reason.NOT_RECORDED, "the variant is not classified", day, source)
    answers = own.union(*(_codes(entry, SIGNIFICANCE) for entry in implications))
    if len(answers) > 1:
        return Unknown(Reason.CONFLICTING, "two classifications differ", day, source)
    if any(len(_origins(entry)) > 1 for entry in implications):
        return Unknown(Reason.NOT_UNDERSTOOD, "one classification of several variants", day, source)
    if not all(map(is_final, implications)):
        return Unknown(Reason.NOT_FINAL, "", day, source)
    days = [entry.day for entry in implications if entry.day is not None]
    if len(days) < len(implications):
        return Unknown(Reason.NO_DATE, "the classification has no day", day, source)
    word = _WORDS.get(answers.pop())
    if word is None:
        return Unknown(Reason.NOT_UNDERSTOOD, "the classification", day, source)
    return Known(word, max(days), source)


def _finding(entry: Entry) -> _Finding | Unknown:
    """One variant Observation as a finding of the germline, or why it is none."""
    why = _why_no_finding(entry)
    change = _change(entry)
    if why is not None or entry.day is None or change is None:
        reason, detail = why or (Reason.NO_DATE, "")
        return Unknown(reason, detail, entry.day, names([entry]))
    copies = {_COPIES[code] for code in _codes(entry, ZYGOSITY) if code in _COPIES}
    (value,) = _value_codes(entry)
    return _Finding(
        entry, value == PRESENT, entry.day, change, copies.pop() if len(copies) == 1 else None
    )


def _why_no_finding(entry: Entry) -> tuple[Reason, str] | None:
    sources, values = _codes(entry, SOURCE_CLASS), _value_codes(entry)
    if sources and sources <= _SOMATIC:
        return Reason.SOMATIC_ONLY, ""
    if sources != {GERMLINE}:
        detail = "the source class is not germline for certain" if sources else ""
        return Reason.SOURCE_CLASS_MISSING, detail
    if not is_final(entry):
        return Reason.NOT_FINAL, ""
    if not values:
        return Reason.NO_VALUE, ""
    if len(values) > 1 or not values <= {PRESENT, ABSENT, *_NO_FINDING}:
        return Reason.NOT_UNDERSTOOD, "the variant's value"
    if not values <= {PRESENT, ABSENT}:
        return _NO_FINDING[next(iter(values))], ""
    if entry.day is None:
        return Reason.NO_DATE, ""
    if not _codes(entry, GENE):
        return Reason.NOT_UNDERSTOOD, "a variant that names its gene by its transcript alone"
    if not _is_grch38(entry):
        return Reason.BUILD_MISSING, ""
    if len(_codes(entry, GENE)) > 1:
        return Reason.NOT_UNDERSTOOD, "one result of several genes"
    if _change(entry) is None:
        return Reason.TEXT_ONLY, ""
    if not _is_of_its_gene(entry):
        return Reason.NOT_UNDERSTOOD, "the change is in a transcript of another gene"
    if _codes(entry, CONFIDENCE) - {"high"}:
        return Reason.INDETERMINATE, "the laboratory is not confident of the call"
    if any(share is None or share < _LOWEST_SHARE for share in _shares(entry)):
        return Reason.INDETERMINATE, "few reads have it: it may be of some cells only"
    return None


def _shares(entry: Entry) -> Iterator[Decimal | None]:
    """The share of reads with the allele, if it is said; None for one that is not read, or is more
    than all of them (a per cent without its sign)."""
    for part in _components(entry, ALLELE_SHARE):
        quantity = part.get("valueQuantity")
        factor = _SHARE_UNITS.get(str(quantity.get("code"))) if isinstance(quantity, dict) else None
        exact = isinstance(quantity, dict) and "comparator" not in quantity
        share = Decimal(str(quantity["value"])) * factor if factor and exact else None  # type: ignore[index]
        yield share if share is not None and share <= 1 else None


def _is_grch38(entry: Entry) -> bool:
    """Whether the build is said, and no genomic change is on another."""
    texts = _texts(entry, BUILD)
    stated = _codes(entry, BUILD) == {_GRCH38} or (
        len(texts) == 1 and _GRCH38_TEXT.fullmatch(texts[0]) is not None
    )
    sequences = {change.partition(":")[0] for change in _codes(entry, G_HGVS)}
    expected = {_SEQUENCES[gene] for gene in _codes(entry, GENE) if gene in _SEQUENCES}
    return stated and sequences <= expected


def _references(entry: Entry) -> set[str]:
    """The transcripts that a coding change is in, with the gene's name where it is beside them."""
    prefixes = {change.rpartition(":")[0] for change in _codes(entry, C_HGVS)}
    return {*prefixes, *_codes(entry, TRANSCRIPT)} - {""}


def _is_of_its_gene(entry: Entry) -> bool:
    """Whether all transcripts are of the gene; of DPYD, dpyd.py tells."""
    for gene in _codes(entry, GENE) & set(_TRANSCRIPTS):
        name, transcripts = _TRANSCRIPTS[gene]
        for reference in _references(entry):
            sequence, _, named = reference.partition("(")
            base = re.sub(r"(?:\.[0-9]+|(?<=[0-9])[tp][0-9]+)$", "", sequence)
            if base not in transcripts and not base.startswith(_OF_A_REGION):
                return False
            if named.rstrip(")") not in ("", name):
                return False
    return True


def _change(entry: Entry) -> str | None:
    """The coded change: c. without its reference sequence, or else g.; None for none or several."""
    coding = {change.rpartition(":")[2] for change in _codes(entry, C_HGVS)}
    changes = {re.sub(r"(del|dup)[ACGT]+$", r"\1", change) for change in coding}
    changes = changes or _codes(entry, G_HGVS)
    return next(iter(changes)) if len(changes) == 1 else None


def _is_somatic(finding: _Finding | Unknown) -> bool:
    return isinstance(finding, Unknown) and finding.reason == Reason.SOMATIC_ONLY


def _not_kept(records: Records, gene: str) -> list[Unknown]:
    """What ingest did not keep, if it could be another result of the gene."""
    reasons = {RESULTS_NOT_FINAL: Reason.NOT_FINAL, RESULTS_NOT_KEPT: Reason.HELD_BACK}
    marks = {mark: f"{mark}/{gene}" in records.marks for mark in reasons}
    return [
        Unknown(reason, "" if marks[mark] else "another genomic result, of an unknown gene")
        for mark, reason in reasons.items()
        if marks[mark] or mark in records.marks
    ]


def _class_not_kept(records: Records, gene: str) -> Unknown | None:
    """Whether ingest did not keep a classification that may be of one of the gene's variants."""
    if records.marks.isdisjoint({CLASS_NOT_KEPT, f"{CLASS_NOT_KEPT}/{gene}"}):
        return None
    return Unknown(Reason.HELD_BACK, "a classification of a variant that it could not be linked to")


def _first(unknown: Sequence[Unknown]) -> Unknown:
    """The one that is told, whatever the order of the records."""
    return min(
        unknown, key=lambda fact: (_ORDER_OF_REASONS.index(fact.reason), fact.detail, fact.source)
    )


_ORDER_OF_REASONS = tuple(sorted(Reason, key=lambda reason: (reason != Reason.CONFLICTING, reason)))


def _dpyd(records: Records, entries: Sequence[Entry]) -> dict[str, Fact]:
    """Variants and positions of DPYD that the laboratory tested."""
    genotypes = [entry for entry in records.entries if _may_be_genotype_of(entry, DPYD, "DPYD")]
    if genotypes:
        # Its star alleles are not read, so nothing else may stand in for what it says.
        detail = "a DPYD genotype in star alleles"
        unread = Unknown(Reason.NOT_UNDERSTOOD, detail, source=names(genotypes))
        return {"dpyd_variants": unread, "dpyd_positions": unread}
    germline = [entry for entry in entries if not _is_somatic(_finding(entry))]
    if not germline:
        nothing = _first(_not_kept(records, DPYD) or [records.missing(_GENOME)])
        return {"dpyd_variants": nothing, "dpyd_positions": nothing}
    copies: dict[str, int] = {}
    tested: dict[str, int] = {}
    unknown = _not_kept(records, DPYD)
    for entry in germline:
        finding = _finding(entry)
        if isinstance(finding, Unknown):
            unknown.append(finding)
            continue
        name = name_of(_codes(entry, C_HGVS), _codes(entry, G_HGVS), _codes(entry, TRANSCRIPT))
        number = (finding.copies or 0) if finding.present else 0
        source = names([entry])
        if name is None and finding.present:
            detail = "a DPYD variant that CPIC's table does not have"
            unknown.append(Unknown(Reason.NOT_UNDERSTOOD, detail, finding.day, source))
        elif finding.present and finding.copies is None:
            detail = "how many copies of a DPYD variant there are is not said"
            unknown.append(Unknown(Reason.NOT_RECORDED, detail, finding.day, source))
        elif name is not None and copies.get(name, number) != number:
            unknown.append(Unknown(Reason.CONFLICTING, f"DPYD {name}", finding.day, source))
        elif name is not None:
            copies[name] = number
            tested[name] = max(tested.get(name, finding.day), finding.day)
    source = names(germline)
    if not tested:
        missing = _first(unknown) if unknown else records.missing(_GENOME)
        return {"dpyd_variants": missing, "dpyd_positions": missing}
    # Not all of one day: the oldest is the day of the whole.
    positions = Known(tuple(sorted(tested)), min(tested.values()), source)
    variants: Fact = Known(listed(copies), positions.day, source)
    return {"dpyd_variants": _first(unknown) if unknown else variants, "dpyd_positions": positions}


def _may_be_genotype_of(entry: Entry, gene: str, name: str) -> bool:
    """Whether a genotype names the gene, or no gene at all."""
    genes, named = _codes(entry, GENE), _names_gene(entry)
    return GENOTYPE in entry.codes and (gene in genes or named == name or not (genes or named))


def _names_gene(entry: Entry) -> str:
    """The gene beside the star alleles of a genotype; empty for none."""
    return str(entry.resource.get("valueString", "")).rpartition(" ")[0]


def listed(copies: Mapping[str, int]) -> tuple[str, ...]:
    """Variants as often as they were called. c.1236G>A only marks c.1129-5923C>G: where that one was
    tested, it alone counts."""
    counted = {name: n for name, n in copies.items() if name != PROXY or CAUSAL not in copies}
    return tuple(name for name in VARIANTS for _ in range(counted.get(name, 0)))


def _diplotype(records: Records) -> Fact:
    """CYP2D6 as a laboratory reports it."""
    entries = [
        entry
        for entry in records.entries
        if _may_be_genotype_of(entry, CYP2D6, "CYP2D6")
        and not _codes(entry, SOURCE_CLASS) & _SOMATIC
    ]
    if not entries:
        return _first(_not_kept(records, CYP2D6) or [records.missing(_GENOME)])
    source = names(entries)
    lost = _not_kept(records, CYP2D6)
    if lost:
        return _first(lost)
    if not all(CYP2D6 in _codes(entry, GENE) or _names_gene(entry) for entry in entries):
        return Unknown(Reason.NOT_UNDERSTOOD, "a genotype that names no gene", source=source)
    texts = {str(entry.resource.get("valueString")) for entry in entries}
    alleles = {re.sub(r"^CYP2D6 ", "", text) for text in texts}
    ordered = {tuple(sorted(text.split("/"))) for text in alleles}
    days = [entry.day for entry in entries if entry.day is not None]
    if not all(map(is_final, entries)):
        return Unknown(Reason.NOT_FINAL, source=source)
    if any(" " in text for text in alleles):
        return Unknown(Reason.CONFLICTING, "the diplotype names another gene", source=source)
    if len(ordered) > 1:
        return Unknown(Reason.CONFLICTING, "two CYP2D6 diplotypes differ", source=source)
    if len(days) < len(entries):
        return Unknown(Reason.NO_DATE, source=source)
    return Known((min(alleles),), max(days), source)


def _components(entry: Entry, name: str) -> list[dict[str, object]]:
    listed_parts = entry.resource.get("component")
    return [
        part
        for part in (listed_parts if isinstance(listed_parts, list) else [])
        if any(code.code == name for code in codings_of(part.get("code")))
    ]


def _codes(entry: Entry, name: str) -> set[str]:
    """The codes of a component of the entry."""
    return {
        str(code.code)
        for part in _components(entry, name)
        for code in codings_of(part.get("valueCodeableConcept"))
    }


def _texts(entry: Entry, name: str) -> list[str]:
    texts = (part.get("valueString") for part in _components(entry, name))
    return [text for text in texts if isinstance(text, str)]


def _value_codes(entry: Entry) -> set[str]:
    codings = codings_of(entry.resource.get("valueCodeableConcept"))
    return {str(code.code) for code in codings if code.system == LOINC}


def _origins(entry: Entry) -> set[str]:
    """The ids of the results that an implication is derived from."""
    derived = entry.resource.get("derivedFrom")
    references = [link.get("reference") for link in (derived if isinstance(derived, list) else [])]
    return {str(reference).removeprefix("Observation/") for reference in references}
