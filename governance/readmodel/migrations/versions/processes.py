"""Signs of life of several workers and API processes; the shape of the derived tables."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    integer = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "processes",
        sa.Column("account", sa.String(42), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("instance", sa.String(32), nullable=False),
        sa.Column("at", integer, nullable=False),
        sa.Column("block", integer, nullable=True),
        sa.Column("newest", integer, nullable=True),
    )
    op.create_table("derived_schema", sa.Column("fingerprint", sa.String(64), primary_key=True))
