"""The scene `science`: survival and clusters on the demo's real data; explanation, fairness and a
network over measurements on simulated people; as governed runs, each shown as a panel with a
sentence, a plot and a table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analytics.params import complete
from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.simulate.known_truth import simulate_cohort
from analytics.simulate.series import simulate_series
from api.client.results import open_output
from api.demo.cast import Cast
from api.demo.science import RELAPSE, SEED, TRUTH
from api.demo.steps import (
    ask_permits,
    ingest_all,
    ingest_series,
    release,
    request,
    view_and_open,
)
from api.errors import NotServing
from api.operate.processes import Parts
from api.operate.settings import Settings
from api.pages.labels import question
from api.pages.result_view import describe
from chain.vocabulary import OutputClass
from governance.consent import PRESETS

# Simulated people with genomes and records, so many that explanation and groups are not too few.
SIMULATED, VARIANTS = 500, 400
SECONDS = 300.0
# What is asked: of the dataset of that name, else of the research dataset (api/demo/steps.py).
ASKED: dict[str, dict[str, Any]] = {
    "survival": {
        "analysis": "survival",
        "outcome": RELAPSE,
        "clinical": ["age_years", "er_positive", "grade", "size_mm"],
        "strata": ["er_positive"],
        "permutations": 99,
        "bootstraps": 100,
        "seed": SEED,
    },
    "clusters": {
        "analysis": "clusters",
        "outcome": RELAPSE,
        "clinical": ["age_years", "er_positive", "grade", "size_mm"],
        "genes": {"source": "expression"},
        "resamples": 50,
        "references": 99,
        "seed": SEED,
    },
    "simulated": json.loads(TRUTH)
    | {
        "models": {"logistic": ["genes", "clinical", "combined", "fused"]},
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 25,
        "explain": ["shapley-groups", "permutation"],
        "fairness": ["smoker", "bmi:25"],
    },
    "measured": {
        "outcome": json.loads(TRUTH)["outcome"],
        "genes": {"source": "none"},
        "series": {"variables": ["steps_per_day"]},
        "clinical": ["bmi"],
        "models": {"logistic": ["clinical", "series"], "lstm": ["combined"]},
        "primary": "lstm",
        "explain": ["attention", "permutation"],
        "folds": 3,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
        "seed": SEED,
    },
}
TEMPLATES = Path(__file__).resolve().parent / "templates"
# Where the panels stand in the report of the demo (templates/report.html).
BEGIN, END = "<!-- methods -->", "<!-- end of methods -->"
Say = Callable[[str], None]


def play(folder: Path, say: Say) -> bool:
    """Play the scene; whether everything was as expected. Raises NotServing.

    The panels are put into the report of the last demo; where there is none, they are a page.
    """
    people = load_gse7390(locate_gse7390())
    settings = Settings(home=folder / "home", chain_url="", bucket_url="", database_url="")
    parts = Parts.start(settings)
    try:
        cast = Cast(settings.home, parts)
        cast.enrol(len(people), SIMULATED)
        ingest_all(cast, people, simulate_cohort(SIMULATED, SEED, VARIANTS))
        outputs = (OutputClass.METRICS, OutputClass.TABLE, OutputClass.GENOMIC)
        ingest_series(cast, simulate_series(SIMULATED, SEED))
        permits = ask_permits(cast, outputs, ("research", "simulated", "measured"))[0]
        willing = cast.agree(cast.dataset, cast.patients)[0]
        willing += cast.agree(cast.simulated, cast.invented)[0]
        # Steps of wearables are no part of the preset for cancer research.
        willing += cast.agree(cast.measured, cast.invented, PRESETS["health"])[0]
        say(f"   {willing} people agree; permits for metrics, tables and results about genes")
        runs = {
            name: request(cast, permits.get(name, permits["research"]), complete(asked))
            for name, asked in ASKED.items()
        }
        panels = [_panel(cast, name, run, say) for name, run in runs.items()]
        logged = cast.logged()
        unlogged = any(
            people - logged.get(attempt, set()) for attempt, people in cast.keys().items()
        )
    finally:
        parts.stop()
    say(f"   written to {write(Settings().home, panels)}")
    return not unlogged and all(panel["findings"] for panel in panels)


def write(home: Path, panels: list[dict[str, Any]]) -> Path:
    """Put the panels into the report of the demo under this home, else into a page of their own."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704 (our own file)
    report = home / "demo" / "report.html"
    text = report.read_text(encoding="utf-8") if report.exists() else ""
    if BEGIN in text and END in text:
        section = templates.get_template("_methods.html").render(panels=panels)
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        report.write_text(f"{before}{BEGIN}\n{section}{END}{after}", encoding="utf-8")
        return report
    page = home / "demo-science.html"
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    page.write_text(
        templates.get_template("methods.html").render(panels=panels, style=style), encoding="utf-8"
    )
    return page


def _panel(cast: Cast, name: str, run: str, say: Say) -> dict[str, Any]:
    """A run until its analyst has opened the released result, as its findings."""
    began, noor = time.monotonic(), cast.client("noor")
    done = cast.await_run(run, lambda r: r["state"] in ("sealed", "failed", "denied"), SECONDS)
    if done["state"] != "sealed":
        raise NotServing(f"the run about {name} was not computed", "read the files under logs")
    for checker in ("sol", "tess"):
        view_and_open(cast, checker, run)
    block = release(cast, run)
    mine = open_output(noor, cast.broker(), noor.run(run))
    shown = describe(json.loads(mine.result), json.loads(mine.disclosure))
    say(
        f"   {name}: {len(shown['shown'])} panels, released in block {block}, "
        f"{time.monotonic() - began:.0f} s"
    )
    for finding in shown["shown"]:
        say(f"     {finding.title}")
    return {
        "name": name,
        "question": question(done["params"]),
        "findings": shown["shown"],
        "gains": shown["gains"],
        "withheld": shown["withheld"],
    }
