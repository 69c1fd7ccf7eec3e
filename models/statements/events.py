"""Events: the ledger of facts, the list of those set aside, and the count of every outcome."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from models.rules.acceptance import Content, Refusal
from models.rules.arrivals import Dated, Identity
from models.statements.rows import (
    arrays,
    given,
    given_columns,
    insert_given,
    last_whole,
    match_given,
    storable_json,
)
from models.tables import event_counts, events, rejected_events

COUNT_SHARDS = 64
"""Rows over which the counts of one outcome are spread; more than connections write at once."""

_asked = given_columns(events, "user_id", "metric", "key")
_KNOWN = select(
    events.c.user_id,
    events.c.metric,
    events.c.key,
    events.c.value,
    events.c.occurred_at,
    events.c.occurred_at_told,
    events.c.attributes,
).join(_asked, match_given(events, _asked, "user_id", "metric", "key"))

_EVENT_COLUMNS = (
    "user_id",
    "metric",
    "key",
    "value",
    "occurred_at",
    "occurred_at_told",
    "local_date",
    "attributes",
    "tz",
    "user_attributes",
    "program_version",
    "received_at",
)
_ADD_EVENTS = insert_given(events, *_EVENT_COLUMNS)

_REJECTED_COLUMNS = (
    "digest",
    "user_id",
    "metric",
    "reason",
    "detail",
    "event",
    "program_version",
    "received_at",
)
_ADD_REJECTED = (
    insert_given(rejected_events, *_REJECTED_COLUMNS)
    .on_conflict_do_nothing()
    .returning(rejected_events.c.digest)
)
_LIST_REJECTED = (
    select(rejected_events)
    .order_by(rejected_events.c.rejected_at.desc(), rejected_events.c.digest)
    .limit(bindparam("limit"))
)

_DIGESTS = given("given", of_digest=LargeBinary())
_DROP_REJECTED = delete(rejected_events).where(rejected_events.c.digest == _DIGESTS.c.of_digest)
_given_reasons = given("given", of_digest=LargeBinary(), new_reason=Text(), new_detail=Text())
_PUT_REASONS = (
    update(rejected_events)
    .values(reason=_given_reasons.c.new_reason, detail=_given_reasons.c.new_detail)
    .where(rejected_events.c.digest == _given_reasons.c.of_digest)
)

_COUNT = insert(event_counts).values(
    shard=func.mod(func.pg_backend_pid(), COUNT_SHARDS),
    outcome=bindparam("outcome"),
    events=bindparam("events"),
)
_ADD_COUNT = _COUNT.on_conflict_do_update(
    index_elements=["shard", "outcome"],
    set_={"events": event_counts.c.events + _COUNT.excluded.events},
)
_COUNTS = select(event_counts.c.outcome, func.sum(event_counts.c.events).label("events")).group_by(
    event_counts.c.outcome
)


class Outcome(Enum):
    """What came of an event that reached a worker.

    A message that the broker delivers twice counts its events as duplicates the second time.
    """

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An event that was set aside, as it came and with the reason."""

    raw: object
    user_id: str | None
    metric: str | None
    refusal: Refusal
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An event on the list of those set aside."""

    digest: bytes
    user_id: str
    reason: str
    event: Any
    received_at: datetime


def read_known(connection: Connection, identities: Iterable[Identity]) -> dict[Identity, Content]:
    """Return what the accepted events of these identities said."""
    rows = connection.execute(_KNOWN, arrays(["user_id", "metric", "key"], identities)).all()
    return {
        (row.user_id, row.metric, row.key): Content(
            value=row.value,
            attributes=row.attributes or {},
            occurred_at=row.occurred_at,
            occurred_at_told=row.occurred_at_told,
        )
        for row in rows
    }


def add_events(connection: Connection, new: Iterable[Dated], program_version: int) -> None:
    """Write accepted events to the ledger; an identity that is there already is an error."""
    rows = (_event_row(dated, program_version) for dated in new)
    connection.execute(_ADD_EVENTS, arrays(_EVENT_COLUMNS, rows))


def add_rejected(connection: Connection, rejected: Iterable[Rejected], program_version: int) -> int:
    """Set events aside; return how many were not on the list already."""
    rows = [_rejected_row(item, program_version) for item in rejected]
    found = connection.execute(_ADD_REJECTED, arrays(_REJECTED_COLUMNS, rows))
    return len(found.all())


def list_rejected(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the events set aside last, newest first, as columns of `rejected_events`."""
    return [dict(row) for row in connection.execute(_LIST_REJECTED, {"limit": limit}).mappings()]


def count_rejected(
    connection: Connection, reasons: Collection[str], metrics: Collection[str]
) -> int:
    """Return how many events of known users are set aside, for these reasons and metrics or all."""
    query = select(func.count()).select_from(rejected_events).where(*_asked_for(reasons, metrics))
    count: int = connection.execute(query).scalar_one()
    return count


def read_rejected(
    connection: Connection,
    reasons: Collection[str],
    metrics: Collection[str],
    after: str,
    rows_max: int,
) -> list[SetAside]:
    """Return events set aside of the next users, about so many: all of a user, or none."""
    asked = [*_asked_for(reasons, metrics), rejected_events.c.user_id > after]
    first = select(rejected_events.c.user_id).where(*asked).order_by(rejected_events.c.user_id)
    users = connection.execute(first.limit(rows_max)).scalars().all()
    until = last_whole(users, rows_max)
    if until is None:
        return []
    rows = connection.execute(
        select(rejected_events)
        .where(*asked, rejected_events.c.user_id <= until)
        .order_by(
            rejected_events.c.user_id, rejected_events.c.received_at, rejected_events.c.digest
        )
    )
    return [
        SetAside(
            digest=row.digest,
            user_id=row.user_id,
            reason=row.reason,
            event=row.event,
            received_at=row.received_at,
        )
        for row in rows
    ]


def drop_rejected(connection: Connection, digests: Iterable[bytes]) -> None:
    """Take events off the list: they count now."""
    connection.execute(_DROP_REJECTED, {"of_digest": sorted(digests)})


def put_reasons(connection: Connection, refusals: Mapping[bytes, Refusal]) -> None:
    """Say anew why events are set aside."""
    rows = ((digest, one.reason.value, one.detail) for digest, one in sorted(refusals.items()))
    connection.execute(_PUT_REASONS, arrays(("of_digest", "new_reason", "new_detail"), rows))


def _asked_for(reasons: Collection[str], metrics: Collection[str]) -> list[ColumnElement[bool]]:
    asked: list[ColumnElement[bool]] = [rejected_events.c.user_id.is_not(None)]
    if reasons:
        asked.append(rejected_events.c.reason.in_(sorted(reasons)))
    if metrics:
        asked.append(rejected_events.c.metric.in_(sorted(metrics)))
    return asked


def count_outcomes(connection: Connection, outcomes: Mapping[Outcome, int]) -> None:
    """Add to the counts; the last statement of a transaction, so that none waits for another."""
    rows = [
        {"outcome": outcome.value, "events": events}
        for outcome, events in sorted(outcomes.items(), key=lambda item: item[0].value)
        if events
    ]
    if rows:
        connection.execute(_ADD_COUNT, rows)


def read_counts(connection: Connection) -> dict[Outcome, int]:
    """Return how many events came to each outcome since the beginning."""
    found = {row.outcome: int(row.events) for row in connection.execute(_COUNTS)}
    return {outcome: found.get(outcome.value, 0) for outcome in Outcome}


def _event_row(dated: Dated, program_version: int) -> tuple[Any, ...]:
    arrival = dated.arrival
    event = arrival.event
    return (
        event.user_id,
        event.metric,
        arrival.key,
        event.value,
        arrival.occurred_at,
        event.occurred_at is not None,
        dated.local_date,
        _json(event.attributes),
        event.user.tz if event.user else None,
        _json(event.user.attributes) if event.user else None,
        program_version,
        arrival.received_at,
    )


def _json(attributes: Mapping[str, str]) -> str | None:
    return msgspec.json.encode(attributes).decode() if attributes else None


def _rejected_row(item: Rejected, program_version: int) -> tuple[Any, ...]:
    event = storable_json(item.raw)
    reason = item.refusal.reason.value
    return (
        blake2b(event + reason.encode(), digest_size=16).digest(),
        item.user_id,
        item.metric,
        reason,
        item.refusal.detail,
        event.decode(),
        program_version,
        item.received_at,
    )
