"""A group's prognosis beside a patient's plan, from the result file of a released survival run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from analytics.canonical import dump_canonical
from analytics.care.prognosis import group_prognosis, is_prognosis, population_of
from analytics.errors import AnalyticsError
from api.client.client import Client
from api.client.results import check_disclosure, check_output
from api.errors import NotThere, RefusedByPolicy, UsageError, VerificationFailed
from chain.vocabulary import OutputClass

FILE = "volens/plan-prognosis/1"
_AGAIN = "name the file that `volens result open` wrote for this run, unchanged"


def draw_prognosis(
    client: Client, plan: Mapping[str, Any], run: str, released: Any
) -> dict[str, Any]:
    """What a released table says about people like her, with the run and the seal it is from.

    plan: the opened plan; released: {result, disclosure, salt} of the run, as `volens result open`
    writes them. Raises NotThere, RefusedByPolicy, UsageError, VerificationFailed.
    """
    state = client.run(run)
    result = _released_bytes(state, released)
    params = str(state["params"]).encode()  # their hash is in the result
    datasets = {row["dataset"]: row for row in client.datasets()}
    population = population_of(client.document(datasets[state["dataset"]]["document"]))
    if population is None:
        raise UsageError(
            "the text of this dataset names no population that a prognosis may come from",
            "choose a run on a dataset whose text names one, such as GSE7390",
        )
    try:
        drawn = group_prognosis(result, params, plan, population)
    except AnalyticsError as error:
        raise UsageError(str(error), error.hint) from None
    return drawn | {"run": run, "seal": state["outputs"][-1]["sealHash"]}


def prognosis_file(drawn: Mapping[str, Any], released: Mapping[str, Any]) -> dict[str, Any]:
    """What `volens plan sign` reads: the prognosis, and the released bytes that prove it."""
    return {"type": FILE, "prognosis": dict(drawn), "released": dict(released)}


def read_file(client: Client, plan: Mapping[str, Any], document: Any) -> dict[str, Any]:
    """The prognosis of such a file, drawn again from its released bytes.

    Raises VerificationFailed if it is another one, and what `draw_prognosis` raises.
    """
    if (
        not isinstance(document, dict)
        or document.keys() != {"type", "prognosis", "released"}
        or document["type"] != FILE
        or not is_prognosis(document["prognosis"])
    ):
        raise UsageError(
            "this is no file of a prognosis", "make one: volens plan prognosis PLAN --out FILE"
        )
    given: dict[str, Any] = document["prognosis"]
    drawn = draw_prognosis(client, plan, given["run"], document["released"])
    if drawn != given:
        raise VerificationFailed(
            "the prognosis is not the one that the released table gives",
            "make it again: volens plan prognosis",
        )
    return drawn


def _released_bytes(state: Mapping[str, Any], released: Any) -> bytes:
    """The bytes of the result, which are those that the ledger has of this released run."""
    if state["state"] != "released" or not state["outputs"]:
        raise NotThere(
            404, "This run has no released result.", "Wait until two checkers have released it."
        )
    if state["shut"]:
        why, _, advice = str(state["shut"]).partition(". ")
        raise RefusedByPolicy(409, f"{why}.", advice, "permit-suspended")
    sealed = state["outputs"][-1]
    if sealed["outputClass"] != OutputClass.TABLE:
        raise UsageError("a prognosis is read from a table of groups", "choose a survival run")
    try:
        inside = {
            "result": dump_canonical(released["result"]).decode(),
            "disclosure": dump_canonical(released["disclosure"]).decode(),
            "salt": released["salt"],
        }
    except (AnalyticsError, KeyError, TypeError, ValueError):
        raise UsageError("this is no opened result", _AGAIN) from None
    run, attempt = bytes.fromhex(state["run"]), int(sealed["attempt"])
    text = json.dumps(inside).encode()
    opened = check_output(text, run, attempt, bytes.fromhex(sealed["outputCommitment"]))
    check_disclosure(opened, run, attempt, bytes.fromhex(sealed["disclosureCommitment"]))
    return opened.result
