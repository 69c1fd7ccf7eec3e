"""Users: their lock, their zones, what is told about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, select, tuple_

from models.rules.arrivals import Told
from models.rules.calendar import ZoneChange
from models.statements.rows import arrays, insert_given, one_of
from models.tables import user_fields, user_zones, users
from streakline.contract import UserFields

_ADD_USERS = insert_given(users, "user_id", "first_seen_at").on_conflict_do_nothing()
_SOME_USERS = (
    select(users.c.user_id).where(one_of(users.c.user_id, "user_ids")).order_by(users.c.user_id)
)
_LOCK_USERS = _SOME_USERS.with_for_update(of=users)
_LOCK_FREE_USERS = _SOME_USERS.with_for_update(of=users, skip_locked=True)
_ZONES = (
    select(user_zones)
    .where(one_of(user_zones.c.user_id, "user_ids"))
    .order_by(user_zones.c.user_id, user_zones.c.since)
)
_ZONE = insert_given(user_zones, "user_id", "since", "tz")
_ADD_ZONES = _ZONE.on_conflict_do_update(
    index_elements=["user_id", "since"],
    set_={"tz": _ZONE.excluded.tz},
    where=user_zones.c.tz < _ZONE.excluded.tz,
)
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
_KNOWN = select(exists().where(users.c.user_id == bindparam("user_id")))


def add_users(connection: Connection, user_ids: Iterable[str], now: datetime) -> None:
    """Add the users never seen before.

    It must come before its transaction locks anything, and the ids go in one order everywhere:
    where two batches add the same user, one waits for the other, and never in a circle.
    """
    ordered = sorted(user_ids)
    connection.execute(_ADD_USERS, {"user_id": ordered, "first_seen_at": [now] * len(ordered)})


def lock_free_users(connection: Connection, user_ids: Iterable[str]) -> set[str]:
    """Lock those of the users whom nobody else has locked, and return them; never waits."""
    asked = {"user_ids": sorted(user_ids)}
    return set(connection.execute(_LOCK_FREE_USERS, asked).scalars())


def lock_users(connection: Connection, user_ids: Iterable[str]) -> None:
    """Lock the users until the end of the transaction, waiting for whoever has them.

    It must be the first to lock anything in its transaction, and the ids go in one order
    everywhere, so that two batches never wait for each other in a circle.
    """
    connection.execute(_LOCK_USERS, {"user_ids": sorted(user_ids)})


def read_zones(connection: Connection, user_ids: Iterable[str]) -> dict[str, list[ZoneChange]]:
    """Return the zone changes of each user who has one, ascending by instant."""
    zones: dict[str, list[ZoneChange]] = {}
    for row in connection.execute(_ZONES, {"user_ids": list(user_ids)}).all():
        zones.setdefault(row.user_id, []).append(ZoneChange(since=row.since, tz=row.tz))
    return zones


def add_zones(connection: Connection, changes: Mapping[str, Sequence[ZoneChange]]) -> None:
    """Add zone changes; of two at one instant the greater name stays, whichever came first."""
    rows = [
        (user_id, change.since, change.tz) for user_id, found in changes.items() for change in found
    ]
    connection.execute(_ADD_ZONES, arrays(["user_id", "since", "tz"], rows))


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


def is_known(connection: Connection, user_id: str) -> bool:
    """Tell whether the user was ever seen."""
    return bool(connection.execute(_KNOWN, {"user_id": user_id}).scalar_one())


def _field_values(fields: UserFields) -> Iterable[tuple[str, str]]:
    if fields.email is not None:
        yield "email", fields.email
    if fields.name is not None:
        yield "name", fields.name
    for name, value in fields.attributes.items():
        yield f"attributes.{name}", value
