"""Contract artifacts: compiles them offline, reads the committed ones, compares the two.

`python -m chain.artifacts` writes `contracts/artifacts/*.json`; with `--check` it compares and
changes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from eth_utils.abi import function_abi_to_4byte_selector

from chain.errors import ChainError

CONTRACTS = ("Trail", "PermitRegistry", "ConsentRegistry", "AccessLedger", "CareLedger")
FOLDER = Path(__file__).resolve().parent.parent / "contracts"
SOLC = Path(__file__).resolve().parent / "solc" / "solc-v0.8.37"

# bytecodeHash none: the bytecode depends on the source text and these settings, not on any path.
SETTINGS = {
    "evmVersion": "osaka",
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 100_000},
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract: `abi` as solc gives it, `bytecode` the creation code."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    source_hash: str


@cache
def load(name: str) -> Artifact:
    """The committed artifact of a contract; raises ChainError when it is missing."""
    path = FOLDER / "artifacts" / f"{name}.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChainError(f"no artifact of {name}", "run `python -m chain.artifacts`") from None
    return Artifact(name, raw["abi"], bytes.fromhex(raw["bytecode"]), raw["sourceHash"])


@cache
def error_entries() -> dict[bytes, dict[str, Any]]:
    """The contracts' errors, as the ABI describes them, by their 4-byte selector."""
    entries = [entry for name in CONTRACTS for entry in load(name).abi if entry["type"] == "error"]
    return {function_abi_to_4byte_selector(cast("Any", entry)): entry for entry in entries}


@cache
def error_names() -> dict[bytes, str]:
    """Names of the contracts' errors by their 4-byte selector."""
    return {selector: str(entry["name"]) for selector, entry in error_entries().items()}


def compile_all(
    library: Path,
    folder: Path = FOLDER,
    names: Sequence[str] = CONTRACTS,
    change: Mapping[str, Any] | None = None,
    compiler: Callable[[Mapping[str, Any]], Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Compile the contracts of these names in `folder`, offline; `library` holds
    `@openzeppelin/contracts`.

    change: other settings than those of the committed artifacts, for contracts that are not
    deployed. compiler: from standard JSON to its answer, in place of a new process. Returns
    artifact JSON by contract name. Raises ChainError with the compiler's own words.
    """
    import solcx

    sources = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in _own_sources(folder)
    }
    source_hash = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()
    sources |= _imported(sources, library)
    wanted = cast("dict[str, Any]", SETTINGS["outputSelection"])["*"]["*"]
    settings = SETTINGS | dict(change or {})
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": settings
        | {"outputSelection": {f"{name}.sol": {name: wanted} for name in names}},
    }
    try:
        output = (
            compiler(request) if compiler else solcx.compile_standard(request, solc_binary=SOLC)
        )
    except solcx.exceptions.SolcError as error:
        raise ChainError(
            f"the contracts do not compile: {error.message}", "mend the source"
        ) from None
    except Exception as error:  # no node, no package solc, or a broken one
        raise ChainError(
            "the compiler did not start: node or its package solc is missing",
            "run `make clean install`, which brings both",
        ) from error
    artifacts = {}
    for name in names:
        compiled = output["contracts"][f"{name}.sol"][name]
        artifacts[name] = {
            "name": name,
            "compiler": "0.8.37",
            "settings": {key: value for key, value in settings.items() if key != "outputSelection"},
            "sourceHash": source_hash,
            "abi": compiled["abi"],
            "bytecode": compiled["evm"]["bytecode"]["object"],
        }
    return artifacts


def _own_sources(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.sol"))
    yield from sorted((folder / "interfaces").glob("*.sol"))


def _imported(sources: dict[str, str], library: Path) -> dict[str, str]:
    """The library files that the sources import, including their own relative imports."""
    texts: dict[str, str] = {}
    waiting = [
        name
        for source in sources.values()
        for name in _import_names(source)
        if name.startswith("@")
    ]
    while waiting:
        name = waiting.pop()
        if name in texts:
            continue
        texts[name] = (library / name).read_text(encoding="utf-8")
        for inner in _import_names(texts[name]):
            target = (library / name).parent / inner if inner.startswith(".") else library / inner
            waiting.append(target.resolve().relative_to(library.resolve()).as_posix())
    return texts


def _import_names(text: str) -> list[str]:
    return [
        line.split('"')[1]
        for line in text.splitlines()
        if line.startswith("import ") and '"' in line
    ]


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the artifacts of `folder`, or with --check report every difference (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed artifacts, change nothing"
    )
    parser.add_argument("--library", type=Path, default=FOLDER.parent / "node_modules")
    options = parser.parse_args(arguments)
    stale = []
    try:
        compiled = compile_all(options.library, folder, CONTRACTS)
    except ChainError as error:
        print(f"{error}; {error.hint}", file=sys.stderr)
        return 1
    for name, artifact in compiled.items():
        path = folder / "artifacts" / f"{name}.json"
        text = json.dumps(artifact, indent=1, sort_keys=True) + "\n"
        if options.check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        print(
            f"stale artifacts: {', '.join(stale)}; run `python -m chain.artifacts` and commit the result"
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
