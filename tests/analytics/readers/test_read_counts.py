"""Read counts become TPM or RPKM records of expression."""

import numpy as np
import pytest

from analytics.errors import PayloadError
from analytics.readers.expression import read_expression
from analytics.readers.read_counts import (
    read_counts,
    read_lengths,
    to_rpkm,
    to_tpm,
    write_records,
)

ADA, BEA = "a" * 64, "b" * 64
COUNTS = f"gene\t{ADA}\t{BEA}\nG1\t10\t0\nG2\t20\t5\nG3\t30\t15\n".encode()
LENGTHS = b"gene\tlength\nG1\t2000\nG2\t4000\nG3\t1000\nG4\t500\n"


def test_tpm_of_everybody_sums_to_a_million() -> None:
    draw = np.random.default_rng(1)
    counts = draw.poisson(30, (500, 12)).astype(np.float64)
    tpm = to_tpm(counts, draw.integers(200, 9000, 500).astype(np.float64))
    assert np.abs(tpm.sum(axis=0) - 1e6).max() < 1e-6


def test_tpm_and_rpkm_are_those_of_their_definitions() -> None:
    """Rates per kilobase 5, 5, 30 of 60 reads: shares 1/8, 1/8, 6/8; per million reads 83,333 ..."""
    table, lengths = read_counts(COUNTS), np.array([2000.0, 4000.0, 1000.0])
    assert np.allclose(to_tpm(table.counts, lengths)[:, 0], [125_000, 125_000, 750_000])
    assert np.allclose(to_rpkm(table.counts, lengths)[:, 0], [5 / 60e-6, 5 / 60e-6, 30 / 60e-6])
    rpkm = to_rpkm(table.counts, lengths)
    assert np.allclose(1e6 * rpkm / rpkm.sum(axis=0), to_tpm(table.counts, lengths))


@pytest.mark.parametrize(("unit", "of"), [("tpm", to_tpm), ("rpkm", to_rpkm)])
def test_records_hold_log2_of_the_unit(unit: str, of: object) -> None:
    records = write_records(read_counts(COUNTS), read_lengths(LENGTHS), unit)
    assert list(records) == [ADA, BEA]
    values = read_expression(records[BEA])
    assert (values["G1"], list(values)) == (0, ["G1", "G2", "G3"])
    if of is to_tpm:  # the whole sum again, but for the digits
        assert sum(2**value - 1 for value in values.values()) == pytest.approx(1e6, rel=1e-4)


@pytest.mark.parametrize(
    ("counts", "lengths", "refused"),
    [
        (COUNTS.replace(b"G3", b"G5"), LENGTHS, "1 genes have no length"),
        (COUNTS.replace(b"G3", b"G1"), LENGTHS, "line 4 has no new gene"),
        (COUNTS.replace(b"\t15", b""), LENGTHS, "line 4"),
        (COUNTS.replace(b"\t15", b"\t1.5"), LENGTHS, "line 4 has not a whole number"),
        (COUNTS.replace(b"\t15", b"\t-1"), LENGTHS, "line 4"),
        (COUNTS.replace(BEA.encode(), ADA.encode()), LENGTHS, "each patient's id once"),
        (COUNTS.replace(BEA.encode(), b"SAMPLE2"), LENGTHS, "not a patient's id"),
        (COUNTS.replace(b"\t5\n", b"\t0\n").replace(b"\t15\n", b"\t0\n"), LENGTHS, "no reads"),
        (b"", LENGTHS, "the first line"),
        (b"gene\t" + ADA.encode() + b"\n", LENGTHS, "no reads"),
        (b"\xff", LENGTHS, "UTF-8"),
        (COUNTS, LENGTHS.replace(b"G2", b"G1"), "line 3 has no new gene"),
        (COUNTS, LENGTHS.replace(b"4000", b"0"), "line 3 has no length"),
        (COUNTS, LENGTHS.replace(b"4000", b"99999999"), "line 3 has no length"),
        (COUNTS, b"G1\t2000\n", "the first line"),
        (COUNTS, b"gene\tlength\n", "no gene"),
    ],
)
def test_tables_that_are_refused(counts: bytes, lengths: bytes, refused: str) -> None:
    with pytest.raises(PayloadError, match=refused) as error:
        write_records(read_counts(counts), read_lengths(lengths), "tpm")
    assert "99999999" not in str(error.value)
    assert "SAMPLE2" not in str(error.value)
