"""Architecture: names, words, import directions, and tables that exist in two languages."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import grimp
import pytest

from governance import verify

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("contracts", "chain", "governance", "analytics", "api", "volens")
LINTED = (
    *ROOMS,
    "bench",
)  # the roots of the import rules: what measures the rooms stands above them
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEXTS = {".py", ".sol", ".js", ".json", ".md", ".toml", ".yml", ".html", ".css", ".txt", ""}
NOT_OURS = {"node_modules", "dist", "build", "artifacts", "__pycache__", "swagger-ui-bundle.js"}


def files(*folders: str, suffixes: set[str] = TEXTS) -> Iterator[Path]:
    """Our text files, without what was installed, generated or hidden (.ci is ours)."""
    for folder in folders or (".",):
        for path in everything():
            if path.suffix in suffixes and path.is_relative_to(ROOT / folder):
                yield path


@cache
def everything() -> tuple[Path, ...]:
    paths = []
    for folder, folders, names in os.walk(ROOT):
        # Not entered: what was installed has a hundred times as many files.
        folders[:] = [below for below in folders if below not in NOT_OURS and ours(below)]
        paths += [Path(folder) / name for name in names if ours(name) and name not in NOT_OURS]
    return tuple(sorted(paths))


def ours(name: str) -> bool:
    return not name.startswith(".") or name in {".ci", ".dockerignore"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for path in files(*folders, suffixes={".py"}):
        yield named(path), parsed(path)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def strip(source: str) -> str:
    """Solidity without comments, white space collapsed."""
    return " ".join(re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL).split())


# -- the house


def test_top_level_folders() -> None:
    folders = {
        path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")
    }
    folders -= NOT_OURS | {path.name for path in ROOT.glob("*.egg-info")}
    assert folders == {*ROOMS, "tests", "docs", "bench", "web"}
    for name in (
        "docker-compose.yml",
        "pyproject.toml",
        "README.md",
        "Makefile",
        "LICENSE",
        ".ci/run",
    ):
        assert (ROOT / name).is_file(), name


def test_every_module_says_its_responsibility() -> None:
    assert [name for name, tree in python(*ROOMS, "docs") if not ast.get_docstring(tree)] == []


def test_the_linter_sees_every_module() -> None:
    """A folder without `__init__.py` is invisible to import-linter, and no contract holds in it."""
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == set(LINTED)
    seen = set(grimp.build_graph(*LINTED, cache_dir=None).modules)
    ours = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name, _ in python(*LINTED)
    }
    assert ours == seen


def test_hardly_a_line_is_longer_than_a_hundred_characters() -> None:
    """The formatter leaves long texts and comments as they are; 120 is the linter's limit."""
    lines = [
        line
        for path in files(*ROOMS, "tests", "docs", "bench", suffixes={".py"})
        for line in path.read_text("utf-8").splitlines()
    ]
    assert sum(len(line) > 100 for line in lines) <= 0.005 * len(lines)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Nor for types alone: whoever reads one file of a circle has to read all of it."""
    graph = grimp.build_graph(*LINTED, cache_dir=None)
    in_order(graph)
    graph.add_import(importer="chain.events", imported="chain.ledger")
    with pytest.raises(CycleError):
        in_order(graph)


def in_order(graph: grimp.ImportGraph) -> None:
    """Raises CycleError, which names the modules of one circle."""
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()


def test_every_package_says_what_it_does_not_know() -> None:
    packages = {
        name: ast.get_docstring(tree) or ""
        for name, tree in python(*ROOMS)
        if name.endswith("/__init__.py")
    }
    assert len(packages) > len(ROOMS)
    assert [
        name for name, text in packages.items() if "not know" not in " ".join(text.split())
    ] == []


def test_names() -> None:
    vague = re.compile(r"util|helper|common|^core$|manager|handler|blockchain")
    names = [named(path) for path in files(*ROOMS, "tests", "docs", suffixes={".py", ".sol"})]
    assert [
        name
        for name in names
        if any(vague.search(part.lower()) for part in re.split(r"[/_.]", name))
    ] == []


def test_nothing_unfinished() -> None:
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|NotImplemented" r"Error)\b")
    assert [named(path) for path in files() if marks.search(path.read_text())] == []


def test_no_path_of_a_machine() -> None:
    """Neither where this checkout lies nor anybody's home: a clone works anywhere."""
    machine = re.compile(
        rf"{re.escape(str(ROOT))}\b|(?<![\w.:/])/(tmp|home|root|Users|mnt|opt)/[\w.-]+"
    )
    broken = {
        named(path): match[0] for path in files() if (match := machine.search(path.read_text()))
    }
    assert broken == {}


def test_lock_file_names_no_download_address() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in packages.items() if name)


def test_console_script() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="volens")
    assert script.value == PYPROJECT["project"]["scripts"]["volens"] == "api.cli:main"
    assert callable(script.load())


def test_tests_are_no_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


# -- what a reader is told


def test_decision_records_are_short() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [path.name[:4] for path in records] == [
        f"{number:04}" for number in range(1, len(records) + 1)
    ]
    assert {
        path.name: path.read_text().count("\n")
        for path in records
        if path.read_text().count("\n") > 40
    } == {}


# -- what the product may touch


READS = {"environ", "environb", "getenv", "getenvb"}


def reads_environment(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in READS:
            return True
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {a.name for a in node.names} & READS
        ):
            return True
    return False


def test_only_settings_reads_the_environment() -> None:
    assert {name for name, tree in python(*ROOMS) if reads_environment(tree)} <= {
        "api/operate/settings.py"
    }
    assert reads_environment(ast.parse("import os\nos.getenv('X')"))
    assert reads_environment(ast.parse("from os import environ"))


def modules_imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_file_format_that_runs_code() -> None:
    runs = {"pickle", "cPickle", "joblib", "dill", "marshal", "shelve", "cloudpickle"}
    broken = [
        (name, module)
        for name, tree in python(*ROOMS)
        for module in modules_imported(tree)
        if module.split(".")[0] in runs
    ]
    assert broken == []


def test_only_the_vault_opens_and_seals_objects() -> None:
    """A key and a ciphertext meet in one module; everybody else goes through `open_record` and
    `seal_records`.
    """
    secret = {"open_object", "seal_object"}
    users = set()
    for name, tree in python(*ROOMS):
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        used |= {module.rsplit(".")[-1] for module in modules_imported(tree)}
        if secret & used:
            users.add(name)
    assert users == {"governance/objects/vault.py"}


# -- one table, several languages


def test_reasons_are_the_contracts_constants() -> None:
    table = json.loads((ROOT / "contracts" / "reasons.json").read_text())
    names = {int(code): entry[0] for codes in table.values() for code, entry in codes.items()}
    assert len(names) == sum(map(len, table.values())), "a code stands twice"
    source = (ROOT / "contracts" / "Reasons.sol").read_text()
    constants = {
        int(code): name
        for name, code in re.findall(r"uint8 internal constant (\w+) = (\d+);", source)
    }
    assert set(constants) <= set(names)
    spelled = {code: name.lower().replace("_", "-") for code, name in constants.items()}
    assert {code: name for code, name in spelled.items() if not names[code].startswith(name)} == {}
    sources = "".join(path.read_text() for path in (ROOT / "contracts").glob("*.sol"))
    assert set(re.findall(r"Reasons\.([A-Z_]+)", sources)) == set(constants.values())


def typed_data() -> dict[str, Any]:
    return dict(json.loads((ROOT / "contracts" / "typed-data.json").read_text()))


OFF_THE_LEDGER = {"Identity", "SignIn", "Statement", "Witness"}


@pytest.mark.parametrize(
    "contract", ["PermitRegistry", "ConsentRegistry", "AccessLedger", "CareLedger"]
)
def test_typed_data_is_what_the_contracts_hash(contract: str) -> None:
    table = typed_data()
    strings = {
        f"{name}({','.join(f'{kind} {field}' for field, kind in table['types'][name])})"
        for name in table["contracts"][contract]
        if name not in OFF_THE_LEDGER
    }
    source = strip((ROOT / "contracts" / f"{contract}.sol").read_text())
    assert set(re.findall(r'keccak256\( ?"(\w+\([^"]*\))" ?\)', source)) == strings


def test_typed_data_is_what_the_auditor_hashes() -> None:
    table = typed_data()["types"]
    theirs = {
        name: fields.replace(", ", ",") for name, fields in verify.STRUCTS.items() if name in table
    }
    assert theirs == {
        name: ",".join(f"{kind} {field}" for field, kind in table[name]) for name in theirs
    }
    assert set(table) - set(theirs) <= {"SignIn", "Statement"}


def documented_kinds() -> dict[int, str]:
    rows = re.findall(
        r"^\| (\d+) \| (.+?) \| (.+?) \|", (ROOT / "docs" / "ledger.md").read_text(), re.MULTILINE
    )
    return {int(number): re.findall(r"`(\w+)`", events)[0] for number, _, events in rows}


def test_kinds_are_the_contracts_constants() -> None:
    kinds: dict[int, str] = {}
    for path in (ROOT / "contracts").glob("*.sol"):
        for name, number in re.findall(
            r"uint16 private constant (KIND_\w+) = (\d+);", path.read_text()
        ):
            assert int(number) not in kinds, f"kind {number} stands twice"
            kinds[int(number)] = name
    assert set(kinds) == set(documented_kinds())


def test_kinds_are_the_auditors() -> None:
    """Every step the replay can make, by the literal kind and event in its source."""
    tree = ast.parse((ROOT / "governance" / "verify.py").read_text())
    kinds = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "effect"
        ):
            kinds |= {n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)}
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "_batch"
        ):
            kinds |= {n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)}
        elif (
            isinstance(node, ast.Return)
            and isinstance(node.value, ast.Tuple)
            and len(node.value.elts) == 3
        ):
            kinds |= {n.value for n in ast.walk(node.value.elts[0]) if isinstance(n, ast.Constant)}
    assert {kind for kind in kinds if isinstance(kind, int) and kind} == set(documented_kinds())


# -- arrows between rooms

# contract: a module, and the line in it that must break the contract
BREAKS = {
    "layers": ("chain/errors.py", "import governance.rules.encoding"),
    "bench": ("analytics/evaluate.py", "import bench.races"),
    "analytics": ("analytics/cohort.py", "import socket"),
    "only-chain": ("governance/policy_of_a_day.py", "import urllib3"),
    "accounts": ("chain/transactor.py", "from eth_account import Account"),
    "web3": ("governance/objects/keys.py", "from chain.ledger import Ledger"),
    "only-governance": ("api/http/auth.py", "from sqlalchemy import select"),
    "only-analytics": ("governance/runs.py", "import sklearn"),
    "only-api": ("governance/consent.py", "from fastapi import Request"),
    "only-volens": ("api/client/progress.py", "import pandas"),
    "package": ("volens/run.py", "from api.worker.supervisor import Supervisor"),
    "envelopes": ("api/http/services.py", "from governance.objects.envelope import open_object"),
    "broker": ("governance/objects/keys.py", "import governance.readmodel.tables"),
    "clock": ("governance/readmodel/projectors.py", "import time"),
    "auditor": ("governance/rules/abi.py", "from chain.signatures import recover"),
    "joined": ("governance/consent.py", "import governance.verify"),
    "rooms-of-rules": ("governance/rules/encoding.py", "import governance.rules.abi"),
    "devnode": ("chain/ledger.py", "import chain.devnode.process"),
    "readers": ("analytics/readers/fhir.py", "import analytics.simulate.coverage"),
    "disclosure": ("analytics/disclosure/counts.py", "import analytics.models.boosting"),
    "demo": ("api/operate/doctor.py", "import api.demo.cast"),
    "worker": ("api/http/services.py", "import analytics.run"),
    "rooms-of-api": ("api/operate/settings.py", "import api.http.services"),
    "rooms-of-governance": ("governance/objects/vault.py", "import governance.readmodel.queries"),
}
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]


def lint(folder: Path, contract: str) -> tuple[int, str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache", "--contract", contract],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The rooms' Python and the configuration, to be spoiled."""
    for room in LINTED:
        for path in files(room, suffixes={".py"}):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_every_import_contract_is_broken_once() -> None:
    assert [contract["id"] for contract in CONTRACTS] == list(BREAKS)


@pytest.mark.parametrize("contract", BREAKS)
def test_each_import_contract_can_fail(contract: str, copy: Path) -> None:
    kept, output = lint(copy, contract)
    assert (kept, "1 kept, 0 broken" in output) == (0, True), output
    name, line = BREAKS[contract]
    path = copy / name
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    broken, output = lint(copy, contract)
    assert (broken, "0 kept, 1 broken" in output) == (1, True), output


def test_a_forbidden_import_is_seen_in_every_package(copy: Path) -> None:
    """In a file of its own that nobody listed, everywhere at once."""
    planted = {}
    for package in sorted(path.parent for path in copy.rglob("__init__.py")):
        if package.name == "bench":
            continue  # it plays the demo's people to measure them
        name = package.relative_to(copy).as_posix().replace("/", ".") + ".newcomer"
        contract = "demo" if name.startswith(("api.", "volens.")) else "layers"
        package.joinpath("newcomer.py").write_text("import api.demo.cast\n")
        planted[name] = contract
    output = {contract: lint(copy, contract)[1] for contract in ("demo", "layers")}
    del planted["api.demo.newcomer"], planted["api.demo.attacks.newcomer"]
    assert len(planted) > 10
    assert {
        name for name, contract in planted.items() if f"{name} ->" not in output[contract]
    } == set()


def test_the_broker_may_not_import_what_comes_later(copy: Path) -> None:
    """Its set is closed: a module that nobody listed is forbidden too."""
    (copy / "governance" / "newcomer.py").write_text("")
    with (copy / "governance" / "broker" / "custody.py").open("a") as file:
        file.write("\nimport governance.newcomer\n")
    assert lint(copy, "broker")[0] == 1


def test_continuous_integration_runs_the_three_targets() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100
    assert re.findall(r"^make (\w+)$", script.read_text(), re.MULTILINE) == [
        "test",
        "demo",
        "check",
    ]
    assert "set -euo pipefail" in script.read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "check", "fix", "serve", "clean", "help"} <= set(targets)
