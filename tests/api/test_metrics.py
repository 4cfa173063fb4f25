"""Metrics and request logs: what an operator sees of a deployment in use, without names."""

from __future__ import annotations

import io
import json
import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from api.demo.stage import random32
from api.http import metrics
from api.http.metrics import StatisticsCollector
from api.http.request_log import Metrics
from api.operate import logs
from api.operate.ledger_lag import newest_block
from api.operate.settings import Settings
from chain.devnode.anvil import find_anvil
from chain.devnode.gateway import GatewayServer
from chain.devnode.writer import open_chain
from chain.errors import ChainError
from governance.errors import reasons
from governance.readmodel.database import open_database
from governance.runs import keep_record, mark

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines of requests so far."""
    before, stream = logging.root.handlers[:], io.StringIO()
    logs.configure("api", "info", stream)

    def read() -> list[dict[str, Any]]:
        until = time.monotonic() + 5  # the line follows the answer
        while '"request"' not in stream.getvalue() and time.monotonic() < until:
            time.sleep(0.005)
        return [json.loads(line) for line in stream.getvalue().splitlines() if '"request"' in line]

    yield read
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.root.handlers[:] = before


@pytest.fixture(scope="module")
def scrape(deployment) -> Callable[[], str]:
    """What a reader gets from the port of its own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    metrics.serve(deployment.services, Settings().metrics_host, port)
    read = lambda: httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text  # noqa: E731
    read.port = port  # type: ignore[attr-defined]
    return read


def test_a_request_is_one_line_with_its_template_and_id(deployment, lines) -> None:
    run = random32().hex()
    answer = httpx.get(f"{deployment.url}/runs/{run}?name={run}")
    (line,) = lines()
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert (line["method"], line["route"], line["status"]) == (
        "GET",
        "/runs/{run}",
        answer.status_code,
    )
    assert line["ms"] >= 0
    assert run not in json.dumps(lines())


@pytest.mark.parametrize(
    ("method", "path", "accept", "route"),
    [
        ("GET", "/patients/Ada", "*/*", "none"),
        ("POST", "/health", "*/*", "/health"),
        ("STEAL", "/health", "*/*", "/health"),
        ("GET", "/runs/abcd", "text/html", "/runs/{run}"),
        ("GET", "/pages/static/secret-name.js", "*/*", "/pages/static/*"),
    ],
)
def test_no_path_reaches_a_line(
    deployment, lines, method: str, path: str, accept: str, route: str
) -> None:
    httpx.request(method, deployment.url + path, headers={"Accept": accept})
    (line,) = lines()
    assert line["route"] == route
    assert line["method"] in {"GET", "POST", "other"}
    assert not re.search("Ada|secret|abcd|STEAL", json.dumps(line))


def test_the_figures_count_what_happened(deployment, scrape) -> None:
    before = scrape()
    (willing,), (unwilling,) = deployment.people(1), deployment.people(1, agree=False)
    noor, permit = deployment.as_("noor"), deployment.world.permit(minCohort=1)
    asked = noor.request_run(permit, b'{"model":"logistic"}', bytes(32), secrets.randbits(256))
    run, waiting = bytes.fromhex(asked["run"]), scrape()
    assert value(waiting, "volens_queue_depth") == value(before, "volens_queue_depth") + 1
    people = sorted([willing, unwilling, *deployment.people(2)])
    deployment.world.authorise(run, people)
    deployment.services.projection.sync()
    ada, dataset = deployment.patient(willing), deployment.world.dataset
    ada.revoke(dataset, 0)
    mark(deployment.services.engine, f"stopped:{run.hex()}:1", "a person is no longer willing")
    keep_record(
        deployment.services.engine,
        run.hex(),
        1,
        {"seconds": {"consent": "0.2", "fetch": "0.1", "keys": "0.1"}},
    )
    after = scrape()
    absent = 'volens_refusals_total{reason="absent"}'
    assert value(after, absent) == value(before, absent) + 1
    for name in ("volens_gate_seconds", "volens_revocation_stop_seconds"):
        assert value(after, f"{name}_count") == value(before, f"{name}_count") + 1
    assert value(after, "volens_gate_seconds_sum") == pytest.approx(
        value(before, "volens_gate_seconds_sum") + 0.4
    )
    assert value(after, "volens_chain_lag_blocks") == 0
    assert value(after, "volens_last_block_age_seconds") >= 0
    assert (
        value(after, 'volens_part_up{part="broker"}')
        == value(after, 'volens_part_up{part="database"}')
        == 1
    )
    assert value(after, 'volens_requests_total{route="/runs",status="200"}') >= 1
    deployment.world.set_role(
        deployment.world.people["dora"].address, "protection"
    )  # a block that nobody has projected yet
    assert value(scrape(), "volens_chain_lag_blocks") == 1


def test_no_label_names_anybody_or_grows(deployment, scrape) -> None:
    for path in (
        "/runs/" + random32().hex(),
        "/nowhere/" + random32().hex(),
        "/" + random32().hex(),
    ):
        httpx.get(deployment.url + path)
    text = scrape()
    ids = r"(?<![0-9a-fA-F.])[0-9a-fA-F]{16,}|0x"  # and not the digits of a fraction of a second
    assert re.findall(ids, text) == []
    assert len(set(re.findall(r'volens_requests_total\{route="([^"]*)"', text))) < 60
    assert set(re.findall(r'reason="([^"]*)"', text)) <= {
        reason.slug for reason in reasons().values()
    }


def test_what_a_damaged_table_does_not_tell_is_left_out(deployment) -> None:
    engine = open_database("sqlite://")
    for table in ("accesses", "marks"):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TABLE {table}")
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(replace(deployment.services, engine=engine)))
    text = generate_latest(registry).decode()
    assert "volens_queue_depth 0.0" in text
    assert "volens_gate_seconds_count" in text
    assert not [
        name for name in ("volens_refusals", "volens_revocation_stop_seconds") if name in text
    ]
    assert value(text, 'volens_part_up{part="database"}') == 0
    assert value(text, 'volens_part_up{part="broker"}') == 1


def test_only_this_machine_reads_metrics_and_the_api_has_no_such_endpoint(
    deployment, scrape
) -> None:
    assert httpx.get(f"{deployment.url}/metrics").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.2:{scrape.port}/metrics")
    with pytest.raises(OSError, match="in use"):
        metrics.serve(replace(deployment.services, metrics=Metrics()), "127.0.0.1", scrape.port)


def test_a_reading_makes_no_block_and_a_ledger_that_is_away_is_said_to_be(tmp_path) -> None:
    now = [1_790_000_100]
    node, writer = open_chain(tmp_path, find_anvil(), now[0] - 100, True, lambda: now[0])
    server = GatewayServer(0, node, writer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url, before = f"http://127.0.0.1:{server.server_port}", writer.head.number
    now[0] += 3600  # idle for long: whoever asks for the newest block gets a new one
    assert newest_block(url) == (before, writer.head.time)
    assert writer.head.number == before
    assert newest_block(url, renew=True) == (before + 1, now[0])
    server.shutdown()
    server.server_close()
    writer.close()
    node.stop()
    with pytest.raises(ChainError):
        newest_block(url)


def value(text: str, name: str) -> float:
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0
