"""What `make bench` leaves: report.json for programs, report.html with a plot, a sentence and a table for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment

from api.pages import plots

GOALS = {  # from benchmarks.md: what each ratio should at most be (parse / packed: at least)
    "vcf_read": ("at most", 1.05),
    "vcf_parse_over_packed": ("at least", 100.0),
    "confined_training": ("at most", 1.03),
}
MISSED = "NOT MET"
OVERHEAD, A_PERSON = (
    3.0,
    0.002,
)  # seconds that governing a training may cost, and more for each person
_PAGE = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>volens bench</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
svg{max-width:100%;height:auto} table{border-collapse:collapse} td+td{text-align:right}
td{padding:.2rem .8rem;border-bottom:1px solid #8884}</style>
<h1>What governance costs</h1>
<p>One run on {{ machine.cores }} cores ({{ machine.system }}), load {{ machine.load[0] }} before it. Ratios are medians
of turns taken one after the other. GPU / CPU: {{ gpu }}.</p>
{% for one in parts %}<h2>{{ one.title }}</h2><p>{{ one.says }}</p>{{ one.plot|safe }}
<table>{% for name, value in one.rows %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>{% endfor %}
<p>Again: <code>make bench</code></p></html>
""")


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
    """A line for each figure that has a goal, and where the rest lies; whether none was missed."""
    ratios, said = report["ratios"], []
    for name, (word, goal) in GOALS.items():
        low, high = ratios[name]["interval"]
        said.append(_met(word, low, high, goal))
        print(
            f"{name:<24}{ratios[name]['ratio']:>9.3f} [{low:.3f}, {high:.3f}]   {word} {goal:g}: {said[-1]}"
        )
    for name, found in ratios.items():
        if "overhead_seconds" in found:
            goal = OVERHEAD + A_PERSON * found["people"]
            spent, most = found["overhead_seconds"], found["most_overhead_seconds"]
            said.append(_met("at most", spent, most, goal))
            print(
                f"{name:<24}{found['ratio']:>9.3f}   same bytes; {spent} s more (most {most}), at most {goal:.2f}: "
                f"{said[-1]}"
            )
    machine = report["machine"]
    print(
        f"GPU / CPU: {_gpu(machine['gpu'])}.  {machine['seconds']} s.  Look: {folder / 'report.html'}"
    )
    return MISSED not in said


def _gpu(found: dict[str, Any] | str) -> str:
    return found if isinstance(found, str) else f"{found['ratio']} of the time on {found['name']}"


def _met(word: str, low: float, high: float, goal: float) -> str:
    """Met where all of the interval is; a machine that is busy may show neither."""
    good, bad = (high <= goal, low > goal) if word == "at most" else (low >= goal, high < goal)
    return (
        "met"
        if good
        else MISSED
        if bad
        else "not shown, the turns differ too much: measure on an idle machine"
    )


def _parts(report: dict[str, Any]) -> list[dict[str, Any]]:
    ratios, phases = report["ratios"], report["phases"]
    reads = [
        (name, found["ratio"]) for name, found in ratios.items() if name.startswith("vcf_read")
    ]
    confined = ratios["confined_training"]
    trained = [
        (name[6:], found["overhead_seconds"])
        for name, found in ratios.items()
        if "overhead_seconds" in found
    ]
    spent: dict[str, float] = {}
    for turn in phases["training"].values():
        for name, value in turn.items():
            spent[name] = spent.get(name, 0.0) + value / len(phases["training"])
    rates = [(name, found["seconds"]) for name, found in phases.items() if name != "training"]
    packed, first = (
        ratios[f"vcf_parse_over_{which}"]["ratio"] for which in ("packed", "first_packed")
    )
    gas = [
        (name, value)
        for name, value in report["gas"].items()
        if name not in ("transaction_limit", "most_people")
    ]
    said = [
        (
            "Gas of each call",
            "List mode: every person's consent is checked, and her access logged, in one transaction.",
            gas,
            "",
        ),
        (
            "Reading one genome, governed / plain",
            f"1 is no cost. Fifty people's packed records read {packed:.0f} times "
            f"as fast; the first alone, with the list of variants that they share, {first:.0f} times.",
            reads,
            "",
        ),
        (
            "CPU time of a training, confined / not",
            f"{confined['cpu_seconds']} s of CPU; the ratio's 95 % interval over {confined['pairs']} pairs. Results "
            "are the same bytes.",
            [
                ("median", confined["ratio"]),
                ("from", confined["interval"][0]),
                ("to", confined["interval"][1]),
            ],
            "",
        ),
        (
            "What governing adds to a training",
            "Seconds from request to seal beyond the bare computation; the results "
            "are the same bytes.",
            trained,
            "seconds",
        ),
        ("Phases of a governed training", "Mean over the models.", list(spent.items()), "seconds"),
        (
            "Bringing in, and deriving the database again",
            "Whole ingests of cohort files; every signature is checked.",
            rates,
            "seconds",
        ),
    ]
    return [
        {
            "title": title,
            "says": says,
            "rows": [(name.replace("_", " "), _short(value)) for name, value in pairs],
            "plot": plots.bars(
                [(name.replace("_", " "), float(value)) for name, value in pairs],
                f"bench{at}",
                unit,
            ),
        }
        for at, (title, says, pairs, unit) in enumerate(said)
    ]


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
