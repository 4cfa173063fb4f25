"""A broker that somebody starts by hand, on a machine of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.demo.stage import World
from governance.broker.custody import create

LIMIT = resource.getrlimit(resource.RLIMIT_CORE)[1]


@pytest.fixture
def broker(world: World, tmp_path: Path) -> Iterator[int]:
    """The pid of a broker that serves."""
    create(tmp_path / "broker")
    (tmp_path / "identity.json").write_text(json.dumps(world.ledger.identity))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "governance.broker",
            "--folder",
            str(tmp_path / "broker"),
            "--node",
            str(world.ledger.node.url),
            "--identity",
            str(tmp_path / "identity.json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (LIMIT, LIMIT)),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_it_leaves_no_core_file_whatever_it_was_started_under(broker: int) -> None:
    """A core file would hold its keys."""
    limits = Path(f"/proc/{broker}/limits").read_text().splitlines()
    assert next(line for line in limits if line.startswith("Max core")).split()[4:6] == ["0", "0"]


def test_it_reads_the_ledger_without_web3(broker: int) -> None:
    """Seen from outside, by a compiled library that web3 brings."""
    assert "coincurve" in compiled_parts(broker)
    assert "aiohttp" not in compiled_parts(broker)
    program = "import web3; print('loaded', flush=True); input()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as control:
        assert control.stdout is not None
        assert control.stdout.readline()
        assert "aiohttp" in compiled_parts(control.pid)
        control.kill()


def compiled_parts(pid: int) -> set[str]:
    """The packages whose compiled libraries a process has loaded."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {
        line.split("site-packages/")[1].split("/")[0] for line in lines if "site-packages/" in line
    }
