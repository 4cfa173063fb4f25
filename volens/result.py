"""Results: released ones, opened and checked on this machine, and those of a rehearsal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.client.gwas_ssf import write_gwas_ssf
from api.client.renamed_keys import with_current_keys
from api.client.results import Released, shown
from volens import markup
from volens.frames import metrics_frame

if TYPE_CHECKING:
    import pandas as pd

_FIRST = ("model", "feature_set", "variant", "stratum", "days", "auc", "auc_low", "auc_high", "p")
_CURVES = ("model", "feature_set", "curve", "x", "y")


class Outcome:
    """A result and its disclosure record. `raw` is the result as it was sealed."""

    def __init__(self, raw: Mapping[str, Any], disclosure: Mapping[str, Any]) -> None:
        self.raw = dict(raw)
        self.disclosure = dict(disclosure)

    def metrics(self) -> pd.DataFrame:
        """A row for each model on each feature set (or each variant, or each time of each survival
        curve): AUC with the ends of its interval, p of the permutation control, and the other
        metrics; NaN where one was withheld.
        """
        return metrics_frame(self._rows(), _FIRST)

    def curves(self) -> pd.DataFrame:
        """The points of every curve, percent: `roc` (false alarms, found), `calibration`
        (predicted, seen), `quantiles` (expected, observed −log10 p).
        """
        result = with_current_keys(self.raw)
        points: list[dict[str, Any]] = []
        for curve in result.get("curves", []):
            of = {"model": curve["model"], "feature_set": curve["feature_set"]}
            points += _points(of | {"curve": "roc"}, curve.get("roc", []))
            groups = curve.get("calibration", {}).get("groups", [])
            points += _points(of | {"curve": "calibration"}, groups)
        points += _points({"curve": "quantiles"}, result.get("quantiles", []))
        return metrics_frame(points, _CURVES)

    def strata(self) -> pd.DataFrame:
        """A row for each survival curve: risk at the horizon and median with their intervals, how
        many people, events and censored; NaN where one was withheld.
        """
        return metrics_frame(self.raw.get("strata", []), ("stratum", "risk", "median"))

    def clusters(self) -> pd.DataFrame:
        """A row for each cluster: how often it comes again (percent), and of a described one its
        people, events and share with the outcome; NaN where one was withheld.
        """
        rows = self.raw.get("rows", []) if self.raw.get("analysis") == "clusters" else []
        return metrics_frame(rows, ("cluster", "people", "stability", "share", "low", "high"))

    def profiles(self) -> pd.DataFrame:
        """A row for each column in which a cluster differs from everybody: its mean, in standard
        deviations.
        """
        return metrics_frame(self.raw.get("profiles", []), ("cluster", "feature", "mean"))

    def explanations(self) -> pd.DataFrame:
        """A row for each explained part of the data: by which explanation of which model, its
        importance, and the direction of a column or whether a loss of AUC is beyond chance.
        """
        rows = []
        for entry in self.raw.get("explanations", []):
            of = {name: entry[name] for name in ("explanation", "model", "feature_set", "scale")}
            rows += [of | row for row in entry["features"]]
        return metrics_frame(rows, ("explanation", "feature", "importance"))

    def fairness(self) -> pd.DataFrame:
        """A row for each group and measure (auc, tpr, fpr): the difference from the largest group
        with its interval, and what that shows; NaN where there are too few people to tell.
        """
        rows = [
            {"by": compared["by"], "versus": compared["reference"]} | row
            for compared in self.raw.get("fairness", [])
            for row in compared["gaps"]
        ]
        return metrics_frame(rows, ("by", "group", "versus", "measure", "gap", "low", "high"))

    def withheld(self) -> list[str]:
        """What did not leave, and why."""
        return [f"{item['what']}: {item['why']}" for item in self.disclosure.get("withheld", [])]

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = with_current_keys(self.raw).get("rows", [])
        return rows

    def _repr_html_(self) -> str:
        rows = self._rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[row.get(name, "withheld") for name in names] for row in rows]
        return markup.table(names, cells, ".metrics()", str(self.raw.get("analysis", "")))


class Result(Outcome):
    """A released result: opened with the key of its request, and equal to what the ledger says was
    sealed.
    """

    def __init__(self, released: Released) -> None:
        self._shown = shown(released.opened)
        super().__init__(self._shown["result"], self._shown["disclosure"])
        self.receipt_file, self.witnessed = released.receipt, released.witnessed

    def save(self, path: Path | str) -> Path:
        """Write it as `volens result open --out` does; the run's page can check such a file."""
        into = Path(path)
        text = json.dumps(self._shown, ensure_ascii=False, indent=1)
        into.write_text(text + "\n", encoding="utf-8")
        return into

    def save_gwas_ssf(self, path: Path | str) -> Path:
        """Write an association scan as GWAS-SSF 1.1, as `volens result open --gwas-ssf` does: a
        .tsv, and beside it its metadata, whose path is returned.
        """
        return write_gwas_ssf(self.raw, Path(path))

    def receipt(self) -> dict[str, Any]:
        """The run's receipt, for an auditor: `volens verify trail.json --receipt FILE`."""
        receipt: dict[str, Any] = json.loads(self.receipt_file.read_bytes())
        return receipt

    def __repr__(self) -> str:
        return f"<Result: {self.raw.get('analysis')}, {len(self._rows())} rows>"


class Rehearsal(Outcome):
    """A run on synthetic people: its numbers mean nothing, its seconds and its form do."""

    def __init__(self, done: Mapping[str, Any]) -> None:
        super().__init__(json.loads(done["result"]), json.loads(done["disclosure"]))
        self.note = str(done["note"])
        self.record = dict(done["record"])

    @property
    def seconds(self) -> float:
        return sum(float(spent) for spent in self.record["seconds"].values())

    def __repr__(self) -> str:
        return f"<Rehearsal: {self.raw.get('analysis')}, {self.seconds:.1f} s>"


def _points(of: Mapping[str, Any], points: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    return [{**of, "x": x, "y": y} for x, y in points]
