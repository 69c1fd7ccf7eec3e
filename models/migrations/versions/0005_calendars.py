"""What is due is computed anew when the time zones change."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ID = sa.Text(collation="C")


def upgrade() -> None:
    op.create_table(
        "calendars",
        sa.Column("version", ID, nullable=False),
        sa.Column("done_until", ID, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_calendars")),
    )
