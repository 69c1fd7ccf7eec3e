"""How far everyone follows a version of tzdata."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from models.tables import calendars

_ADD = insert(calendars).values(done_until="").on_conflict_do_nothing()
_NEWEST = select(func.max(calendars.c.version))
_LOCK = (
    select(calendars.c.done_until)
    .where(calendars.c.version == bindparam("version"), calendars.c.finished_at.is_(None))
    .with_for_update(skip_locked=True)
)
_PUT = (
    update(calendars)
    .where(calendars.c.version == bindparam("of_version"))
    .values(done_until=bindparam("until"), finished_at=bindparam("finished"))
)


def lock_calendar(connection: Connection, version: str) -> str | None:
    """Lock a version and return up to which user it is done.

    None where there is nothing to do: it is done for all, somebody else is at it, or there is a
    newer one, which a process that is not upgraded yet must not undo.
    """
    newest: str = connection.execute(_NEWEST).scalar_one() or ""
    if version < newest:
        return None
    if version > newest:
        connection.execute(_ADD, {"version": version})
    done_until: str | None = connection.execute(_LOCK, {"version": version}).scalar_one_or_none()
    return done_until


def put_calendar(
    connection: Connection, version: str, done_until: str, finished_at: datetime | None
) -> None:
    """Note up to which user a version is done, and when it is for all."""
    asked = {"of_version": version, "until": done_until, "finished": finished_at}
    connection.execute(_PUT, asked)
