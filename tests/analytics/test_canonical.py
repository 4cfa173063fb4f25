import contextlib
import time
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from speed import allowed

from analytics.canonical import (
    CONSTANT,
    HALF,
    OUT_OF_RANGE,
    TOO_LONG,
    TWICE,
    Fault,
    check_depth,
    dump_canonical,
    key_values,
    load_strict,
    paired,
)
from analytics.errors import JsonRefused

BAD_DOCUMENTS = {
    "empty": b"",
    "not json": b"{secret",
    "two documents": b"{} {}",
    "duplicate key": b'{"a":1,"a":2}',
    "duplicate key inside": b'{"x":[{"a":1,"a":1}]}',
    "duplicate key spelt twice": b'{"a":1,"\\u0061":2}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "too deep": b"[" * 9 + b"]" * 9,
    "absurdly deep": b"[" * 900 + b"]" * 900,
    "too large": b'"' + b"x" * 1000 + b'"',
    "latin-1": b'"caf\xe9"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "half a surrogate pair": b'"\\ud800"',
    "half a surrogate pair as key": b'{"\\udfff":1}',
    "huge integer": b"9" * 41,
    "huge exponent": b"1e999999999",
    "exponent that decimal does not have": b"1e9999999999999999999",
    "long fraction": b"0." + b"1" * 50,
    "single quotes": b"{'a':1}",
    "trailing comma": b"[1,]",
    "control character": b'"a\x01b"',
    "leading zero": b"01",
    "comment": b"{}//x",
}


@pytest.mark.parametrize("data", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS.keys())
def test_a_document_two_parsers_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(JsonRefused) as refused:
        load_strict(data, max_bytes=1000, max_depth=8)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"1e400", OUT_OF_RANGE),
        (b"-1e-400", OUT_OF_RANGE),
        (b"1e9999999999999999999", OUT_OF_RANGE),
        (b"-Infinity", CONSTANT),
        (b"9" * 5000, TOO_LONG),
        (b"0." + b"3" * 5000, TOO_LONG),
        (b'"\\ud800"', HALF),
    ],
)
def test_faults_are_returned_in_place_if_requested(text: bytes, fault: Fault) -> None:
    faults: set[Fault] = set()
    document = load_strict(b"[1.5," + text + b"]", max_bytes=9999, max_depth=1, faults=faults)
    assert document == [Decimal("1.5"), fault]
    assert faults == {fault}


def test_a_duplicate_key_has_all_its_values() -> None:
    faults: set[Fault] = set()
    text = b'{"a":1,"b":[1,[2]],"a":{"c":3},"b":4,"a":1,"d":[TWICE],"\\ud800":7}'
    text = text.replace(b"TWICE", b'{"e":0,"e":0}')
    document: Any = load_strict(text, max_bytes=9999, max_depth=4, faults=faults)
    assert document == {
        "a": [1, {"c": 3}, 1, TWICE],
        "b": [1, [2], 4, TWICE],
        "d": [{"e": [0, 0, TWICE]}],
        "\ufffd": [7, HALF],
    }
    assert faults == {TWICE, HALF}
    assert key_values(document["a"]) == [1, {"c": 3}, 1]
    assert key_values(document["d"]) == [document["d"]]
    assert list(paired(document["a"], "x")) == [(1, "x"), ({"c": 3}, "x"), (1, "x")]


def test_many_duplicate_keys_are_read_quickly() -> None:
    """Copying all values of a key at each duplicate takes minutes."""
    for text in (b'"a":[1],' * 100_000, b"".join(b'"%d":1,' % (n // 2) for n in range(100_000))):
        began = time.process_time()
        load_strict(b"{" + text[:-1] + b"}", max_bytes=2 << 20, max_depth=8, faults=set())
        assert time.process_time() - began < allowed(2, time.process_time)


def test_nesting_up_to_the_limit_is_read() -> None:
    assert load_strict(b'{"a":[{"b":1.5}]}', max_bytes=100, max_depth=3) is not None


def test_brackets_in_strings_are_not_nesting() -> None:
    assert load_strict(b'{"a":"[[[[ \\" {{{{ \\\\"}', max_bytes=100, max_depth=1) is not None


def test_nesting_is_counted_before_the_parser_recurses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a raised recursion limit (set by some libraries) the C parser would end the process."""
    monkeypatch.setattr("json.loads", lambda *args, **kwargs: pytest.fail("the parser was asked"))
    with pytest.raises(JsonRefused):
        load_strict(b"[" * 200_000, max_bytes=300_000, max_depth=8)


@pytest.mark.parametrize("unit", [b'"\\', b"\\\\", b'\\"', b'"', b'"a",', b"\\[", b"[]"])
@pytest.mark.parametrize("around", [(b"", b""), (b'{"a":"', b'"}'), (b'{"a":', b"}")])
def test_every_document_is_refused_quickly(unit: bytes, around: tuple[bytes, bytes]) -> None:
    """Time that grows with the square of the length is minutes for a megabyte."""
    data = around[0] + unit * ((1 << 20) // len(unit)) + around[1]
    began = time.process_time()
    with contextlib.suppress(JsonRefused):
        load_strict(data, max_bytes=2 << 20, max_depth=8)
    assert time.process_time() - began < allowed(2, time.process_time)


@pytest.mark.parametrize("unit", [b"\\nxy", b"\\u00e9", b'""xy', b'"xy"zw'])
@pytest.mark.parametrize("around", [(b"", b""), (b'{"a":"', b'"}')])
def test_the_depth_check_does_not_split_the_text(unit: bytes, around: tuple[bytes, bytes]) -> None:
    """A piece of two letters takes 60 bytes."""
    text = (around[0] + unit * ((1 << 20) // len(unit)) + around[1]).decode()
    tracemalloc.start()
    check_depth(text, 8)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 << 20


@pytest.mark.parametrize(
    "text",
    [
        r'"\\"[',
        r'"\\\"["[',
        r'"a\"[[[["[',
        r'{"\\\\":[',
        r'["\\","[[["]',
        r'"\\" "\"["[',
    ],
)
def test_escapes_neither_end_nor_begin_a_string(text: str) -> None:
    """Each is nested as deep as it has brackets outside strings."""
    deep = 2 if text[0] == "{" else 1
    check_depth(text, deep)
    with pytest.raises(JsonRefused):
        check_depth(text, deep - 1)


def test_canonical_form_sorts_and_has_no_spaces() -> None:
    assert dump_canonical({"b": [1, True], "a": "é"}) == '{"a":"é","b":[1,true]}'.encode()


@pytest.mark.parametrize(
    "value", [1.5, None, {1: "a"}, {"a": [0.1]}, {"a": float("nan")}, {"a": b"x"}]
)
def test_values_with_more_than_one_spelling_are_not_written(value: object) -> None:
    with pytest.raises(JsonRefused):
        dump_canonical(value)
