"""A run that draws the plan of one patient's care from her own records (analytics/care)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence

from analytics.canonical import dump_canonical
from analytics.care.chart import read_chart
from analytics.care.entries import read_records
from analytics.care.monitoring import read_series
from analytics.care.plan import draw_plan
from analytics.care.rule_set import shipped
from analytics.errors import InputsError, ParamsError
from analytics.params import parse_params
from analytics.people import Input
from analytics.run import Result
from analytics.vocabulary import OutputClass


def run_plan(
    params: bytes,
    inputs: Sequence[Input],
    granted: Collection[int],
    today: int,
    progress: Callable[[str, float], None] = lambda phase, fraction: None,
) -> Result:
    """The plan as the run's result.

    inputs: the records of one person. granted: the categories that her consent contains. today: the
    day of the access, in days since 1970-01-01. Raises ParamsError for rules that are not those of
    this release, InputsError for records of nobody or of several people, PayloadError.
    """
    parsed, rules = parse_params(params), shipped()
    if parsed.rules != rules.digest:
        raise ParamsError("parameters: the rules are not those of this release")
    if len({record.subject for record in inputs}) != 1:
        raise InputsError("a plan is drawn from the records of one person")
    progress("read", 0.0)
    records = read_records(inputs, granted, today)
    facts, series = read_chart(records), read_series(records)
    progress("compute", 0.0)
    progress("draw", 0.0)
    plan = draw_plan(facts, rules, today, series)
    progress("filter", 1.0)
    progress("disclose", 1.0)
    disclosure = {
        "type": "volens/disclosure/1",
        "statistic_class": "individual",
        "statistics": 0,
        "people": 1,
        "rules": [{"rule": "for her clinician and her alone"}],
        "coarsened": [],
        "withheld": [],
    }
    digest = hashlib.sha256(params).hexdigest()
    return Result(
        dump_canonical(plan | {"params": digest}),
        dump_canonical(disclosure),
        OutputClass.INDIVIDUAL,
        0,
        1,
    )
