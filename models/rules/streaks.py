"""Daily streaks: which days are active, and the chains that they form.

A chain is an unbroken run of active days. Days that never existed in the user's zone do not break
it (S4). The chains are a function of the set of active days alone: `extend_chain` folds days onto
the latest chain as they come, and folding all of them from nothing gives the same chains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from models.rules.calendar import DAYS_CACHED_MAX, day_start, next_day
from models.rules.totals import DayTotals


class Mode(Enum):
    """Whether a day is active when any of the thresholds is reached, or only when all are (S20)."""

    ANY = "any"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreakRule:
    """A daily streak of a program: its name and the least value of each metric on an active day."""

    name: str
    mode: Mode
    thresholds: Mapping[str, Decimal]


class Chain(NamedTuple):
    """An unbroken run of active days: its first and last one, and how many they are (S21)."""

    started_on: date
    ended_on: date
    length: int


class LatestChain(NamedTuple):
    """The latest chain of a streak, and the instant at which it is over unless extended (S8)."""

    chain: Chain
    deadline_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedDays:
    """The days that became active and those that no longer are, each ascending (S20)."""

    added: Sequence[date]
    removed: Sequence[date]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def follow(self, latest: Chain | None) -> bool:
        """Tell whether the days can be folded onto the latest chain, without a look at the past."""
        return not self.removed and (latest is None or self.added[0] > latest.ended_on)

    @property
    def first(self) -> date:
        """The earliest day that changed."""
        return min([*self.added[:1], *self.removed[:1]])


def is_active(rule: StreakRule, day: DayTotals) -> bool:
    """Tell whether a day with these totals is active (S20).

    A metric without an event on the day has no total, and so reaches no threshold, not even zero.
    """
    decisive = rule.mode is Mode.ANY
    for metric, least in rule.thresholds.items():
        total = day.get(metric)
        if (total is not None and total.value >= least) is decisive:
            return decisive
    return not decisive


def changed_days(
    rule: StreakRule,
    before: Mapping[date, DayTotals],
    after: Mapping[date, DayTotals],
) -> ChangedDays:
    """Compare what days of a user came to before and after: which became active, or inactive."""
    added, removed = [], []
    for day in sorted(after):
        was = day in before and is_active(rule, before[day])
        is_now = is_active(rule, after[day])
        if is_now and not was:
            added.append(day)
        elif was and not is_now:
            removed.append(day)
    return ChangedDays(added=added, removed=removed)


def extend_chain(latest: Chain | None, active_days: Iterable[date], tz: str) -> list[Chain]:
    """Fold active days onto the latest chain; return it as it then is, and those that follow.

    The days ascend and lie after the end of `latest`. With no chain and no day the list is empty.
    """
    chains = [latest] if latest else []
    for day in active_days:
        last = chains[-1] if chains else None
        if last is not None and next_day(last.ended_on, tz) == day:
            chains[-1] = Chain(started_on=last.started_on, ended_on=day, length=last.length + 1)
        else:
            chains.append(Chain(started_on=day, ended_on=day, length=1))
    return chains


def refold_start(changed: date, starts: Iterable[date]) -> date:
    """Return from which day on a streak is to be folded anew after a change on a day of its past.

    `starts` are those of its chains. It is the start of the chain before the one that the day falls
    into or follows: whatever the change does to that one, the chain before it is whole, and is the
    latest if nothing follows.
    """
    last_two = sorted(start for start in starts if start <= changed)[-2:]
    return min(last_two, default=changed)


@lru_cache(maxsize=DAYS_CACHED_MAX)
def chain_deadline(ended_on: date, tz: str) -> datetime:
    """Return when a chain is over whose last day this is: when the day after it has passed."""
    missed = next_day(next_day(ended_on, tz), tz)
    deadline = day_start(missed, tz)
    assert deadline is not None, "next_day returns days that exist"
    return deadline


def with_deadline(chain: Chain, tz: str) -> LatestChain:
    """Return a latest chain with its deadline in the zone that its user has now (S8)."""
    return LatestChain(chain=chain, deadline_at=chain_deadline(chain.ended_on, tz))
