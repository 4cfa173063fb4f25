"""Decides whether a deployment is consistent after a crash. Independent: imports nothing of the
product.

    python tests/faults/oracle.py facts.json

The facts say where to look: {"rpc": URL, "contracts": [addresses], "deployBlock": n, "chain":
folder of the ledger, "journal": the broker's file, "answers": a file with one JSON line {run,
attempt, subjects} for each answer of a broker that reached a worker, "database": SQLite file,
"rebuilt": another one, derived anew from ledger and bucket, "bucket": URL of the bucket}. It prints
one line for each violation and exits with 1 if there is one.

I1  no unlogged decryption: an answer that reached a worker is a line of the journal, a line is
accesses on the ledger
I2  no key after a withdrawal: no line at or after the block of a withdrawal that came later than
its access
I3  no access on the ledger for a person who was not willing at that epoch
I4  exactly once: no call twice, no event twice, nothing that still waits to be sent
I6  rows derived anew are the rows; every object that the ledger names is in the bucket
and what is said to be a whole state of the ledger is one.
(I5, how soon a computation stops, is measured elsewhere: tests/test_withdrawal.py.)
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

OWN = (
    "outbox",
    "claims",
    "marks",
    "progress",
    "run_records",
    "approvals",
    "sessions",
    "challenges",
    "processes",
    "comments",
    "supplements",
    "orders",
    "invitations",
    "names",
    "notices",
    "notice_cursor",
    "reminders",
    "deliveries",
    "mail_addresses",
)  # not derived
PAGE = 500


def topic(signature: str) -> str:
    return "0x" + keccak(signature.encode()).hex()


GRANTED = topic("AccessGranted(bytes32,bytes32,uint256)")
AUTHORISED = topic("RunAuthorised(bytes32,uint32,uint32,uint32,uint40,bytes32,bytes32,uint8)")
SEALED = topic(
    "Sealed(bytes32,uint32,bytes32,(bytes32,uint32,bytes32,bytes32,bytes32,bytes32,uint8,uint32,uint40))"
)
RECORDS = topic("RecordsSealed(bytes32,bytes32,bytes32,uint32,uint8)")
WILLING = topic("ConsentGranted(bytes32,bytes32,uint32,uint24,uint256,bytes32,bytes32)")
REVOKED = topic("ConsentRevoked(bytes32,bytes32,uint32)")
REQUESTED = topic("RunRequested(bytes32,bytes32,address,bytes32,bytes32,uint40)")
PERMIT = topic(
    "PermitRequested(bytes32,bytes32,address,(bytes32,bytes32,uint32,uint32,bytes32,bytes32,uint32,uint16,"
    "uint16,uint40,bytes32,uint40))"
)


class Ledger:
    """Every block, call and event, asked of the node once."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._url = facts["rpc"]
        head = int(self.ask([("eth_blockNumber", [])])[0], 16)
        numbers = range(facts["deployBlock"], head + 1)
        blocks = self.ask([("eth_getBlockByNumber", [hex(n), True]) for n in numbers])
        self.calls = [call for block in blocks for call in block["transactions"]]
        where = {
            "fromBlock": hex(facts["deployBlock"]),
            "toBlock": hex(head),
            "address": facts["contracts"],
        }
        self.events = [Event(log) for log in self.ask([("eth_getLogs", [where])])[0]]

    def ask(self, questions: list[tuple[str, list[Any]]]) -> list[Any]:
        results: list[Any] = []
        for first in range(0, len(questions), PAGE):
            page = questions[first : first + PAGE]
            body = [
                {"jsonrpc": "2.0", "id": i, "method": m, "params": p}
                for i, (m, p) in enumerate(page)
            ]
            request = urllib.request.Request(self._url, json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=30) as answer:
                results += [reply["result"] for reply in json.load(answer)]
        return results


class Event:
    """One log: its kind, its indexed words, its other words, all as whole numbers."""

    def __init__(self, log: dict[str, Any]) -> None:
        self.kind = log["topics"][0]
        self.named = [int(word, 16) for word in log["topics"][1:]]
        data = log["data"][2:]
        self.words = [int(data[i : i + 64], 16) for i in range(0, len(data), 64)]
        self.block = int(log["blockNumber"], 16)


def violations(facts: dict[str, Any]) -> list[str]:
    """One sentence for each; none for a sound deployment."""
    ledger = Ledger(facts)
    journal = [json.loads(line) for line in complete_lines(Path(facts["journal"]))]
    answers = [json.loads(line) for line in complete_lines(Path(facts["answers"]))]
    problems = [
        *accesses(ledger.events, journal, answers),
        *exactly_once(ledger, facts["database"]),
    ]
    if facts.get("rebuilt"):
        problems += rows_and_objects(ledger.events, facts)
    for path in Path(facts["chain"]).glob("state-*.json"):
        if hashlib.sha256(path.read_bytes()).hexdigest() not in path.name:
            problems.append("half a state of the ledger stands under its name")
    return problems


def complete_lines(path: Path) -> list[bytes]:
    """A line without its end was never acknowledged."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def accesses(
    events: list[Event], journal: list[dict[str, Any]], answers: list[dict[str, Any]]
) -> list[str]:
    """I1, I2, I3."""
    problems: list[str] = []
    dataset_of_permit = {e.named[0]: e.named[1] for e in events if e.kind == PERMIT}
    dataset = {e.named[0]: dataset_of_permit[e.named[1]] for e in events if e.kind == REQUESTED}
    consent: dict[
        tuple[int, int], tuple[bool, int]
    ] = {}  # (dataset, person): (willing, epoch), as the chain goes on
    withdrawn: list[tuple[int, int, int]] = []  # dataset, person, block
    recorded: dict[tuple[int, int, int], int] = {}  # run, attempt, person: block of the access
    for e in events:
        if e.kind == WILLING:
            person, where = e.named
            consent[where, person] = (True, e.words[0])
        elif e.kind == REVOKED:
            person, where = e.named
            consent[where, person] = (False, e.words[0] + 1)
            withdrawn.append((where, person, e.block))
        elif e.kind == GRANTED:
            run, person = e.named
            attempt, epoch = e.words[0] >> 56, e.words[0] >> 24 & 0xFFFFFFFF
            if consent.get((dataset[run], person)) != (True, epoch):
                problems.append("I3: an access for a person who was not willing at that epoch")
            if (run, attempt, person) in recorded:
                problems.append("I4: an access stands twice")
            recorded[run, attempt, person] = e.block
    logged: Counter[tuple[int, int, tuple[int, ...]]] = Counter()
    received: list[int] = []  # the people of an answer that takes several lines, so far
    for line in journal:
        run, attempt = int(line["run"], 16), line["attempt"]
        people = [int(subject, 16) for subject in line["subjects"]]
        if line["kind"] != "pieces":
            continue
        received = (received if line.get("part", 0) else []) + people
        if line.get("part", 0) == line.get("parts", 1) - 1:
            logged[run, attempt, tuple(sorted(received))] += 1
        for person in people:
            at = recorded.get((run, attempt, person))
            if at is None or at > line["block"]:
                problems.append("I1: a line of the journal without its access on the ledger")
            elif any(
                w == dataset[run] and p == person and at < block <= line["block"]
                for w, p, block in withdrawn
            ):
                problems.append("I2: a key left after the withdrawal's block")
    for answer in answers:
        people = tuple(sorted(int(subject, 16) for subject in answer["subjects"]))
        if not logged[int(answer["run"], 16), answer["attempt"], people]:
            problems.append("I1: keys reached a worker and the journal does not know")
    return problems


def exactly_once(ledger: Ledger, database: str) -> list[str]:
    """I4."""
    problems = []
    asked = Counter((call["to"], call["input"]) for call in ledger.calls)
    problems += ["I4: a call was mined twice"] * sum(count > 1 for count in asked.values())
    receipts = ledger.ask([("eth_getTransactionReceipt", [call["hash"]]) for call in ledger.calls])
    problems += ["I4: a call was mined that changed nothing"] * sum(
        int(receipt["status"], 16) != 1 for receipt in receipts
    )
    for kind, name in (
        (WILLING, "grant"),
        (REVOKED, "withdrawal"),
        (AUTHORISED, "authorisation"),
        (SEALED, "seal"),
        (RECORDS, "ingest"),
    ):
        keys = Counter(
            (*e.named, *e.words[: 2 if kind == WILLING else 1])
            for e in ledger.events
            if e.kind == kind
        )
        problems += [f"I4: a {name} stands twice"] * sum(count > 1 for count in keys.values())
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as rows:
        (waiting,) = rows.execute("SELECT count(*) FROM outbox").fetchone()
    return problems + ["I4: a call still waits to be sent"] * waiting


def rows_and_objects(events: list[Event], facts: dict[str, Any]) -> list[str]:
    """I6."""
    problems = []
    kept, anew = rows_of(facts["database"]), rows_of(facts["rebuilt"])
    problems += [
        f"I6: the rows of {name} are not what the ledger says"
        for name in kept
        if kept[name] != anew.get(name)
    ]
    for e in events:
        if e.kind == RECORDS:
            leaves = fetch(facts["bucket"], f"l/{e.words[0]:064x}")
            if leaves is None:
                problems.append("I6: the list of an ingest is not in the bucket")
                continue
            objects = [
                fetch(facts["bucket"], f"o/{leaf['ciphertext']}") for leaf in json.loads(leaves)
            ]
            problems += ["I6: a record's object is not in the bucket"] * objects.count(None)
        if e.kind == SEALED and fetch(facts["bucket"], f"o/{e.words[5]:064x}") is None:
            problems.append("I6: an output's object is not in the bucket")
    return problems


def rows_of(database: str) -> dict[str, Counter[tuple[Any, ...]]]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as rows:
        names = [
            name for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: Counter(rows.execute(f'SELECT * FROM "{name}"'))
            for name in names
            if name not in OWN
        }


def fetch(bucket: str, name: str) -> bytes | None:
    try:
        with urllib.request.urlopen(
            f"{bucket}/o/{name.replace('/', '%2F')}?alt=media", timeout=10
        ) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError:
        return None


if __name__ == "__main__":
    violated = violations(json.loads(Path(sys.argv[1]).read_text()))
    print("\n".join(violated) or "0 violations")
    sys.exit(1 if violated else 0)
