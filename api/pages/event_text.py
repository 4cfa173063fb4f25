"""Describe steps of the trail in sentences, with the details of their events.

Several events of one kind become one sentence with a count. No sentence names a patient: a person's
id is only in the details, and only for auditors and data protection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from api.pages import labels as words
from governance.errors import reason_of
from governance.readmodel.trail_queries import Happening, Step


class People(Protocol):
    """What accounts are called, by address."""

    def get(self, address: str, otherwise: str) -> str: ...


# The kinds of the trail's filter: plain name and the ledger's events.
KINDS = {
    "permission": ("Permission given", ("ConsentGranted",)),
    "stop": ("Permission withdrawn", ("ConsentRevoked", "RevokeStale")),
    "access": ("Data used", ("RunAuthorised",)),
    "refusal": ("Refused", ("AccessDenied", "RunRefused", "ReleaseRefused", "Rejected")),
    "request": ("Run asked for", ("RunRequested", "PlanRequested")),
    "seal": ("Output sealed", ("Sealed",)),
    "look": ("Output viewed", ("OutputViewed",)),
    "release": ("Result released", ("Released", "Countersigned")),
    "care": ("Clinician appointed", ("Appointed",)),
    "opening": ("Plan opened", ("PlanOpened",)),
    "cancel": ("Run cancelled", ("RunCancelled",)),
    "resume": ("Run resumed", ("RunResumed",)),
    "enrolment": ("Person enrolled", ("Enrolled",)),
    "records": ("Records brought in", ("RecordsSealed",)),
    "void": ("Records taken back", ("RecordsVoided",)),
    "dataset": ("Dataset registered", ("DatasetRegistered",)),
    "permit": (
        "Permit",
        ("PermitRequested", "Voted", "PermitApproved", "PermitRejected", "PermitSuspended"),
    ),
    "role": ("Role set", ("RoleSet", "RoleCancelled")),
}
PERSONAL = (
    "Enrolled",
    "ConsentGranted",
    "ConsentRevoked",
    "RevokeStale",
    "AccessGranted",
    "AccessDenied",
    "ReleaseRefused",
    "Appointed",
    "PlanRequested",
    "PlanOpened",
)
_MANY = {
    "Enrolled": ("One person was enrolled", "{} people were enrolled"),
    "ConsentGranted": ("One person gave permission", "{} people gave permission"),
    "ConsentRevoked": ("One person withdrew permission", "{} people withdrew permission"),
    "Appointed": ("One person appointed a clinician", "{} people appointed a clinician"),
    "PlanOpened": ("One person opened her plan", "{} people opened their plans"),
    "RevokeStale": ("an old withdrawal was sent again and changed nothing", "{} old withdrawals"),
    "ItemRefused": ("one message was refused", "{} messages were refused"),
}


def sentence(step: Step, people: People) -> str:
    """The step in words, e.g. "Analyst Noor asked for a run."; people: known names by address."""
    names = [event.name for event in step.events]
    sentences = [_describe(event, people) for event in step.events if event.name in _SENTENCES]
    sentences += [
        singular if (count := names.count(name)) == 1 else many.format(count)
        for name, (singular, many) in _MANY.items()
        if name in names
    ]
    text = "; ".join(part for part in sentences if part)
    return f"{text[:1].upper()}{text[1:]}." if text else "An unknown step."


def kind_of(step: Step) -> str:
    """The plain name of the step's kind, as in the filter."""
    names = {event.name for event in step.events}
    labels = (
        label for key, (label, events) in KINDS.items() if names & set(events) and key != "refusal"
    )
    return next(labels, "Refused")


def is_refusal(step: Step) -> bool:
    """Whether the whole step is a refusal."""
    return bool(
        {event.name for event in step.events} & {"RunRefused", "ReleaseRefused", "Rejected"}
    )


def details(
    events: Sequence[Happening], everything: bool, subject: str
) -> list[tuple[str, list[tuple[str, str]]]]:
    """(event, its fields as texts) for the step: no single person's unless `everything`;
    `subject`'s first.
    """
    chosen = [event for event in events if everything or event.name not in PERSONAL]
    chosen.sort(key=lambda event: event.subject != subject)
    return [
        (event.name, [(name, _text(value)) for name, value in event.fields.items()])
        for event in chosen
    ]


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _describe(event: Happening, people: People) -> str:
    return _SENTENCES[event.name].format(**_named(event.fields, people))


def _named(fields: Mapping[str, Any], people: People) -> dict[str, str]:
    texts = {name: _text(value) for name, value in fields.items()}
    named = {name: people.get(text, words.short(text)) for name, text in texts.items()}
    if "reason" in fields and isinstance(fields["reason"], int):
        named["reason"] = reason_of(fields["reason"]).sentence.rstrip(".")
    if isinstance(fields.get("role"), int):
        named["role"] = words.role(fields["role"])
    if "denied" in fields and "granted" in fields:
        given, left = int(fields["granted"]), int(fields["denied"])
        named["granted"] = "one person's" if given == 1 else f"{given} people's"
        named["denied"] = f"; {left} {'was' if left == 1 else 'were'} left out" if left else ""
    if "relaxed" in fields:
        named["relaxed"] = ", on a machine that lacked protections" if fields["relaxed"] else ""
    if isinstance(fields.get("yes"), bool):
        named["yes"] = "yes" if fields["yes"] else "no"
    return named


_SENTENCES = {
    "RoleSet": "the committee set the role of {account}: {role}",
    "RoleCancelled": "committee member {by} stopped the new role of {account} before it began",
    "DatasetRegistered": "custodian {custodian} registered a dataset",
    "PermitRequested": "{applicant} asked for a permit",
    "Voted": "committee member {member} voted {yes}",
    "PermitApproved": "the permit is approved",
    "PermitRejected": "the permit is rejected",
    "PermitSuspended": "the permit was suspended by {by}",
    "RecordsSealed": "{count} encrypted records were brought in{relaxed}",
    "RecordsVoided": "a registration of records was taken back",
    "RunRequested": "analyst {analyst} asked for a run",
    "RunAuthorised": "{granted} data was opened for a run, attempt {attempt}{denied}{relaxed}",
    "RunRefused": "a run was refused: {reason}",
    "Sealed": "the output of attempt {attempt} was sealed",
    "OutputViewed": "{viewer} viewed an output or a plan",
    "Released": "checkers {checkerA} and {checkerB} released a result",
    "ReleaseRefused": "a release was refused: {reason}",
    "Rejected": "checker {checker} held an output back: {reason}",
    "RunCancelled": "who asked for a run or plan ended it",
    "RunResumed": "the analyst gave a run more attempts",
    "PlanRequested": "a clinician asked for a plan of one person's care",
    "Countersigned": "a clinician countersigned a plan",
}
