"""What an auditor calls: three words about a trail, and an exit code."""

import argparse
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from governance.rules.encoding import MAX_BUNDLE, Malformed, VerifyError, need, part, strict_json
from governance.rules.signatures import Args, load_crypto
from governance.rules.trail import Found, Replay


def examine(data: bytes, heads: Sequence[Args] = (), receipts: Sequence[bytes] = ()) -> Found:
    """The words consistent, signed, anchored, each with ok, no, partly or not-checked and a plain reason.

    Anchored is ok only where a held head is that of the last step: whatever stands behind it is nobody's word but
    the exporter's.
    """
    word, found = "consistent", dict.fromkeys(WORDS, ("not-checked", "a check failed"))
    if len(data) > MAX_BUNDLE:
        too_large = f"the trail has more than the {MAX_BUNDLE >> 20} MiB that this program reads"
        return dict.fromkeys(WORDS, ("not-checked", too_large))
    try:
        source: Any = strict_json(data, MAX_BUNDLE)
        replay = Replay(source)
        count, head = replay.replayed.count, replay.replayed.head.hex()
        found[word] = ("ok", f"{count} steps of 0x{replay.id.hex()}, head 0x{head}")
        word = "signed"
        try:
            replay = Replay(source, load_crypto(replay.replayed.identity))
            found[word] = ("ok", f"{replay.replayed.signatures} signatures of people and workers")
        except ImportError:
            found[word] = (
                "not-checked",
                "signatures need a package: pip install eth-account (not --user)",
            )
        # The bundle's maker chose these: they must be true, and they anchor nothing. A service goes on asking a
        # broker whose term is over: that makes no sound trail a bad one, and is said.
        live = [replay.witnessed(witness)[1] for witness in part(source, "witnesses", list)]
        if not all(live):
            found[word] = (found[word][0], f"{found[word][1]}; {unheard(live)}")
        word = "anchored"
        reached = [*map(replay.receipt, receipts), *(replay.held(one).count for one in heads)]
        upto = max(reached, default=0)
        if upto and upto == count:
            found[word] = ("ok", f"up to the last step, {upto}, of {moment(replay.replayed.time)}")
        elif upto:
            found[word] = ("partly", partly(upto, count))
        else:
            found[word] = ("not-checked", "give --head, --heads or --receipt, from somebody else")
    except VerifyError as error:
        found[word] = ("no", str(error))
    return found


def unheard(live: Sequence[bool]) -> str:
    who = "whoever signed was no live broker then"
    return f"{live.count(False)} of {len(live)} witnesses in the trail's file say nothing: {who}"


def moment(seconds: int) -> str:
    """An exporter may end a trail where somebody holds a head: its reader sees how old the end is."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):  # no date of a calendar
        return f"{seconds} seconds after 1970"


def partly(upto: int, count: int) -> str:
    return f"up to step {upto} of {count}; for the rest nobody vouches"


WORDS = ("consistent", "signed", "anchored")
VALID, FAILED, NOT_CHECKED, PARTLY = 0, 7, 8, 9  # exit codes
SAYS = {
    VALID: "valid",
    FAILED: f"NOT VALID: {VerifyError.hint}",
    NOT_CHECKED: "not proven: see what was not checked",
    PARTLY: "not proven to its end: hold a newer head, from a node or broker of your own",
}
UNCHECKED = "an output's salt, seconds, and that a run failed: nothing on the trail tells them"
LABELS = "block and transaction hashes, and places within a block: no head covers them, they are the exporter's word"


def code_of(found: Found) -> int:
    """The exit code of what `examine` found."""
    states = [state for state, _ in found.values()]
    if "no" in states:
        return FAILED
    if "not-checked" in states:
        return NOT_CHECKED
    return PARTLY if "partly" in states else VALID


def held_heads(data: bytes) -> list[Args]:
    """The heads in a file that `volens trail hold` keeps: one JSON object on each line. Raises Malformed."""
    found = list[Args]()
    for line in data.splitlines():
        head: Any = strict_json(line)
        need(part(head, "type") == "volens/held-head/1", "this is not a file of held heads")
        found.append({name: part(head, name) for name in ("identity", "count", "head")})
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the three words; 0 valid, 7 something failed, 8 something was not checked, 9 anchored only in part."""
    parser = argparse.ArgumentParser(
        prog="verify",
        description="Check an exported trail: no network, no database.",
        epilog="Exit code: 0 valid, 7 not valid, 8 something was not checked, 9 anchored up to an earlier step only.",
    )
    parser.add_argument("bundle", type=Path, help="the trail, as volens trail export wrote it")
    parser.add_argument(
        "--head", metavar="COUNT:HEX", action="append", default=[], help="a head that you hold"
    )
    parser.add_argument(
        "--heads",
        type=Path,
        action="append",
        default=[],
        help="a file that volens trail hold keeps",
    )
    parser.add_argument(
        "--receipt", type=Path, action="append", default=[], help="a receipt that somebody kept"
    )
    given = parser.parse_args(arguments)
    try:
        typed = [
            re.fullmatch(r"([0-9]{1,15}):((?:0x)?[0-9a-fA-F]{64})", head) for head in given.head
        ]
        need(all(typed), "a --head is a count, a colon and 32 bytes in hex")
        held: list[Args] = [{"count": int(head[1]), "head": head[2]} for head in typed if head]
        held += [head for path in given.heads for head in held_heads(path.read_bytes())]
        receipts = [path.read_bytes() for path in given.receipt]
        found = examine(given.bundle.read_bytes(), held, receipts)
    except OSError as error:
        found = {"consistent": ("not-checked", f"{error.filename} cannot be read")}
    except Malformed as error:
        found = {"consistent": ("no", str(error))}
    for word, (state, reason) in found.items():
        print(f"{word:<12}{state:<13}{reason}")
    print(f"{'labels':<12}{'not proven':<13}{LABELS}")
    if given.receipt:
        print(f"{'receipts':<12}{'not proven':<13}{UNCHECKED}")
    code = code_of(found)
    print(SAYS[code])
    return code


if __name__ == "__main__":
    raise SystemExit(main())
