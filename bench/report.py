"""The output of `make bench`: report.json for programs, report.html for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment

from api.pages import plots

# From goal: the maximum of each ratio (for parse / packed: the minimum).
GOALS = {
    "vcf_read": ("at most", 1.05),
    "vcf_parse_over_packed": ("at least", 100.0),
    "confined_training": ("at most", 1.03),
    "rows_over_inserts": ("at most", 5.0),
}
MISSED = "NOT MET"
# Seconds that governance may add to a training, and additional seconds per person.
OVERHEAD, A_PERSON = 3.0, 0.002
_PAGE = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>volens bench</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
svg{max-width:100%;height:auto} table{border-collapse:collapse} td+td{text-align:right}
td{padding:.2rem .8rem;border-bottom:1px solid #8884}</style>
<h1>What governance costs</h1>
<p>One run on {{ machine.cores }} cores ({{ machine.system }}), load {{ machine.load[0] }} before it.
Ratios are medians of alternating turns. GPU / CPU: {{ gpu }}.</p>
{% for part in parts %}<h2>{{ part.title }}</h2><p>{{ part.text }}</p>{{ part.plot|safe }}
<table>
{% for name, value in part.rows %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>{% endfor %}
<p>Again: <code>make bench</code></p></html>
""")

# Of the report: title, text, (name, value) of each row, unit of the plot.
Section = tuple[str, str, list[tuple[str, Any]], str]


def write_report(folder: Path, report: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("report.json").write_text(
        json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    page = _PAGE.render(
        machine=report["machine"], gpu=_gpu(report["machine"]["gpu"]), parts=_parts(report)
    )
    folder.joinpath("report.html").write_text(page, encoding="utf-8")


def print_summary(folder: Path, report: dict[str, Any]) -> bool:
    """Print a line for each ratio with a goal, and the report path; whether no goal was missed."""
    ratios, verdicts = report["ratios"], []
    for name, (word, goal) in GOALS.items():
        low, high = ratios[name]["interval"]
        verdicts.append(_met(word, low, high, goal))
        print(
            f"{name:<24}{ratios[name]['ratio']:>9.3f} [{low:.3f}, {high:.3f}]   {word} {goal:g}: {verdicts[-1]}"
        )
    for name, ratio in ratios.items():
        if "overhead_seconds" in ratio:
            goal = OVERHEAD + A_PERSON * ratio["people"]
            spent, most = ratio["overhead_seconds"], ratio["most_overhead_seconds"]
            verdicts.append(_met("at most", spent, most, goal))
            print(
                f"{name:<24}{ratio['ratio']:>9.3f}   same bytes; {spent} s more (most {most}), at most {goal:.2f}: "
                f"{verdicts[-1]}"
            )
    machine = report["machine"]
    print(
        f"GPU / CPU: {_gpu(machine['gpu'])}.  {machine['seconds']} s.  Report: {folder / 'report.html'}"
    )
    return MISSED not in verdicts


def _gpu(measured: dict[str, Any] | str) -> str:
    if isinstance(measured, str):
        return measured
    return f"{measured['ratio']} of the time on {measured['name']}"


def _met(word: str, low: float, high: float, goal: float) -> str:
    """Met or missed if the entire interval is; on a busy machine it may be neither."""
    good, bad = (high <= goal, low > goal) if word == "at most" else (low >= goal, high < goal)
    if good:
        return "met"
    if bad:
        return MISSED
    return "not shown, the turns differ too much: measure on an idle machine"


def _parts(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "title": title,
            "text": text,
            "rows": [(name.replace("_", " "), _short(value)) for name, value in pairs],
            "plot": plots.bars(
                [(name.replace("_", " "), float(value)) for name, value in pairs],
                f"bench{at}",
                unit,
            ),
        }
        for at, (title, text, pairs, unit) in enumerate(
            (
                _gas(report),
                _reading(report["ratios"]),
                _confining(report["ratios"]["confined_training"]),
                _training(report["ratios"]),
                _phases(report["phases"]["training"]),
                _rebuilding(report),
            )
        )
    ]


def _gas(report: dict[str, Any]) -> Section:
    return (
        "Gas of each call",
        "List mode: every person's consent is checked, and each access logged, in one transaction.",
        [
            (name, value)
            for name, value in report["gas"].items()
            if name not in ("transaction_limit", "most_people")
        ],
        "",
    )


def _reading(ratios: dict[str, Any]) -> Section:
    packed, first = (
        ratios[f"vcf_parse_over_{which}"]["ratio"] for which in ("packed", "first_packed")
    )
    return (
        "Reading one genome, governed / plain",
        f"1 is no cost. Fifty people's packed records read {packed:.0f} times "
        f"as fast; the first alone, with the list of variants that they share, {first:.0f} times.",
        [(name, ratio["ratio"]) for name, ratio in ratios.items() if name.startswith("vcf_read")],
        "",
    )


def _confining(confined: dict[str, Any]) -> Section:
    low, high = confined["interval"]
    return (
        "CPU time of a training, confined / not",
        f"{confined['cpu_seconds']} s of CPU; the ratio's 95 % interval over {confined['pairs']} pairs. Results "
        "are the same bytes.",
        [("median", confined["ratio"]), ("from", low), ("to", high)],
        "",
    )


def _training(ratios: dict[str, Any]) -> Section:
    return (
        "What governing adds to a training",
        "Seconds from request to seal beyond the bare computation; the results are the same bytes.",
        [
            (name[6:], measured["overhead_seconds"])
            for name, measured in ratios.items()
            if "overhead_seconds" in measured
        ],
        "seconds",
    )


def _phases(trained: dict[str, dict[str, float]]) -> Section:
    spent: dict[str, float] = {}
    for turn in trained.values():
        for name, value in turn.items():
            spent[name] = spent.get(name, 0.0) + value / len(trained)
    return "Phases of a governed training", "Mean over the models.", list(spent.items()), "seconds"


def _rebuilding(report: dict[str, Any]) -> Section:
    ratios, phases = report["ratios"], report["phases"]
    return (
        "Ingest, and rebuilding the database",
        "Complete ingests of cohort files; every signature is checked. The rows of a long ledger take "
        f"{ratios['rows_over_inserts']['ratio']:.1f} times as long to derive as to write, and "
        f"{ratios['all_over_inserts']['ratio']:.1f} times with reading it and checking every signature.",
        [(name, measured["seconds"]) for name, measured in phases.items() if name != "training"],
        "seconds",
    )


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
