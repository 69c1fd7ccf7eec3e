"""What the warehouse loads is found by its day: rows come in about that order, so BRIN will do."""

from alembic import op

revision = "0010"
down_revision = "0009"

DATED = {
    "users": "first_seen_at",
    "events": "local_date",
    "streak_chains": "ended_on",
    "point_entries": "occurred_at",
    "achievements": "completed_at",
    "notices": "at",
    "final_standings": "reached_at",
    "emails": "settled_at",
}


def upgrade() -> None:
    for table, column in DATED.items():
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], postgresql_using="brin")
