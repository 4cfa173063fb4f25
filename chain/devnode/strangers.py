"""Limits for transactions of unknown senders (strangers): only calls that change the ledger, within
a shared rate limit.

Any client may send a transaction to the gateway: a patient can withdraw without the service. But
each one is stored for ever. So a transaction of an address that is no sender of this deployment is
mined only if its simulation does not revert and leaves a step on the trail; and all strangers
together may add only so many bytes a second. A withdrawal that ends something has a separate limit,
and then the common one. That limit refills faster than consents can be made under the common one;
consents that are made through the service are limited there, by person (api/http/rate_limit.py).

Only mined transactions count: refused ones use up no limit. A simulation is queued like every other
execution (chain/devnode/executions.py).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import rlp
from eth_utils.abi import function_abi_to_4byte_selector
from hexbytes import HexBytes

from chain.accounts import Account, TypedTransaction
from chain.artifacts import CONTRACTS, load
from chain.consent_slot import epoch_of, status_of, takes_back
from chain.devnode.anvil import NodeRefused
from chain.devnode.encoding import is_canonical
from chain.events import ConsentRevoked, event_topic

SERVER_ERROR = -32000  # JSON-RPC's code for what the server itself refuses
GAS_CAP = 16_777_216  # EIP-7825, a transaction
MAX_OWN = 256 << 10  # bytes of any transaction; the largest of this program has below 200 kB
MAX_RAW = 128 << 10  # bytes of a stranger's transaction; a batch of 60 consents has 40 kB
STEP_BYTES = 1_000  # on disk for a block and for each of its events, beside the transaction
# Bytes that all strangers may add at once, and bytes a second that are refilled.
BURST, RATE = 512 << 10, 2 << 10
REVOKE_BURST, REVOKE_RATE = 128 << 10, 4 << 10  # the same for withdrawals alone
# The first byte: of an RLP list, or the type of a typed transaction (EIP-2718).
_LEGACY, _TYPES = 0xC0, (1, 2)
Exchange = Callable[[str, list[object]], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A signed transaction; `to` is "" if it creates a contract. Addresses in lower case."""

    sender: str
    nonce: int
    to: str
    value: int
    data: bytes
    gas: int
    size: int  # bytes of the whole transaction


class Share:
    """A rate limit (token bucket): `burst` bytes at once, `rate` bytes a second refilled. The
    caller holds a lock.
    """

    def __init__(self, burst: int, rate: float, clock: Callable[[], float]) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._left, self._at = float(burst), clock()

    def take(self, size: int) -> bool:
        now = self._clock()
        self._left = min(self._burst, self._left + self._rate * (now - self._at))
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True


class Strangers:
    """The limits for one deployment: its identity, and the file of its senders (one address a
    line), read after changes.

    Without an identity every sender is accepted: the deployment is being set up.
    """

    def __init__(
        self,
        identity: Path,
        senders: Path,
        rate: float = RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity, self._senders = _Watched(identity), _Watched(senders)
        self._lock = threading.Lock()
        self._common = Share(BURST, rate, clock)
        self._withdrawals = Share(REVOKE_BURST, REVOKE_RATE, clock)
        self._revoked = "0x" + event_topic(ConsentRevoked).hex()

    def contracts(self) -> frozenset[str] | None:
        """The addresses of the deployment's contracts, None without an identity. Raises
        NodeRefused.
        """
        identity = self._identity.read()
        return None if identity is None else frozenset(_contracts(identity).values())

    def admit(self, raw: str, exchange: Exchange) -> None:
        """Raise NodeRefused for a transaction that may not be mined. `exchange` calls the node."""
        identity = self._identity.read()
        if identity is None:
            return
        if len(raw) > 2 * MAX_OWN:  # before anything of it is decoded
            raise _refused(f"a transaction has at most {MAX_OWN} bytes")
        sent = read_transaction(bytes.fromhex(raw[2:]))
        count = _result(exchange("eth_getTransactionCount", [sent.sender, "latest"]))
        if int(str(count), 16) != sent.nonce:  # a repeated old one would be stored as well
            high = sent.nonce > int(str(count), 16)
            raise _refused(f"nonce too {'high' if high else 'low'}")
        known = (self._senders.read() or b"").decode("ascii", "replace").lower().split()
        if sent.sender not in known:
            self._admit_stranger(sent, _contracts(identity), exchange)

    def _admit_stranger(self, sent: Sent, contracts: dict[str, str], exchange: Exchange) -> None:
        if sent.size > MAX_RAW:
            raise _refused(f"a transaction of a stranger has at most {MAX_RAW} bytes")
        names = {address: name for name, address in contracts.items()}
        if not _is_canonical(names.get(sent.to, ""), sent.data):
            raise _refused("strangers' calls are taken in their one shortest encoding only")
        call: dict[str, object] = {
            "from": sent.sender,
            "data": "0x" + sent.data.hex(),
            "value": hex(sent.value),
            "gas": hex(min(sent.gas, GAS_CAP)),
        }
        if sent.to:
            call["to"] = sent.to
        _result(exchange("eth_call", [call, "latest"]))  # raises the contract's error
        tracer = {"tracer": "callTracer", "tracerConfig": {"withLog": True}}
        events = _events(_result(exchange("debug_traceCall", [call, "latest", tracer])))
        if contracts["Trail"] not in [address for address, _ in events]:
            raise _refused("the call would change nothing on the ledger")
        # It is stored in the journal in hex, in the node's state, and in the block's frame.
        cost = 3 * sent.size + STEP_BYTES * (1 + len(events))
        # A repeated old withdrawal is recorded, too, as stale; a first one invalidates a consent
        # under way.
        registry = contracts["ConsentRegistry"]
        withdraws = (registry, self._revoked) in events and _takes_back(
            sent.data, registry, exchange
        )
        with self._lock:
            taken = (withdraws and self._withdrawals.take(cost)) or self._common.take(cost)
        if not taken:
            raise _refused(
                "strangers have sent much lately: wait a minute, or send it through the service"
            )


class _Watched:
    """A file that is read again after a change; None while it does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._data: bytes | None = None

    def read(self) -> bytes | None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._data, self._seen = self._path.read_bytes(), seen
        except FileNotFoundError:
            self._data, self._seen = None, None
        except OSError:
            raise _refused("a file of the deployment cannot be read") from None
        return self._data


def read_transaction(raw: bytes) -> Sent:
    """A signed transaction with its sender. Raises NodeRefused for other bytes, or another
    transaction type.
    """
    try:
        if raw[0] >= _LEGACY:
            nonce, _, gas, to, value, data, *_ = rlp.decode(raw)
            numbers = [int.from_bytes(item, "big") for item in (nonce, value, gas)]
        elif raw[0] in _TYPES:
            if rlp.decode(raw[1:])[-4]:
                raise _refused("a transaction with an access list is not taken")
            fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
            to, data = fields["to"], fields["data"]
            numbers = [int(fields[name]) for name in ("nonce", "value", "gas")]
        else:
            raise _refused("a transaction of this kind is not taken")
        sender = str(Account.recover_transaction(raw)).lower()
        target = "0x" + bytes(to).hex() if to else ""
        return Sent(sender, numbers[0], target, numbers[1], bytes(data), numbers[2], len(raw))
    except NodeRefused:
        raise
    except Exception:  # the libraries raise a dozen exceptions for invalid bytes
        raise _refused("this is no signed transaction") from None


def _takes_back(data: bytes, registry: str, exchange: Exchange) -> bool:
    """Whether this call of `revoke` ends a live consent, or is the person's first message on this
    dataset.
    """
    selector, subject, dataset = data[:4], data[4:36], data[36:68]
    if selector != _selector("ConsentRegistry", "revoke"):
        return False
    query = _selector("ConsentRegistry", "slotOf") + subject + dataset
    call = {"to": registry, "data": "0x" + query.hex()}
    slot = int(str(_result(exchange("eth_call", [call, "latest"]))), 16)
    return takes_back(status_of(slot), epoch_of(slot))


def _selector(contract: str, function: str) -> bytes:
    entry = next(item for item in load(contract).abi if item.get("name") == function)
    return bytes(function_abi_to_4byte_selector(cast("Any", entry)))


def _contracts(identity: bytes) -> dict[str, str]:
    """The addresses of the deployment's contracts by name. Raises NodeRefused."""
    try:
        items = json.loads(identity)["contracts"]
        addresses = {str(item["name"]): "0x" + str(item["address"])[-40:].lower() for item in items}
        return {name: addresses[name] for name in CONTRACTS}
    except (ValueError, KeyError, TypeError):
        raise _refused("the deployment's identity cannot be read") from None


def _is_canonical(contract: str, data: bytes) -> bool:
    """Whether this calls one of the contract's functions in the canonical encoding.

    Unused bytes between arguments would be stored for ever, in the journal and in every export.
    """
    abi = load(contract).abi if contract else []
    functions = [item for item in abi if item["type"] == "function"]
    for entry in functions:
        if bytes(function_abi_to_4byte_selector(cast("Any", entry))) == data[:4]:
            return is_canonical(entry["inputs"], data[4:])
    return False


def _events(frame: object) -> list[tuple[str, str]]:
    """(contract, topic) of each event of a traced call; those of reverted frames did not happen."""
    if not isinstance(frame, dict) or frame.get("error"):
        return []
    events = [
        (str(log["address"]).lower(), str((log.get("topics") or [""])[0]))
        for log in frame.get("logs", [])
    ]
    return events + [event for inner in frame.get("calls", []) for event in _events(inner)]


def _result(answer: dict[str, object]) -> object:
    error = answer.get("error")
    if isinstance(error, dict):
        raise NodeRefused(error)
    return answer["result"]


def _refused(message: str) -> NodeRefused:
    return NodeRefused({"code": SERVER_ERROR, "message": message})
