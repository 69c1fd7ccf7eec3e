"""What a backend and the workers agree on: the fields of an event, the names on the wire.

This is the only definition of both. The client checks events with it before they are sent, the
workers check what arrives with it (a message is never trusted), and import files go through it
line by line. It needs the standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict
from uuid import UUID, uuid4

from streakline.errors import InvalidEvent
from streakline.fields import (
    ATTRIBUTES_BYTES_MAX,
    ATTRIBUTES_MAX,
    EMAIL_LENGTH_MAX,
    ID_LENGTH_MAX,
    VALUE_MAX,
    VALUE_PLACES_MAX,
    check_attributes,
    check_email,
    check_text,
    check_zone,
    decimal_text,
    in_utc,
    instant_text,
    nearest,
    read_instant,
    read_value,
    shown,
    zone_names,
)

__all__ = [
    "AHEAD_MAX",
    "APPLY_EVENTS_ACTOR",
    "ATTRIBUTES_BYTES_MAX",
    "ATTRIBUTES_MAX",
    "EMAIL_LENGTH_MAX",
    "EVENTS_PER_MESSAGE_MAX",
    "EVENTS_QUEUE",
    "IDENTIFY_USERS_ACTOR",
    "ID_LENGTH_MAX",
    "NAMESPACE",
    "VALUE_MAX",
    "VALUE_PLACES_MAX",
    "Event",
    "EventOptions",
    "Number",
    "UserFields",
    "UserOptions",
    "check_zone",
    "decimal_text",
    "instant_text",
    "nearest",
    "read_instant",
    "zone_names",
]

NAMESPACE = "streakline"
"""Every key of ours in Redis begins with this, unless a deployment chooses another."""
EVENTS_QUEUE = "events"
APPLY_EVENTS_ACTOR = "apply_events"
"""Takes `events`, a list of events as JSON, and `received_at`, an instant as text.

With `imported`, true in an import alone, events of any age are accepted (S13).
"""
IDENTIFY_USERS_ACTOR = "identify_users"
"""Takes `users`, a list of `{"user_id", …user fields}`, and `received_at`, an instant as text."""

EVENTS_PER_MESSAGE_MAX = 500
AHEAD_MAX = timedelta(minutes=5)

Number: TypeAlias = Decimal | int | float | str
"""What a value may be given as; it is kept as a Decimal."""


class UserOptions(TypedDict, total=False):
    """What `identify` takes by name: the fields of UserFields."""

    tz: str | None
    email: str | None
    name: str | None
    attributes: Mapping[str, str]


class EventOptions(TypedDict, total=False):
    """What `track` takes by name beside user and metric: the other fields of Event."""

    value: Number
    key: str | None
    occurred_at: datetime | None
    attributes: Mapping[str, str]
    user: UserFields | Mapping[str, Any] | None


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
        if self.email is not None:
            check_email("email", self.email)
        if self.name is not None:
            check_text("name", self.name)
        check_attributes(self.attributes)
        object.__setattr__(self, "attributes", dict(self.attributes))

    @classmethod
    def from_json(cls, data: object) -> UserFields:
        """Read the object that stands under `user` in an event. Raises InvalidEvent."""
        return cls(**_known_fields(data, _USER_FIELDS, "user"))

    def to_json(self) -> dict[str, Any]:
        """Return only what is told, in the shape that `from_json` reads."""
        told = {"tz": self.tz, "email": self.email, "name": self.name}
        data: dict[str, Any] = {name: text for name, text in told.items() if text is not None}
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

    if TYPE_CHECKING:  # what may be given is more than what is kept; the dataclass writes the same

        def __init__(
            self,
            *,
            user_id: str,
            metric: str,
            value: Number = ...,
            key: str | None = ...,
            occurred_at: datetime | None = ...,
            attributes: Mapping[str, str] = ...,
            user: UserFields | Mapping[str, Any] | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_text("user_id", self.user_id)
        check_text("metric", self.metric)
        object.__setattr__(self, "value", read_value(self.value))
        if self.key is not None:
            check_text("key", self.key)
        if self.occurred_at is not None:
            object.__setattr__(self, "occurred_at", in_utc("occurred_at", self.occurred_at))
        # Copied: a buffer holds the event while the caller may go on using the mapping.
        check_attributes(self.attributes)
        object.__setattr__(self, "attributes", dict(self.attributes))
        if self.user is not None and not isinstance(self.user, UserFields):
            object.__setattr__(self, "user", _read_user(self.user))

    @classmethod
    def from_json(cls, data: object) -> Event:
        """Read one event as it stands on the wire and in import files. Raises InvalidEvent."""
        fields = _known_fields(data, _EVENT_FIELDS, "event")
        for name in ("user_id", "metric"):
            if name not in fields:
                raise InvalidEvent(name, "is missing")
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

    def keyed(self) -> Event:
        """Return the event with a key of its own, so that sending it again is the same event."""
        return self if self.key is not None else replace(self, key=uuid4().hex)

    def fixed(self, received_at: datetime) -> Event:
        """Return the event as having occurred at `received_at`, unless it says when it did."""
        return self if self.occurred_at is not None else replace(self, occurred_at=received_at)

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


_USER_FIELDS = frozenset({"tz", "email", "name", "attributes"})
_EVENT_FIELDS = frozenset(
    {"user_id", "metric", "value", "key", "occurred_at", "attributes", "user"}
)
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _digest(parts: list[Any]) -> bytes:
    return blake2b(_JSON.encode(parts).encode(), digest_size=16).digest()


def _read_user(data: object) -> UserFields:
    try:
        return UserFields.from_json(data)
    except InvalidEvent as error:
        field = error.field if error.field == "user" else f"user.{error.field}"
        raise InvalidEvent(field, error.reason) from None


def _known_fields(data: object, known: frozenset[str], what: str) -> dict[str, Any]:
    if not isinstance(data, (dict, Mapping)):  # the ABC alone takes ten times as long
        raise InvalidEvent(what, f"must be an object with fields, not {shown(data)}")
    for name in data:
        if name not in known:
            raise InvalidEvent(what, f"unknown field {shown(str(name))}{nearest(str(name), known)}")
    return {name: value for name, value in data.items() if value is not None}
