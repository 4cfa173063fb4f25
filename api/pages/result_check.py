"""Compare a result that its analyst opened on her own machine with the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.client.results import check_disclosure, check_output, shown
from api.errors import VerificationFailed
from governance.errors import RequestInvalid
from governance.rules.encoding import Malformed, canonical_json, part, raw, strict_json

_LARGEST = 4 << 20  # bytes of an opened result


def check_opened(run: Mapping[str, Any], body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """(result, disclosure) from a file of `volens result open --out` that matches the ledger's
    commitment.

    Raises RequestInvalid for anything else.
    """
    try:
        given = strict_json(body, _LARGEST)
        raw(part(given, "salt"), 32)
        inside = canonical_json(
            {
                "result": canonical_json(part(given, "result", dict)).decode(),
                "salt": part(given, "salt", str),
                "disclosure": canonical_json(part(given, "disclosure", dict)).decode(),
            }
        )
    except Malformed:
        raise RequestInvalid(
            "this is not a result that was opened with volens",
            "open it first: volens result open --out",
        ) from None
    sealed = run["outputs"][-1]
    try:
        name, attempt = bytes.fromhex(run["run"]), int(sealed["attempt"])
        checked = check_output(inside, name, attempt, bytes.fromhex(sealed["outputCommitment"]))
        check_disclosure(checked, name, attempt, bytes.fromhex(sealed["disclosureCommitment"]))
        opened = shown(checked)
    except VerificationFailed as error:
        raise RequestInvalid(
            str(error), "choose the file of this very run, as it was written"
        ) from None
    return opened["result"], opened["disclosure"]
