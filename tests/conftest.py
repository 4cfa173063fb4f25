"""Real parts for every test: one dev chain a session, a fresh deployment where a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.demo.stage import World
from chain.devchain import DevChain


@pytest.fixture(scope="session")
def devchain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevChain]:
    chain = DevChain.start(tmp_path_factory.mktemp("chain"))
    yield chain
    chain.stop()


@pytest.fixture
def world(devchain: DevChain) -> World:
    """A fresh deployment with everybody in their role and one dataset; the cohort floor is 3."""
    return World.create(devchain.url)
