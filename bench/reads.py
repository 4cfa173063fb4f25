"""Compares governed with plain reads of variants, and packed records with VCF files.

Governed: the object's hash is compared with the ledger's, its key is combined and checked, and it
is decrypted and parsed. Plain: the same bytes are stored unencrypted in the same bucket and are
parsed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Any

from cyvcf2 import VCF

from analytics.readers.genotypes import Genotypes, Sites, read_genotypes
from analytics.readers.vcf.split import split_vcf
from analytics.simulate.known_truth import simulate_cohort
from analytics.simulate.known_truth_files import BUILD, write_vcf
from bench.races import race
from governance.consent import CATEGORIES
from governance.objects.envelope import Label, WrappedShare
from governance.objects.vault import Bucket, Shares, open_record, seal_records

VARIANTS = 20_000
PARSED, PACKED = 5, 50  # people, read one after another, as in a run


def measure_reads(bucket: Bucket, pairs: int) -> dict[str, Any]:
    """Ratios of governed / plain reads, and of VCF parsing / reading packed records."""
    sources, packed = _simulate_people()
    source = sources[0]
    identity, record, subject, dataset = (secrets.token_bytes(32) for _ in range(4))
    label = Label(identity, record, subject, dataset, CATEGORIES["germline-variants"], 1)
    key_shares: list[Shares] = []

    def wrap(shares: list[Shares]) -> Sequence[Sequence[WrappedShare]]:
        key_shares.extend(shares)
        return [[WrappedShare(bytes(20), j, bytes(60)) for j in range(3)] for _ in shares]

    sealed = seal_records([(label, source)], wrap)[0]
    governed, plain = bucket.put(sealed.blob), bucket.put(source)

    def opened(blob: bytes) -> bytes:
        return open_record(blob, sealed.ciphertext_hash, label, key_shares[0])

    return {
        "vcf_read": race(
            lambda: _parse(opened(bucket.get(governed))), lambda: _parse(bucket.get(plain)), pairs
        ),
        "vcf_read_in_memory": race(
            lambda: _parse(opened(sealed.blob)), lambda: _parse(source), pairs
        ),
        # People of one file share their list of sites, which is read with the first person.
        "vcf_parse_over_packed": race(
            lambda: _parse(*sources[:PARSED]), lambda: _read(packed), pairs, PACKED / PARSED
        ),
        "vcf_parse_over_first_packed": race(
            lambda: _parse(source), lambda: read_genotypes(packed[0], {}), pairs
        ),
    }


def _simulate_people() -> tuple[list[bytes], list[bytes]]:
    """(source VCFs, packed genotypes) of simulated people, as written by an ingest."""
    names = [f"P{i}" for i in range(PACKED)]
    cohort = os.memfd_create("cohort")
    os.write(cohort, write_vcf(simulate_cohort(PACKED, 1, VARIANTS), names))
    made: list[tuple[bytes, ...]] = []
    people = {name: f"{i:064x}" for i, name in enumerate(names)}
    split_vcf(cohort, people, build=BUILD, sink=lambda _, *payloads: made.append(payloads))
    os.close(cohort)
    return [source for source, _ in made], [packed for _, packed in made]


def _read(packed: list[bytes]) -> list[Genotypes]:
    known: dict[bytes, Sites] = {}
    return [read_genotypes(record, known) for record in packed]


def _parse(*sources: bytes) -> None:
    """Read every call, depth and quality of VCFs in memory."""
    for source in sources:
        descriptor = os.memfd_create("source")
        os.write(descriptor, source)
        os.lseek(descriptor, 0, os.SEEK_SET)
        for record in VCF(descriptor):
            record.genotype.array()
            record.format("DP")
            record.format("GQ")
        os.close(descriptor)
