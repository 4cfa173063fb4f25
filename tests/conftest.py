"""Real parts for every test: one dev chain a session, a fresh deployment where a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from road import Road

from api.demo.stage import World
from chain.devchain import DevChain
from governance.bucket import BucketProcess


@pytest.fixture(scope="session")
def devchain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevChain]:
    chain = DevChain.start(tmp_path_factory.mktemp("chain"))
    yield chain
    chain.stop()


@pytest.fixture
def world(devchain: DevChain) -> World:
    """A fresh deployment with everybody in their role and one dataset; the cohort floor is 3."""
    return World.create(devchain.url)


@pytest.fixture(scope="session")
def bucket_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketProcess]:
    bucket = BucketProcess.start(tmp_path_factory.mktemp("bucket"))
    yield bucket
    bucket.stop()


@pytest.fixture
def road(devchain: DevChain, bucket_process: BucketProcess, tmp_path: Path) -> Iterator[Road]:
    """Everything in one process: 12 willing people with two encrypted records each."""
    road = Road.build(tmp_path, devchain, bucket_process)
    yield road
    road.close()
