"""What the service lists, as small frozen records with names of ours, and lists of them with a
frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from governance.consent import names_of
from governance.permits import OUTPUT_NAMES
from volens import markup
from volens.frames import typed_frame

if TYPE_CHECKING:
    import pandas as pd

_LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a list."""

    def frame(self) -> pd.DataFrame:
        return Rows(type(self), [self]).frame()

    def _repr_html_(self) -> str:
        return markup.facts({name: getattr(self, name) for name in _types(type(self))})


R = TypeVar("R", bound=Row)


class Rows(list[R], Generic[R]):
    """A list of rows of one kind; `frame()` gives a DataFrame with times in UTC."""

    def __init__(self, kind: type[R], rows: Iterable[R]) -> None:
        super().__init__(rows)
        self._kind = kind

    def frame(self) -> pd.DataFrame:
        return typed_frame([asdict(row) for row in self], _types(self._kind))

    def _repr_html_(self) -> str:
        names = list(_types(self._kind))
        cells = [[getattr(row, name) for name in names] for row in self]
        return markup.table(names, cells, ".frame()")


@dataclass(frozen=True, slots=True)
class Dataset(Row):
    """`document`: sha256 of the text that describes it."""

    dataset: str
    custodian: str
    document: str
    records: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Dataset:
        return cls(**{name: entry[name] for name in _types(cls)})


@dataclass(frozen=True, slots=True)
class Permit(Row):
    """A request for a permit, and what the committee made of it.

    questions: how many different ones its runs may ask; asked: how many they have.
    """

    permit: str
    status: str
    dataset: str
    applicant: str
    expiry: datetime | None
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    outputs: tuple[str, ...]
    min_cohort: int
    questions: int
    asked: int
    yes: int
    no: int
    code_hash: str
    document_hash: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Permit:
        return cls(
            permit=entry["permit"],
            status=entry["status"],
            dataset=entry["dataset"],
            applicant=entry["applicant"],
            expiry=moment(entry["expiry"]),
            purposes=tuple(entry["purposes"]),
            categories=tuple(entry["categories"]),
            outputs=tuple(names_of(entry["outputClasses"], OUTPUT_NAMES)),
            min_cohort=entry["minCohort"],
            questions=entry["questions"],
            asked=entry["asked"],
            yes=entry["yes"],
            no=entry["no"],
            code_hash=entry["codeHash"],
            document_hash=entry["documentHash"],
        )


@dataclass(frozen=True, slots=True)
class RunSummary(Row):
    """`reason`: why it was refused; `block`: of the ledger, where it was requested."""

    run: str
    permit: str
    analyst: str
    state: str
    reason: str | None
    attempt: int
    block: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> RunSummary:
        plain = {name: entry[name] for name in _types(cls) if name != "reason"}
        return cls(**plain, reason=_sentence(entry["reason"]))


@dataclass(frozen=True, slots=True)
class Access(Row):
    """One request for a person's data: who, what for, and the ledger's decision."""

    time: datetime | None
    granted: bool
    reason: str | None
    state: str
    run: str
    attempt: int
    analyst: str
    permit: str
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    block: int
    tx: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Access:
        changed = {"time", "reason", "purposes", "categories"}
        return cls(
            **{name: entry[name] for name in _types(cls) if name not in changed},
            time=moment(entry["time"]),
            reason=_sentence(entry["reason"]),
            purposes=tuple(entry["purposes"]),
            categories=tuple(entry["categories"]),
        )


@dataclass(frozen=True, slots=True)
class TrailHead(Row):
    """The newest step of the trail; `witnessed`: a key broker signed it."""

    count: int
    head: str
    time: datetime | None
    block: int
    block_hash: str
    witnessed: bool

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> TrailHead:
        return cls(
            count=entry["count"],
            head=entry["head"],
            time=moment(entry["time"]),
            block=entry["block"],
            block_hash=entry["blockHash"],
            witnessed=entry["witness"] is not None,
        )


def moment(seconds: int) -> datetime | None:
    """A ledger's time; None for one that no calendar has, such as the end of what never ends."""
    return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < _LATEST else None


def _types(kind: type[Row]) -> dict[str, str]:
    return {field.name: str(field.type) for field in fields(kind)}


def _sentence(reason: Mapping[str, Any] | None) -> str | None:
    return None if reason is None else str(reason["sentence"])
