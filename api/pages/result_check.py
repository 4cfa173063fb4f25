"""Compare a result or a plan that its reader opened on her own machine with the ledger."""

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
    opened = _checked(run, body, "result", "volens result open --out")
    return opened["result"], opened["disclosure"]


def check_plan(plan: Mapping[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    """(plan, salt of its commitment) from a file of `volens plan open --out` or `volens plan read
    --out`. plan: its description. Raises RequestInvalid.
    """
    opened = _checked(plan, body, "plan", "volens plan open --out, or volens plan read --out")
    return opened["result"], bytes.fromhex(opened["salt"])


def _checked(run: Mapping[str, Any], body: bytes, noun: str, command: str) -> dict[str, Any]:
    """What was opened, as `shown` gives it, if it is what was sealed. noun: its name in the file."""
    try:
        given = strict_json(body, _LARGEST)
        raw(part(given, "salt"), 32)
        inside = canonical_json(
            {
                "result": canonical_json(part(given, noun, dict)).decode(),
                "salt": part(given, "salt", str),
                "disclosure": canonical_json(part(given, "disclosure", dict)).decode(),
            }
        )
    except Malformed:
        raise RequestInvalid(
            f"this is not a {noun} that was opened with volens", f"open it first: {command}"
        ) from None
    sealed = run["outputs"][-1]
    try:
        name, attempt = bytes.fromhex(run["run"]), int(sealed["attempt"])
        checked = check_output(inside, name, attempt, bytes.fromhex(sealed["outputCommitment"]))
        check_disclosure(checked, name, attempt, bytes.fromhex(sealed["disclosureCommitment"]))
        return shown(checked)
    except VerificationFailed as error:
        what = "run" if noun == "result" else noun
        raise RequestInvalid(
            str(error), f"choose the file of this very {what}, as it was written"
        ) from None
