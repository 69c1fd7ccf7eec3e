"""What a user's metrics add up to: for all time and per local day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from models.rules.arrivals import Dated


class Total(NamedTuple):
    """What a metric of a user has come to.

    `reached_at` is the instant of the latest event that moved the value, and so the instant from
    which on it has been what it is (S44); None while no event has moved it.
    """

    value: Decimal
    events: int
    reached_at: datetime | None


class DayTotal(NamedTuple):
    """What a metric of a user came to on one local day."""

    value: Decimal
    events: int


DayTotals = Mapping[str, DayTotal]
"""What each metric that had an event came to on one local day of a user."""


class Day(NamedTuple):
    """A local day of a user, and what its metrics came to."""

    date: date
    totals: DayTotals


NO_TOTAL = Total(value=Decimal(0), events=0, reached_at=None)
NO_DAY = DayTotal(value=Decimal(0), events=0)


def fold_totals(new: Iterable[Dated], known: Mapping[str, Total]) -> dict[str, Total]:
    """Return the totals of one user that the events change, by metric, as they are afterwards."""
    changed: dict[str, Total] = {}
    for dated in new:
        event = dated.arrival.event
        before = changed.get(event.metric) or known.get(event.metric, NO_TOTAL)
        reached_at = before.reached_at
        if event.value and (reached_at is None or reached_at < dated.arrival.occurred_at):
            reached_at = dated.arrival.occurred_at
        changed[event.metric] = Total(before.value + event.value, before.events + 1, reached_at)
    return changed


def fold_days(new: Iterable[Dated], known: Mapping[date, DayTotals]) -> dict[date, DayTotals]:
    """Return the days of one user that the events change, as they are afterwards."""
    changed: dict[date, dict[str, DayTotal]] = {}
    for dated in new:
        event = dated.arrival.event
        day = changed.get(dated.local_date)
        if day is None:
            day = changed[dated.local_date] = dict(known.get(dated.local_date, {}))
        before = day.get(event.metric, NO_DAY)
        day[event.metric] = DayTotal(before.value + event.value, before.events + 1)
    return dict(changed)
