"""What a custodian adds to a dataset's description: its dictionary, its assays and files of gene
sets, and the report of the last ingest.

They are the custodian's word and not on the ledger: they are made when records come in, long after
the description was signed. The report is for the custodian alone, the others for everybody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import Engine, select

from chain.vocabulary import Role
from governance.errors import NotAllowed, NotFound
from governance.readmodel.database import upsert
from governance.readmodel.tables import Supplement
from governance.rules.encoding import strict_json
from governance.rules.replayed import ReplayedState
from governance.sessions import Caller

Kind = Literal["dictionary", "features", "report"]


def put(
    engine: Engine,
    replayed: ReplayedState,
    caller: Caller,
    dataset: str,
    kind: Kind,
    content: Mapping[str, Any],
    now: int,
) -> None:
    """Keep what the dataset's custodian says, in place of what was there.

    Raises NotFound, NotAllowed.
    """
    check_custodian(replayed, caller, dataset)
    text = json.dumps(dict(content), sort_keys=True)
    with engine.begin() as connection:
        upsert(
            connection, Supplement, [Supplement(dataset=dataset, kind=kind, content=text, at=now)]
        )


def find(engine: Engine, dataset: str, kind: Kind) -> dict[str, Any] | None:
    """What the custodian said last, None if nothing."""
    query = select(Supplement.content).where(Supplement.dataset == dataset, Supplement.kind == kind)
    with engine.connect() as connection:
        text = connection.execute(query).scalar_one_or_none()
    content: Any = None if text is None else strict_json(text.encode())
    return content if isinstance(content, dict) else None


def names_gene_sets(engine: Engine, dataset: str, digest: str) -> bool:
    """Whether a file of gene sets with this sha256 is one of the dataset's."""
    features = find(engine, dataset, "features") or {}
    return any(row.get("sha256") == digest for row in features.get("sets", ()))


def check_custodian(replayed: ReplayedState, caller: Caller, dataset: str) -> None:
    """Raise NotFound for an unknown dataset, NotAllowed for anybody but its live custodian."""
    custodian = replayed.datasets.get(bytes.fromhex(dataset))
    if custodian is None:
        raise NotFound("there is no such dataset", "look at the list of datasets")
    if caller.role != Role.CUSTODIAN or custodian != bytes.fromhex(caller.account[2:]):
        raise NotAllowed("this is for the dataset's custodian", "sign in with that key")
