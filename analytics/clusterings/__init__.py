"""Clusterings: one module each, which registers itself when it is imported.

A clustering divides people into groups by their columns alone. Does not know who they are, what the
outcome is or what may be printed: `analytics/clusters.py` asks how sure the groups are,
`analytics/disclosure/clusters.py` filters. Every module here is a clustering, but for `registry`.
Importing this package loads no numerical library.
"""

from __future__ import annotations

from collections.abc import Mapping

from analytics.clusterings.registry import CLUSTERINGS, Clustering

# By name, sorted.
REGISTERED: Mapping[str, Clustering] = CLUSTERINGS.load(__name__, __path__)
