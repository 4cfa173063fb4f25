"""A person's chart: the facts of a care plan, read from her own records as they are stored.

What the records do not say is a reason, never a "no". The rules of a plan decide which age of a
fact is too old, and what an unknown fact means.
"""

from __future__ import annotations

from dataclasses import replace

from analytics.care.calls import Calls, read_calls
from analytics.care.entries import Records
from analytics.care.facts import Fact, Known, Reason, Unknown
from analytics.care.laboratory import read_laboratory
from analytics.care.medicines import read_medicines
from analytics.care.tumour import read_tumour
from analytics.care.variants import BRCA, read_variants
from analytics.vocabulary import Category

_NOTHING = (Reason.NOT_RECORDED, Reason.WITHHELD)


def read_chart(records: Records) -> dict[str, Fact]:
    """Every fact of `FACTS`, from one person's records (`entries.read_records`)."""
    facts = {**read_laboratory(records), **read_tumour(records)}
    facts |= read_medicines(records, facts["metastatic"])
    facts |= _with_calls(records, read_variants(records), read_calls(records.genotypes))
    return facts


def _with_calls(records: Records, report: dict[str, Fact], calls: Calls) -> dict[str, Fact]:
    """The facts of the genome: the laboratory's report decides, and calls of a VCF stand behind it."""
    facts = dict(report)
    if records.genotypes is None:
        facts["brca_call"] = records.missing(Category.GERMLINE_VARIANTS)
        return facts
    facts["brca_call"] = calls.brca
    for name in BRCA:
        fact = facts[name]
        if isinstance(fact, Unknown) and fact.reason in _NOTHING:
            facts[name] = replace(fact, reason=Reason.NO_REPORT, source=("genotypes",))
    tested, called = report["dpyd_positions"], calls.dpyd_positions
    if isinstance(tested, Unknown) and tested.reason in _NOTHING:
        facts |= {"dpyd_variants": calls.dpyd_variants, "dpyd_positions": called}
    elif _differ(report, calls):
        detail = "the laboratory's report and the calls of the genome differ in DPYD"
        facts["dpyd_variants"] = Unknown(Reason.CONFLICTING, detail, tested.day, tested.source)
    return facts


def _differ(report: dict[str, Fact], calls: Calls) -> bool:
    """Whether both tested a position of DPYD and called it differently."""
    facts = (report["dpyd_variants"], calls.dpyd_variants)
    positions = (report["dpyd_positions"], calls.dpyd_positions)
    if not all(isinstance(fact, Known) for fact in (*facts, *positions)):
        return False
    first, second = (list(fact.value) for fact in facts if isinstance(fact, Known))  # type: ignore[arg-type]
    both = set.intersection(*(set(one.value) for one in positions if isinstance(one, Known)))  # type: ignore[arg-type]
    return any(first.count(name) != second.count(name) for name in both)
