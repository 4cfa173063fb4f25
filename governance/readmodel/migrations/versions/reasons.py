"""Reasons that members give beside votes, suspensions and orders."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "reasons",
        sa.Column("about", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(42), primary_key=True),
        sa.Column("act", sa.String(8), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
    )
