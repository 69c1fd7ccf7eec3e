"""Which column of a table is which field of an event, or of what is told about a user.

Fields are named as in JSON, inner ones with dots: `user_id`, `attributes.language`, `user.tz`.
A map `{"user_id": "uid"}` says from which column a field is taken; a field that it does not name is
taken from the column of its own name. With a map, columns that nothing is taken from are left; so
one without it is an error, for it may be a misspelt field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from models.sources.records import SourceError
from streakline.contract import nearest

EVENT_FIELDS = ("user_id", "metric", "value", "key", "occurred_at")
USER_FIELDS = ("tz", "email", "name")
COLUMNS_SHOWN_MAX = 50
FIELDS_CACHED_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """From which columns fields are taken, and what fields have in every row."""

    taken: Mapping[str, str]
    constants: Mapping[str, str]

    def row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as JSON would have it; what is absent is left out."""
        data: dict[str, Any] = {}
        for field, constant in self.constants.items():
            _put(data, field, constant)
        for field, column in self.taken.items():
            value = values.get(column)
            if value is not None:
                _put(data, field, value)
        return data


def find_columns(
    source: str,
    header: Sequence[str],
    wanted: Mapping[str, str],
    constants: Mapping[str, str],
    *,
    of_users: bool = False,
) -> Columns:
    """Return the columns of a table with this header. Raises SourceError, naming what is wrong."""
    for field in (*wanted, *constants):
        if not _is_field(field, of_users):
            known = (*EVENT_FIELDS, "attributes.…", "user.tz", "user.attributes.…")
            raise SourceError(
                f"there is no field {field!r}{nearest(field, EVENT_FIELDS)}; "
                f"there are {', '.join(known)}"
            )
    for field, column in wanted.items():
        if column not in header:
            raise SourceError(
                f"{source} has no column {column!r} for {field}{nearest(column, header)}; "
                f"it has {_listed(header)}"
            )
    own = {name: name for name in header if _is_field(name, of_users) and name not in wanted}
    left = [name for name in header if name not in own and name not in wanted.values()]
    if left and not wanted and not constants:
        raise SourceError(
            f"{source}: the column {left[0]!r} is no field of an event"
            f"{nearest(left[0], EVENT_FIELDS)}; say which columns are, as in --columns user_id="
            f"{_listed(left[:1])}"
        )
    found = {**own, **wanted}
    needed = ("user_id",) if of_users else ("user_id", "metric")
    missing = [name for name in needed if name not in found and name not in constants]
    if missing:
        raise SourceError(
            f"{source} has no column for {missing[0]}; it has {_listed(header)}: name one with "
            f"--columns {missing[0]}=…, or what it is in every row with --constant {missing[0]}=…"
        )
    return Columns(taken=found, constants=constants)


def _listed(names: Sequence[str]) -> str:
    """Return names as an error can show and Postgres can keep them."""
    texts = [name if name.isprintable() else repr(name) for name in names[:COLUMNS_SHOWN_MAX]]
    return ", ".join(texts) + (", …" if len(names) > COLUMNS_SHOWN_MAX else "")


def _is_field(name: str, of_users: bool) -> bool:
    first, _, rest = name.partition(".")
    if of_users:
        return name in ("user_id", *USER_FIELDS) or (first == "attributes" and bool(rest))
    if first == "user" and rest:
        return rest != "user_id" and _is_field(rest, of_users=True)
    return name in EVENT_FIELDS or (first == "attributes" and bool(rest))


def _put(data: dict[str, Any], field: str, value: Any) -> None:
    *outer, last = _parts(field)
    for name in outer:
        data = data.setdefault(name, {})
    data[last] = value


@lru_cache(maxsize=FIELDS_CACHED_MAX)
def _parts(field: str) -> tuple[str, ...]:
    """Return where a field stands; an attribute's name may have dots of its own.

    >>> _parts("user.attributes.app.plan")
    ('user', 'attributes', 'app.plan')
    """
    if field.startswith("attributes."):
        return ("attributes", field.removeprefix("attributes."))
    if field.startswith("user."):
        return ("user", *_parts(field.removeprefix("user.")))
    return (field,)


def plain_value(value: Any) -> Any:
    """Return a value as JSON could have it; a map comes as pairs.

    Numbers become texts: as a user's id or an attribute they are meant as such, and a value may be
    given as one.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return dict(value) if all(isinstance(one, tuple) for one in value) else value
    return value
