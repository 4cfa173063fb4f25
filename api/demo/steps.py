"""Actions of the personas in the demo's scenes, through the public HTTP routes."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from analytics.code import code_hash, params_schema_hash
from analytics.readers.fhir import split_bundle
from analytics.readers.person import Person
from analytics.simulate.known_truth import Cohort
from analytics.simulate.known_truth_files import BUILD, write_bundle, write_vcf
from analytics.simulate.series import SeriesCohort, write_series_bundle
from api.client.results import Opened, open_output, reading_key, write_receipt
from api.demo.cast import Cast
from api.demo.science import SHORT
from api.errors import NotAvailable, RefusedByPolicy
from api.ingest.cohort_files import CohortFiles
from api.ingest.sources import bring_in
from chain.vocabulary import Category, OutputClass
from chain.wallets import Wallet
from governance.consent import CATEGORIES, PURPOSES, Offer, bits
from governance.errors import BrokerRefused
from governance.objects.ingest import Source
from governance.objects.keys import new_pair
from governance.objects.vault import Bucket
from governance.permits import run_id
from governance.rules.encoding import canonical_json

PERMITTED = {  # dataset: the categories that Noor requests
    "research": ("observations", "expression"),
    "simulated": ("demographics", "conditions", "observations", "germline-variants"),
    "measured": ("demographics", "conditions", "observations", "lifestyle"),
}


def ingest_all(cast: Cast, people: list[Person], cohort: Cohort) -> tuple[int, int]:
    """Register and ingest both datasets: (records, plaintext fragments found in the bucket's
    files).
    """
    omar = cast.client("omar")
    for dataset, name in ((cast.dataset, "research"), (cast.simulated, "simulated")):
        text = document(name)
        omar.register_dataset(dataset, sha256(text).digest())
        omar.send_document(text)
    sources = [
        Source(p.subject, category, payload)
        for p, person in zip(cast.patients, people, strict=True)
        for category, payload in (
            (Category.OBSERVATIONS, person.observations(p.subject.hex())),
            (Category.EXPRESSION, person.expression(p.subject.hex())),
        )
    ]
    parts = (omar, cast.broker(), Bucket("volens", cast.parts.urls["bucket"]))
    first = bring_in(*parts, cast.dataset, sources)
    cast.facts["leaves"] = first["leaves"]
    samples = {f"S{p.number}": p.subject.hex() for p in cast.invented}
    vcf = write_vcf(cohort, list(samples))
    bundles = [
        (p.subject.hex(), write_bundle(cohort, at, p.subject.hex()))
        for at, p in enumerate(cast.invented)
    ]
    cast.facts["cohort_files"] = cohort_files = CohortFiles(BytesIO(vcf), samples, BUILD, bundles)
    canaries = cast.facts["canaries"] = [
        fragment(source) for source in sources[:: len(sources) // 20]
    ]
    second = bring_in(*parts, cast.simulated, sampled(cohort_files.sources(), canaries))
    return first["records"] + second["records"], hits(cast.home / "bucket", cast.facts["canaries"])


def ingest_series(cast: Cast, cohort: SeriesCohort) -> int:
    """Register and ingest the dataset of measurements over time; its records."""
    omar, text = cast.client("omar"), document("measured")
    omar.register_dataset(cast.measured, sha256(text).digest())
    omar.send_document(text)
    sources = []
    for at, person in enumerate(cast.invented):
        subject = person.subject.hex()
        records = split_bundle(write_series_bundle(cohort, at, subject), subject).records
        sources += [Source(person.subject, kind, payload) for kind, payload in records.items()]
    bucket = Bucket("volens", cast.parts.urls["bucket"])
    return int(bring_in(omar, cast.broker(), bucket, cast.measured, sources)["records"])


def document(name: str) -> bytes:
    """One of the demo's plans and descriptions."""
    return (Path(__file__).parent / "documents" / f"{name}.md").read_bytes()


def sampled(sources: Iterable[Source], canaries: list[bytes]) -> Iterator[Source]:
    """Pass on the sources; adds a fragment of the first three of each kind of record to `canaries`."""
    seen: Counter[tuple[int, int]] = Counter()
    for source in sources:
        kind = (source.category, source.ordinal)
        seen[kind] += 1
        if seen[kind] <= 3:
            canaries.append(fragment(source))
        yield source


def fragment(source: Source) -> bytes:
    """The 24 most varied bytes of a record, without the subject's id, which is on the ledger
    anyway.
    """
    longest = max(source.payload.split(source.subject.hex().encode()), key=len)
    starts = range(0, max(1, len(longest) - 23), max(1, len(longest) // 200))
    return max((longest[at : at + 24] for at in starts), key=lambda part: len(set(part)))


def ask_permits(
    cast: Cast,
    outputs: Sequence[OutputClass] = (OutputClass.METRICS,),
    names: Sequence[str] = ("research", "simulated"),
) -> tuple[dict[str, bytes], set[int], str]:
    """Noor's permit requests, one for each of these datasets: (permit by dataset, yes votes of
    each, the answer to her own vote).
    """
    noor, permits = cast.client("noor"), {}
    datasets = {
        "research": (cast.dataset, "plan"),
        "simulated": (cast.simulated, "plan-simulated"),
        "measured": (cast.measured, "plan-measured"),
    }
    for name in names:
        dataset, written = datasets[name]
        permits[name], plan = secrets.token_bytes(32), document(written)
        noor.request_permit(
            {
                "permit": permits[name],
                "dataset": dataset,
                "purposeNeed": bits(("cancer-research", "outside-recipient"), PURPOSES),
                "categories": bits(PERMITTED[name], CATEGORIES),
                "codeHash": code_hash(),
                "paramsSchemaHash": params_schema_hash(),
                "minCohort": 20,
                "outputClasses": sum(1 << output for output in outputs),
                "questions": 12,
                "expiry": int(time.time()) + 30 * 86_400,
                "documentHash": sha256(plan).digest(),
            }
        )
        noor.send_document(plan)
    try:
        noor.vote(permits["research"].hex(), True)
        own_vote = "ACCEPTED"
    except RefusedByPolicy as refusal:
        own_vote = f"REFUSED {refusal.reason}"
    for name in ("pia", "quinn"):
        for permit in permits.values():
            cast.client(name).vote(permit.hex(), True)
    return permits, {int(noor.permit(permit.hex())["yes"]) for permit in permits.values()}, own_vote


def request(cast: Cast, permit: bytes, params: bytes) -> str:
    """A run request of Noor's; its id."""
    noor, nonce = cast.client("noor"), secrets.randbits(256)
    key = reading_key(noor, run_id(noor.wallet.address, nonce))
    return str(noor.request_run(permit, params, key, nonce)["run"])


def keep_receipt(cast: Cast, proof: dict[str, Any], offered: Offer) -> Path:
    receipt = {**proof, "terms": offered.terms.decode(), "termsSalt": offered.salt.hex()}
    return write_receipt(
        cast.home / "receipts" / "ada",
        canonical_json({name: value for name, value in receipt.items() if value is not None}),
    )


def without_ledger(cast: Cast, permit: bytes, tx: str) -> str:
    """Stop the ledger, ask the service for a run and the broker for keys of the first run, start it
    again.
    """
    leaf = cast.facts["leaves"][0]
    bucket = Bucket("volens", cast.parts.urls["bucket"])
    header = bucket.get_header(f"o/{leaf.ciphertext.hex()}")
    run, broker = bytes.fromhex(cast.facts["first"]), cast.broker()
    keys, fetches = count(cast.keys()), cast.fetches()
    cast.parts.stop_part("chain")
    answers = set()
    try:
        request(cast, permit, SHORT)
        answers.add("ACCEPTED")
    except NotAvailable:
        answers.add("REFUSED ledger-down")
    try:
        broker.pieces(run, 1, bytes.fromhex(tx), new_pair()[1], [header], Wallet.new())
        answers.add("ANSWERED")
    except BrokerRefused as refusal:
        answers.add(f"REFUSED {refusal.reason.slug}")
    cast.parts.start_chain()
    new = count(cast.keys()) - keys + cast.fetches() - fetches
    return f"{' '.join(sorted(answers))}    keys {new}"


def view_and_open(cast: Cast, name: str, run: str) -> Opened:
    """Record a checker's view, and open the output."""
    checker = cast.client(name)
    attempt = checker.run(run)["attempt"]
    checker.view_output(run, attempt, reading_key(checker, bytes.fromhex(run), attempt))
    viewer = checker.wallet.address[2:].lower()
    return open_output(checker, cast.broker(), checker.run(run), viewer=viewer)


def try_release(cast: Cast, run: str) -> str:
    """Two checkers' yes to a sealed output; returns the ledger's answer."""
    try:
        for name in ("sol", "tess"):
            checker = cast.client(name)
            checker.view_output(run, 1, new_pair()[1])
            checker.approve(run)
    except RefusedByPolicy as refusal:
        return f"REFUSED {refusal.reason}"
    return "RELEASED"


def release(cast: Cast, run: str) -> int:
    """Both checkers' yes; returns the block of the release."""
    answers = [cast.client(name).approve(run) for name in ("sol", "tess")]
    return int(answers[-1]["receipt"]["block"])


def count(by_attempt: dict[str, set[str]]) -> int:
    return sum(len(subjects) for subjects in by_attempt.values())


def keys_after(cast: Cast, subject: bytes, block: int) -> int:
    """Journal lines that released a key of this person at a head after the block."""
    lines = (cast.home / "broker" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(
        entry["block"] >= block and subject.hex() in entry["subjects"]
        for entry in map(json.loads, lines)
    )


def search_plaintext(cast: Cast) -> tuple[int, int]:
    """The folders searched for plaintext fragments, and the hits."""
    surfaces = [
        cast.home / name
        for name in (
            "chain",
            "bucket",
            "broker",
            "logs",
            "volens.db",
            "volens.db-wal",
            "trail.json",
        )
    ]
    return len(surfaces), sum(hits(surface, cast.facts["canaries"]) for surface in surfaces)


def hits(root: Path, canaries: list[bytes]) -> int:
    """How often any fragment occurs in a file: raw, UTF-16, hex or base64 (at each of its three
    offsets).
    """
    forms = [
        form
        for canary in canaries
        for form in (
            canary,
            canary.decode("latin1").encode("utf-16-le"),
            canary.hex().encode(),
            *(base64.b64encode(canary[offset:])[:24] for offset in range(3)),
        )
    ]
    files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
    return sum(form in data for data in map(Path.read_bytes, files) for form in forms)
