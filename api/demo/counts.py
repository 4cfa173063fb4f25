"""Count keys and accesses without any of our code: from the broker's journal file and the ledger's
raw logs.

`python counts.py keys JOURNAL` and `python counts.py logged URL ADDRESSES FROM_BLOCK` print one JSON
line each: {"run:attempt": [subject, …]}. Standard library only; the caller compares both.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

ACCESS_GRANTED = "0xb70267b14f7543fe5650e8d973e098e4e0aba195e86dd9371bce3b5a0f12ef35"


def keys(journal: str) -> dict[str, list[str]]:
    """The people whose keys the broker released, by run and attempt."""
    people: dict[str, set[str]] = {}
    for line in Path(journal).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["kind"] == "pieces":
            people.setdefault(f"{entry['run']}:{entry['attempt']}", set()).update(entry["subjects"])
    return {name: sorted(subjects) for name, subjects in people.items()}


def logged(url: str, addresses: str, first: str) -> dict[str, list[str]]:
    """The people whose access the ledger recorded, by run and attempt; addresses of its contracts,
    with commas between.
    """
    question = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_getLogs",
        "params": [
            {
                "address": addresses.split(","),
                "topics": [ACCESS_GRANTED],
                "fromBlock": hex(int(first)),
                "toBlock": "latest",
            }
        ],
    }
    request = urllib.request.Request(  # noqa: S310 (an address the caller names)
        url, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (an address the caller names)
        logs = json.loads(answer.read())["result"]
    people: dict[str, set[str]] = {}
    for log in logs:
        attempt = int(log["data"], 16) >> 56
        people.setdefault(f"{log['topics'][1][2:]}:{attempt}", set()).add(log["topics"][2][2:])
    return {name: sorted(subjects) for name, subjects in people.items()}


if __name__ == "__main__":
    print(json.dumps(keys(sys.argv[2]) if sys.argv[1] == "keys" else logged(*sys.argv[2:5])))
