"""Released association scans as GWAS-SSF 1.1, the GWAS Catalog's format of summary statistics: a
table (TSV) and a file of metadata (YAML) beside it.

Only what was released is in it. A scan releases z, so `z-score` is the effect column, which the
standard allows since 1.1; standard error and allele frequency would be further statistics of the
cohort, and are #NA. https://github.com/EBISPOT/gwas-summary-statistics-standard
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from api.errors import UsageError

# The eight mandatory columns stand first and in this order.
COLUMNS = (
    *("chromosome", "base_pair_location", "effect_allele", "other_allele", "z-score"),
    *("standard_error", "effect_allele_frequency", "p_value", "variant_id", "rsid", "ref_allele"),
)
WITHHELD = "#NA"
# Of the sentence about rounding, which the table's readers need as well.
_NOTES = (
    "Governed release: only the variants with the largest |z|, z rounded until at least 5 tables of "
    "genotypes and outcomes fit, p of this rounded z, counts rounded to 5. Columns without a "
    "released value are #NA. z within 2 is of the score test, further out of its saddlepoint p."
)


def write_gwas_ssf(result: Mapping[str, Any], table: Path) -> Path:
    """Write the table of a released association scan, and beside it its metadata, whose path is
    returned: TABLE-meta.yaml. Raises UsageError for another result or another file name.
    """
    if result.get("analysis") != "associate":
        raise UsageError(
            "this result is not an association scan",
            "only a run with the analysis associate has summary statistics",
        )
    if table.suffix != ".tsv":
        raise UsageError("the table's name does not end in .tsv", "e.g. --gwas-ssf scan.tsv")
    text = table_of(result).encode()
    described = table.with_name(f"{table.name}-meta.yaml")
    today = datetime.now(UTC).date()
    table.write_bytes(text)
    described.write_text(
        metadata_of(
            result, table.name, hashlib.md5(text, usedforsecurity=False).hexdigest(), today
        ),
        encoding="utf-8",
    )
    return described


def table_of(result: Mapping[str, Any]) -> str:
    """The table, by chromosome and position. ALT is the effect allele, as in the scan."""
    rows = []
    for row in result["rows"]:
        chromosome, position, alleles = row["variant"].split(":")
        reference, alternate = alleles.split(">")
        name = f"{chromosome}_{position}_{reference}_{alternate}"
        order = (int(chromosome), int(position), reference, alternate)
        cells = [chromosome, position, alternate, reference, row["z"], WITHHELD, WITHHELD, row["p"]]
        rows.append((order, [*cells, name, WITHHELD, "OA"]))
    lines = [COLUMNS, *(cells for _, cells in sorted(rows))]
    return "".join("\t".join(line) + "\n" for line in lines)


def _trait(outcome: Mapping[str, Any]) -> str:
    if "variable" in outcome:
        return str(outcome["variable"])
    return f"{outcome['kind']} within {outcome['horizon_days']} days"


def metadata_of(result: Mapping[str, Any], name: str, md5: str, today: date) -> str:
    """The metadata as YAML; what was not released, or is not known here, is left out."""
    outcome = result["outcome"]
    sample: dict[str, Any] = {"case_control_study": "events" in result}
    if "people" in result:
        sample["sample_size"] = result["people"]
    if "events" in result:
        sample["case_count"] = result["events"]
    if {"people", "events"} <= set(result):
        sample["control_count"] = result["people"] - result["events"]
    ancestry = [f"ancestry component {n + 1}" for n in range(result.get("components", 0))]
    fields: dict[str, Any] = {
        "author_notes": _NOTES,
        "trait_description": [_trait(outcome)],
        "genome_assembly": result.get("build", "NR"),
        "coordinate_system": "1-based",
        "samples": [sample],
        "data_file_name": name,
        "file_type": "GWAS-SSF v1.1",
        "data_file_md5sum": md5,
        "analysis_software": "volens",
        "adjusted_covariates": [*result["covariates"], *ancestry],
        "is_harmonised": False,
        "is_sorted": True,
    }
    # JSON is YAML; only a date is none of JSON's types.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join([*lines[:1], f"date_metadata_last_modified: {today}", *lines[1:]]) + "\n"
