"""Traces the system calls of confined models and parsers, and which of them were refused.

    .venv/bin/python tests/trace_calls.py        needs strace (apt-get install strace) and some minutes

From such traces the list in api/confinement/seccomp.py was written. A call that is refused and that
a library then does without is no fault; one that a new model cannot do without shows here with what
it asked for.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
CALL = re.compile(r"(\d+) +(\w+)\((.*)")
REFUSED = re.compile(r"= -1 (EPERM|EACCES|ENOSYS)")
SHOWN = 4  # examples of each refused call


def work() -> None:
    """Every analysis and both parsers, in children that are confined."""
    from fhir_files import bundle, observation, procedure
    from test_confinement import jobs
    from vcf_files import cohort, gzip, subjects

    from analytics.params import complete
    from api.ingest import parser_sandbox as sandbox
    from api.worker.rehearsal import rehearse
    from api.worker.sandbox import ForkServer

    server = ForkServer()
    for name, job in jobs().items():
        people = 200 if name == "associate" else 40
        rehearse(server, complete(job), people, "cpu", lambda *_: None)
    server.end()
    genomes, names, _ = cohort(4, 50)
    asked = {"subjects": subjects(names), "build": "GRCh38"}
    for data in (genomes, gzip(genomes)):
        list(sandbox.split("vcf", io.BytesIO(data), asked))
    record = bundle(observation(), procedure())
    list(sandbox.split("fhir", io.BytesIO(record), {"subject": "a" * 64}))


def calls_of(trace: Path) -> Iterator[tuple[str, str]]:
    """(name, arguments and answer) of each call that a process made after its filter was in force."""
    confined = set()
    with trace.open(errors="replace") as lines:
        for process, name, rest in (match.groups() for match in map(CALL.match, lines) if match):
            if name == "seccomp":
                confined.add(process)
            elif process in confined:
                yield name, rest


def main() -> int:
    from api.confinement.seccomp import ALLOWED

    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        argv = ["strace", "-f", "-o", str(trace), sys.executable, str(HERE), "work"]
        subprocess.run(argv, check=True)
        made: Counter[str] = Counter()
        refused: dict[str, set[str]] = {}
        for name, rest in calls_of(trace):
            made[name] += 1
            if REFUSED.search(rest):
                refused.setdefault(name, set()).add(rest[:120])
    print("made:", ", ".join(f"{name} {count}" for name, count in made.most_common()))
    print("allowed and not made:", ", ".join(sorted(ALLOWED.keys() - made.keys())))
    for name, examples in refused.items():
        print(f"refused: {name}", *sorted(examples)[:SHOWN], sep="\n    ")
    return 0


if __name__ == "__main__":
    sys.exit(work() if sys.argv[1:] == ["work"] else main())
