"""One story on a real chain, for the tests of what an auditor reads."""

import pytest
from narrated import Told

from api.demo.stage import World
from chain.devnode.process import DevChain


@pytest.fixture(scope="module")
def told(devchain: DevChain) -> Told:
    return Told(World.create(devchain.url))
