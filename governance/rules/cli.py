"""The auditor's command line: reports whether a trail is consistent, signed and anchored, with an
exit code.
"""

import argparse
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from governance.rules.encoding import MAX_BUNDLE, Malformed, VerifyError, need, part, strict_json
from governance.rules.signatures import Args, load_crypto
from governance.rules.trail import Replay, Verdicts


def examine(data: bytes, heads: Sequence[Args] = (), receipts: Sequence[bytes] = ()) -> Verdicts:
    """The words consistent, signed, anchored, each with ok, no, partly or not-checked and a plain
    reason.

    Anchored is ok only if a held head is that of the last step: only the exporter vouches for the
    steps after it.
    """
    word, verdicts = "consistent", dict.fromkeys(WORDS, ("not-checked", "a check failed"))
    if len(data) > MAX_BUNDLE:
        too_large = f"the trail has more than the {MAX_BUNDLE >> 20} MiB that this program reads"
        return dict.fromkeys(WORDS, ("not-checked", too_large))
    try:
        source: Any = strict_json(data, MAX_BUNDLE)
        replay = Replay(source)
        count, head = replay.replayed.count, replay.replayed.head.hex()
        verdicts[word] = ("ok", f"{count} steps of 0x{replay.id.hex()}, head 0x{head}")
        word = "signed"
        try:
            replay = Replay(source, load_crypto(replay.replayed.identity))
            verdicts[word] = (
                "ok",
                f"{replay.replayed.signatures} signatures of people and workers",
            )
        except ImportError:
            reason = "signatures need a package: pip install eth-account (not --user)"
            verdicts[word] = ("not-checked", reason)
        # The exporter chose these witnesses: they must be genuine, but they anchor nothing. A
        # service may still ask a broker whose term is over: the trail is valid all the same, and
        # the output mentions it.
        live = [replay.witnessed(witness)[1] for witness in part(source, "witnesses", list)]
        if not all(live):
            verdicts[word] = (verdicts[word][0], f"{verdicts[word][1]}; {dead_witnesses(live)}")
        word = "anchored"
        reached = [
            *map(replay.receipt, receipts),
            *(replay.held_step(head).count for head in heads),
        ]
        upto = max(reached, default=0)
        if upto and upto == count:
            verdicts[word] = (
                "ok",
                f"up to the last step, {upto}, of {moment(replay.replayed.time)}",
            )
        elif upto:
            verdicts[word] = ("partly", partly(upto, count))
        else:
            verdicts[word] = ("not-checked", NO_WITNESS if receipts else NO_HEAD)
    except VerifyError as error:
        verdicts[word] = ("no", str(error))
    return verdicts


def dead_witnesses(live: Sequence[bool]) -> str:
    """The note about witnesses whose signer was no live broker."""
    who = "whoever signed was no live broker then"
    return f"{live.count(False)} of {len(live)} witnesses in the trail's file say nothing: {who}"


def moment(seconds: int) -> str:
    """A block's time as text: an exporter may end a trail early, and its reader sees how old the
    end is.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):  # beyond the calendar
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
NO_HEAD = "give --head, --heads or --receipt, from somebody else"
NO_WITNESS = "no receipt here anchors: it needs its broker's witness, and eth-account; give --head or --heads"
UNCHECKED = "an output's salt, seconds, and that a run failed: nothing on the trail tells them"
LABELS = (
    "block and transaction hashes, and places within a block: no head covers them, "
    "they are the exporter's word"
)


def code_of(verdicts: Verdicts) -> int:
    """The exit code for the verdicts of `examine`."""
    states = [state for state, _ in verdicts.values()]
    if "no" in states:
        return FAILED
    if "not-checked" in states:
        return NOT_CHECKED
    return PARTLY if "partly" in states else VALID


def held_heads(data: bytes) -> list[Args]:
    """The heads in a file that `volens trail hold` keeps: one JSON object on each line; blank lines,
    which editors add, say nothing. Raises Malformed.
    """
    heads = list[Args]()
    for line in filter(bytes.strip, data.splitlines()):
        head: Any = strict_json(line)
        need(part(head, "type") == "volens/held-head/1", "this is not a file of held heads")
        heads.append({name: part(head, name) for name in ("identity", "count", "head")})
    return heads


def _examine_files(trail: Path, heads: Sequence[Args], receipts: Sequence[Path]) -> Verdicts:
    try:
        return examine(trail.read_bytes(), heads, [path.read_bytes() for path in receipts])
    except OSError as error:
        return {"consistent": ("not-checked", f"{error.filename} cannot be read")}
    except Malformed as error:
        return {"consistent": ("no", str(error))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the three words; 0 valid, 7 something failed, 8 something was not checked, 9 anchored
    only in part.
    """
    parser = argparse.ArgumentParser(
        prog="verify",
        description="Check an exported trail: no network, no database.",
        epilog="Exit code: 0 valid, 7 not valid, 8 something was not checked, "
        "9 anchored up to an earlier step only.",
    )
    parser.add_argument("trail", type=Path, help="the trail, as volens trail export wrote it")
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
    options = parser.parse_args(arguments)
    try:
        typed = [
            re.fullmatch(r"([0-9]{1,15}):((?:0x)?[0-9a-fA-F]{64})", head) for head in options.head
        ]
        need(all(typed), "a --head is a count, a colon and 32 bytes in hex")
        heads: list[Args] = [{"count": int(head[1]), "head": head[2]} for head in typed if head]
        heads += [head for path in options.heads for head in held_heads(path.read_bytes())]
    except OSError as error:
        verdicts = {"anchored": ("not-checked", f"{error.filename} cannot be read")}
    except Malformed as error:
        verdicts = {"anchored": ("not-checked", f"{error}; the trail was not looked at")}
    else:
        verdicts = _examine_files(options.trail, heads, options.receipt)
    for word, (state, reason) in verdicts.items():
        print(f"{word:<12}{state:<13}{reason}")
    print(f"{'labels':<12}{'not proven':<13}{LABELS}")
    if options.receipt:
        print(f"{'receipts':<12}{'not proven':<13}{UNCHECKED}")
    code = code_of(verdicts)
    print(SAYS[code])
    return code


if __name__ == "__main__":
    raise SystemExit(main())
