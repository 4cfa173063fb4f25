import json

import pytest

from analytics.errors import PayloadError
from analytics.readers.expression import read_expression, write_expression

GOOD = {"type": "volens/expression/1", "unit": "log2", "values": {"b_at": "-0.5", "a_at": "7.25"}}


def spoilt(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


BAD = {
    "no object": b"[]",
    "unknown format": spoilt(type="volens/expression/2"),
    "raw intensities": spoilt(unit="raw"),
    "unknown field": spoilt(name="Canary"),
    "no values": spoilt(values={}),
    "values as list": spoilt(values=["7.25"]),
    "number instead of string": spoilt(values={"a_at": 7.25}),
    "null": spoilt(values={"a_at": None}),
    "NaN string": spoilt(values={"a_at": "NaN"}),
    "exponent": spoilt(values={"a_at": "1e3"}),
    "comma": spoilt(values={"a_at": "7,25"}),
    "space": spoilt(values={"a_at": " 7.25"}),
    "newline": spoilt(values={"a_at": "7.25\n"}),
    "other digits": spoilt(values={"a_at": "٧"}),
    "plus sign": spoilt(values={"a_at": "+7"}),
    "leading zero": spoilt(values={"a_at": "07"}),
    "empty string": spoilt(values={"a_at": ""}),
    "not log2": spoilt(values={"a_at": "11873.4"}),
    "long decimal": spoilt(values={"a_at": "7." + "1" * 30}),
    "probe with newline": spoilt(values={"a_at\n": "7"}),
    "probe with path": spoilt(values={"../a b": "7"}),
    "empty probe": spoilt(values={"": "7"}),
    "long probe": spoilt(values={"a" * 65: "7"}),
    "nested": spoilt(values={"a_at": {"v": {}}}),
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


def test_nothing_is_written_that_could_not_be_read() -> None:
    with pytest.raises(PayloadError):
        write_expression({"a_at": "nan"})
