"""What was told about users, to be read: the latest of every field but the zone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, tuple_

from models.rules.arrivals import Told
from models.statements.rows import arrays, insert_given
from models.tables import user_fields
from streakline.contract import UserFields

ATTRIBUTE = "attributes."
"""What stands before an attribute's name among a user's fields."""

_TELL = insert_given(user_fields, "user_id", "field", "value", "told_at")
_TELL_LATEST = _TELL.on_conflict_do_update(
    index_elements=["user_id", "field"],
    set_={"value": _TELL.excluded.value, "told_at": _TELL.excluded.told_at},
    where=tuple_(user_fields.c.told_at, user_fields.c.value)
    < tuple_(_TELL.excluded.told_at, _TELL.excluded.value),
)
_FIELDS = select(user_fields.c.field, user_fields.c.value).where(
    user_fields.c.user_id == bindparam("user_id")
)


def tell(connection: Connection, told: Iterable[Told]) -> None:
    """Keep what was told last about each field; the order in which it arrives does not matter."""
    latest: dict[tuple[str, str], tuple[datetime, str]] = {}
    for item in told:
        for field, value in _field_values(item.fields):
            key = (item.user_id, field)
            latest[key] = max(latest.get(key, (item.told_at, value)), (item.told_at, value))
    rows = [(*key, value, told_at) for key, (told_at, value) in sorted(latest.items())]
    if rows:
        connection.execute(_TELL_LATEST, arrays(["user_id", "field", "value", "told_at"], rows))


def read_fields(connection: Connection, user_id: str) -> dict[str, str]:
    """Return what is known of a user: `email`, `name`, `attributes.<name>`."""
    rows = connection.execute(_FIELDS, {"user_id": user_id}).all()
    return {row.field: row.value for row in rows}


def _field_values(fields: UserFields) -> Iterable[tuple[str, str]]:
    if fields.email is not None:
        yield "email", fields.email
    if fields.name is not None:
        yield "name", fields.name
    for name, value in fields.attributes.items():
        yield f"{ATTRIBUTE}{name}", value
