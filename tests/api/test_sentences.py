"""The trail page's sentence for each event, and who sees which details."""

from __future__ import annotations

from dataclasses import fields

from api.pages.event_text import _MANY, _SENTENCES, KINDS, PERSONAL
from chain.events import Event
from governance.readmodel.trail_queries import Happening, Step

WITHIN_ANOTHER = {"Head", "AccessGranted", "AccessDenied"}  # RunAuthorised says how many


def names() -> dict[str, set[str]]:
    return {
        kind.__name__: {field.name for field in fields(kind)} for kind in Event.__subclasses__()
    }


def test_every_event_has_its_sentence_and_its_kind() -> None:
    assert names().keys() - WITHIN_ANOTHER == _SENTENCES.keys() | _MANY.keys()
    offered = {event for _, events in KINDS.values() for event in events}
    assert names().keys() - offered == {"Head", "AccessGranted", "ItemRefused"}


def test_an_event_that_names_a_person_is_shown_to_her_only() -> None:
    # An opened plan names its patient by her account.
    named = {name for name, own in names().items() if "subject" in own} | {"PlanOpened"}
    assert named == set(PERSONAL)


def test_a_missing_protection_is_said_where_data_was_opened() -> None:
    from api.pages.event_text import sentence

    def sentence_of(relaxed: int) -> str:
        opened = {"granted": 3, "denied": 0, "attempt": 1, "relaxed": relaxed}
        event = Happening("RunAuthorised", "aa", "", opened)
        return sentence(Step(1, "00", 1, 1, "11", (event,)), {})

    assert "lacked protections" in sentence_of(4)
    assert "lacked" not in sentence_of(0)
