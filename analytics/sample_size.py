"""How many people a prediction model needs, beside how many there were.

Loads no library, so that the process of the pages can ask.
"""

from __future__ import annotations

import math

# Riley et al. 2020 (BMJ 368:m441): the four criteria's usual values for a yes-or-no outcome.
RISK_MARGIN = 0.05  # of the estimated share with the outcome, either way
SHRINKAGE = 0.9
OPTIMISM = 0.05  # of Nagelkerke's R²
NAGELKERKE = 0.15  # where nobody knows better: 15 % of the largest R² that is possible
# Collins et al. 2016 (Statistics in Medicine 35:214): to evaluate a model, of each outcome.
LEAST_TO_EVALUATE = 100


def least_to_develop(share: float, columns: int) -> int:
    """People to develop a regression of `columns` columns where `share` have the outcome.

    The largest of three: the share within RISK_MARGIN, a shrinkage of at least SHRINKAGE, and an
    optimism of at most OPTIMISM. share: above 0, below 1; columns: at least 1.
    """
    other = 1 - share
    largest = 1 - (share**share * other**other) ** 2  # of Cox and Snell's R²
    expected = NAGELKERKE * largest
    shrinkage = expected / (expected + OPTIMISM * largest)
    return math.ceil(
        max(
            (1.96 / RISK_MARGIN) ** 2 * share * other,
            _for_shrinkage(SHRINKAGE, expected, columns),
            _for_shrinkage(shrinkage, expected, columns),
        )
    )


def _for_shrinkage(shrinkage: float, expected: float, columns: int) -> float:
    return columns / ((shrinkage - 1) * math.log(1 - expected / shrinkage))
