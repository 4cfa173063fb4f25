"""Check the unencrypted messages of a computing child, so that it cannot leak plaintext in them.

A confined child has one way out, its pipe. Its messages are kept and shown to anybody who may see
the run, so only expected content passes: the steps must be those of the run's parameters, in order;
a sentence must be one of the code's own, and its values are removed; seconds and memory are
measured here, and rounded, because a child chooses how long it takes. The output itself leaves
encrypted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from analytics.params import PLAN, parse_params
from api.confinement.interpreter import find_devices
from api.worker.known_sentences import Sentences, reachable

UNKNOWN = "the computation sent a message that is not allowed; tell the maintainers of the models"
MAX_BYTES = 1 << 50  # of memory
MAX_CLASS = 1 << 32  # the ledger's width of a class, and of a number of statistics
# OpenBLAS's names for the processors of servers and desktops (driver/others/dynamic.c,
# dynamic_arm64.c); any other name is reported as OTHER.
PROCESSORS = frozenset(
    {
        "Nehalem",
        "Sandybridge",
        "Haswell",
        "SkylakeX",
        "Cooperlake",
        "SapphireRapids",
        "Zen",
        "armv8",
        "neoversen1",
        "neoversev1",
        "neoversen2",
    }
)
OTHER = "other"
# The phase that begins with a step of the computation or the request to wrap the output's key.
BEGINS = {"read": "parse", "compute": "compute", "filter": "disclosure", "wrap": "seal"}
PREPARING = 2  # steps before "compute", which count as no progress
GPU_INFORMATION = "/proc/driver/nvidia/gpus"


class UnknownWords(Exception):
    """A child sent a message that the original code never sends."""


class Progress:
    """The steps of a run, in order and each once; the fraction done is computed here."""

    def __init__(self, params: str) -> None:
        """params: the run's, canonical. Raises ParamsError."""
        self._steps, self._last = steps_of(params), -1

    def advance(self, header: Mapping[str, Any]) -> tuple[str, float] | None:
        """(step, fraction) of a new step, None for the current one.

        Raises UnknownWords for any other.
        """
        step, last = header.get("step"), self._last
        if last >= 0 and step == self._steps[last]:
            return None
        if last + 1 >= len(self._steps) or step != self._steps[last + 1]:
            raise UnknownWords
        self._last += 1
        done, computing = self._last - PREPARING, len(self._steps) - 1 - PREPARING
        return self._steps[self._last], round(max(0, done) / computing, 2)


def steps_of(params: str) -> list[str]:
    """The steps that the original code reports, in order. Raises ParamsError."""
    parsed = parse_params(params.encode())
    computing = {
        "evaluate": [
            f"{phase}:{model}/{feature_set}"
            for model, feature_sets in parsed.models
            for feature_set in feature_sets
            for phase in ("evaluate", "permute")
        ]
        + [f"bootstrap:{parsed.primary}"] * (parsed.bootstraps > 0)
        + ["filter"],
        "survival": ["cox", "permute"] * parsed.fits_cox
        + ["bootstrap"] * (parsed.fits_cox and parsed.bootstraps > 0)
        + ["filter"],
        "clusters": ["cluster", "filter"],
        "associate": ["components", "scan"],
        "frequencies": ["count"],
        PLAN: ["draw", "filter"],
    }
    return ["decrypted", "read", "compute", *computing[parsed.analysis], "disclose"]


class Phases:
    """Measures the seconds of each phase of a child from outside, starting with its job."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase, self._since = "decrypt", time.monotonic()

    def enter(self, phase: str) -> None:
        now = time.monotonic()
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def end(self, child: int) -> dict[str, Any]:
        """For the run record: seconds of each phase, and peak memory of the living child.

        Both are rounded, because the child can choose them.
        """
        self.enter("end")
        record: dict[str, Any] = {
            "seconds": {phase: f"{rounded(spent):.4f}" for phase, spent in self._seconds.items()}
        }
        peak = find_peak(child)
        return record if peak is None else record | {"peakMemory": peak}


def rounded(value: float) -> float:
    """Round to two significant digits, which cannot carry a text."""
    return float(f"{value:.1e}")


def failure_of(header: Mapping[str, Any]) -> str:
    """The known sentence with which a child fails. Raises UnknownWords for an unknown one."""
    sentence = _sentences().find(header.get("message"))
    if sentence is None:
        raise UnknownWords
    return sentence


def output_of(
    header: Mapping[str, Any], blob: bytes, output_class: int, device: str
) -> dict[str, Any]:
    """Check a child's description of its sealed output `blob`. Raises UnknownWords.

    output_class: from the run's parameters. device: the worker's setting (cpu, cuda or auto).
    """
    hashes = ("outputCommitment", "ciphertextHash", "keyCommitment", "disclosureCommitment")
    if (
        set(header) != {"say", *hashes, "outputClass", "statistics", "record"}
        or not all(re.fullmatch("[0-9a-f]{64}", str(header[name])) for name in hashes)
        or header["ciphertextHash"] != sha256(blob).hexdigest()
        or header["outputClass"] != output_class
        or type(header["outputClass"]) is not int
        or type(header["statistics"]) is not int
        or not 0 <= header["statistics"] < MAX_CLASS
    ):
        raise UnknownWords
    return {**header, "record": record_of(header["record"], device)}


def record_of(record: object, device: str) -> dict[str, Any]:
    """The device of the computation, by a known name, and the GPU's memory, rounded.

    Raises UnknownWords.
    """
    match record:
        case {"device": "cpu", "name": str(name), **rest} if not rest:
            return {"device": "cpu", "name": name if name in PROCESSORS else OTHER}
        case {"device": "cuda", "name": str(), "peak_bytes": int(peak), **rest} if not rest:
            if device != "cpu" and find_devices() and type(peak) is int and 0 <= peak < MAX_BYTES:
                return {"device": "cuda", "name": find_gpu(), "peak_bytes": int(rounded(peak))}
    raise UnknownWords


def find_gpu() -> str:
    """The name of this host's first GPU from its driver; "GPU" if the driver gives none."""
    for file in sorted(Path(GPU_INFORMATION).glob("*/information")):
        match = re.search(r"^Model:\s*(\S.*)$", file.read_text(errors="replace"), re.MULTILINE)
        if match:
            return match[1].strip()
    return "GPU"


def find_peak(pid: int) -> int | None:
    """Peak memory of a living process in bytes, rounded; None when it is unknown."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    match = re.search(r"^VmHWM:\s*([0-9]+) kB$", status, re.MULTILINE)
    return int(rounded(1024 * int(match[1]))) if match else None


@cache
def _sentences() -> Sentences:
    return Sentences(reachable(Path(__file__).with_name("compute.py")))
