"""The tables of state from before there were migrations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    integer = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    hash_, account = sa.String(64), sa.String(42)
    op.create_table("pinned", sa.Column("identity", hash_, primary_key=True))
    op.create_table(
        "outbox",
        sa.Column("tx", hash_, primary_key=True),
        sa.Column("sender", account, nullable=False),
        sa.Column("nonce", integer, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
    )
    op.create_index("outbox_by_sender", "outbox", ["sender", "nonce"])
    op.create_table(
        "claims",
        sa.Column("run", hash_, primary_key=True),
        sa.Column("worker", hash_, nullable=False),
        sa.Column("token", integer, nullable=False),
        sa.Column("until", integer, nullable=False),
        sa.Column("failed", sa.Text, nullable=False),
    )
    op.create_table(
        "challenges",
        sa.Column("nonce", hash_, primary_key=True),
        sa.Column("expires", integer, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", hash_, primary_key=True),
        sa.Column("account", account, nullable=False),
        sa.Column("subject", hash_, nullable=False),
        sa.Column("expires", integer, nullable=False),
    )
    op.create_table(
        "approvals",
        sa.Column("run", hash_, primary_key=True),
        sa.Column("attempt", integer, primary_key=True),
        sa.Column("checker", account, primary_key=True),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("signature", sa.String(130), nullable=False),
        sa.Column("deadline", integer, nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("id", integer, primary_key=True),
        sa.Column("run", hash_, nullable=False),
        sa.Column("attempt", integer, nullable=False),
        sa.Column("step", sa.String(40), nullable=False),
        sa.Column("fraction", integer, nullable=False),
        sa.Column("at", integer, nullable=False),
    )
    op.create_index("ix_progress_run", "progress", ["run"])
    op.create_table(
        "marks",
        sa.Column("name", sa.String(160), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "run_records",
        sa.Column("run", hash_, primary_key=True),
        sa.Column("attempt", integer, primary_key=True),
        sa.Column("record", sa.Text, nullable=False),
    )
