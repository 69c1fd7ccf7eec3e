"""What a report must say, counted from facts in plain loops and sets, with nothing of `models`.

`answers` returns, for each question, what its rows must be as tuples, in the order of the report.
The report's numbers of days and weeks are written out below on purpose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

ONE_DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
DAYS, WEEKS, CHAIN_DAYS = 90, 26, 365
Rows = list[tuple[object, ...]]


class Event(NamedTuple):
    """An event, by the local date on which it occurred."""

    user: str
    metric: str
    day: date
    value: Decimal


class Chain(NamedTuple):
    """A chain that has ended, with its last active period."""

    streak: str
    ended_on: date
    length: int


class Notice(NamedTuple):
    """`freeze-used` or `streak-lost`, by the UTC date on which the period closed."""

    kind: str
    streak: str
    day: date


class Entry(NamedTuple):
    """A line of the ledger, by the UTC date of what earned it."""

    points: str
    trigger: str
    day: date
    amount: Decimal


class Completed(NamedTuple):
    """An achievement that a user completed, by UTC date."""

    key: str
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a report is about."""

    events: list[Event]
    chains: list[Chain]
    notices: list[Notice]
    entries: list[Entry]
    completed: list[Completed]


class Counted:
    """A report up to a day; `control` users are the control group, and weeks begin on a weekday."""

    def __init__(
        self, facts: Facts, until: date, control_percent: Decimal, week_starts_on: int
    ) -> None:
        self._until = until
        self._starts_on = week_starts_on
        self._facts = facts
        self._active: dict[date, set[str]] = defaultdict(set)
        self._first: dict[str, date] = {}
        for event in facts.events:
            self._active[event.day].add(event.user)
            self._first[event.user] = min(self._first.get(event.user, event.day), event.day)
        self._groups = {
            "control": {user for user in self._first if part(user) < control_percent * 100},
            "emails": {user for user in self._first if part(user) >= control_percent * 100},
        }
        after = self._week(until + ONE_DAY)
        self._weeks = [after - WEEK * back for back in range(WEEKS, 0, -1)]
        self._days = [until - ONE_DAY * back for back in range(DAYS - 1, -1, -1)]

    def answers(self) -> dict[str, Rows]:
        """Return the rows of every question."""
        return {
            "totals": self._totals(),
            "active_users": self._active_users(),
            "retention": self._retention(),
            "streak_lengths": self._streak_lengths(),
            "freezes": self._freezes(),
            "points": self._points(),
            "achievements": self._achievements(),
            "metrics": self._metrics(),
            "control_days": self._control_days(),
            "control_retention": self._control_retention(),
        }

    def _week(self, day: date) -> date:
        while day.weekday() != self._starts_on:
            day -= ONE_DAY
        return day

    def _seen(self, first: date, last: date) -> set[str]:
        days = (last - first).days + 1
        return set().union(*(self._active[first + ONE_DAY * n] for n in range(days)))

    def _totals(self) -> Rows:
        until, facts = self._until, self._facts
        days = [event.day for event in facts.events if event.day <= until]
        lengths = [chain.length for chain in facts.chains if chain.ended_on <= until]
        kinds = Counter(one.kind for one in facts.notices if one.day <= until)
        return [
            (
                len([user for user, first in self._first.items() if first <= until]),
                len(days),
                min(days).isoformat(),
                max(days).isoformat(),
                len(lengths),
                max(lengths, default=0),
                kinds["freeze-used"],
                kinds["streak-lost"],
                len([one for one in facts.completed if one.day <= until]),
            )
        ]

    def _active_users(self) -> Rows:
        rows: Rows = []
        for day in self._days:
            of_day = len(self._active[day])
            of_week = len(self._seen(day - ONE_DAY * 6, day))
            of_month = len(self._seen(day - ONE_DAY * 29, day))
            rows.append((day.isoformat(), of_day, of_week, of_month, share(of_day, of_month)))
        return rows

    def _cohorts(self) -> dict[date, set[str]]:
        found: dict[date, set[str]] = defaultdict(set)
        for user, first in self._first.items():
            if self._week(first) in self._weeks:
                found[self._week(first)].add(user)
        return found

    def _retention(self) -> Rows:
        return [
            (cohort.isoformat(), after, len(users), len(came), share(len(came), len(users)))
            for cohort, users in sorted(self._cohorts().items())
            for after, came in self._came(cohort, users)
        ]

    def _came(self, cohort: date, users: set[str]) -> list[tuple[int, set[str]]]:
        weeks = [week for week in self._weeks if week >= cohort]
        return [
            (after, users & self._seen(week, week + ONE_DAY * 6))
            for after, week in enumerate(weeks)
        ]

    def _streak_lengths(self) -> Rows:
        rows: Rows = []
        first = self._until - ONE_DAY * (CHAIN_DAYS - 1)
        chains = [one for one in self._facts.chains if first <= one.ended_on <= self._until]
        for streak in sorted({one.streak for one in chains}):
            lengths = [one.length for one in chains if one.streak == streak]
            for length, count in sorted(Counter(lengths).items()):
                reached = len([one for one in lengths if one >= length])
                row = (streak, length, count, reached, len(lengths))
                rows.append((*row, share(reached, len(lengths))))
        return rows

    def _freezes(self) -> Rows:
        count = Counter(self._facts.notices)
        keys = sorted({(one.day, one.streak) for one in count if one.day in self._days})
        return [
            (
                day.isoformat(),
                streak,
                count[Notice("freeze-used", streak, day)],
                count[Notice("streak-lost", streak, day)],
            )
            for day, streak in keys
        ]

    def _points(self) -> Rows:
        sums: dict[tuple[date, str, str], list[Decimal]] = defaultdict(list)
        for one in self._facts.entries:
            if one.day in self._days:
                sums[one.day, one.points, one.trigger].append(one.amount)
        return [
            (day.isoformat(), points, trigger, len(amounts), text(sum(amounts, Decimal(0))))
            for (day, points, trigger), amounts in sorted(sums.items())
        ]

    def _achievements(self) -> Rows:
        users = len([user for user, first in self._first.items() if first <= self._until])
        count = Counter(one.key for one in self._facts.completed if one.day <= self._until)
        ordered = sorted(count.items(), key=lambda item: (-item[1], item[0]))
        return [(key, done, users, share(done, users)) for key, done in ordered]

    def _metrics(self) -> Rows:
        values: dict[tuple[date, str], list[Decimal]] = defaultdict(list)
        for event in self._facts.events:
            if event.day in self._days:
                values[event.day, event.metric].append(event.value)
        return [
            (day.isoformat(), metric, len(some), text(sum(some, Decimal(0))))
            for (day, metric), some in sorted(values.items())
        ]

    def _control_days(self) -> Rows:
        rows: Rows = []
        for day in self._days:
            for group, members in self._groups.items():
                users = {user for user in members if self._first[user] <= day}
                active = len(users & self._active[day])
                if users:
                    row = (day.isoformat(), group, len(users), active)
                    rows.append((*row, share(active, len(users))))
        return rows

    def _control_retention(self) -> Rows:
        sums: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        for cohort, users in self._cohorts().items():
            for after, came in self._came(cohort, users):
                for group, members in self._groups.items():
                    sums[after, group][0] += len(users & members)
                    sums[after, group][1] += len(came & members)
        return [
            (after, group, users, active, share(active, users))
            for (after, group), (users, active) in sorted(sums.items())
            if after > 0 and users
        ]


def part(user: str) -> int:
    """Return the ten-thousandth of the users that a user belongs to."""
    digest = blake2b(user.encode(), digest_size=8, person=b"control").digest()
    return int.from_bytes(digest, "big") % 10_000


def share(some: int, all_of: int) -> str | None:
    """Return a share as the report writes it: at most four places, half to even."""
    if not all_of:
        return None
    return text(round(Decimal(some) / Decimal(all_of), 4))


def text(number: Decimal) -> str:
    """Return a number without an exponent and without zeros at its end."""
    return f"{number.normalize():f}"


def as_rows(report: Mapping[str, Iterable[Iterable[object]]]) -> dict[str, Rows]:
    """Return rows that were read from JSON as tuples."""
    return {name: [tuple(row) for row in rows] for name, rows in report.items()}
