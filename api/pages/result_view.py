"""Prepare a released result for its page: plots with sentences and tables, and the withheld values.

Nothing is computed from the metrics: sentences compare released values.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.clusterings import REGISTERED as CLUSTERINGS
from analytics.explanations import REGISTERED as EXPLANATIONS
from analytics.explanations.registry import STEPS
from analytics.metrics import METRICS
from analytics.readers.gene_sets import LEAST_GENES
from analytics.strata import ALL
from api.client.renamed_keys import with_current_keys
from api.pages import labels as words
from api.pages import plots, run_text

# Names of columns, in the order of display; other columns follow.
_COLUMNS = {
    "model": "model",
    "feature_set": "data",
    "variant": "variant",
    "cluster": "cluster",
    "feature": "part of the data",
    "group": "people",
    "measure": "measure",
    "gap": "difference, percent points",
    "importance": "importance",
    "direction": "higher values go with",
    "beyond_chance": "beyond chance",
    "stratum": "people",
    "days": "days",
    "survival": "without the event, percent",
    "share": "with the outcome, percent",
    "interval": "95 % interval",
    "verdict": "what that shows",
    "risk": "risk at the horizon, percent",
    "risk_interval": "risk, 95 % interval",
    "median": "half have had the event by day",
    "median_interval": "that day, 95 % interval",
    "people": "how many people",
    "events": "with the event",
    "stability": "comes again, percent",
    "mean": "mean, in standard deviations from everybody's",
    "at_risk": "at risk",
    "censored": "censored so far",
    "c_index": "concordance",
    "c_interval": "concordance, 95 % interval",
    "auc": "AUC",
    "auc_interval": "AUC, 95 % interval",
    "interval_method": "interval by",
    "p": "p",
    "z": "z",
    **{metric.name: metric.title for metric in METRICS},
    "scaled_brier": "scaled Brier score",
    "frequency": "frequency",
    "carriers": "carriers",
    "permutations": "permutations",
    "step": "rounded to",
}
# What a column means, for who has not met its name; each of `_COLUMNS` has one.
_MEANINGS = {
    "model": "the method that predicts the outcome",
    "feature_set": "which data the model is given: one kind alone, all kinds as columns of one model, or a "
    "model each whose scores are joined",
    "variant": "chromosome, position, reference and alternative allele",
    "cluster": "a number, the largest cluster first",
    "feature": "a column of the data, or columns that are looked at as one",
    "group": "which people the row is about",
    "measure": "what is compared: the AUC, or of those with the outcome or without it the share that is called",
    "gap": "the measure in this group, less that of the people it is compared with",
    "importance": "how much the predictions rest on it, in the unit that the table's title names",
    "direction": "whether the model predicts more or less risk where its values are higher",
    "beyond_chance": "yes where it is more than the noise and the choice of people give",
    "stratum": "which people the row is about",
    "days": "days since the follow-up began",
    "survival": "of 100 people, so many have not had the event by that day (Kaplan–Meier estimate)",
    "share": "of 100 people of the cluster, so many have the outcome",
    "interval": "where the number before it would be in 95 of 100 such studies; it counts the noise",
    "verdict": "a difference is shown where its interval leaves out 0",
    "risk": "of 100 people, so many have had the event by the last day (100 less the curve)",
    "risk_interval": "where the risk would be in 95 of 100 such studies",
    "median": "the first printed day by which surely half have had the event",
    "median_interval": "the first and the last day that it may be",
    "people": "people in this row, rounded to 5",
    "events": "of them with the event or the outcome, rounded to 5",
    "stability": "in how much of resampled data the same cluster is drawn again (mean Jaccard similarity: "
    "people in both, of those in either)",
    "mean": "0 is the mean of everybody; 1 is one standard deviation above it",
    "at_risk": "people who are still followed up then and have not had the event, rounded to 5",
    "censored": "people whose follow-up had ended by then, so that nothing more is known of them",
    "c_index": "of two people, how often the model gives the higher risk to the one who has the event "
    "earlier: 50 is chance, 100 is always",
    "c_interval": "where the concordance would be in 95 of 100 such studies",
    "auc": "of two people of whom one has the outcome, how often the model gives her the higher score: 50 "
    "is chance, 100 is always",
    "auc_interval": "where the AUC of 95 in 100 such studies would be; too narrow where it is by DeLong",
    "interval_method": "how the interval was made: by DeLong from these predictions alone, or by a bootstrap "
    "that trains the model again on resampled people",
    "p": "the share of shuffled outcomes in which the model does as well: small where it has found more "
    "than chance",
    "z": "the effect, divided by its standard error: beyond about 2 or -2 chance is an unlikely reason for "
    "a single variant, and beyond about 5.5 for any of a genome",
    **{metric.name: metric.meaning for metric in METRICS},
    "scaled_brier": "how much smaller the squared error of the predicted probabilities is than if everybody "
    "were given the share with the outcome: 100 is perfect, 0 is no better, below 0 worse",
    "frequency": "the share of all alleles that is the alternative one, in percent",
    "carriers": "people with one or two alternative alleles, rounded to 5",
    "permutations": "how often the outcome was shuffled for p; it ends early where p will not be small",
    "step": "shares in this row are multiples of it: the fewer people, the coarser",
}
# Of the two columns of a curve's table.
_PAIRS = {
    "false alarms": "of those without the outcome, the share that is called",
    "found": "of those with the outcome, the share that is called at the same threshold",
    "predicted": "the mean predicted probability of a group of people",
    "seen": "the share of the same people that had the outcome",
    "expected": "−log10 p as chance alone gives it",
    "observed": "−log10 p of the variants that were tested",
}
OPENED = "People whose data was opened"
_FACTS = {
    "granted": OPENED,
    "people": "People in the analysis",
    "events": "Of them with the outcome",
    "censored": "Follow-up ended before the horizon",
    "baseline": "Right by always giving the more frequent answer, in percent at most",
    "folds": "Folds",
    "repeats": "Repeats",
    "method": "Clusters are drawn by",
    "clusters": "Clusters",
    "references": "Draws of people without groups, of each kind",
    "settings": "Settings of the models",
    "threshold": "A prediction above this counts as a yes",
    "components": "Ancestry components as covariates",
    "kinship": "Relatives that these variants can tell",
    "components_omitted": "Why none",
    "build": "Genome build",
}
_SETS = "{} as means of their genes; {} left out, of which fewer than {} genes are measured"
# Values that are words of the program, as people read them.
_WORDS = {
    "event-rate": "the share with the outcome among those the model learnt from",
    "chosen-within-folds": "chosen within each fold, among those of the catalogue",
    "fixed": "those of the catalogue, the same in each fold",
    "bootstrap": "bootstrap of the whole procedure",
    "delong": "DeLong, these predictions only",
    **{name: clustering.shown for name, clustering in CLUSTERINGS.items()},
    "more": "more risk",
    "less": "less risk",
    "none": "too few variants to tell",
    "same-genome": "only copies of a genome",
    "first-degree": "parents, children and siblings",
    "second-degree": "to the second degree",
    "third-degree": "to the third degree",
}
# What is said of them where an analysis leaves them out.
_CENSORED_LEFT_OUT = (
    "{}, left out. So the share with the outcome among the others is not the risk, which is lower; "
    "a run of the analysis survival estimates it"
)
_SCALES = {
    "log-odds": "mean size in log-odds",
    "probability": "mean size, in percent of probability",
    "auc": "loss of AUC, in percent",
    "share": "mean share of the attention, in percent",
}
_NO_CAUSE = (
    "It tells what this model uses, not what causes the outcome; of two columns that go together, one "
    "may stand for both."
)
_TOO_NARROW = (
    " An interval by DeLong is too narrow: it leaves out that other people would have trained another "
    "model."
)
_ONE_SIDED = (
    "Intervals leave out that other people would have trained another model; no difference shown does "
    "not mean that there is none."
)
_NO_CLUSTERS = (
    "None were drawn: fewer than 10 different profiles can be told apart by these columns."
)
_MEANING_OF = {_COLUMNS[name]: meaning for name, meaning in _MEANINGS.items()} | _PAIRS
_DRAWING = threading.Lock()  # matplotlib is not thread-safe


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` have one text for each column; the first names the row."""

    caption: str
    columns: list[str]
    rows: list[list[str]]

    @property
    def meanings(self) -> list[tuple[str, str]]:
        """(column, what it means), but for columns of older versions that no longer have one."""
        return [(name, _MEANING_OF[name]) for name in self.columns if name in _MEANING_OF]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: a heading, a sentence, the plot (SVG, its texts escaped; "" where nothing can be
    drawn) and the same as a table.
    """

    title: str
    sentence: str
    plot: str
    table: Table


def describe(result: Mapping[str, Any], disclosure: Mapping[str, Any]) -> dict[str, Any]:
    """The template's values for a result of any version and its disclosure record."""
    result = with_current_keys(result)
    with _DRAWING:
        shown = list(_DESCRIBE[result["analysis"]](result))
    return {
        "facts": [*_facts(result), *_noise(disclosure)],
        "shown": shown,
        "gains": [_gain(gain) for gain in result.get("gains", [])],
        # Read here: what is no result shall fail before its page is drawn (reviews._drawn).
        "flow": [(step["step"], step["people"]) for step in result.get("flow", [])],
        "variants": [
            (rule["rule"].replace("-", " "), rule["variants"])
            for rule in result.get("variants", {}).get("left_out", [])
        ],
        "withheld": _in_words(disclosure.get("withheld", [])),
        "coarsened": _in_words(disclosure.get("coarsened", [])),
    }


def name_of(key: str, of_row: bool) -> str:
    """What the page calls a column of its tables, or a fact of the result; "" for others."""
    return (_COLUMNS if of_row else _FACTS).get(key, "")


def _in_words(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Withheld or coarsened numbers, each called as on the rest of the page."""
    return [
        {**item, "what": run_text.withheld(str(item["what"])), "why": str(item["why"])}
        for item in items
    ]


def _noise(disclosure: Mapping[str, Any]) -> list[tuple[str, str]]:
    rules = disclosure.get("rules", [])
    bound = next(
        (rule["at_most"] for rule in rules if rule["rule"] == "noise before rounding"), None
    )
    if bound is None:  # a result of an older version
        return []
    return [
        (
            "Noise",
            f"Numbers of people and of the outcome have up to {bound} people of noise, always the same "
            "for the same people. Intervals count it.",
        )
    ]


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [(label, _text(result[name])) for name, label in _FACTS.items() if name in result]
    if "censored" in result and result["analysis"] == "evaluate":
        at = facts.index((_FACTS["censored"], str(result["censored"])))
        facts[at] = (facts[at][0], _CENSORED_LEFT_OUT.format(result["censored"]))
    if "outcome" in result:
        facts.insert(0, ("Outcome", words.outcome_of(result["outcome"])))
        if why := words.why_circular(result["outcome"]):
            facts.insert(1, ("Not independent of the data", why))
    if result.get("compared_by"):
        facts.append(("People are compared by", _columns(result["compared_by"])))
    if result.get("covariates"):
        facts.append(
            ("Clinical covariates", ", ".join(map(run_text.clinical, result["covariates"])))
        )
    if "used" in result.get("variants", {}):
        facts.append(("Variants tested", str(result["variants"]["used"])))
    if "gene_sets" in result:
        sets = result["gene_sets"]
        facts.append(("Gene sets", _SETS.format(sets["used"], sets["left_out"], LEAST_GENES)))
    return facts


def _prediction(result: Mapping[str, Any]) -> Iterable[Finding]:
    rows = [
        row
        | {"model": words.model(row["model"]), "feature_set": words.feature_set(row["feature_set"])}
        for row in result["rows"]
    ]
    better = [
        f"{row['model']} on {row['feature_set']}"
        for row in rows
        if words.is_better_than_chance(row)
    ]
    verdict = (
        f"Better than guessing (interval above 50, p at most 0.05): {', '.join(better)}."
        if better
        else "None is shown to be better than guessing, which needs an interval above 50 "
        "and p at most 0.05."
    )
    yield Finding(
        "How well each model tells those with the outcome from the others",
        f"{verdict} An AUC of 50 is guessing, 100 is never wrong; p comes from permuted outcomes."
        + (_TOO_NARROW if any(row.get("interval_method") == "delong" for row in rows) else ""),
        plots.auc_intervals(rows, "auc"),
        _table("Metrics, in percent where they are rates", rows),
    )
    # What holds for every plot of a kind is read once, at the first.
    explained = set[str]()
    for number, curve in enumerate(result["curves"]):
        name = f"{words.model(curve['model'])} on {words.feature_set(curve['feature_set'])}"
        if "roc" in curve:
            yield _roc(name, curve["roc"], number, "roc" in explained)
        if "calibration" in curve:
            yield _calibration(name, curve["calibration"], number, "calibration" in explained)
        explained |= curve.keys()
    for number, shown in enumerate(result.get("explanations", [])):
        yield _explanation(shown, again=number > 0)
    for number, compared in enumerate(result.get("fairness", [])):
        yield _fairness(compared, number)


def _explanation(shown: Mapping[str, Any], again: bool) -> Finding:
    of = EXPLANATIONS[shown["explanation"]]
    rows = [row | {"feature": run_text.feature(row["feature"])} for row in shown["features"]]
    if (
        of.of == STEPS
    ):  # in order of time, by the days before the index day with which a name begins
        rows.sort(key=lambda row: -int(row["feature"].split()[0]))
    unit = f"{_SCALES[shown['scale']]}, in steps of {shown['step']}"
    title = run_text.explanation(of.name)
    bars = [(row["feature"], float(row["importance"])) for row in rows]
    ordered = sorted(bars, key=lambda bar: -bar[1])
    largest = [f"{what} ({value:g})" for what, value in ordered if value > 0][:2]
    lead = f"Most rests on {' and '.join(largest)}." if largest else "Nothing is above 0."
    return Finding(
        f"What the predictions rest on, by {title}: {words.model(shown['model'])} on "
        f"{words.feature_set(shown['feature_set'])}",
        f"{lead} {of.says}{'' if again else ' ' + _NO_CAUSE}",
        plots.bars(bars, of.name, unit),
        _table(f"By {title}: {unit}", rows),
    )


def _fairness(compared: Mapping[str, Any], number: int) -> Finding:
    reference = run_text.group(compared["reference"])
    rows = [
        row | {"group": run_text.group(row["group"]), "measure": run_text.MEASURES[row["measure"]]}
        for row in compared["gaps"]
    ]
    dots = [
        (f"{_short(row['group'])}: {row['measure']}", row["gap"], row["interval"])
        for row in rows
        if "gap" in row
    ]
    aucs = [
        f"{_short(run_text.group(group['group']))}: "
        + (f"{group['auc']} %" if "auc" in group else "too few to tell")
        for group in compared["groups"]
    ]
    known = any("auc" in group for group in compared["groups"])
    return Finding(
        f"Is {words.model(compared['model'])} as good for everybody? Compared with {reference}",
        _verdicts(rows, reference)
        + (f" AUC within each group: {', '.join(aucs)}." if known else "")
        + (f" {_ONE_SIDED}" if dots else ""),
        plots.intervals(dots, f"fairness{number}", "percent points") if dots else "",
        _table(f"Compared with {reference}, in percent points", rows),
    )


def _verdicts(rows: Sequence[Mapping[str, Any]], reference: str) -> str:
    """What the comparisons show, the differences first."""
    shown = [
        words.sentence(
            f"{row['measure']}: {row['verdict']} for {row['group']}, by {abs(row['gap'])} points "
            f"(95 %: {_text(row['interval'])})"
        )
        for row in rows
        if row["verdict"] in ("higher", "lower")
    ]
    alike = [row for row in rows if row["verdict"] == "no difference shown"]
    few = len(rows) - len(shown) - len(alike)
    if few == len(rows):
        return f"There are too few people to tell whether any group differs from {reference}."
    if not shown:
        shown = [f"No difference from {reference} is shown."]
    if few:
        shown.append(f"{few} of {len(rows)} comparisons are of too few people to tell.")
    return " ".join(shown)


def _short(group: str) -> str:
    """A group without the variable's name, which the heading says: "yes", "under 50 years"."""
    return group.rpartition(": ")[2]


def _roc(name: str, points: Sequence[Sequence[Any]], number: int, again: bool) -> Finding:
    inner = [point for point in points if 0 < point[0] < 100]
    example = (
        f"With {inner[0][0]} % false alarms, {inner[0][1]} % of those with the outcome are found."
        if inner
        else "No point between the ends is printed."
    )
    how = " The dashed line is guessing; every step holds at least ten people."
    return Finding(
        f"Found against false alarms: {name}",
        f"{example}{'' if again else how}",
        plots.roc_curve(points, f"roc{number}"),
        _pairs(f"ROC of {name}, percent", ("false alarms", "found"), points),
    )


def _calibration(name: str, curve: Mapping[str, Any], number: int, again: bool) -> Finding:
    low, high = curve["groups"][0], curve["groups"][-1]
    slope = str(curve["slope"])
    text = (
        f"Where {low[0]} % was predicted, {low[1]} % had the outcome; "
        f"where {high[0]} %, {high[1]} %. Slope {'0.0' if slope == '-0.0' else slope}."
    )
    how = (
        " A slope of 1.0 is perfect; below it predictions are too extreme. "
        f"Predictions are rounded to 5 %, observations to {curve['step']} %."
    )
    return Finding(
        f"Predicted against seen: {name}",
        text if again else text + how,
        plots.calibration(curve["groups"], f"calibration{number}"),
        _pairs(f"Calibration of {name}, percent", ("predicted", "seen"), curve["groups"]),
    )


def _inflation(result: Mapping[str, Any]) -> str:
    """The genomic inflation, or "" if it was withheld because too few variants were tested."""
    if "inflation" not in result:
        return ""
    interval = result.get("inflation_interval")
    within = f" (95 %: {interval[0]} to {interval[1]})" if interval else ""
    return f"Genomic inflation {result['inflation']}{within}; 1.0 is what chance gives. "


def _association(result: Mapping[str, Any]) -> Iterable[Finding]:
    rows, first = result["rows"], result["rows"][0]
    yield Finding(
        "The variants most associated with the outcome",
        f"{len(rows)} {'is' if len(rows) == 1 else 'are'} reported, the strongest is "
        f"{first['variant']} (p {first['p']}). More would reveal who was in the cohort.",
        plots.manhattan(rows, "manhattan"),
        _table("Reported variants", rows),
    )
    yield Finding(
        "All variants together, against chance",
        f"{_inflation(result)}Above the dashed line, "
        "variants are associated with the outcome more often than chance explains.",
        plots.qq(result["quantiles"], "qq"),
        _pairs("Quantiles of −log10 p", ("expected", "observed"), result["quantiles"]),
    )


def _survival(result: Mapping[str, Any]) -> Iterable[Finding]:
    rows = [row | {"stratum": run_text.group(row["stratum"])} for row in result["rows"]]
    curves: dict[str, list[list[int]]] = {}
    for row in rows:
        points = curves.setdefault(row["stratum"], [])
        points.append([row["days"], row["survival"], *row["interval"]])
    strata = [row | {"stratum": run_text.group(row["stratum"])} for row in result["strata"]]
    yield Finding(
        "How many are without the event, over time",
        f"{_risks(strata)} By Kaplan-Meier: whoever was followed up for a shorter time counts until then.",
        plots.survival_curves(curves, "survival"),
        _table("People without the event, percent", rows),
    )
    if strata:
        yield Finding(
            "The risk at the horizon",
            "Risk and median are read off the printed curve: the median is the first printed time at "
            "which surely half or fewer are without the event.",
            plots.bars(
                [(row["stratum"], row.get("risk")) for row in strata], "risk", "risk, percent"
            ),
            _table("By group of people", strata),
        )
    if "concordance" in result:
        yield _concordance(result["concordance"], result["covariates"])
    if "calibration" in result:
        yield _calibration_of_risk(result["calibration"])


def _risks(strata: Sequence[Mapping[str, Any]]) -> str:
    """The risk of everybody, or of a few groups; of many groups the least and the largest."""
    known = sorted((row for row in strata if "risk" in row), key=lambda row: int(row["risk"]))
    if not known:
        return "The risk at the horizon is withheld, since too few people are at risk then."
    if len(known) > plots.MOST_TOGETHER:
        everybody = [row for row in known if row["stratum"] == run_text.group(ALL)]
        groups = [row for row in known if row not in everybody]
        known = [*everybody, groups[0], groups[-1]]
    risks = [
        f"{row['risk']} % ({_text(row['risk_interval'])} %) for {row['stratum']}" for row in known
    ]
    more = len(strata) - len(known)
    beside = f"; of the other groups ({more}) in the table" if more else ""
    return f"The risk at the horizon, with its 95 % interval: {'; '.join(risks)}{beside}."


def _concordance(shown: Mapping[str, Any], covariates: Sequence[str]) -> Finding:
    names = ", ".join(map(run_text.clinical, covariates))
    row = {"model": "Cox", "feature_set": names} | {
        key: shown[name]
        for name, key in (("c_index", "auc"), ("c_interval", "auc_interval"))
        if name in shown
    }
    better = shown.get("c_interval", [0])[0] > 50 and float(shown["p"]) <= 0.05
    verdict = "Better than guessing" if better else "It is not shown to be better than guessing"
    table = {name: value for name, value in shown.items() if name != "baseline"}
    return Finding(
        "How well Cox regression tells who has the event earlier",
        "A concordance (Harrell's C) of 50 is guessing, 100 is never wrong: of two people, it is how "
        f"often the one with the earlier event was given the higher risk, from {names}. {verdict} "
        "(which takes an interval above 50 and p at most 0.05). Everybody is predicted from others.",
        plots.auc_intervals([row], "concordance", "Concordance"),
        _table("Concordance in percent, permutation p", [{"model": "Cox", **table}]),
    )


def _calibration_of_risk(curve: Mapping[str, Any]) -> Finding:
    low, high = curve["groups"][0], curve["groups"][-1]
    return Finding(
        "Predicted against seen risk at the horizon",
        f"Where Cox regression predicted {low[0]} %, {low[1]} % had the event by Kaplan-Meier; where "
        f"{high[0]} %, {high[1]} %. Predictions are rounded to 5 %, what was seen to {curve['step']} %.",
        plots.calibration(curve["groups"], "calibration"),
        _pairs("Calibration at the horizon, percent", ("predicted", "seen"), curve["groups"]),
    )


def _clusters(result: Mapping[str, Any]) -> Iterable[Finding]:
    rows = result["rows"]
    yield Finding(
        "Groups of people whose data is alike",
        _how_sure(result) if rows else _NO_CLUSTERS,
        plots.bars([(_cluster(row), row.get("people")) for row in rows], "clusters", "people"),
        _table("Clusters", rows),
    )
    profiles = [row | {"feature": run_text.feature(row["feature"])} for row in result["profiles"]]
    if profiles:
        groups: dict[str, dict[str, float]] = {}
        for row in profiles:
            groups.setdefault(_cluster(row), {})[row["feature"]] = float(row["mean"])
        yield Finding(
            "What the people of each cluster have in common",
            "The mean of each clinical variable in a cluster, in standard deviations from the mean of "
            "everybody (dashed): at most five of a cluster, the furthest. What is not listed is about "
            "everybody's. The clusters were drawn by these variables, so that they differ is no finding.",
            plots.differences(groups, "profiles", "standard deviations from the mean of all"),
            _table("Means by cluster", profiles),
        )
    known = [row for row in rows if "share" in row]
    if known:
        dots = [(_cluster(row), row["share"], row["interval"]) for row in known]
        apart = any(
            first["interval"][1] < second["interval"][0] for first in known for second in known
        )
        yield Finding(
            "The outcome in each cluster",
            (
                "Two clusters differ: their intervals do not overlap. "
                if apart
                else "No two clusters are shown to differ: intervals overlap. "
            )
            + "The outcome was not looked at when clusters were drawn. Intervals count the noise. It "
            "is no prediction of anybody, and no cause.",
            plots.shares(dots, "outcome", "with the outcome, percent"),
            _table("People with the outcome", [_without(row, "stability") for row in known]),
        )


def _cluster(row: Mapping[str, Any]) -> str:
    return f"cluster {row['cluster']}"


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _how_sure(result: Mapping[str, Any]) -> str:
    """Whether clusters are more than chance, in two sentences with the numbers behind."""
    more = float(result["p"]) <= 0.05
    verdict = (
        f"{result['clusters']} clusters, more than chance gives (p {result['p']})."
        if more
        else f"No more than chance: people without groups give clusters as clear as these "
        f"{result['clusters']} (p {result['p']}), so they are not described."
    )
    unsure = (
        " That is no more than without groups, so who belongs together is not sure."
        if more and result["agreement"] <= result["agreement_expected"]
        else ""
    )
    return (
        f"{verdict} The silhouette is {result['silhouette']} of 100: how much nearer people are to "
        "their own cluster than to the next. Two halves of the people give the same clusters by "
        f"{result['agreement']} of 100 (adjusted Rand index, 0 is guessing); without groups it is "
        f"{result['agreement_expected']}.{unsure} p compares with permuted columns, with one normal "
        "distribution of the same covariances and with a Gaussian copula of the columns; a cluster is "
        "described where it comes again in three quarters of bootstrap samples (mean Jaccard)."
    )


def _columns(names: Sequence[str]) -> str:
    return ", ".join(map(run_text.feature, names))


def _frequencies(result: Mapping[str, Any]) -> Iterable[Finding]:
    rows = result["rows"]
    pairs = [(row["variant"], row.get("frequency")) for row in rows]
    shown = sum(value is not None for _, value in pairs)
    yield Finding(
        "How common each variant is",
        f"{shown} of {len(pairs)} {'is' if shown == 1 else 'are'} shown; one with fewer than 10 "
        "carriers, or 10 others, or whose counts could be derived from it, is withheld. "
        "Carriers are rounded to 5.",
        plots.bars(pairs, "frequency", "frequency, percent"),
        _table("Frequencies, percent", rows),
    )


_DESCRIBE = {
    "evaluate": _prediction,
    "survival": _survival,
    "clusters": _clusters,
    "associate": _association,
    "frequencies": _frequencies,
}


def _table(caption: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    names = {name for row in rows for name in row}
    chosen = [name for name in _COLUMNS if name in names] + sorted(names - set(_COLUMNS))
    return Table(
        caption,
        [_COLUMNS.get(name, name) for name in chosen],
        [[_text(row.get(name, "withheld")) for name in chosen] for row in rows],
    )


def _pairs(caption: str, columns: tuple[str, str], points: Sequence[Sequence[Any]]) -> Table:
    return Table(caption, list(columns), [[str(value) for value in point] for point in points])


def _text(value: Any) -> str:
    """A value as text; a pair is an interval."""
    if isinstance(value, list):
        return " to ".join(map(str, value))
    return _WORDS.get(str(value), str(value))


def _gain(gain: Mapping[str, Any]) -> str:
    """The gain from more data, in one sentence with its interval."""
    low, high = gain["interval"]
    shown = "a gain" if low > 0 else "a loss" if high < 0 else "no gain shown"
    return (
        f"{words.model(gain['model'])}: with {words.feature_set(gain.get('feature_set', 'combined'))} "
        f"instead of {words.feature_set(gain['over'])} "
        f"the AUC changes by {_signed(gain['auc'])} points (95 %: {_signed(low)} to {_signed(high)}): {shown}."
    )


def _signed(value: int) -> str:
    return f"{value:+}" if value else "0"
