"""What the wheel holds beside the packages: anvil, the dev chain's program, as npm brought it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class AnvilHook(BuildHookInterface[Any]):
    """A wheel for this machine's processor; an editable install takes anvil from node_modules."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        machine = platform.machine()
        package = f"anvil-linux-{_MACHINES.get(machine, machine)}"
        anvil = Path(self.root) / "node_modules" / "@foundry-rs" / package / "bin" / "anvil"
        if not anvil.is_file():
            raise FileNotFoundError("the dev chain's program anvil is missing: make install")
        build_data["force_include"][str(anvil)] = "chain/devnode/bin/anvil"
        build_data["tag"] = f"py3-none-linux_{machine}"
        build_data["pure_python"] = False
