"""Data types of a ledger: blocks, transactions, logs, and the identity of the deployment."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from governance.rules.encoding import canonical, need, number, part, raw, sha256, words

# In the order of the identity.
CONTRACTS = ("Trail", "PermitRegistry", "ConsentRegistry", "AccessLedger", "CareLedger")


class Block(NamedTuple):
    """A block header; timestamp in seconds since 1970."""

    number: int
    timestamp: int
    hash: bytes


class Transaction(NamedTuple):
    """A mined transaction; index is its position in the block."""

    hash: bytes
    block: int
    index: int  # type: ignore[assignment]  # hides a tuple's own method
    to: bytes
    input: bytes


class Log(NamedTuple):
    """One log of a transaction; index is its position in the block."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    index: int  # type: ignore[assignment]  # hides a tuple's own method
    block: int
    tx: bytes


class Identity(NamedTuple):
    """The identity of a deployment, which every program pins.

    contracts: by name, address and sha256 of the runtime code. cohort_floor in people, max_lease
    and role_delay in seconds. signatures: of founders, by their address.
    """

    chain_id: int
    genesis: bytes
    deploy_block: int
    salt: bytes
    quorum: int
    cohort_floor: int
    max_lease: int
    role_delay: int
    contracts: Mapping[str, tuple[bytes, bytes]]
    founders: tuple[bytes, ...]
    signatures: Mapping[bytes, bytes]


def parse_block(rpc: Mapping[str, Any]) -> Block:
    """A block, from a raw eth_getBlockByNumber response. Raises Malformed."""
    return Block(
        number(part(rpc, "number")), number(part(rpc, "timestamp")), raw(part(rpc, "hash"), 32)
    )


def parse_transaction(rpc: Mapping[str, Any]) -> Transaction:
    """A mined transaction, from a raw eth_getTransactionByHash response. Raises Malformed."""
    position = number(part(rpc, "blockNumber")), number(part(rpc, "transactionIndex"))
    return Transaction(
        raw(part(rpc, "hash"), 32), *position, raw(part(rpc, "to"), 20), raw(part(rpc, "input"))
    )


def parse_log(rpc: Mapping[str, Any]) -> Log:
    """A log, from one raw item of an eth_getLogs response. Raises Malformed."""
    position = (
        number(part(rpc, "logIndex")),
        number(part(rpc, "blockNumber")),
        raw(part(rpc, "transactionHash"), 32),
    )
    need(not rpc.get("removed"), "a log was taken back by the node")
    topics = tuple(raw(topic, 32) for topic in part(rpc, "topics", list))
    return Log(raw(part(rpc, "address"), 20), topics, raw(part(rpc, "data")), *position)


def parse_identity(source: object) -> Identity:
    """The JSON form: the five contracts in order, three founders or more. Raises Malformed."""
    need(part(source, "type") == "volens/identity/3", "this is not a ledger identity")
    items = part(source, "contracts", list)
    need(
        [part(item, "name") for item in items] == list(CONTRACTS),
        "the identity does not name the five contracts",
    )
    contracts = {
        item["name"]: (raw(part(item, "address"), 20), raw(part(item, "codeHash"), 32))
        for item in items
    }
    founders = tuple(raw(who, 20) for who in part(source, "founders", list))
    quorum, floor, lease, delay = (
        number(part(source, name)) for name in ("quorum", "cohortFloor", "maxLease", "roleDelay")
    )
    need(3 <= len(founders) == len(set(founders)), "there are fewer than three different founders")
    need(2 <= quorum <= len(founders), "the quorum is below two, or more than there are founders")
    signatures = {raw(who, 20): raw(by) for who, by in part(source, "signatures", dict).items()}
    genesis, salt = raw(part(source, "genesisHash"), 32), raw(part(source, "salt"), 32)
    first, chain_id = number(part(source, "deployBlock")), number(part(source, "chainId"))
    values = (chain_id, genesis, first, salt, quorum, floor, lease, delay)
    return Identity(*values, contracts, founders, signatures)


def identity_bytes(identity: object) -> bytes:
    """The bytes that name a ledger (docs/ledger.md), from its JSON form. Raises Malformed."""
    i = parse_identity(identity)
    contracts: list[bytes] = [part for pair in i.contracts.values() for part in pair]
    return canonical(
        b"volens/ledger/3",
        i.chain_id,
        i.genesis,
        i.deploy_block,
        i.salt,
        *contracts,
        i.quorum,
        i.cohort_floor,
        i.max_lease,
        i.role_delay,
        len(i.founders),
        *i.founders,
    )


def identity_id(identity: object) -> bytes:
    """The 32 bytes that every program pins."""
    return sha256(identity_bytes(identity))


def origin_of(identity: Identity) -> bytes:
    """The head before the first step: every later head covers the rules that it was made under."""
    contracts = (address for address, _ in identity.contracts.values())
    rules = (identity.quorum, identity.cohort_floor, identity.max_lease, identity.role_delay)
    chain = (identity.chain_id, identity.genesis, identity.salt)
    return sha256(words(*chain, *contracts, *rules, *identity.founders))
