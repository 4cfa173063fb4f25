"""Names of accounts: what a member of the committee said an account is called, and where it works.

The ledger knows addresses only. A name is this service's word about one: it is shown beside the
address wherever something is decided, and no rule reads it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from chain.vocabulary import Role
from governance.documents import check_readable
from governance.errors import NotAllowed, RequestInvalid
from governance.readmodel.database import upsert
from governance.readmodel.tables import Name
from governance.rules.replayed import ReplayedState
from governance.sessions import Caller

LONGEST_NAME, LONGEST_INSTITUTION = 80, 120  # characters
MOST_AHEAD = 200  # accounts without a role that one member named


def set_name(
    engine: Engine,
    replayed: ReplayedState,
    caller: Caller,
    account: str,
    name: str,
    institution: str,
    now: int,
) -> Name:
    """Keep the name of an account, also before it has a role. Another account's name is refused.

    `caller` signed in; the replayed state is at the newest head. Raises NotAllowed, RequestInvalid.
    """
    if caller.role != Role.COMMITTEE:
        raise NotAllowed(
            "only a member of the committee names accounts", "ask a member of the committee"
        )
    if bytes.fromhex(account[2:]) not in replayed.members:
        _check_ahead(engine, replayed, caller, account)
    name, institution = " ".join(name.split()), " ".join(institution.split())
    name = unicodedata.normalize("NFC", name)
    if not _compared(name) or len(name) > LONGEST_NAME or len(institution) > LONGEST_INSTITUTION:
        raise RequestInvalid(
            f"a name has 1 to {LONGEST_NAME} characters, an institution at most "
            f"{LONGEST_INSTITUTION}",
            "shorten it",
        )
    _check_writing(name + " " + institution)
    row = Name(
        account=account,
        name=name,
        institution=institution,
        compared=_compared(name),
        by=caller.account,
        at=now,
    )
    try:
        with engine.begin() as connection:
            upsert(connection, Name, [row])
    except IntegrityError:
        raise RequestInvalid(
            "another account has this name, so people could confuse the two",
            "add what tells them apart, e.g. a middle name",
        ) from None
    return row


def _check_ahead(engine: Engine, replayed: ReplayedState, caller: Caller, account: str) -> None:
    """Raise RequestInvalid unless an account without a role may be named."""
    if bytes.fromhex(account[2:]) in replayed.signers.values():
        # Else everybody could read who takes part.
        raise RequestInvalid(
            "this is the account of a person whose data are here, who is not named", "check it"
        )
    query = select(Name.account).where(Name.by == caller.account, Name.account != account)
    with engine.connect() as connection:
        given = connection.execute(query).scalars().all()
    ahead = [named for named in given if bytes.fromhex(named[2:]) not in replayed.members]
    if len(ahead) >= MOST_AHEAD:
        raise RequestInvalid(
            f"you named {MOST_AHEAD} accounts that have no role", "give them their roles first"
        )


def list_names(engine: Engine, after: str, limit: int) -> list[Name]:
    """At most `limit` names by account, after the account `after`."""
    query = select(Name).where(Name.account > after).order_by(Name.account).limit(limit)
    with engine.connect() as connection:
        return [Name(**row._mapping) for row in connection.execute(query)]


def names_of(engine: Engine, accounts: Collection[str]) -> dict[str, Name]:
    """The names of these accounts, as far as they have one."""
    query = select(Name).where(Name.account.in_(accounts))
    with engine.connect() as connection:
        return {row.account: Name(**row._mapping) for row in connection.execute(query)}


def _check_writing(text: str) -> None:
    """Raise RequestInvalid for what looks like something else: unseen characters, and words of
    letters from two scripts.
    """
    check_readable(text, "the name")
    for word in text.split():
        scripts = {unicodedata.name(c, "?").split()[0] for c in word if c.isalpha()}
        if len(scripts) > 1 or any(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in word):
            raise RequestInvalid(
                "a word of the name mixes scripts, or has marks that stand alone",
                "write each word in one script, with ready-made letters",
            )


def _compared(name: str) -> str:
    """Two names that look alike are the same: letter cases, wide letters, accents, spaces and signs
    do not count.
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in plain if character.isalnum())
