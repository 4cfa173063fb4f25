"""Plots show the given values, mark withheld ones, and satisfy a strict content policy."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from api.pages import plots

ROWS = [
    {"model": "logistic", "feature_set": "genes", "auc": 63, "auc_interval": [54, 72]},
    {"model": "svm", "feature_set": "combined", "auc": 70, "auc_interval": [60, 80]},
]
SOME = random.Random(7)
HITS = [
    {
        "variant": f"{SOME.choice([*range(1, 23), 'X', 'MT'])}:{SOME.randrange(10**8)}:A>G",
        "p": f"{10 ** -SOME.expovariate(0.7):.1e}",
    }
    for _ in range(5000)
]
CURVES = {
    f"oestrogen receptor positive: no, histological grade: {number}": [
        [365 * year, 100 - 9 * year, 90 - 9 * year, 105 - 9 * year] for year in range(1, 6)
    ]
    for number in range(9)
}
QUANTILES = [["0.1", "0.2"], ["1.0", "1.3"], ["3.0", "4.1"]]
DRAWN: dict[str, Callable[[str], str]] = {
    "auc": lambda name: plots.auc_intervals(ROWS, name),
    "curves": lambda name: plots.survival_curves(dict(list(CURVES.items())[:3]), name),
    "many curves": lambda name: plots.survival_curves(CURVES, name),
    "roc": lambda name: plots.roc_curve([(0, 0), (20, 45), (50, 80), (100, 100)], name),
    "calibration": lambda name: plots.calibration([(10, 5), (25, 30), (60, 50)], name),
    "manhattan": lambda name: plots.manhattan(HITS, name),
    "qq": lambda name: plots.qq(QUANTILES * 2000, name),
    "timeline": lambda name: plots.timeline(
        [("signed", 0, 0), ("mined", 0, 0.05), ("stopped", 0.05, 0.4)], name
    ),
    "bars": lambda name: plots.bars(
        [("enrol", 43_000), ("grant", -21_500), ("other", None)], name, unit="gas"
    ),
    "intervals": lambda name: plots.intervals(
        [("found, yes", -10, [-20, 0]), ("AUC, yes", 5, [-5, 15])], name, "percent points"
    ),
}
NOTHING: dict[str, Callable[[str], str]] = {
    "auc": lambda name: plots.auc_intervals([{"model": "svm", "feature_set": "genes"}], name),
    "roc": lambda name: plots.roc_curve([], name),
    "calibration": lambda name: plots.calibration([], name),
    "manhattan": lambda name: plots.manhattan([], name),
    "qq": lambda name: plots.qq([], name),
    "intervals": lambda name: plots.intervals([], name, "percent points"),
}
XML = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_it_is_one_inline_element_that_a_strict_page_shows(draw: Callable[[str], str]) -> None:
    drawn = draw("here")
    root = ElementTree.fromstring(drawn)
    assert drawn.startswith("<svg ")
    assert root.get("role") == "img"
    assert len(root.get("aria-label", "")) > 20
    assert len(drawn.encode()) <= 40_000
    allowed = {
        f"{XML}{tag}" for tag in ("svg", "g", "path", "use", "text", "defs", "clipPath", "rect")
    }
    for element in root.iter():
        assert element.tag in allowed
        assert not {name for name in element.attrib if name == "style" or name.startswith("on")}
        assert "http" not in "".join(
            value for name, value in element.attrib.items() if name != "aria-label"
        )
    assert root.findall(f".//{XML}text")


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_several_stand_in_one_page_and_the_same_figures_give_the_same_bytes(
    draw: Callable[[str], str],
) -> None:
    first, second = draw("one"), draw("other")
    assert first == draw("one")
    ids = [set(re.findall(r' id="([^"]+)"', drawn)) for drawn in (first, second)]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', first)) == ids[0]
    assert "#000000" not in first  # what is drawn in ink takes the page's colour, in light and dark
    assert "currentColor" in first


@pytest.mark.parametrize("draw", NOTHING.values(), ids=NOTHING)
def test_what_was_withheld_is_said_and_not_drawn(draw: Callable[[str], str]) -> None:
    drawn = draw("none")
    assert "withheld" in words_of(drawn)
    assert "withheld" in (ElementTree.fromstring(drawn).get("aria-label") or "")
    assert plots.BLUE not in drawn
    assert plots.ORANGE not in drawn


def test_a_bar_is_as_long_as_its_figure_and_an_absent_one_has_none() -> None:
    drawn = plots.bars([("a", 1000), ("b", 4000), ("c", None)], "bars")
    lengths = [right - left for left, right in map(across, paths(drawn, fill=plots.BLUE))]
    assert len(lengths) == 2
    assert lengths[0] / lengths[1] in (pytest.approx(0.25, abs=0.01), pytest.approx(4, abs=0.1))
    assert "not shown" in words_of(drawn)
    assert "4,000" in words_of(drawn)


def test_an_interval_spans_its_percents() -> None:
    narrow, wide = (
        plots.auc_intervals([{**ROWS[0], "auc_interval": ends}], "auc")
        for ends in ([58, 68], [48, 78])
    )
    spans = [
        right - left
        for left, right in (across(paths(plot, stroke=plots.BLUE)[0]) for plot in (narrow, wide))
    ]
    assert spans[1] == pytest.approx(3 * spans[0], rel=0.01)


def test_a_curve_passes_through_its_points() -> None:
    line = paths(plots.roc_curve([(0, 0), (50, 80), (100, 100)], "roc"), stroke=plots.BLUE)[0]
    (x0, y0), (x1, y1), (x2, y2) = points(line)
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.5, abs=0.01)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.8, abs=0.01)


def test_a_long_label_is_read_in_full_on_a_narrow_page() -> None:
    """Above its row, in lines: beside the plot it would be cut."""
    label = "age at diagnosis (years), oestrogen receptor positive, histological grade (1 to 3)"
    for drawn in (
        plots.bars([(label, 3)], "b", "mean size, in percent of probability, in steps of 5"),
        plots.intervals([(label, 3, [1, 5])], "i", "difference in percent points"),
        plots.auc_intervals([{**ROWS[0], "feature_set": label}], "a"),
    ):
        assert label in " ".join(words_of(drawn))
        # The size at which a text of 9.5 units is 11 pixels high on a page of 350.
        assert float(ElementTree.fromstring(drawn).get("width", "")) <= 400


def test_thinning_keeps_the_strongest() -> None:
    many = [(at, SOME.expovariate(1)) for at in range(5000)]
    kept = plots._thinned(many)
    assert len(kept) <= plots.MOST_POINTS
    assert set(sorted(many, key=lambda point: point[1])[-100:]) <= set(kept)
    assert sorted(plots._thinned(many[:100])) == many[:100]


def test_labels_are_text_whatever_they_hold() -> None:
    hostile = "<script>alert(1)</script> $\\frac{x}{$ \x00\n & \"'" + "x" * 200
    for drawn in (
        plots.bars([(hostile, 1)], "b", unit=hostile),
        plots.timeline([(hostile, 0, 1)], "t"),
        plots.auc_intervals([{**ROWS[0], "model": hostile}], "a"),
        plots.manhattan([{"variant": hostile, "p": "0.1"}], "m"),
    ):
        assert "<script" not in drawn
        assert all(
            element.tag != f"{XML}script" for element in ElementTree.fromstring(drawn).iter()
        )


def test_no_plotting_library_is_loaded_before_the_first_figure() -> None:
    code = (
        "import sys, api.pages.plots; print('matplotlib' in sys.modules); api.pages.plots.qq([], 'q'); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def words_of(drawn: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawn).iter(f"{XML}text")]


def paths(drawn: str, **attributes: str) -> list[str]:
    """The lines or areas drawn in a colour, markers aside."""
    elements = [
        element
        for element in ElementTree.fromstring(drawn).iter(f"{XML}path")
        if "id" not in element.attrib
    ]
    return [
        element.attrib["d"] for element in elements if attributes.items() <= element.attrib.items()
    ]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]


def across(path: str) -> tuple[float, float]:
    xs = [x for x, _ in points(path)]
    return min(xs), max(xs)
