"""A ledger without our gateway: anvil alone, on a genesis file."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from chain.besu import GAS_LIMIT
from chain.devnode.anvil import find_anvil
from chain.devnode.tether import tether

START_SECONDS = 30.0


@contextmanager
def plain_node(genesis: Path, *flags: str) -> Iterator[str]:
    """Its URL. anvil reads the file as it is, but for the gas limit, which it takes from a flag."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = [find_anvil(), "--init", str(genesis), "--port", str(port), "--accounts", "0"]
    argv += ["--gas-limit", str(GAS_LIMIT), *flags]
    url = f"http://127.0.0.1:{port}"
    with (genesis.parent / "anvil.log").open("wb") as log:
        node = subprocess.Popen(tether(argv), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            assert node.poll() is None, (genesis.parent / "anvil.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
    finally:
        node.kill()
        node.wait()


def _answers(url: str) -> bool:
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        return httpx.post(url, json=question).status_code == 200
    except httpx.TransportError:
        return False
