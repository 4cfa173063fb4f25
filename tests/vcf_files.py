"""Cohort VCF files for tests: text from rows, descriptors in memory, and random cohorts."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Sequence

import numpy as np

from analytics.readers.vcf.genetic_sex import PSEUDO_AUTOSOMAL
from analytics.readers.vcf.header import LENGTHS

BUILD = "GRCh38"
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
DEFINITIONS = (
    '##FILTER=<ID=q10,Description="Low, \\"very\\" low">',
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="Copies">',
    '##INFO=<ID=DB,Number=0,Type=Flag,Description="Known">',
    '##INFO=<ID=CARRIERS,Number=.,Type=String,Description="Names">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">',
    '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Quality">',
)


def subjects(people: Sequence[str]) -> dict[str, str]:
    return {name: f"{i + 1:064x}" for i, name in enumerate(people)}


def header(
    people: Sequence[str],
    *extra: str,
    build: str = BUILD,
    contigs: Sequence[str] = ("1", "2"),
    lengths: bool = True,
) -> list[str]:
    """The header's lines; `extra` is before the column line."""
    known = {str(i + 1): length for i, length in enumerate(LENGTHS[build])}
    contig_lines = [
        f"##contig=<ID={name},length={known[name.removeprefix('chr')]}>"
        if lengths and name.removeprefix("chr") in known
        else f"##contig=<ID={name}>"
        for name in contigs
    ]
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *people]
    return ["##fileformat=VCFv4.2", *contig_lines, *DEFINITIONS, *extra, "\t".join(columns)]


def row(
    site: str,
    *calls: str,
    alleles: str = "A G",
    name: str = ".",
    filter_: str = "PASS",
    info: str = ".",
    format_: str = "GT",
) -> str:
    """site: "1:100"."""
    return "\t".join(
        [*site.split(":"), name, *alleles.split(), "50", filter_, info, format_, *calls]
    )


def text(lines: Sequence[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def gzip(data: bytes, level: int = 6) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, 31)
    return compressor.compress(data) + compressor.flush()


def bgzip(data: bytes, level: int = 6) -> bytes:
    """SAM specification §4.1: members of at most 64 KiB with their size in an extra field, and an
    end mark."""
    members = []
    for start in range(0, len(data), 60_000):
        part = data[start : start + 60_000]
        compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
        body = compressor.compress(part) + compressor.flush()
        head = bytes.fromhex("1f8b08040000000000ff060042430200") + (len(body) + 25).to_bytes(
            2, "little"
        )
        members.append(
            head + body + zlib.crc32(part).to_bytes(4, "little") + len(part).to_bytes(4, "little")
        )
    return b"".join(members) + BGZIP_END


def in_memory(data: bytes) -> int:
    """A descriptor of a file without a path."""
    descriptor = os.memfd_create("test")
    os.write(descriptor, data)
    return descriptor


def cohort(people: int, variants: int, seed: int = 1) -> tuple[bytes, list[str], np.ndarray]:
    """(VCF text, names, dosages (variants, people), -1 for missing), with depth and quality."""
    rng = np.random.default_rng(seed)
    names = [f"P{i}" for i in range(people)]
    dosage = rng.binomial(2, rng.uniform(0.05, 0.5, (variants, 1)), (variants, people))
    dosage[rng.random(dosage.shape) < 0.02] = -1
    words = {-1: "./.", 0: "0/0", 1: "0|1", 2: "1/1"}
    lines = header(names)
    for i, calls in enumerate(dosage.tolist()):
        chromosome, position = ("1", 100 + 10 * i) if i < variants // 2 else ("2", 10 * i)
        depth, quality = rng.integers(5, 60, people), rng.integers(10, 99, people)
        fields = [f"{words[c]}:{d}:{q}" for c, d, q in zip(calls, depth, quality, strict=True)]
        lines.append(row(f"{chromosome}:{position}", *fields, format_="GT:DP:GQ", name=f"rs{i}"))
    return text(lines), names, dosage


def of_dosages(dosage: np.ndarray, chromosome: np.ndarray, position: np.ndarray) -> bytes:
    """VCF text of (people, variants) dosages, -1 for missing; the people are P0, P1, ..."""
    words = {-1: "./.", 0: "0/0", 1: "0/1", 2: "1/1"}
    lines = header([f"P{i}" for i in range(len(dosage))])
    for at, calls in enumerate(dosage.T.tolist()):
        lines.append(row(f"{chromosome[at]}:{position[at]}", *(words[call] for call in calls)))
    return text(lines)


HOSTILE = (
    "",
    ".",
    "\0",
    "0",
    "-1",
    "1e309",
    "NaN",
    "9" * 30,
    "1.5",
    "<DEL>",
    "*",
    "a\tb",
    "\r",
    "é",
    "./.",
    "0/1/1",
    "2/3",
    "0|",
    "PASS;",
    "http://zq.example/x",
    "%s",
    "../zq",
    "AC=" + "9" * 99,
    ",",
    ":",
    ";;",
    " ",
    "\x1b[31m",
)


def rich() -> tuple[bytes, list[str]]:
    """(VCF text, names) of a small cohort with all features of real files."""
    data, names, _ = cohort(3, 20)
    more = [
        row("2:5000", "0/1", "1/2", "./.", alleles="A G,T", info="AC=2,1;CARRIERS=P0"),
        row("2:5001", "./1", "1", "0/0", alleles="ACGT A", filter_="q10"),
        row("2:5002", "0/1", "0/0", "0/0", alleles="A <DEL>"),
        row("2:5003", "0/1", "1/1", "0/0", alleles="A *,C"),
        row("X:100", "0", "1", "0/1"),
        row("MT:5", "1", "0", "0"),
        row("GL000192.1:7", "0/1", "0/0", "0/0"),
    ]
    return data + text(more), names


def mutant(seed: int) -> bytes:
    """`rich` with one to three faults in its text or compressed bytes; deterministic by seed."""
    rng = random.Random(seed)
    data = bytearray(rich()[0])
    for _ in range(rng.randint(1, 3)):
        _tamper(data, rng)
    packed = rng.choice((bytes, bytes, gzip, bgzip))(bytes(data))
    if packed[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        damaged = bytearray(packed)
        position = rng.randrange(len(damaged))
        damaged[position:] = (
            b"" if rng.random() < 0.4 else bytes([rng.randrange(256)]) + damaged[position + 1 :]
        )
        return bytes(damaged)
    return packed


def _tamper(data: bytearray, rng: random.Random) -> None:
    """One fault: in bytes, in the order of lines, or in a field."""
    match rng.randrange(8):
        case 0:
            position = rng.randrange(len(data))
            data[position] ^= 1 << rng.randrange(8)
        case 1:
            position = rng.randrange(len(data))
            del data[position : position + rng.randint(1, 200)]
        case 2:
            position = rng.randrange(len(data))
            data[position:position] = data[position : position + rng.randint(1, 200)]
        case 3:
            position = rng.randrange(len(data))
            data[position:position] = rng.randbytes(rng.randint(1, 20))
        case 4:
            del data[rng.randrange(1, len(data)) :]
        case kind:
            lines = bytes(data).split(b"\n")
            n = rng.randrange(len(lines))
            if kind == 5:
                m = rng.randrange(len(lines))
                lines[n], lines[m] = lines[m], lines[n]
            else:
                fields = lines[n].split(b"\t")
                position = rng.randrange(len(fields))
                fields[position : position + 1] = (
                    [] if kind == 6 else [rng.choice(HOSTILE).encode()]
                )
                lines[n] = b"\t".join(fields)
            data[:] = b"\n".join(lines)
    data += b"" if data else b"x"


def info(number: int, letters: int) -> str:
    """A header definition with a description of this many letters."""
    return f'##INFO=<ID=Z{number},Number=1,Type=Integer,Description="{"a" * letters}">'


def malformed() -> dict[str, tuple[bytes, str | None]]:
    """Files by their fault, with the text of the refusal; None: the file may also be accepted."""
    good, names = rich()
    rows, top = good.decode().split("\n"), header(names)
    million = "0/1:" + "1," * 1_000_000 + "1"

    def file(*lines: str, top: Sequence[str] = tuple(top)) -> bytes:
        return text([*top, *lines])

    def changed(old: str, new: str) -> bytes:
        assert old.encode() in good
        return good.replace(old.encode(), new.encode(), 1)

    def at(site: str, *calls: str, **more: str) -> str:
        return row(site, *(calls or ("0/1", "0/0", "1/1")), **more)

    def many_alts(rows: int, alts: int) -> list[str]:
        bases = ["".join("ACGT"[n >> 2 * i & 3] for i in range(8)) for n in range(alts)]
        return [at(f"1:{n + 5}", alleles="A " + ",".join(bases)) for n in range(rows)]

    return {
        "empty": (b"", "1 to .* rows"),
        "one byte": (b"#", "ends in the middle"),
        "text": (b"zq\n" * 99, "no VCF header"),
        "BCF": (b"BCF\2\2" + bytes(99), "zero byte"),
        "BOM twice": (b"\xef\xbb\xbf" * 2 + good, "no VCF header"),
        "CRCRLF": (good.replace(b"\n", b"\r\r\n"), "carriage return"),
        "old Mac ends": (good.replace(b"\n", b"\r"), "carriage return"),
        "UTF-16": (good.decode().encode("utf-16"), "zero byte"),
        "NUL": (changed("rs3", "rs\0"), "zero byte"),
        "no header": (text(rows[len(top) : -1]), "no VCF header"),
        "header alone": (text(top), "1 to .* rows"),
        "no column line": (file(at("1:5"), top=top[:-1]), "no VCF header"),
        "version 9": (changed("VCFv4.2", "VCFv9.9"), "VCF 4.0 to 4.5"),
        "GRCh37 lengths": (
            file(at("1:5"), top=header(names, build="GRCh37")),
            "another genome build",
        ),
        "GRCh37 in words": (
            file(at("1:5"), top=header(names, "##reference=hg19.fa")),
            "another genome build",
        ),
        "no build, and beyond its end": (
            file(at("1:248956423"), top=header(names, lengths=False)),
            "beyond the end",
        ),
        "duplicate samples": (
            changed("P0\tP1\tP2", "P0\tP1\tP1"),
            "two samples have the same name|have no subject",
        ),
        "another sample": (changed("P0\tP1\tP2", "P0\tP1\tzq"), "have no subject"),
        "a sample less": (
            text(
                ["\t".join(line.split("\t")[:-1]) if "\t" in line else line for line in rows[:-1]]
            ),
            "not in it",
        ),
        "sites only": (
            text(["\t".join(line.split("\t")[:8]) for line in rows[:-1]]),
            "FORMAT and at least one",
        ),
        "unsorted": (file(at("1:9"), at("1:5")), "not sorted"),
        "contig comes back": (file(at("1:9"), at("2:5"), at("1:10")), "are not adjacent"),
        "1 and chr1": (file(at("1:9"), at("chr2:5")), "and others chr1|cannot be parsed"),
        "foreign contigs only": (
            file(at("zq:9"), at("HLA-A*01:5")),
            "none of its variants|cannot be parsed",
        ),
        "beyond the end": (file(at("1:248956423")), "beyond the end"),
        "position 0": (file(at("1:0")), "none of its variants"),
        "huge position": (file(at("1:" + "9" * 30)), "not a number|cannot be parsed|rows differ"),
        "negative position": (file(at("1:-5")), "not a number|cannot be parsed"),
        "NaN quality": (file(at("1:5").replace("\t50\t", "\tNaN\t")), None),
        "endless quality": (file(at("1:5").replace("\t50\t", "\t1e999\t")), None),
        "ploidy 3": (file(at("1:5", "0/1/1", "0/0", "0/0")), None),
        "ploidy 1000": (
            file(at("1:5", "/".join("0" * 1000), "0/0", "0/0")),
            "genotype is not written",
        ),
        "ploidy 500,000": (
            file(at("1:5", "/".join("0" * 500_000), "0/0", "0/0")),
            "genotype is not written",
        ),
        "ploidy 2,000,000": (
            file(at("1:5", "/".join("0" * 2_000_000), "0/0", "0/0")),
            "genotype is not written",
        ),
        "ploidy 16 on X": (file(at("1:5"), at("X:5", "/".join("0" * 16), "0", "0")), None),
        "negative depth": (
            file(at("1:5", "0/1:-5", "0/0:1", "0/0:1", format_="GT:DP")),
            None,
        ),
        "huge depth": (
            file(at("1:5", "0/1:1", "0/0:99999999999", "0/0:1", format_="GT:DP")),
            None,
        ),
        "two depths": (
            file(at("1:5", "0/1:1,2", "0/0:1", "0/0:1", format_="GT:DP")),
            None,
        ),
        "a depth in words": (
            file(at("1:5", "0/1:zq", "0/0:1", "0/0:1", format_="GT:DP")),
            None,
        ),
        "negative quality": (
            file(at("1:5", "0/1:1:9", "0/0", "0/0:1:-1", format_="GT:DP:GQ")),
            None,
        ),
        "a million depths": (
            file(at("1:5", million, "0/0:1", "0/0:1", format_="GT:DP")),
            None,
        ),
        "a million numbers": (
            file(
                at("1:5", million, "0/0:1", "0/0:1", format_="GT:AD"),
                top=header(names, '##FORMAT=<ID=AD,Number=.,Type=Float,Description="">'),
            ),
            None,
        ),
        "allele that is not": (
            file(at("1:5", "0/7", "0/0", "0/0")),
            "allele that its row does not have",
        ),
        "huge allele": (
            file(at("1:5", f"0/{'9' * 20}", "0/0", "0/0")),
            "a genotype is not written",
        ),
        "negative allele": (file(at("1:5", "0/-1", "0/0", "0/0")), "a genotype is not written"),
        "variant listed twice": (file(at("1:5"), at("1:5")), "none of its variants"),
        "ALT is REF": (file(at("1:5", alleles="A A")), "equal to the reference"),
        "ALT is REF elsewhere": (
            file(at("1:5"), at("X:5", alleles="ac G,AC")),
            None,
        ),
        "a column more": (file(at("1:5") + "\t0/0"), "one plain field"),
        "a column less": (file(at("1:5", "0/0", "0/0")), "one plain field"),
        "no GT": (file(at("1:5", "3", "4", "5", format_="DP")), "none of its variants"),
        "GT second": (
            file(at("1:5", "3:0/0", "4:0/0", "5:0/0", format_="DP:GT")),
            "GT. is not first",
        ),
        "undefined FORMAT": (
            file(at("1:5", "0/0:zq", "0/0:1", "0/0:1", format_="GT:Z/Q")),
            "no proper name",
        ),
        "undefined FILTER": (file(at("1:5", filter_="z<q")), "no proper name"),
        "GT as a number": (
            changed("ID=GT,Number=1,Type=String", "ID=GT,Number=1,Type=Integer"),
            None,
        ),
        "a header ID twice": (
            changed(rows[5], f"{rows[5]}\n{rows[5]}"),
            None,
        ),
        "a long header": (
            file(at("1:5"), top=[top[0], *["##zq=1"] * 30_000, *top[1:]]),
            "too long",
        ),
        "an open quote": (
            file(at("1:5"), top=header(names, info(1, 4_100_000)[:-2])),
            "definition .* is too long",
        ),
        "an open short quote": (
            file(at("1:5"), top=header(names, info(1, 60_000)[:-2])),
            None,
        ),
        "escapes in quotes": (
            file(
                at("1:5"),
                top=header(names, *[info(n, 60_000).replace("aa", "\\a") for n in range(60)]),
            ),
            None,
        ),
        "12 descriptions of 4 MB": (
            file(at("1:5"), top=header(names, *[info(n, 4_000_000) for n in range(12)])),
            "too long",
        ),
        "19,000 lines of 5 KB": (
            file(at("1:5"), top=[top[0], *["##zq=" + "z" * 5_000] * 19_000]),
            "too long",
        ),
        "a line of 4 MB": (
            file(at("1:5"), top=header(names, "##zq=\U0001f600" + "z" * 4_100_000)),
            None,
        ),
        "a header of commas": (
            file(at("1:5"), top=header(names, *["##zq=<ID=zq," + "a=b," * 15_000 + "c=d>"] * 60)),
            "too long",
        ),
        "new INFO in every row": (
            file(
                *[
                    at(f"1:{n + 1}", info=";".join(f"z{n}q{i}" for i in range(900)))
                    for n in range(400)
                ]
            ),
            "name more than 5000",
        ),
        "new INFO in some rows": (
            file(
                *[
                    at(f"1:{n + 1}", info=";".join(f"z{n}q{i}" for i in range(900)))
                    for n in range(5)
                ]
            ),
            None,
        ),
        "200,000 filters": (
            file(at("1:5", filter_=";".join(f"zq{i}" for i in range(200_000)))),
            "name more than",
        ),
        "200,000 formats": (
            file(at("1:5", format_="GT:" + ":".join(f"zq{i}" for i in range(200_000)))),
            "name more than",
        ),
        "100,000 contigs": (file(*[at(f"zq{i}:5") for i in range(100_000)]), "name more than"),
        "a long line": (file(at("1:5", info="DB;CARRIERS=" + "zq" * 500_000)), None),
        "an endless line": (
            file(at("1:5", info="CARRIERS=" + "zq" * 3_000_000)),
            "a line is too long",
        ),
        "no line end": (b"##fileformat=VCFv4.2" + b"z" * 5_000_000, "a line is too long"),
        "many INFO entries": (file(at("1:5", info=";".join(["DB"] * 400_000))), "entries of INFO"),
        "many alleles": (
            file(at("1:5", alleles="A " + ",".join(f"A{'C' * n}" for n in range(1, 400)))),
            None,
        ),
        "many alleles twice": (
            file(at("1:5", alleles="A " + ",".join(["C"] * 100_000))),
            "more than 999",
        ),
        "a million alleles": (
            file(at("1:5", alleles="A " + ",".join(["CA"] * 1_300_000))),
            "more than 999",
        ),
        "a name as address": (
            changed("##contig=<ID=1,", "##reference=//zq.example/GRCh38\n##contig=<ID=1,"),
            None,
        ),
        "truncated gzip": (gzip(good)[:-9], "ends in the middle"),
        "half a bgzip": (bgzip(good)[:-28], "middle"),
        "gzip in gzip": (
            gzip(gzip(good)),
            "zero byte|carriage return|no VCF header|ends in the middle",
        ),
        "gzip of noise": (b"\x1f\x8b" + random.Random(1).randbytes(5000), "damaged|middle"),
        "gzip, then noise": (gzip(good) + b"zq" * 20, "damaged|middle"),
        "bomb of empty lines": (gzip(file() + b"\n" * (4 << 20), 9), "empty line"),
        "plain empty lines": (file() + b"\n" * (4 << 20), "empty line"),
        "1,000 rows of 999 alternatives": (
            gzip(file(*many_alts(1_000, 999)), 9),
            "4 alternatives on average",
        ),
        "5,000 rows of 100 alternatives": (
            gzip(file(*many_alts(5_000, 100)), 9),
            "4 alternatives on average",
        ),
        "gzip bomb": (gzip(file() + (at("1:5") + "\n").encode() * 700_000, 9), "inflates to more"),
        "bomb of zeros": (gzip(bytes(64 << 20), 9), "zero byte"),
        "bomb of one line": (gzip(file()[:-1] + b"\tz" * (32 << 20), 9), "a line is too long"),
        "GRCh37 was asked": (good, "another genome build"),
        "zq was asked": (good, "neither GRCh37 nor GRCh38"),
    }


CROWD = [f"S{i}" for i in range(2_500)]


def crowded() -> dict[str, tuple[bytes, str | None]]:
    """The same for files with the maximum number of people: short rows are repeated for each."""
    calls, first = ["0/1"] * len(CROWD), '##FORMAT=<ID=AD,Number=.,Type=Integer,Description="">'
    alts = ",".join("C" + f"{n:b}".translate({48: "G", 49: "T"}) for n in range(999))

    def file(*lines: str, top: Sequence[str] = ()) -> bytes:
        return text([*header(CROWD, *top), *lines])

    def numbers(fields: int, values: int) -> bytes:
        """As many people as fields have a long list, each in another field."""
        keys = [f"Z{n}" for n in range(fields)]
        long, short = "1," * values + "1", "1"
        calls = [
            "0/1:" + ":".join(long if n == i else short for n in range(fields))
            for i in range(len(CROWD))
        ]
        return file(
            row("1:5", *calls, format_=":".join(["GT", *keys])),
            top=[first.replace("AD", key) for key in keys],
        )

    return {
        "one row": (file(row("1:5", *calls)), None),
        "3,000 descriptions": (
            file(row("1:5", *calls), top=[info(n, 5_000) for n in range(3_000)]),
            "too long",
        ),
        "700 descriptions": (
            file(row("1:5", *calls), top=[info(n, 5_000) for n in range(700)]),
            None,
        ),
        "19,900 definitions": (
            file(row("1:5", *calls), top=[info(n, 99) for n in range(19_900)]),
            None,
        ),
        "a call of 400 KB": (
            file(row("1:5", "0/1:" + "1," * 200_000, *calls[1:], format_="GT:AD"), top=[first]),
            "too long for a row",
        ),
        "a call of 3 KB": (
            file(row("1:5", "0/1:" + "1," * 1_600, *calls[1:], format_="GT:AD"), top=[first]),
            None,
        ),
        "a long call in each field": (numbers(50, 1_000), "too long for a row"),
        "a long allele": (
            file(row("1:5", *calls, alleles="A" * 3_000_000 + " G")),
            "too long to repeat",
        ),
        "999 alleles": (
            file(*[row(f"1:{n}", *calls, alleles="A " + alts) for n in range(1, 11)]),
            "too long to repeat",
        ),
    }


_WORDS = {0: "0/0", 1: "0/1", 2: "1/1"}
AFTER_PAIRING = PSEUDO_AUTOSOMAL[BUILD][0][1] + 1  # of X with Y


def with_x(
    females: np.ndarray, variants: int, seed: int, haploid: bool = True, first: int = AFTER_PAIRING
) -> bytes:
    """A cohort's VCF: a few variants of chromosome 1, and of X, of which a male has one copy."""
    rng = np.random.default_rng(seed)
    names = [f"P{i}" for i in range(len(females))]
    lines = header(names, contigs=("1", "X"))
    for at in range(20):
        calls = rng.binomial(2, 0.3, len(females))
        lines.append(row(f"1:{1000 + at}", *(_WORDS[copies] for copies in calls.tolist())))
    for at in range(variants):
        frequency = rng.uniform(0.1, 0.5)
        two, single = rng.binomial(2, frequency, len(females)), rng.random(len(females)) < frequency
        male = [str(int(copy)) if haploid else _WORDS[2 * int(copy)] for copy in single]
        calls = [
            _WORDS[copies] if female else written
            for female, copies, written in zip(females, two.tolist(), male, strict=True)
        ]
        lines.append(row(f"X:{first + 500 * at}", *calls))
    return text(lines)
