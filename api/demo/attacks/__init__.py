"""Attacks on the contracts: each is one action, tried once forged and once with only the attacked field corrected.

The demo's Mallory and `tests/contracts/test_attacks.py` run the same table.
"""

from api.demo.attacks import consent, outputs, roles, runs
from api.demo.attacks.frame import TABLE, Attack, high_s, outcome

__all__ = ["TABLE", "Attack", "consent", "high_s", "outcome", "outputs", "roles", "runs"]
