"""One person of a research or simulated cohort, able to write the two record payloads under any subject
id."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.readers.expression import write_expression
from analytics.readers.observations import Findings, write_observations


@dataclass(frozen=True, slots=True)
class Person:
    """`ordinal` counts from 0 in the source's row order: the source's own sample ids are never used.

    `values`: (probe, log2 value as decimal string), `findings`: clinical findings.
    """

    ordinal: int
    values: tuple[tuple[str, str], ...]
    findings: Findings

    def expression(self, subject: str) -> bytes:
        """Category 6 payload. The format names no subject, the envelope does; taken so that both calls look
        alike."""
        return write_expression(dict(self.values))

    def observations(self, subject: str) -> bytes:
        """Category 2 payload about `subject` (64 lower-case hexadecimal characters)."""
        return write_observations(self.findings, subject)
