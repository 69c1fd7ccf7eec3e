"""Ledgers whose older events have left for the warehouse."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ID = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("closed_until", INSTANT, nullable=True))
    op.create_table(
        "openings",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_openings")),
    )
    op.create_table(
        "closed_keys",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_closed_keys")),
    )
    op.create_table(
        "closed_days",
        sa.Column("local_date", sa.Date(), nullable=False),
        sa.Column("metric", ID, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Numeric(20, 4), nullable=False),
        sa.PrimaryKeyConstraint("local_date", "metric", name=op.f("pk_closed_days")),
    )
