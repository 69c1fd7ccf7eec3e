"""What a user's metrics add up to: for all time and per local day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from models.rules.arrivals import Dated

UserMetric = tuple[str, str]
UserDayMetric = tuple[str, date, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What a metric of a user has come to.

    `reached_at` is the instant of the latest event that moved the value, and so the instant from
    which on it has been what it is (S44); None while no event has moved it.
    """

    value: Decimal
    events: int
    reached_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTotal:
    """What a metric of a user came to on one local day."""

    value: Decimal
    events: int


NO_TOTAL = Total(value=Decimal(0), events=0, reached_at=None)
NO_DAY = DayTotal(value=Decimal(0), events=0)


def fold_totals(new: Iterable[Dated], known: Mapping[UserMetric, Total]) -> dict[UserMetric, Total]:
    """Return the totals that the events change, as they are afterwards."""
    changed: dict[UserMetric, Total] = {}
    for dated in new:
        event = dated.arrival.event
        key = (event.user_id, event.metric)
        before = changed.get(key) or known.get(key, NO_TOTAL)
        reached_at = before.reached_at
        if event.value and (reached_at is None or reached_at < dated.arrival.occurred_at):
            reached_at = dated.arrival.occurred_at
        changed[key] = Total(
            value=before.value + event.value, events=before.events + 1, reached_at=reached_at
        )
    return changed


def fold_days(
    new: Iterable[Dated], known: Mapping[UserDayMetric, DayTotal]
) -> dict[UserDayMetric, DayTotal]:
    """Return the days' totals that the events change, as they are afterwards."""
    changed: dict[UserDayMetric, DayTotal] = {}
    for dated in new:
        event = dated.arrival.event
        key = (event.user_id, dated.local_date, event.metric)
        before = changed.get(key) or known.get(key, NO_DAY)
        changed[key] = DayTotal(value=before.value + event.value, events=before.events + 1)
    return changed
