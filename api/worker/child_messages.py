"""What a computing child may say in clear while it holds plaintext: steps, sentences and figures that this code knows.

A confined child has one way out, its pipe. What it says there is kept and shown to anybody who may see the run, so
nothing of its own choosing is believed: the steps are those of the run's parameters, one after another; a sentence is
the code's own, without the values in it; seconds and memory are measured here, and rounded, since a child chooses how
long it takes. The output itself leaves encrypted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from analytics.params import parse_params
from api.confinement.interpreter import find_devices
from api.worker.known_sentences import Sentences, reachable

UNKNOWN = "the computation said something that it may not say; tell whoever keeps the models"
MAX_BYTES = 1 << 50  # of memory
MAX_CLASS = 1 << 32  # the ledger's width of a class, and of a number of statistics
# What torch calls a processor by what it can do (ATen, get_cpu_capability); any other name is told as OTHER.
PROCESSORS = frozenset({"DEFAULT", "NO AVX", "AVX2", "AVX512", "SVE256", "VSX", "Z VECTOR"})
OTHER = "other"
# Which phase begins with a step of the computation, and with the request to wrap the output's key.
BEGINS = {"read": "parse", "compute": "compute", "filter": "disclosure", "wrap": "seal"}
PREPARING = 2  # steps before "compute", at which nothing is done yet
GPU_INFORMATION = "/proc/driver/nvidia/gpus"


class UnknownWords(Exception):
    """A child said something that no honest one says."""


class Progress:
    """The steps of a run in their order, each said once; how far they are is worked out here."""

    def __init__(self, params: str) -> None:
        """params: the run's, canonical. Raises ParamsError."""
        self._steps, self._said = steps_of(params), -1

    def advance(self, said: Mapping[str, Any]) -> tuple[str, float] | None:
        """(step, fraction) of a new step, None for the one that goes on. Raises UnknownWords for any other."""
        step, last = said.get("step"), self._said
        if last >= 0 and step == self._steps[last]:
            return None
        if last + 1 >= len(self._steps) or step != self._steps[last + 1]:
            raise UnknownWords
        self._said += 1
        done, computing = self._said - PREPARING, len(self._steps) - 1 - PREPARING
        return self._steps[self._said], round(max(0, done) / computing, 2)


def steps_of(params: str) -> list[str]:
    """What an honest child says that it does, in this order. Raises ParamsError."""
    parsed = parse_params(params.encode())
    computing = {
        "evaluate": [
            f"{phase}:{model}/{feature_set}"
            for model, feature_sets in parsed.models
            for feature_set in feature_sets
            for phase in ("evaluate", "permute")
        ]
        + ["filter"],
        "associate": ["components", "scan"],
        "frequencies": ["count"],
    }
    return ["decrypted", "read", "compute", *computing[parsed.analysis], "disclose"]


class Phases:
    """Seconds of each phase of a child, from its job on, as they are seen from outside."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase, self._since = "decrypt", time.monotonic()

    def enter(self, phase: str) -> None:
        now = time.monotonic()
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def end(self, child: int) -> dict[str, Any]:
        """For the run record: seconds of every phase and the most memory of the child, by its pid while it lives.

        Rounded: both are the child's to choose.
        """
        self.enter("end")
        found: dict[str, Any] = {
            "seconds": {phase: f"{rounded(spent):.4f}" for phase, spent in self._seconds.items()}
        }
        peak = find_peak(child)
        return found if peak is None else found | {"peakMemory": peak}


def rounded(figure: float) -> float:
    """To two significant digits, which carry no text."""
    return float(f"{figure:.1e}")


def failure_of(said: Mapping[str, Any]) -> str:
    """The code's own sentence for the one by which a child ends. Raises UnknownWords for one that is none of it."""
    found = _sentences().find(said.get("message"))
    if found is None:
        raise UnknownWords
    return found


def output_of(
    said: Mapping[str, Any], blob: bytes, output_class: int, device: str
) -> dict[str, Any]:
    """What a child says of its sealed output `blob`. Raises UnknownWords.

    output_class: of the run's parameters. device: which the worker computes on (cpu, cuda or auto).
    """
    hashes = ("outputCommitment", "ciphertextHash", "keyCommitment", "disclosureCommitment")
    if (
        set(said) != {"say", *hashes, "outputClass", "statistics", "record"}
        or not all(re.fullmatch("[0-9a-f]{64}", str(said[name])) for name in hashes)
        or said["ciphertextHash"] != sha256(blob).hexdigest()
        or said["outputClass"] != output_class
        or type(said["outputClass"]) is not int
        or type(said["statistics"]) is not int
        or not 0 <= said["statistics"] < MAX_CLASS
    ):
        raise UnknownWords
    return {**said, "record": record_of(said["record"], device)}


def record_of(record: object, device: str) -> dict[str, Any]:
    """Where it was computed, by a name that is known here, and the GPU's memory, rounded. Raises UnknownWords."""
    match record:
        case {"device": "cpu", "name": str(name), **rest} if not rest:
            return {"device": "cpu", "name": name if name in PROCESSORS else OTHER}
        case {"device": "cuda", "name": str(), "peak_bytes": int(peak), **rest} if not rest:
            if device != "cpu" and find_devices() and type(peak) is int and 0 <= peak < MAX_BYTES:
                return {"device": "cuda", "name": find_gpu(), "peak_bytes": int(rounded(peak))}
    raise UnknownWords


def find_gpu() -> str:
    """The name of this host's first GPU as its driver tells it; "GPU" where it tells none."""
    for file in sorted(Path(GPU_INFORMATION).glob("*/information")):
        found = re.search(r"^Model:\s*(\S.*)$", file.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1].strip()
    return "GPU"


def find_peak(pid: int) -> int | None:
    """The most memory that a living process had, in bytes and rounded; None where it cannot be told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*([0-9]+) kB$", status, re.MULTILINE)
    return int(rounded(1024 * int(found[1]))) if found else None


@cache
def _sentences() -> Sentences:
    return Sentences(reachable(Path(__file__).with_name("compute.py")))
