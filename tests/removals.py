"""The controls that are taken out of the contracts one at a time, and the contracts without them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from chain.artifacts import FOLDER, Artifact, compile_all


@dataclass(frozen=True)
class Removal:
    control: str
    file: str
    edits: tuple[tuple[str, str], ...]
    attacks: tuple[str, ...]


REMOVALS = [
    Removal(
        "worker role",
        "AccessLedger.sol",
        (
            (
                "if (_permits.roleOf(worker).role != Role.Worker) revert IPermitRegistry.NotLive(worker, Role.Worker);",
                "",
            ),
            ("if (!_permits.isLive(worker, Role.Worker)) return Reasons.WORKER_ROLE;", ""),
        ),
        ("a worker key of the relay's own under a live permit",),
    ),
    Removal(
        "epoch equality",
        "AccessLedger.sol",
        (("if (slots[i].epochOf() != epochs[i]) return (subjects[i], Reasons.CONSENT_CHANGED);", ""),),
        ("a release after a revocation and a new grant",),
    ),
    Removal(
        "replaced version",
        "ConsentRegistry.sol",
        (("if (g.replaces != old.versionOf()) return VersionStale.selector;", ""),),
        ("a grant that replaces a version there never was", "a withheld wide grant after a narrow one"),
    ),
    Removal(
        "release re-read",
        "AccessLedger.sol",
        (("= _releaseReason(run.permit, subjects, epochs);", "= (bytes32(0), uint8(0));"),),
        ("a release after a revocation",),
    ),
    Removal(
        "budget of per-variant statistics",
        "Budget.sol",
        (("if (total > BUDGET) revert IAccessLedger.BudgetSpent(_spent[dataset], asked);", ""),),
        (
            "per-variant statistics beyond what the people bear",
            "a budget of variants spent twice by outputs sealed side by side",
        ),
    ),
    Removal(
        "no model file",
        "AccessLedger.sol",
        (("|| s.outputClass == OutputClass.Model", ""),),
        ("a model file sealed for release",),
    ),
    Removal(
        "subjects hash",
        "AccessLedger.sol",
        (("if (given != b.subjectsHash) revert ListMismatch(given, b.subjectsHash);", ""),),
        ("a shortened subject list", "a padded subject list"),
    ),
    Removal(
        "low-s",
        "Typed.sol",
        (
            (
                "(signer,,) = ECDSA.tryRecoverCalldata(_hashTypedDataV4(structHash), signature);",
                "(uint8 v, bytes32 r, bytes32 s) ="
                " (uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64]));"
                "signer = ecrecover(_hashTypedDataV4(structHash), v, r, s);",
            ),
        ),
        ("the high-s twin of a signature",),
    ),
]


def compile_without(removal: Removal, copy: Path) -> dict[str, Artifact]:
    """The contracts as they are without the control."""
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("artifacts", "__pycache__"))
    source = (copy / removal.file).read_text()
    for before, after in removal.edits:
        assert source.count(before) == 1, "the control moved: mend this table"
        source = source.replace(before, after)
    (copy / removal.file).write_text(source)
    return {
        name: Artifact(name, raw["abi"], bytes.fromhex(raw["bytecode"]), raw["sourceHash"])
        for name, raw in compile_all(FOLDER.parent / "node_modules", copy).items()
    }
