"""Rows as the projection writes them, and accounts with roles, for tests of notices without a
ledger.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from eth_utils.address import to_checksum_address
from sqlalchemy import Engine, insert

from chain import events as ev
from chain.vocabulary import ConsentStatus, PermitStatus, Role
from governance.readmodel import projectors
from governance.readmodel.database import upsert
from governance.readmodel.projection import event_values
from governance.readmodel.tables import Access, Block, Consent, Event, Permit, Run
from governance.rules.state import Member

NOW = 1_800_000_000
DAY = 86_400


def account(name: str) -> str:
    return to_checksum_address(name.encode().rjust(20, b"\0"))


ROLES = {
    "pia": Role.COMMITTEE,
    "quinn": Role.COMMITTEE,
    "noor": Role.ANALYST,
    "sol": Role.CHECKER,
    "tess": Role.CHECKER,
    "rita": Role.REGISTRAR,
}


@dataclass
class Rows:
    """Writes each call's events as a block of its own."""

    engine: Engine
    now: int = NOW
    block: int = 0
    replayed: Any = field(
        default_factory=lambda: SimpleNamespace(
            members={
                bytes.fromhex(account(name)[2:]): Member(role, 0, 1 << 40, 0)
                for name, role in ROLES.items()
            }
        )
    )

    def write(self, *kinds: tuple[type[ev.Event], dict[str, Any]], at: int | None = None) -> str:
        """The transaction."""
        self.block += 1
        tx = secrets.token_bytes(32)
        events = [
            kind(block=self.block, tx=tx, index=index, **fields)
            for index, (kind, fields) in enumerate(kinds)
        ]
        with self.engine.begin() as connection:
            upsert(
                connection,
                Block,
                [
                    Block(
                        number=self.block,
                        hash=secrets.token_hex(32),
                        timestamp=self.now if at is None else at,
                    )
                ],
            )
            connection.execute(insert(Event), [event_values(event, self.block) for event in events])
            accesses = [
                Access(**projectors.access_values(event))
                for event in events
                if isinstance(event, ev.AccessGranted)
            ]
            upsert(connection, Access, accesses)
        return tx.hex()

    def permit(self, applicant: str = "noor", status: int = PermitStatus.APPROVED, days: int = 90):
        permit = secrets.token_bytes(32)
        row = Permit(
            permit=permit.hex(),
            dataset="d" * 64,
            applicant=account(applicant),
            status=int(status),
            expiry=self.now + days * DAY,
            need=0,
            categories=0,
            code="0" * 64,
            params_schema="0" * 64,
            minimum=10,
            output_classes=2,
            questions=12,
            document="0" * 64,
            request_hash="0" * 64,
            yes=0,
            no=0,
        )
        with self.engine.begin() as connection:
            upsert(connection, Permit, [row])
        return permit

    def run(
        self,
        permit: bytes | None = None,
        analyst: str = "noor",
        state: str = "queued",
        subject: str = "",
    ):
        run = secrets.token_bytes(32)
        row = Run(
            run=run.hex(),
            permit=(permit or self.permit()).hex(),
            analyst=account(analyst),
            subject=subject,
            params="{}",
            params_hash="0" * 64,
            result_key="0" * 64,
            deadline=1 << 40,
            attempt=1,
            state=state,
            reason=0,
            block=self.block,
        )
        with self.engine.begin() as connection:
            upsert(connection, Run, [row])
        return run

    def consent(self, subject: bytes, days: int, status: int = ConsentStatus.LIVE) -> None:
        row = Consent(
            dataset="d" * 64,
            subject=subject.hex(),
            status=int(status),
            epoch=0,
            version=1,
            from_day=0,
            until_day=self.now // DAY + days,
            purposes=1,
            categories=1,
        )
        with self.engine.begin() as connection:
            upsert(connection, Consent, [row])

    def use(self, run: bytes, *subjects: bytes, attempt: int = 1, at: int | None = None) -> str:
        return self.write(
            *(
                (
                    ev.AccessGranted,
                    {"run": run, "subject": subject, "attemptEpochVersion": attempt << 56 | 1},
                )
                for subject in subjects
            ),
            at=at,
        )
