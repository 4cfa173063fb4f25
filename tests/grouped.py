"""People in groups that are known, as records would tell them."""

from __future__ import annotations

from analytics.readers.observations import Findings
from analytics.readers.person import Person
from analytics.simulate.groups import simulate_groups

HORIZON_DAYS = 1825
OUTCOME = {"kind": "distant-metastasis", "horizon_days": HORIZON_DAYS}
PROBES = 30


def people_in_groups(people: int, seed: int, apart: float = 5.0) -> list[Person]:
    """Three groups by age, tumour size and the probes; every second one has an oestrogen receptor."""
    made = simulate_groups(people, seed, apart=apart)
    return [
        Person(
            at,
            tuple((f"SIM{probe:03d}", f"{made.genes[at, probe]:.4f}") for probe in range(PROBES)),
            Findings(
                age_years=float(round(50 + 4 * made.clinical[at, 0])),
                size_mm=float(round(40 + 5 * made.clinical[at, 1], 1)),
                grade=None,
                er_positive=at % 2,
                follow_up_days=float(300 if made.event[at] else HORIZON_DAYS + 10),
                metastasis=bool(made.event[at]),
            ),
        )
        for at in range(people)
    ]
