"""A person's chart: the facts of a care plan, read from her own records as they are stored.

What the records do not say is a reason, never a "no". The rules of a plan decide which age of a
fact is too old, and what an unknown fact means.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from analytics.care.calls import Calls, read_calls
from analytics.care.dpyd import NORMAL, position_of
from analytics.care.entries import Records, names
from analytics.care.facts import Fact, Known, Reason, Unknown
from analytics.care.laboratory import read_laboratory
from analytics.care.medicines import read_medicines
from analytics.care.tumour import conditions, procedures, read_tumour
from analytics.care.variants import BRCA, listed, read_variants
from analytics.vocabulary import Category

# ICD-10, ICD-10-CM: a transplant of bone marrow or stem cells, its complications, disease of graft
# against host; ICD-10-PCS: its infusion, of whomever but herself.
_TRANSPLANT = re.compile(r"Z948[14]|T860|T865|D8981")
_INFUSION = re.compile(r"302[3-6][03][ACGUXY][1-4]")
# A transplant of the liver, its complications; ICD-10-PCS. The enzymes are the donor's then.
_LIVER = re.compile(r"Z944|T864")
_LIVER_TRANSPLANT = re.compile(r"0FY00Z[012]")
_ENZYMES = ("dpyd_variants", "dpyd_positions", "cyp2d6_diplotype")
# Disorders of purine and pyrimidine metabolism, of which a lack of DPD is one.
_LACK_OF_DPD = re.compile(r"E798")
_NOTHING = (Reason.NOT_RECORDED, Reason.WITHHELD)


def read_chart(records: Records) -> dict[str, Fact]:
    """Every fact of `FACTS`, from one person's records (`entries.read_records`)."""
    facts = {**read_laboratory(records), **read_tumour(records)}
    facts |= read_medicines(records, facts["metastatic"])
    facts |= _with_calls(records, read_variants(records), read_calls(records.genotypes))
    facts |= _of_a_donor(records, facts)
    return facts | _without_dpd(records, facts)


def _without_dpd(records: Records, facts: dict[str, Fact]) -> dict[str, Fact]:
    """DPYD in doubt, where it is normal and a disorder of what it breaks down is diagnosed."""
    lacking, variants = conditions(records, _LACK_OF_DPD), facts["dpyd_variants"]
    if not lacking or not isinstance(variants, Known) or variants.value:
        return {}
    detail = "a disorder of pyrimidine metabolism is diagnosed, and no variant was found"
    source = (*variants.source, *names(lacking))
    return {"dpyd_variants": Unknown(Reason.CONFLICTING, detail, variants.day, source)}


def _of_a_donor(records: Records, facts: dict[str, Fact]) -> dict[str, Fact]:
    """The facts of the genome after a transplant of blood-forming cells, in doubt: a test of her
    blood shows the donor's. Those of the liver's enzymes, after one of the liver: hers no longer
    count.
    """
    of_cells = [*conditions(records, _TRANSPLANT), *procedures(records, _INFUSION)]
    of_liver = [*conditions(records, _LIVER), *procedures(records, _LIVER_TRANSPLANT)]
    blood = "after a transplant of blood-forming cells a test may show the donor's genes"
    liver = "after a transplant of the liver its enzymes are those of the donor's genes"
    return {
        name: Unknown(Reason.INDETERMINATE, why, facts[name].day, names(transplants))
        for doubted, transplants, why in (
            ((*BRCA, *_ENZYMES), of_cells, blood),
            (_ENZYMES, of_liver, liver),
        )
        for name in doubted
        if transplants and isinstance(facts[name], Known)
    }


def _with_calls(records: Records, report: dict[str, Fact], calls: Calls) -> dict[str, Fact]:
    """The facts of the genome: the laboratory's report decides, and calls of a VCF stand behind it."""
    facts = dict(report)
    if records.genotypes is None:
        missing = records.missing(Category.GERMLINE_VARIANTS)
        return facts | {"brca_call": missing, "dpyd_call": missing}
    facts |= {"brca_call": calls.brca, "dpyd_call": calls.dpyd}
    for name in BRCA:
        fact = facts[name]
        if isinstance(fact, Unknown) and fact.reason in _NOTHING:
            facts[name] = replace(fact, reason=Reason.NO_REPORT, source=("genotypes",))
    tested = report["dpyd_positions"]
    # One with a source is a laboratory's statement that lacks something, and no silence.
    if isinstance(tested, Unknown) and tested.reason in _NOTHING and not tested.source:
        alone = Unknown(Reason.NO_REPORT, source=("genotypes",))
        facts |= {"dpyd_variants": alone, "dpyd_positions": alone}
    elif _differ(report, calls):
        detail = "the laboratory's report and the calls of the genome differ in DPYD"
        facts["dpyd_variants"] = Unknown(Reason.CONFLICTING, detail, tested.day, tested.source)
    return facts


def _differ(report: dict[str, Fact], calls: Calls) -> bool:
    """Whether a call of DPYD is another one than the laboratory's, position by position; also of a
    variant that it did not test, since the score would leave it out, unless its function is normal.
    """
    variants, tested = report["dpyd_variants"], report["dpyd_positions"]
    if not isinstance(variants, Known) or not isinstance(tested, Known):
        return False
    if calls.dpyd_other:
        return True
    reported = Counter(map(position_of, variants.value))  # type: ignore[arg-type]
    copies = Counter(map(position_of, listed(calls.dpyd_copies)))
    changes_nothing = NORMAL.difference(tested.value)  # type: ignore[arg-type]
    compared = calls.dpyd_copies.keys() - changes_nothing
    return any(reported[name] != copies[name] for name in map(position_of, compared))
