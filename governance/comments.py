"""Comments of output checkers on an attempt's output, for each other.

The analyst never sees them: a comment may quote what must not leave. She gets the reason that the
ledger records.
"""

from __future__ import annotations

from sqlalchemy import Engine, func, insert, select

from governance.documents import check_readable
from governance.errors import RequestInvalid
from governance.readmodel.tables import Comment

LONGEST = 2000  # characters
MOST = 100  # comments on one run


def add_comment(engine: Engine, run: str, attempt: int, account: str, text: str, now: int) -> None:
    """Keep a comment; the caller MUST have checked that the account is a checker's.

    Raises RequestInvalid.
    """
    text = checked_text(text, "a comment")
    with engine.begin() as connection:
        count = select(func.count()).select_from(Comment).where(Comment.run == run)
        if connection.execute(count).scalar_one() >= MOST:
            raise RequestInvalid("there are too many comments on this run", "talk to each other")
        connection.execute(
            insert(Comment).values(run=run, attempt=attempt, account=account, text=text, at=now)
        )


def comments_on(engine: Engine, run: str) -> list[Comment]:
    """Oldest first."""
    query = select(Comment.run, Comment.attempt, Comment.account, Comment.text, Comment.at).where(
        Comment.run == run
    )
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(Comment.id).limit(MOST))
        return [Comment(**row._mapping) for row in rows]


def checked_text(text: str, what: str) -> str:
    """A person's plain text of bounded length, as it is kept and shown. Raises RequestInvalid."""
    text = text.replace("\r\n", "\n").strip()
    if not 0 < len(text) <= LONGEST:
        raise RequestInvalid(f"{what} has 1 to {LONGEST} characters", "write less, or something")
    check_readable(text.replace("\n", ""), what)
    return text
