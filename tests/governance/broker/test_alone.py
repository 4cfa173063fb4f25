"""A broker that somebody starts by hand, on a machine of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from api.demo.stage import World
from governance.broker.custody import create

WHOLE = resource.getrlimit(resource.RLIMIT_CORE)[1]


def test_it_leaves_no_core_file_whatever_it_was_started_under(world: World, tmp_path: Path) -> None:
    """A core file would hold its keys."""
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
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (WHOLE, WHOLE)),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()  # it serves
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        assert next(line for line in limits if line.startswith("Max core")).split()[4:6] == [
            "0",
            "0",
        ]
    finally:
        process.kill()
        process.wait()
