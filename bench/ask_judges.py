"""Run by bench/judges.py in the judges' own environment: reads what is asked, writes what they say."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_text())
    with contextlib.redirect_stdout(io.StringIO()):  # both print every step
        verdict = {
            "acro": importlib.metadata.version("acro"),
            "sacroml": importlib.metadata.version("sacroml"),
            "suppressed": _suppressed(asked["strata"]),
            "auc": {name: _attack(*parts) for name, parts in asked["answers"].items()}
            | {"a random forest, if it left": _attack(*asked["model"])},
        }
    Path(sys.argv[2]).write_text(json.dumps(verdict))


def _suppressed(rows: list[list[object]]) -> list[tuple[int, str]]:
    """The strata of which ACRO suppresses a cell: (cohort, stratum)."""
    from acro import ACRO

    session = ACRO(suppress=True)
    table = pd.DataFrame(rows, columns=["cohort", "stratum", "event"])
    suppressed = []
    for cohort, people in table.groupby("cohort"):
        shown = session.crosstab(people["stratum"], people["event"])
        for stratum in sorted(set(people["stratum"])):
            complete = stratum in shown.index and not shown.loc[stratum].isna().any()
            if not complete:
                suppressed.append((int(cohort), str(stratum)))
    return suppressed


def _attack(inside: list[list[float]], outside: list[list[float]]) -> float:
    """The mean AUC of SACRO-ML's worst case attack, which learns from both."""
    from sacroml.attacks.target import Target
    from sacroml.attacks.worst_case_attack import WorstCaseAttack

    target = Target(proba_train=np.array(inside), proba_test=np.array(outside))
    attack = WorstCaseAttack(
        output_dir=str(Path(sys.argv[2]).parent), n_reps=10, write_report=False, sort_probs=False
    )
    attack.attack(target)
    return float(np.mean([metrics["AUC"] for metrics in attack.attack_metrics]))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    main()
