"""Attacks on contracts and endpoints: each is one action, tried once forged and once as an accepted
control.

The demo's Mallory, `tests/contracts/test_attacks.py` (TABLE) and
`tests/api/test_endpoint_attacks.py` (ENDPOINT_ATTACKS) run the same. An attack does not know its
caller or other attacks.
"""

from api.demo.attacks import bodies, care_order, consent, governance, outputs, roles, runs
from api.demo.attacks.care import CARE_TABLE
from api.demo.attacks.endpoints import TABLE as ENDPOINT_ATTACKS
from api.demo.attacks.endpoints import EndpointAttack, Endpoints
from api.demo.attacks.endpoints import outcome as answered
from api.demo.attacks.frame import TABLE, Attack, outcome
from api.demo.forgeries import high_s

__all__ = [
    "CARE_TABLE",
    "ENDPOINT_ATTACKS",
    "TABLE",
    "Attack",
    "EndpointAttack",
    "Endpoints",
    "answered",
    "bodies",
    "care_order",
    "consent",
    "governance",
    "high_s",
    "made",
    "outcome",
    "outputs",
    "roles",
    "runs",
]


def made() -> list[Attack | EndpointAttack]:
    """The attacks of the demo: all except those that need a separate deployment."""
    return [*TABLE, *(attack for attack in ENDPOINT_ATTACKS if not attack.alone)]
