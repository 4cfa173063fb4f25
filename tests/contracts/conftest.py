"""Compiles the contracts without their controls while other tests run: 80 seconds of one core,
once a source.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from removals import REMOVALS, Solc, compile_without

from chain.artifacts import Artifact

POOL, SOLC = ThreadPoolExecutor(1), Solc()
COMPILED: dict[str, Future[dict[str, Artifact]]] = {}


def _compile(control: str, kept: Path) -> dict[str, Artifact]:
    removal = next(candidate for candidate in REMOVALS if candidate.control == control)
    with tempfile.TemporaryDirectory() as folder:
        return compile_without(removal, Path(folder) / "contracts", kept, SOLC)


def pytest_collection_finish(session: pytest.Session) -> None:
    asked = [
        removal.control
        for removal in REMOVALS
        if any(item.name.endswith(f"[{removal.control}]") for item in session.items)
    ]
    kept = session.config.cache.mkdir("contracts-without-a-control")
    COMPILED.update({control: POOL.submit(_compile, control, kept) for control in asked})


def pytest_sessionfinish() -> None:
    POOL.shutdown(cancel_futures=True)
    SOLC.end()


@pytest.fixture
def compiled() -> Callable[[str], dict[str, Artifact]]:
    """The contracts without the control of this name."""
    return lambda control: COMPILED[control].result()
