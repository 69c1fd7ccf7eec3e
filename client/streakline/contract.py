"""What a backend and the workers agree on: the fields of an event, the names on the wire.

This is the only definition of both. The client checks events with it before they are sent, the
workers check what arrives with it (a message is never trusted), and import files go through it
line by line. It needs the standard library alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from hashlib import blake2b
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from streakline.errors import InvalidEvent

NAMESPACE = "streakline"
"""Every key of ours in Redis begins with this, unless a deployment chooses another."""
EVENTS_QUEUE = "events"
APPLY_EVENTS_ACTOR = "apply_events"
"""Takes `events`, a list of events as JSON, and `received_at`, an instant as text."""
IDENTIFY_USERS_ACTOR = "identify_users"
"""Takes `users`, a list of `{"user_id", …user fields}`, and `received_at`, an instant as text."""

EVENTS_PER_MESSAGE_MAX = 500
ID_LENGTH_MAX = 255
ATTRIBUTES_MAX = 20
ATTRIBUTES_BYTES_MAX = 4096
VALUE_PLACES_MAX = 4
VALUE_MAX = Decimal(2**53).scaleb(-VALUE_PLACES_MAX)
"""2**53 units of 0.0001: the largest number that a ranking holds exactly (a double has 53 bits)."""
AHEAD_MAX = timedelta(minutes=5)
EMAIL_LENGTH_MAX = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_EMAIL = re.compile(r"[^\s@<>,;\x00-\x1f\x7f]+@[^\s@<>,;\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFields:
    """What a backend tells about a user; `None` says nothing about a field.

    Raises InvalidEvent where a field cannot be used.
    """

    tz: str | None = None
    email: str | None = None
    name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tz is not None:
            check_zone("tz", self.tz)
        if self.email is not None and not (
            isinstance(self.email, str)
            and len(self.email) <= EMAIL_LENGTH_MAX
            and _EMAIL.fullmatch(self.email)
        ):
            raise InvalidEvent(
                "email", f"{_shown(self.email)} is not an address like a@example.org"
            )
        if self.name is not None:
            _check_text("name", self.name)
        _check_attributes(self.attributes)

    @classmethod
    def from_json(cls, data: object) -> UserFields:
        """Read the object that stands under `user` in an event. Raises InvalidEvent."""
        fields = _known_fields(data, _USER_FIELDS, "user")
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """Return only what is told, in the shape that `from_json` reads."""
        told = {"tz": self.tz, "email": self.email, "name": self.name}
        data: dict[str, Any] = {field: text for field, text in told.items() if text is not None}
        if self.attributes:
            data["attributes"] = dict(self.attributes)
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact from a backend: this user did that much of this metric, then.

    `value` may be given as int, str, float or Decimal and is kept as a Decimal of at most 4
    places; `occurred_at` must be aware and is kept in UTC. A `key` of `None` is filled in by the
    client, an `occurred_at` of `None` by the moment at which the client took the event.

    Raises InvalidEvent, which names the field.
    """

    user_id: str
    metric: str
    value: Decimal = Decimal(1)
    key: str | None = None
    occurred_at: datetime | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    user: UserFields | None = None

    def __post_init__(self) -> None:
        _check_text("user_id", self.user_id)
        _check_text("metric", self.metric)
        object.__setattr__(self, "value", _read_value(self.value))
        if self.key is not None:
            _check_text("key", self.key)
        if self.occurred_at is not None:
            object.__setattr__(self, "occurred_at", _in_utc("occurred_at", self.occurred_at))
        if self.attributes:
            _check_attributes(self.attributes)
        if self.user is not None and not isinstance(self.user, UserFields):
            object.__setattr__(self, "user", _read_user(self.user))

    @classmethod
    def from_json(cls, data: object) -> Event:
        """Read one event as it stands on the wire and in import files. Raises InvalidEvent."""
        fields = _known_fields(data, _EVENT_FIELDS, "event")
        for field in ("user_id", "metric"):
            if field not in fields:
                raise InvalidEvent(field, "is missing")
        occurred_at = fields.get("occurred_at")
        if occurred_at is not None:
            fields["occurred_at"] = read_instant("occurred_at", occurred_at)
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """Return the event in the shape that `from_json` reads."""
        data: dict[str, Any] = {
            "user_id": self.user_id,
            "metric": self.metric,
            "value": decimal_text(self.value),
        }
        if self.key is not None:
            data["key"] = self.key
        if self.occurred_at is not None:
            data["occurred_at"] = instant_text(self.occurred_at)
        if self.attributes:
            data["attributes"] = dict(self.attributes)
        if self.user is not None:
            data["user"] = self.user.to_json()
        return data

    def check_time(self, now: datetime) -> None:
        """Raise InvalidEvent where the event lies more than 5 minutes ahead of `now` (S13)."""
        if self.occurred_at is not None and self.occurred_at > now + AHEAD_MAX:
            raise InvalidEvent(
                "occurred_at",
                f"{instant_text(self.occurred_at)} is more than 5 minutes ahead of "
                f"{instant_text(now)}; check the clock that made it",
            )

    @property
    def id(self) -> str:
        """The identity (user_id, metric, key) as a UUID: the same text for the same identity."""
        return str(UUID(bytes=_digest([self.user_id, self.metric, self.key])))

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that are equal where identity and content are (S11).

        An `occurred_at` that was left to default is not content, nor are the user fields: a retry
        is still the same event when the backend knows more about its user by then.
        """
        occurred_at = self.occurred_at and instant_text(self.occurred_at)
        attributes = sorted(self.attributes.items())
        content = [decimal_text(self.value), occurred_at, attributes]
        return _digest([self.user_id, self.metric, self.key, *content])


_USER_FIELDS = ("tz", "email", "name", "attributes")
_EVENT_FIELDS = ("user_id", "metric", "value", "key", "occurred_at", "attributes", "user")


def decimal_text(value: Decimal) -> str:
    """Write a decimal as JSON carries it: no exponent, no needless zeros.

    >>> decimal_text(Decimal("12.500")), decimal_text(Decimal("1E+2")), decimal_text(Decimal("-0"))
    ('12.5', '100', '0')
    """
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def instant_text(instant: datetime) -> str:
    """Write an aware instant as JSON carries it: ISO 8601 in UTC with `Z`.

    >>> instant_text(datetime(2026, 11, 23, 9, tzinfo=UTC))
    '2026-11-23T09:00:00Z'
    """
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_instant(field: str, text: object) -> datetime:
    """Read an instant with an offset. Raises InvalidEvent that names `field`."""
    if not isinstance(text, str):
        raise InvalidEvent(field, f"must be text such as 2026-11-23T09:00:00Z, not {_shown(text)}")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(
            field, f"{_shown(text)} is not an instant such as 2026-11-23T09:00:00Z"
        ) from None
    return _in_utc(field, instant)


def check_zone(field: str, name: object) -> None:
    """Raise InvalidEvent where `name` is no IANA zone, with the nearest one suggested (S6).

    Where the machine has no time-zone data at all nothing can be known, and every name passes.
    """
    zones = zone_names()
    if not isinstance(name, str):
        raise InvalidEvent(field, f"must be a zone such as Europe/Paris, not {_shown(name)}")
    if zones and name not in zones:
        raise InvalidEvent(field, f"unknown zone {_shown(name)}{nearest(name, zones)}")


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones that this machine knows."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `name`, or nothing.

    >>> nearest("lesons", ["lessons", "minutes"])
    "; did you mean 'lessons'?"
    """
    by_folded = {other.casefold(): other for other in sorted(known)}
    found = get_close_matches(name.casefold()[:ID_LENGTH_MAX], by_folded, n=1)
    return f"; did you mean {by_folded[found[0]]!r}?" if found else ""


def _digest(parts: list[Any]) -> bytes:
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).digest()


def _shown(value: object) -> str:
    """Return a value as an error shows it: never longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_text(field: str, text: object) -> None:
    if not isinstance(text, str):
        raise InvalidEvent(field, f"must be text, not {_shown(text)}")
    if not text:
        raise InvalidEvent(field, "must not be empty")
    if len(text) > ID_LENGTH_MAX:
        raise InvalidEvent(
            field, f"has {len(text)} characters; at most {ID_LENGTH_MAX} are allowed"
        )
    _check_storable(field, text)


def _check_storable(field: str, text: str) -> None:
    if text.isascii() and "\x00" not in text:
        return
    # Postgres stores neither NUL nor half a surrogate pair in a text.
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidEvent(field, f"{_shown(text)} has a character that no text can hold")


def _check_attributes(attributes: object) -> None:
    if not isinstance(attributes, Mapping):
        raise InvalidEvent("attributes", f"must map text to text, not be {_shown(attributes)}")
    if len(attributes) > ATTRIBUTES_MAX:
        raise InvalidEvent(
            "attributes", f"are {len(attributes)}; at most {ATTRIBUTES_MAX} are allowed"
        )
    size_bytes = 0
    for name, value in attributes.items():
        _check_text("attributes", name)
        if not isinstance(value, str):
            raise InvalidEvent(f"attributes.{name}", f"must be text, not {_shown(value)}")
        _check_storable(f"attributes.{name}", value)
        size_bytes += len(name.encode()) + len(value.encode())
    if size_bytes > ATTRIBUTES_BYTES_MAX:
        raise InvalidEvent(
            "attributes", f"take {size_bytes} bytes; at most {ATTRIBUTES_BYTES_MAX} are allowed"
        )


def _read_value(value: object) -> Decimal:
    number = _read_decimal(value)
    if not number.is_finite():
        raise InvalidEvent("value", f"{_shown(value)} is not a number that can be counted")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -VALUE_PLACES_MAX:
        number = number.normalize()
        exponent = number.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -VALUE_PLACES_MAX:
            raise InvalidEvent(
                "value", f"{_shown(value)} has more than {VALUE_PLACES_MAX} decimal places"
            )
    if abs(number) > VALUE_MAX:
        raise InvalidEvent("value", f"{_shown(value)} is beyond {VALUE_MAX}, the largest exact one")
    return number


def _read_decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    raise InvalidEvent("value", f"{_shown(value)} is not a number such as 1 or '2.5'")


def _in_utc(field: str, instant: object) -> datetime:
    if not isinstance(instant, datetime):
        raise InvalidEvent(field, f"must be a datetime, not {_shown(instant)}")
    if instant.tzinfo is UTC:
        return instant
    if instant.utcoffset() is None:
        raise InvalidEvent(
            field, f"{instant.isoformat()} has no UTC offset; say which zone it is in"
        )
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent(field, f"{_shown(instant.isoformat())} is out of range") from None


def _read_user(data: object) -> UserFields:
    try:
        return UserFields.from_json(data)
    except InvalidEvent as error:
        field = error.field if error.field == "user" else f"user.{error.field}"
        raise InvalidEvent(field, error.reason) from None


def _known_fields(data: object, known: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidEvent(what, f"must be an object with fields, not {_shown(data)}")
    unknown = [name for name in data if name not in known]
    if unknown:
        name = str(unknown[0])
        raise InvalidEvent(what, f"unknown field {_shown(name)}{nearest(name, known)}")
    return {name: value for name, value in data.items() if value is not None}
