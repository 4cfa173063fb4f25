"""Fault injection: counts where a process acts on the world, and kills, fails or hangs it at the
N-th place. Not in the product.

A boundary is crossed twice, before the effect and after it: a call of the ledger, a commit, an
object put or got, a broker's question and answer, a file made durable or given its name, a line to
the chain's own node. The product has no hook for this: its adapters are wrapped here, in a process
that a test forked.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import OperationalError

import chain.devnode.anvil
import chain.node
import governance.broker.endpoint
import governance.broker.node
import governance.objects.broker_client
import governance.objects.vault
from chain.devnode import gateway
from chain.devnode.anvil import NodeGone
from chain.errors import LedgerDown
from governance.broker.node import NodeDown
from governance.errors import BrokerUnavailable, BucketUnavailable

HUNG = 30.0  # seconds: longer than anybody here waits


@dataclass(slots=True)
class Counter:
    """mode: kill (-9), fail (the adapter's own error) or hang (as if the machine stood still), at
    the `at`-th place.

    It counts from `begin` on, only places of this name if one is given, and says in the file
    `reached` where it struck.
    """

    mode: str
    at: int
    reached: Path
    only: str = ""
    count: int = 0
    counts: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, *_: object) -> None:
        self.counts = True

    def tick(self, where: str, failure: Callable[[], Exception]) -> None:
        with self._lock:
            self.count += self.counts and self.only in ("", where)
            if self.count != self.at or self.reached.exists():
                return
            self.reached.write_text(where)
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "hang":
            time.sleep(HUNG)
        raise failure()


# adapter, the name of its function, what a failure looks like there
def _failures() -> list[tuple[Any, str, Callable[[], Exception]]]:
    def disk() -> Exception:
        return OSError(28, "No space left on device")

    return [
        (chain.node.Node, "make_request", lambda: LedgerDown("the ledger does not answer (test)")),
        (chain.devnode.anvil.Wire, "exchange", lambda: NodeGone("the chain node has stopped")),
        (DefaultDialect, "do_commit", lambda: OperationalError("commit", {}, disk())),
        (
            governance.objects.vault.Bucket,
            "_write",
            lambda: BucketUnavailable("the bucket does not answer"),
        ),
        (
            governance.objects.vault.Bucket,
            "_read",
            lambda: BucketUnavailable("the bucket does not answer"),
        ),
        (
            governance.objects.broker_client.BrokerClient,
            "_ask",
            lambda: BrokerUnavailable("the broker does not answer"),
        ),
        (governance.broker.node.Node, "_call", lambda: NodeDown("the node does not answer")),
        (governance.broker.endpoint.Endpoint, "_answer", lambda: OSError(32, "Broken pipe")),
        (os, "fsync", disk),
        (os, "rename", disk),
        (os, "replace", disk),
        (os, "link", disk),
    ]


def arm(counter: Counter) -> None:
    """Wrap every adapter of this process, for good."""
    for owner, name, failure in _failures():
        setattr(
            owner,
            name,
            _wrapped(getattr(owner, name), f"{owner.__name__}.{name}", counter, failure),
        )


def be_impatient(seconds: float = 1.0) -> None:
    """What waits for a part that hangs gives up soon: how long it waits does not matter here."""
    chain.node.Node.__init__.__defaults__ = (seconds,)
    *others, _ = governance.broker.node.Node.__init__.__defaults__ or ()
    governance.broker.node.Node.__init__.__defaults__ = (*others, seconds)
    ask = governance.objects.broker_client.BrokerClient._ask

    def asked(client: Any, *arguments: Any) -> Any:
        client._http.timeout = seconds
        return ask(client, *arguments)

    governance.objects.broker_client.BrokerClient._ask = asked  # type: ignore[method-assign]


def _wrapped(
    original: Callable[..., Any], name: str, counter: Counter, failure: Callable[[], Exception]
) -> Any:
    @functools.wraps(original)
    def crossed(*arguments: Any, **named: Any) -> Any:
        if len(arguments) > 1 and arguments[1] in gateway.READS and name.startswith("Wire."):
            return original(
                *arguments, **named
            )  # passed on by the gateway, which has nothing to lose by it
        counter.tick(f"{name} begins", failure)
        result = original(*arguments, **named)
        counter.tick(f"{name} done", failure)
        return result

    return crossed
