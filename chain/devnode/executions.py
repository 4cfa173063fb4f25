"""Limits for calls that make the node execute code: their gas, and how many are executed at a time.

Calls are not signed, so strangers cannot be told from the deployment's own processes, and the call
itself decides. A small call of the deployment's own contracts costs what its calldata allows, since
they loop over nothing that a stranger can make longer; a withdrawal is one, and is executed at
once. All others (large calls, calls of other code, simulations of either) are executed one at a
time; a few wait, further ones are refused.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chain.devnode.anvil import NodeRefused

SERVER_ERROR = -32000  # JSON-RPC's code for what the server itself refuses
GAS_CAP = 16_777_216  # EIP-7825, a transaction: what authorising a run of thousands may take
FOREIGN_GAS = 1 << 20  # for other code than the deployment's: volens calls none
METHODS = frozenset({"eth_call", "eth_estimateGas", "debug_traceCall"})
SMALL = 10_000  # characters of a call as JSON; a withdrawal has 1,100
PLAIN = frozenset({"from", "to", "data", "input", "value", "gas"})  # fields of a small call
WAITING = 16  # calls that wait while another one is executed
WAIT_SECONDS = 10.0
Contracts = Callable[[], frozenset[str] | None]


class Turn:
    """Executes one call at a time; a few wait, further ones are refused."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(1 + WAITING)
        self._turn = threading.Lock()

    @contextmanager
    def taken(self, check_caller: Callable[[], None]) -> Iterator[None]:
        """Raises NodeRefused, and the errors of `check_caller` after the wait."""
        if not self._slots.acquire(blocking=False):
            raise _busy()
        try:
            if not self._turn.acquire(timeout=WAIT_SECONDS):
                raise _busy()
            try:
                check_caller()
                yield
            finally:
                self._turn.release()
        finally:
            self._slots.release()


class Executions:
    """The limits for one node. `contracts` gives the deployment's addresses, None while there is no
    deployment yet.
    """

    def __init__(self, contracts: Contracts = lambda: None) -> None:
        self._contracts, self._large = contracts, Turn()

    def bounded(self, params: list[object]) -> list[object]:
        """The call without state overrides and with limited gas: anvil itself has no limit."""
        call = params[0] if params else None
        if not isinstance(call, dict):
            return params[:2]
        known = self._contracts()
        creates = call.get("to") is None  # for example a second deployment
        ours = known is None or _target(call) in known
        cap = GAS_CAP if ours or creates else FOREIGN_GAS
        gas = call.get("gas")
        given = isinstance(gas, str) and is_hex(gas) and 2 < len(gas) <= 18
        call = {name: value for name, value in call.items() if name != "gasLimit"}
        return [call | {"gas": hex(min(int(str(gas), 16), cap) if given else cap)}, *params[1:2]]

    @contextmanager
    def turn(self, params: list[object], check_caller: Callable[[], None]) -> Iterator[None]:
        """A context in which one call may be executed. Raises NodeRefused, and the errors of
        `check_caller` after the wait.
        """
        if self._is_small(params):
            yield
            return
        with self._large.taken(check_caller):
            yield

    def _is_small(self, params: list[object]) -> bool:
        call = params[0] if params else None
        return (
            isinstance(call, dict)
            and set(call) <= PLAIN
            and _target(call) in (self._contracts() or ())
            and len(json.dumps(params)) <= SMALL
        )


def is_hex(text: str) -> bool:
    return text[:2] == "0x" and len(text) > 2 and set(text[2:]) <= set("0123456789abcdefABCDEF")


def _target(call: dict[str, object]) -> str:
    return str(call.get("to")).lower()


def _busy() -> NodeRefused:
    message = "too many large questions are being answered: try again in a moment"
    return NodeRefused({"code": SERVER_ERROR, "message": message})
