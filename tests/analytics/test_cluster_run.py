"""Runs that look for clusters, from parameters and records to the printed result, and attacks on
it.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from grouped import OUTCOME, people_in_groups
from quiet import NOISE_KEY, QUIET, subjects

from analytics.disclosure.clusters import (
    Member,
    choose_number,
    describe_cluster,
    describe_means,
    list_withheld,
    order_by_size,
)
from analytics.disclosure.counts import perturb_sizes
from analytics.errors import ParamsError
from analytics.params import complete, parse_params
from analytics.people import Input
from analytics.readers.person import Person
from analytics.run import run
from analytics.vocabulary import OutputClass

ASKED: dict[str, Any] = {
    "analysis": "clusters",
    "outcome": OUTCOME,
    "clinical": ["age_years", "size_mm"],
    "genes": {"source": "expression", "keep": 40},
    "method": "ward",
    "clusters": 3,
    "resamples": 20,
    "references": 19,
}
Records = Callable[[Sequence[Person]], list[Input]]


def computed(
    records: list[Input], key: bytes = NOISE_KEY, **changes: object
) -> tuple[dict[str, Any], dict[str, Any]]:
    done = run(complete({**ASKED, **changes}), records, 10, noise_key=key)
    assert (done.output_class, done.statistics) == (OutputClass.TABLE, 0)
    return json.loads(done.result), json.loads(done.disclosure)


@pytest.fixture(scope="module")
def grouped(make_records: Records) -> list[Input]:
    return make_records(people_in_groups(240, 1))


@pytest.fixture(scope="module")
def printed(grouped: list[Input]) -> tuple[dict[str, Any], dict[str, Any]]:
    return computed(grouped)


def test_groups_are_described_by_size_means_and_outcome(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, record = printed
    assert (result["type"], result["analysis"]) == ("volens/result/3", "clusters")
    assert (result["method"], result["clusters"], result["p"]) == ("ward", 3, "0.05")
    assert result["compared_by"] == ["age_years", "size_mm", "genes"]
    assert result["silhouette"] >= 30
    assert result["agreement"] >= 80 > result["agreement_expected"]
    assert [row["cluster"] for row in result["rows"]] == [1, 2, 3]
    assert all(row["stability"] >= 85 for row in result["rows"])
    for row in result["rows"]:
        assert row["people"] % 5 == row.get("events", 0) % 5 == 0
        assert 50 <= row["people"] <= 110
        if "share" in row:
            assert row["interval"][0] <= row["share"] <= row["interval"][1]
            assert row["share"] % row["step"] == 0
    assert {row["feature"] for row in result["profiles"]} <= {"age_years", "size_mm"}
    assert max(abs(float(row["mean"])) for row in result["profiles"]) >= 1
    assert record["statistic_class"] == "table"
    assert {
        "rule": "never leaves",
        "what": ["per-person values", "who is in a cluster", "centres"],
    } in record["rules"]


def test_the_same_bytes_in_any_order_and_others_by_another_key(grouped: list[Input]) -> None:
    params = complete(ASKED)
    first, second, other = (
        run(params, records, 10, noise_key=key).result
        for records, key in (
            (grouped, NOISE_KEY),
            (grouped[::-1], NOISE_KEY),
            (grouped, b"o" * 32),
        )
    )
    assert first == second
    assert first != other


def test_without_groups_nothing_of_a_cluster_is_described(make_records: Records) -> None:
    records = make_records(people_in_groups(120, 2, apart=0.0))
    result, record = computed(records, clusters=0, references=39)
    assert float(result["p"]) > 0.05
    assert result["profiles"] == []
    assert all(row.keys() == {"cluster", "stability"} for row in result["rows"])
    assert any("no more than chance" in item["why"] for item in record["withheld"])


def test_genes_are_compared_without_being_named(grouped: list[Input]) -> None:
    params = parse_params(complete({**ASKED, "clinical": []}))
    assert (params.gene_source, params.output_class) == ("expression", OutputClass.TABLE)
    result, _ = computed(grouped, clinical=[])
    assert result["compared_by"] == ["genes"]
    assert result["profiles"] == []
    assert "SIM" not in json.dumps(result)
    assert all("people" in row for row in result["rows"])


def test_few_kinds_of_people_are_not_clustered(make_records: Records) -> None:
    records = make_records(people_in_groups(60, 3))
    result, record = computed(records, clinical=["er_positive"], genes={"source": "none"})
    assert result["rows"] == result["profiles"] == []
    assert "p" not in result
    assert [item["what"] for item in record["withheld"]][-1] == "clusters"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"clinical": [], "genes": {"source": "none"}}, "compared by nothing"),
        ({"clusters": 1}, "clusters is not"),
        ({"clusters": 7}, "clusters is not"),
        ({"method": "dbscan"}, "method is not"),
        ({"references": 5}, "references is not"),
        ({"clinical": ["metastasis"]}, "what tells the outcome"),
        ({"folds": 5}, "may have only"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ParamsError, match=why):
        complete({**ASKED, **changes})


# --- what is printed of a cluster
def member(people: int, events: int, stability: float = 0.9) -> Member:
    ids = subjects(people)
    return Member(ids, ids[:events], stability)


def test_a_cluster_is_described_only_where_it_is_sure_and_large_enough() -> None:
    assert describe_cluster(QUIET, 1, member(100, 30), True) == {
        "cluster": 1,
        "stability": 90,
        "people": 100,
        "events": 30,
        "share": 30,
        "interval": [15, 45],
        "step": 5,
    }
    bare = {"cluster": 1, "stability": 90}
    assert describe_cluster(QUIET, 1, member(100, 30), False) == bare
    assert describe_cluster(QUIET, 1, member(9, 0), True) == bare
    assert describe_cluster(QUIET, 1, member(100, 30, 0.7), True) == bare | {"stability": 70}
    for events in (9, 91):
        shown = describe_cluster(QUIET, 1, member(100, events), True)
        assert shown == bare | {"people": 100}
    rows = [bare, bare | {"people": 50}, bare | {"people": 50, "events": 20}]
    assert [what for what, _ in list_withheld(rows, True, False)] == [
        "cluster 1",
        "outcome of cluster 1",
    ]


def test_means_are_few_and_in_steps_of_the_size() -> None:
    means = {f"c{at}": at / 4 for at in range(-4, 5)}
    shown = describe_means(QUIET, 2, subjects(130), means)
    assert [(row["feature"], row["mean"]) for row in shown] == [
        ("c-4", "-1"),
        ("c4", "1"),
        ("c-3", "-0.8"),
        ("c3", "0.8"),
        ("c2", "0.6"),
    ]
    assert {row["step"] for row in describe_means(QUIET, 2, subjects(60), means)} == {"0.5"}
    assert {row["step"] for row in describe_means(QUIET, 2, subjects(25), means)} == {"1"}
    assert describe_means(QUIET, 2, subjects(24), means) == []


def test_number_and_order_follow_from_what_is_printed() -> None:
    ids = subjects(400)
    sizes = perturb_sizes(QUIET, 400, (), ids, ids[:90])
    assert choose_number(QUIET, ids, sizes, {4: 0.3041, 3: 0.302, 2: 0.21}) == 3  # both are 30
    small, large = member(40, 12), Member(subjects(60), subjects(12), 0.9)
    assert order_by_size(QUIET, [small, large]) == [large, small]
