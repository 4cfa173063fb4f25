"""What a custodian brings in: records of a cohort as sources for encryption, and which versions exist already."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from api.errors import UsageError
from chain.events import RecordsSealed, parse
from governance.consent import CATEGORIES
from governance.ingest import Source, load_leaves
from governance.vault import Bucket
from governance.verify import Malformed, strict_json

_SUBJECT = re.compile(r"[0-9a-f]{64}")
_MAX_RECORD = 64 << 20  # bytes


def from_gse7390(people: Path | None) -> list[Source]:
    """Two records for each of the 198 published people, under the patient ids of a JSON list in the same order."""
    from analytics.readers.gse7390 import PEOPLE, load_gse7390, locate_gse7390

    if people is None:
        raise UsageError("these data name nobody", "say whose they are: --people FILE with a JSON list of patient ids")
    try:
        ids = strict_json(people.read_bytes())
    except Malformed:
        ids = None
    if not isinstance(ids, list) or len(ids) != PEOPLE or not all(_is_id(name) for name in ids):
        raise UsageError(f"the list of people does not hold {PEOPLE} patient ids", "one a person, in the file's order")
    found = []
    for person, subject in zip(load_gse7390(locate_gse7390()), ids, strict=True):
        found.append(Source(bytes.fromhex(subject), CATEGORIES["observations"], person.observations(subject)))
        found.append(Source(bytes.fromhex(subject), CATEGORIES["expression"], person.expression(subject)))
    return found


def from_folder(folder: Path) -> list[Source]:
    """One record for each file SUBJECT/CATEGORY.json; nothing else may lie there. Raises UsageError."""
    found = list(_records(folder)) if folder.is_dir() else []
    if not found:
        raise UsageError("the folder holds no records", "lay them out as SUBJECT/CATEGORY.json, e.g. …/expression.json")
    return found


def registered_versions(bundle: Mapping[str, Any], dataset: bytes, bucket: Bucket) -> dict[bytes, int]:
    """The newest registered version of each record of a dataset, from the exported trail and the bucket's lists."""
    versions: dict[bytes, int] = {}
    for transaction in bundle["transactions"]:
        place = {"blockNumber": hex(transaction["block"]), "transactionHash": transaction["hash"]}
        for log in transaction["logs"]:
            event = parse({**log, **place, "logIndex": hex(log["index"])})
            if isinstance(event, RecordsSealed) and event.dataset == dataset:
                for leaf in load_leaves(bucket, event.ingest, dataset, event.leavesRoot):
                    versions[leaf.record] = max(leaf.version, versions.get(leaf.record, 0))
    return versions


def _records(folder: Path) -> Iterator[Source]:
    for path in sorted(folder.glob("*/*")):
        if not _is_id(path.parent.name) or path.suffix != ".json" or path.stem not in CATEGORIES or path.is_symlink():
            raise UsageError("the folder holds a file that is not SUBJECT/CATEGORY.json",
                             "subjects are 64 hex digits; categories: " + ", ".join(CATEGORIES))
        if path.stat().st_size > _MAX_RECORD:
            raise UsageError("a record is larger than 64 MiB", "split it")
        yield Source(bytes.fromhex(path.parent.name), CATEGORIES[path.stem], path.read_bytes())


def _is_id(name: object) -> bool:
    return isinstance(name, str) and _SUBJECT.fullmatch(name) is not None
