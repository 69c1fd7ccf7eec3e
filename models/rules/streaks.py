"""Streaks: which periods are active, and the chains that they form (S20 to S29).

A chain is a function of which periods are active, which are held (day off, pause, freeze) and which
have closed. `walk` goes through the periods that may still change, one by one, from the first of
them on; whatever lies before it is settled and stands in the streak's state. A period may change
until it is over everywhere on earth: someone who moves west can live a date again (S7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from models.rules.calendar import ZoneChange
from models.rules.periods import (
    Frequency,
    PeriodRule,
    closes_at,
    last_date,
    lived,
    next_period,
    over_everywhere_at,
    period_of,
)
from models.rules.state import PeriodTotals, StreakState
from models.rules.timelines import Pause

DATES_APART_MAX = timedelta(days=2)
"""How far apart the dates are that the clocks of the earth show at one instant, at most."""


class Mode(Enum):
    """Whether a period is active when any threshold is reached, or only when all are (S20)."""

    ANY = "any"
    ALL = "all"


class FreezeRule(NamedTuple):
    """Freezes: how many there are at the start and at most, and how they are earned (S24)."""

    start: int
    max: int
    earn_every: int | None
    earn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreakRule:
    """A streak of a program: what a period needs, and what holds the chain where it is missing.

    `days_off` are weekdays, 0 for Monday.
    """

    name: str
    period: PeriodRule
    mode: Mode
    thresholds: Mapping[str, Decimal]
    days_off: frozenset[int] = frozenset()
    grace: timedelta = timedelta(0)
    freezes: FreezeRule | None = None
    milestones: Sequence[int] = ()


class PeriodKind(Enum):
    """What a period is to its chain (S29); pending is one that has not closed and is not active."""

    ACTIVE = "active"
    OFF = "off"
    PAUSED = "paused"
    FROZEN = "frozen"
    MISSED = "missed"
    PENDING = "pending"


class Chain(NamedTuple):
    """An unbroken run of periods: its first and last active one, and how many were active (S21)."""

    started_on: date
    ended_on: date
    length: int


class Step(NamedTuple):
    """A period, what it is, and the streak after it.

    `decided` tells that nothing before it is pending. `ended` is the chain that ended with it, or,
    `by_reset`, before it.
    """

    period: date
    kind: PeriodKind
    decided: bool
    length: int
    started_on: date | None
    ended_on: date | None
    freezes: int
    grants_counted: int
    ended: Chain | None
    by_reset: bool

    @property
    def is_lost(self) -> bool:
        """Whether the chain ended because nothing held it here."""
        return self.ended is not None and not self.by_reset


class Walk(NamedTuple):
    """The steps through the periods that may still change, and when time changes them next.

    `open` is the first period that has not closed and in which nothing was done yet.
    """

    steps: list[Step]
    due_at: datetime | None
    open: date | None


class Life(NamedTuple):
    """What of a user bears on every streak: zones, the zone assumed without any, and pauses."""

    zones: Sequence[ZoneChange]
    assumed: str
    pauses: Sequence[Pause]


def is_active(rule: StreakRule, totals: PeriodTotals) -> bool:
    """Tell whether a period with these totals is active (S20).

    A metric without an event in it has no total, and so reaches no threshold, not even zero.
    """
    decisive = rule.mode is Mode.ANY
    for metric, least in rule.thresholds.items():
        total = totals.get(metric)
        if (total is not None and total.value >= least) is decisive:
            return decisive
    return not decisive


def begin(rule: StreakRule, day: date) -> StreakState:
    """Return the streak of a user whose first local date this is.

    It begins a little before: who moves west may live an earlier date later on (S7).
    """
    first = period_of(day - DATES_APART_MAX, rule.period)
    return StreakState(next=first, freezes=rule.freezes.start if rule.freezes else 0)


def walk(rule: StreakRule, streak: StreakState, life: Life, now: datetime) -> Walk:
    """Go through the periods that may still change, as of `now`; periods close one by one (S23)."""
    return _Walker(rule, streak, life, now).run()


class _Walker:
    """One walk: the chain so far, and the periods still ahead."""

    def __init__(self, rule: StreakRule, streak: StreakState, life: Life, now: datetime) -> None:
        self._rule = rule
        self._streak = streak
        self._life = life
        self._now = now
        self._length = streak.length
        self._started_on = streak.started_on
        self._ended_on = streak.ended_on
        self._freezes = streak.freezes
        self._granted = 0
        self._pending = False
        self._due_at: datetime | None = None
        self._open: date | None = None
        self._steps: list[Step] = []

    def run(self) -> Walk:
        active = self._streak.activated
        latest = max(active) if active else None
        period = self._streak.next
        while True:
            if self._length == 0 and not self._pending:
                # Without a chain nothing can be missed: on to the next active period.
                period = min((day for day in active if day >= period), default=period)
            ended = self._cut(period)
            if period in active:
                self._activate(period, ended)
            elif latest is None or period > latest:
                if self._length == 0 or not self._close(period, ended):
                    if ended is not None:
                        self._add(period, PeriodKind.PENDING, ended)
                    break
            elif not self._close(period, ended):
                self._wait(period, ended)
            period = next_period(period, self._rule.period)
        return Walk(self._steps, self._due_at, self._open)

    def _cut(self, period: date) -> Chain | None:
        """End the chain where a reset stands before the period (S27)."""
        started_on = self._started_on
        if started_on is None or not any(
            started_on < cut_on <= period for cut_on in self._streak.cuts
        ):
            return None
        return self._end()

    def _activate(self, period: date, ended: Chain | None) -> None:
        rule = self._rule
        self._count_grants(self._streak.activated[period].at)
        self._length += 1
        self._started_on = self._started_on or period
        self._ended_on = period
        freezes = rule.freezes
        if (
            freezes is not None
            and freezes.earn_every is not None
            and not self._pending
            and self._length % freezes.earn_every == 0
        ):
            self._freezes = max(self._freezes, min(freezes.max, self._freezes + freezes.earn))
        self._add(period, PeriodKind.ACTIVE, ended)

    def _close(self, period: date, ended: Chain | None) -> bool:
        """Decide a period that is over and not active; tell whether it is over."""
        rule, life = self._rule, self._life
        if rule.period.frequency is Frequency.DAILY and not lived(
            period, rule.period, life.zones, life.assumed
        ):
            if ended is not None:
                self._add(period, PeriodKind.OFF, ended)
            return True
        closing = closes_at(period, rule.period, life.zones, life.assumed, rule.grace)
        if closing > self._now or self._pending:
            if self._open is None:
                self._due_at, self._open = closing, period
            return False
        self._count_grants(closing)
        if self._length == 0:
            self._add(period, PeriodKind.MISSED, ended)
        elif period.weekday() in rule.days_off:
            self._add(period, PeriodKind.OFF, ended)
        elif is_paused(rule, life.pauses, period):
            self._add(period, PeriodKind.PAUSED, ended)
        elif self._freezes > 0:
            self._freezes -= 1
            self._add(period, PeriodKind.FROZEN, ended)
        else:
            self._add(period, PeriodKind.MISSED, self._end(), by_reset=False)
        return True

    def _wait(self, period: date, ended: Chain | None) -> None:
        self._pending = True
        self._add(period, PeriodKind.PENDING, ended)

    def _end(self) -> Chain:
        assert self._started_on is not None
        assert self._ended_on is not None
        chain = Chain(self._started_on, self._ended_on, self._length)
        self._length, self._started_on, self._ended_on = 0, None, None
        return chain

    def _count_grants(self, before: datetime) -> None:
        """Add what operators gave before an instant, up to the maximum (S24)."""
        grants = self._streak.grants
        while self._granted < len(grants) and grants[self._granted][0] < before:
            self._freezes = granted(self._rule, self._freezes, grants[self._granted][1])
            self._granted += 1

    def _add(
        self, period: date, kind: PeriodKind, ended: Chain | None, *, by_reset: bool = True
    ) -> None:
        self._steps.append(
            Step(
                period,
                kind,
                not self._pending,
                self._length,
                self._started_on,
                self._ended_on,
                self._freezes,
                self._granted,
                ended,
                by_reset and ended is not None,
            )
        )


def is_paused(rule: StreakRule, pauses: Sequence[Pause], period: date) -> bool:
    """Tell whether a pause covers any date of a period (S27)."""
    last = last_date(period, rule.period)
    return any(
        pause.first <= last and period <= pause.last and pause.streak in {None, rule.name}
        for pause in pauses
    )


def _expires_at(rule: StreakRule, streak: StreakState, life: Life, period: date) -> datetime:
    """Return when the first period closes, from an open one on, in which something must be done."""
    while (
        period in streak.activated
        or period.weekday() in rule.days_off
        or is_paused(rule, life.pauses, period)
    ):
        period = next_period(period, rule.period)
    return closes_at(period, rule.period, life.zones, life.assumed, rule.grace)


def granted(rule: StreakRule, freezes: int, more: int) -> int:
    """Return how many freezes there are after a grant; over the maximum is clipped (S24)."""
    most = rule.freezes.max if rule.freezes else 0
    return max(freezes, min(most, freezes + more))


def settle(
    rule: StreakRule, streak: StreakState, steps: Sequence[Step], now: datetime
) -> list[Chain]:
    """Move what no event can change any more into the chain; return the chains that ended by it."""
    ended = []
    for step in steps:
        if not step.decided or over_everywhere_at(step.period, rule.period) + rule.grace > now:
            break
        streak.next = next_period(step.period, rule.period)
        streak.length, streak.started_on = step.length, step.started_on
        streak.ended_on, streak.freezes = step.ended_on, step.freezes
        streak.longest = max(streak.longest, step.length)
        if step.ended is not None:
            streak.longest = max(streak.longest, step.ended.length)
            ended.append(step.ended)
        streak.activated.pop(step.period, None)
        streak.made.pop(step.period, None)
        streak.closed.pop(step.period, None)
    counted = _settled_grants(steps, streak.next)
    if counted:
        del streak.grants[:counted]
    if streak.cuts:
        # Before the next period, and with no chain that began before them, they are done.
        since = streak.started_on or streak.next
        streak.cuts = [cut_on for cut_on in streak.cuts if cut_on > since]
    return ended


def _settled_grants(steps: Sequence[Step], following: date) -> int:
    return max((step.grants_counted for step in steps if step.period < following), default=0)


class Reading(NamedTuple):
    """A streak as of an instant (S26): what reading it shows.

    `expires_at` is when the period closes by whose end something must be done, None without a
    chain. `history` holds the chains that may still change, the current one last.
    """

    length: int
    longest: int
    started_on: date | None
    ended_on: date | None
    freezes: int
    expires_at: datetime | None
    history: Sequence[Chain]

    def differs_in_the_past(self, after: Reading) -> bool:
        """Tell whether more than the latest period is another afterwards (S14)."""
        if self.started_on and after.started_on and self.started_on != after.started_on:
            return True
        if self.ended_on == after.ended_on:
            return (self.length, self.freezes) != (after.length, after.freezes)
        return abs(after.length - self.length) > 1


def read(rule: StreakRule, streak: StreakState, life: Life, now: datetime) -> Reading:
    """Return the streak as of `now`, right without any sweep."""
    found = walk(rule, streak, life, now)
    last = found.steps[-1] if found.steps else None
    length = last.length if last else streak.length
    started_on = last.started_on if last else streak.started_on
    ended_on = last.ended_on if last else streak.ended_on
    freezes = last.freezes if last else streak.freezes
    for _, more in streak.grants[last.grants_counted if last else 0 :]:
        freezes = granted(rule, freezes, more)
    history = [step.ended for step in found.steps if step.ended is not None]
    if started_on is not None and ended_on is not None and length:
        history.append(Chain(started_on, ended_on, length))
    return Reading(
        length=length,
        longest=max([streak.longest, *(chain.length for chain in history)]),
        started_on=started_on,
        ended_on=ended_on,
        freezes=freezes,
        expires_at=_expires_at(rule, streak, life, found.open) if length and found.open else None,
        history=history,
    )
