"""The facts of users, as a fold takes them: events, operators' facts, and what was told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, bindparam, cast, func, select, text

from models.rules.acceptance import UserDay
from models.rules.facts import (
    Adjustment,
    Completion,
    Event,
    Fact,
    Grant,
    Reset,
    Suspension,
)
from models.rules.state import PeriodTotal
from models.rules.timelines import LAST, Pause, Told
from models.statements.rows import arrays, given, given_columns, insert_given, match_given
from models.tables import ID, INSTANT, events, user_facts

EVENTS_QUICK = 20_000
"""So many are folded within seconds; more have the transaction's limits of time raised."""
MILLISECONDS_PER_EVENT = 1
"""Ten times of what one takes, folded and written, where nothing else runs."""

_after = given("after", user_id=ID, instant=INSTANT)
_EVENTS_AFTER = select(
    events.c.user_id,
    events.c.occurred_at,
    events.c.metric,
    events.c.key,
    events.c.program_version,
    events.c.value,
    events.c.local_date,
    events.c.attributes,
    events.c.tz,
    events.c.user_attributes,
).join(
    _after,
    and_(events.c.user_id == _after.c.user_id, events.c.occurred_at > _after.c.instant),
)
_FACTS = select(user_facts)
_FACTS_OF = _FACTS.join(
    _after, and_(user_facts.c.user_id == _after.c.user_id, user_facts.c.at > _after.c.instant)
)

_FACT_COLUMNS = (
    "user_id",
    "fact_id",
    "kind",
    "at",
    "body",
    "program_version",
    "recorded_at",
    "actor",
    "reason",
)
_ADD_FACTS = insert_given(user_facts, *_FACT_COLUMNS).on_conflict_do_nothing()
_asked = given_columns(user_facts, "user_id", "fact_id")
_KNOWN_FACTS = select(user_facts.c.user_id, user_facts.c.fact_id).join(
    _asked, match_given(user_facts, _asked, "user_id", "fact_id")
)
_ALLOW = text(
    "select set_config(name, (setting::bigint + :milliseconds)::text, true) from pg_settings"
    " where name in ('idle_in_transaction_session_timeout', 'statement_timeout')"
    " and setting <> '0'"
)
_DAY = given("asked", user_id=ID, metric=ID, local_date=events.c.local_date.type)
# The instants of a date lie within two days of it on any clock: the index finds them.
_near = and_(
    events.c.occurred_at >= cast(_DAY.c.local_date, INSTANT) - text("interval '2 days'"),
    events.c.occurred_at < cast(_DAY.c.local_date, INSTANT) + text("interval '3 days'"),
)
_DAY_TOTALS = (
    select(
        events.c.user_id,
        events.c.metric,
        events.c.local_date,
        func.count().label("events"),
        func.sum(events.c.value).label("value"),
    )
    .join(_DAY, and_(match_given(events, _DAY, "user_id", "metric", "local_date"), _near))
    .group_by(events.c.user_id, events.c.metric, events.c.local_date)
)
_ORDERS = _FACTS.where(
    user_facts.c.user_id == bindparam("user_id"),
    user_facts.c.actor.is_not(None),
    user_facts.c.at <= bindparam("until"),
    user_facts.c.recorded_at <= bindparam("until"),
).order_by(user_facts.c.recorded_at, user_facts.c.fact_id)


class FactKind(StrEnum):
    """What facts that are no events say."""

    TOLD = "told"
    PAUSE = "pause"
    GRANT = "grant"
    RESET = "reset"
    ADJUSTMENT = "adjustment"
    COMPLETION = "completion"
    SUSPENSION = "suspension"
    """A user vanishes from rankings, or comes back."""


OperatorFact = Pause | Grant | Reset | Adjustment | Completion | Suspension


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFact:
    """A fact about a user that is no event; `actor` and `reason` are an operator's."""

    user_id: str
    fact_id: str
    kind: str
    at: datetime
    body: Mapping[str, Any]
    program_version: int
    recorded_at: datetime
    actor: str | None = None
    reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Ledger:
    """A user's facts after an instant, in order, and what was told after it.

    `seen_at` are the instants at which a user was told of, other than in an import: the first may
    be the sign-up, and the state goes on to the last.
    """

    facts: list[Fact] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    seen_at: list[datetime] = field(default_factory=list)


def told_fact(
    user_id: str,
    told: Told,
    *,
    imported: bool,
    program_version: int,
    recorded_at: datetime,
    actor: str | None = None,
    reason: str | None = None,
) -> StoredFact:
    """Return what was told beside events as a fact; told twice at one instant, it is one."""
    body: dict[str, Any] = {"attributes": dict(told.attributes)} if told.attributes else {}
    if told.tz is not None:
        body["tz"] = told.tz
    content = msgspec.json.encode([told.at, body], order="sorted")
    if imported:
        body["imported"] = True
    return StoredFact(
        user_id=user_id,
        fact_id=blake2b(content, digest_size=16).hexdigest(),
        kind=FactKind.TOLD,
        at=told.at,
        body=body,
        program_version=program_version,
        recorded_at=recorded_at,
        actor=actor,
        reason=reason,
    )


def operator_fact(
    user_id: str,
    fact: OperatorFact,
    *,
    program_version: int,
    recorded_at: datetime,
    actor: str,
    reason: str,
) -> StoredFact:
    """Return what an operator did to a user, as it is kept."""
    kind, body = _body(fact)
    return StoredFact(
        user_id=user_id,
        fact_id=fact.fact_id,
        kind=kind,
        at=fact.at,
        body=body,
        program_version=program_version,
        recorded_at=recorded_at,
        actor=actor,
        reason=reason,
    )


def add_facts(connection: Connection, facts: Iterable[StoredFact]) -> None:
    """Write facts; one that is there already stays as it is."""
    rows = (
        [
            msgspec.json.encode(fact.body).decode() if name == "body" else getattr(fact, name)
            for name in _FACT_COLUMNS
        ]
        for fact in facts
    )
    connection.execute(_ADD_FACTS, arrays(_FACT_COLUMNS, rows))


def read_known_facts(
    connection: Connection, ids: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return those of the (user_id, fact_id) that are there."""
    rows = connection.execute(_KNOWN_FACTS, arrays(("user_id", "fact_id"), ids)).all()
    return {(row.user_id, row.fact_id) for row in rows}


def read_after(
    connection: Connection, instants: Mapping[str, datetime], until: datetime = LAST
) -> dict[str, Ledger]:
    """Return each user's facts after an instant, and what was told after it: two statements.

    With `until` they are those that a reader of that instant had: what an operator did later about
    a time before it is left out.
    """
    asked = arrays(("user_id", "instant"), instants.items())
    ledgers = {user_id: Ledger() for user_id in instants}
    rows = connection.execute(_EVENTS_AFTER, asked).all()
    if len(rows) > EVENTS_QUICK:
        _allow_for(connection, len(rows))
    for row in rows:
        if row.occurred_at > until:
            continue
        ledger = ledgers[row.user_id]
        ledger.facts.append(_event(row))
        if row.tz is not None or row.user_attributes is not None:
            ledger.told.append(Told(row.occurred_at, row.tz, row.user_attributes or {}))
    for row in connection.execute(_FACTS_OF, asked):
        if row.at <= until and (row.kind == FactKind.TOLD or row.recorded_at <= until):
            _take(ledgers[row.user_id], row)
    for ledger in ledgers.values():
        ledger.facts.sort(key=_position)
    return ledgers


def read_orders(
    connection: Connection, user_id: str, until: datetime = LAST
) -> Sequence[StoredFact]:
    """Return what operators did to a user, as a reader of `until` knew it, in that order."""
    asked = {"user_id": user_id, "until": until}
    return [StoredFact(**row) for row in connection.execute(_ORDERS, asked).mappings()]


def read_day_totals(connection: Connection, days: Iterable[UserDay]) -> dict[UserDay, PeriodTotal]:
    """Return what a user's metric came to on a local day, of those that have events."""
    asked = arrays(("user_id", "metric", "local_date"), days)
    return {
        (row.user_id, row.metric, row.local_date): PeriodTotal(row.value, row.events)
        for row in connection.execute(_DAY_TOTALS, asked)
    }


def _allow_for(connection: Connection, events: int) -> None:
    """Let this transaction take its time: to fold a million events, and to write what they come to,
    takes minutes, in which it is not hung.
    """
    connection.execute(_ALLOW, {"milliseconds": events * MILLISECONDS_PER_EVENT})


def _take(ledger: Ledger, row: Any) -> None:
    if row.kind == FactKind.PAUSE:
        ledger.pauses.append(_pause(row))
        return
    if row.kind != FactKind.TOLD:
        ledger.facts.append(_fact(row))
        return
    ledger.told.append(Told(row.at, row.body.get("tz"), row.body.get("attributes", {})))
    if not row.body.get("imported"):
        ledger.seen_at.append(row.at)


def _position(fact: Fact) -> Any:
    return fact.position


def _event(row: Any) -> Event:
    return Event(
        row.occurred_at,
        row.metric,
        row.key,
        row.program_version,
        row.value,
        row.local_date,
        row.attributes or {},
    )


def _body(fact: OperatorFact) -> tuple[str, dict[str, Any]]:
    match fact:
        case Pause():
            body: dict[str, Any] = {"first": fact.first.isoformat(), "last": fact.last.isoformat()}
            if fact.streak is not None:
                body["streak"] = fact.streak
            if fact.resets:
                body["resets"] = list(fact.resets)
            return FactKind.PAUSE, body
        case Grant():
            return FactKind.GRANT, {"streak": fact.streak, "freezes": fact.freezes}
        case Reset():
            return FactKind.RESET, {"streak": fact.streak}
        case Adjustment():
            return FactKind.ADJUSTMENT, {"points": fact.points, "amount": str(fact.amount)}
        case Completion():
            return FactKind.COMPLETION, {"achievement": fact.achievement}
        case Suspension():
            return FactKind.SUSPENSION, {"suspended": fact.suspended}


def _pause(row: Any) -> Pause:
    body = row.body
    first, last = date.fromisoformat(body["first"]), date.fromisoformat(body["last"])
    resets = tuple(body.get("resets", ()))
    return Pause(row.at, row.fact_id, first, last, body.get("streak"), resets)


def _fact(row: Any) -> Fact:
    at, fact_id, version, body = row.at, row.fact_id, row.program_version, row.body
    match row.kind:
        case FactKind.GRANT:
            return Grant(at, fact_id, version, body["streak"], body["freezes"])
        case FactKind.RESET:
            return Reset(at, fact_id, version, body["streak"])
        case FactKind.ADJUSTMENT:
            return Adjustment(at, fact_id, version, body["points"], Decimal(body["amount"]))
        case FactKind.COMPLETION:
            return Completion(at, fact_id, version, body["achievement"])
        case FactKind.SUSPENSION:
            return Suspension(at, fact_id, version, body["suspended"])
    raise ValueError(f"user_facts has a row of kind {row.kind!r}, which this version does not know")
