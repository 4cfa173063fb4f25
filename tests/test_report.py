"""The demo's report: one self-contained file, in which every plot has a sentence and a table."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.demo.report import render, write

ROOT = Path(__file__).resolve().parent.parent
IDS = [format(number, "064x").replace("0", "a") for number in range(1, 9)]
VOID = {"meta", "br", "link", "img", "input", "hr", "wbr"}
SVG_VOID = {"rect", "line", "path", "use"}
ROW = {"auc": 63, "auc_interval": [54, 72], "p": "0.0250", "permutations": 39}
METRICS = {
    "accuracy": 80,
    "precision": 20,
    "recall": 10,
    "f1": 10,
    "balanced_accuracy": 55,
    "step": 5,
}
REPORT: dict[str, Any] = {
    "story": [
        {
            "n": n,
            "seconds": f"{n}.5",
            "part": "THE GATE",
            "who": "Otto",
            "what": "starts",
            "ledger": "",
            "holds": True,
        }
        for n in range(1, 19)
    ],
    "seconds": "41.0",
    "attacks": {"tried": 2, "refused": 2, "names": ["one key alone", "one key twice"]},
    "tampers": {"tried": 1, "detected": 1, "names": ["the tail cut"]},
    "accesses": {"recorded": 7, "explained": 7},
    "keys": {"released": 7, "logged": 7},
    "care": {
        "plans": 2,
        "options": 1,
        "refused": 1,
        "by_reason": {"No chemotherapy before.": 1},
        "keys": 2,
        "accesses": 2,
    },
    "after_revocation": {"accesses": 0, "keys": 0},
    "revocation": {"refusal_blocks": 1, "stop_seconds": "0.41", "mined_seconds": "0.08"},
    "phi": {"canaries": 64, "surfaces": 7, "hits": 0},
    "models": [{"model": "logistic", "feature_set": "genes", **ROW, **METRICS}],
    "gain": {"model": "logistic", "over": "genes", "auc": -1, "interval": [-4, 1]},
    "noise": {
        "accuracy": "0.513",
        "standard_error": "0.006",
        "seeds": 80,
        "inside": "0.504",
        "outside": "0.912",
    },
    "known_truth": {
        "people": 200,
        "rows": [{"model": "logistic", "feature_set": "clinical", **ROW, **METRICS}],
        "optimum": {"genes": "0.683", "clinical": "0.692", "combined": "0.795"},
        "enough": {
            "people": 2000,
            "accuracy": {"genes": "0.675", "clinical": "0.702", "combined": "0.786"},
            "auc": {"genes": "0.745", "clinical": "0.771", "combined": "0.875"},
            "optimum": {"genes": "0.682", "clinical": "0.687", "combined": "0.786", "all": "0.815"},
        },
    },
    "baseline": 81,
    "ledger": {"events": 1675, "count": 56, "head": IDS[0]},
    "verified": "valid",
    "versions": {"python": "3.11.7"},
    "device": "cpu",
    "seed": 7390,
    "machine": {"cores": 2, "load": "1.8"},
}
RESEARCH: dict[str, Any] = {
    "granted": 183,
    "events": 35,
    "folds": 5,
    "repeats": 10,
    "baseline": 81,
    "flow": [],
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "rows": [
        {"model": "cnn", "feature_set": "combined", **ROW, "accuracy": 75, "step": 5},
        {"model": "logistic", "feature_set": "genes", **ROW, **METRICS},
    ],
    "curves": [
        {
            "model": "cnn",
            "feature_set": "combined",
            "roc": [[0, 0], [10, 20], [50, 80], [100, 100]],
            "calibration": {
                "slope": "0.5",
                "intercept": "-0.6",
                "step": 5,
                "groups": [[10, 15], [35, 25]],
            },
        }
    ],
}
SCAN = {
    "granted": 200,
    "covariates": ["age_years"],
    "components": 2,
    "inflation": "1.02",
    "rows": [{"variant": "3:12345:A>G", "z": "4.1", "p": "4.1e-05"}],
    "quantiles": [["0.1", "0.1"], ["2.0", "2.4"]],
}
KEPT = {
    "withheld": [
        {"what": "model file: cnn", "why": "model release is off"},
        {"what": "model file: svm", "why": "it holds patients' rows"},
    ]
}
MATERIAL: dict[str, Any] = {
    "report": REPORT,
    "subject": IDS[1],
    "steps": [
        {
            "count": n,
            "block": n + 4,
            "time": 1_795_599_477 + n,
            "tx": IDS[2],
            "head": IDS[3],
            "sentence": "Analyst Noor asked for a run.",
            "refused": n == 2,
            "run": run,
        }
        for n, run in enumerate(["", IDS[4], IDS[4], "", IDS[5]], 1)
    ],
    "runs": [
        {
            "id": run,
            "label": f"Run {n}",
            "state": "released",
            "code": IDS[6],
            "params": IDS[7],
            "released": 61,
            "attempts": [
                {
                    "attempt": 1,
                    "record": {"device": "cpu", "seconds": {"compute": "6.02", "keys": "0.51"}},
                }
            ],
        }
        for n, run in enumerate(IDS[4:6], 1)
    ],
    "road": {
        "consent": 32,
        "permit": 28,
        "receipt": 49,
        "granted": 183,
        "denied": 15,
        "keys": 53,
        "sealed": 56,
        "released": 61,
    },
    "accesses": [
        {
            "run": "Run 1",
            "attempt": 2,
            "granted": False,
            "block": 49,
            "time": 1_795_599_518,
            "tx": IDS[2],
            "reason": {
                "code": 3,
                "slug": "revoked",
                "sentence": "The person has withdrawn the consent.",
            },
            "analyst": "Noor",
            "permit": IDS[0],
            "purposes": ["cancer-research"],
            "categories": ["expression"],
            "state": "denied",
        }
    ],
    "withdrawal": {
        "block": 46,
        "settled": True,
        "effects": [
            {
                "run": "Run 1",
                "was": "computing",
                "sentence": "A running use of your data was stopped.",
            }
        ],
    },
    "results": {
        "research": {"result": RESEARCH, "disclosure": KEPT},
        "simulated": {"result": {"rows": []}, "disclosure": {"withheld": []}},
        "association": {"result": SCAN, "disclosure": KEPT},
    },
    "attacks": [
        {
            "name": "one key alone",
            "attacker": "operator",
            "expected": "QuorumMissing",
            "refused": True,
        },
        {
            "name": "one key twice",
            "attacker": "analyst",
            "expected": "SignersNotAscending",
            "refused": True,
        },
    ],
    "plans": [
        {"name": "Ada", "dose": "", "why": "No chemotherapy before."},
        {"name": "Bea", "dose": "200 mg, 2 times a day", "why": "clearance 44 mL/min"},
    ],
    "tampers": [
        {
            "name": "the tail cut",
            "word": "anchored",
            "reason": f"step 28, block 32, transaction 0x{IDS[0]}: must say 0x{IDS[1]} where it says 0x{IDS[2]}",
        }
    ],
    "gas": [
        {"what": "enrol", "people": 398, "each": 43_259},
        {"what": "withdraw", "people": 1, "each": 56_332},
    ],
}


class Page(HTMLParser):
    """What stands where: text outside toggles, attributes, and each figure with its sentence and
    its section.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.plain: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.sections: list[dict[str, int]] = []
        self.figures: list[dict[str, Any]] = []
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.links += [
            (name, given[name])
            for name in ("src", "href", "srcset", "action", "data")
            if name in given
        ]
        assert not [name for name in given if name.startswith("on")]
        if tag == "section":
            self.sections.append({"table": 0, "svg": 0})
        if tag in ("table", "svg"):
            self.sections[-1][tag] += 1
        if tag == "figure":
            self.figures.append({"label": "", "said": ""})
        if tag == "svg":
            assert "figure" in self.open
            self.figures[-1]["label"] = given["aria-label"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "figcaption" in self.open:
            self.figures[-1]["said"] += data
        if "details" not in self.open and "style" not in self.open:
            self.plain.append(data)


def check_page(html: str) -> None:
    """What holds of every report, also of a real demo's."""
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(
        page.tags
    )
    assert all(value.startswith("#") for _, value in page.links)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html)
    assert not re.search(r"[0-9a-fA-F]{16,}", " ".join(page.plain))
    assert "undefined" not in html
    assert len(page.figures) == sum(section["svg"] for section in page.sections)
    for plot in page.figures:
        assert len(plot["label"]) > 20
        assert len(plot["said"].split()) >= 4
    assert all(section["table"] for section in page.sections if section["svg"])
    assert [int(n) for n in re.findall(r"<h2>(\d+)\.", html)] == list(range(1, 13))


@cache
def usual() -> str:
    """The page of MATERIAL as it is, made once."""
    return render(MATERIAL)


def test_the_page_stands_alone(tmp_path: Path) -> None:
    check_page(write(tmp_path, MATERIAL).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "tamper",
    [
        lambda html: html.replace("<main>", '<main><img src="https://example.org/x.png">'),
        lambda html: html.replace("<main>", f"<main><p>{IDS[0]}</p>"),
        lambda html: html.replace("<main>", "<main><p>"),
        lambda html: re.sub(
            r"<figcaption>[^<]*</figcaption>", "<figcaption></figcaption>", html, count=1
        ),
        lambda html: html.replace("</main>", "<script>1</script></main>"),
    ],
    ids=["picture from elsewhere", "hash in the text", "not well-formed", "no sentence", "script"],
)
def test_the_check_sees_what_it_must(tamper: Any) -> None:
    html = usual()
    spoiled = tamper(html)
    assert spoiled != html
    with pytest.raises((AssertionError, IndexError)):
        check_page(spoiled)


def test_the_figures_of_the_run_are_in_it() -> None:
    html = text_of(usual())
    for sentence in (
        "The verdict: everything held",
        "7 / 7 accesses explained",
        "2 / 2 attacks refused",
        "block 49",
        "0.41 s",
        "43,259",
        "The person has withdrawn the consent.",
        "-1 [-4, 1]",
        "51.3 ± 1.2",
        "model file: cnn",
        "3:12345:A&gt;G",
        "Best possible in the long run",
        "they may lie a little above it",
        "they share the chain",
        "must say … where it says …",
        "2 cores",
    ):
        assert sentence in html


def test_the_verdict_names_tests_that_exist() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", usual())
    assert len(named) == 5
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": {"released": 8, "logged": 7}},
        {"after_revocation": {"accesses": 0, "keys": 1}},
        {"accesses": {"recorded": 8, "explained": 7}},
        {"verified": "not proven"},
        {"attacks": {"tried": 2, "refused": 1, "names": []}},
        {"tampers": {"tried": 2, "detected": 1, "names": []}},
        {"phi": {"canaries": 64, "surfaces": 7, "hits": 1}},
        {"story": [{**REPORT["story"][0], "holds": False}]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_one_thing_wrong_and_nothing_is_called_proven(wrong: dict[str, Any]) -> None:
    html = render(MATERIAL | {"report": REPORT | wrong})
    assert "not proven</span>" in html
    assert "everything held" not in html
    check_page(html)


def test_what_was_not_measured_is_absent() -> None:
    report = {
        name: value
        for name, value in REPORT.items()
        if name not in ("gain", "noise", "known_truth", "baseline", "machine")
    }
    research = {**RESEARCH, "curves": []}
    del research["events"]
    html = render(
        MATERIAL
        | {
            "report": report,
            "gas": [],
            "results": {"research": {"result": research, "disclosure": KEPT}},
        }
    )
    check_page(html)
    document = usual()
    for sentence in (
        "ROC",
        "Calibration",
        "nobody relapses",
        "pure noise",
        "simulated by",
        "Association",
        "Gas a person",
        "cores",
    ):
        assert sentence in document
        assert sentence not in html
    assert "times as long" not in document


def test_a_withheld_figure_says_so() -> None:
    row = re.search(r"<tr><td[^>]*>1-D CNN.*?</tr>", usual(), re.DOTALL)
    assert row is not None
    assert row[0].count("withheld") == 3
    assert "91 / 90 / 92 / 91" in row[0]


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        ({}, ["A signal: 2 of 2"]),
        ({"auc_interval": [49, 70]}, ["nothing"]),
        ({"p": "0.1000"}, ["nothing"]),  # the interval alone is not enough
        (
            {"accuracy": 83, "step": 5},
            ["A signal: 2 of 2"],
        ),  # within its rounding of the baseline of 81
        (
            {"accuracy": 83, "step": 1},
            ["A signal: 2 of 2", "2 of 2 rows are, beyond rounding, right more often"],
        ),
    ],
)
def test_it_claims_what_its_figures_show(change: dict[str, Any], shows: list[str]) -> None:
    research = RESEARCH | {"rows": [row | change for row in RESEARCH["rows"]]}
    results = MATERIAL["results"] | {"research": {"result": research, "disclosure": KEPT}}
    match = re.search(
        r"It shows:</p><ul[^>]*>(.*?)</ul>", render(MATERIAL | {"results": results}), re.DOTALL
    )
    assert match is not None
    items = re.findall(r"<li>(.*?)</li>", match[1])
    assert len(items) == len(shows)
    assert all(item.startswith(start) for item, start in zip(items, shows, strict=True))


def test_a_released_result_with_her_in_it_is_not_called_undone() -> None:
    effects = [{"run": "Run 1", "was": "released", "sentence": "A result had been released."}]
    html = text_of(render(MATERIAL | {"withdrawal": MATERIAL["withdrawal"] | {"effects": effects}}))
    assert "Run 1 had been released with her data in it" in html
    assert "nothing. No result" not in html


def test_an_attack_that_got_through_is_named() -> None:
    through = [MATERIAL["attacks"][0] | {"refused": False}]
    assert "NOT REFUSED" in render(MATERIAL | {"attacks": through})
    assert "NOT REFUSED" not in usual()


def test_a_hostile_text_stays_text() -> None:
    """In the place of every text that is not a number, an id or one of our own keys."""
    hostile = "<img src=x onerror=alert(1)>"
    spoiled = copy.deepcopy(MATERIAL)
    places = list(texts(MATERIAL))
    for path in places:
        inner: Any = spoiled
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = hostile
    html = render(spoiled)
    assert "<img" not in html
    assert html.count("&lt;img src=x") >= len(places) > 30
    check_page(html)


def test_what_the_page_does_not_lay_out_never_gets_into_it() -> None:
    """A record's content beside the figures, at any depth: only what is named is shown."""
    canary = "Zv4-canary-Qx9"

    def plant(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plant(inner) for name, inner in value.items()} | {"note": canary}
        return [plant(inner) for inner in value] if isinstance(value, list) else value

    kept = {
        name: plant(value)
        for name, value in MATERIAL.items()
        if name in ("accesses", "steps", "runs", "attacks")
    }
    for run in kept["runs"]:
        del run["attempts"][0]["record"]["seconds"]["note"]
    assert canary in json.dumps(kept)
    assert canary not in render(MATERIAL | kept)


def test_the_report_s_own_figures_have_the_published_shape() -> None:
    schema = json.loads((ROOT / "api" / "demo" / "report-schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(REPORT, schema)
    for wrong in (
        {"gain": {"auc": 1}},
        {"noise": {"accuracy": 0.5}},
        {"surprise": 1},
        {"models": [{**REPORT["models"][0], "auc": 0.63}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(REPORT | wrong, schema)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where free texts stand: sentences, names and what people or runs were called."""
    free = (
        "sentence",
        "name",
        "attacker",
        "expected",
        "reason",
        "what",
        "who",
        "ledger",
        "why",
        "label",
        "run",
        "analyst",
        "variant",
        "device",
        "verified",
        "word",
    )
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        if (
            isinstance(inner, str)
            and (key in free or path[-1:] in (("purposes",), ("categories",), ("covariates",)))
            and path[:1] != ("steps",)
            and path[:2] != ("report", "story")
        ):
            yield (*path, key)
        yield from texts(inner, (*path, key))
    if path == ():
        yield ("steps", 0, "sentence")
        yield ("report", "story", 0, "what")
