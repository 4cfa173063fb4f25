"""Simulated people with a known truth, in the same record formats as real people.

A few probes and two clinical findings carry the outcome, the other columns are noise; half of the
people have the event.
"""

from __future__ import annotations

import numpy as np

from analytics.readers.observations import Findings
from analytics.readers.person import Person

PROBES = 24
# log2 units per unit of risk, of the first probes; the others are noise
SIGNAL = (2.4, 2.0, -1.8, 1.6)
HORIZON_DAYS = 1825


def simulate_people(n: int, seed: int) -> list[Person]:
    """n people, deterministic in (n, seed). Outcome: the half with the higher (true risk + noise)
    has a metastasis within HORIZON_DAYS, the others are followed up past it. About one finding in
    twenty is missing.
    """
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=n)
    event = np.zeros(n, dtype=bool)
    ascending = np.argsort(risk + generator.normal(scale=0.3, size=n), kind="stable")
    event[ascending[n - n // 2 :]] = True
    genes = 8 + generator.normal(size=(n, PROBES))
    genes[:, : len(SIGNAL)] += risk[:, None] * np.array(SIGNAL)
    days = np.where(
        event,
        generator.integers(90, HORIZON_DAYS, n),
        generator.integers(HORIZON_DAYS + 1, 6000, n),
    )
    size = np.clip(np.round(20 + 6 * risk + 5 * generator.normal(size=n)), 2, 90)
    grade = np.clip(np.round(2 + 0.5 * risk + 0.5 * generator.normal(size=n)), 1, 3)
    age = generator.integers(30, 70, n)
    er = generator.random(n) < 0.7
    missing = generator.random((n, 3)) < 0.05
    return [
        Person(
            ordinal,
            tuple((f"SIM{probe:03d}", f"{genes[ordinal, probe]:.4f}") for probe in range(PROBES)),
            Findings(
                age_years=float(age[ordinal]),
                size_mm=None if missing[ordinal, 0] else float(size[ordinal]),
                grade=None if missing[ordinal, 1] else int(grade[ordinal]),
                er_positive=None if missing[ordinal, 2] else int(er[ordinal]),
                follow_up_days=float(days[ordinal]),
                metastasis=bool(event[ordinal]),
            ),
        )
        for ordinal in range(n)
    ]
