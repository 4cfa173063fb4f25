"""Several founders of a deployment, each with a home folder; the commands run in this process."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from api.operate.settings import Settings
from chain.wallets import Wallet, save

FOUNDERS = ("pia", "quinn", "rui")
STAFF = ("rita", "omar", "noor", "sol", "tess", "vera")


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    text: str


@dataclass
class Founders:
    """`base` holds a folder a person, and `op` for whoever operates; `chain` is a ledger's URL, or
    none: its own.
    """

    base: Path
    chain: str = ""
    addresses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*FOUNDERS, *STAFF):
            wallet = Wallet.new()
            save(wallet, self.base / name / "keys" / f"{name}.json")
            self.addresses[name] = wallet.address

    @property
    def op(self) -> Path:
        return self.base / "op"

    @property
    def settings(self) -> Settings:
        return Settings(home=self.op)

    def run(self, who: str, *arguments: str) -> Result:
        """A command as its console script would run it on that person's machine."""
        out, code = io.StringIO(), 0
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            patch.setenv("VOLENS_HOME", str(self.base / who))
            patch.setenv("VOLENS_CHAIN_URL", self.chain)
            patch.setattr(sys, "argv", ["volens", *arguments])
            try:
                main()
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        assert "Traceback" not in out.getvalue()
        return Result(code, out.getvalue())

    def plan(self, **change: Any) -> None:
        """Fill in the example that the first call wrote."""
        path = self.op / "ceremony" / "plan.json"
        plan = json.loads(path.read_text())
        plan["founders"] = {name: self.addresses[name] for name in FOUNDERS}
        for role in plan["roles"]:
            role["address"] = self.addresses.get(role["name"], "here")
        path.write_text(json.dumps(plan | change))

    def sign(self, who: str, step: str) -> Path:
        """She signs what is asked on her own machine; the file that comes back, not handed in yet."""
        out = self.base / f"{step}-{who}.json"
        result = self.run(
            who,
            "init",
            "sign",
            str(self.op / "ceremony" / f"{step}-to-sign.json"),
            "--as",
            who,
            "--yes",
            "--out",
            str(out),
        )
        assert result.code == 0, result
        return out

    def hand_in(self, *files: Path) -> None:
        for path in files:
            shutil.copy(path, self.op / "ceremony" / "signed")

    def bootstrap(self) -> None:
        """All of it."""
        self.run("op", "init")
        self.plan()
        self.run("op", "init")
        for step in ("roles", "identity"):
            self.hand_in(*(self.sign(who, step) for who in FOUNDERS[:2]))
            assert self.run("op", "init").code == 0
        assert (self.op / "identity.json").exists()
