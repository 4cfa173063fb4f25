"""A cohort's VCF is split into a file and a packed list per person, or refused."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
from cyvcf2 import VCF
from hypothesis import given, settings
from hypothesis import strategies as st
from vcf_files import bgzip, cohort, gzip, header, in_memory, row, subjects, text

from analytics.errors import PayloadError
from analytics.readers.genotypes import Genotypes, read_genotypes
from analytics.readers.vcf import scan as vcfscan
from analytics.readers.vcf import split as vcf
from analytics.readers.vcf import text as vcftext
from analytics.readers.vcf import writer as vcfsource
from analytics.readers.vcf.split import VcfReport, split_vcf

TWO = ("ann", "bob")


@dataclass
class Taken:
    report: VcfReport = field(default_factory=VcfReport)
    sources: dict[str, bytes] = field(default_factory=dict)
    packed: dict[str, Genotypes] = field(default_factory=dict)

    def text(self, subject: str) -> str:
        return zlib.decompress(self.sources[subject], 31).decode()


def split(
    data: bytes,
    people: Sequence[str] | Mapping[str, str] = TWO,
    build: str = "GRCh38",
    leave_out_unlisted: bool = False,
) -> Taken:
    taken = Taken()

    def keep(subject: str, source: bytes, packed: bytes) -> None:
        taken.sources[subject] = source
        taken.packed[subject] = read_genotypes(packed, {})

    mapping = people if isinstance(people, Mapping) else subjects(people)
    descriptor = in_memory(data)
    try:
        taken.report = split_vcf(
            descriptor, mapping, build=build, sink=keep, leave_out_unlisted=leave_out_unlisted
        )
        os.fstat(descriptor)  # it stays open
    except PayloadError:
        assert not taken.sources  # nothing half-done
        raise
    finally:
        os.close(descriptor)
    return taken


def read_again(taken: Taken) -> None:
    """Each person's file is a complete VCF for the parser itself, with the same content."""
    for subject, source in taken.sources.items():
        again = split(source, {"subject": subject})
        (mine,) = again.packed.values()
        assert mine.sites.names() == taken.packed[subject].sites.names()
        for name in ("dosage", "depth", "quality"):
            assert (getattr(mine, name) == getattr(taken.packed[subject], name)).all()
        assert again.report.undefined == 0
        assert again.text(subject) == taken.text(subject)


def split_rows(*rows: str, people: Sequence[str] = TWO, extra: Sequence[str] = ()) -> Taken:
    return split(text([*header(people, *extra), *rows]), people)


def dosages(taken: Taken, person: int = 0) -> dict[str, int]:
    packed = list(taken.packed.values())[person]
    return dict(zip(packed.sites.names(), packed.dosage.tolist(), strict=True))


def refused(message: str, data: bytes, **more: object) -> PayloadError:
    with pytest.raises(PayloadError, match=message) as caught:
        split(data, **more)  # type: ignore[arg-type]
    return caught.value


def refused_rows(message: str, *rows: str, extra: Sequence[str] = ()) -> None:
    refused(message, text([*header(TWO, *extra), *rows]))


@pytest.mark.parametrize("pack", [bytes, gzip, bgzip])
def test_every_person_gets_only_their_calls(pack: object) -> None:
    data, names, dosage = cohort(7, 300)
    taken = split(pack(data), names)  # type: ignore[operator]
    assert (taken.report.people, taken.report.records, taken.report.packed_rows) == (7, 300, 300)
    assert taken.report.missing == (dosage < 0).sum()
    for i, subject in enumerate(subjects(names).values()):
        packed = taken.packed[subject]
        assert packed.dosage.tolist() == dosage[:, i].tolist()
        assert packed.source == hashlib.sha256(taken.sources[subject]).digest()
        descriptor = in_memory(taken.sources[subject])
        os.lseek(descriptor, 0, os.SEEK_SET)
        source = VCF(descriptor)
        assert source.samples == ["subject"]
        for record, mine, depth, quality in zip(
            source, packed.dosage, packed.depth, packed.quality, strict=True
        ):
            call = record.genotype.array()[0, :2]
            assert mine == (-1 if min(call) < 0 else sum(call))
            assert (depth, quality) == (record.format("DP")[0, 0], record.format("GQ")[0, 0])
        os.close(descriptor)
    assert len({packed.sites.digest for packed in taken.packed.values()}) == 1


def test_a_large_file_is_read_in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    data, names, _ = cohort(5, 40)
    one_pass = split(data, names)
    monkeypatch.setattr(vcf, "MEMORY", 12_000)
    passes = []
    read = vcf._Reading.read
    monkeypatch.setattr(
        vcf._Reading, "read", lambda self, *more: (passes.append(self), read(self, *more))[1]
    )
    again = split(data, names)
    assert len(passes) == 3
    assert again.sources == one_pass.sources
    assert again.report == one_pass.report


def test_missing_is_never_homozygous_reference() -> None:
    people = ("a", "b", "c", "d", "e", "f")
    taken = split_rows(row("1:5", "./.", "./1", "0/.", ".", "1", "0/0"), people=people)
    assert [dosages(taken, i)["1:5:A>G"] for i in range(6)] == [-1, -1, -1, -1, -1, 0]
    report = taken.report
    assert (report.missing, report.half_calls, report.haploid_calls) == (5, 2, 1)


def test_haploid_everywhere_is_missing_too() -> None:
    taken = split_rows(row("1:5", "0", "1"))
    assert (dosages(taken), taken.report.haploid_calls) == ({"1:5:A>G": -1}, 2)


def test_several_alternatives_become_a_row_each() -> None:
    taken = split_rows(
        row("1:5", "1/2", "0|2", alleles="a G,TT,*,<DEL>"),
        row("1:9", "1/1", "0/1", alleles="C <INS>"),
        row("2:1", "0/0", "./.", alleles="C ."),
    )
    assert dosages(taken) == {"1:5:A>G": 1, "1:5:A>TT": 1}
    assert dosages(taken, 1) == {"1:5:A>G": 0, "1:5:A>TT": 1}
    report = taken.report
    assert (report.multiallelic, report.alleles_skipped, report.skipped) == (1, 4, {"alleles": 2})
    assert report.records == report.packed_records + sum(report.skipped.values()) == 3


def test_rows_outside_the_autosomes_are_counted_and_kept_in_the_source() -> None:
    taken = split_rows(
        row("2:7", "0/1", "1/1"),
        row("1:5", "0/1", "0/0"),
        row("X:5", "1", "0/1"),
        row("MT:1", "1", "1"),
        row("Y:1", ".", "1"),
        row("HLA-A:1", "0/0/1", "0/1"),
    )
    assert taken.report.skipped == {"x": 1, "mt": 1, "y": 1, "other-contig": 1}
    assert list(dosages(taken)) == ["1:5:A>G", "2:7:A>G"]  # in order of the genome, not of the file
    assert len(re.findall("(?m)^[^#]", taken.text(f"{1:064x}"))) == 6


def test_depth_and_quality_are_capped_and_absent_is_absent() -> None:
    float_gq = [
        line.replace("ID=GQ,Number=1,Type=Integer", "ID=GQ,Number=1,Type=Float")
        for line in header(TWO)
    ]
    taken = split(
        text(
            [
                *float_gq,
                row("1:5", "0/1:300:12.9", "0/1:.:.", format_="GT:DP:GQ"),
                row("1:6", "0/1", "0/0"),
                row("1:7", "0/1:0:0", "./.", format_="GT:DP:GQ"),
            ]
        )
    )
    ann, bob = taken.packed.values()
    assert (ann.depth.tolist(), ann.quality.tolist()) == ([254, 255, 0], [12, 255, 0])
    assert (bob.depth.tolist(), bob.quality.tolist()) == ([255] * 3, [255] * 3)
    # A call that is missing lacks no quality.
    assert (taken.report.without_depth, taken.report.without_quality) == (3, 3)


def without(*fields: str) -> list[str]:
    return [
        line
        for line in header(TWO)
        if not any(line.startswith(f"##FORMAT=<ID={field},") for field in fields)
    ]


@pytest.mark.parametrize("gone", [("DP",), ("GQ",), ("DP", "GQ"), ("GT", "DP", "GQ")])
def test_a_header_without_optional_definitions_is_taken(gone: tuple[str, ...]) -> None:
    """1000 Genomes, arrays and imputed data may lack depth and quality; both count as absent."""
    plain = split(text([*without(*gone), ROW, row("1:6", "1/1", "./.")]))
    for packed in plain.packed.values():
        assert packed.depth.tolist() == packed.quality.tolist() == [255, 255]
    assert dosages(plain) == {"1:5:A>G": 1, "1:6:A>G": 2}
    assert (plain.report.without_depth, plain.report.without_quality) == (3, 3)
    assert plain.report.undefined == ("GT" in gone)


FT = '##FORMAT=<ID=FT,Number=1,Type=String,Description="Genotype filter">'


@pytest.mark.parametrize("defined", [[FT], []])
def test_a_call_that_its_caller_marked_as_failed_is_missing_and_counted(defined: list[str]) -> None:
    taken = split_rows(
        row("1:5", "1/1:LowGQ;AB", "0/1:PASS", format_="GT:FT"),
        row("1:6", "1/1:.:9", "0/1:LowDP:9", format_="GT:FT:DP"),
        row("1:7", "1/1", "0/1:", format_="GT:FT"),
        row("1:8", "./1:LowGQ", "1:LowGQ", format_="GT:FT"),
        row("1:9", "0/0:3", "0/1/1:q10", format_="GT:FT", alleles="A G,T"),
        extra=defined,
    )
    assert list(dosages(taken).values()) == [-1, 2, 2, -1, -1, -1]
    assert list(dosages(taken, 1).values()) == [1, -1, 1, -1, -1, -1]
    report = taken.report
    assert (report.failed_calls, report.half_calls, report.haploid_calls) == (3, 1, 1)
    assert report.polyploid_calls == 1
    assert (report.missing, report.undefined) == (8, not defined)
    # The person's file keeps the call and the mark.
    assert "\t1/1:LowGQ;AB\n" in taken.text(f"{1:064x}")
    read_again(taken)


@pytest.mark.parametrize("name", ["Miss/5%", "a|b", "(x)", "q#1", "a&b*", "q=1"])
@pytest.mark.parametrize("defined", [True, False])
def test_a_filter_may_have_signs_in_its_name(name: str, defined: bool) -> None:
    extra = [f'##FILTER=<ID={name},Description="x">'] if defined else []
    taken = split_rows(row("1:4", "0/1", "0/0", filter_=f"q10;{name}"), ROW, extra=extra)
    assert (taken.report.not_passed, taken.report.undefined) == (1, not defined)
    assert f'##FILTER=<ID={name},Description="">' in taken.text(f"{1:064x}")
    read_again(taken)


@pytest.mark.parametrize("gone", [("DP",), ("GQ",), ("GT", "DP", "GQ")])
def test_reserved_fields_are_read_without_a_definition(gone: tuple[str, ...]) -> None:
    """Its definition is that of the reserved name, and is in each person's file."""
    rows = row("1:5", "0/1:30:40", "0/0:.:7", format_="GT:DP:GQ")
    taken = split(text([*without(*gone), rows]))
    ann, bob = taken.packed.values()
    assert (ann.depth.tolist(), ann.quality.tolist()) == ([30], [40])
    assert (bob.depth.tolist(), bob.quality.tolist()) == ([255], [7])
    assert taken.report.undefined == len(gone)
    for subject, packed in taken.packed.items():
        profiles = {"GT": "String", "DP": "Integer", "GQ": "Integer"}
        for name in gone:
            defined = f'##FORMAT=<ID={name},Number=1,Type={profiles[name]},Description="">'
            assert taken.text(subject).count(defined) == 1
        descriptor = in_memory(taken.sources[subject])
        os.lseek(descriptor, 0, os.SEEK_SET)
        (record,) = VCF(descriptor)
        assert sum(record.genotype.array()[0, :2]) == packed.dosage[0]
        assert record.format("GQ")[0, 0] == packed.quality[0]
        os.close(descriptor)


def test_fields_and_filters_that_no_header_defines_are_kept_and_counted() -> None:
    rows = row("1:5", "0/1:3", "0/0:4", format_="GT:XX", filter_="strange")
    taken = split_rows(rows)
    assert (taken.report.undefined, taken.report.not_passed) == (2, 1)
    assert not taken.packed[f"{1:064x}"].sites.passed.any()
    mine = taken.text(f"{1:064x}")
    assert '##FORMAT=<ID=XX,Number=.,Type=String,Description="">' in mine
    assert '##FILTER=<ID=strange,Description="">' in mine
    refused_rows("no proper name", row("1:5", "0/1:3", "0/0:4", format_="GT:X X"))
    for name in ("a,b", "QD<2.0", "SB>60"):  # htslib takes < and > for the ends of a definition
        defined = f'##FILTER=<ID={name},Description="x">'
        refused_rows("no proper name", row("1:5", "0/1", "0/0", filter_=name), extra=[defined])


def test_rows_without_genotypes_are_counted_and_kept_in_the_source() -> None:
    taken = split_rows(ROW, row("1:6", "3", "4", format_="DP"), row("1:7", ".", "x", format_="GTX"))
    assert (taken.report.skipped, taken.report.undefined) == ({"no-genotypes": 2}, 1)
    assert list(dosages(taken)) == ["1:5:A>G"]
    assert "\tDP\t4\n" in taken.text(f"{2:064x}")
    nothing = split_rows(ROW, row("1:6", ".", ".", format_="."))
    assert (nothing.report.skipped, nothing.report.undefined) == ({"no-genotypes": 1}, 0)
    refused_rows("not first", row("1:5", "3:0/1", "4:0/0", format_="DP:GT"))
    refused_rows("since no row has genotypes", row("1:5", "3", "4", format_="DP"))


def test_people_nobody_was_named_for_are_left_out_when_that_is_asked_for() -> None:
    rows = [
        row("1:5", "0/1:9", "1/1:8", "0/0", "./1:6", format_="GT:DP", info="AC=3;DB"),
        row("1:6", "0/0", "1/1", "./.", "0/1", info="AC=3"),
    ]
    data = text([*header(("ann", "eve", "bob", "mallory")), *rows])
    enrolled = {"bob": "2" * 64, "ann": "1" * 64}
    refused("2 of its samples have no subject", data, people=enrolled)
    taken = split(data, enrolled, leave_out_unlisted=True)
    assert list(taken.packed) == ["1" * 64, "2" * 64]
    assert dosages(taken) == {"1:5:A>G": 1, "1:6:A>G": 0}
    assert dosages(taken, 1) == {"1:5:A>G": 0, "1:6:A>G": -1}
    assert taken.packed["1" * 64].depth.tolist() == [9, 255]
    report = taken.report
    assert (report.people, report.left_out) == (2, 2)
    # What is counted is about those who came in: the half call is mallory's.
    assert (report.missing, report.half_calls, report.without_depth) == (1, 0, 2)
    # INFO counts the others too: AC=3 with one copy in this file would reveal their calls.
    assert report.info_removed == 3
    for subject in enrolled.values():
        assert "AC=" not in taken.text(subject)
        assert not re.search("eve|mallory", taken.text(subject))
    everybody = split(data, ("ann", "eve", "bob", "mallory"))
    assert (everybody.report.people, everybody.report.left_out) == (4, 0)
    assert "AC=3" in everybody.text(f"{1:064x}")


def test_leaving_out_people_changes_no_other_check(monkeypatch: pytest.MonkeyPatch) -> None:
    data, names, _ = cohort(7, 30)
    mine = {names[at]: subject for at, subject in ((1, "1" * 64), (4, "4" * 64), (6, "6" * 64))}
    for mapping, message in (
        ({**mine, "nobody": "7" * 64}, "1 of the named samples are not in it"),
        ({**mine, names[2]: "1" * 64}, "two samples are named as the same subject"),
    ):
        with pytest.raises(PayloadError, match=message):
            split(data, mapping, leave_out_unlisted=True)
    one_pass = split(data, mine, leave_out_unlisted=True)
    everybody = split(data, names)
    for name, subject in mine.items():
        theirs = everybody.packed[f"{names.index(name) + 1:064x}"]
        assert one_pass.packed[subject].dosage.tolist() == theirs.dosage.tolist()
        assert one_pass.packed[subject].depth.tolist() == theirs.depth.tolist()
    monkeypatch.setattr(vcf, "MEMORY", 6_000)  # several passes give the same
    again = split(data, mine, leave_out_unlisted=True)
    assert (again.sources, again.report) == (one_pass.sources, one_pass.report)


def test_skipped_rows_may_share_a_position() -> None:
    """Copy numbers, insertions, and rows without an alternative, as in genomic VCFs."""
    odd = ["A <CN0>", "A <CN0>", "A <DEL>", "A <INS:ME:ALU>", "A <INS:ME:ALU>", "A *", "A *"]
    odd += ["A .", "A ."]
    twice = [
        row("X:5", "0/1", "0/0"),
        row("X:5", "0/1", "0/0"),
        row("X:6", "0", "0", alleles="A A"),
    ]
    taken = split_rows(ROW, *[row("1:5", "0/1", "0/0", alleles=alleles) for alleles in odd], *twice)
    assert dosages(taken) == {"1:5:A>G": 1}
    assert taken.report.skipped == {"alleles": 9, "x": 3}
    assert taken.report.repeated == 0
    read_again(taken)


def test_no_copy_of_a_repeated_variant_is_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if their calls agree: it is unknown which is right."""
    rows = [
        row("1:4", "0/1", "0/0"),
        row("1:6", "0/1", "0/0"),
        row("1:6", "1/1", "0/0", alleles="A T,g"),
        row("1:6", "1/1", "0/0", alleles="A C", format_="XX"),
        row("1:6", "1/1", "0/0", alleles="A C"),
        row("1:7", "1/2", "0/1", alleles="A T,T"),
        row("2:6", "0/1", "0/0"),
    ]
    taken = split_rows(*rows)
    assert dosages(taken) == {"1:4:A>G": 1, "1:6:A>T": 2, "1:6:A>C": 2, "2:6:A>G": 1}
    assert (taken.report.repeated, taken.report.packed_rows) == (4, 4)
    assert taken.report.skipped == {"repeated": 2, "no-genotypes": 1}
    assert (
        len(re.findall("(?m)^[^#]", taken.text(f"{1:064x}"))) == 7
    )  # all are in the person's file
    read_again(taken)
    monkeypatch.setattr(vcftext, "BLOCK", 60)  # the copies are in different blocks
    assert split_rows(*rows).report == taken.report
    monkeypatch.setattr(vcfscan, "MAX_REPEATED", 1)
    refused_rows("too many of its variants", *rows)
    monkeypatch.undo()
    monkeypatch.setattr(vcfscan, "MAX_REPEATED_TEXT", 3)
    refused_rows("too many of its variants", *rows)


@pytest.mark.parametrize(
    "odd",
    [
        "##INFO=<ID=1000g2015aug_all,Number=.,Type=Float,Description=x>",
        "##INFO=<ID=GERP++_RS,Number=.,Type=Float,Description=x>",
        "##INFO=<ID=M-CAP_score,Number=.,Type=Float,Description=x>",
        "##INFO=<ID=x y,Number=1,Type=Integer>",
        "##INFO=nothing",
        "##INFO=<>",
        "##INFO=<Number=1,Type=Integer>",
        '##INFO=<ID=ZZ,Number=1,Type=Flag,Description="open>',
        '##INFO=<Description="a "b" c",ID=ZZ,Number=1,Type=Flag>',
        "##INFO=<ID=DB,Number=0,Type=Flag>",
        "##INFO=<ID=AC,Number=1,Type=String>",
        "##FORMAT=<ID=ZZ,Number=1,Type=Thing>",
        "##FORMAT=<ID=ZZ,Number=1>",
        "##FORMAT=<ID=ZZ>",
        "##FORMAT=<ID=ZZ,Number=0,Type=Flag>",
        "##FORMAT=<ID=GT,Number=1,Type=String>",
        "##FORMAT=<ID=GT,Number=1,Type=Integer>",
        "##FORMAT=<ID=G-T,Number=1,Type=Integer>",
        "##FILTER=<ID=q 10,Description=x>",
        '##FILTER=<ID=q10,Description="again">',
        # htslib would make room for 2 GB of definitions; it sees none of them.
        "##INFO=<ID=ZZ,Number=1,Type=Integer,IDX=100000000>",
        "##FILTER=<ID=q10,Description=x,IDX=100000000>",
        "##FORMAT=<ID=ZZ,Number=1,Type=Integer,IDX=100000000>",
        "##contig=<ID=9,IDX=100000000>",
    ],
)
def test_an_odd_definition_does_not_refuse_the_file(odd: str) -> None:
    rows = [
        row("1:5", "0/1", "0/0", info="M-CAP_score=1;AC=1;ZZ=5;DB;x y=2;CARRIERS=CANARY"),
        row("1:6", "0/1:3:7", "0/0:4:8", format_="GT:DP:ZZ", filter_="q10"),
    ]
    taken = split_rows(*rows, extra=[odd])
    assert dosages(taken) == {"1:5:A>G": 1, "1:6:A>G": 1}
    assert not re.search("IDX|CANARY|M-CAP|x y|again", taken.text(f"{1:064x}"))
    read_again(taken)


def test_a_definition_is_read_up_to_its_first_fault() -> None:
    """Spaces after commas, and a quote inside a description: the part before it is read."""
    extra = [
        '##INFO=<ID=AA, Number=1, Type=Integer, Description="spaces">',
        '##INFO=<ID=AB,Number=1,Type=Integer,Description="the "quoted" one">',
        '##INFO=<ID=AD,Number=1,Type=Integer,Description="latin">',
    ]
    data = text([*header(TWO, *extra), row("1:5", "0/1", "0/0", info="AA=1;AB=2;AC=3;AD=4")])
    taken = split(data.replace(b"latin", b"\xe9"))
    assert "\tAA=1;AB=2;AC=3;AD=4\t" in taken.text(f"{1:064x}")
    assert taken.text(f"{1:064x}").count('Type=Integer,Description="">') == 4
    read_again(taken)


def test_two_different_definitions_are_both_ignored() -> None:
    extra = ['##INFO=<ID=AC,Number=1,Type=Float,Description="">', DEFINED_AC, DEFINED_AC]
    taken = split_rows(row("1:5", "0/1", "0/0", info="AC=1;DB"), extra=extra)
    assert "\tDB\t" in taken.text(f"{1:064x}")
    assert taken.report.info_removed == 1


DEFINED_AC = '##INFO=<ID=AC,Number=A,Type=Integer,Description="Copies">'


def test_info_entries_of_a_wrong_type_are_left_out() -> None:
    rows = [
        row("1:5", "0/1", "0/0", info="AC=1.5;DB"),
        row("1:6", "0/1", "0/0", info="AC=1,.;DB=1"),
        row("1:7", "0/1", "0/0", info="AC;DB"),
        row("1:8", "0/1", "0/0", info="AC=;DB"),
    ]
    taken = split_rows(*rows)
    assert re.findall(r"\tPASS\t(\S+)", taken.text(f"{1:064x}")) == ["DB", "AC=1,.", "DB", "DB"]
    assert taken.report.info_removed == 4


@pytest.mark.parametrize("value", ["10.0", "zq", "1,2", "99999999999", "-99999999999", "1e3", ""])
def test_an_invalid_depth_or_quality_is_absent(value: str) -> None:
    rows = [
        row("1:5", f"0/1:{value}:40", "0/0:3:8", format_="GT:DP:GQ"),
        row("1:6", "0/1:9:40", f"0/0:3:{value}", format_="GT:DP:GQ"),
        row("1:7", "0/1:9:40", "0/0:3:8", format_="GT:DP:GQ"),
        row("X:5", f"0/1:{value}:40", "0/0:3:8", format_="GT:DP:GQ"),
    ]
    taken = split_rows(*rows)
    ann, bob = taken.packed.values()
    assert (ann.depth.tolist(), ann.quality.tolist()) == ([255, 9, 9], [40] * 3)
    assert (bob.depth.tolist(), bob.quality.tolist()) == ([3] * 3, [8, 255, 8])
    report = taken.report
    assert (report.without_depth, report.without_quality) == (1, 1)
    assert report.unreadable in (2, 3)  # of the row of X nothing is packed
    assert "\t0/1:.:40\n" in taken.text(f"{1:064x}")
    assert "\t0/0:3:.\n" in taken.text(f"{2:064x}")
    read_again(taken)


def test_negative_values_are_absent_and_valid_numbers_stay() -> None:
    lines = [
        line.replace("ID=GQ,Number=1,Type=Integer", "ID=GQ,Number=1,Type=Float")
        for line in header(TWO)
    ]
    rows = [
        row("1:5", "0/1:-1:-1", "0/0:3:8.5", format_="GT:DP:GQ"),
        row("1:6", "0/1:-1:1e39", "0/0:2147483647:inf", format_="GT:DP:GQ"),
        row("1:7", "0/1:7:nan", "0/0:3:.5", format_="GT:DP:GQ"),
    ]
    taken = split(text([*lines, *rows]))
    ann, bob = taken.packed.values()
    assert (ann.depth.tolist(), ann.quality.tolist()) == ([255, 255, 7], [255] * 3)
    assert (bob.depth.tolist(), bob.quality.tolist()) == ([3, 254, 3], [8, 255, 0])
    assert taken.report.unreadable == 6
    read_again(taken)


@pytest.mark.parametrize("value", ["inf", "nan", "-10", "30.", "1e999", "ann"])
def test_an_invalid_row_quality_is_absent(value: str) -> None:
    taken = split_rows(ROW.replace("\t50\t", f"\t{value}\t"))
    assert taken.report.unreadable == 1
    assert "\tA\tG\t.\tPASS\t" in taken.text(f"{1:064x}")


def test_position_0_and_a_triploid_call_are_counted() -> None:
    taken = split_rows(
        row("1:0", "0/1", "0/0"), row("1:5", "0/1/1", "0/0"), row("1:6", "././.", "0|1|.")
    )
    assert dosages(taken) == {"1:5:A>G": -1, "1:6:A>G": -1}
    assert dosages(taken, 1) == {"1:5:A>G": 0, "1:6:A>G": -1}
    report = taken.report
    assert (report.skipped, report.polyploid_calls, report.missing) == ({"position-0": 1}, 3, 3)
    assert (report.haploid_calls, report.half_calls) == (0, 0)
    read_again(taken)


@pytest.mark.parametrize("version", ["4.4", "4.5"])
def test_a_genotype_of_vcf_4_4_may_begin_with_its_phase(version: str) -> None:
    rows = [
        row("1:5", "/0/1", "|1|1"),
        row("1:6", "|0|1:3", "/.:4", format_="GT:DP"),
        row("X:6", "|1", "/0/1"),
    ]
    taken = split(text([*header(TWO), *rows]).replace(b"VCFv4.2", f"VCFv{version}".encode()))
    assert (dosages(taken), dosages(taken, 1)) == (
        {"1:5:A>G": 1, "1:6:A>G": 1},
        {"1:5:A>G": 2, "1:6:A>G": -1},
    )
    assert re.findall(r"(?m)\tGT\S*\t(.*)$", taken.text(f"{1:064x}")) == ["/0/1", "|0|1:3", "|1"]
    read_again(taken)
    twice = text([*header(TWO), row("1:5", "//0/1", "0/0")]).replace(b"VCFv4.2", b"VCFv4.4")
    refused("a genotype is not written", twice)


def test_non_ascii_letters_in_unused_fields_are_accepted() -> None:
    rows = row("1:5", "0/1", "0/0", name="ä", info="AC=1;CARRIERS=ä;ä=1")
    taken = split_rows(rows)
    assert "\t.\tA\tG\t50\tPASS\tAC=1\tGT\t" in taken.text(f"{1:064x}")
    assert split(text([*header(TWO), rows]).replace("ä".encode(), b"\xe4")).report.records == 1


@pytest.mark.parametrize(
    "line",
    [
        "##reference=file:///nfs/hs1/refs/GRCh38.fa",
        "##reference=file:///hg19/refs/GRCh38.fa",
        "##reference=C:\\hs1\\GRCh38.fa",
        "##reference=<ID=GRCh38,Source=file:///hs1/x.fa>",
    ],
)
def test_folder_names_do_not_determine_the_build(line: str) -> None:
    assert split(text([*header(TWO, line, lengths=False), ROW])).report.build_unsaid == 0
    for name in ("hs1.fa", "hg19.fa"):
        other = f"##reference=file:///GRCh38/{name}"
        refused("genome build", text([*header(TWO, other, lengths=False), ROW]))


def test_filters_are_recorded() -> None:
    taken = split_rows(
        row("1:5", "0/1", "0/1"),
        row("1:6", "0/1", "0/1", filter_="q10"),
        row("1:7", "0/1", "0/1", filter_="."),
    )
    assert taken.packed[f"{1:064x}"].sites.passed.tolist() == [True, False, True]
    assert taken.report.not_passed == 1


def test_names_of_people_are_removed() -> None:
    canary = "CANARY"
    extra = [
        f"##SAMPLE=<ID={canary}>",
        f"##commandline=call --bam /home/{canary}.bam",
        f"##source=/home/{canary}",
        f"##reference=file:///home/{canary}/GRCh38.fa",
        f"##contig=<ID=3,URL=/home/{canary}>",
        f'##INFO=<ID=NC,Number=1,Type=Integer,Description="not in {canary}">',
        f"##PEDIGREE=<Child={canary}>",
        "##INFO=<ID=UNUSED,Number=1,Type=Integer>",
        f"##{canary}={canary}",
    ]
    taken = split_rows(
        row(
            "1:5",
            "0/1",
            "0/0",
            name=canary,
            info=f"AC=1;DB;CARRIERS={canary};{canary}=1;NC={canary}",
        ),
        row("1:6", "0/1", "0/0", name="rs12", info="CARRIERS=77", filter_="q10"),
        people=(canary, "bob"),
        extra=extra,
    )
    for subject in subjects(TWO).values():
        assert "CARRIERS" not in taken.text(subject)
        assert "UNUSED" not in taken.text(subject)
        assert canary not in taken.text(subject)
        assert "bob" not in taken.text(subject)
        assert "1\t5\t.\tA\tG\t50\tPASS\tAC=1;DB\tGT\t" in taken.text(subject)
        assert "1\t6\trs12\tA\tG\t50\tq10\t.\tGT\t" in taken.text(subject)
        assert '##FILTER=<ID=q10,Description="">' in taken.text(subject)
    assert (taken.report.info_removed, taken.report.ids_removed) == (4, 1)


def test_the_report_holds_counts_only() -> None:
    document = split_rows(row("1:5", "0/1", "0/0"), row("X:5", "0/1", "0/0")).report.to_json()
    skipped = document.pop("skipped")
    assert isinstance(skipped, dict)
    assert all(type(count) is int for count in (*document.values(), *skipped.values()))


ROW = row("1:5", "0/1", "0/0")


@pytest.mark.parametrize(
    ("extra", "lengths", "build"),
    [
        (["##reference=file:///x/hg19.fa"], False, "GRCh38"),
        (["##contig=<ID=5,assembly=b37>"], False, "GRCh38"),
        (["##reference=GRCh38", "##reference=GRCh37"], False, "GRCh38"),
        ([], True, "GRCh37"),
        (["##reference=GRCh37"], True, "GRCh37"),
    ],
)
def test_another_build_is_refused(extra: list[str], lengths: bool, build: str) -> None:
    refused("another genome build", text([*header(TWO, *extra, lengths=lengths), ROW]), build=build)


@pytest.mark.parametrize("build", ["GRCh37", "GRCh38"])
@pytest.mark.parametrize(
    "line",
    [
        "##reference=1000GenomesPilot-NCBI36",
        "##reference=file:///x/hg18.fa",
        "##reference=human_b36_male.fa",
        "##contig=<ID=5,assembly=B36>",
        "##reference=T2T-CHM13v2.0",
    ],
)
def test_an_unsupported_build_is_refused(line: str, build: str) -> None:
    data = text([*header(TWO, line, lengths=False), ROW])
    refused("names a genome build that is not read here", data, build=build)


@pytest.mark.parametrize(("chromosome", "length"), [("1", 247249719), ("chr22", 51324926)])
@pytest.mark.parametrize("build", ["GRCh37", "GRCh38"])
def test_a_length_of_an_unsupported_build_is_refused(
    chromosome: str, length: int, build: str
) -> None:
    line = f"##contig=<ID={chromosome},length={length}>"
    data = text([*header(TWO, line, contigs=(), lengths=False), ROW])
    refused("names a genome build that is not read here", data, build=build)


@pytest.mark.parametrize(
    "length", ["2147483647", "536870911", "0", "-1", "6", "248387497", "99999999999", "many", '"7"']
)
def test_a_length_of_no_build_is_ignored(length: str) -> None:
    """htslib, PLINK, tskit and others write these for unknown lengths: the file was refused as
    another build."""
    for name in ("1", "X"):
        line = f"##contig=<ID={name},length={length}>"
        taken = split(text([*header(TWO, line, contigs=(), lengths=False), ROW]))
        assert taken.report.build_unsaid == 1
        read_again(taken)
    assert f"length={length}" not in taken.text(f"{1:064x}")
    beside = header(TWO, f"##contig=<ID=2,length={length}>", contigs=("1",))
    assert split(text([*beside, ROW])).report.build_unsaid == 0
    refused("another genome build", text([*beside, ROW]), build="GRCh37")


@pytest.mark.parametrize(
    "name",
    [
        "3fb36a9c_GRCh38.fa",
        "GRCh38_full_analysis_set_plus_decoy_hla_t2t_masked.fa",
        "chm13_masked_hg38.fa",
    ],
)
def test_a_reference_named_after_the_build_has_that_build(name: str) -> None:
    data = text([*header(TWO, f"##reference=file:///refs/{name}", lengths=False), ROW])
    assert split(data).report.build_unsaid == 0
    refused("genome build", data, build="GRCh37")
    checksum = text([*header(TWO, "##reference=3fb36a9cchs12.fa", lengths=False), ROW])
    assert split(checksum).report.build_unsaid == 1


def test_a_header_may_leave_the_build_to_the_custodian() -> None:
    """##reference and contig lengths are optional; the report notes a build without them."""
    unsaid = split(text([*header(TWO, lengths=False), ROW]))
    assert unsaid.report.build_unsaid == 1
    assert unsaid.packed[f"{1:064x}"].sites.build == "GRCh38"
    assert split_rows(ROW).report.build_unsaid == 0
    data = text([*header(TWO, lengths=False), row("1:248956423", "0/1", "0/0")])
    refused("beyond the end", data)
    assert split(data, build="GRCh37").report.records == 1


def test_an_unknown_build_is_refused() -> None:
    refused("neither GRCh37 nor GRCh38", text([*header(TWO), ROW]), build="hg38")
    assert (
        split(
            text([*header(TWO, "##reference=GCA_000001405.15_GRCh38", lengths=False), ROW])
        ).report.records
        == 1
    )
    assert split(text([*header(TWO, build="GRCh37"), ROW]), build="GRCh37").packed


def test_a_position_beyond_its_chromosome_is_refused() -> None:
    refused_rows("beyond the end", row("1:248956423", "0/1", "0/0"))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"ann": "1" * 64}, "1 of its samples have no subject"),
        (
            {"ann": "1" * 64, "bob": "2" * 64, "eve": "3" * 64},
            "1 of the named samples are not in it",
        ),
        ({"ann": "1" * 64, "bob": "1" * 64}, "two samples are named as the same subject"),
        ({"ann": "1" * 64, "bob": "X" * 64}, "not 64 lower-case"),
    ],
)
def test_samples_and_subjects_fit_exactly(mapping: dict[str, str], message: str) -> None:
    refused(message, text([*header(TWO), ROW]), people=mapping)


def test_two_samples_of_one_name_are_refused() -> None:
    refused("same name", text([*header(("ann", "ann")), ROW]), people={"ann": "1" * 64})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [row("1:5", "0/1", "0/0"), row("chr2:5", "0/1", "0/0")],
            "some chromosomes 1 and others chr1",
        ),
        ([row("1:6", "0/1", "0/0"), row("1:5", "0/1", "0/0")], "not sorted"),
        (
            [row("1:6", "0/1", "0/0"), row("2:5", "0/1", "0/0"), row("1:7", "0/1", "0/0")],
            "are not adjacent",
        ),
        ([row("1:5", "0/1", "0/0", alleles="A T,T")], "stands there several times"),
        ([row("1:5", "0/2", "0/0")], "an allele that its row does not have"),
        ([row("1:5", "0/1/2", "0/0")], "an allele that its row does not have"),
        ([row("1:5", "|0|1", "0/0")], "a genotype is not written"),  # VCF 4.4 has it first
        ([row("1:5", "0/x", "0/0")], "a genotype is not written"),
        # htslib reads it as 0/1.
        (
            [row("1:5", "0/4294967297", "0/0")],
            "a genotype is not written",
        ),
        (
            [row("1:5", "0/0", "16777217/1:3", format_="GT:DP").replace("\t0/0\t", "\t0/0:3\t")],
            "a genotype is not written",
        ),
        ([row("1:5", "+0/+1", "0/0")], "a genotype is not written"),
        ([row("1:5", "0/1/", "0/0")], "a genotype is not written"),
        ([row("1:x", "0/1", "0/0")], "a position is not a number|cannot be parsed"),
        ([row("1:5", "0/1:1/1", "0/0:0/0", format_="GT:GT")], "a FORMAT field twice"),
        ([row("1:5", "0/1")], "one plain field for each column"),
        ([row("1:5", "0/1", "0/0", "0/0")], "one plain field for each column"),
        ([row("1:5", "0/1", "0/0"), "", row("1:6", "0/1", "0/0")], "an empty line"),
        (
            [row("1:5", "0/1", "0/0"), "#" + row("1:6", "0/1", "0/0")],
            "one plain field for each column",
        ),
        ([row("1:5", "0/1", "0/0", filter_="ä")], "one plain field for each column"),
        ([row("1:5", "0/1:ä", "0/0", format_="GT:XX")], "one plain field for each column"),
        ([row("1:5", "0/1", "0/0", info=";".join(["DB"] * 1001))], "more than 1000 entries"),
        ([row("X:5", "0/1", "0/0")], "none of its variants"),
        ([row("1:5", "0/1", "0/0", alleles="A A")], "equal to the reference"),
        ([row("1:5", "0/1", "0/0", alleles="ac G,AC")], "equal to the reference"),
        ([ROW, row("X:5", "0" + "/0" * 16, "0/0")], "a genotype is not written"),
        (
            [row("1:5", "0/1", "0/0", alleles="A " + ",".join(["C" * n for n in range(1, 1001)]))],
            "more than 999",
        ),
        (
            [
                row(f"1:{n + 1}", "0/1", "0/0", info=";".join(f"z{n}q{i}" for i in range(900)))
                for n in range(6)
            ],
            "than 5000",
        ),
        (
            [
                row(f"1:{n + 1}", "0/1", "0/0", filter_=";".join(f"z{n}q{i}" for i in range(900)))
                for n in range(6)
            ],
            "5000",
        ),
        (
            [row("1:5", "0/1", "0/0", format_="GT:" + ":".join(f"zq{i}" for i in range(5000)))],
            "more than 5000",
        ),
        ([row(f"zq{n}:5", "0/1", "0/0") for n in range(5_001)], "name more than 5000"),
        ([], "does not have 1 to"),
    ],
)
def test_bad_rows_are_refused(rows: list[str], message: str) -> None:
    refused_rows(message, *rows)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("##contig=<ID=x y>", "no proper ID"),
        ("##contig=nothing", "not written as"),
        ("##contig=<ID=1>", "the same contig twice"),
        (
            '##INFO=<ID=ZZ,Number=1,Type=Flag,Description="' + "a" * 65_536 + '">',
            "definition of the header is too long",
        ),
        ("\n".join(["##zq=" + "a" * (2 << 20)] * 2), "no VCF header, or one that is too long"),
        ("##zq=" + "," * 200_001, "no VCF header, or one that is too long"),
        ("nothing", "no VCF header"),
        ("#IFILTER=<ID=ok>", "does not begin with ##"),
    ],
)
def test_bad_headers_are_refused(line: str, message: str) -> None:
    refused_rows(message, ROW, extra=[line])


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        *[(name, "2", "Integer") for name in ("GT", "DP", "GQ")],
        ("GT", "1", "Integer"),
        *[("DP", "1", kind) for kind in ("Float", "String", "Flag", "Thing")],
        ("GQ", ".", "Float"),
    ],
)
def test_packed_fields_that_are_defined_otherwise_are_read_as_vcf_reserves_them(
    name: str, number: str, kind: str
) -> None:
    odd = f'##FORMAT=<ID={name},Number={number},Type={kind},Description="">'
    rows = row("1:5", "0/1:30:40", "0/0:.:7", format_="GT:DP:GQ")
    lines = header(TWO)
    lines = [odd if line.startswith(f"##FORMAT=<ID={name},") else line for line in lines]
    taken = split(text([*lines, rows]))
    ann, bob = taken.packed.values()
    assert (ann.dosage.tolist(), ann.depth.tolist(), ann.quality.tolist()) == ([1], [30], [40])
    assert (bob.depth.tolist(), bob.quality.tolist()) == ([255], [7])
    assert taken.report.undefined == 1
    mine = taken.text(f"{1:064x}")
    assert odd not in mine
    assert mine.count(f"##FORMAT=<ID={name},Number=1,Type=") == 1
    read_again(taken)


def test_a_file_that_is_not_vcf_is_refused() -> None:
    for data in (
        b"",
        b"\n",
        b"BCF\2\2" + bytes(50),
        gzip(b"{}\n"),
        b"##fileformat=VCFv4.2\n",
        b"x" * 100 + b"\n",
    ):
        refused("variant file", data)
    refused("VCF 4.0 to 4.5", text([line.replace("v4.2", "v3.3") for line in header(TWO)] + [ROW]))
    refused("a zero byte", text([*header(TWO), ROW]).decode().encode("utf-16-le"))


@pytest.mark.parametrize("pack", [bytes, gzip, bgzip])
@pytest.mark.parametrize("block", [64, 1 << 20])
def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing(
    pack: object, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where a block ends between the two bytes of a line end."""
    data, names, _ = cohort(3, 60)
    plain = split(data, names)
    monkeypatch.setattr(vcftext, "BLOCK", block)
    monkeypatch.setattr(vcftext, "_RAW_BLOCK", 61)
    for other in (
        data.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + data,
        b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n", 40),
    ):
        taken = split(pack(other), names)  # type: ignore[operator]
        assert (taken.sources, taken.report) == (plain.sources, plain.report)


def test_a_carriage_return_within_a_line_is_refused() -> None:
    """Programs read another number of lines there."""
    data = text([*header(TWO), ROW, ROW])
    for broken in (
        data.replace(b"\n", b"\r"),
        data.replace(b"\t", b"\t\r", 1),
        data.replace(b"\n", b"\r\r\n"),
        data + b"\r",
    ):
        refused("a carriage return within a line", broken)
    refused("no VCF header", b"\xef\xbb\xbf" * 2 + data)
    refused("an empty line", data.replace(b"\n", b"\r\n\r\n"))


@pytest.mark.parametrize("pack", [bytes, gzip, bgzip])
def test_a_truncated_file_is_refused_wherever_it_ends(pack: object) -> None:
    data, names, _ = cohort(3, 60)
    complete = pack(data)  # type: ignore[operator]
    for size in (*range(1, len(complete), 97), *range(len(complete) - 9, len(complete))):
        cut = complete[:size]
        if pack is bytes and re.search(rb"(?:\t\S+){11}:[0-9]+:[0-9]+$", cut):
            continue  # cut within the last number of a row, or before its end: see below
        if pack is bytes and cut.endswith(b"\n"):
            continue  # plain text that ends with a row counts as complete
        refused("ends in the middle", cut, people=names)


@pytest.mark.parametrize("pack", [bytes, gzip, bgzip])
def test_a_complete_last_line_without_line_end_is_taken(pack: object) -> None:
    data, names, _ = cohort(3, 60)
    complete, cut = split(data, names), split(pack(data[:-1]), names)  # type: ignore[operator]
    assert (cut.sources, cut.report) == (complete.sources, complete.report)
    only = text([*header(TWO), row("1:5", "0/1:3:4", "0/0:3:40", format_="GT:DP:GQ")])
    assert split(only[:-1]).report.records == 1
    lost = 3 if pack is bytes else len("0/0:3:40\n") + 1  # compressed, a short call is a call
    refused("ends in the middle", pack(only[:-lost]))  # type: ignore[operator]
    refused("ends in the middle", bgzip(only[:-1])[:-28])
    refused("ends in the middle", gzip(only[:-1])[:-1])
    for end in (b"\t", b":", b"/"):
        refused("ends in the middle", only[:-1] + end)


def test_bgzip_cut_between_members_is_refused() -> None:
    data, names, _ = cohort(40, 300)
    complete = bgzip(data)
    second = complete.index(b"\x1f\x8b\x08\x04", 4)
    for end in (second, len(complete) - 28):
        refused("ends in the middle", complete[:end], people=names)


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip(text(header(TWO)) + (ROW.encode() + b"\n") * 700_000, 9)
    assert len(bomb) < 100_000
    refused("inflates to more", bomb)
    refused("a line is too long", gzip(text(header(TWO)) + b"1" * (8 << 20)))
    monkeypatch.setattr(vcftext, "MAX_TEXT", 500)
    refused("inflates to more", text([*header(TWO), ROW]))


def test_limits_of_people_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"P{i}" for i in range(2504)]  # as many as phase 3 of the 1000 Genomes Project
    data = text([*header(many), row("1:5", *["0/1"] * 2504)])
    refused("more than 2500 of its samples", data, people=many)
    few = {name: f"{at + 1:064x}" for at, name in enumerate(many[7:2500:800])}
    assert split(data, few, leave_out_unlisted=True).report.left_out == 2500
    refused("more than 2500 of its", data, people=many[:2501], leave_out_unlisted=True)
    more = [f"P{i}" for i in range(10_001)]
    data = text([*header(more), row("1:5", *["0/0"] * 10_001)])
    refused("more than 10000 samples", data, people=few, leave_out_unlisted=True)
    monkeypatch.setattr(vcfscan, "MAX_VARIANTS", 1)
    many_rows = refused("does not have 1 to 1 rows", text([*header(TWO), ROW, ROW]))
    assert "bcftools view -r" in many_rows.hint  # of one chromosome too many: only a region helps
    monkeypatch.setattr(vcfscan, "MAX_HEADER_LINES", 5)
    refused_rows("too long", ROW)


def test_a_header_of_realistic_length_is_taken() -> None:
    many = [f"sample-{i:092d}" for i in range(2500)]
    fields = [
        f'##INFO=<ID=I{i},Number=.,Type=Float,Description="{"d" * 300}">' for i in range(1_000)
    ]
    extra = ["##commandline=merge " + "x" * 500_000, *fields]
    contigs = ["1", "2", *[f"HLA-A*{i}" for i in range(3_400)]]
    data = text(
        [*header(many, *extra, contigs=contigs), row("1:5", *["0/1"] * 2500, info="I7=0.5")]
    )
    taken = Taken()
    descriptor = in_memory(data)
    report = split_vcf(
        descriptor,
        subjects(many),
        build="GRCh38",
        sink=lambda subject, source, _: taken.sources.update({subject: source}),
    )
    os.close(descriptor)
    assert report.people == 2500
    assert re.findall("ID=([^,>]+)", taken.text(f"{2500:064x}")) == ["1", "GT", "I7"]


def test_an_overlong_call_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vcfscan, "MAX_CALLS", 60)
    extra = [
        '##FORMAT=<ID=AD,Number=.,Type=Integer,Description="">',
        "##FORMAT=<ID=AX,Number=.,Type=Integer>",
    ]
    long, short = "1," * 9 + "1", "1"
    assert (
        split_rows(row("1:5", f"0/1:{long}", "0/0:1", format_="GT:AD"), extra=extra).report.records
        == 1
    )
    refused_rows(
        "too long for a row", row("1:5", f"0/1:{long * 2}", "0/0:1", format_="GT:AD"), extra=extra
    )
    refused_rows(
        "too long for a row",
        row("1:5", f"0/1:{long}:{short}", f"0/0:{short}:{long}", format_="GT:AD:AX"),
        extra=extra,
    )


def test_short_rows_of_many_people_may_not_grow_the_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vcf, "_GROWTH_FROM", 1_000)
    monkeypatch.setattr(vcf, "MAX_GROWTH", 1)
    assert split_rows(ROW).report.records == 1
    refused_rows("too long to repeat", row("1:5", "0/1", "0/0", alleles="A" * 2_000 + " G"))
    alts = ",".join(map("".join, list(product("CGT", repeat=3))[:20]))
    refused_rows(
        "too long to repeat",
        *[row(f"1:{n}", "0/1", "0/0", alleles=f"A {alts}") for n in range(1, 5)],
    )


def test_buffered_rows_give_the_complete_file(monkeypatch: pytest.MonkeyPatch) -> None:
    data, names, _ = cohort(5, 200)
    one_block = split(data, names)
    monkeypatch.setattr(vcftext, "BLOCK", 700)
    parts = []
    for waiting in (1, 3_000):
        monkeypatch.setattr(vcfsource, "WAITING", waiting)
        again = split(gzip(data), names)
        assert [again.text(subject) for subject in again.sources] == [
            one_block.text(subject) for subject in one_block.sources
        ]
        assert again.report == one_block.report
        parts.append(len(again.sources[f"{1:064x}"]))
    assert parts[0] > parts[1] > len(one_block.sources[f"{1:064x}"])


class Lossy:
    """htslib reading a damaged file: rows are missing at the end, or differ."""

    def __init__(self, descriptor: int, change: str) -> None:
        rows = list(VCF(descriptor))
        self.rows = {
            "fewer": rows[:-1],
            "more": [*rows, rows[-1]],
            "other": [rows[1], rows[0], *rows[2:]],
        }[change]

    def __iter__(self) -> object:
        return iter(self.rows)


@pytest.mark.parametrize("change", ["fewer", "more", "other"])
def test_rows_that_only_one_reader_sees_are_an_error(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    data, names, _ = cohort(3, 10)
    monkeypatch.setattr(vcf, "VCF", lambda descriptor: Lossy(descriptor, change))
    refused("two readings of its rows differ", data, people=names)


def test_a_file_that_changes_while_it_is_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data, names, _ = cohort(3, 10)
    scan = vcf.scan_text

    def scan_and_change(file: object) -> object:
        scanned = scan(file)  # type: ignore[arg-type]
        os.pwrite(file.fileno(), b"1/1", data.rindex(b"0/0"))  # type: ignore[attr-defined]
        return scanned

    monkeypatch.setattr(vcf, "scan_text", scan_and_change)
    refused("two readings of its rows differ", data, people=names)


MUTANT, MUTANT_NAMES, _ = cohort(3, 12)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_file_is_refused_or_complete(data: st.DataObject) -> None:
    changed = bytearray(MUTANT)
    for _ in range(data.draw(st.integers(1, 3))):
        chromosome = data.draw(st.integers(0, len(changed) - 1))
        changed[chromosome : chromosome + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=3)
        )
    messages: list[str] = []
    try:
        taken = split(bytes(changed), MUTANT_NAMES)
    except PayloadError as error:
        messages.append(str(error))
    assert all(message.startswith("variant file: ") for message in messages)
    if messages:
        return
    rows = [line for line in bytes(changed).split(b"\n") if line and not line.startswith(b"#")]
    assert taken.report.records == len(rows)
    for subject in taken.sources:
        assert len(re.findall("(?m)^[^#]", taken.text(subject))) == len(rows)


def test_progress_rises_to_one() -> None:
    data, names, _ = cohort(3, 10)
    fractions: list[float] = []
    descriptor = in_memory(data)
    split_vcf(
        descriptor, subjects(names), build="GRCh38", sink=lambda *_: None, progress=fractions.append
    )
    os.close(descriptor)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_random_calls_agree_with_the_text() -> None:
    rng = np.random.default_rng(3)
    alleles = ["0", "1", "2", "."]
    calls = [
        [
            f"{a}{sign}{b}"
            for a, b, sign in zip(
                rng.choice(alleles, 9),
                rng.choice(alleles, 9),
                rng.choice(["/", "|"], 9),
                strict=True,
            )
        ]
        for _ in range(50)
    ]
    people = [f"P{i}" for i in range(9)]
    taken = split_rows(
        *(row(f"1:{i + 1}", *line, alleles="A G,T") for i, line in enumerate(calls)), people=people
    )
    for i in range(9):
        calls_of_person = dosages(taken, i)
        for j, line in enumerate(calls):
            for number, base in enumerate("GT", 1):
                expected = -1 if "." in line[i] else line[i].count(str(number))
                assert calls_of_person[f"1:{j + 1}:A>{base}"] == expected
