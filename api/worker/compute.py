"""The worker's child: one attempt, one process, the only one of a run that sees its plaintext.

Before it reads anything it confines itself (`api.confinement`): no network, no other process, only
the interpreter's own files, only the system calls of computing. It has an empty environment, limits
on memory, time and files, and dies with its supervisor. It draws its own key, so only this process
can open what brokers send. The supervisor passes messages and ciphertext through pipes and never
sees a key or plaintext.
1. Check the run's parameters; make the worker key, send its public half and the hash of the code
   that will compute.
2. Open the key pieces and the key of the noise, then each object: check hash and key commitment before decryption.
3. Compute and filter; refuse a cohort below the minimum.
4. Draw the output's key, have its shares wrapped, seal the output; send the commitments for the
   ledger and the device of the computation. Memory and seconds are measured from outside.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from analytics.code import code_hash, params_schema_hash
from analytics.errors import AnalyticsError, CohortTooSmall
from analytics.params import PLAN
from api.confinement import Confinement
from api.confinement.inside import Forks, confine
from api.worker.frames import PipeClosed, read_frame, write_frame
from governance.errors import GovernanceError
from governance.objects.envelope import (
    OUTPUT,
    Label,
    WrapItem,
    WrappedShare,
    decode_pieces,
    decode_run_keys,
    disclosure_commitment,
    encode_wrap_request,
    open_message,
    output_commitment,
    seal_message,
    wrap_info,
)
from governance.objects.keys import new_pair
from governance.objects.vault import Shares, open_record, seal_records
from governance.rules.encoding import canonical_json

MEMORY = 12 << 30  # bytes of address space
CPU_SECONDS = 4 * 3600
DESCRIPTORS = 256  # the most that a child may have open
MAX_REQUEST = 1024  # bytes of a request for a child
ANY_DESCRIPTOR = 1 << 16  # above every descriptor of the server
PDEATHSIG, DUMPABLE = 1, 4  # prctl(2)


def serve(descriptor: int, confined_by: str) -> int:
    """Load the models' libraries, then fork a child per request until the socket's other end
    closes.

    A request is one line with the names of models that are loaded late, and the child's two pipe
    ends; the answer is one byte with its process descriptor. A child is confined by `confined_by`
    (Confinement.encode); its first frame is "confined".
    """
    confinement = Confinement.decode(confined_by)
    gc.disable()  # loading makes objects that stay; a child that collected them would copy their pages
    code = code_hash()  # before loading, so that it is the hash of the code that runs
    from analytics import run, threads  # noqa: F401 (run is loaded here for every child)
    from analytics.models import REGISTERED, pipeline

    loaded: set[str] = set()

    def load(names: list[str]) -> None:
        if names:
            gc.disable()
            pipeline.warm_up(names)
            threads.one_thread()
            if code != code_hash():
                raise SystemExit(1)
            gc.freeze()
            gc.enable()
            loaded.update(names)

    load([name for name, model in REGISTERED.items() if not model.loaded_late])
    server, forks = os.getpid(), Forks()
    with socket.socket(fileno=descriptor) as requests:
        while True:
            request, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, 2)
            _reap()
            if not request:
                return 0
            load([name for name in request.decode().split() if name not in loaded])
            pid = forks.fork()
            if pid == 0:
                status = 1
                try:
                    status = _begin(server, descriptors, code, confinement)
                finally:
                    os._exit(status)
            process = os.pidfd_open(pid)
            socket.send_fds(requests, [b"c"], [process])
            for number in (process, *descriptors):
                os.close(number)


def _reap() -> None:
    """Reap children that ended; until then no other process gets their pid."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _begin(server: int, descriptors: list[int], code: bytes, confinement: Confinement) -> int:
    """Become a separate, confined process that dies with the server; its pipes are stdin and
    stdout.
    """
    os.setsid()
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The first process of a namespace has no parent in it; the kernel ends it with the server's own
    # namespace.
    if os.getpid() != 1 and os.getppid() != server:
        return 1
    for target, source_descriptor in enumerate(descriptors):
        os.dup2(source_descriptor, target)
    os.closerange(3, ANY_DESCRIPTOR)  # the server's socket and other descriptors
    limit()
    landlock = confine(confinement)
    with open(0, "rb", closefd=False) as source, open(1, "wb", closefd=False) as sink:
        write_frame(sink, {"say": "confined", "landlock": landlock})
        return attempt(source, sink, code)


def limit() -> None:
    """Forbid core files, writing to files and debuggers; bound memory and time."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # A GPU's driver reserves far more address space than it uses.
    if not Path("/dev/nvidiactl").exists():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    ctypes.CDLL(None).prctl(DUMPABLE, 0, 0, 0, 0)


def attempt(source: BinaryIO, sink: BinaryIO, code: bytes) -> int:
    """Exchange frames on the two pipes until the attempt is done; a failure is a frame, too."""
    try:
        _exchange(source, sink, code)
        source.read()  # stay until ended: the supervisor measures the memory used
    except CohortTooSmall as error:
        write_frame(
            sink, {"say": "failed", "kind": "cohort", "message": str(error), "hint": error.hint}
        )
    except (AnalyticsError, GovernanceError) as error:
        write_frame(
            sink, {"say": "failed", "kind": "refused", "message": str(error), "hint": error.hint}
        )
    except MemoryError:
        write_frame(
            sink,
            {
                "say": "failed",
                "kind": "memory",
                "message": "the run needs more memory than a worker has",
                "hint": "ask for fewer repeats or a smaller model",
            },
        )
    except PipeClosed:
        return 1
    # A fault of the code would be the same at every attempt. No value in it leaves this process.
    except Exception:
        write_frame(
            sink,
            {
                "say": "failed",
                "kind": "fault",
                "message": "the computation failed with an internal error",
                "hint": "tell the maintainers of the models",
            },
        )
    return 0


def _exchange(source: BinaryIO, sink: BinaryIO, code: bytes) -> None:
    """Say what the parameters need, open the records that the answer brings, compute and seal."""
    from analytics import run as analysis
    from analytics.readers.gene_sets import check_gene_sets

    private, public = new_pair()
    asked, _ = read_frame(source)
    parsed = analysis.parse_params(asked["params"].encode())
    if "rehearse" in asked:
        _rehearse(sink, asked, parsed)
        return
    write_frame(
        sink,
        {
            "say": "ready",
            "workerKey": public.hex(),
            "codeHash": code.hex(),
            "paramsSchema": params_schema_hash().hex(),
            "outputClass": parsed.output_class,
            "categories": parsed.categories,
        },
    )
    job, blobs = read_frame(source)
    keys = open_message(private, bytes.fromhex(job["info"]), blobs[0])
    noise_key, pieces = decode_run_keys(keys)
    records, others = blobs[1:][: len(job["records"])], blobs[1:][len(job["records"]) :]
    inputs = [
        analysis.Input(item["subject"], item["category"], plaintext)
        for item, plaintext in _open_records(pieces, job, records)
    ]
    # The supervisor looked the file up; what is computed with is what the run's parameters name.
    sets = {"gene_sets": check_gene_sets(others[0], parsed.gene_sets)} if others else {}
    write_frame(sink, {"say": "progress", "step": "decrypted", "fraction": 0.0})
    if parsed.analysis == PLAN:
        from analytics.plan_run import run_plan

        params, tell = job["params"].encode(), _teller(sink)
        _seal(source, sink, job, run_plan(params, inputs, job["granted"], job["today"], tell))
        return
    earlier = [
        analysis.Earlier(
            entry["params"].encode(),
            entry["categories"],
            frozenset(entry["people"]),
            entry["readable"],
        )
        for entry in job["earlier"]
    ]
    result = analysis.run(
        job["params"].encode(),
        inputs,
        job["minimum"],
        _teller(sink),
        job["device"],
        earlier,
        noise_key=noise_key,
        **sets,
    )
    _seal(source, sink, job, result)


def _open_records(
    encoded: bytes, job: dict[str, Any], blobs: list[bytes]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each record as the job names it, with its plaintext.

    encoded: the broker's pieces of the keys; blobs: the ciphertext of each record.
    """
    pieces = decode_pieces(encoded, bytes.fromhex(job["broker"]))
    shares: dict[bytes, list[bytes]] = {}
    for piece in sorted(pieces, key=lambda p: p.j):
        shares.setdefault(piece.record, []).append(piece.share)
    for item, blob in zip(job["records"], blobs, strict=True):
        own = shares.get(bytes.fromhex(item["record"]), [])
        yield item, open_record(blob, bytes.fromhex(item["ciphertext"]), _label(job, item), own)


def _rehearse(sink: BinaryIO, asked: dict[str, Any], parsed: Any) -> None:
    """Compute on synthetic people. The result contains no real data, so it is not sealed."""
    from analytics.disclosure.noise import KEY_BYTES
    from analytics.run import run
    from analytics.simulate.rehearsal import invent, invent_gene_sets

    inputs = invent(parsed, asked["rehearse"], 1)
    result = run(
        asked["params"].encode(),
        inputs,
        1,
        _teller(sink),
        asked["device"],
        noise_key=bytes(KEY_BYTES),  # of nobody's data: it need not be secret
        gene_sets=invent_gene_sets(parsed),
    )
    write_frame(
        sink,
        {
            "say": "rehearsed",
            "record": _device(asked["device"]),
        },
        result.result,
        result.disclosure,
    )


def _label(job: dict[str, Any], item: dict[str, Any]) -> Label:
    return Label(
        bytes.fromhex(job["identity"]),
        bytes.fromhex(item["record"]),
        bytes.fromhex(item["subject"]),
        bytes.fromhex(job["dataset"]),
        item["category"],
        item["version"],
    )


def _seal(source: BinaryIO, sink: BinaryIO, job: dict[str, Any], result: Any) -> None:
    """Encrypt the filtered result with its salt, and send the commitments to it."""
    run, attempt = bytes.fromhex(job["run"]), int(job["attempt"])
    identity, dataset = bytes.fromhex(job["identity"]), bytes.fromhex(job["dataset"])
    salt = secrets.token_bytes(32)
    plaintext = canonical_json(
        {
            "type": "volens/output/1",
            "salt": salt.hex(),
            "result": result.result.decode(),
            "disclosure": result.disclosure.decode(),
        }
    )

    def wrap(shares: list[Shares]) -> list[list[WrappedShare]]:
        broker = bytes.fromhex(job["broker"])
        items = [
            WrapItem(run, dataset, run, attempt, j, share) for j, share in enumerate(shares[0])
        ]
        sealed = seal_message(
            bytes.fromhex(job["exchangeKey"]),
            wrap_info(identity, broker),
            encode_wrap_request(items),
        )
        write_frame(sink, {"say": "wrap"}, sealed)
        _, wrapped = read_frame(source)
        return [[WrappedShare(broker, j, share) for j, share in enumerate(wrapped)]]

    sealed = seal_records([(Label(identity, run, run, dataset, OUTPUT, attempt), plaintext)], wrap)[
        0
    ]
    write_frame(
        sink,
        {
            "say": "done",
            "outputCommitment": output_commitment(run, attempt, result.result, salt).hex(),
            "disclosureCommitment": disclosure_commitment(
                run, attempt, result.disclosure, salt
            ).hex(),
            "ciphertextHash": sealed.ciphertext_hash.hex(),
            "keyCommitment": sealed.key_commitment.hex(),
            "outputClass": result.output_class,
            "statistics": result.statistics,
            "record": _device(job["device"]),
        },
        sealed.blob,
    )


def _device(name: str) -> dict[str, Any]:
    """The device of the computation, for the run record. Not part of the result.

    Only networks use a GPU, and their module is loaded only for a run that has some.
    """
    from analytics.threads import find_processor

    networks = sys.modules.get("analytics.networks")
    gpu = networks.describe_gpu(name) if networks is not None else None
    return gpu or {"device": "cpu", "name": find_processor()}


def _teller(sink: BinaryIO) -> Callable[[str, float], None]:
    def tell(step: str, fraction: float) -> None:
        write_frame(sink, {"say": "progress", "step": step, "fraction": fraction})

    return tell
