"""Ledger client: reads the state of the contracts, relays signed messages, fetches raw logs,
deploys.

1. `connect` refuses a node that is not the pinned ledger (chain id, genesis, code of each contract).
2. Every call is tried before it is sent; a refusal carries the contract's own error name.
3. Relaying needs no role: the contracts check the signatures inside a call, never its sender.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

import rlp
import urllib3
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_abi_to_4byte_selector
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain.artifacts import CONTRACTS, error_names, load
from chain.errors import ChainError, IdentityMismatch, LedgerDown, LedgerSlow, Refused
from chain.events import Head, Receipt, event_topic, parse_all
from chain.paging import TOO_LARGE, Pages
from chain.signatures import Domain, domain_of, typed_data
from chain.transactor import Outbox, Transactor
from chain.wallets import Wallet

MAX_LEASE = 86_400
SEARCHED_BLOCKS = 256  # from the deploy block on: they must contain the four contracts' creation
# By constructor argument, how a difference is described.
DIFFERENCES = {
    "origin": "other rules",
    "founders": "other founders",
    "quorum_": "another quorum",
    "salt": "another salt",
    "cohortFloor_": "another smallest cohort",
    "maxLease_": "another longest lease",
    "roleDelay_": "another delay before a new worker or broker acts",
}


class Node:
    """Raw JSON-RPC to one node; every failure is a ChainError."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self.url = url
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=4)

    def call(self, method: str, params: list[Any]) -> Any:
        """The result of one request. Raises LedgerDown (LedgerSlow), Refused (a revert) or
        ChainError.
        """
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            response = self._pool.request("POST", self.url, json=request)
            answer = response.json() if response.status == 200 else {}
        except urllib3.exceptions.ReadTimeoutError:
            raise LedgerSlow(
                "the ledger did not answer in time", "try again when it has less to do"
            ) from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _down(type(error).__name__) from None
        if "error" in answer:
            raise _refusal(cast("Mapping[str, Any]", answer["error"]))
        if "result" not in answer:
            raise _down(f"status {response.status}")
        return answer["result"]


class Ledger:
    """One deployment, read by `Node` and written through one transactor."""

    def __init__(
        self, node: Node, identity: Mapping[str, Any], transactor: Transactor | None = None
    ) -> None:
        self.node = node
        self.identity = identity
        self.domain: Domain = domain_of(identity)
        self._transactor = transactor

    @classmethod
    def connect(
        cls,
        url: str,
        identity: Mapping[str, Any],
        wallet: Wallet | None = None,
        outbox: Outbox | None = None,
        resend: bool = True,
    ) -> Ledger:
        """A checked connection; with `wallet` and `outbox` it can relay. Raises IdentityMismatch,
        LedgerDown.

        resend: whether an interrupted call is sent again when the ledger is back, or dropped.
        """
        node = Node(url)
        check_identity(node, identity)
        transactor = None
        if wallet is not None and outbox is not None:
            transactor = Transactor(
                node.call, wallet, outbox, int(identity["chainId"]), resend=resend
            )
        ledger = cls(node, identity, transactor)
        ledger.resume()
        return ledger

    def resume(self) -> list[Receipt]:
        """Finish transactions that were pending when the ledger went down; `relay` does this first.

        A signer that depends on the ledger's state (the version that a grant replaces) MUST call
        this before it reads that state.
        """
        return self._transactor.resume() if self._transactor else []

    def relay(self, contract: str, function: str, *arguments: Any) -> Receipt:
        """Send one call and wait until it is mined; a struct is a tuple in ABI order
        (`message_tuple`).
        """
        if self._transactor is None:
            raise ChainError("this connection only reads", "connect with a relay key")
        return self._transactor.send(
            self.domain.contracts[contract], self.encode(contract, function, *arguments)
        )

    def encode(self, contract: str, function: str, *arguments: Any) -> bytes:
        """Calldata of one call."""
        entry = _function(contract, function)
        return function_abi_to_4byte_selector(cast("Any", entry)) + encode(
            _types(entry["inputs"]), arguments
        )

    def read(self, contract: str, function: str, *arguments: Any, block: str = "latest") -> Any:
        """The decoded result of a view function, by default at the newest block."""
        data = "0x" + self.encode(contract, function, *arguments).hex()
        raw = self.node.call(
            "eth_call", [{"to": self.domain.contracts[contract], "data": data}, block]
        )
        values = decode(_types(_function(contract, function)["outputs"]), bytes.fromhex(raw[2:]))
        return values[0] if len(values) == 1 else values

    def head(self, block: int | None = None) -> tuple[int, bytes]:
        """The number of steps of the trail, and the head after the last; at a block, or at the
        newest.
        """
        count, value = self.read("Trail", "head", block="latest" if block is None else hex(block))
        return int(count), bytes(value)

    def head_of(self, count: int) -> Head | None:
        """The head after step `count` with its block; None if the node has no such step."""
        topic = "0x" + event_topic(Head).hex()
        criteria = {
            "fromBlock": hex(int(self.identity["deployBlock"])),
            "toBlock": "latest",
            "address": self.domain.contracts["Trail"],
            "topics": [topic, f"0x{count:064x}"],
        }
        heads = parse_all(self.node.call("eth_getLogs", [criteria]))
        return heads[0] if heads and isinstance(heads[0], Head) else None

    def block(self, number: int | str = "latest") -> dict[str, Any]:
        """A raw block header with its transaction hashes."""
        tag = hex(number) if isinstance(number, int) else number
        header = self.node.call("eth_getBlockByNumber", [tag, False])
        if header is None:
            raise ChainError("the node has no such block", "look at its newest block")
        return dict(header)

    def now(self) -> int:
        """The newest block's time in seconds, which the contracts use."""
        return int(self.block()["timestamp"], 16)

    def logs(self, first: int, last: int) -> list[dict[str, Any]]:
        """Raw logs of the four contracts in blocks first..last."""
        criteria = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": list(self.domain.contracts.values()),
        }
        return list(self.node.call("eth_getLogs", [criteria]))

    def page_of_logs(self, first: int, last: int, pages: Pages) -> tuple[int, list[dict[str, Any]]]:
        """The next page of raw logs from `first` on, and the block where it ends, at most `last`.

        A page that is too slow or too large for the node is requested again in halves. Raises
        ChainError.
        """
        while True:
            end = pages.end(first, last)
            try:
                logs = self.logs(first, end)
            except LedgerSlow:
                if not pages.halve():
                    raise
                continue
            pages.took(end - first + 1, len(logs))
            return end, logs

    def all_logs(self, first: int, last: int) -> Iterator[list[dict[str, Any]]]:
        """Raw logs of the four contracts in blocks first..last, in pages; a page has all logs of
        its transactions.
        """
        pages = Pages()
        while first <= last:
            end, logs = self.page_of_logs(first, last, pages)
            yield logs
            first = end + 1

    def transaction(self, tx: str) -> dict[str, Any]:
        return dict(self.node.call("eth_getTransactionByHash", [tx]))


def check_identity(node: Node, identity: Mapping[str, Any]) -> None:
    """Raise IdentityMismatch unless the node holds exactly the pinned deployment."""
    chain_id = int(node.call("eth_chainId", []), 16)
    facts: list[tuple[str, object, object]] = [("chain id", chain_id, int(identity["chainId"]))]
    genesis = node.call("eth_getBlockByNumber", ["0x0", False])
    facts.append(
        (
            "genesis block",
            genesis["hash"].removeprefix("0x"),
            identity["genesisHash"].removeprefix("0x"),
        )
    )
    for item in identity["contracts"]:
        code = node.call("eth_getCode", [to_checksum_address(item["address"]), "latest"])
        if len(code) <= 2:
            raise IdentityMismatch(
                f"there is no contract where {item['name']} is said to be",
                "this is another ledger, or the identity is wrong: ask whoever gave it to you",
            )
        code_hash = hashlib.sha256(bytes.fromhex(code[2:])).hexdigest()
        facts.append((f"code of {item['name']}", code_hash, item["codeHash"].removeprefix("0x")))
    for what, actual, pinned in facts:
        if actual != pinned:
            raise IdentityMismatch(
                f"the {what} is not the pinned one",
                "this is another ledger: point volens at the one it was set up with",
            )


def check_creation(node: Node, identity: Mapping[str, Any]) -> None:
    """Raise IdentityMismatch unless this release's code created the contracts with the values of
    the identity.

    A contract's creation code and arguments determine its runtime code and its whole initial state:
    exactly the founders, the quorum, the smallest cohort, the delays, and the contracts that call
    each other.
    """
    addresses = {
        item["name"]: to_checksum_address(item["address"]) for item in identity["contracts"]
    }
    founders = [to_checksum_address(who) for who in identity["founders"]]
    salt = bytes.fromhex(identity["salt"].removeprefix("0x"))
    created = _creations(node, int(identity["deployBlock"]), set(addresses.values()))
    values = [int(identity[name]) for name in ("quorum", "cohortFloor", "roleDelay", "maxLease")]
    chain = (int(identity["chainId"]), bytes.fromhex(identity["genesisHash"].removeprefix("0x")))
    differences = [
        (name, difference)
        for name, arguments in _arguments(chain, founders, salt, addresses, *values).items()
        if (difference := _difference(name, arguments, created.get(addresses[name])))
    ]
    # The trail's origin is a hash of all rules, so another contract's difference is more precise.
    differences.sort(key=lambda item: item[1].endswith(DIFFERENCES["origin"]))
    if differences:
        name, difference = differences[0]
        raise IdentityMismatch(
            f"{name} is not what the file says: {difference}",
            "do not sign; ask whoever sent the file to you",
        )


def _creations(node: Node, first: int, addresses: set[str]) -> dict[str, bytes]:
    """By address, the creation code of these contracts, from transactions soon after block `first`."""
    codes: dict[str, bytes] = {}
    last = min(int(node.call("eth_blockNumber", []), 16), first + SEARCHED_BLOCKS)
    for number in range(first, last + 1):
        block = node.call("eth_getBlockByNumber", [hex(number), True]) or {}
        for tx in block.get("transactions", []):
            address = created_at(tx["from"], int(tx["nonce"], 16)) if tx.get("to") is None else ""
            if address in addresses:
                codes[address] = bytes.fromhex(tx["input"][2:])
        if len(codes) == len(addresses):
            break
    return codes


def _difference(name: str, arguments: Sequence[Any], creation: bytes | None) -> str:
    """In words, how a contract's creation differs from the expected one; "" if it does not."""
    code, inputs = load(name).bytecode, _constructor(name)
    if creation is None:
        return "nothing created it soon after the deploy block"
    if creation == code + encode(_types(inputs), arguments):
        return ""
    if not creation.startswith(code):
        return "it was not created from this release's code"
    try:
        actual = decode(_types(inputs), creation[len(code) :])
    except DecodingError:
        actual = ()
    for entry, value, expected in zip(inputs, actual, arguments, strict=False):
        if encode(_types([entry]), [value]) != encode(_types([entry]), [expected]):
            return (
                f"it was created with {DIFFERENCES.get(entry['name'], 'another contract to call')}"
            )
    return "it was not created with the arguments of this release"


def deploy(
    url: str,
    wallet: Wallet,
    outbox: Outbox,
    founders: Sequence[str],
    quorum: int,
    salt: bytes,
    cohort_floor: int,
    role_delay: int,
) -> dict[str, Any]:
    """Deploy the four contracts and return the unsigned ledger identity (docs/ledger.md, JSON
    form).

    `salt` is 32 random bytes, new for every deployment; `role_delay`: seconds before a new worker
    or broker acts. The deployer keeps no power over any contract.
    """
    node = Node(url)
    chain_id = int(node.call("eth_chainId", []), 16)
    transactor = Transactor(node.call, wallet, outbox, chain_id)
    nonce = int(node.call("eth_getTransactionCount", [wallet.address, "latest"]), 16)
    addresses = {
        name: created_at(wallet.address, nonce + number) for number, name in enumerate(CONTRACTS)
    }
    first = None
    genesis = node.call("eth_getBlockByNumber", ["0x0", False])["hash"]
    values = (quorum, cohort_floor, role_delay, MAX_LEASE)
    chain = (chain_id, bytes.fromhex(genesis[2:]))
    for name, arguments in _arguments(chain, founders, salt, addresses, *values).items():
        receipt = transactor.send(
            None, load(name).bytecode + encode(_types(_constructor(name)), arguments)
        )
        first = first if first is not None else receipt.block
    contracts = []
    for name, address in addresses.items():
        code = bytes.fromhex(node.call("eth_getCode", [address, "latest"])[2:])
        contracts.append(
            {"name": name, "address": address, "codeHash": hashlib.sha256(code).hexdigest()}
        )
    return {
        "type": "volens/identity/2",
        "chainId": chain_id,
        "genesisHash": genesis[2:],
        "deployBlock": first,
        "salt": salt.hex(),
        "contracts": contracts,
        "quorum": quorum,
        "cohortFloor": cohort_floor,
        "maxLease": MAX_LEASE,
        "roleDelay": role_delay,
        "founders": list(founders),
        "signatures": {},
    }


def message_tuple(kind: str, message: Mapping[str, Any]) -> tuple[Any, ...]:
    """A typed message as the tuple its contract function takes."""
    return tuple(message[name] for name, _ in typed_data()["types"][kind])


def _arguments(
    chain: tuple[int, bytes],
    founders: Sequence[str],
    salt: bytes,
    addresses: Mapping[str, str],
    quorum: int,
    cohort_floor: int,
    role_delay: int,
    max_lease: int,
) -> dict[str, list[Any]]:
    """The constructor arguments of each contract, by name and in the order of creation; `addresses`
    by name.

    chain: its id and the hash of its first block.
    """
    trail, permits, consents, accesses = (addresses[name] for name in CONTRACTS)
    numbers = [quorum, cohort_floor, max_lease, role_delay]
    types = ["uint256", "bytes32", "bytes32", *["address"] * 4, *["uint256"] * 4]
    types += ["address"] * len(founders)
    rules = [*chain, salt, trail, permits, consents, accesses, *numbers, *founders]
    origin = hashlib.sha256(encode(types, rules)).digest()  # docs/ledger.md, Trail
    return {
        "Trail": [[permits, consents, accesses], origin],
        "PermitRegistry": [list(founders), quorum, role_delay, salt, trail],
        "ConsentRegistry": [salt, permits, trail],
        "AccessLedger": [salt, permits, consents, trail, cohort_floor, max_lease],
    }


def created_at(sender: str, nonce: int) -> str:
    """The address of the contract that `sender` creates with its transaction number `nonce`."""
    return to_checksum_address(keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:])


@cache
def _function(contract: str, function: str) -> dict[str, Any]:
    return next(
        entry
        for entry in load(contract).abi
        if entry["type"] == "function" and entry["name"] == function
    )


def _constructor(contract: str) -> list[dict[str, Any]]:
    return next(entry["inputs"] for entry in load(contract).abi if entry["type"] == "constructor")


def _types(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """ABI parameters as the type strings of eth_abi."""
    return [
        f"({','.join(_types(entry['components']))}){entry['type'].removeprefix('tuple')}"
        if entry["type"].startswith("tuple")
        else str(entry["type"])
        for entry in entries
    ]


def _down(what: str) -> LedgerDown:
    return LedgerDown(
        f"the ledger does not answer ({what})", "start it: volens serve, then try again"
    )


def _refusal(error: Mapping[str, Any]) -> ChainError:
    """A JSON-RPC error as a ChainError: a known selector becomes Refused with the contract error's
    fields.
    """
    if error.get("code") == TOO_LARGE:
        return LedgerSlow(
            "the ledger's answer is larger than it gives", "ask about fewer blocks at once"
        )
    data = error.get("data")
    if isinstance(data, str) and len(data) >= 10:
        for name in CONTRACTS:
            for entry in load(name).abi:
                if (
                    entry["type"] == "error"
                    and function_abi_to_4byte_selector(cast("Any", entry)).hex() == data[2:10]
                ):
                    values = decode(_types(entry["inputs"]), bytes.fromhex(data[10:]))
                    fields = {
                        i["name"]: _shown(v) for i, v in zip(entry["inputs"], values, strict=True)
                    }
                    if entry["name"] == "NothingRecorded" and values[0] in error_names():
                        return Refused(error_names()[values[0]], {}, "correct it and sign again")
                    return Refused(entry["name"], fields, "the ledger's rules do not allow this")
        return Refused("Reverted", {}, "the contract refused without a name")
    return ChainError(
        f"the node refused the request (code {error.get('code')})", "look at the ledger's log"
    )


def _shown(value: Any) -> object:
    return value.hex() if isinstance(value, bytes) else value
