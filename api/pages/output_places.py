"""Where something stands in an output, in the words of its page: "metrics, logistic on genes, AUC"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from api.pages import labels as words
from api.pages import run_text
from api.pages.output_checks import OutputCheck
from api.pages.result_view import name_of

_PARTS = {
    "rows": "the table",
    "strata": "groups of people",
    "gains": "gain",
    "gains.auc": "change of the AUC",
    "curves": "curves",
    "roc": "ROC curve",
    "calibration": "calibration",
    "groups": "groups",
    "gaps": "differences",
    "over": "instead of",
    "by": "compared by",
    "reference": "compared with",
    "concordance": "concordance",
    "explanations": "explanation",
    "features": "parts of the data",
    "fairness": "comparison of groups",
    "profiles": "means by cluster",
    "quantiles": "quantiles",
    "inflation": "genomic inflation",
    "inflation_interval": "genomic inflation, 95 % interval",
    "slope": "slope",
    "intercept": "intercept",
    "scale": "scale",
    "background": "background",
    "explanation": "explanation",
    "outcome": "outcome",
    "kind": "kind",
    "horizon_days": "within how many days",
    "variable": "variable",
    "flow": "from everybody to those analysed",
    "variants": "variants",
    "left_out": "left out",
    "used": "used",
    "rule": "rule",
    "gene_sets": "gene sets",
    "silhouette": "silhouette",
    "agreement": "agreement of two halves",
    "agreement_expected": "agreement without groups",
    "covariates": "clinical covariates",
    "compared_by": "people are compared by",
    "params": "hash of the parameters",
    "type": "type of the document",
    "analysis": "analysis",
    "disclosure": "record of disclosure control",
    "statistic_class": "class of the output",
    "statistics": "statistics that it counts as",
    "rules": "rules",
    "withheld": "withheld",
    "coarsened": "in coarser steps",
    "what": "what",
    "why": "why",
    "parameters": "parameters of the run",
    "baseline": "share of the more frequent outcome",
    "at_most": "at most",
    "at_least": "at least",
    "people_at_least": "people at least",
    "people_a_step": "people in a step",
    "tables_at_least": "tables at least",
    "inference_auc_at_most": "AUC of inference at most",
}
_LONGEST = 60  # characters of a name that an output chose


def in_words(
    checks: Sequence[OutputCheck], result: Mapping[str, Any], disclosure: Mapping[str, Any]
) -> list[OutputCheck]:
    """The checks, with the places of each as the page calls them."""
    documents = {**result, "disclosure": disclosure}
    return [
        replace(check, places=tuple(_labelled(text, documents) for text in check.places))
        for check in checks
    ]


def _labelled(text: str, documents: Mapping[str, Any]) -> str:
    path, separator, value = text.partition(": ")
    return ", ".join(_steps(path, documents)) + separator + value


def _steps(path: str, documents: Mapping[str, Any]) -> Iterator[str]:
    """The name of each step of a path; a name that no analysis writes stays as it is."""
    holder: Any = documents
    above = ""
    for step in path.split("."):
        if isinstance(holder, list) and step.isdecimal() and int(step) < len(holder):
            holder = holder[int(step)]
            yield _item(holder) or f"no. {int(step) + 1}"
            continue
        of_row = holder is not documents
        yield _PARTS.get(f"{above}.{step}") or _PARTS.get(step) or name_of(step, of_row) or step
        holder, above = holder.get(step) if isinstance(holder, Mapping) else None, step


def _item(entry: Any) -> str:
    """What an entry of a list is about; "" where it does not say."""
    if not isinstance(entry, Mapping):
        return ""
    names = {
        name: entry[name][:_LONGEST]
        for name in ("model", "feature_set", "stratum", "group", "feature", "variant", "what")
        if isinstance(entry.get(name), str)
    }
    if "model" in names and "feature_set" in names:
        return f"{words.model(names['model'])} on {words.feature_set(names['feature_set'])}"
    for name in ("stratum", "group"):
        if name in names:
            return run_text.group(names[name])
    if "feature" in names:
        return run_text.feature(names["feature"])
    if "variant" in names or "what" in names:
        return names.get("variant") or run_text.withheld(names["what"])
    return f"cluster {entry['cluster']}" if type(entry.get("cluster")) is int else ""
