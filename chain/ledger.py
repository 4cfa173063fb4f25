"""Ledger client: reads the state of the contracts, relays signed messages, fetches raw logs,
deploys.

1. `connect` refuses a node that is not the pinned ledger (chain id, genesis, code of each
contract).
2. Every call is tried before it is sent; a refusal carries the contract's own error name.
3. Relaying needs no role: the contracts check the signatures inside a call, never its sender.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_abi_to_4byte_selector, get_abi_input_types
from eth_utils.address import to_checksum_address

from chain.artifacts import CONTRACTS, load
from chain.errors import ChainError, IdentityMismatch, LedgerSlow
from chain.events import Head, Receipt
from chain.paging import Pages
from chain.signatures import Domain, domain_of, typed_data
from chain.transactor import Outbox, Transactor
from chain.wallets import Wallet

if TYPE_CHECKING:
    from web3.contract import Contract

    from chain.node import Node

MAX_LEASE = 86_400
SEARCHED_BLOCKS = 256  # from the deploy block on: they must contain the five contracts' creation
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


class Ledger:
    """One deployment, read through `Node` and written through one transactor."""

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
        from chain.node import Node

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

    def relay(self, contract: str, function: str, *arguments: Any, first: bool = False) -> Receipt:
        """Send one call and wait until it is mined; a struct is a tuple in ABI order
        (`message_tuple`). first: before the calls that wait already.
        """
        if self._transactor is None:
            raise ChainError("this connection only reads", "connect with a relay key")
        return self._transactor.send(
            self.domain.contracts[contract],
            self.encode(contract, function, *arguments),
            first,
        )

    @cached_property
    def _contracts(self) -> dict[str, Contract]:
        return {
            name: self.node.w3.eth.contract(
                to_checksum_address(address), abi=cast("Any", load(name).abi)
            )
            for name, address in self.domain.contracts.items()
        }

    def encode(self, contract: str, function: str, *arguments: Any) -> bytes:
        """Calldata of one call.

        By web3's codec: its `encode_abi` takes eight times as long for 60 consents, since it tries
        every argument twice, and looks for names in place of addresses.
        """
        entry = self._contracts[contract].functions[function]
        data = self.node.w3.codec.encode(get_abi_input_types(entry.abi), arguments)
        return function_abi_to_4byte_selector(entry.abi) + data

    def read(self, contract: str, function: str, *arguments: Any, block: int | None = None) -> Any:
        """The decoded result of a view function, by default at the newest block."""
        call = self._contracts[contract].functions[function](*arguments)
        return call.call(block_identifier=block)

    def head(self, block: int | None = None) -> tuple[int, bytes]:
        """The number of steps of the trail, and the head after the last; at a block, or at the
        newest.
        """
        count, value = self.read("Trail", "head", block=block)
        return int(count), bytes(value)

    def head_of(self, count: int) -> Head | None:
        """The head after step `count` with its block; None if the node has no such step."""
        first = cast("Any", int(self.identity["deployBlock"]))
        for log in self._contracts["Trail"].events.Head().get_logs({"count": count}, first):
            tx = bytes(log["transactionHash"])
            return Head(log["blockNumber"], tx, log["logIndex"], **log["args"])
        return None

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
        """Raw logs of the five contracts in blocks first..last."""
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
        """Raw logs of the five contracts in blocks first..last, in pages; a page has all logs of
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
    eth = node.w3.eth
    facts: list[tuple[str, object, object]] = [
        ("chain id", eth.chain_id, int(identity["chainId"])),
        ("genesis block", _genesis(node).hex(), identity["genesisHash"].removeprefix("0x")),
    ]
    for item in identity["contracts"]:
        code = eth.get_code(to_checksum_address(item["address"]))
        if not code:
            raise IdentityMismatch(
                f"there is no contract where {item['name']} is said to be",
                "this is another ledger, or the identity is wrong: ask whoever gave it to you",
            )
        code_hash = hashlib.sha256(code).hexdigest()
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
        if (difference := _difference(node, name, arguments, created.get(addresses[name])))
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
    from chain.node import created_at

    codes: dict[str, bytes] = {}
    last = min(node.w3.eth.block_number, first + SEARCHED_BLOCKS)
    for number in range(first, last + 1):
        block = node.call("eth_getBlockByNumber", [hex(number), True]) or {}
        for tx in block.get("transactions", []):
            address = created_at(tx["from"], int(tx["nonce"], 16)) if tx.get("to") is None else ""
            if address in addresses:
                codes[address] = bytes.fromhex(tx["input"][2:])
        if len(codes) == len(addresses):
            break
    return codes


def _difference(node: Node, name: str, arguments: Sequence[Any], creation: bytes | None) -> str:
    """In words, how a contract's creation differs from the expected one; "" if it does not."""
    code, codec = load(name).bytecode, node.w3.codec
    if creation is None:
        return "nothing created it soon after the deploy block"
    if creation == _creation(node, name, arguments):
        return ""
    if not creation.startswith(code):
        return "it was not created from this release's code"
    constructor: Any = next(entry for entry in load(name).abi if entry["type"] == "constructor")
    types = get_abi_input_types(constructor)
    try:
        actual = codec.decode(types, creation[len(code) :])
    except DecodingError:
        actual = ()
    for entry, type_, value, expected in zip(
        constructor["inputs"], types, actual, arguments, strict=False
    ):
        if codec.encode([type_], [value]) != codec.encode([type_], [expected]):
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
    """Deploy the five contracts and return the unsigned ledger identity (docs/ledger.md, JSON
    form).

    `salt` is 32 random bytes, new for every deployment; `role_delay`: seconds before a new worker
    or broker acts. The deployer keeps no power over any contract.
    """
    from chain.node import Node, created_at

    node = Node(url)
    eth = node.w3.eth
    transactor = Transactor(node.call, wallet, outbox, eth.chain_id)
    nonce = eth.get_transaction_count(to_checksum_address(wallet.address))
    addresses = {
        name: created_at(wallet.address, nonce + number) for number, name in enumerate(CONTRACTS)
    }
    first = None
    genesis = _genesis(node)
    values = (quorum, cohort_floor, role_delay, MAX_LEASE)
    chain = (eth.chain_id, genesis)
    for name, arguments in _arguments(chain, founders, salt, addresses, *values).items():
        receipt = transactor.send(None, _creation(node, name, arguments))
        first = first if first is not None else receipt.block
    contracts = []
    for name, address in addresses.items():
        code = eth.get_code(to_checksum_address(address))
        contracts.append(
            {"name": name, "address": address, "codeHash": hashlib.sha256(code).hexdigest()}
        )
    return {
        "type": "volens/identity/3",
        "chainId": eth.chain_id,
        "genesisHash": genesis.hex(),
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
    trail, permits, consents, accesses, care = (addresses[name] for name in CONTRACTS)
    numbers = [quorum, cohort_floor, max_lease, role_delay]
    types = ["uint256", "bytes32", "bytes32", *["address"] * 5, *["uint256"] * 4]
    types += ["address"] * len(founders)
    rules = [*chain, salt, trail, permits, consents, accesses, care, *numbers, *founders]
    origin = hashlib.sha256(encode(types, rules)).digest()  # docs/ledger.md, Trail
    return {
        "Trail": [[permits, consents, accesses, care], origin],
        "PermitRegistry": [list(founders), quorum, role_delay, salt, trail],
        "ConsentRegistry": [salt, permits, trail],
        "AccessLedger": [salt, permits, consents, trail, cohort_floor, max_lease],
        "CareLedger": [salt, permits, consents, trail, max_lease],
    }


def _creation(node: Node, name: str, arguments: Sequence[Any]) -> bytes:
    """The data of the transaction that creates a contract: its code, and the arguments after it."""
    artifact = load(name)
    contract = node.w3.eth.contract(abi=cast("Any", artifact.abi), bytecode=artifact.bytecode)
    return bytes.fromhex(contract.constructor(*arguments).data_in_transaction[2:])


def _genesis(node: Node) -> bytes:
    """The hash of the node's first block."""
    return bytes(node.w3.eth.get_block(0)["hash"])
