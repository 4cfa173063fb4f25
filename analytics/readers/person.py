"""One person of a research or simulated cohort, written as payloads for any subject id."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.readers.expression import write_expression
from analytics.readers.observations import Findings, write_observations


@dataclass(frozen=True, slots=True)
class Person:
    """`ordinal` counts from 0 in row order: the sample ids of the source are never used.

    `values`: (probe, log2 value as decimal string), `findings`: clinical findings.
    """

    ordinal: int
    values: tuple[tuple[str, str], ...]
    findings: Findings

    def expression(self, subject: str) -> bytes:
        """Category 6 payload. `subject` is unused: the envelope names it, not the format."""
        return write_expression(dict(self.values))

    def observations(self, subject: str) -> bytes:
        """Category 2 payload about `subject` (64 lower-case hexadecimal characters)."""
        return write_observations(self.findings, subject)
