"""Attacks on the contracts and on the doors: each is one action, tried once forged and once with only that put right.

The demo's Mallory, `tests/contracts/test_attacks.py` (TABLE) and `tests/api/test_door_attacks.py` (DOORS) run the same.
An attack does not know who runs it, nor what else was tried.
"""

from api.demo.attacks import bodies, consent, governance, outputs, roles, runs
from api.demo.attacks.doors import TABLE as DOORS
from api.demo.attacks.doors import DoorAttack, Doors
from api.demo.attacks.doors import outcome as answered
from api.demo.attacks.frame import TABLE, Attack, outcome
from api.demo.forgeries import high_s

__all__ = [
    "DOORS",
    "TABLE",
    "Attack",
    "DoorAttack",
    "Doors",
    "answered",
    "bodies",
    "consent",
    "governance",
    "high_s",
    "made",
    "outcome",
    "outputs",
    "roles",
    "runs",
]


def made() -> list[Attack | DoorAttack]:
    """Those that the demo makes: all but the ones that need a place of their own."""
    return [*TABLE, *(one for one in DOORS if not one.alone)]
