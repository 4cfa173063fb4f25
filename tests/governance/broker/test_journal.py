"""The broker's journal: whatever was written can be read again, and nothing else is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from faults import oracle

from api.demo import counts
from governance.broker import journal as journals
from governance.broker.journal import MAX_LINE, MAX_OLD_LINE, Journal, JournalBroken
from governance.rules.encoding import canonical_json

PEOPLE, RECORDS = 1_000, 14  # of the answer that once locked its broker out for good


def sign(digest: bytes) -> bytes:
    return digest + digest + b"\x1b"


def name(number: int) -> str:
    return sha256(number.to_bytes(4, "big")).hexdigest()


def large(run: str = "aa", people: int = PEOPLE) -> dict[str, Any]:
    """What custody hands over for so many people with 14 records each."""
    return {
        "kind": "pieces",
        "run": run * 32,
        "attempt": 1,
        "tx": "cd" * 32,
        "key": "ef" * 32,
        "block": 77,
        "head": "ab" * 32,
        "subjects": sorted(name(n) for n in range(people)),
        "records": sorted([name(n), 1] for n in range(people * RECORDS)),
    }


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_a_thousand_people_with_fourteen_records_each_are_read_again(tmp_path: Path) -> None:
    """The line that this took was longer than what the next start read: the keys were shut in for
    good.
    """
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, sign)
    journal.append(large("aa", 2))
    assert journal.append(large()) == 1
    journal.append(large("bb", 2))
    written = [json.loads(line) for line in lines_of(path)]
    assert all(len(line) <= MAX_LINE for line in lines_of(path))
    again = Journal(path, sign)
    assert (again.count, again.head) == (journal.count, journal.head)
    own = [line for line in written if line["run"] == "aa" * 32 and "part" in line]
    assert [(line["part"], line["parts"]) for line in own] == [
        (n, len(own)) for n in range(len(own))
    ]
    assert len(own) > 1
    assert [subject for line in own for subject in line["subjects"]] == large()["subjects"]
    assert [record for line in own for record in line["records"]] == large()["records"]


def test_everybody_in_a_divided_answer_is_counted(tmp_path: Path) -> None:
    """By the program that counts keys without our code, and by the judge of the campaign."""
    path = tmp_path / "journal.jsonl"
    Journal(path, sign).append(large())
    assert counts.keys(str(path)) == {f"{'aa' * 32}:1": large()["subjects"]}
    answers = [{"run": "aa" * 32, "attempt": 1, "subjects": large()["subjects"]}]
    lines = [json.loads(line) for line in lines_of(path)]
    assert "I1: keys reached a worker and the journal does not know" not in oracle.accesses(
        [], lines, answers
    )
    assert "I1: keys reached a worker and the journal does not know" in oracle.accesses(
        [], lines[:-1], answers
    )


@pytest.mark.parametrize("lost", ["half a line", "one line", "two lines"])
def test_an_answer_that_was_half_written_is_cut_off(tmp_path: Path, lost: str) -> None:
    """It never left: the start goes on from the answer before it, and the next one follows."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, sign)
    journal.append(large("bb", 2))
    kept = path.read_bytes()
    journal.append(large())
    lines = lines_of(path)
    assert len(lines) >= 4
    cut = {"half a line": lines[-1][:-9], "one line": b"", "two lines": b""}[lost]
    path.write_bytes(b"".join(lines[: -2 if lost == "two lines" else -1]) + cut)
    again = Journal(path, sign)
    assert path.read_bytes() == kept
    assert again.append(large("cc", 2)) == 1
    assert Journal(path, sign).count == 2


def resealed(lines: list[bytes], change: Callable[[int, dict[str, Any]], None]) -> bytes:
    """The lines with something changed in each, and a chain of hashes that fits again."""
    head, out = bytes(32), b""
    for number, line in enumerate(lines):
        entry = json.loads(line) | {"seq": number, "prev": head.hex()}
        change(number, entry)
        data = canonical_json(entry)
        head, out = sha256(data).digest(), out + data + b"\n"
    return out


def other_run(number: int, entry: dict[str, Any]) -> None:
    entry["run"] = "dd" * 32 if number == 1 else entry["run"]


def part_again(number: int, entry: dict[str, Any]) -> None:
    entry["part"] = 0 if number == 1 else entry["part"]


def part_beyond(number: int, entry: dict[str, Any]) -> None:
    entry["part"] = 9 if number == 0 else entry["part"]


def no_part(number: int, entry: dict[str, Any]) -> None:
    if number == 1:
        del entry["part"], entry["parts"]


def fewer_parts(number: int, entry: dict[str, Any]) -> None:
    entry["parts"] = 1 if number == 1 else entry["parts"]


@pytest.mark.parametrize("change", [other_run, part_again, part_beyond, no_part, fewer_parts])
def test_lines_that_do_not_belong_together_are_refused(
    tmp_path: Path, change: Callable[[int, dict[str, Any]], None]
) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, sign).append(large())
    lines = lines_of(path)
    path.write_bytes(resealed(lines, lambda _number, _entry: None))
    Journal(path, sign)  # the twin: nothing changed
    path.write_bytes(resealed(lines, change))
    with pytest.raises(JournalBroken):
        Journal(path, sign)


def test_a_line_in_the_middle_of_a_divided_answer_cannot_go(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, sign).append(large())
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(JournalBroken):
        Journal(path, sign)


def test_a_long_line_of_an_earlier_release_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier releases wrote any length in one line; such a journal opens, and goes on with short
    lines.
    """
    path = tmp_path / "journal.jsonl"
    with monkeypatch.context() as earlier:
        earlier.setattr(journals, "MAX_LINE", MAX_OLD_LINE)
        Journal(path, sign).append(large())
    assert len(lines_of(path)) == 1
    assert len(path.read_bytes()) > MAX_LINE
    journal = Journal(path, sign)
    assert journal.count == 1
    journal.append(large("bb"))
    assert Journal(path, sign).count == journal.count
    assert all(len(line) <= MAX_LINE for line in lines_of(path)[1:])


def test_a_line_that_no_release_wrote_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b" " * (MAX_OLD_LINE + 2) + b"\n")
    with pytest.raises(JournalBroken):
        Journal(path, sign)


def test_all_lines_of_an_answer_are_on_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails in the middle: no answer, and nothing more is taken until the journal is
    opened again.
    """
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, sign)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append(large())
    assert journal.count == 0
    with pytest.raises(OSError, match="cannot be written"):
        journal.append(large("bb", 1))
