"""A control that can be taken out without an attack getting through is no control: each is taken out once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import chain.ledger
from api.demo.attacks import TABLE, high_s, outcome
from api.demo.stage import World
from chain.artifacts import FOLDER, Artifact, compile_all, load
from chain.devchain import DevChain

ATTACKS = {attack.name: attack for attack in TABLE}


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


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Removal], None]:
    """Deployments made after this call lack the control."""

    def remove(removal: Removal) -> None:
        copy = tmp_path / "contracts"
        shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("artifacts", "__pycache__"))
        source = (copy / removal.file).read_text()
        for before, after in removal.edits:
            assert source.count(before) == 1, "the control moved: mend this table"
            source = source.replace(before, after)
        (copy / removal.file).write_text(source)
        compiled = compile_all(FOLDER.parent / "node_modules", copy)
        changed = {
            name: Artifact(name, raw["abi"], bytes.fromhex(raw["bytecode"]), raw["sourceHash"])
            for name, raw in compiled.items()
        }
        assert any(changed[name].bytecode != load(name).bytecode for name in changed)
        monkeypatch.setattr(chain.ledger, "load", changed.__getitem__)

    return remove


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda r: r.control)
def test_without_the_control_the_attack_gets_through(
    devchain: DevChain, without: Callable[[Removal], None], removal: Removal
) -> None:
    without(removal)
    world = World.create(devchain.url)
    for name in removal.attacks:
        assert outcome(partial(ATTACKS[name].action, world, True)) == "accepted", name


def test_high_s_twin_is_the_same_key() -> None:
    """The attack is real: the twin recovers to the same address when nobody looks at s."""
    from eth_account import Account
    from eth_account.messages import encode_defunct

    from chain.wallets import Wallet

    wallet, message = Wallet.new(), encode_defunct(b"x")
    signature = bytes(Account.sign_message(message, wallet.key).signature)
    assert Account.recover_message(message, signature=high_s(signature)) == wallet.address
