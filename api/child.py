"""The worker's child: one attempt, one process, the only place where plaintext exists.

It has no network (its own namespace), an empty environment, limits on memory, time and files, and dies with its
supervisor. It draws its own key, so what brokers send opens here only. The supervisor passes messages and ciphertext
through pipes and never sees a key or plaintext.
1. Check the run's parameters; make the worker key, say its public half and the hash of the code that will compute.
2. Open the pieces, then each object: hash and key commitment before decryption.
3. Compute and filter; refuse a cohort below the minimum.
4. Draw the output's key, have its shares wrapped, seal the output; say what the ledger will commit to.
"""

from __future__ import annotations

import resource
import secrets
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from analytics.code import code_hash, params_schema_hash
from analytics.errors import AnalyticsError, CohortTooSmall
from api.pipe import PipeClosed, read_frame, write_frame
from governance.envelope import (
    OUTPUT,
    Label,
    WrapItem,
    WrappedShare,
    decode_pieces,
    disclosure_commitment,
    encode_wrap_request,
    open_message,
    output_commitment,
    seal_message,
    wrap_info,
)
from governance.errors import GovernanceError
from governance.keys import new_pair
from governance.vault import open_record, seal_record
from governance.verify import canonical_json

MEMORY = 12 << 30  # bytes of address space
CPU_SECONDS = 4 * 3600


def limit() -> None:
    """No core file, no file larger than nothing, bounded memory and time, no debugger."""
    import ctypes

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def main() -> int:
    """Speak frames on standard input and output until the attempt is done."""
    limit()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not end up between frames
    private, public = new_pair()
    try:
        from analytics import run as analysis  # heavy: only a child that will compute loads it

        asked, _ = read_frame(source)
        analysis.parse_params(asked["params"].encode())
        write_frame(sink, {"say": "ready", "workerKey": public.hex(), "codeHash": code_hash().hex(),
                           "paramsSchema": params_schema_hash().hex()})  # fmt: skip
        job, blobs = read_frame(source)
        pieces = decode_pieces(
            open_message(private, bytes.fromhex(job["info"]), blobs[0]), bytes.fromhex(job["broker"])
        )
        shares: dict[bytes, list[bytes]] = {}
        for piece in sorted(pieces, key=lambda p: p.j):
            shares.setdefault(piece.record, []).append(piece.share)
        inputs = []
        for item, blob in zip(job["records"], blobs[1:], strict=True):
            record, subject = bytes.fromhex(item["record"]), bytes.fromhex(item["subject"])
            label = Label(
                bytes.fromhex(job["identity"]),
                record,
                subject,
                bytes.fromhex(job["dataset"]),
                item["category"],
                item["version"],
            )
            plaintext = open_record(blob, bytes.fromhex(item["ciphertext"]), label, shares.get(record, []))
            inputs.append(analysis.Input(item["subject"], item["category"], plaintext))
        write_frame(sink, {"say": "progress", "step": "decrypted", "fraction": 0.0})
        result = analysis.run(job["params"].encode(), inputs, job["minimum"], _teller(sink))
        _seal(source, sink, job, result)
    except CohortTooSmall as error:
        write_frame(sink, {"say": "failed", "kind": "cohort", "message": str(error), "hint": error.hint})
    except (AnalyticsError, GovernanceError) as error:
        write_frame(sink, {"say": "failed", "kind": "refused", "message": str(error), "hint": error.hint})
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
    except Exception:  # a fault of the code would be the same at every attempt; no value of it leaves this process
        write_frame(sink, {"say": "failed", "kind": "fault", "message": "the computation met a fault of its own",
                           "hint": "tell whoever keeps the models"})  # fmt: skip
    return 0


def _seal(source: BinaryIO, sink: BinaryIO, job: dict[str, Any], result: Any) -> None:
    """Encrypt the filtered result and say what it is; its salt lies inside."""
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

    def wrap(shares: tuple[bytes, bytes, bytes]) -> list[WrappedShare]:
        broker = bytes.fromhex(job["broker"])
        items = [WrapItem(run, dataset, run, attempt, j, share) for j, share in enumerate(shares)]
        sealed = seal_message(
            bytes.fromhex(job["exchangeKey"]), wrap_info(identity, broker), encode_wrap_request(items)
        )
        write_frame(sink, {"say": "wrap"}, sealed)
        _, wrapped = read_frame(source)
        return [WrappedShare(broker, j, share) for j, share in enumerate(wrapped)]

    sealed = seal_record(Label(identity, run, run, dataset, OUTPUT, attempt), plaintext, wrap)
    write_frame(
        sink,
        {
            "say": "done",
            "outputCommitment": output_commitment(run, attempt, result.result, salt).hex(),
            "disclosureCommitment": disclosure_commitment(run, attempt, result.disclosure, salt).hex(),
            "ciphertextHash": sealed.ciphertext_hash.hex(),
            "keyCommitment": sealed.key_commitment.hex(),
            "outputClass": result.output_class,
            "statistics": result.statistics,
        },
        sealed.blob,
    )


def _teller(sink: BinaryIO) -> Callable[[str, float], None]:
    def tell(step: str, fraction: float) -> None:
        write_frame(sink, {"say": "progress", "step": step, "fraction": fraction})

    return tell


if __name__ == "__main__":
    sys.exit(main())
