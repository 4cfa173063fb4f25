"""Numbers with names are the contracts' own, the auditor's file has the same, and product code uses
the names.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from analytics import vocabulary as computed
from chain import vocabulary
from chain.artifacts import FOLDER
from chain.vocabulary import (
    Category,
    ConsentStatus,
    OutputClass,
    PermitStatus,
    Purpose,
    Reason,
    Role,
)
from governance import verify

ROOT = FOLDER.parent
ENUMS = {
    Role: ("interfaces/IPermitRegistry.sol", "Role"),
    PermitStatus: ("interfaces/IPermitRegistry.sol", "PermitStatus"),
    OutputClass: ("interfaces/IAccessLedger.sol", "OutputClass"),
}
# What holds one of these numbers, by the last word of its name. 0 is "nobody", "none" or "not
# refused" in all of them.
NAMED = {"role", "reason", "status", "category", "output_class", "outputClass"}


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: str(kind.__name__))
def test_an_enum_is_the_contracts(kind: type[Role]) -> None:
    file, name = ENUMS[kind]
    match = re.search(rf"enum {name} {{([^}}]*)}}", (FOLDER / file).read_text())
    assert match is not None
    words = [word.strip() for word in match[1].split(",")]
    assert words[0] == "None"
    renamed = {"DataProtection": "Protection"}
    assert [member.name for member in kind] == [
        renamed.get(word, word).upper() for word in words[1:]
    ]
    assert [int(member) for member in kind] == list(range(1, len(words)))


def test_reasons_are_the_contracts() -> None:
    source = (FOLDER / "Reasons.sol").read_text()
    codes = dict(re.findall(r"uint8 internal constant (\w+) = (\d+);", source))
    shorter = {"COHORT": "COHORT_MINIMUM"}
    assert codes
    assert {shorter.get(name, name): int(code) for name, code in codes.items()} == {
        Reason(int(code)).name: int(code) for code in codes.values()
    }


def test_masks_are_the_contracts() -> None:
    """Every named bit is one that the contracts allow; from 16 on purposes are a dataset's own."""
    source = (FOLDER / "Masks.sol").read_text()
    masks = {
        name: int(value, 16)
        for name, value in re.findall(r"constant (PURPOSES|CATEGORIES) = (0x[0-9a-f]+);", source)
    }
    assert masks["CATEGORIES"] == sum(1 << category for category in Category)
    local = sum(1 << bit for bit in range(16, 32))
    assert masks["PURPOSES"] == sum(1 << purpose for purpose in Purpose if purpose < 16) | local
    assert masks == {"PURPOSES": verify.PURPOSES, "CATEGORIES": verify.CATEGORIES}
    assert f"LIVE = uint256({int(ConsentStatus.LIVE)}) << 248" in source
    assert f"REVOKED = uint256({int(ConsentStatus.REVOKED)}) << 248" in source


def test_the_most_questions_are_the_contracts() -> None:
    permit = (FOLDER / "PermitRegistry.sol").read_text()
    assert f"MOST_QUESTIONS = {verify.PERMIT_QUESTIONS};" in permit
    dataset = (FOLDER / "Questions.sol").read_text()
    assert f"DATASET_QUESTIONS = {verify.DATASET_QUESTIONS};" in dataset
    assert f"MAX_MOVES = {verify.MAX_MOVES};" in (FOLDER / "AccessLedger.sol").read_text()


def test_the_auditors_file_has_the_same_numbers() -> None:
    for kind in (Role, PermitStatus):
        for member in kind:
            assert getattr(verify, member.name, int(member)) == member
    assert (verify.LIVE, verify.REVOKED) == (ConsentStatus.LIVE, ConsentStatus.REVOKED)
    assert max(Role) == verify.LAST_ROLE
    assert verify.CARE == 1 << Purpose.CARE
    assert verify.GENOMIC == OutputClass.GENOMIC
    assert verify.OUTPUT_CLASSES == (OutputClass.METRICS, OutputClass.TABLE, OutputClass.GENOMIC)


def test_a_computation_sees_the_same_numbers() -> None:
    for name in ("Category", "OutputClass"):
        both = (getattr(room, name) for room in (vocabulary, computed))
        first, second = ({item.name: int(item) for item in kind} for kind in both)
        assert first == second


def bare(source: str) -> list[int]:
    """Lines with a number instead of a name."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = any(word_of(side) in NAMED for side in sides)
            if named and any(is_number(part) for side in sides for part in parts(side)):
                lines.append(node.lineno)
        elif isinstance(node, ast.keyword) and node.arg in NAMED and is_number(node.value):
            lines.append(node.value.lineno)
        elif isinstance(node, ast.Dict):
            lines += [
                value.lineno
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value in NAMED and is_number(value)
            ]
        elif isinstance(node, ast.Call) and word_of(node.func) in ("Refusal", "BrokerRefused"):
            lines += [node.lineno for argument in node.args if is_number(argument)]
        elif isinstance(node, ast.FunctionDef) and gives_reasons(node):
            lines += [answer.lineno for answer in answers(node) if is_number(answer)]
    return lines


def gives_reasons(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "Reason" for node in ast.walk(function))


def answers(function: ast.FunctionDef) -> list[ast.expr]:
    """What the function may give back: also either side of an `or`, `and` or `if`."""
    given: list[ast.expr] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            given.append(node.value)
        elif isinstance(node, ast.BoolOp):
            given += node.values
        elif isinstance(node, ast.IfExp):
            given += [node.body, node.orelse]
    return given


def word_of(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return getattr(node, "attr", getattr(node, "id", ""))


def parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]


def is_number(node: ast.expr) -> bool:
    """From 100 on a status is one of HTTP."""
    return isinstance(node, ast.Constant) and type(node.value) is int and 0 < abs(node.value) < 100


def product_files() -> list[Path]:
    rooms = ("analytics", "api", "bench", "chain", "governance", "volens")
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def test_no_bare_number_of_the_contracts_in_product_code() -> None:
    bare_numbers = {
        str(path.relative_to(ROOT)): lines
        for path in product_files()
        if (lines := bare(path.read_text()))
    }
    assert bare_numbers == {}


@pytest.mark.parametrize(
    "planted",
    [
        "if caller.role == 8: pass",
        "if member['role'] in (7, 8): pass",
        "raise Refusal(70)",
        "world.seal(outputClass=3)",
        "message = {'role': 4}",
        "if 2 != permit.status: pass",
        "def reason(run):\n    return 61 if run.ended else Reason.CODE",
        "def reason(run):\n    return first(run.ended and 61, run.late and Reason.DEADLINE)",
    ],
)
def test_a_bare_number_is_seen(planted: str) -> None:
    assert bare(planted) == [1 + planted.count("\n")]
