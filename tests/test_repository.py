"""The repository: licences, words, vectors, the index of threats, and no Node where none is needed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from tiers import LONG, LONGEST, marked_alone

from chain import artifacts
from governance import verify

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    """docs/generate.py as `make check` starts it: with its folder on the path."""
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "docs"))


# -- third parties (which licences may come in: test_licences.py)


def test_make_check_runs_the_comparison() -> None:
    recipe = (ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0]
    for command in (
        "ruff check .",
        "ruff format --check --quiet .",
        "/mypy",
        "lint-imports --no-logo",
        "-m chain.artifacts --check",
        "docs/generate.py --check",
    ):
        assert f"{command}\n" in recipe
    assert "|| true" not in recipe
    assert "\t-" not in recipe


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (
            lambda text: text.replace(
                "| `requests` | Apache-2.0 |", "| `requests` | Apache-2.0 AND MIT |"
            ),
            True,
        ),
        (lambda text: re.sub(r"(`requests` .*\| )http\S+", r"\1https://example.org", text), True),
        (
            lambda text: text.replace(
                "\n| `attrs`", "\n| `asgiref` | BSD | https://example.org |\n| `attrs`"
            ),
            True,
        ),
        (
            lambda text: text.replace(
                "| `requests` | Apache-2.0 |", "| `requests` | GPL-3.0-only |"
            ),
            False,
        ),
        (lambda text: re.sub(r"\| `attrs` .*\n", "", text), False),
        (lambda text: re.sub(r"\| `rlp` .*\n", "", text), False),
        (
            lambda text: text.replace(
                "\n| `rlp`", "\n| `rlq` | MIT | https://example.org |\n| `rlp`"
            ),
            False,
        ),
        (lambda text: text.replace("| `semver` | ISC |", "| `semver` | MIT |"), False),
        (lambda text: text.replace("https://htmx.org", "https://example.org"), False),
        (lambda text: text.replace("GPL and AGPL", "AGPL"), False),
    ],
    ids=[
        "a release says its licence longer",
        "a home page moved",
        "another Python brings one more",
        "another licence",
        "one brought is missing",
        "one named is missing",
        "one too many is named",
        "npm",
        "browser",
        "a sentence",
    ],
)
def test_only_what_a_release_may_reword_is_let_pass(
    generate: ModuleType, edit: Callable[[str], str], same: bool
) -> None:
    text = (ROOT / "THIRD_PARTY.md").read_text()
    edited = edit(text)
    assert edited != text
    assert generate.third_party.says_the_same(edited, generate.write_third_party()) is same


def test_third_parties_name_no_version_and_no_download() -> None:
    text = (ROOT / "THIRD_PARTY.md").read_text()
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) > 60
    assert [row for row in rows if not row[2].startswith("http")] == []
    assert re.findall(r"\.whl|\.tar\.gz|\.tgz|/simple/|files\.|==\d", text) == []


# -- node where the system has none


def real_node() -> str:
    """The one that make uses on this machine."""
    beside = ROOT / ".venv" / "bin" / "node"
    return str(beside) if beside.exists() else str(shutil.which("node"))


def hide_node(folder: Path) -> str:
    """A PATH with what a shell and make need, and no node."""
    folder.mkdir()
    for name in ("sh", "dirname", "env", "touch", "ln", "make", "mkdir", "cat"):
        installed = shutil.which(name)
        assert installed is not None
        (folder / name).symlink_to(installed)
    return str(folder)


def test_the_compiler_finds_the_node_that_make_put_beside_python(tmp_path: Path) -> None:
    path, node = hide_node(tmp_path / "bin"), real_node()
    shutil.copytree(ROOT / "chain" / "solc", tmp_path / "chain" / "solc")
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    command = [str(tmp_path / "chain" / "solc" / "solc-v0.8.37"), "--version"]

    def ask() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={"PATH": path}, capture_output=True, text=True, check=False
        )

    assert ask().returncode == 127  # there is none at all
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "node").symlink_to(node)
    assert "Version: 0.8.37+commit" in ask().stdout


@pytest.mark.parametrize(
    ("system", "fits"), [(None, False), ("18.20.4", False), ("20.0.0", True), ("100.1.0", True)]
)
def test_make_takes_node_from_the_wheel_only_where_it_must(
    tmp_path: Path, system: str | None, fits: bool
) -> None:
    """With stand-ins for pip and npm that write down how they were called, and a node that says
    another version.
    """
    path, calls = hide_node(tmp_path / "bin"), tmp_path / "said"
    wheel = tmp_path / "wheel"

    def program(file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    if system:
        says = "Object.defineProperty(process.versions, 'node', {value: process.argv[1]}); eval(process.argv[2])"
        program(tmp_path / "bin" / "node", f'exec "{real_node()}" -e "{says}" {system} "$2"')
        program(tmp_path / "bin" / "npm", f'echo "system npm $*" >> {calls}')
    program(wheel / "bin" / "node", "exit 0")
    program(
        wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
        f'echo "wheel npm $*" >> {calls}',
    )
    program(
        tmp_path / ".venv" / "bin" / "python",
        f'[ "$1" = -c ] && echo {wheel} || echo "python $*" >> {calls}',
    )
    for name in ("Makefile", "pyproject.toml", "package.json", "package-lock.json"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in (".demo", ".done"):
        (tmp_path / ".venv" / name).touch()
    (tmp_path / "node_modules").mkdir()
    done = subprocess.run(
        ["make", "install"],
        cwd=tmp_path,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = calls.read_text().splitlines()
    if fits:
        assert lines == ["system npm ci --no-audit --no-fund --loglevel=error"]
    else:
        assert "no node 20" in done.stdout
        assert "--editable .[node]" in lines[0]
        assert lines[1:] == ["wheel npm ci --no-audit --no-fund --loglevel=error"]
        assert os.readlink(tmp_path / ".venv" / "bin" / "node") == str(wheel / "bin" / "node")


# -- generated documents


def test_a_stale_document_is_named(
    generate: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is committed is fresh; of each document an edited copy is not, nor is a picture of
    another demo.
    """
    recording = tmp_path / "terminal.svg"
    recording.write_text((ROOT / generate.PICTURE).read_text())
    monkeypatch.setattr(generate, "RECORDING", recording)
    assert generate.main(["--check"]) == 0
    generate.main([], tmp_path)
    edits = {
        "docs/reasons.md": ("revoked", "gone"),
        "docs/run-states.md": ("queued", "waiting"),
        "docs/ledger.md": ("| `Vote` | PermitRegistry | `92", "| `Vote` | PermitRegistry | `93"),
        "docs/threats.md": ("the rules by itself", "nothing"),
        "THIRD_PARTY.md": ("| `rich` | MIT |", "| `rich` | GPL |"),
        "governance/rules/tables.py": ("uint32 epoch", "uint64 epoch"),
        "governance/verify.py": ("PARTLY = 0, 7", "PARTLY = 0, 8"),
        "chain/vocabulary.py": ("AUDITOR = 8", "AUDITOR = 7"),
        "analytics/vocabulary.py": ("GENOMIC = 3", "GENOMIC = 4"),
        "analytics/params-schema.json": ('"forest"', '"tree"'),
        "analytics/care/rules/index.json": ('"US"', '"CH"'),
        "docs/reference/care-rules.md": ("# Rules of care plans", "# Thoughts"),
        "README.md": ("of `verify.py`: `", "of `verify.py`: `" + "0" * 64 + "` not `"),
        "docs/guide/analyst.md": ("fits `boosting`, ", "fits "),
        "CHANGELOG.md": ("of `verify.py`: `", "of `verify.py`: `" + "0" * 64 + "` not `"),
        "docs/guide/notebook.md": ("## Rehearse", "## Try"),
        "docs/guide/auditor.md": ("of `verify.py`: `", "of `verify.py`: `" + "0" * 64 + "` not `"),
        "docs/reference/cli.md": ("## `volens verify`", "## `volens check`"),
        "docs/reference/settings.md": ("`VOLENS_HOME`", "`VOLENS_HOUSE`"),
        "docs/reference/api.md": ("| `/identity` |", "| `/name` |"),
        "docs/reference/parameters.md": ("`genes.keep`", "`genes.hold`"),
        "docs/decisions/README.md": ("# Decisions", "# Thoughts"),
        "docs/reference/limits.md": ("# Table of limits", "# Thoughts"),
        "docs/reference/modules.md": ("# Modules", "# Thoughts"),
        generate.PICTURE: (">REFUSED<", ">GRANTED<"),
    }
    assert set(edits) == {*generate.DOCUMENTS, generate.PICTURE}
    for name, (before, after) in edits.items():
        path = tmp_path / name
        fresh = path.read_text()
        path.write_text(fresh.replace(before, after))
        assert path.read_text() != fresh
    capsys.readouterr()
    assert generate.main(["--check"], tmp_path) == 1
    assert (
        f"stale: {', '.join([*generate.DOCUMENTS, generate.PICTURE])};" in capsys.readouterr().err
    )


def test_a_link_or_a_document_that_is_missing_is_named(
    generate: ModuleType, tmp_path: Path
) -> None:
    import links

    assert links.missing() == []
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "here.md").write_text("[there](there.md), [here](#top), [web](https://a.b)")
    (tmp_path / "parts.md").write_text(
        '# Top\n## What `it` does: a, b\n## Top\n<a id="own"></a>\n```\n# No heading\n```\n'
        "[1](#top) [2](parts.md#what-it-does-a-b) [3](#top-1) [4](#own) [5](#no-heading) [6](code.py#L1)"
        " [7](parts.md#gone)"
    )
    (tmp_path / "code.py").write_text('"""See design.md, and plan.md of the user."""')
    assert links.missing(tmp_path) == [
        "code.py names design.md, which does not exist",
        "here.md links to there.md, which does not exist",
        "here.md links to #top, and there is no such heading",
        "here.md names there.md, which does not exist",
        "parts.md links to #no-heading, and there is no such heading",
        "parts.md links to parts.md#gone, and there is no such heading",
    ]


def test_the_functions_that_explanations_name_exist() -> None:
    """Tables of docs/explain: `function` in `file`, and `module.function` of analytics."""
    explained = ROOT / "docs" / "explain"
    cells = re.findall(
        r"(?m)^\| (`[^|]*) \| `([\w/]+\.py)` \|", (explained / "how-it-works.md").read_text()
    )
    rows = [(name, file) for cell, file in cells for name in re.findall(r"`([\w.]+)`", cell)]
    for module, name in re.findall(r"`(\w+)\.(\w+)`", (explained / "disclosure.md").read_text()):
        if name != "py":
            inside = f"analytics/disclosure/{module}.py"
            rows.append((name, inside if (ROOT / inside).exists() else f"analytics/{module}.py"))
    assert len(rows) >= 30
    for name, file in rows:
        defined = rf"def {name.rpartition('.')[2]}\("
        assert re.search(defined, (ROOT / file).read_text()), f"{name} is not in {file}"


def test_a_threat_without_its_test_is_named(generate: ModuleType, tmp_path: Path) -> None:
    assert generate.threats.missing() == []
    text = (ROOT / "docs" / "threats.toml").read_text()
    for before, after, fragment in [
        (
            "::test_a_lease_that_is_over",
            "::test_a_lease_that_was_over",
            "names a test that does not exist",
        ),
        ("[LastQuorum]", "[LostQuorum]", "names a test that does not exist"),
        (
            "tests/test_worker.py::test_what",
            "tests/test_workers.py::test_what",
            "names a test that does not exist",
        ),
        ('id = "K4"', 'id = "K3"', "stands twice"),
        (
            'tests = ["tests/test_architecture.py::test_no_file_format_that_runs_code"]',
            "tests = []",
            "names no test",
        ),
    ]:
        assert text.count(before) >= 1
        source = tmp_path / "threats.toml"
        source.write_text(text.replace(before, after, 1))
        (sentence,) = generate.threats.missing(source)
        assert fragment in sentence


def test_every_threat_is_in_the_index(generate: ModuleType) -> None:
    """The whole list: what stands against each, or why nothing does yet."""
    expected = (
        {f"R{n}" for n in range(1, 19)}
        | {f"L{n}" for n in range(1, 21)}
        | {f"K{n}" for n in range(1, 8)}
        | {f"I{n}" for n in range(1, 50)}
    )
    rows = re.findall(
        r"^\| ([RLKI]\d+(?:, [RLKI]\d+)*) \|",
        (ROOT / "docs" / "threats.md").read_text(),
        re.MULTILINE,
    )
    assert {name for row in rows for name in row.split(", ")} == expected


def plain(tag: str, *fields: bytes | str | int) -> bytes:
    """docs/ledger.md's canonical form, written once more."""
    out = b""
    for field in (tag, *fields):
        data = (
            field.to_bytes(8, "big")
            if isinstance(field, int)
            else unicodedata.normalize("NFC", field).encode()
            if isinstance(field, str)
            else field
        )
        out += len(data).to_bytes(4, "big") + data
    return out


def hashed(data: bytes) -> bytes:
    return sha256(data).digest()


def n32(byte: int) -> bytes:
    return bytes([byte]) * 32


def by_other_means() -> list[bytes]:
    """The table's values from eth-abi, hashlib and json, in its order."""
    account = bytes(range(1, 21))
    body = hashed(encode(["bytes32", "bytes32", "uint32"], [n32(3), n32(4), 2]))
    slot = sum(
        value << shift
        for value, shift in [
            (1, 248),
            (2, 216),
            (3, 192),
            (20_000, 168),
            (20_730, 144),
            (0x44, 112),
            (3, 80),
        ]
    )
    contracts = [
        part for at in range(1, 6) for part in (at.to_bytes(20, "big"), at.to_bytes(32, "big"))
    ]
    identity = plain(
        "volens/ledger/3",
        31337,
        n32(0x11),
        5,
        n32(0xAB),
        *contracts,
        2,
        10,
        86_400,
        172_800,
        3,
        *(at.to_bytes(20, "big") for at in (7, 8, 9)),
    )
    agreed = [31337, n32(0x11), n32(0xAB), *(f"0x{at:040x}" for at in range(1, 6))]
    agreed += [2, 10, 86_400, 172_800, *(f"0x{at:040x}" for at in (7, 8, 9))]
    kinds = ["uint256", "bytes32", "bytes32", *["address"] * 5, *["uint256"] * 4, *["address"] * 3]
    origin = hashed(encode(kinds, agreed))
    leaf = hashed(plain("volens/leaf/1", n32(5), n32(2), n32(3), n32(4), 16, 1, n32(6), n32(7)))
    return [
        encode(
            ["uint8", "address", "bytes4", "bytes32"],
            [1, account, bytes.fromhex("aabbccdd"), n32(2)],
        ),
        body,
        origin,
        hashed(
            encode(
                ["bytes32", "address", "uint16", "uint256", "uint256", "bytes32", "bytes32"],
                [origin, account, 18, 77, 1_700_000_000, hashed(b"{}"), body],
            )
        ),
        slot.to_bytes(32, "big"),
        (5 << 56 | 2 << 24 | 3).to_bytes(32, "big"),
        hashed(encode(["address", "uint256"], [account, 9])),
        plain("t", "é", 258, n32(1)),
        json.dumps({"a": "é", "b": [1, True]}, ensure_ascii=False, separators=(",", ":")).encode(),
        hashed(identity),
        hashed(plain("volens/record/1", n32(4), n32(3), 16, 0)),
        leaf,
        hashed(leaf),
        hashed(b"volens-kc" + n32(8)),
        hashed(plain("volens/output/1", n32(1), 1, hashed(b"{}"), n32(9))),
        hashed(plain("volens/disclosure/1", n32(1), 1, hashed(b"{}"), n32(9))),
    ]


def test_vectors_are_what_other_libraries_make() -> None:
    section = (ROOT / "docs" / "ledger.md").read_text().split("\n## Vectors\n")[1]
    values, signed = section.split("\nSigned by")
    listed = [
        bytes.fromhex(value) for value in re.findall(r"\| `([0-9a-f]+)` \|$", values, re.MULTILINE)
    ]
    assert listed == by_other_means()
    table = json.loads((ROOT / "contracts" / "typed-data.json").read_text())
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `([0-9a-f]{130})` \|$", signed, re.MULTILINE)
    assert [kind for kind, _, _ in rows] == list(table["types"])
    made: dict[str, Callable[[int], Any]] = {
        "address": lambda at: f"0x{at:040x}",
        "bytes32": n32,
        "bytes": lambda at: bytes([at]) * 20,
        "bool": lambda at: True,
        "string": str,
    }
    places = {"PermitRegistry": 2, "ConsentRegistry": 3, "AccessLedger": 4, "CareLedger": 5}
    for kind, contract, signature in rows:
        fields = table["types"][kind]
        message = {
            name: made[type_](at) if type_ in made else at
            for at, (name, type_) in enumerate(fields, 1)
        }
        domain = {
            "name": "volens",
            "version": "1",
            "chainId": 31337,
            "salt": n32(0xAB),
            "verifyingContract": f"0x{places[contract]:040x}",
        }
        signable = encode_typed_data(
            domain, {kind: [{"name": name, "type": type_} for name, type_ in fields]}, message
        )
        assert kind in table["contracts"][contract]
        assert (
            Account.recover_message(signable, signature=signature)
            == Account.from_key(n32(7)).address
        )


def test_an_edited_artifact_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make check` compiles again and names what differs, and only that.

    Two tiny contracts, so that it is quick.
    """
    for name in ("One", "Two"):
        (tmp_path / f"{name}.sol").write_text(
            f"// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\ncontract {name} {{}}\n"
        )
    monkeypatch.setattr(artifacts, "CONTRACTS", ("One", "Two"))
    assert artifacts.main([], tmp_path) == 0
    path = tmp_path / "artifacts" / "Two.json"
    fresh = path.read_text()
    path.write_text(fresh.replace('"bytecode": "60', '"bytecode": "61'))
    assert path.read_text() != fresh
    assert artifacts.main(["--check"], tmp_path) == 1
    assert "stale artifacts: Two;" in capsys.readouterr().out


def test_the_longest_files_of_tests_exist() -> None:
    assert [file for file in LONGEST if not (ROOT / file).is_file()] == []


def test_the_long_tests_exist() -> None:
    """A renamed one would come back into `make test` unseen."""
    for name in LONG:
        file, _, function = name.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text() or not function, name


def test_every_test_that_wants_to_be_alone_is_known_by_its_name() -> None:
    """Also one that is no plain function, or the others would wait for it."""
    marks = sum(
        file.read_text().count("@pytest.mark.alone") for file in (ROOT / "tests").rglob("test_*.py")
    )
    assert len(marked_alone(ROOT / "tests")) == marks - 1  # this file names it once


def test_a_missing_compiler_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(artifacts, "SOLC", tmp_path / "gone")
    assert artifacts.main(["--check"]) == 1
    error = capsys.readouterr().err
    assert (
        error == "the compiler did not start: node or its package solc is missing; "
        "run `make clean install`, which brings both\n"
    )


# -- the contracts hold no back door


PUSH_1, PUSH_32, CALLCODE, DELEGATECALL, SELFDESTRUCT = 0x60, 0x7F, 0xF2, 0xF4, 0xFF


def opcodes(code: bytes) -> Iterator[int]:
    """The instructions of runtime code; what follows a push is data."""
    at = 0
    while at < len(code):
        yield code[at]
        at += 1 + (code[at] - PUSH_1 + 1 if PUSH_1 <= code[at] <= PUSH_32 else 0)


def test_no_contract_has_a_back_door() -> None:
    """No code of others runs in their place, none ends, and each change of a consent takes a
    signature.
    """
    assert list(opcodes(bytes([0x60, 0xF4, 0xF4]))) == [PUSH_1, DELEGATECALL]
    for name in artifacts.CONTRACTS:
        assert not {CALLCODE, DELEGATECALL, SELFDESTRUCT} & set(
            opcodes(artifacts.load(name).bytecode)
        ), name
    # These calls change anything, and no other: the auditor's file executes each of them again.
    calls = {
        f"{name}.{entry['name']}"
        for name in artifacts.CONTRACTS
        for entry in artifacts.load(name).abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    assert calls - {"Trail.append"} == {
        ".".join(call.split(" ")[:2]) for call in verify.CALLS.values()
    }
    changes = {}
    for entry in artifacts.load("ConsentRegistry").abi:
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure"):
            parts = [
                *entry["inputs"],
                *(part for item in entry["inputs"] for part in item.get("components", ())),
            ]
            changes[entry["name"]] = [part["name"] for part in parts if "ignature" in part["name"]]
    assert changes == {
        "enrol": ["registrarSignature", "signerSignature"],
        "grant": ["signature"],
        "revoke": ["signature"],
    }


# -- words


PROMISES = re.compile(
    r"(HIPAA|GDPR)[- ]compliant|\banonymous(ly)?\b|\bimmutabl[ey]\b|not a medical device",
    re.IGNORECASE,
)


def read_by_people() -> Iterator[tuple[str, str]]:
    """Whatever somebody reads: documents, pages, scripts, what the commands and messages say,
    comments left out.
    """
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "docs").glob("*.toml"),
        ROOT / "docker-compose.yml",
        ROOT / "Makefile",
        ROOT / ".ci" / "run",
    ]:
        yield path.relative_to(ROOT).as_posix(), path.read_text()
    for room in ("contracts", "chain", "governance", "analytics", "api", "volens", "bench", "web"):
        for path in sorted((ROOT / room).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if (
                {"artifacts", "node_modules"} & set(path.parts)
                or path.name.endswith(".min.js")
                or path.name.startswith("swagger-ui")
            ):
                continue
            if path.suffix in {".html", ".js", ".json", ".svg", ".css", ".md"}:
                yield name, path.read_text()
            elif path.suffix == ".py":
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        yield f"{name}:{node.lineno}", node.value
    yield from help_of_all()


def help_of_all() -> Iterator[tuple[str, str]]:
    from typer.main import get_command

    from api.cli.root import app

    yield from help_of("volens", get_command(app))


def help_of(name: str, command: Any) -> Iterator[tuple[str, str]]:
    """What --help says of a command, its options and those below it."""
    options = [getattr(parameter, "help", None) or "" for parameter in command.params]
    yield name, "\n".join([command.help or "", command.epilog or "", *options])
    for inner, below in getattr(command, "commands", {}).items():
        yield from help_of(f"{name} {inner}", below)


def test_no_text_promises_too_much() -> None:
    texts = dict(read_by_people())
    for seen in (
        "README.md",
        "SECURITY.md",
        "docs/threats.md",
        "api/pages/templates/me.html",
        "api/pages/static/sign.js",
        "api/demo/templates/report.html",
        "contracts/reasons.json",
        "analytics/params-schema.json",
        "analytics/care/rules/olaparib-breast-cancer.json",
        "volens consent grant",
    ):
        assert seen in texts
    assert {
        name: match[0] for name, text in texts.items() if (match := PROMISES.search(text))
    } == {}


@pytest.mark.parametrize(
    "text",
    [
        "a HIPAA-compliant store",
        "GDPR compliant",
        "fully Anonymous data",
        "immutably kept",
        "This is not a medical device.",
    ],
)
def test_each_word_is_found(text: str) -> None:
    assert PROMISES.search(text)


# What nobody may learn too late (each in its own words; one part is enough to find it).
LIMITS = [
    r"worker('s host)? sees plaintext",
    r"root on (a|one) machine",
    r"one (key )?broker holds all",
    r"(one|a) development (node|chain) is (not decentralised|one unsealed node)",
    r"released result cannot be recalled",
    r"registrar together with the operator",
]


@pytest.mark.parametrize("name", ["docs/explain/limits.md", "SECURITY.md"])
def test_the_limits_are_said(name: str) -> None:
    text = " ".join((ROOT / name).read_text().split())
    assert [limit for limit in LIMITS if not re.search(limit, text, re.IGNORECASE)] == []


def test_what_security_says_about_reporting() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "How to report",
        "Supported versions",
        "What is defended",
        "What is not",
    ]
    assert len(text.splitlines()) <= 60


def test_the_auditors_reading_order_has_each_module_of_the_program() -> None:
    guide = (ROOT / "docs/guide/auditor.md").read_text()
    rows = re.findall(r"^\| \d+ \| [● ]*\| (.+?) \|", guide, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)\.py`", row)]
    modules = {path.stem for path in (ROOT / "governance" / "rules").glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(modules)


def test_a_line_that_is_not_formatted_says_why() -> None:
    for room in ("analytics", "api", "bench", "chain", "docs", "governance", "tests"):
        for path in (ROOT / room).rglob("*.py"):
            if "node_modules" not in path.parts and path.name != "test_repository.py":
                for line in path.read_text().splitlines():
                    # In this order: with words after it, the formatter does not see it.
                    says_why = re.search(r"#  ?\w.*# fmt: skip$", line)
                    assert says_why or "fmt: skip" not in line, (path, line)
