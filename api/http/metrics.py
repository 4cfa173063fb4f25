"""Prometheus metrics of the deployment: counts and seconds, never who.

They are served on a separate port on the loopback address. The API's port may be published, and
behind a proxy every caller has the proxy's address; a token would be one more secret to keep.
Labels hold only route templates, states and reasons from fixed lists.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from prometheus_client import start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from api.http.services import Services
from api.operate.ledger_lag import lag_of, newest_block
from chain.errors import ChainError
from governance.errors import reasons
from governance.readmodel import statistics
from governance.readmodel.database import DATABASE_FAULTS, Database
from governance.rules.encoding import VerifyError

GATE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STOP_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
READERS = ("broker", "worker", "api")  # services that read the whole ledger at their start
# A table is missing or damaged.
BROKEN_ROWS = (*DATABASE_FAULTS, VerifyError, LookupError, ValueError)


def serve(services: Services, host: str, port: int) -> None:
    """Serve the metrics on host:port, in separate threads. Raises OSError."""
    registry = services.metrics.registry
    registry.register(StatisticsCollector(services))
    start_http_server(port, host, registry)


class StatisticsCollector(Collector):
    """Reads rows and ledger at each scrape; leaves out what does not answer, and shows its service
    as down.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        # The ledger is read anyway; its own probe would mine a block.
        probes = {part: probe for part, probe in services.health.probes.items() if part != "ledger"}
        self._health = replace(services.health, probes=probes, since={}, lock=threading.Lock())

    def describe(self) -> Iterable[Any]:
        return []  # registering must not read

    def collect(self) -> Iterator[Any]:
        now = self._services.clock()
        ledger = list(self._ledger(now))
        yield from ledger
        rows = [self._read(family) for family in (_queue, _refusals, _gates, _stops)]
        yield from (family for family in rows if family is not None)
        up = GaugeMetricFamily("volens_part_up", "1 while the part answers.", labels=["part"])
        up.add_metric(["ledger"], float(bool(ledger)))
        up.add_metric(["database"], float(None not in rows))
        left = GaugeMetricFamily(
            "volens_part_blocks_to_read",
            "Blocks of the ledger that the part has still to read; until then it refuses.",
            labels=["part"],
        )
        for part, report in self._health.report(now).items():
            up.add_metric([part], float(report["state"] != "down"))
            if part in READERS:
                left.add_metric([part], float(report.get("newest", 0) - report.get("block", 0)))
        yield up
        yield left

    def _read(self, read: Callable[[Database], Any]) -> Any:
        with suppress(*BROKEN_ROWS):
            return read(self._services.engine)
        return None

    def _ledger(self, now: int) -> Iterator[Any]:
        url = self._services.ledger.node.url
        try:
            number, timestamp = newest_block(url)
        except ChainError:
            return
        yield GaugeMetricFamily(
            "volens_last_block_age_seconds",
            "Age of the ledger's newest block.",
            value=max(0, now - timestamp),
        )
        with suppress(ChainError, *BROKEN_ROWS):
            blocks, seconds = lag_of(self._services.engine, self._services.ledger, number)
            yield GaugeMetricFamily(
                "volens_chain_lag_blocks",
                "Blocks with events that the rows do not have yet.",
                value=blocks,
            )
            yield GaugeMetricFamily(
                "volens_chain_lag_seconds",
                "How long the oldest of them waits, in block time.",
                value=seconds,
            )


def _queue(engine: Database) -> Any:
    return GaugeMetricFamily(
        "volens_queue_depth",
        "Runs that wait for a worker or are held by one.",
        value=statistics.queue_depth(engine),
    )


def _refusals(engine: Database) -> Any:
    refused = CounterMetricFamily("volens_refusals", "Refusals on the ledger.", labels=["reason"])
    known = reasons()
    counts: dict[str, int] = {}
    for code, count in statistics.refusals(engine).items():
        slug = known[code].slug if code in known else "other"
        counts[slug] = counts.get(slug, 0) + count
    for slug, count in sorted(counts.items()):
        refused.add_metric([slug], count)
    return refused


def _gates(engine: Database) -> Any:
    return _histogram(
        "volens_gate_seconds",
        "From asking the ledger for an access to holding the keys.",
        statistics.gate_seconds(engine),
        GATE_BUCKETS,
    )


def _stops(engine: Database) -> Any:
    return _histogram(
        "volens_revocation_stop_seconds",
        "From a mined revocation to the end of the process it met.",
        statistics.stop_seconds(engine),
        STOP_BUCKETS,
    )


def _histogram(name: str, about: str, seconds: list[float], buckets: tuple[float, ...]) -> Any:
    counts = [[str(edge), sum(value <= edge for value in seconds)] for edge in buckets] + [
        ["+Inf", len(seconds)]
    ]
    return HistogramMetricFamily(name, about, buckets=cast("Any", counts), sum_value=sum(seconds))
