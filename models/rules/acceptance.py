"""Which of the events that arrived count: new ones, duplicates, and those set aside with a reason.

Identity decides first (S11), then what the program and the clock allow (S13, S15, S17). The rules
of the fields themselves stand in `streakline.contract` and were checked before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum

from models.rules.arrivals import Arrival, Identity
from models.rules.rulebook import MetricAggregate, Rulebook
from models.rules.state import PeriodTotal
from streakline.contract import (
    Event,
    decimal_text,
    instant_text,
    nearest,
)
from streakline.errors import InvalidEvent

NOTHING = Decimal(0)
NO_EVENTS = PeriodTotal(NOTHING, 0)
OCCURRED_AT_MIN = datetime(2, 1, 1, tzinfo=UTC)
"""Within a day of year 1 an instant has no date in zones west of UTC, which Python cannot hold."""


class Reason(Enum):
    """Why an event was set aside; the text is what operators group by."""

    INVALID = "invalid"
    CONFLICT = "conflict"
    UNKNOWN_METRIC = "unknown-metric"
    NEGATIVE = "negative"
    TOO_LARGE = "too-large"
    AHEAD = "ahead"
    TOO_OLD = "too-old"
    OUT_OF_RANGE = "out-of-range"
    DAY_LIMIT = "day-limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an accepted event said; told apart by this, two events of one identity conflict."""

    value: Decimal
    attributes: Mapping[str, str]
    occurred_at: datetime
    occurred_at_told: bool


class Duplicate:
    """The event was accepted before: it has no effect (S11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The event does not count; `detail` says what exactly is wrong and what would be right."""

    reason: Reason
    detail: str


UserDay = tuple[str, str, date]
"""(user_id, metric, local date)"""


@dataclass(slots=True, kw_only=True)
class Days:
    """Local dates of events whose metrics have limits for a day, and what those days came to."""

    dates: Mapping[Identity, date]
    totals: dict[UserDay, PeriodTotal]

    def key(self, arrival: Arrival) -> UserDay | None:
        """Return which day an event counts on, None where no limit asks for it."""
        day = self.dates.get(arrival.identity)
        return None if day is None else (arrival.event.user_id, arrival.event.metric, day)

    def add(self, arrival: Arrival) -> None:
        """Count an event that was accepted."""
        key = self.key(arrival)
        if key is not None:
            value, events = self.totals.get(key, NO_EVENTS)
            self.totals[key] = PeriodTotal(value + arrival.event.value, events + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Of users of whom events have left the ledger: up to when it is closed, and what has left."""

    until: Mapping[str, datetime]
    identities: Set[Identity]


NONE_CLOSED = Closed(until={}, identities=frozenset())


@dataclass(slots=True, kw_only=True)
class Accepted:
    """What came of a batch: the events that count in order of arrival, and all the others."""

    new: list[Arrival] = field(default_factory=list)
    duplicates: int = 0
    refused: list[tuple[Arrival, Refusal]] = field(default_factory=list)


def accept(
    arrivals: Iterable[Arrival],
    rulebook: Rulebook,
    known: Mapping[Identity, Content],
    totals: Mapping[tuple[str, str], Decimal],
    now: datetime,
    days: Days | None = None,
    closed: Closed = NONE_CLOSED,
) -> Accepted:
    """Sort the events of a batch into those that count, duplicates, and refused ones.

    `known` holds what was accepted earlier under the identities of the batch, `totals` what each of
    its (user_id, metric) has come to before it. `days` is needed where metrics have limits for one.
    What an event that is `closed` said is not known any more: one under its key is a duplicate.
    """
    accepted = Accepted()
    running = dict(totals)
    days = days or Days(dates={}, totals={})
    taken: dict[Identity, Arrival] = {}
    for arrival in arrivals:
        identity = arrival.identity
        user_metric = identity[:2]
        total = running.get(user_metric, NOTHING)
        before = known.get(identity)
        if before is None and identity in taken:
            before = content_of(taken[identity])
        verdict: Duplicate | Refusal | None
        if before is not None:
            verdict = compare(before, arrival)
        elif identity in closed.identities:
            verdict = Duplicate()
        else:
            verdict = (
                refuse(arrival, rulebook, total, now)
                or _refuse_closed(arrival, closed)
                or _refuse_day(arrival, rulebook, days)
            )
        if verdict is None:
            taken[identity] = arrival
            days.add(arrival)
            running[user_metric] = total + arrival.event.value
            accepted.new.append(arrival)
        elif isinstance(verdict, Duplicate):
            accepted.duplicates += 1
        else:
            accepted.refused.append((arrival, verdict))
    return accepted


def _refuse_closed(arrival: Arrival, closed: Closed) -> Refusal | None:
    """Refuse what comes before a ledger's beginning: what follows from it cannot be decided."""
    until = closed.until.get(arrival.event.user_id)
    if until is None or arrival.occurred_at > until:
        return None
    return Refusal(
        reason=Reason.TOO_OLD,
        detail=f"occurred_at {instant_text(arrival.occurred_at)} is not after "
        f"{instant_text(until)}, up to which events of this user have left for the warehouse",
    )


def _refuse_day(arrival: Arrival, rulebook: Rulebook, days: Days) -> Refusal | None:
    """Refuse what is over a limit for one local day (S16): here the order of arrival decides."""
    rule = rulebook.metrics[arrival.event.metric]
    key = days.key(arrival)
    if not rule.has_day_limit or key is None:
        return None
    value, events = days.totals.get(key, NO_EVENTS)
    name, day = arrival.event.metric, key[2]
    if rule.events_per_day_max is not None and events >= rule.events_per_day_max:
        return Refusal(
            reason=Reason.DAY_LIMIT,
            detail=f"{day} has {events} events of {name} already, "
            f"its max_events_per_day is {rule.events_per_day_max}",
        )
    more = arrival.event.value
    if (
        rule.value_per_day_max is not None
        and more > NOTHING
        and value + more > rule.value_per_day_max
    ):
        return Refusal(
            reason=Reason.DAY_LIMIT,
            detail=f"{decimal_text(more)} more than the {decimal_text(value)} of "
            f"{name} on {day} is over its max_value_per_day, "
            f"{decimal_text(rule.value_per_day_max)}",
        )
    return None


def content_of(arrival: Arrival) -> Content:
    """Return what the event says apart from who it is."""
    return Content(
        value=arrival.event.value,
        attributes=arrival.event.attributes,
        occurred_at=arrival.occurred_at,
        occurred_at_told=arrival.event.occurred_at is not None,
    )


def compare(known: Content, arrival: Arrival) -> Duplicate | Refusal:
    """Judge an event whose identity was accepted before: a duplicate or a conflict (S11)."""
    came = content_of(arrival)
    differing = [
        name
        for name, first, second in (
            ("value", known.value, came.value),
            ("attributes", known.attributes, came.attributes),
            ("occurred_at", known.occurred_at, came.occurred_at),
        )
        # an instant that was left to default is not content
        if first != second
        and (name != "occurred_at" or (known.occurred_at_told and came.occurred_at_told))
    ]
    if not differing:
        return Duplicate()
    return Refusal(
        reason=Reason.CONFLICT,
        detail=f"{' and '.join(differing)} differ from the event accepted under this key; "
        "give a corrected event a key of its own",
    )


def refuse(arrival: Arrival, rulebook: Rulebook, total: Decimal, now: datetime) -> Refusal | None:
    """Return why a new event does not count, or None where it does.

    `total` is what the user's metric has come to before it.
    """
    return _refuse_metric(arrival.event, rulebook, total) or _refuse_time(arrival, rulebook, now)


def _refuse_metric(event: Event, rulebook: Rulebook, total: Decimal) -> Refusal | None:
    metric = rulebook.metrics.get(event.metric)
    value = event.value
    if metric is None:
        guess = nearest(event.metric, rulebook.metrics)
        return Refusal(
            reason=Reason.UNKNOWN_METRIC,
            detail=f"the program declares no metric {event.metric!r}{guess}",
        )
    if value < NOTHING and not metric.allow_negative:
        return Refusal(
            reason=Reason.NEGATIVE,
            detail=f"{decimal_text(value)} is negative, and {event.metric} does not allow_negative",
        )
    if metric.value_max is not None and value > metric.value_max:
        return Refusal(
            reason=Reason.TOO_LARGE,
            detail=f"{decimal_text(value)} is over the max_value of {event.metric}, "
            f"{decimal_text(metric.value_max)}",
        )
    if metric.aggregate is MetricAggregate.SUM and abs(total + value) > metric.total_max:
        return Refusal(
            reason=Reason.OUT_OF_RANGE,
            detail=f"the total of {event.metric}, or points for it, would leave the exact range; "
            f"the total may reach {decimal_text(metric.total_max)} either way",
        )
    return None


def _refuse_time(arrival: Arrival, rulebook: Rulebook, now: datetime) -> Refusal | None:
    try:
        arrival.event.check_time(now)
    except InvalidEvent as error:
        return Refusal(reason=Reason.AHEAD, detail=str(error))
    if arrival.occurred_at < OCCURRED_AT_MIN:
        return Refusal(
            reason=Reason.TOO_OLD,
            detail=f"occurred_at {instant_text(arrival.occurred_at)} is before "
            f"{instant_text(OCCURRED_AT_MIN)}, the earliest that has a date in every zone",
        )
    if not arrival.imported and arrival.occurred_at < arrival.received_at - rulebook.event_age_max:
        return Refusal(
            reason=Reason.TOO_OLD,
            detail=f"occurred_at {instant_text(arrival.occurred_at)} is older than max_event_age, "
            f"{rulebook.event_age_max.days} days; import such events instead",
        )
    return None
