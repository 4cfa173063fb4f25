"""What the gateway takes from strangers: calls that change the ledger's state, within one limit for all of them.

Anybody may send a transaction to the gateway: a patient can withdraw without asking the service. But each one is kept
for ever. So a transaction of an address that is no sender of this deployment is mined only if a simulation from that
address does not revert and leaves a step on the trail; and all strangers together may add so many bytes a second. A
withdrawal that takes something back has a share of its own, and the common one when that is used up. It comes back
faster than consents can be made from the common one; those that are made through the service are bounded there, by
person (api/http/rate_limit.py).

Only what is mined is counted: whoever sends what is refused uses up nobody's share. A simulation waits its turn as
every execution that anybody may ask for (chain/devnode/executions.py).
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
MAX_OWN = 256 << 10  # bytes of any transaction; the largest that we send has below 200 kB
MAX_RAW = 128 << 10  # bytes of a stranger's transaction; a batch of 60 consents has 40 kB
STEP_BYTES = (
    1_000  # that a block, and each event of it, takes on disk beside the transaction itself
)
BURST, RATE = (
    512 << 10,
    2 << 10,
)  # bytes that all strangers may add at once; bytes a second that come back
REVOKE_BURST, REVOKE_RATE = 128 << 10, 4 << 10  # the same of withdrawals alone
_LEGACY, _KINDS = (
    0xC0,
    (1, 2),
)  # the first byte: of an RLP list, or the kind of a typed transaction (EIP-2718)
Exchange = Callable[[str, list[object]], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A signed transaction; `to` is "" where it creates a contract. Addresses in lower case."""

    sender: str
    nonce: int
    to: str
    value: int
    data: bytes
    gas: int
    size: int  # bytes of the whole transaction


class Share:
    """So many bytes at once, and so many a second that come back. The caller holds a lock."""

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
    """The rule for one deployment: its identity, and the file of its senders (one address a line), read as they change.

    Without an identity nothing is decided yet: the deployment is being set up, and every sender is let through.
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
        """The addresses of the deployment's contracts, None without an identity. Raises NodeRefused."""
        identity = self._identity.read()
        return None if identity is None else frozenset(_contracts(identity).values())

    def admit(self, raw: str, exchange: Exchange) -> None:
        """Return for a transaction that may be mined; raise NodeRefused for another one. `exchange` asks the node."""
        identity = self._identity.read()
        if identity is None:
            return
        if len(raw) > 2 * MAX_OWN:  # before anything of it is decoded
            raise _refused(f"a transaction has at most {MAX_OWN} bytes")
        sent = read_transaction(bytes.fromhex(raw[2:]))
        count = _result(exchange("eth_getTransactionCount", [sent.sender, "latest"]))
        if int(str(count), 16) != sent.nonce:  # an old one sent again would be kept as well
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
        _result(exchange("eth_call", [call, "latest"]))  # raises what the contract says
        tracer = {"tracer": "callTracer", "tracerConfig": {"withLog": True}}
        events = _events(_result(exchange("debug_traceCall", [call, "latest", tracer])))
        if contracts["Trail"] not in [address for address, _ in events]:
            raise _refused("the call would change nothing on the ledger")
        # In the journal in hex, in the node's state, and in every block's frame.
        cost = 3 * sent.size + STEP_BYTES * (1 + len(events))
        # A copy of an old one is recorded too, as stale; and one of nothing makes a later consent worthless.
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
    """A file that is read again when it has changed; None while there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._data: bytes | None = None

    def read(self) -> bytes | None:
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._data, self._seen = self._path.read_bytes(), seen
        except FileNotFoundError:
            self._data, self._seen = None, None
        except OSError:
            raise _refused("a file of the deployment cannot be read") from None
        return self._data


def read_transaction(raw: bytes) -> Sent:
    """A signed transaction and who signed it. Raises NodeRefused for what is none, or of another kind."""
    try:
        if raw[0] >= _LEGACY:
            nonce, _, gas, to, value, data, *_ = rlp.decode(raw)
            numbers = [int.from_bytes(one, "big") for one in (nonce, value, gas)]
        elif raw[0] in _KINDS:
            if rlp.decode(raw[1:])[-4]:
                raise _refused("a transaction with an access list is not taken")
            fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
            to, data = fields["to"], fields["data"]
            numbers = [int(fields[name]) for name in ("nonce", "value", "gas")]
        else:
            raise _refused("a transaction of this kind is not taken")
        sender = str(Account.recover_transaction(raw)).lower()
        where = "0x" + bytes(to).hex() if to else ""
        return Sent(sender, numbers[0], where, numbers[1], bytes(data), numbers[2], len(raw))
    except NodeRefused:
        raise
    except Exception:  # the libraries raise a dozen kinds for bytes that are none
        raise _refused("this is no signed transaction") from None


def _takes_back(data: bytes, registry: str, exchange: Exchange) -> bool:
    """Whether a consent is live that this call of `revoke` ends, or it is her first word on this dataset."""
    selector, subject, dataset = data[:4], data[4:36], data[36:68]
    if selector != _selector("ConsentRegistry", "revoke"):
        return False
    asked = _selector("ConsentRegistry", "slotOf") + subject + dataset
    call = {"to": registry, "data": "0x" + asked.hex()}
    slot = int(str(_result(exchange("eth_call", [call, "latest"]))), 16)
    return takes_back(status_of(slot), epoch_of(slot))


def _selector(contract: str, function: str) -> bytes:
    entry = next(one for one in load(contract).abi if one.get("name") == function)
    return bytes(function_abi_to_4byte_selector(cast("Any", entry)))


def _contracts(identity: bytes) -> dict[str, str]:
    """The addresses of the deployment's contracts by name. Raises NodeRefused: nothing is taken on a guess."""
    try:
        items = json.loads(identity)["contracts"]
        found = {str(item["name"]): "0x" + str(item["address"])[-40:].lower() for item in items}
        return {name: found[name] for name in CONTRACTS}
    except (ValueError, KeyError, TypeError):
        raise _refused("the deployment's identity cannot be read") from None


def _is_canonical(contract: str, data: bytes) -> bool:
    """Whether this calls one of the contract's functions in the one encoding that every library writes.

    A stranger's slack between arguments would be kept for ever, in the journal and in every export.
    """
    functions = [one for one in load(contract).abi if one["type"] == "function"] if contract else []
    for entry in functions:
        if bytes(function_abi_to_4byte_selector(cast("Any", entry))) == data[:4]:
            return is_canonical(entry["inputs"], data[4:])
    return False


def _events(frame: object) -> list[tuple[str, str]]:
    """(contract, topic) of each event of a traced call; those of reverted frames did not happen."""
    if not isinstance(frame, dict) or frame.get("error"):
        return []
    own = [
        (str(log["address"]).lower(), str((log.get("topics") or [""])[0]))
        for log in frame.get("logs", [])
    ]
    return own + [one for inner in frame.get("calls", []) for one in _events(inner)]


def _result(answer: dict[str, object]) -> object:
    error = answer.get("error")
    if isinstance(error, dict):
        raise NodeRefused(error)
    return answer["result"]


def _refused(message: str) -> NodeRefused:
    return NodeRefused({"code": SERVER_ERROR, "message": message})
