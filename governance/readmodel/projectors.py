"""The rows that an event changes, and their values: pure functions of the replayed state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from eth_utils.address import to_checksum_address
from sqlalchemy import Connection, select

from chain import events as ev
from governance.readmodel import tables
from governance.readmodel.run_states import State
from governance.readmodel.tables import Row
from governance.rules.replayed import ReplayedState

Key = tuple[Any, ...]


def touched(event: ev.Event) -> Iterator[tuple[type[Row], Key]]:
    """The keys of the rows that must be derived again after this event."""
    match event:
        case ev.RoleSet() | ev.RoleCancelled():
            yield tables.Member, (event.account,)
        case ev.DatasetRegistered():
            yield tables.Dataset, (event.dataset, event.documentHash)
        case (
            ev.PermitRequested()
            | ev.Voted()
            | ev.PermitApproved()
            | ev.PermitRejected()
            | ev.PermitSuspended()
        ):
            yield tables.Permit, (event.permit,)
        case ev.Enrolled():
            yield tables.Subject, (event.subject, event.assurance, event.block)
        case ev.ConsentGranted() | ev.ConsentRevoked():
            yield tables.Consent, (event.dataset, event.subject)
        case ev.RunRefused(attempt=0):
            return  # a refused request made no run
        case ev.Sealed() | ev.Released() | ev.Countersigned():
            released = (0, b"") if isinstance(event, ev.Sealed) else (event.block, event.tx)
            yield tables.Output, (event.run, event.attempt, *released)
    run = getattr(event, "run", None)
    if isinstance(run, bytes):
        yield tables.Run, (run,)


class Derived(Protocol):
    """The source of rows: the replayed state, and the state and parameters of each run."""

    replayed: ReplayedState
    states: dict[bytes, State]
    params: dict[bytes, str]


def build(derived: Derived, noun: type[Row], key: Key) -> Row:
    """The row of that table and key, from the replayed state."""
    return _BUILDERS[noun](derived, *key)


def _member(p: Derived, account: str) -> tables.Member:
    member = p.replayed.members[bytes.fromhex(account[2:])]
    return tables.Member(account=account, **member._asdict())


def _dataset(p: Derived, dataset: bytes, document: bytes) -> tables.Dataset:
    return tables.Dataset(
        dataset=dataset.hex(),
        custodian=address(p.replayed.datasets[dataset]),
        document=document.hex(),
    )


def _permit(p: Derived, name: bytes) -> tables.Permit:
    permit = p.replayed.permits[name]
    request = permit.request
    return tables.Permit(
        permit=name.hex(),
        dataset=request["dataset"].hex(),
        applicant=address(permit.applicant),
        status=permit.status,
        expiry=request["expiry"],
        need=request["purposeNeed"],
        categories=request["categories"],
        code=request["codeHash"].hex(),
        params_schema=request["paramsSchemaHash"].hex(),
        minimum=request["minCohort"],
        output_classes=request["outputClasses"],
        questions=request["questions"],
        document=request["documentHash"].hex(),
        request_hash=permit.request_hash.hex(),
        yes=sum(permit.votes.values()),
        no=len(permit.votes) - sum(permit.votes.values()),
    )


def _subject(p: Derived, subject: bytes, assurance: int, block: int) -> tables.Subject:
    return tables.Subject(
        subject=subject.hex(),
        signer=p.replayed.signers[subject].hex(),
        assurance=assurance,
        block=block,
    )


def _consent(p: Derived, dataset: bytes, subject: bytes) -> tables.Consent:
    consent = p.replayed.consent(dataset, subject)
    return tables.Consent(dataset=dataset.hex(), subject=subject.hex(), **consent._asdict())


def access_values(event: ev.AccessGranted | ev.AccessDenied) -> dict[str, Any]:
    """The row of a decision on one person, by column: from the event alone, which the rules have
    compared. An attempt has thousands.
    """
    return {
        "run": event.run.hex(),
        "attempt": event.attempt,
        "subject": event.subject.hex(),
        "granted": isinstance(event, ev.AccessGranted),
        "epoch": event.epoch if isinstance(event, ev.AccessGranted) else 0,
        "version": event.version if isinstance(event, ev.AccessGranted) else 0,
        "reason": event.reason if isinstance(event, ev.AccessDenied) else 0,
        "block": event.block,
        "tx": event.tx.hex(),
    }


def _output(p: Derived, run: bytes, attempt: int, block: int, tx: bytes) -> tables.Output:
    result = p.replayed.attempts[run, attempt]
    seal = result.seal
    return tables.Output(
        run=run.hex(),
        attempt=attempt,
        seal_hash=result.seal_hash.hex(),
        ciphertext=seal["ciphertextHash"].hex(),
        commitment=seal["outputCommitment"].hex(),
        output_class=seal["outputClass"],
        statistics=seal["statistics"],
        released=block,
        release_tx=tx.hex(),
    )


def _run(p: Derived, name: bytes) -> tables.Run:
    run, state = p.replayed.runs[name], p.states[name]
    request = run.request
    return tables.Run(
        run=name.hex(),
        permit=request["permit"].hex(),
        analyst=address(run.analyst),
        subject=request["subject"].hex() if run.is_care else "",
        params=p.params[name],
        params_hash=request["paramsHash"].hex(),
        # A plan has none: who opens it asks on the ledger each time.
        result_key="" if run.is_care else request["resultKey"].hex(),
        deadline=request["deadline"],
        attempt=run.attempts,
        state=state.name,
        reason=state.reason,
        block=state.since,
    )


_BUILDERS: Mapping[type[Row], Callable[..., Row]] = {
    tables.Member: _member,
    tables.Dataset: _dataset,
    tables.Permit: _permit,
    tables.Subject: _subject,
    tables.Consent: _consent,
    tables.Output: _output,
    tables.Run: _run,
}


def address(raw: bytes) -> str:
    return to_checksum_address(raw)


def records_in(connection: Connection, dataset: str) -> set[tuple[str, int]]:
    """The (record, version) of every record row of a dataset."""
    query = select(tables.Record.record, tables.Record.version)
    query = query.where(tables.Record.dataset == dataset)
    return {(record, version) for record, version in connection.execute(query)}
