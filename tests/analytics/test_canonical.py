import contextlib
import time
import tracemalloc
from decimal import Decimal

import pytest
from speed import allowed

from analytics.canonical import check_depth, dump_canonical, load_strict
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


@pytest.mark.parametrize("text", [b"1e400", b"-1e-400", b"1e9999999999999999999"])
def test_a_number_out_of_range_is_told_to_who_asks_for_it(text: bytes) -> None:
    document = load_strict(b"[1.5," + text + b"]", max_bytes=100, max_depth=1, any_range=True)
    assert document == [Decimal("1.5"), Decimal("Infinity")]


def test_nesting_up_to_the_limit_is_read() -> None:
    assert load_strict(b'{"a":[{"b":1.5}]}', max_bytes=100, max_depth=3) is not None


def test_brackets_in_strings_are_not_nesting() -> None:
    assert load_strict(b'{"a":"[[[[ \\" {{{{ \\\\"}', max_bytes=100, max_depth=1) is not None


def test_nesting_is_counted_before_the_parser_recurses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a raised recursion limit (some libraries raise it) the C parser would end the process."""
    monkeypatch.setattr("json.loads", lambda *args, **kwargs: pytest.fail("the parser was asked"))
    with pytest.raises(JsonRefused):
        load_strict(b"[" * 200_000, max_bytes=300_000, max_depth=8)


@pytest.mark.parametrize("unit", [b'"\\', b"\\\\", b'\\"', b'"', b'"a",', b"\\[", b"[]"])
@pytest.mark.parametrize("around", [(b"", b""), (b'{"a":"', b'"}'), (b'{"a":', b"}")])
def test_no_document_takes_long_to_refuse(unit: bytes, around: tuple[bytes, bytes]) -> None:
    """What grows with the square of the length takes minutes for a megabyte."""
    data = around[0] + unit * ((1 << 20) // len(unit)) + around[1]
    began = time.process_time()
    with contextlib.suppress(JsonRefused):
        load_strict(data, max_bytes=2 << 20, max_depth=8)
    assert time.process_time() - began < allowed(2, time.process_time)


@pytest.mark.parametrize("unit", [b"\\nxy", b"\\u00e9", b'""xy', b'"xy"zw'])
@pytest.mark.parametrize("around", [(b"", b""), (b'{"a":"', b'"}')])
def test_the_depth_is_found_without_cutting_the_text_to_pieces(
    unit: bytes, around: tuple[bytes, bytes]
) -> None:
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
def test_escapes_end_no_string_and_begin_none(text: str) -> None:
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
def test_what_has_more_than_one_spelling_is_not_written(value: object) -> None:
    with pytest.raises(JsonRefused):
        dump_canonical(value)
