"""Permutation importance: how much AUC held-out people lose when a part of their data is shuffled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analytics.explanations.registry import AUC, AUC_LOSS, GROUPS, Explanation, Unseen, register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHUFFLES = 32  # of each fold


def explain(unseen: Unseen) -> NDArray[np.float64]:
    """By person and part: the share of people with the other outcome that the model orders
    correctly (`placement_values`), less that after the part's columns, together, were shuffled
    among the held-out people (Breiman 2001, Mach Learn 45:5; without fitting again). The mean over
    SHUFFLES: with one, who is there would change it by chance more than the data does.
    """
    import numpy as np

    from analytics.evaluate import placement_values

    people, draw = len(unseen.test), np.random.default_rng(unseen.seed)
    placed = placement_values(unseen.model.predict(unseen.test), unseen.event)
    orders = [draw.permutation(people) for _ in range(SHUFFLES)]
    lost = []
    for part in range(int(unseen.parts.max()) + 1):
        columns = unseen.parts == part
        shuffled = np.tile(unseen.test, (SHUFFLES, 1))
        shuffled[:, columns] = unseen.test[np.concatenate(orders)][:, columns]
        predicted = unseen.model.predict(shuffled).reshape(SHUFFLES, people)
        after = [placement_values(scores, unseen.event) for scores in predicted]
        lost.append(placed - np.mean(after, axis=0))
    return np.column_stack(lost)


register(
    Explanation(
        name="permutation",
        shown="permutation importance, of all genes and of each clinical variable",
        says="How much AUC is lost when this part of the data is shuffled among the people the "
        "model was not fitted on; it is beyond chance where its 95 % interval (DeLong, of these "
        "predictions only) is above 0.",
        of=GROUPS,
        scale=AUC,
        background="shuffled",
        summary=AUC_LOSS,
        explain=explain,
    )
)
