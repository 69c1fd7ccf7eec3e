"""`[streaks.*]`: what keeps a streak alive, and what holds it where nothing was done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import Field

from models.program.table import Fault, OrderFree, Reference, Table
from models.program.values import (
    Count,
    CountOrZero,
    Duration,
    Name,
    Positive,
    Text,
    Weekday,
    at_most,
)

GRACE_DAYS_MAX = 7
_OVER_MAX_REMEDY = "lower it, or raise max"


class Freezes(Table):
    """Each holds the streak over one missed period (S23, S24)."""

    start: CountOrZero = 0
    """Given at sign-up."""
    max: Count
    """The most that a user can have."""
    earn_every: Count | None = None
    """One is earned when the length reaches a multiple of this; left out, none is earned."""
    earn: Count = 1
    """How many are earned then."""

    def faults(self) -> Iterator[Fault]:
        if self.start > self.max:
            yield "start", f"{self.start} is more than max, which is {self.max}; {_OVER_MAX_REMEDY}"
        if self.earn > self.max:
            yield "earn", f"{self.earn} is more than max, which is {self.max}; {_OVER_MAX_REMEDY}"
        if self.earn_every is None and "earn" in self.model_fields_set:
            yield "earn", "means nothing without earn_every; say how often, such as earn_every = 7"


class Streak(Table):
    """A chain of days, weeks or months, each with enough done (S20 to S29)."""

    name: Text | None = None
    """How people call it."""
    frequency: Literal["daily", "weekly", "monthly"]
    """The length of a period."""
    mode: Literal["any", "all"] = "any"
    """Whether one of the metrics must reach its threshold, or all of them (S20)."""
    metrics: Annotated[dict[Name, Positive], Field(min_length=1)]
    """What a period needs: metrics with their thresholds."""
    days_off: Annotated[tuple[Weekday, ...], OrderFree] = ()
    """Weekdays on which nothing need be done; daily streaks only."""
    grace: Annotated[Duration, at_most(timedelta(days=GRACE_DAYS_MAX))] = timedelta(0)
    """How long after its end a period closes (S25)."""
    freezes: Freezes | None = None
    """Left out, there are none."""
    milestones: Annotated[tuple[Count, ...], OrderFree] = ()
    """Lengths worth a notice (S28)."""

    def faults(self) -> Iterator[Fault]:
        if self.days_off and self.frequency != "daily":
            yield "days_off", f"a {self.frequency} streak has none; use frequency = 'daily'"
        if len(self.days_off) == len(get_args(Weekday)):
            yield "days_off", "are all seven, so that no day would ever count; leave one out"

    def references(self) -> Iterator[Reference]:
        for metric in self.metrics:
            yield Reference(key=f"metrics.{metric}", section="metrics", name=metric)
