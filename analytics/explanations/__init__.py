"""Explanations of a model: one module each, which registers itself when it is imported.

An explanation says how much each part of the data (a column, or a group of columns) contributes to
what a model predicts of held-out people. Does not know who they are, what may be printed or who
asked: values of single people are summed up in analytics/explainer.py and filtered in
analytics/disclosure/explanations.py. Every module here is an explanation, but for `registry`.
Importing this package loads no numerical library.
"""

from __future__ import annotations

from collections.abc import Mapping

from analytics.explanations.registry import EXPLANATIONS, Explanation

# By name, sorted.
REGISTERED: Mapping[str, Explanation] = EXPLANATIONS.load(__name__, __path__)
