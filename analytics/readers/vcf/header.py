"""Reads a VCF header and writes a new one with only the needed definitions.

A header names people in many places (sample lines, command lines, paths of reference files). So
instead of removing parts, a new header is written from the definitions that the rows need (VCF 4.2
to 4.5, §1.4).
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import dataclass

from analytics.errors import PayloadError

MAX_HEADER_LINES = 20_000
# Bytes; 2,500 samples of 100 letters, 3,400 contigs and 1,000 fields have 0.7 MB.
MAX_HEADER = 4 << 20
MAX_HEADER_COMMAS = 200_000  # htslib makes an entry of each; 20,000 definitions have 80,000
# Letters of one definition; command lines name thousands of files and are longer.
MAX_DEFINITION = 64 << 10
MAX_PEOPLE = 2_500  # whose records are written
MAX_COLUMNS = 10_000  # samples of a file, including those that are left out

# Lengths of the chromosomes 1 to 22 (NCBI assemblies GCF_000001405.13 and .26).
LENGTHS = {
    "GRCh37": (
        249250621,
        243199373,
        198022430,
        191154276,
        180915260,
        171115067,
        159138663,
        146364022,
        141213431,
        135534747,
        135006516,
        133851895,
        115169878,
        107349540,
        102531392,
        90354753,
        81195210,
        78077248,
        59128983,
        63025520,
        48129895,
        51304566,
    ),
    "GRCh38": (
        248956422,
        242193529,
        198295559,
        190214555,
        181538259,
        170805979,
        159345973,
        145138636,
        138394717,
        133797422,
        135086622,
        133275309,
        114364328,
        107043718,
        101991189,
        90338345,
        83257441,
        80373285,
        58617616,
        64444167,
        46709983,
        50818468,
    ),
}

# Lengths of the chromosomes 1 to 22 in human assemblies that are not supported: NCBI36
# (GCF_000001405.12) and T2T-CHM13v2.0 (GCF_009914755.1).
_FOREIGN_LENGTHS = tuple(
    tuple(map(int, text.split()))
    for text in (
        "247249719 242951149 199501827 191273063 180857866 170899992 158821424 146274826 140273252 "
        "135374737 134452384 132349534 114142980 106368585 100338915 88827254 78774742 76117153 "
        "63811651 62435964 46944323 49691432",
        "248387328 242696752 201105948 193574945 182045439 172126628 160567428 146259331 150617247 "
        "134758134 135127769 133324548 113566686 101161492 99753195 96330374 84276897 80542538 "
        "61707364 66210255 45090682 51324926",
    )
)


# Names of reference files, including GenBank accessions.
_NAMES = {
    "GRCh37": re.compile(
        r"grch37|hg19|\bb37|hs37|g1k_v37|gca_000001405\.(?:[1-9]|1[0-4])\b", re.IGNORECASE
    ),
    "GRCh38": re.compile(
        r"grch38|hg38|\bb38|hs38|gca_000001405\.(?:1[5-9]|2[0-9])\b", re.IGNORECASE
    ),
}
# Unsupported human assemblies, older ones and T2T, as full words: a checksum in a name may contain
# b36.
_FOREIGN = re.compile(
    r"(?<![a-z0-9])(?:ncbi[-_]?(?:build[-_]?)?3[0-6]|hg1[0-8]|b3[0-6]|(?:t2t[-_]?)?chm13(?:v[0-9]+)?|t2t|hs1)"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)
_COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"
_VERSION = re.compile(r"VCFv4\.[0-5]")
LEADING_PHASE = re.compile(rb"##fileformat=VCFv4\.[45]$")  # a genotype may begin with / or |
# Possessive quantifiers, without backtracking, since a quote may stay open up to the maximum line
# length.
_FIELD = re.compile(r' *+([A-Za-z0-9_.]++)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^,"]*+)(?:,|$)')
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}|1000G")
# A name for htslib: commas, quotes, brackets, < and > would end a definition.
_FILTER_ID = re.compile(r"[A-Za-z0-9_.+:=/%()*|&!?@#~^$'-]{1,64}")
_CONTIG = re.compile(r"[0-9A-Za-z_.|:*-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,3}|[ARG.]|L[ARG]|[PM]")
# Number and Type of the FORMAT fields that are packed (VCF 4.2 §1.4.2).
RESERVED = {b"GT": ("1", "String"), b"DP": ("1", "Integer"), b"GQ": ("1", "Integer")}
_TYPES = ("Integer", "Float", "Character", "String")  # of FORMAT
# The part of an INFO entry after its name, by Type; other entries are text and not kept.
_INTEGER = rb"(?:[+-]?[0-9]{1,9}|\.)"
_REAL = rb"(?:[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?|nan|inf|-inf|\.)"
_ENTRIES = {
    "Integer": re.compile(rb"=" + _INTEGER + rb"(?:," + _INTEGER + rb")*+"),
    "Float": re.compile(rb"=" + _REAL + rb"(?:," + _REAL + rb")*+", re.IGNORECASE),
    "Flag": re.compile(rb""),
}
_RESERVED_TYPES = {"GT": ("String",), "DP": ("Integer",), "GQ": ("Integer", "Float")}
_AUTOSOME = re.compile(r"(?:chr)?([1-9]|1[0-9]|2[0-2])")


@dataclass(frozen=True, slots=True)
class Header:
    """people: sample names in column order. numbers: INFO fields that are numbers or flags, with
    the pattern of the part after the name. filters, formats: the defined ones. float_quality:
    whether GQ is a float. leading_phase: whether a genotype may begin with its phase. says_build:
    whether the header names the genome build, or contigs with their lengths."""

    people: tuple[str, ...]
    numbers: Mapping[bytes, re.Pattern[bytes]]
    filters: frozenset[bytes]
    formats: frozenset[bytes]
    says_build: bool
    float_quality: bool
    leading_phase: bool
    _first: tuple[str, ...]
    _definitions: Mapping[tuple[str, bytes], str]  # by kind and ID

    def text(self, used: Container[bytes], added: Sequence[str], column: str) -> bytes:
        """The header of one person's file: the used and added definitions, and the column line."""
        defined = [line for (_, name), line in self._definitions.items() if name in used]
        return "\n".join((*self._first, *defined, *added, f"{_COLUMNS}{column}\n")).encode()

    def undefined(self, filters: Set[bytes], formats: Set[bytes]) -> list[str]:
        """Definitions of the filters and FORMAT fields that rows use without one, in order.

        VCF (4.2 §1.2) recommends definitions but does not require them. GT, DP and GQ have the
        reserved meanings; another field is unknown, so it is text. Raises PayloadError for an
        invalid name.
        """
        lines = []
        for name in sorted(filters - self.filters):
            lines.append(f'##FILTER=<ID={_named(name, _FILTER_ID)},Description="">')
        for name in sorted(formats - self.formats - {b"."}):  # a dot: the row has no fields at all
            number, kind = RESERVED.get(name, (".", "String"))
            lines.append(
                f'##FORMAT=<ID={_named(name, _ID)},Number={number},Type={kind},Description="">'
            )
        return lines


def _named(name: bytes, pattern: re.Pattern[str]) -> str:
    text = name.decode("ascii", "replace")
    if not pattern.fullmatch(text):
        raise PayloadError(
            "variant file: a filter or FORMAT field has no proper name",
            "Rename it in rows and header: letters, digits, _ and dots; "
            "of a filter also / % : - +, but no < and >.",
        )
    return text


def autosome(contig: str) -> int | None:
    """1-22 of `7` or `chr7`, None for everything else."""
    match = _AUTOSOME.fullmatch(contig)
    return int(match.group(1)) if match else None


def read_header(lines: Sequence[bytes], build: str) -> Header:
    """Header from its lines. `build` is named by the custodian. Raises PayloadError."""
    if build not in LENGTHS:
        raise PayloadError("variant file: the named genome build is neither GRCh37 nor GRCh38")
    version = _text(lines[0]) if lines else ""
    if not version.startswith("##fileformat=") or not _VERSION.fullmatch(version[13:]):
        raise PayloadError(
            "variant file: it does not begin as VCF 4.0 to 4.5",
            "Hand in VCF text, plain or compressed with gzip or bgzip; BCF is not read.",
        )
    people = _read_people(_text(lines[-1]))
    defined = _Definitions(build)
    for line in lines[1:-1]:
        text = line.decode(errors="replace")  # descriptions are not kept
        if not text.startswith("##"):
            raise PayloadError("variant file: a line of the header does not begin with ##")
        for key in ("contig", "FILTER", "INFO", "FORMAT"):
            if text.startswith(f"##{key}="):
                defined.add(key, text[len(key) + 3 :])
        if text.startswith(("##reference=", "##assembly=")):
            defined.build_words += _file_names(text[12:])
    says_build = _check_build(defined.build_words, defined.lengths, build)
    return defined.header(people, version, says_build)


def _file_names(text: str) -> list[str]:
    """The words of a text without the folders of files, since folder names are arbitrary."""
    return [part.split("/")[-1] for part in re.split(r"[\s,=\"<>]", text.replace("\\", "/"))]


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise PayloadError("variant file: the header is not UTF-8") from None


def _read_people(columns: str) -> tuple[str, ...]:
    people = tuple(columns[len(_COLUMNS) :].split("\t"))
    if not columns.startswith(_COLUMNS) or not all(people):
        raise PayloadError(
            "variant file: the line of columns does not name FORMAT and at least one sample"
        )
    if len(people) > MAX_COLUMNS:
        raise PayloadError(
            f"variant file: it has more than {MAX_COLUMNS} samples", "Split the file by people."
        )
    if len(set(people)) != len(people):
        raise PayloadError("variant file: two samples have the same name")
    return people


def _check_build(words: Sequence[str], lengths: Mapping[int, int], build: str) -> bool:
    """Whether the header names the build, in words or lengths. Raises PayloadError for another.

    Both are optional in VCF: if they are missing, only the custodian's statement counts, and the
    report notes it. A file name with this build is of this build, even with further words (for
    example of what was masked in it).
    """
    (other,) = set(LENGTHS) - {build}
    if any(_FOREIGN.search(word) and not _NAMES[build].search(word) for word in words) or any(
        _has_length(assembly, lengths) for assembly in _FOREIGN_LENGTHS
    ):
        raise PayloadError(
            "variant file: the header names a genome build that is not read here",
            "Only GRCh37 and GRCh38 are read; positions are never converted.",
        )
    if any(_NAMES[other].search(word) for word in words) or _has_length(LENGTHS[other], lengths):
        raise PayloadError(
            "variant file: the header names another genome build than the custodian",
            "Name the build that the file was called on; positions are never converted.",
        )
    return _has_length(LENGTHS[build], lengths) or any(_NAMES[build].search(word) for word in words)


def _has_length(assembly: Sequence[int], lengths: Mapping[int, int]) -> bool:
    return any(assembly[chromosome - 1] == length for chromosome, length in lengths.items())


def _read_fields(value: str) -> tuple[dict[str, str], bool]:
    """The parts of <ID=…,Description="…"> up to the first malformed one, and whether it is all."""
    fields: dict[str, str] = {}
    inner, offset = value[1:-1], 0
    if value[:1] != "<" or value[-1:] != ">":
        return fields, False
    while offset < len(inner) and (field := _FIELD.match(inner, offset)):
        fields[field.group(1)] = field.group(2).rstrip(" ")
        offset = field.end()
    return fields, offset == len(inner)


class _Definitions:
    """The definition lines, collected one by one, without descriptions (free text).

    An unusable definition of FILTER, INFO or FORMAT is ignored, without refusing the file. Contigs
    determine the build, so their definitions must be valid. An IDX is not kept, since htslib would
    allocate memory for it.
    """

    def __init__(self, build: str) -> None:
        self.build = build
        self.build_words: list[str] = []
        self.lengths: dict[int, int] = {}
        self._kept: dict[tuple[str, bytes], str] = {}
        self._types: dict[tuple[str, bytes], str] = {}
        self._unusable: set[tuple[str, bytes]] = set()  # not kept, even with a later valid line

    def add(self, key: str, value: str) -> None:
        """One line ##key=value. Raises PayloadError."""
        if len(value) > MAX_DEFINITION:
            raise PayloadError(
                "variant file: a definition of the header is too long",
                f"The longest allowed has {MAX_DEFINITION} letters.",
            )
        fields, complete = _read_fields(value)
        name = fields.get("ID", "")
        definition = key, name.encode()
        if key == "contig":
            if not complete:
                raise PayloadError(
                    "variant file: a definition of the header is not written as <ID=…>"
                )
            if not _CONTIG.fullmatch(name):
                raise PayloadError("variant file: a definition of the header has no proper ID")
            if definition in self._kept:
                raise PayloadError("variant file: the header defines the same contig twice")
            self._kept[definition] = self._contig(name, fields)
            return
        if not (_FILTER_ID if key == "FILTER" else _ID).fullmatch(name):
            return
        line = f'##FILTER=<ID={name},Description="">'
        if key != "FILTER":
            line = self._field(key, name, fields)
        # If two differ, neither is known to be right.
        if not line or self._kept.get(definition, line) != line:
            self._unusable.add(definition)
        if definition in self._unusable:
            self._kept.pop(definition, None)
        else:
            self._kept[definition] = line
            self._types[definition] = fields.get("Type", "")

    def _contig(self, name: str, fields: Mapping[str, str]) -> str:
        """The definition to keep. An invalid length, or one of no assembly, is left out: tools that
        do not know it write 0, -1, their largest number or the last position."""
        self.build_words += _file_names(fields.get("assembly", ""))
        text, chromosome = fields.get("length", ""), autosome(name)
        length = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
        if chromosome is not None:
            self.lengths[chromosome] = length
            length = length if length == LENGTHS[self.build][chromosome - 1] else 0
        length_field = f"length={length}," if length else ""
        return f"##contig=<ID={name},{length_field}assembly={self.build}>"

    def _field(self, key: str, name: str, fields: Mapping[str, str]) -> str:
        """The definition to keep; empty for text INFO fields, and for invalid definitions."""
        number, kind = fields.get("Number", ""), fields.get("Type", "")
        number = "." if number == "-1" else number  # VCF 3.3 used -1 for a varying number
        if not _NUMBER.fullmatch(number) or kind not in (_ENTRIES if key == "INFO" else _TYPES):
            return ""
        wanted = _RESERVED_TYPES.get(name)
        if key == "FORMAT" and wanted and (kind not in wanted or number != "1"):
            return ""
        return f'##{key}=<ID={name},Number={number},Type={kind},Description="">'

    def header(self, people: tuple[str, ...], version: str, says_build: bool) -> Header:
        """The header of everything collected."""

        def named(key: str) -> frozenset[bytes]:
            return frozenset(name for kind, name in self._kept if kind == key)

        return Header(
            people,
            {name: _ENTRIES[self._types["INFO", name]] for name in named("INFO")},
            named("FILTER") | {b"PASS", b"."},
            named("FORMAT"),
            says_build,
            self._types.get(("FORMAT", b"GQ")) == "Float" and b"GQ" in named("FORMAT"),
            LEADING_PHASE.match(version.encode()) is not None,
            (version, f"##reference={self.build}"),
            self._kept,
        )
