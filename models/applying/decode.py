"""From what a message carries to arrivals; what is no event is set aside and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from models.rules.acceptance import Reason, Refusal
from models.rules.arrivals import Arrival, Told
from models.statements.events import Rejected
from streakline.contract import Event, UserFields
from streakline.errors import InvalidEvent
from streakline.fields import check_text


class Kind(Enum):
    """What a message says it carries."""

    EVENT = "event"
    USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One event, or what is told of one user, as it came: JSON that nobody has checked yet."""

    kind: Kind

    raw: object
    received_at: datetime
    imported: bool = False


Item = Arrival | Told | Rejected
"""One thing of a message: an event, what is told of a user, or what is neither and why."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """Items by what they are, each kind in order of arrival."""

    arrivals: list[Arrival] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def user_ids(self) -> set[str]:
        """Collect whom it concerns."""
        return {item.event.user_id for item in self.arrivals} | {one.user_id for one in self.told}

    def split(self, user_ids: Set[str]) -> tuple[Batch, Batch]:
        """Return what concerns these users, and the rest with all that is not well formed."""
        if not user_ids:
            return Batch(), self
        theirs, others = Batch(), Batch(rejected=self.rejected)
        for item in self.arrivals:
            part = theirs if item.event.user_id in user_ids else others
            part.arrivals.append(item)
        for one in self.told:
            part = theirs if one.user_id in user_ids else others
            part.told.append(one)
        return theirs, others


def decode(received: Iterable[Received]) -> list[Item]:
    """Read what was received; whatever is wrong with one does not touch the others."""
    items: list[Item] = []
    for item in received:
        try:
            items.append(_arrival(item) if item.kind is Kind.EVENT else _told(item))
        except InvalidEvent as error:
            items.append(_rejected(item, error))
    return items


def collect(items: Iterable[Item]) -> Batch:
    """Make a batch of items."""
    batch = Batch()
    for item in items:
        if isinstance(item, Arrival):
            batch.arrivals.append(item)
        elif isinstance(item, Told):
            batch.told.append(item)
        else:
            batch.rejected.append(item)
    return batch


def reject(item: Arrival, refusal: Refusal) -> Rejected:
    """Set a well-formed event aside."""
    return Rejected(
        raw=item.event.to_json() | {"key": item.key},
        user_id=item.event.user_id,
        metric=item.event.metric,
        refusal=refusal,
        received_at=item.received_at,
    )


def _arrival(item: Received) -> Arrival:
    event = Event.from_json(item.raw)
    if event.key is None:
        raise InvalidEvent("key", "is missing; a client gives every event one")
    return Arrival(
        event=event,
        key=event.key,
        occurred_at=event.occurred_at or item.received_at,
        received_at=item.received_at,
        imported=item.imported,
    )


def _told(item: Received) -> Told:
    if not isinstance(item.raw, Mapping):
        raise InvalidEvent("user", "must be an object with fields")
    user_id = item.raw.get("user_id")
    check_text("user_id", user_id)
    fields = {name: value for name, value in item.raw.items() if name != "user_id"}
    return Told(
        user_id=str(user_id),
        fields=UserFields.from_json(fields),
        told_at=item.received_at,
        imported=item.imported,
    )


def _rejected(item: Received, error: InvalidEvent) -> Rejected:
    fields = item.raw if isinstance(item.raw, Mapping) else {}
    return Rejected(
        raw=item.raw,
        user_id=_text(fields.get("user_id")),
        metric=_text(fields.get("metric")),
        refusal=Refusal(reason=Reason.INVALID, detail=str(error)),
        received_at=item.received_at,
    )


def _text(value: object) -> str | None:
    """Return a text that a column can hold, for grouping; the event itself is kept as JSON."""
    if not isinstance(value, str):
        return None
    return value[:255].replace("\x00", "").encode(errors="ignore").decode()
