"""The header of a cohort's VCF: what it says about build, contigs, fields and people, and what of it may be kept.

A header names people in many places (sample lines, command lines, paths of reference files). So nothing is removed
from it: a new one is written, of the definitions that the rows need (VCF 4.2 to 4.5, §1.4).
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import dataclass

from analytics.errors import PayloadError

MAX_HEADER_LINES = 20_000
MAX_HEADER = (
    4 << 20
)  # bytes; 2,500 samples of 100 letters, 3,400 contigs and 1,000 fields have 0.7 MB
MAX_HEADER_COMMAS = 200_000  # htslib makes an entry of each; 20,000 definitions have 80,000
MAX_DEFINITION = (
    64 << 10
)  # letters of one definition; lines of commands name thousands of files and are longer
MAX_PEOPLE = 2_500  # whose records are written
MAX_COLUMNS = 10_000  # samples of a file, those that are left out among them

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

# Lengths of the chromosomes 1 to 22 in human assemblies that are read nowhere here: NCBI36 (GCF_000001405.12) and
# T2T-CHM13v2.0 (GCF_009914755.1).
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


# How reference files are called, GenBank's numbers among them.
_NAMES = {
    "GRCh37": re.compile(
        r"grch37|hg19|\bb37|hs37|g1k_v37|gca_000001405\.(?:[1-9]|1[0-4])\b", re.IGNORECASE
    ),
    "GRCh38": re.compile(
        r"grch38|hg38|\bb38|hs38|gca_000001405\.(?:1[5-9]|2[0-9])\b", re.IGNORECASE
    ),
}
# Human assemblies that are read nowhere here, older ones and T2T, as whole words: a checksum in a name may hold b36.
_FOREIGN = re.compile(
    r"(?<![a-z0-9])(?:ncbi[-_]?(?:build[-_]?)?3[0-6]|hg1[0-8]|b3[0-6]|(?:t2t[-_]?)?chm13(?:v[0-9]+)?|t2t|hs1)"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)
_COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"
_VERSION = re.compile(r"VCFv4\.[0-5]")
LEADING_PHASE = re.compile(rb"##fileformat=VCFv4\.[45]$")  # a genotype may begin with / or |
# Possessive: what was read is never given back, since a quote may stay open for as long as a line may be.
_FIELD = re.compile(r' *+([A-Za-z0-9_.]++)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^,"]*+)(?:,|$)')
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}|1000G")
# What htslib reads as one name: commas, quotes, brackets, < and > end a definition there.
_FILTER_ID = re.compile(r"[A-Za-z0-9_.+:=/%()*|&!?@#~^$'-]{1,64}")
_CONTIG = re.compile(r"[0-9A-Za-z_.|:*-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,3}|[ARG.]|L[ARG]|[PM]")
# Number and Type of the FORMAT fields that are packed (VCF 4.2 §1.4.2).
RESERVED = {b"GT": ("1", "String"), b"DP": ("1", "Integer"), b"GQ": ("1", "Integer")}
_TYPES = ("Integer", "Float", "Character", "String")  # of FORMAT
# What an entry of INFO has after its name, by Type; what has none of these is text, or is not kept.
_WHOLE = rb"(?:[+-]?[0-9]{1,9}|\.)"
_REAL = rb"(?:[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?|nan|inf|-inf|\.)"
_ENTRIES = {
    "Integer": re.compile(rb"=" + _WHOLE + rb"(?:," + _WHOLE + rb")*+"),
    "Float": re.compile(rb"=" + _REAL + rb"(?:," + _REAL + rb")*+", re.IGNORECASE),
    "Flag": re.compile(rb""),
}
_RESERVED_TYPES = {"GT": ("String",), "DP": ("Integer",), "GQ": ("Integer", "Float")}
_AUTOSOME = re.compile(r"(?:chr)?([1-9]|1[0-9]|2[0-2])")


@dataclass(frozen=True, slots=True)
class Header:
    """people: sample names in column order. numbers: INFO fields that are numbers or flags, with what stands after the
    name in a row. filters, formats: what is defined. float_quality: GQ is. leading_phase: whether a genotype may begin
    with its phase. says_build: whether the header names the genome build, or contigs with their lengths."""

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
        """The header of one person's file: the definitions of what is used, those added, and the line of columns."""
        defined = [line for (_, name), line in self._definitions.items() if name in used]
        return "\n".join((*self._first, *defined, *added, f"{_COLUMNS}{column}\n")).encode()

    def undefined(self, filters: Set[bytes], formats: Set[bytes]) -> list[str]:
        """Definitions of the filters and FORMAT fields that the rows use and the header leaves out, in order.

        VCF (4.2 §1.2) asks for definitions and does not require them. GT, DP and GQ are what VCF reserves the names
        for; of another field it is not known what it is, so it is text. Raises PayloadError for a name that is none.
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
            "Rename it in rows and header: letters, digits, _ and dots; of a filter also / % : - +, but no < and >.",
        )
    return text


def autosome(contig: str) -> int | None:
    """1-22 of `7` or `chr7`, None for everything else."""
    found = _AUTOSOME.fullmatch(contig)
    return int(found.group(1)) if found else None


def read_header(lines: Sequence[bytes], build: str) -> Header:
    """Header from its lines, the column line last. `build` is what the custodian named. Raises PayloadError."""
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
            defined.told += _file_names(text[12:])
    said = _check_build(defined.told, defined.lengths, build)
    return defined.header(people, version, said)


def _file_names(text: str) -> list[str]:
    """The words of a text without folders of files: a folder is called after whatever its owner likes."""
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


def _check_build(told: Sequence[str], lengths: Mapping[int, int], build: str) -> bool:
    """Whether the header says the build, in words or in lengths; it may nowhere say another. Raises PayloadError.

    Both are optional in VCF: where they are missing the custodian's word stands alone, and the report says so. A file
    named after this build is of this build, whatever else its name tells (what was masked in it, for example).
    """
    (other,) = set(LENGTHS) - {build}
    if any(_FOREIGN.search(word) and not _NAMES[build].search(word) for word in told) or any(
        _has_length(assembly, lengths) for assembly in _FOREIGN_LENGTHS
    ):
        raise PayloadError(
            "variant file: the header names a genome build that is not read here",
            "Only GRCh37 and GRCh38 are read; positions are never converted.",
        )
    if any(_NAMES[other].search(word) for word in told) or _has_length(LENGTHS[other], lengths):
        raise PayloadError(
            "variant file: the header speaks of another genome build than the one named",
            "Name the build that the file was called on; positions are never converted.",
        )
    return _has_length(LENGTHS[build], lengths) or any(_NAMES[build].search(word) for word in told)


def _has_length(assembly: Sequence[int], lengths: Mapping[int, int]) -> bool:
    return any(assembly[chromosome - 1] == length for chromosome, length in lengths.items())


def _read_fields(value: str) -> tuple[dict[str, str], bool]:
    """The parts of <ID=…,Description="…"> up to the first that is not written so, and whether that was all."""
    found: dict[str, str] = {}
    inner, place = value[1:-1], 0
    if value[:1] != "<" or value[-1:] != ">":
        return found, False
    while place < len(inner) and (field := _FIELD.match(inner, place)):
        found[field.group(1)] = field.group(2).rstrip(" ")
        place = field.end()
    return found, place == len(inner)


class _Definitions:
    """What the definition lines say, gathered line by line. Descriptions are not kept: they are free text.

    A definition of FILTER, INFO or FORMAT that is not usable is as if it were not there: the file is refused for
    none. Contigs say the build, so theirs must be written right. An IDX, for which htslib would make room, is not kept.
    """

    def __init__(self, build: str) -> None:
        self.build = build
        self.told: list[str] = []
        self.lengths: dict[int, int] = {}
        self._kept: dict[tuple[str, bytes], str] = {}
        self._types: dict[tuple[str, bytes], str] = {}
        self._unusable: set[tuple[str, bytes]] = set()  # not kept, whatever a later line says

    def add(self, key: str, value: str) -> None:
        """One line ##key=value. Raises PayloadError."""
        if len(value) > MAX_DEFINITION:
            raise PayloadError(
                "variant file: a definition of the header is too long",
                f"The longest allowed has {MAX_DEFINITION} letters.",
            )
        fields, whole = _read_fields(value)
        name = fields.get("ID", "")
        place = key, name.encode()
        if key == "contig":
            if not whole:
                raise PayloadError(
                    "variant file: a definition of the header is not written as <ID=…>"
                )
            if not _CONTIG.fullmatch(name):
                raise PayloadError("variant file: a definition of the header has no proper ID")
            if place in self._kept:
                raise PayloadError("variant file: the header defines the same contig twice")
            self._kept[place] = self._contig(name, fields)
            return
        if not (_FILTER_ID if key == "FILTER" else _ID).fullmatch(name):
            return
        line = f'##FILTER=<ID={name},Description="">'
        if key != "FILTER":
            line = self._field(key, name, fields)
        if (
            not line or self._kept.get(place, line) != line
        ):  # of two that differ neither is known to be right
            self._unusable.add(place)
        if place in self._unusable:
            self._kept.pop(place, None)
        else:
            self._kept[place] = line
            self._types[place] = fields.get("Type", "")

    def _contig(self, name: str, fields: Mapping[str, str]) -> str:
        """The definition to keep. A length that is no number, or that no assembly gives the chromosome, is not: tools
        write 0, -1, their largest number or the last position where they do not know it."""
        self.told += _file_names(fields.get("assembly", ""))
        text, chromosome = fields.get("length", ""), autosome(name)
        length = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
        if chromosome is not None:
            self.lengths[chromosome] = length
            length = length if length == LENGTHS[self.build][chromosome - 1] else 0
        said = f"length={length}," if length else ""
        return f"##contig=<ID={name},{said}assembly={self.build}>"

    def _field(self, key: str, name: str, fields: Mapping[str, str]) -> str:
        """The definition to keep; empty for INFO that is text, and for what is not defined as VCF has it."""
        number, kind = fields.get("Number", ""), fields.get("Type", "")
        number = "." if number == "-1" else number  # as VCF 3.3 said that it varies
        if not _NUMBER.fullmatch(number) or kind not in (_ENTRIES if key == "INFO" else _TYPES):
            return ""
        wanted = _RESERVED_TYPES.get(name)
        if key == "FORMAT" and wanted and (kind not in wanted or number != "1"):
            return ""
        return f'##{key}=<ID={name},Number={number},Type={kind},Description="">'

    def header(self, people: tuple[str, ...], version: str, says_build: bool) -> Header:
        """Everything gathered."""

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
