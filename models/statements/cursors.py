"""Cursors: how far somebody has come who goes through something in order, once."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from models.tables import cursors

_LOCK_CURSOR = (
    select(cursors.c.position).where(cursors.c.reader == bindparam("reader")).with_for_update()
)
_BEGIN_CURSOR = insert(cursors).values(position=0).on_conflict_do_nothing()
_MOVE_CURSOR = (
    update(cursors)
    .where(cursors.c.reader == bindparam("of_reader"))
    .values(position=bindparam("to_position"))
)


def lock_cursor(connection: Connection, reader: str) -> int:
    """Return how far a reader has come, from 0; others who ask wait for the transaction's end."""
    asked = {"reader": reader}
    found = connection.execute(_LOCK_CURSOR, asked).scalar()
    if found is None:
        connection.execute(_BEGIN_CURSOR, asked)
        found = connection.execute(_LOCK_CURSOR, asked).scalar_one()
    return int(found)


def move_cursor(connection: Connection, reader: str, position: int) -> None:
    """Keep how far a reader has come."""
    connection.execute(_MOVE_CURSOR, {"of_reader": reader, "to_position": position})
