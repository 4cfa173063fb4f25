"""The kinds of notices: a fixed sentence for each, and the page that it leads to.

A sentence holds no name, id, title or question: it is also what a mail says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """sentence: what happened. page: the path, with {about} for the id that it is about."""

    sentence: str
    page: str
    for_patients: bool = False


KINDS: Mapping[str, Kind] = {
    "permit-asked": Kind("A permit was asked for, and waits for votes.", "/permits/{about}"),
    "order-waits": Kind("An order of the committee waits for signatures.", "/roles"),
    "permit-voted": Kind("A member voted on your request for a permit.", "/permits/{about}"),
    "permit-approved": Kind("Your permit was approved.", "/permits/{about}"),
    "permit-rejected": Kind("Your request for a permit was rejected.", "/permits/{about}"),
    "permit-suspended": Kind(
        "Your permit was suspended: no run begins under it, and a released result can no longer be "
        "opened. Read why on its page, and ask for another permit.",
        "/permits/{about}",
    ),
    "permit-expiring": Kind("Your permit expires soon.", "/permits/{about}"),
    "run-sealed": Kind("Your run has an output, which waits for its check.", "/runs/{about}"),
    "run-released": Kind("The result of your run was released.", "/runs/{about}"),
    "run-refused": Kind("Your run was refused.", "/runs/{about}"),
    "output-refused": Kind("The release of your run's output was refused.", "/runs/{about}"),
    "run-held-back": Kind(
        "The output of your run is held back, and the run waits to be computed again.",
        "/runs/{about}",
    ),
    "run-failed": Kind("Your run failed, and no worker tries it again.", "/runs/{about}"),
    "output-waits": Kind("An output waits for its check.", "/runs/{about}/review"),
    "invitation-accepted": Kind("An invitation of yours was accepted.", "/enrolments"),
    "plan-drawn": Kind("A plan that you asked for is drawn, and waits for you.", "/care/{about}"),
    "plan-refused": Kind("A plan that you asked for was refused.", "/care/{about}"),
    "plan-failed": Kind("A plan that you asked for could not be drawn.", "/care/{about}"),
    "plan-begun": Kind(
        "Your data was opened for a plan of your own care.", "/me/plan/{about}", True
    ),
    "plan-signed": Kind("Your clinician has signed a plan.", "/me/plan/{about}", True),
    "data-used": Kind("A run used your data.", "/runs/{about}", True),
    "use-stopped": Kind(
        "A use of your data was stopped after you withdrew.", "/me/stopped?tx={about}", True
    ),
    "consent-expiring": Kind(
        "A permission of yours expires soon.", "/me/permission?dataset={about}", True
    ),
}


def page_of(kind: str, about: str) -> str:
    """The path of the page that a notice leads to."""
    return KINDS[kind].page.format(about=about)
