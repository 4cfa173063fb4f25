"""Whom patients appointed for their care; runs name the patient of a plan (a derived table)."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    hash_ = sa.String(64)
    op.create_table(
        "appointed_clinicians",
        sa.Column("dataset", hash_, primary_key=True),
        sa.Column("subject", hash_, primary_key=True),
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("clinician", sa.String(42), nullable=False),
        sa.Column("salt", hash_, nullable=False),
    )
    op.create_index("ix_appointed_clinicians_clinician", "appointed_clinicians", ["clinician"])
