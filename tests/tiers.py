"""Three tiers of tests: pure ones, those on a development chain, and those on whole deployments
(system).

`make test` runs all of them, `make test-fast` the first two. A test's tier follows from the
fixtures that it asks for and from its file; nobody marks one by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

# Fixtures that start several services, a browser or a bucket, compute on all of the research data,
# or compile contracts without a control.
SYSTEM = {
    "browser",
    "bucket_process",
    "compiled",
    "deployment",
    "founders",
    "gse_result",
    "postgres",
    "rig",
    "served",
}
CHAIN = {"chain", "clocked", "devchain", "gateway", "guarded", "kept", "shared"}
# Files that start services, confined processes or long computations by themselves.
SYSTEM_FILES = {
    "tests/analytics/test_known_truth.py",
    "tests/analytics/test_noise.py",
    "tests/analytics/test_prediction.py",
    "tests/analytics/test_registry.py",
    "tests/api/cli/test_init.py",
    "tests/api/test_hostile_inputs.py",
    "tests/api/test_parser_sandbox.py",
    "tests/api/test_starting.py",
    "tests/test_bench.py",
    "tests/test_canaries.py",
    "tests/test_confinement.py",
    "tests/test_joining.py",
    "tests/test_kills.py",
    "tests/test_long_history.py",
    "tests/test_operating.py",
    "tests/test_plain_ledger.py",
    "tests/test_report.py",
    "tests/test_scenes.py",
    "tests/test_story.py",
    "tests/test_wheel.py",
}

# The files that take longest (--durations=0). They are started first.
LONGEST = (
    "tests/test_story.py",
    "tests/test_long_history.py",
    "tests/pages/test_protections.py",
    "tests/test_confinement.py",
    "tests/test_no_receipt_no_key.py",
    "tests/test_withdrawal.py",
    "tests/test_kills.py",
    "tests/pages/test_journeys.py",
    "tests/test_recovery.py",
    "tests/api/cli/test_ingest_files.py",
    "tests/api/test_hostile_inputs.py",
    "tests/test_worker.py",
    "tests/test_child_messages.py",
    "tests/test_bench.py",
    "tests/test_ray.py",
    "tests/test_operating.py",
    "tests/test_plain_ledger.py",
    "tests/test_several_workers.py",
    "tests/test_joining.py",
)


def marked_alone(tests: Path) -> frozenset[str]:
    """The functions marked `alone`, as "tests/file.py::name", by the files' text: whoever
    distributes tests over processes knows their names only.
    """
    return frozenset(
        f"{file.relative_to(tests.parent).as_posix()}::{function.name}"
        for file in tests.rglob("test_*.py")
        if "pytest.mark.alone" in (text := file.read_text())
        for function in ast.parse(text).body
        if isinstance(function, ast.FunctionDef)
        and any(ast.unparse(one) == "pytest.mark.alone" for one in function.decorator_list)
    )


def mark(items: Iterable[pytest.Item]) -> None:
    """Give each test the marker of its tier."""
    for item in items:
        item.add_marker(tier_of(item))


def tier_of(item: pytest.Item) -> str:
    """pure, chain or system."""
    fixtures = set(getattr(item, "fixturenames", ()))
    file = item.nodeid.partition("::")[0]
    if fixtures & SYSTEM or file in SYSTEM_FILES or file.startswith("tests/pages/"):
        return "system"
    if any(item.get_closest_marker(name) for name in ("alone", "campaign")):
        return "system"
    return "chain" if fixtures & CHAIN or file.startswith("tests/chain/") else "pure"
