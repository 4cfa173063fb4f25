"""Serialize rows for responses: bits by their names, reasons by their sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from governance.consent import CATEGORIES, PURPOSES, names_of
from governance.errors import reason_of
from governance.readmodel.tables import Consent, GivenReason, Permit, Run
from governance.withdrawal_effects import Effect, Withdrawal

_CONSENT = {0: "none", 1: "live", 2: "revoked"}
_PERMIT = {1: "requested", 2: "approved", 3: "suspended", 4: "rejected"}

SHUT = (
    "The result was released, but its permit is suspended: no key to it leaves any more. Read on "
    "the permit's page why it was suspended, and ask for another permit and another run."
)


def show_reason(code: int) -> dict[str, Any] | None:
    """A reason by its code; None for 0."""
    if not code:
        return None
    reason = reason_of(code)
    return {"code": reason.code, "slug": reason.slug, "sentence": reason.sentence}


def show_consent(consent: Consent) -> dict[str, Any]:
    return {
        "dataset": consent.dataset,
        "status": _CONSENT[consent.status],
        "epoch": consent.epoch,
        "version": consent.version,
        "fromDay": consent.from_day,
        "untilDay": consent.until_day,
        "purposes": names_of(consent.purposes, PURPOSES),
        "categories": names_of(consent.categories, CATEGORIES),
    }


def show_permit(permit: Permit, title: str, asked: int) -> dict[str, Any]:
    """`title` is that of the plan, "" while nobody has sent its text; `asked` how many different
    questions its runs have asked.
    """
    return {
        "permit": permit.permit,
        "dataset": permit.dataset,
        "applicant": permit.applicant,
        "status": _PERMIT[permit.status],
        "expiry": permit.expiry,
        "purposeNeed": permit.need,
        "purposes": names_of(permit.need, PURPOSES),
        "categories": names_of(permit.categories, CATEGORIES),
        "codeHash": permit.code,
        "paramsSchemaHash": permit.params_schema,
        "minCohort": permit.minimum,
        "outputClasses": permit.output_classes,
        "questions": permit.questions,
        "asked": asked,
        "documentHash": permit.document,
        "title": title,
        "requestHash": permit.request_hash,
        "yes": permit.yes,
        "no": permit.no,
    }


def show_summary(run: Run, shut: bool) -> dict[str, Any]:
    """`shut`: released, under a permit that is suspended."""
    return {
        "run": run.run,
        "permit": run.permit,
        "analyst": run.analyst,
        "state": run.state,
        "reason": show_reason(run.reason),
        "shut": SHUT if shut else None,
        "attempt": run.attempt,
        "block": run.block,
    }


def show_withdrawal(withdrawal: Withdrawal, as_of: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": withdrawal.dataset,
        "kind": withdrawal.kind,
        "tx": withdrawal.tx,
        "block": withdrawal.block,
        "time": withdrawal.time,
        "settled": withdrawal.settled,
        "asOf": dict(as_of),
        "effects": [show_effect(effect) for effect in withdrawal.effects],
    }


def show_effect(effect: Effect) -> dict[str, Any]:
    """An effect with a sentence for the person herself."""
    use = effect.use
    return {
        "run": use.run.hex(),
        "was": use.was,
        "attempt": use.attempt,
        "stopped": None if effect.stopped is None else f"{effect.stopped:.2f}",
        "sealed": use.sealed,
        "nextAttempt": use.next_attempt,
        "nextBlock": use.next_block,
        "state": effect.state,
        "over": use.over,
        "sentence": effect.sentence,
    }


def show_reasons(rows: Iterable[GivenReason]) -> list[dict[str, Any]]:
    return [
        {"account": row.account, "act": row.act, "text": row.text, "at": row.at} for row in rows
    ]
