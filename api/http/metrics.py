"""What a monitoring system reads: how the place is doing, as Prometheus text; counts and seconds, never who.

It is served on a port of its own on the loopback address. The API's port may be published, and behind a proxy every
caller of it has the proxy's address; a token would be one more secret to keep. Labels hold route templates, states and
reasons of fixed lists only.
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
from governance.readmodel import statistics as figures
from governance.readmodel.database import DATABASE_FAULTS, Database
from governance.rules.encoding import VerifyError

GATE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STOP_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
READERS = ("broker", "worker", "api")  # parts that read the whole ledger at their start
BROKEN_ROWS = (
    *DATABASE_FAULTS,
    VerifyError,
    LookupError,
    ValueError,
)  # a table that is away, or is not what it was


def serve(services: Services, host: str, port: int) -> None:
    """Answer every reader of host:port from now on, in threads of its own. Raises OSError."""
    registry = services.metrics.registry
    registry.register(Figures(services))
    start_http_server(port, host, registry)


class Figures(Collector):
    """Read anew at each visit, from rows and ledger; what does not answer is left out, and its part is down."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # The ledger is read anyway: asked for its newest block it would mine one.
        others = {part: probe for part, probe in services.health.probes.items() if part != "ledger"}
        self._health = replace(services.health, probes=others, since={}, lock=threading.Lock())

    def describe(self) -> Iterable[Any]:
        return []  # registering must not read

    def collect(self) -> Iterator[Any]:
        now = self._services.clock()
        ledger = list(self._ledger(now))
        yield from ledger
        rows = [self._read(figure) for figure in (_queue, _refusals, _gates, _stops)]
        yield from (figure for figure in rows if figure is not None)
        up = GaugeMetricFamily("volens_part_up", "1 while the part answers.", labels=["part"])
        up.add_metric(["ledger"], float(bool(ledger)))
        up.add_metric(["database"], float(None not in rows))
        left = GaugeMetricFamily(
            "volens_part_blocks_to_read",
            "Blocks of the ledger that the part has still to read; until then it refuses.",
            labels=["part"],
        )
        for part, said in self._health.report(now).items():
            up.add_metric([part], float(said["state"] != "down"))
            if part in READERS:
                left.add_metric([part], float(said.get("newest", 0) - said.get("block", 0)))
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
        value=figures.queue_depth(engine),
    )


def _refusals(engine: Database) -> Any:
    refused = CounterMetricFamily("volens_refusals", "Refusals on the ledger.", labels=["reason"])
    known = reasons()
    counts: dict[str, int] = {}
    for code, count in figures.refusals(engine).items():
        slug = known[code].slug if code in known else "other"
        counts[slug] = counts.get(slug, 0) + count
    for slug, count in sorted(counts.items()):
        refused.add_metric([slug], count)
    return refused


def _gates(engine: Database) -> Any:
    return _histogram(
        "volens_gate_seconds",
        "From asking the ledger for an access to holding the keys.",
        figures.gate_seconds(engine),
        GATE_BUCKETS,
    )


def _stops(engine: Database) -> Any:
    return _histogram(
        "volens_revocation_stop_seconds",
        "From a mined revocation to the end of the process it met.",
        figures.stop_seconds(engine),
        STOP_BUCKETS,
    )


def _histogram(name: str, about: str, seconds: list[float], buckets: tuple[float, ...]) -> Any:
    counts = [[str(edge), sum(one <= edge for one in seconds)] for edge in buckets] + [
        ["+Inf", len(seconds)]
    ]
    return HistogramMetricFamily(name, about, buckets=cast("Any", counts), sum_value=sum(seconds))
