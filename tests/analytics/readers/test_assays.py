import json
from importlib import resources

import pytest

from analytics.catalogue import FEATURE_SETS
from analytics.errors import PayloadError
from analytics.readers.assays import (
    is_name,
    name_of,
    ordinal_of,
    read_assay,
    write_assay,
    write_assays,
)

GOOD = {"assay": "rna", "type": "volens/assay/1", "values": {"b": "-0.5", "a": "7.25"}}
FIRST, SECOND = "ab" * 32, "cd" * 32


def tampered(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}, sort_keys=True, separators=(",", ":")).encode()


def test_no_assay_has_the_name_of_another_feature_set_or_source() -> None:
    schema = json.loads(resources.files("analytics").joinpath("params-schema.json").read_text())
    genes = schema["$defs"]["evaluate"]["properties"]["genes"]["properties"]
    names = [*FEATURE_SETS, *genes["source"]["enum"]]
    assert [name for name in names if is_name(name)] == []
    assert is_name("rna")


BAD = {
    "no object": b"[]",
    "unknown format": tampered(type="volens/assay/2"),
    "unknown field": tampered(name="Canary"),
    "a feature set's name": tampered(assay="combined"),
    "a name with capitals": tampered(assay="RNA"),
    "no values": tampered(values={}),
    "values as list": tampered(values=["7.25"]),
    "number instead of string": tampered(values={"a": 7.25}),
    "exponent": tampered(values={"a": "1e3"}),
    "too large": tampered(values={"a": "1187300.4"}),
    "column with a space": tampered(values={"Canary x": "7"}),
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_a_malformed_record_is_refused_without_quoting_it(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        read_assay(payload)
    assert not any(word in str(refused.value) for word in ("Canary", "1187300", "7.25"))


def test_a_record_names_its_assay_and_comes_back_in_order() -> None:
    name, values = read_assay(tampered())
    assert (name, list(values.items())) == ("rna", [("a", 7.25), ("b", -0.5)])
    written = write_assay("rna", {"a": "1"})
    assert name_of(written) == "rna"
    assert name_of(b'{"type":"volens/expression/1"}') is None


def test_a_assay_is_the_same_record_at_every_ingest_and_never_the_expression_record() -> None:
    ordinals = [ordinal_of(name) for name in ("rna", "methylation", "mirna", "rna")]
    assert ordinals[0] == ordinals[3]
    assert len(set(ordinals)) == 3
    assert all(0 < ordinal < 1 << 64 for ordinal in ordinals)
    assert not is_name("genes")


def test_a_table_becomes_a_record_for_each_person() -> None:
    table = f"column\t{FIRST}\t{SECOND}\nA\t1.5\t\nB\tNA\t-2\n".encode()
    records = write_assays("mirna", table)
    assert {subject: read_assay(record) for subject, record in records.items()} == {
        FIRST: ("mirna", {"A": 1.5}),
        SECOND: ("mirna", {"B": -2.0}),
    }


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("gene\t{0}\nA\t1\n", "first line"),
        ("column\t{0}\t{0}\nA\t1\t1\n", "first line"),
        ("column\tTCGA-1\nA\t1\n", "not a patient's id"),
        ("column\t{0}\nA\t1\nA\t1\n", "line 3 has no new column"),
        ("column\t{0}\nA\t1\t2\n", "line 2 has not one value"),
        ("column\t{0}\nA\t1e3\n", "line 2 has a value that is not a decimal"),
        ("column\t{0}\nA\t\n", "somebody has no value"),
    ],
)
def test_a_table_that_is_not_one_is_refused_by_its_line(table: str, what: str) -> None:
    with pytest.raises(PayloadError, match=what):
        write_assays("rna", table.format(FIRST).encode())
