"""ABI decoding: reads the arguments of a call from its calldata, with the tables of the contracts."""

from functools import cache, partial
from typing import Any

from governance.rules.encoding import need, to_int
from governance.rules.tables import CALLS, EVENTS, STRUCTS

TOPICS = {name: bytes.fromhex(topic) for name, topic in EVENTS.items()}


@cache
def split_fields(fields: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (kind, name) for kind, _, name in (part.partition(" ") for part in fields.split(","))
    )


@cache
def is_dynamic(kind: str) -> bool:
    return kind.endswith(("bytes", "]")) or (
        kind in STRUCTS and any(is_dynamic(k) for k, _ in split_fields(STRUCTS[kind]))
    )


@cache
def _size(kind: str) -> int:
    """The bytes that a value takes in the head of its tuple: a dynamic one has only its offset
    there.
    """
    return 32 if is_dynamic(kind) or kind not in STRUCTS else 32 * len(split_fields(STRUCTS[kind]))


def _word(data: bytes, at: int) -> bytes:
    need(at + 32 <= len(data), "the encoded values end too early")
    # A negative offset is far outside the data for the EVM, which reads zeros there.
    return data[at : at + 32] if at >= 0 else bytes(32)


def _fields(data: bytes, fields: str, base: int) -> dict[str, Any]:
    values, at = {}, base
    for kind, name in split_fields(fields):
        values[name], at = _value(data, kind, base, at), at + _size(kind)
    return values


def _value(data: bytes, kind: str, base: int, at: int) -> Any:
    """One ABI-encoded value whose head is at `at`.

    Raises Malformed for what Solidity refuses (dirty bits, short data) and for nothing else: anyone
    may relay a message in an unusual encoding (unused bytes, parts out of order) that the contracts
    accept, and a stricter reader could not read past it. The items of a batch are returned as
    functions that read one item each.
    """
    if is_dynamic(kind):
        at = base + int.from_bytes(_word(data, at), "big", signed=True)
    if kind in STRUCTS:
        return _fields(data, STRUCTS[kind], at)
    if not kind.endswith("]") and kind != "bytes":
        raw = _word(data, at)
        size = 32 if kind == "bytes32" else 20 if kind == "address" else int(kind[4:] or 8) // 8
        need(
            not any(raw[: 32 - size]) and (kind != "bool" or raw[31] < 2),
            f"a {kind} has bits that are not its own",
        )
        return raw[32 - size :] if kind in ("bytes32", "address") else to_int(raw)
    item, _, fixed = kind.rstrip("]").partition("[")
    count, at = (int(fixed), at) if fixed else (to_int(_word(data, at)), at + 32)
    size = 1 if kind == "bytes" else _size(item)
    need(at + count * size <= len(data), "the encoded values end too early")
    if kind == "bytes":
        return data[at : at + count] if at >= 0 else b""
    readers = [partial(_value, data, item, at, at + i * size) for i in range(count)]
    return readers if item in STRUCTS else [read() for read in readers]


def decode_call(data: bytes) -> tuple[str, str, dict[str, Any]]:
    """Calldata as (contract, function, arguments by name). Raises Malformed."""
    need(
        data[:4].hex() in CALLS, "the transaction calls a function that the ledger does not record"
    )
    contract, function, fields = CALLS[data[:4].hex()].split(" ", 2)
    return contract, function, _fields(data, fields, 4)
