"""Real parts for every test: a dev chain a file, a fresh deployment where a test asks for one."""

from __future__ import annotations

import fcntl
import gc
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import extent
import httpx
import needs
import pytest
import structlog
import tiers
from rig import Rig
from speed import Watch

from api.demo.postgres import Postgres
from api.demo.stage import World
from chain.devnode.process import DevChain
from chain.errors import ChainError
from governance.objects.bucket_emulator import BucketProcess

MOST_BLOCKS = 300
_ALONE = pytest.StashKey[ExitStack]()  # the locks of tests that want to be alone
_WATCH = pytest.StashKey[tuple[Watch, float]]()
# The fixture `gse_result`, a run on real patients, takes half a minute.
RUN_ON_GSE7390 = {
    "tests/analytics/test_disclosure.py",
    "tests/analytics/test_disclosure_curves.py",
    "tests/analytics/test_run.py",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="campaigns in full, as in `make soak`")


def pytest_configure(config: pytest.Config) -> None:
    extent.choose(config.getoption("--whole"))
    config.option.loadscopereorder = False  # files in our order, not by their number of tests
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        config.stash[_WATCH] = Watch(every=20.0).__enter__(), time.monotonic()
    else:
        # Until all tests are collected here: an eighth of that time, and nothing of it is garbage.
        gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, or one process would work on the last of them while another waits.
    Before them those that want to be alone, one after the other, while no service of another runs.
    """
    tiers.mark(items)
    order = {file: number for number, file in enumerate(tiers.LONGEST)}
    items.sort(
        key=lambda item: (
            not _wants_to_be_alone(item),
            order.get(item.nodeid.partition("::")[0], len(order)),
        )
    )


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        system = "not system" not in session.config.getoption("markexpr")
        sentences = needs.lacking(session.config.args, system)
        if sentences:
            pytest.exit("\n".join(["The tests cannot begin.", *sentences]), returncode=2)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """How long the tests would have taken on the reference machine: the goal is said for that one."""
    if _WATCH in config.stash:
        watch, began = config.stash[_WATCH]
        minutes, slowness = (time.monotonic() - began) / 60, watch.slowness()
        terminalreporter.write_line(
            f"{minutes:.1f} minutes on a machine {slowness:.2f} times slower than the reference (tests/speed.py): "
            f"{minutes / slowness:.1f} minutes there"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """A test marked `alone` measures time or memory: while it runs, no other process of this test
    run does anything.

    Two locks, on folders that exist anyway. Every test takes the first for a moment and shares the
    second while it runs. A test that wants to be alone keeps the first and waits until the second
    is free; where the next one wants that too, both stay taken between them.
    """
    if not hasattr(item.config, "workerinput"):  # one process
        return (yield)
    first, second = Path(__file__).parent.parent, Path(__file__).parent
    if _wants_to_be_alone(item):
        if not item.config.stash.get(_ALONE, None):
            item.config.stash[_ALONE] = kept = ExitStack()
            kept.enter_context(_locked(first, fcntl.LOCK_EX))
            kept.enter_context(_locked(second, fcntl.LOCK_EX))
        try:
            return (yield)
        finally:
            if nextitem is None or not _wants_to_be_alone(nextitem):
                item.config.stash[_ALONE].close()
                del item.config.stash[_ALONE]
    with _locked(first, fcntl.LOCK_EX) as release, _locked(second, fcntl.LOCK_SH):
        release()
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `--numprocesses auto`: a process more than cores, since a third of the tests' time is
    spent waiting for services. At most five: each holds services of its own in memory.
    """
    return min(5, len(os.sched_getaffinity(0)) + 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests run in one process, and files that share what takes long to make do so too;
    all tests that want to be alone run in one.
    """
    from xdist.scheduler import LoadFileScheduling

    alone = tiers.marked_alone(Path(__file__).parent)

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.partition("[")[0] in alone:
                return "alone"
            file = super()._split_scope(nodeid)
            return "gse7390" if file in RUN_ON_GSE7390 else file

    return Together(config, log)


def _wants_to_be_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[Callable[[], None]]:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(handle, kind)
    try:
        yield lambda: fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        fcntl.flock(
            handle, fcntl.LOCK_UN
        )  # not left to the closing: a forked child may hold the handle too
        os.close(handle)


@pytest.fixture(scope="module", autouse=True)
def _settled_objects() -> None:
    """Python's collector leaves alone what is there before a file of tests: modules and collected
    tests stay anyway.

    It looks through all of them again and again otherwise: half a million objects, ten times what a
    test makes itself.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _no_log_of_another_file() -> Iterator[None]:
    """A test that starts a part in this process has it log to a stream that is closed after it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session", autouse=True)
def _certificates_once() -> Iterator[None]:
    """Tests call as anybody may, without a client kept: httpx then reads every authority's
    certificate each time.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context)
        )
        yield


class _Chains:
    """The chain of one file of tests after the other: a new one when the last has many blocks.

    The node hashes the whole state for each block, so that an old chain makes every test slower.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._chain: DevChain | None = None

    def take(self) -> DevChain:
        if self._chain is not None and self._blocks(self._chain) > MOST_BLOCKS:
            self.stop()
        if self._chain is None:
            self._chain = DevChain.start(self._folder())
        return self._chain

    def stop(self) -> None:
        if self._chain is not None:
            self._chain.stop()
            self._chain = None

    @staticmethod
    def _blocks(chain: DevChain) -> int:
        from chain.node import Node

        try:
            return int(Node(chain.url).call("eth_blockNumber", []), 16)
        except ChainError:  # a test ended it
            return MOST_BLOCKS + 1


@pytest.fixture(scope="session")
def _chains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Chains]:
    chains = _Chains(lambda: tmp_path_factory.mktemp("chain"))
    yield chains
    chains.stop()


@pytest.fixture(scope="module")
def devchain(_chains: _Chains) -> DevChain:
    """A development chain, which other files of tests may have used before."""
    return _chains.take()


@pytest.fixture
def world(devchain: DevChain) -> World:
    """A fresh deployment with everybody in their role and one dataset; the cohort floor is 3."""
    return World.create(devchain.url)


@pytest.fixture(scope="session")
def bucket_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketProcess]:
    bucket = BucketProcess.start(tmp_path_factory.mktemp("bucket"))
    yield bucket
    bucket.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres.start()
    yield server
    server.stop()


@pytest.fixture
def rig_people() -> int:
    """A file whose tests train nothing needs fewer, and says so with a fixture of this name."""
    return 24


@pytest.fixture
def rig(
    devchain: DevChain, bucket_process: BucketProcess, tmp_path: Path, rig_people: int
) -> Iterator[Rig]:
    """Everything in one process: willing people with two encrypted records each."""
    rig = Rig.build(tmp_path, devchain.url, bucket_process, rig_people)
    yield rig
    rig.close()
