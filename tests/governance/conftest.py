"""One story on a real chain, for the tests of what an auditor reads."""

import pytest
from narrated import Narrative

from api.demo.stage import World
from chain.devnode.process import DevChain


@pytest.fixture(scope="module")
def narrative(devchain: DevChain) -> Narrative:
    return Narrative(World.create(devchain.url))
