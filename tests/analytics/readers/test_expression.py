import json

import pytest

from analytics.errors import PayloadError
from analytics.readers.expression import read_expression, write_expression

GOOD = {"type": "volens/expression/1", "unit": "log2", "values": {"b_at": "-0.5", "a_at": "7.25"}}


def tampered(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


BAD = {
    "no object": b"[]",
    "unknown format": tampered(type="volens/expression/2"),
    "raw intensities": tampered(unit="raw"),
    "unknown field": tampered(name="Canary"),
    "no values": tampered(values={}),
    "values as list": tampered(values=["7.25"]),
    "number instead of string": tampered(values={"a_at": 7.25}),
    "null": tampered(values={"a_at": None}),
    "NaN string": tampered(values={"a_at": "NaN"}),
    "exponent": tampered(values={"a_at": "1e3"}),
    "comma": tampered(values={"a_at": "7,25"}),
    "space": tampered(values={"a_at": " 7.25"}),
    "newline": tampered(values={"a_at": "7.25\n"}),
    "other digits": tampered(values={"a_at": "٧"}),
    "plus sign": tampered(values={"a_at": "+7"}),
    "leading zero": tampered(values={"a_at": "07"}),
    "empty string": tampered(values={"a_at": ""}),
    "not log2": tampered(values={"a_at": "11873.4"}),
    "long decimal": tampered(values={"a_at": "7." + "1" * 30}),
    "probe with newline": tampered(values={"a_at\n": "7"}),
    "probe with path": tampered(values={"../a b": "7"}),
    "empty probe": tampered(values={"": "7"}),
    "long probe": tampered(values={"a" * 65: "7"}),
    "nested": tampered(values={"a_at": {"v": {}}}),
    "duplicate probe": b'{"type":"volens/expression/1","unit":"log2","values":{"a":"1","a":"2"}}',
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_a_malformed_record_is_refused_without_quoting_it(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        read_expression(payload)
    assert not any(
        word in str(refused.value) + refused.value.hint
        for word in ("Canary", "a_at", "11873", "7.25")
    )
    assert refused.value.hint


def test_values_come_back_in_probe_order() -> None:
    read = read_expression(json.dumps(GOOD).encode())
    assert list(read.items()) == [("a_at", 7.25), ("b_at", -0.5)]


def test_the_written_form_is_stable() -> None:
    assert write_expression({"b_at": "-0.5", "a_at": "7.25"}) == (
        b'{"type":"volens/expression/1","unit":"log2","values":{"a_at":"7.25","b_at":"-0.5"}}'
    )


def test_unreadable_values_are_not_written() -> None:
    with pytest.raises(PayloadError):
        write_expression({"a_at": "nan"})
