"""A worker's resources: key, database, computing children, clients of ledger, bucket, broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from api.worker.sandbox import ForkServer
from chain.ledger import Ledger
from chain.wallets import Wallet
from governance.objects.broker_client import BrokerClient
from governance.objects.vault import Bucket
from governance.presence import Presence
from governance.readmodel.database import Database
from governance.readmodel.projection import Projection


@dataclass(slots=True)
class Context:
    """One worker identity. `children` fork computing processes; device: cpu, cuda or auto."""

    wallet: Wallet
    ledger: Ledger
    engine: Database
    projection: Projection
    bucket: Bucket
    broker: BrokerClient
    clock: Callable[[], int] = lambda: int(time.time())
    presence: Presence | None = None  # the sign of life under its key
    children: ForkServer = field(default_factory=ForkServer)
    device: str = "auto"
    handed: set[bytes] = field(default_factory=set)  # ingests whose list we passed to the broker

    def sign_of_life(self) -> None:
        """Called every few seconds while the worker lives."""
        if self.presence is not None:
            self.presence.sign()

    @property
    def replaced(self) -> bool:
        """Whether a later process works under the same key."""
        return self.presence is not None and self.presence.replaced.is_set()
