import hashlib

import pytest

from analytics.errors import InputsError, PayloadError
from analytics.readers import gene_sets
from analytics.readers.gene_sets import check_gene_sets, read_gene_sets

GMT = b"SET_A\thttp://x\tTP53\tBRCA1\nSET_B\t\tESR1\tHLA-A\t\n"


def test_a_set_is_a_name_a_description_and_genes() -> None:
    assert read_gene_sets(GMT) == {"SET_A": ("TP53", "BRCA1"), "SET_B": ("ESR1", "HLA-A")}
    assert read_gene_sets(GMT.replace(b"\n", b"\r\n")) == read_gene_sets(GMT)


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (b"", "line 1 does not begin with a set's name"),
        (b"SET_A\tx\n", "line 1 has no genes"),
        (b"SET_A\n", "line 1 has no genes"),
        (b"SET_A\tx\tTP53\n\nSET_B\tx\tTP53\n", "line 2"),
        (b"SET_A\tx\tTP53\nSET_A\tx\tESR1\n", "line 2 has the name of an earlier set"),
        (b"SET_A\tx\tTP 53\n", "nothing that is a gene's name"),
        (b"((\tx\tTP53\n", "does not begin with a set's name"),
        (b"S" * 501 + b"\tx\tTP53\n", "does not begin with a set's name"),
        (b"SET_A\tx\t\xff\n", "not UTF-8"),
        (b"SET_A\tx\t" + b"\t".join(b"G%d" % n for n in range(30_001)) + b"\n", "more than 30000"),
    ],
)
def test_a_file_that_is_not_gmt_is_refused_by_its_line(file: bytes, what: str) -> None:
    with pytest.raises(PayloadError, match=what):
        read_gene_sets(file)


def test_a_file_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene_sets, "MAX_SETS", 1)
    with pytest.raises(PayloadError, match="more than 1 sets"):
        read_gene_sets(GMT)
    monkeypatch.setattr(gene_sets, "MAX_BYTES", 10)
    with pytest.raises(PayloadError, match="larger than 10 bytes"):
        read_gene_sets(GMT)


def test_a_long_name_is_shortened_and_stays_its_own() -> None:
    """A result prints texts of at most 80 characters; the Gene Ontology has longer names."""
    long = "GOBP_" + "VERY_" * 20
    first, second = read_gene_sets(f"{long}ONE\tx\tA\n{long}TWO\tx\tB\n".encode())
    assert first != second
    assert len(first) == len(second) == 80


def test_files_of_other_places_are_read() -> None:
    """g:Profiler, Enrichr (weights in the older ones, a tab after the name only) and Bader lab."""
    file = (
        "GO:0007049\tcell cycle\tCDK1\tIGH@\tCDK2\n"
        "Cell Cycle (GO:0007049)\t\tCDK1,1.0\tCDK2,0.5\tCDK1,1.0\n"
        "CELL CYCLE%GOBP%GO:0007049\tCELL CYCLE\tCDK1\n"
        "Cell Cycle [GO:0007049]\t\tCDK4\n"
    )
    sets = read_gene_sets(file.encode())
    first, second, third, fourth = sets.items()
    assert first == ("GO_0007049", ("CDK1", "CDK2"))
    assert second == ("Cell_Cycle_GO_0007049", ("CDK1", "CDK2"))
    assert third == ("CELL_CYCLE_GOBP_GO_0007049", ("CDK1",))
    assert fourth[0].startswith("Cell_Cycle_GO_0007049_")
    assert len(fourth[0]) == len("Cell_Cycle_GO_0007049") + 9


def test_only_the_file_that_is_named_is_read() -> None:
    assert check_gene_sets(GMT, hashlib.sha256(GMT).hexdigest()) == read_gene_sets(GMT)
    with pytest.raises(InputsError, match="not those that the parameters name"):
        check_gene_sets(GMT + b"SET_C\tx\tA\n", hashlib.sha256(GMT).hexdigest())
