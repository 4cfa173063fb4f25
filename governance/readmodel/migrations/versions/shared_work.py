"""What people share beside the ledger: names, comments, orders to sign, invitations; notices."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    integer = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    hash_, account = sa.String(64), sa.String(42)
    op.create_table(
        "supplements",
        sa.Column("dataset", hash_, primary_key=True),
        sa.Column("kind", sa.String(12), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("at", integer, nullable=False),
    )
    op.create_table(
        "comments",
        sa.Column("id", integer, primary_key=True),
        sa.Column("run", hash_, nullable=False),
        sa.Column("attempt", integer, nullable=False),
        sa.Column("account", account, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", integer, nullable=False),
    )
    op.create_index("ix_comments_run", "comments", ["run"])
    op.create_table(
        "orders",
        sa.Column("digest", hash_, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("signatures", sa.Text, nullable=False),
        sa.Column("by", account, nullable=False),
        sa.Column("at", integer, nullable=False),
        sa.Column("deadline", integer, nullable=False),
        sa.Column("done", hash_, nullable=False),
    )
    op.create_table(
        "invitations",
        sa.Column("digest", hash_, primary_key=True),
        sa.Column("subject", hash_, nullable=False),
        sa.Column("enrolment", sa.Text, nullable=False),
        sa.Column("signature", sa.String(130), nullable=False),
        sa.Column("by", account, nullable=False),
        sa.Column("at", integer, nullable=False),
        sa.Column("deadline", integer, nullable=False),
    )
    op.create_index("ix_invitations_subject", "invitations", ["subject"])
    op.create_index("ix_invitations_by", "invitations", ["by"])
    op.create_table(
        "names",
        sa.Column("account", account, primary_key=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("institution", sa.String(120), nullable=False),
        sa.Column("compared", sa.String(320), nullable=False, unique=True),
        sa.Column("by", account, nullable=False),
        sa.Column("at", integer, nullable=False),
    )
    _make_notices(integer, hash_)


def _make_notices(integer: sa.types.TypeEngine[int], hash_: sa.String) -> None:
    who, kind = sa.String(64), sa.String(24)
    op.create_table(
        "notices",
        sa.Column("id", hash_, primary_key=True),
        sa.Column("origin", hash_, nullable=False),
        sa.Column("recipient", who, nullable=False),
        sa.Column("kind", kind, nullable=False),
        sa.Column("about", hash_, nullable=False),
        sa.Column("at", integer, nullable=False),
        sa.Column("read", integer, nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
    )
    op.create_index("notices_by_recipient", "notices", ["recipient", "at"])
    op.create_index("notices_unread", "notices", ["recipient", "read"])
    op.create_index("notices_by_time", "notices", ["at"])
    op.create_index("notices_unplanned", "notices", ["planned"])
    op.create_table(
        "notice_cursor",
        sa.Column("name", sa.String(8), primary_key=True),
        sa.Column("block", integer, nullable=False),
        sa.Column("position", integer, nullable=False),
    )
    op.create_table(
        "reminders",
        sa.Column("id", hash_, primary_key=True),
        sa.Column("recipient", who, nullable=False),
        sa.Column("kind", kind, nullable=False),
        sa.Column("about", hash_, nullable=False),
        sa.Column("since", integer, nullable=False),
        sa.Column("due", integer, nullable=False),
    )
    op.create_index("reminders_due", "reminders", ["due"])
    op.create_table(
        "deliveries",
        sa.Column("channel", sa.String(8), primary_key=True),
        sa.Column("name", hash_, primary_key=True),
        sa.Column("reference", hash_, nullable=False),
        sa.Column("recipient", who, nullable=False),
        sa.Column("kind", kind, nullable=False),
        sa.Column("about", hash_, nullable=False),
        sa.Column("at", integer, nullable=False),
        sa.Column("attempts", integer, nullable=False),
        sa.Column("next_at", integer, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
    )
    op.create_index("deliveries_due", "deliveries", ["channel", "state", "next_at"])
    op.create_index("deliveries_by_recipient", "deliveries", ["recipient", "state"])
    op.create_index("deliveries_by_time", "deliveries", ["at"])
    op.create_table(
        "mail_addresses",
        sa.Column("recipient", who, primary_key=True),
        sa.Column("address", sa.String(254), nullable=False),
        sa.Column("pending", sa.String(254), nullable=False),
        sa.Column("token_hash", hash_, nullable=False),
        sa.Column("until", integer, nullable=False),
        sa.Column("asked_on", integer, nullable=False),
        sa.Column("asked", integer, nullable=False),
    )
    op.create_index("ix_mail_addresses_token_hash", "mail_addresses", ["token_hash"])
