"""When time will next change each user, as a column: sweeps look for those who are due."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("due_at", INSTANT, nullable=True))
    op.add_column("users", sa.Column("quiet_until", INSTANT, nullable=True))
    # Nobody was told of anything so far, and what is long past is no news.
    op.execute(
        "update users set due_at = (state::jsonb ->> 'due_at')::timestamptz, quiet_until = now()"
    )
    op.create_index(
        op.f("ix_users_due_at"),
        "users",
        ["due_at"],
        postgresql_where=sa.text("due_at is not null"),
    )
