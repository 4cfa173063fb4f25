"""Labels: the ledger's names in plain words, and readable times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from analytics.catalogue import SHOWN
from chain.vocabulary import Role
from governance.consent import CATEGORIES, PURPOSES, names_of
from governance.rules.encoding import Malformed, strict_json

DAY = 86_400
ROLES: dict[int, str] = {
    Role.COMMITTEE: "committee member",
    Role.CUSTODIAN: "custodian",
    Role.REGISTRAR: "registrar",
    Role.ANALYST: "analyst",
    Role.CHECKER: "output checker",
    Role.CLINICIAN: "clinician",
    Role.PROTECTION: "data-protection officer",
    Role.AUDITOR: "auditor",
    Role.BROKER: "key broker",
    Role.WORKER: "worker",
}
_PURPOSES = {
    "any-research": "any research",
    "general-research": "general research",
    "health-research": "health research",
    "ancestry": "research on ancestry",
    "for-profit": "use by companies for profit",
    "methods": "making research methods better",
    "care": "your own care",
    "cancer-research": "cancer research",
}
_RECIPIENTS = {
    "outside-recipient": "researchers outside the place that keeps your data",
    "company-recipient": "companies",
}
_CATEGORIES = {
    "demographics": "age, sex and the like",
    "conditions": "diagnoses",
    "observations": "findings and lab values",
    "medications": "medicines",
    "procedures": "operations and treatments",
    "germline-variants": "your genome and genetic test results",
    "expression": "gene activity of the tumour",
    "imaging": "images",
    "wearables": "data of wearables",
    "lifestyle": "lifestyle",
    "mental-health": "mental health",
    "substance-use": "alcohol and drugs",
    "sexual-health": "sexual health",
    "hiv": "HIV",
}
_STATES = {
    "queued": "waiting",
    "authorised": "allowed, not begun",
    "computing": "computing",
    "sealed": "waits for checkers",
    "released": "released",
    "denied": "refused by the ledger",
    "withdrawn": "cancelled by the analyst",
    "refused": "held back by a checker",
    "failed": "failed",
}
_STEPS = {
    "asking the ledger": "asking the ledger who is willing",
    "fetching": "fetching encrypted records and their keys",
    "decrypted": "opened in memory",
    "read": "reading the records",
    "compute": "beginning to compute",
    "evaluate": "testing the model",
    "permute": "comparing with shuffled outcomes",
    "components": "looking for ancestry",
    "scan": "testing each variant",
    "count": "counting carriers",
    "filter": "holding back what could tell of one person",
    "disclose": "writing down what was held back",
    "sealed": "the output is sealed",
    "stopped": "stopped",
}
_FEATURE_SETS = {"clinical": "clinical data", "combined": "genes + clinical"}


def purposes(mask: int) -> str:
    """What for, as one phrase: "cancer research or health research"."""
    return _joined(
        [_PURPOSES.get(name, name) for name in names_of(mask, PURPOSES) if name not in _RECIPIENTS],
        "or",
    )


def recipients(mask: int) -> str:
    """Who may get results besides the organisation that holds the data."""
    names = [_RECIPIENTS[name] for name in names_of(mask, PURPOSES) if name in _RECIPIENTS]
    return _joined(names, "and") or "nobody outside the place that keeps your data"


def categories(mask: int) -> str:
    """Which kinds of data."""
    return _joined([_CATEGORIES.get(name, name) for name in names_of(mask, CATEGORIES)], "and")


def state(name: str) -> str:
    return _STATES.get(name, name)


def step(name: str) -> str:
    """A worker's step in words: "testing the model: SVM on genes"."""
    what, _, which = name.partition(":")
    text = _STEPS.get(what, what)
    named, _, data = which.partition("/")
    return f"{text}: {model(named)} on {feature_set(data)}" if which else text


def model(name: str) -> str:
    return SHOWN.get(name, name)


def feature_set(name: str) -> str:
    """A feature set in words."""
    return _FEATURE_SETS.get(name, name)


def question(params: str) -> str:
    """The question of a run, from its parameters; "" for unknown parameters."""
    try:
        asked: Any = strict_json(params.encode())
        if asked["analysis"] == "frequencies":
            return "How common are some genetic variants?"
        what = outcome_of(asked["outcome"]["kind"], asked["outcome"]["horizon_days"])
        return {
            "evaluate": f"How well can one predict {what}?",
            "associate": f"Which genetic variants go together with {what}?",
        }.get(asked["analysis"], "")
    except (KeyError, TypeError, Malformed):
        return ""


def outcome_of(kind: str, days: int) -> str:
    """What is predicted, with its time: "whether a tumour spreads within 5 years"."""
    years = round(days / 365.25)
    within = (
        f"{years} year{'s' * (years != 1)}"
        if years and abs(days - years * 365.25) < 2
        else f"{days} days"
    )
    text = {
        "distant-metastasis": "whether a tumour spreads",
        "diagnosis": "whether a named diagnosis follows",
    }
    return f"{text.get(kind, kind)} within {within}"


def role(number: int) -> str:
    return ROLES.get(number, "somebody without a role")


def short(text: str) -> str:
    """An id or address, shortened to its first and last characters."""
    return text if len(text) < 16 else f"{text[:8]}…{text[-4:]}"


def day(number: int) -> str:
    """A whole UTC day since 1970 as a date; one beyond the calendar as "without end"."""
    try:
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)
    except OverflowError:
        return "without end"
    return f"{date.day} {date:%B %Y}"


def is_better_than_chance(row: Mapping[str, Any]) -> bool:
    """Whether a row's whole interval is above 50 and its p at most 0.05: both are required."""
    return row.get("auc_interval", [0])[0] > 50 and float(row["p"]) <= 0.05


def moment(seconds: int) -> str:
    """A time, absolute: 24 November 2026, 14:02 UTC."""
    return f"{day(seconds // DAY)}, {seconds % DAY // 3600:02}:{seconds % 3600 // 60:02} UTC"


def clock(seconds: int) -> str:
    """A time without its day: 14:02:31 UTC."""
    return f"{seconds % DAY // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02} UTC"


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def ago(seconds: int, now: int) -> str:
    """The distance of a time from now, in one unit."""
    gap = abs(now - seconds)
    for size, unit in (
        (365 * DAY, "year"),
        (30 * DAY, "month"),
        (DAY, "day"),
        (3600, "hour"),
        (60, "minute"),
    ):
        if gap >= size:
            count = gap // size
            text = f"{count} {unit}{'s' * (count > 1)}"
            return f"{text} ago" if seconds <= now else f"in {text}"
    return "just now" if seconds <= now else "in less than a minute"


def _joined(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)
