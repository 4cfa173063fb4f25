"""What is wrong with the parameters of a form, in the words of its boxes, and what to do about it.

`analytics.params` says it in names of the document, which the command line and notebooks write; who
fills in a form has never seen them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analytics.params import GENE_SETS, MOST_STEPS, SERIES_VARIABLES
from api.pages import labels as words

_BOX = re.compile(r"\[([a-z_.]+)\]")  # a box, in a sentence below


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a box of the form, and what to do. field: the box's name."""

    field: str
    message: str
    hint: str


# (how the text begins that analytics.params gives, the box, what is wrong, what to do). A box in a
# sentence is in square brackets.
_SENTENCES = (
    (
        "a feature set needs series",
        "series",
        "a model is given measurements over time, and none is ticked under [series]",
        "tick a variable under [series.variables], or take that tick away from the model",
    ),
    (
        "series end on the index day",
        "series",
        "[series] end on the day of the index diagnosis, and what is predicted has none",
        f"choose “{words.parameter_value('diagnosis')}” under [outcome], or take the ticks away here",
    ),
    (
        "series.variables names",
        "series",
        "a variable under [series.variables] is not measured over time",
        "choose among " + ", ".join(map(words.variable, sorted(SERIES_VARIABLES))),
    ),
    (
        "series.variables is not",
        "series",
        "too many variables are ticked under [series.variables]",
        "tick one to four",
    ),
    (
        "series.days is not 2 to",
        "series.days",
        f"[series.days] is not 2 to {MOST_STEPS} times [series.step]",
        "for example 84 days in steps of 7",
    ),
    (
        "models names a feature set",
        "models",
        "a model is given an assay that is not ticked under [assays]",
        "tick the assay there too, or take that tick away from the model",
    ),
    (
        "assays",
        "assays",
        "[assays]: the dataset has no such assay, or too many are ticked",
        "tick one to eight of those that are listed",
    ),
    (
        "a feature set needs clinical variables",
        "clinical",
        "a model is given clinical data, and none is ticked: a feature set needs clinical variables",
        "tick a variable here, or take that tick away under [models]",
    ),
    (
        "a feature set needs genes",
        "genes.source",
        "a model is given genes, but [genes.source] is none",
        "choose where genes come from, or take that tick away under [models]",
    ),
    (
        "genes.encoder makes components",
        "genes.components",
        "[genes.encoder] is an autoencoder, and [genes.components] is 0",
        "ask for one or more components, or choose the other there",
    ),
    (
        "genes.select chi2",
        "genes.select",
        "[genes.select] is chi-square, which counts genotypes: gene activity and assays have none",
        "choose another way here",
    ),
    (
        "people are compared by nothing",
        "clinical",
        "people are compared by nothing: no variable is ticked, and [genes.source] is none",
        "tick a variable here, or choose where genes come from",
    ),
    (
        "primary is not one of the models",
        "primary",
        "[primary] is not one of the models that are given data",
        "choose one that has a tick under [models], or tick something for it there",
    ),
    (
        "outcome.variable is among",
        "outcome.finding.variable",
        "[outcome.finding.variable] is what is predicted, and it is ticked among what predicts or splits people",
        "take its tick away there, or predict another finding",
    ),
    (
        "explain names an explanation of at most",
        "explain",
        "[explain]: one of them looks at ten groups of columns at most, and there are more",
        "tick fewer clinical variables: all genes are one group, each variable is one",
    ),
    (
        "explain is not",
        "explain",
        "[explain]: there is no such explanation",
        "tick some of those that are listed",
    ),
)
_EVERY_MODEL = ("permutation", "shapley-groups")


def in_words(
    text: str, document: Mapping[str, Any], explanations: Mapping[str, str]
) -> Problem | None:
    """A problem of analytics.params at its box; None for one that needs no other words.
    explanations: what the form calls each.
    """
    if text.startswith("genes.sets"):
        return _of_gene_sets(document.get("genes") or {})
    if text.startswith("outcome is not") and document.get("outcome") == {"kind": "finding"}:
        label = _labelled("[outcome.finding.variable]")
        return Problem("outcome.finding.variable", f"{label}: none is chosen", "choose one")
    if match := re.fullmatch("explain names ([a-z-]+), which the primary model has not", text):
        every = " and ".join(f"“{explanations[name]}”" for name in _EVERY_MODEL)
        return Problem(
            "explain",
            _labelled(
                f"“{explanations[match[1]]}” does not fit [primary], or the data it is given"
            ),
            _labelled(
                f"choose another model under [primary], or {every}, which explain every model"
            ),
        )
    for begins, box, message, hint in _SENTENCES:
        if text.startswith(begins):
            return Problem(box, _labelled(message), _labelled(hint))
    return None


def _of_gene_sets(genes: Mapping[str, Any]) -> Problem:
    """A file of gene sets without their means, means without a file, or another file."""
    source, means = genes.get("source"), words.parameter_value(GENE_SETS)
    if source != GENE_SETS:
        came = words.parameter_value(str(source))
        message = f"a file of gene sets is chosen, and [genes.source] is {came}"
        hint = f"choose “{means}” under [genes.source], or no file here"
    elif not genes.get("sets"):
        message = f"[genes.source] is {means}, and no file of them is chosen"
        hint = "choose a file here, or take genes from elsewhere"
    else:
        message, hint = "[genes.sets] is none that the dataset has", "choose one that is listed"
    return Problem("genes.sets", _labelled(message), _labelled(hint))


def _labelled(sentence: str) -> str:
    """A sentence with the label of each box that it names."""
    return _BOX.sub(lambda box: f"“{words.parameter(box[1], box[1].rpartition('.')[2])}”", sentence)
