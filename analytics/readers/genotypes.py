"""Packed germline genotypes of one person (category 5, ordinal 1), so runs need not parse VCF text.

Format `volens/genotypes/2`, stable, little-endian:

    "VOLG" ‖ u32 header length ‖ header ‖ sites ‖ calls

header: canonical JSON {"type", "build", "variants": n, "alleles": length of the allele text,
"sites": sha256, "source": sha256 of the person's single-sample VCF}.
sites: chromosome u8[n] ‖ passed u8[n] ‖ position u32[n] ‖ "REF>ALT\\n" × n, in order of chromosome
and position, one row for each ALT.
calls: dosage i8[n] ‖ depth u8[n] ‖ quality u8[n]. In depth and quality 255 is "not given" and 254
means 254 or more (version 1 wrote 0 for "not given").

`sites` is hashed together with build and n, so equal digests mean equal sites and a parsed list
serves all people.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.canonical import dump_canonical, load_strict
from analytics.errors import JsonRefused, PayloadError

FORMAT = "volens/genotypes/2"
MAGIC = b"VOLG"
BUILDS = ("GRCh37", "GRCh38")
AUTOSOMES = 22
MAX_VARIANTS = 1_000_000
MAX_ALLELE_TEXT = 64 << 20  # bytes
MISSING = -1
# Depth and quality: many files have none (arrays, imputed data). A missing value is neither zero
# nor low, so its mark is above every minimum that can be requested.
LARGEST, NOT_GIVEN = 254, 255

_MAX_HEADER = 4096  # bytes
_PER_SITE, _PER_CALL = 6, 3  # bytes
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LETTERS = b"ACGTN>\n"


@dataclass(frozen=True, slots=True)
class _Header:
    type: str
    build: str
    variants: int
    alleles: int
    sites: str
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """The variants of one file, shared by all its people.

    digest: 32 bytes; build: GRCh37 or GRCh38; chromosome (n,) 1-22; position (n,) 1-based; alleles:
    "REF>ALT" each; passed (n,): FILTER was PASS or not given.
    """

    digest: bytes
    build: str
    chromosome: NDArray[np.uint8]
    position: NDArray[np.uint32]
    alleles: tuple[str, ...]
    passed: NDArray[np.bool_]

    def names(self) -> tuple[str, ...]:
        """ "1:12345:A>G" each, in order."""
        columns = zip(self.chromosome.tolist(), self.position.tolist(), self.alleles, strict=True)
        return tuple(
            f"{chromosome}:{position}:{alleles}" for chromosome, position, alleles in columns
        )


@dataclass(frozen=True, slots=True, eq=False)
class Genotypes:
    """One person's calls at `sites`.

    source: sha256 of the source payload; dosage (n,): copies of ALT 0, 1, 2, or -1 for missing;
    depth and quality (n,): DP and GQ rounded down, LARGEST for that value or more, NOT_GIVEN if the
    file has none.
    """

    sites: Sites
    source: bytes
    dosage: NDArray[np.int8]
    depth: NDArray[np.uint8]
    quality: NDArray[np.uint8]

    def is_trusted(self, min_depth: int, min_quality: int) -> NDArray[np.bool_]:
        """(n,) whether no given value is below its minimum; missing values are not below it.

        Like PLINK's --vcf-min-dp and --vcf-min-gq, which apply to values "when present".
        """
        trusted: NDArray[np.bool_] = (self.depth >= min_depth) & (self.quality >= min_quality)
        return trusted


def is_genotypes(payload: bytes) -> bool:
    """Whether a category-5 payload is packed genotypes (and neither a VCF nor a FHIR bundle)."""
    return payload[:4] == MAGIC


def build_sites(
    build: str,
    chromosome: ArrayLike,
    position: ArrayLike,
    alleles: Sequence[str],
    passed: ArrayLike,
) -> Sites:
    """Sites from columns of equal length, by chromosome and position. Raises PayloadError."""
    if not 0 < len(alleles) <= MAX_VARIANTS:
        raise PayloadError(f"genotypes: there are not 1 to {MAX_VARIANTS} variants")
    texts = "".join(f"{pair}\n" for pair in alleles)
    if not texts.isascii():
        raise PayloadError("genotypes: an allele is not made of the letters A, C, G, T and N")
    block = (
        np.asarray(chromosome, np.uint8).tobytes()
        + np.asarray(passed, np.uint8).tobytes()
        + np.asarray(position, "<u4").tobytes()
        + texts.encode()
    )
    return _parse_sites(block, build, len(alleles), _digest(build, len(alleles), block))


def write_genotypes(
    sites: Sites,
    source: bytes,
    dosage: NDArray[np.int8],
    depth: NDArray[np.uint8],
    quality: NDArray[np.uint8],
) -> bytes:
    """Payload of one person; it is read back, so it is always valid. Raises PayloadError."""
    texts = "".join(f"{pair}\n" for pair in sites.alleles).encode()
    header = dump_canonical(
        {
            "type": FORMAT,
            "build": sites.build,
            "variants": len(sites.alleles),
            "alleles": len(texts),
            "sites": sites.digest.hex(),
            "source": source.hex(),
        }
    )
    payload = b"".join(
        (
            MAGIC,
            len(header).to_bytes(4, "little"),
            header,
            sites.chromosome.tobytes(),
            sites.passed.tobytes(),
            sites.position.astype("<u4").tobytes(),
            texts,
            dosage.astype(np.int8).tobytes(),
            depth.astype(np.uint8).tobytes(),
            quality.astype(np.uint8).tobytes(),
        )
    )
    read_genotypes(payload, {sites.digest: sites})
    return payload


def read_genotypes(payload: bytes, known: dict[bytes, Sites]) -> Genotypes:
    """One person's genotypes, as read-only views of the payload.

    known: sites by digest, which grows; with one dict for all people of a file, its list is parsed
    once. Raises PayloadError.
    """
    header, start = _read_header(payload)
    n, build = header.variants, header.build
    middle = start + n * _PER_SITE + header.alleles
    if len(payload) != middle + n * _PER_CALL:
        raise PayloadError("genotypes: the length does not fit the header")
    digest = _digest(build, n, memoryview(payload)[start:middle])
    if digest.hex() != header.sites:
        raise PayloadError("genotypes: the list of variants is not the one that the header names")
    if digest not in known:
        known[digest] = _parse_sites(payload[start:middle], build, n, digest)
    dosage = np.frombuffer(payload, np.int8, n, middle)
    if dosage.min() < MISSING or dosage.max() > 2:
        raise PayloadError("genotypes: a dosage is not 0, 1, 2 or missing")
    depth = np.frombuffer(payload, np.uint8, n, middle + n)
    quality = np.frombuffer(payload, np.uint8, n, middle + 2 * n)
    return Genotypes(known[digest], bytes.fromhex(header.source), dosage, depth, quality)


def _read_header(payload: bytes) -> tuple[_Header, int]:
    size = int.from_bytes(payload[4:8], "little")
    if not is_genotypes(payload) or not 0 < size <= _MAX_HEADER or len(payload) < 8 + size:
        raise PayloadError(f"genotypes: this is not {FORMAT}")
    try:
        header = load_strict(payload[8 : 8 + size], max_bytes=_MAX_HEADER, max_depth=1)
    except JsonRefused as refused:
        raise PayloadError(f"genotypes: {refused}") from None
    if (
        not isinstance(header, dict)
        or set(header) != set(_Header.__slots__)
        or header["type"] != FORMAT
    ):
        raise PayloadError(f"genotypes: the header has not exactly what {FORMAT} has")
    if header["build"] not in BUILDS:
        raise PayloadError("genotypes: the genome build is neither GRCh37 nor GRCh38")
    for name, most in (("variants", MAX_VARIANTS), ("alleles", MAX_ALLELE_TEXT)):
        if type(header[name]) is not int or not 0 < header[name] <= most:
            raise PayloadError(f"genotypes: the number of {name} is out of range")
    if not all(
        isinstance(header[name], str) and _DIGEST.fullmatch(header[name])
        for name in ("sites", "source")
    ):
        raise PayloadError("genotypes: a hash of the header is invalid")
    return _Header(**header), 8 + size


def _parse_sites(block: bytes, build: str, n: int, digest: bytes) -> Sites:
    """block: the sites' bytes, at least n × 6 of them."""
    chromosome = np.frombuffer(block, np.uint8, n)
    passed = np.frombuffer(block, np.uint8, n, n)
    position = np.frombuffer(block, "<u4", n, 2 * n)
    if (
        chromosome.min() < 1
        or chromosome.max() > AUTOSOMES
        or position.min() < 1
        or passed.max() > 1
    ):
        raise PayloadError("genotypes: a variant is at no position of an autosome")
    alleles = _parse_alleles(block[_PER_SITE * n :], n)
    location = chromosome.astype(np.uint64) << 32 | position
    if np.any(location[1:] < location[:-1]):
        raise PayloadError("genotypes: the variants are not in order")
    ties = np.flatnonzero(location[1:] == location[:-1])
    tied = {int(i) for tie in ties for i in (tie, tie + 1)}
    if len({(int(location[i]), alleles[i]) for i in tied}) != len(tied):
        raise PayloadError("genotypes: a variant is listed twice")
    return Sites(
        digest, build, chromosome, position.astype(np.uint32), alleles, passed.astype(np.bool_)
    )


def _parse_alleles(text: bytes, n: int) -> tuple[str, ...]:
    """n times REF>ALT and a line end; checked at once, since row by row is 10 times slower."""
    letters = np.frombuffer(text, np.uint8)
    marks = np.flatnonzero(letters < ord("A"))  # the signs > and end of line
    separators = letters[marks]
    if (
        text.translate(None, _LETTERS)
        or len(marks) != 2 * n
        or marks[-1] != len(text) - 1
        or np.any(separators[0::2] != ord(">"))
        or np.any(separators[1::2] != ord("\n"))
        or np.any(np.diff(marks, prepend=-1) < 2)
    ):
        raise PayloadError("genotypes: the alleles are not written as REF>ALT")
    return tuple(text.decode("ascii").split("\n")[:-1])


def _digest(build: str, n: int, block: bytes | memoryview) -> bytes:
    hashed = hashlib.sha256(dump_canonical({"type": FORMAT, "build": build, "variants": n}))
    hashed.update(block)
    return hashed.digest()
