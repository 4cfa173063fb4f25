"""Which rows an event touches, and what stands in them: pure functions of the fold's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from eth_utils.address import to_checksum_address
from sqlalchemy import Connection, Table, bindparam, delete, insert, select

from chain import events as ev
from governance.readmodel import tables as t
from governance.readmodel.run_states import State
from governance.rules.replayed import Fold

Row = dict[str, Any]
Key = tuple[Any, ...]


def touched(event: ev.Event) -> Iterator[tuple[Table, Key]]:
    """The rows that must be derived anew after this event."""
    match event:
        case ev.RoleSet() | ev.RoleCancelled():
            yield t.members, (event.account,)
        case ev.DatasetRegistered():
            yield t.datasets, (event.dataset, event.documentHash)
        case (
            ev.PermitRequested()
            | ev.Voted()
            | ev.PermitApproved()
            | ev.PermitRejected()
            | ev.PermitSuspended()
        ):
            yield t.permits, (event.permit,)
        case ev.Enrolled():
            yield t.subjects, (event.subject, event.assurance, event.block)
        case ev.ConsentGranted() | ev.ConsentRevoked():
            yield t.consents, (event.dataset, event.subject)
        case ev.AccessGranted():
            yield (
                t.accesses,
                (event.run, event.attemptEpochVersion >> 56, event.subject, event.block, event.tx),
            )
        case ev.AccessDenied():
            yield t.accesses, (event.run, event.attempt, event.subject, event.block, event.tx)
        case ev.RunRefused(attempt=0):
            return  # a refused request made no run
        case ev.Sealed() | ev.Released():
            released = (event.block, event.tx) if isinstance(event, ev.Released) else (0, b"")
            yield t.outputs, (event.run, event.attempt, *released)
    run = getattr(event, "run", None)
    if isinstance(run, bytes) and not isinstance(event, ev.AccessGranted | ev.AccessDenied):
        yield t.runs, (run,)


class Derived(Protocol):
    """What rows are made of: the fold, and by run where it stands and its parameters."""

    fold: Fold
    states: dict[bytes, State]
    params: dict[bytes, str]


def build(derived: Derived, table: Table, key: Key) -> Row:
    """The row of that table and key as the fold has it now."""
    return _BUILDERS[table.name](derived, *key)


def _member(p: Derived, account: str) -> Row:
    member = p.fold.members[bytes.fromhex(account[2:])]
    return {"account": account, **member._asdict()}


def _dataset(p: Derived, dataset: bytes, document: bytes) -> Row:
    return {
        "dataset": dataset.hex(),
        "custodian": address(p.fold.datasets[dataset]),
        "document": document.hex(),
    }


def _permit(p: Derived, permit: bytes) -> Row:
    found = p.fold.permits[permit]
    request = found.request
    return {
        "permit": permit.hex(),
        "dataset": request["dataset"].hex(),
        "applicant": address(found.applicant),
        "status": found.status,
        "expiry": request["expiry"],
        "need": request["purposeNeed"],
        "categories": request["categories"],
        "code": request["codeHash"].hex(),
        "params_schema": request["paramsSchemaHash"].hex(),
        "minimum": request["minCohort"],
        "output_classes": request["outputClasses"],
        "request_hash": found.request_hash.hex(),
        "yes": sum(found.votes.values()),
        "no": len(found.votes) - sum(found.votes.values()),
    }


def _subject(p: Derived, subject: bytes, assurance: int, block: int) -> Row:
    return {
        "subject": subject.hex(),
        "signer": p.fold.signers[subject].hex(),
        "assurance": assurance,
        "block": block,
    }


def _consent(p: Derived, dataset: bytes, subject: bytes) -> Row:
    consent = p.fold.consent(dataset, subject)
    return {"dataset": dataset.hex(), "subject": subject.hex(), **consent._asdict()}


def _access(p: Derived, run: bytes, attempt: int, subject: bytes, block: int, tx: bytes) -> Row:
    found = p.fold.attempts[run, attempt]
    epoch, version = next(((e, v) for s, e, v in found.granted if s == subject), (0, 0))
    reason = next((r for s, r in found.denied if s == subject), 0)
    return {
        "run": run.hex(),
        "attempt": attempt,
        "subject": subject.hex(),
        "granted": reason == 0,
        "epoch": epoch,
        "version": version,
        "reason": reason,
        "block": block,
        "tx": tx.hex(),
    }


def _output(p: Derived, run: bytes, attempt: int, block: int, tx: bytes) -> Row:
    found = p.fold.attempts[run, attempt]
    seal = found.seal
    return {
        "run": run.hex(),
        "attempt": attempt,
        "seal_hash": found.seal_hash.hex(),
        "ciphertext": seal["ciphertextHash"].hex(),
        "commitment": seal["outputCommitment"].hex(),
        "output_class": seal["outputClass"],
        "statistics": seal["statistics"],
        "released": block,
        "release_tx": tx.hex(),
    }


def _run(p: Derived, run: bytes) -> Row:
    found, state = p.fold.runs[run], p.states[run]
    request = found.request
    return {
        "run": run.hex(),
        "permit": request["permit"].hex(),
        "analyst": address(found.analyst),
        "params": p.params[run],
        "params_hash": request["paramsHash"].hex(),
        "result_key": request["resultKey"].hex(),
        "deadline": request["deadline"],
        "attempt": found.attempts,
        "state": state.name,
        "reason": state.reason,
        "block": state.since,
    }


_BUILDERS: Mapping[str, Callable[..., Row]] = {
    "members": _member,
    "datasets": _dataset,
    "permits": _permit,
    "subjects": _subject,
    "consents": _consent,
    "accesses": _access,
    "outputs": _output,
    "runs": _run,
}


def address(raw: bytes) -> str:
    return to_checksum_address(raw)


def put(connection: Connection, table: Table, found: Sequence[Row]) -> None:
    """Write rows in place of those with their keys, in two statements; of several with one key the last counts."""
    names = [column.name for column in table.primary_key]
    newest = {tuple(row[name] for name in names): row for row in found}
    if not newest:
        return
    where = [table.c[name] == bindparam(f"key_{name}") for name in names]
    keys = [{f"key_{name}": row[name] for name in names} for row in newest.values()]
    connection.execute(delete(table).where(*where), keys)
    connection.execute(insert(table), list(newest.values()))


def records_in(connection: Connection, dataset: str) -> set[tuple[str, int]]:
    """The (record, version) of every record row of a dataset."""
    query = select(t.records.c.record, t.records.c.version).where(t.records.c.dataset == dataset)
    return {(record, version) for record, version in connection.execute(query)}


def all_of(connection: Connection, table: Table) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(select(table))]
