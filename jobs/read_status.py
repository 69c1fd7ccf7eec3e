"""How far everything is: what was applied, set aside, given up, and what waits to be projected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from models.statements import (
    backfills,
    boards,
    emails,
    events,
    loads,
    messages,
    openings,
    programs,
    ticks,
)
from models.statements.backfills import Backfill
from models.statements.emails import EmailState
from models.statements.events import Outcome
from models.statements.loads import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What Postgres knows, `since` the first program was applied.

    `rankings_waiting` counts batches, once for each board they touched; the oldest was committed
    about `rankings_waiting_since`. `closed_events` have left Postgres for the warehouse;
    `emails_due` wait although it is their time; `backfills` have not ended, or a short while ago.
    """

    since: datetime | None
    outcomes: Mapping[Outcome, int]
    dead_messages: int
    rankings_waiting: int
    rankings_waiting_since: datetime | None
    last_ticks: Mapping[str, datetime]
    warehouse: Waiting
    closed_events: int
    emails: Mapping[EmailState, int]
    emails_due: int
    backfills: Sequence[Backfill]


def read_progress(engine: Engine, now: datetime) -> Progress:
    """Read how far everything is. Raises what SQLAlchemy raises."""
    with engine.connect() as connection:
        return Progress(
            since=programs.read_first_applied(connection),
            outcomes=events.read_counts(connection),
            dead_messages=messages.count_dead_messages(connection),
            rankings_waiting=boards.count_touches(connection),
            rankings_waiting_since=boards.read_oldest_touch(connection),
            last_ticks=ticks.read_last_runs(connection),
            warehouse=loads.read_waiting(connection),
            closed_events=openings.count_closed(connection),
            emails=emails.count_emails(connection),
            emails_due=emails.count_due(connection, now),
            backfills=backfills.list_shown(connection, now),
        )
