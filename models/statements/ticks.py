"""Ticks: which slot of the timetable was run, so that each is run once."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from models.tables import tick_runs

KEPT = timedelta(days=1)
"""A message about an older slot has long been answered by later ones."""

_CLAIM = insert(tick_runs).on_conflict_do_nothing().returning(tick_runs.c.slot)
_FORGET = delete(tick_runs).where(
    tick_runs.c.tick == bindparam("tick"), tick_runs.c.slot < bindparam("before")
)
_LAST = select(tick_runs.c.tick, func.max(tick_runs.c.ran_at).label("ran_at")).group_by(
    tick_runs.c.tick
)


def claim_slot(connection: Connection, tick: str, slot: datetime) -> bool:
    """Tell whether the slot is ours: nobody ran it, and nobody will if this transaction commits."""
    claimed = connection.execute(_CLAIM, {"tick": tick, "slot": slot}).first() is not None
    if claimed:
        connection.execute(_FORGET, {"tick": tick, "before": slot - KEPT})
    return claimed


def read_last_runs(connection: Connection) -> dict[str, datetime]:
    """Return when each tick ran last, of those that ever did."""
    return {row.tick: row.ran_at for row in connection.execute(_LAST)}
