"""Plots of a released result as inline SVG: pure functions of the released values; nothing is
computed.

Each returns one `<svg role="img" aria-label="…">` for a page with a strict content policy: no style
element or attribute, script or external reference; text stays text, and ids begin with `name`, so
that a page can have several. Axes and text take the page's text colour. A withheld value is marked
as withheld, never drawn as zero. The same input gives the same bytes. matplotlib is loaded by the
first plot, not by the import of this module.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from math import log10
from typing import TYPE_CHECKING, Any, TypeVar
from xml.etree import ElementTree

from analytics.care.days import date_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# INK is replaced by the page's text colour.
INK, BLUE, ORANGE, GREY = "#010203", "#3b82d6", "#d2691e", "#8a8f98"
# Of several curves in one plot; they differ by mark and dash too.
INKS, MARKERS, DASHES = (BLUE, ORANGE, GREY, INK), ("o", "s", "^", "D"), ("-", "--", ":", "-.")
# Inches at 72 units each: a plot of WIDTH is readable on a page of 390 pixels.
WIDTH, WIDE = 4.0, 5.0
MOST_POINTS = 260  # of one scatter
MOST_TOGETHER = 3  # curves in one plot
LINE, HALF_LINE = 58, 24  # characters across a plot, and across one of two columns
MOST_WRAPPED = 200  # characters of a label in lines
MOST_TEXT = 44  # characters of a label beside an axis
WITHHELD = "withheld"
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_DECLARATION = re.compile(r"([a-z-]+): *((?:[^;']|'[^']*')+)")
_X = TypeVar("_X")
_XLINK = "{http://www.w3.org/1999/xlink}href"


def auc_intervals(rows: Sequence[Mapping[str, Any]], name: str, what: str = "AUC") -> str:
    """AUC of each model and feature set with its 95 % interval, in percent; the line at 50 is
    chance. what: another number of this kind, such as a concordance.
    """
    labels = [f"{row['model']}, {row['feature_set']}" for row in rows]
    figure, axes, marks = _labelled_rows(labels)
    for at, row in zip(marks, rows, strict=True):
        _reference(axes, 50, at)
        if "auc" not in row or "auc_interval" not in row:
            axes.text(51, at, WITHHELD, va="center", fontstyle="italic")
            continue
        _interval(axes, row["auc"], row["auc_interval"], at)
    axes.set_xlim(
        min([30, *(row["auc_interval"][0] - 2 for row in rows if "auc_interval" in row)]), 101
    )
    axes.set_xlabel(_wrapped(f"{what} in percent, 95 % interval; dashed: guessing"))
    text = [
        f"{row['model']} {row['feature_set']} {row['auc']}"
        if "auc" in row
        else f"{row['model']} {row['feature_set']} withheld"
        for row in rows
    ]
    return _svg(figure, name, f"{what} of each model in percent: " + ", ".join(text))


def intervals(rows: Sequence[tuple[str, int, Sequence[int]]], name: str, unit: str) -> str:
    """(what, value, its 95 % interval) around the dashed line at 0, which is no difference."""
    figure, axes, marks = _labelled_rows([what for what, _, _ in rows])
    for at, (_, value, ends) in zip(marks, rows, strict=True):
        _reference(axes, 0, at)
        _interval(axes, value, ends, at)
    reach = max([5, *(abs(end) for _, _, ends in rows for end in ends)])
    axes.set_xlim(-1.1 * reach, 1.1 * reach)
    axes.set_xlabel(_wrapped(f"{unit}, 95 % interval; dashed: no difference"))
    if not rows:
        _say_withheld(axes)
    text = ", ".join(f"{what} {value}" for what, value, _ in rows)
    return _svg(figure, name, f"{unit}: {text or WITHHELD}")


def survival_curves(
    curves: Mapping[str, Sequence[Sequence[float]]], name: str, unit: str = "days"
) -> str:
    """By group, points (time, percent without the event, lower end, upper end), each rising in
    time: a line from 100 % at time 0, and its 95 % interval as a bar at each point. unit: of time.

    Up to MOST_TOGETHER curves are drawn in one plot; of more, each in a plot of its own beside the
    first one, which is that of all people.
    """
    last = max([1, *(point[0] for points in curves.values() for point in points)])
    if len(curves) > MOST_TOGETHER:
        figure = _small_multiples(curves, last, unit)
    else:
        figure, axes = _axes(3.0 + 0.2 * len(curves))
        for number, (group, points) in enumerate(curves.items()):
            shift = last * 0.006 * (number - (len(curves) - 1) / 2)
            _survival(axes, points, number, shift, group)
        if curves:
            figure.legend(loc="outside upper left", frameon=False, fontsize=9)
        else:
            _say_withheld(axes)
        _time_axes(axes, last)
        axes.set_xlabel(f"{unit}; the bars are 95 % intervals")
        axes.set_ylabel("without the event, %")
    text = ", ".join(
        f"{group} {points[-1][1]} after {points[-1][0]} {unit}" for group, points in curves.items()
    )
    return _svg(figure, name, f"People without the event in percent: {text or WITHHELD}")


def _small_multiples(
    curves: Mapping[str, Sequence[Sequence[float]]], last: float, unit: str
) -> Figure:
    """A plot for each group but the first, in two columns, with the curve of the first in grey."""
    _library()
    from matplotlib.figure import Figure

    (first, reference), *groups = curves.items()
    lines = -(-len(groups) // 2)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.75 * lines), layout="constrained")
    every = list(figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False).flat)
    for axes, (group, points) in zip(every, groups, strict=False):
        times, percents = [0, *(p[0] for p in reference)], [100, *(p[1] for p in reference)]
        axes.plot(times, percents, color=GREY, linestyle="--", linewidth=1)
        _survival(axes, points, 0, 0, group)
        axes.set_title(_wrapped(group, HALF_LINE), fontsize=8.5, loc="left")
        axes.locator_params(nbins=4)
        _time_axes(axes, last)
    for axes in every[len(groups) :]:
        axes.set_axis_off()
    figure.supxlabel(_wrapped(f"{unit}; bars: 95 % intervals; dashed: {first}"), fontsize=9.5)
    figure.supylabel("without the event, %", fontsize=9.5)
    return figure


def _survival(
    axes: Axes, points: Sequence[Sequence[float]], number: int, shift: float, label: str
) -> None:
    """One curve with its intervals, in the colour, mark and dash of its number."""
    colour = INKS[number % len(INKS)]
    axes.plot(
        [0, *(point[0] for point in points)],
        [100, *(point[1] for point in points)],
        color=colour,
        linestyle=DASHES[number // len(INKS) % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
        markersize=4,
        linewidth=1.6,
        label=_wrapped(label),
    )
    for day, _, low, high in points:
        axes.plot([day + shift] * 2, [low, high], color=colour, linewidth=1)


def _time_axes(axes: Axes, last: float) -> None:
    axes.set_xlim(0, last * 1.03)
    axes.set_ylim(0, 102)


def over_time(values: Sequence[tuple[int, float]], due: int | None, name: str, what: str) -> str:
    """(day since 1970-01-01, value), oldest first, at least one; due: a day that is marked, on
    which the next value is asked for.
    """
    figure, axes = _axes(1.7)
    axes.plot(
        [day for day, _ in values],
        [value for _, value in values],
        "o-",
        color=BLUE,
        linewidth=1.4,
        markersize=4,
    )
    first, last = values[0][0], values[-1][0]
    end = last if due is None else max(last, due)
    margin = max(7.0, 0.04 * (end - first))
    axes.set_xlim(first - margin, end + margin)
    ends = sorted({first, end})
    axes.set_xticks(ends, [date_of(day) for day in ends])
    axes.margins(y=0.2)
    axes.locator_params(axis="y", nbins=4)
    marked = ""
    if due is not None:
        axes.axvline(due, color=ORANGE, linestyle="--", linewidth=1.2)
        marked = f"; dashed: next on {date_of(due)}"
    axes.set_xlabel(_wrapped(what + marked))
    return _svg(
        figure,
        name,
        f"{what}: {len(values)} values, the first {_figures(values[0][1])} on {date_of(first)}, "
        f"the last {_figures(values[-1][1])} on {date_of(last)}{marked}",
    )


def shares(rows: Sequence[tuple[str, int, Sequence[int]]], name: str, unit: str) -> str:
    """(what, percent, its 95 % interval), from 0 on; the first at the top."""
    figure, axes = _axes(0.9 + 0.3 * len(rows))
    for at, (_, value, (low, high)) in enumerate(reversed(rows)):
        axes.plot([low, high], [at, at], color=BLUE, linewidth=2)
        axes.plot([value], [at], "o", color=BLUE, markersize=6)
    axes.set_yticks(range(len(rows)), [_plain(what) for what, _, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(0, max([10, *(1.1 * high for _, _, (_, high) in rows)]))
    axes.set_xlabel(f"{unit}, with 95 % interval")
    text = ", ".join(f"{what} {value}" for what, value, _ in rows)
    return _svg(figure, name, f"{unit}: {text or WITHHELD}")


def differences(groups: Mapping[str, Mapping[str, float]], name: str, unit: str) -> str:
    """By group and part of the data, how far the group is from everybody, who is at the dashed
    line: a mark of its own for each group.
    """
    parts = list(dict.fromkeys(part for values in groups.values() for part in values))
    figure, axes = _axes(1.3 + 0.4 * len(parts))
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
    middle = (len(groups) - 1) / 2
    for number, (group, values) in enumerate(groups.items()):
        axes.plot(
            list(values.values()),
            [len(parts) - 1 - parts.index(part) + 0.12 * (middle - number) for part in values],
            MARKERS[number % len(MARKERS)],
            color=INKS[number % len(INKS)],
            fillstyle="none" if number >= len(INKS) else "full",
            markersize=6,
            label=_plain(group),
        )
    axes.set_yticks(range(len(parts)), [_plain(part) for part in reversed(parts)])
    axes.set_ylim(-0.6, len(parts) - 0.4)
    reach = max([1.0, *(abs(value) for values in groups.values() for value in values.values())])
    axes.set_xlim(-1.2 * reach, 1.2 * reach)
    axes.set_xlabel(_wrapped(unit))
    axes.legend(frameon=False, fontsize=8.5, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    text = "; ".join(
        f"{group}: " + ", ".join(f"{part} {value:g}" for part, value in values.items())
        for group, values in groups.items()
    )
    return _svg(figure, name, f"{unit}: {text or WITHHELD}")


def roc_curve(points: Sequence[Sequence[float]], name: str) -> str:
    """(false positive, true positive) rates in percent, on a grid of at least ten people a step."""
    figure, axes = _axes(3.2)
    axes.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
    _curve(axes, points)
    axes.set_xlabel("false alarms, % of those without the outcome")
    axes.set_ylabel("found, % of those with it")
    text = f"{len(points)} points, each step at least ten people" if points else WITHHELD
    return _svg(figure, name, f"ROC curve: {text}; the dashed line is chance")


def calibration(groups: Sequence[Sequence[float]], name: str) -> str:
    """(predicted, observed) percent by groups of increasing predicted probability."""
    figure, axes = _axes(3.2)
    axes.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
    _curve(axes, groups)
    axes.set_xlabel("predicted, %")
    axes.set_ylabel("seen, %")
    text = (
        ", ".join(
            f"{predicted} predicted and {observed} observed" for predicted, observed in groups
        )
        if groups
        else WITHHELD
    )
    return _svg(figure, name, f"Calibration in percent: {text}; the dashed line is perfect")


def manhattan(hits: Sequence[Mapping[str, Any]], name: str) -> str:
    """-log10 p of the reported variants ({variant "chromosome:position:…", p}) along the genome.

    Only the reported variants are drawn, whose number the cohort's size limits.
    """
    figure, axes = _axes(2.6)
    placed = sorted(
        _thinned([(_position(str(hit["variant"])), _minus_log10(str(hit["p"]))) for hit in hits])
    )
    order = list(dict.fromkeys(chromosome for (chromosome, _), _ in placed))
    for number, chromosome in enumerate(order):
        mine = [
            (position, height) for (carrier, position), height in placed if carrier == chromosome
        ]
        last = max(position for position, _ in mine) or 1
        xs = [number + 0.08 + 0.84 * position / last for position, _ in mine]
        axes.plot(
            xs,
            [height for _, height in mine],
            "o",
            color=(BLUE, ORANGE)[number % 2],
            markersize=3.5,
        )
    axes.set_xticks(
        [number + 0.5 for number in range(len(order))],
        [_plain(label) for _, label in order],
        fontsize=9.5 if len(order) < 12 else 6.5,
    )
    axes.set_xlim(0, max(1, len(order)))
    axes.set_ylim(0, max([1.0, *(height for _, height in placed)]) * 1.1)
    axes.set_xlabel("chromosome (only reported variants)")
    axes.set_ylabel("strength, −log10 p")
    if not hits:
        _say_withheld(axes)
    return _svg(
        figure,
        name,
        f"Association by chromosome: {len(hits)} reported variants"
        if hits
        else "Association by chromosome: withheld",
    )


def qq(quantiles: Sequence[Sequence[Any]], name: str) -> str:
    """(expected, observed) -log10 p at ranks with at least ten variants between two of them."""
    figure, axes = _axes(3.0)
    points = _thinned([(float(expected), float(observed)) for expected, observed in quantiles])
    top = max([1.0, *(value for point in points for value in point)]) * 1.05
    axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1)
    if points:
        axes.plot([x for x, _ in points], [y for _, y in points], "o", color=BLUE, markersize=3.5)
    else:
        _say_withheld(axes)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_xlabel("expected by chance alone, −log10 p")
    axes.set_ylabel("observed, −log10 p")
    text = f"{len(points)} quantiles" if points else WITHHELD
    return _svg(
        figure,
        name,
        f"Observed against expected strength: {text}; on the dashed line nothing stands out",
    )


def timeline(spans: Sequence[tuple[str, float, float]], name: str, unit: str = "seconds") -> str:
    """(what, start, end) as bars, the first at the top; start = end is a moment."""
    figure, axes = _axes(0.8 + 0.3 * len(spans), WIDE)
    end = max([0.001, *(stop for _, _, stop in spans)])
    for at, (_, start, stop) in enumerate(reversed(spans)):
        if stop > start:
            axes.barh(at, stop - start, left=start, height=0.5, color=BLUE)
        else:
            axes.plot([start], [at], "D", color=ORANGE, markersize=6)
        axes.annotate(_figures(stop), (stop, at), (7, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(spans)), [_plain(what) for what, _, _ in reversed(spans)])
    axes.set_xlim(-0.02 * end, 1.15 * end)
    axes.set_ylim(-0.6, len(spans) - 0.4)
    axes.set_xlabel(_plain(unit))
    text = ", ".join(f"{what} at {_figures(stop)}" for what, _, stop in spans)
    return _svg(figure, name, f"Timeline in {unit}: {text}")


def bars(pairs: Sequence[tuple[str, float | None]], name: str, unit: str = "") -> str:
    """(what, value) as horizontal bars, the first at the top; None: withheld or not measured."""
    figure, axes, marks = _labelled_rows([what for what, _ in pairs])
    top = max([0.0, *(value for _, value in pairs if value is not None)]) or 1.0
    for at, (_, value) in zip(marks, pairs, strict=True):
        if value is not None:
            axes.barh(at, value, height=0.13, color=BLUE)
        axes.annotate(
            "not shown" if value is None else _figures(value),
            (value or 0, at),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontstyle="italic" if value is None else "normal",
        )
    least = min([0.0, *(value for _, value in pairs if value is not None)])
    axes.set_xlim(1.25 * least, 1.25 * top)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(_wrapped(unit))
    text = ", ".join(
        f"{what} {'not shown' if value is None else _figures(value)}" for what, value in pairs
    )
    return _svg(figure, name, f"{unit or 'Figures'}: {text}")


def _labelled_rows(labels: Sequence[str]) -> tuple[Figure, Axes, list[float]]:
    """Axes with a row for each label, which stands above its row in full, and the height of each
    row: beside the axes, a long label would leave no room for them on a narrow page. Heights in
    inches, from the top.
    """
    marks, top = list[float](), 0.0
    wrapped = [_wrapped(label) for label in labels]
    tall = sum(0.16 * (label.count("\n") + 1) + 0.27 for label in wrapped)
    figure, axes = _axes(0.75 + tall)
    for label in wrapped:
        axes.text(0, top, label, transform=axes.get_yaxis_transform(), va="top")
        top += 0.16 * (label.count("\n") + 1) + 0.27
        marks.append(top - 0.17)
    axes.set_ylim(max(top, 0.3), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure, axes, marks


def _reference(axes: Axes, at: float, row: float) -> None:
    """The dashed line of a row, which does not cross the label above it."""
    axes.plot([at, at], [row - 0.07, row + 0.07], color=GREY, linestyle="--", linewidth=1.2)


def _interval(axes: Axes, value: float, ends: Sequence[float], row: float) -> None:
    axes.plot(list(ends), [row, row], color=BLUE, linewidth=2)
    axes.plot([value], [row], "o", color=BLUE, markersize=6)


@cache
def _library() -> None:
    """Load matplotlib once; its settings are global, but no other module draws."""
    import matplotlib

    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "volens",
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.size": 9.5,
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.facecolor": "none",
        }
    )


def _axes(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    _library()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _curve(axes: Axes, points: Sequence[Sequence[float]]) -> None:
    """A line through percent pairs, or a note that they were withheld."""
    if points:
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            "o-",
            color=BLUE,
            linewidth=2,
            markersize=4,
        )
    else:
        _say_withheld(axes)
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 102)


def _thinned(points: Sequence[tuple[_X, float]]) -> list[tuple[_X, float]]:
    """At most MOST_POINTS points, the highest ones first."""
    ranked = sorted(points, key=lambda point: -point[1])
    highest, rest = ranked[: MOST_POINTS // 2], ranked[MOST_POINTS // 2 :]
    return highest + rest[:: max(1, -(-2 * len(rest) // MOST_POINTS))]


def _say_withheld(axes: Axes) -> None:
    axes.text(
        0.6, 0.2, WITHHELD, transform=axes.transAxes, ha="center", va="center", fontstyle="italic"
    )


def _position(variant: str) -> tuple[tuple[int, str], float]:
    """((order, chromosome), position) of "1:12345:A>G"; sex and other chromosomes come after the
    numbered ones.
    """
    chromosome, _, rest = variant.partition(":")
    chromosome, position = chromosome.removeprefix("chr"), rest.partition(":")[0]
    order = int(chromosome) if chromosome.isdecimal() and len(chromosome) < 3 else 99
    return (order, chromosome), float(position) if position.isdecimal() and len(
        position
    ) < 12 else 0.0


def _minus_log10(p: str) -> float:
    return -log10(max(float(p), 1e-300))


def _plain(text: str) -> str:
    """A label of any origin: printable, and short enough to leave room for the plot."""
    text = _printable(text)
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"


def _wrapped(text: str, line: int = LINE) -> str:
    """A text of any origin in full, in lines of so many characters."""
    return textwrap.fill(_printable(text)[:MOST_WRAPPED], line)


def _printable(text: str) -> str:
    """Without what XML cannot hold."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _figures(value: float) -> str:
    """A readable number: an integer with separators, or at most three digits."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _svg(figure: Figure, name: str, label: str) -> str:
    """The plot as an inline element that a strict content policy allows."""
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())  # noqa: S314 (written by matplotlib the line before)
    for parent in root.iter():
        for child in [
            inner for inner in parent if inner.tag.rpartition("}")[2] in ("metadata", "style")
        ]:
            parent.remove(child)
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', written.getvalue()))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = _attributes(element.attrib, name, used)
        element.tail = None
        element.text = element.text if element.tag == "text" else None
    box = root.get("viewBox", "0 0 1 1").split()
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "role": "img",
        "aria-label": _printable(label),
        "class": "plot",
        "viewBox": " ".join(box),
        "width": str(round(float(box[2]) * 4 / 3)),
        "height": str(round(float(box[3]) * 4 / 3)),
        "font-family": "sans-serif",
        "stroke-linejoin": "round",
    }
    return ElementTree.tostring(root, encoding="unicode").replace(INK, "currentColor")


def _attributes(given: Mapping[str, str], name: str, used: set[str]) -> dict[str, str]:
    """Turn styles into attributes, prefix referenced ids with `name`, drop other ids, shorten
    numbers.
    """
    kept: dict[str, str] = {}
    for key, value in given.items():
        if key == "style":
            kept |= {
                what: text.strip()
                for what, text in _DECLARATION.findall(value)
                if what != "font-family"
            }
        elif key == "id":
            kept |= {"id": f"{name}-{value}"} if value in used else {}
        elif key == _XLINK:
            kept["href"] = f"#{name}-{value[1:]}"
        else:
            kept[key] = value.replace("\n", "")
    return {
        key: _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", value).replace(
            "url(#", f"url(#{name}-"
        )
        for key, value in kept.items()
    }
