"""What the history of commits comes to under `programs/open-source.toml`, counted in plain loops.

Nothing here comes from `models`, `jobs` or `worker`: tests compare what those make of the same
commits with this. Users are told before any event, so one zone holds for all that a user did. The
program's numbers are written out below on purpose.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

POINTS_PER_COMMIT = 10
POINTS_PER_STREAK_WEEK = 50
STREAK_WEEK = 7  # days of a daily streak that earn points, a freeze and an achievement
FREEZES_MAX = 2
COMMITS_PER_ACTIVE_WEEK = 3
LEVELS = (("maintainer", 5000), ("regular", 500), ("newcomer", 0))
HUNDRED = 100

ONE_DAY = timedelta(days=1)
ONE_WEEK = timedelta(weeks=1)

Standings = list[tuple[str, int, datetime]]


class Chain(NamedTuple):
    """A chain that broke or goes on; a period is named by its first date."""

    start: date
    end: date  # its last active period: what was frozen after it is no part
    length: int


class Entry(NamedTuple):
    """A line of the ledger."""

    trigger: str  # "commit" (on a metric) or "week" (on a streak)
    amount: int
    occurred_at: datetime


class Reached(NamedTuple):
    """A length, and the commit's instant that made its last period active."""

    length: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """A streak as of NOW."""

    active: dict[date, datetime]  # each active period, with the instant that made it so
    chains: list[Chain]  # in order, the one that still holds included
    length: int  # 0 once broken
    freezes: int
    frozen: list[date]  # in order, also those that a break followed
    reached: list[Reached]  # one for each active period, in order

    @property
    def longest(self) -> int:
        """The length of the longest chain."""
        return max((chain.length for chain in self.chains), default=0)

    def first_reached(self, length: int) -> datetime | None:
        """Return the instant of the commit that first brought a chain to a length."""
        return next((found.at for found in self.reached if found.length == length), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """All that one author's commits come to as of NOW."""

    total: int
    daily: Streak
    weekly: Streak
    entries: list[Entry]  # by instant; the one for a week follows its commit's
    achievements: dict[str, datetime]  # completed_at

    @property
    def balance(self) -> int:
        """The sum of the ledger."""
        return sum(entry.amount for entry in self.entries)

    @property
    def level(self) -> str:
        """The highest level whose threshold the balance is at or over."""
        return next(key for key, at in LEVELS if self.balance >= at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Everyone, and every board by leaderboard and run, best first."""

    authors: dict[str, Author]
    boards: dict[tuple[str, str], Standings]


class _Commit(NamedTuple):
    at: datetime
    key: str
    date: date


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a compressed file of one JSON object a line."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def compute(
    commits: Iterable[Mapping[str, Any]], users: Iterable[Mapping[str, Any]], now: datetime
) -> Expected:
    """Count what the commits up to an instant come to as of that instant."""
    zones = {user["user_id"]: ZoneInfo(user["tz"]) for user in users}
    found = _by_author(commits, zones, now)
    authors = {
        user: _author(theirs, zones[user], local_date(now, zones[user]))
        for user, theirs in found.items()
    }
    return Expected(authors=authors, boards=_boards(authors, found))


def local_date(at: datetime, zone: ZoneInfo) -> date:
    """Return the date of an instant; a date once begun stays begun (S3)."""
    shown = at.astimezone(zone).date()
    following = shown + ONE_DAY
    # Where clocks go back over midnight (St. John's at 00:01) the next date was there already.
    began = datetime.combine(following, time(0), zone).replace(fold=0).astimezone(UTC)
    return following if began <= at else shown


def date_exists(day: date, zone: ZoneInfo) -> bool:
    """Tell whether the zone's clocks ever showed the date's noon: no date lacks only that (S4)."""
    noon = datetime.combine(day, time(12), zone)
    return noon.astimezone(UTC).astimezone(zone).date() == day


def _by_author(
    commits: Iterable[Mapping[str, Any]], zones: Mapping[str, ZoneInfo], now: datetime
) -> dict[str, list[_Commit]]:
    found: dict[str, dict[str, _Commit]] = defaultdict(dict)
    for commit in commits:
        user, key = commit["user_id"], commit["key"]
        assert commit["metric"] == "commits"
        assert commit.get("value", 1) == 1
        assert key not in found[user]
        at = datetime.fromisoformat(commit["occurred_at"]).astimezone(UTC)
        if at <= now:
            found[user][key] = _Commit(at, key, local_date(at, zones[user]))
    return {user: sorted(theirs.values()) for user, theirs in found.items() if theirs}


def _author(commits: list[_Commit], zone: ZoneInfo, today: date) -> Author:
    daily = _walk(
        _active(commits, lambda day: day, at_least=1),
        today,
        step=ONE_DAY,
        exists=lambda day: date_exists(day, zone),
        earn_every=STREAK_WEEK,
    )
    weekly = _walk(
        _active(commits, monday, at_least=COMMITS_PER_ACTIVE_WEEK),
        monday(today),
        step=ONE_WEEK,
        exists=lambda _: True,
        earn_every=None,
    )
    return Author(
        total=len(commits),
        daily=daily,
        weekly=weekly,
        entries=_ledger(commits, daily),
        achievements=_achievements(commits, daily),
    )


def monday(day: date) -> date:
    """Return the first date of a date's week."""
    return day - day.weekday() * ONE_DAY


def _active(
    commits: list[_Commit], period_of: Callable[[date], date], *, at_least: int
) -> dict[date, datetime]:
    counts: dict[date, int] = defaultdict(int)
    active: dict[date, datetime] = {}
    for commit in commits:
        period = period_of(commit.date)
        counts[period] += 1
        if counts[period] == at_least:
            active[period] = commit.at
    return active


def _walk(
    active: dict[date, datetime],
    current: date,
    *,
    step: timedelta,
    exists: Callable[[date], bool],
    earn_every: int | None,
) -> Streak:
    """Go through the active periods and the misses between them, up to the period still open."""
    chains: list[Chain] = []
    frozen: list[date] = []
    reached: list[Reached] = []
    length = freezes = 0
    start = end = current
    for period in [*sorted(active), None]:
        if length:
            for missed in _between(end, current if period is None else period, step):
                if not exists(missed):
                    continue
                if not freezes:
                    chains.append(Chain(start, end, length))
                    length = 0
                    break
                freezes -= 1
                frozen.append(missed)
        if period is None:
            break
        if not length:
            start = period
        end = period
        length += 1
        reached.append(Reached(length, active[period]))
        if earn_every and length % earn_every == 0:
            freezes = min(freezes + 1, FREEZES_MAX)
    if length:
        chains.append(Chain(start, end, length))
    return Streak(
        active=active,
        chains=chains,
        length=length,
        freezes=freezes,
        frozen=frozen,
        reached=reached,
    )


def _between(after: date, before: date, step: timedelta) -> Iterator[date]:
    period = after + step
    while period < before:
        yield period
        period += step


def _ledger(commits: list[_Commit], daily: Streak) -> list[Entry]:
    entries = [Entry("commit", POINTS_PER_COMMIT, commit.at) for commit in commits]
    for found in daily.reached:
        if found.length % STREAK_WEEK == 0:
            entries.append(Entry("week", POINTS_PER_STREAK_WEEK, found.at))
    return sorted(entries, key=lambda entry: (entry.occurred_at, entry.trigger))


def _achievements(commits: list[_Commit], daily: Streak) -> dict[str, datetime]:
    completed = {"first-commit": commits[0].at}
    if len(commits) >= HUNDRED:
        completed["hundred-commits"] = commits[HUNDRED - 1].at
    week = daily.first_reached(STREAK_WEEK)
    if week is not None:
        completed["week-streak"] = week
    if "hundred-commits" in completed and "week-streak" in completed:
        completed["all-rounder"] = max(completed["hundred-commits"], completed["week-streak"])
    return completed


def _boards(
    authors: Mapping[str, Author], commits: Mapping[str, list[_Commit]]
) -> dict[tuple[str, str], Standings]:
    scores: dict[tuple[str, str], dict[str, tuple[int, datetime]]] = defaultdict(dict)

    def add(leaderboard: str, run: str, user: str, amount: int, at: datetime) -> None:
        score, latest = scores[leaderboard, run].get(user, (0, at))
        scores[leaderboard, run][user] = (score + amount, max(latest, at))

    for user, author in authors.items():
        for commit in commits[user]:
            year, week, _ = commit.date.isocalendar()
            add("all-time", "all", user, 1, commit.at)
            add("weekly", f"{year}-W{week:02}", user, 1, commit.at)
        for entry in author.entries:
            run = f"{entry.occurred_at:%Y-%m}"
            add("monthly-xp", run, user, entry.amount, entry.occurred_at)
        reached_at = author.daily.first_reached(author.daily.longest)
        assert reached_at is not None
        add("longest-streak", "all", user, author.daily.longest, reached_at)
    return {board: _ranked(theirs) for board, theirs in scores.items()}


def _ranked(scores: Mapping[str, tuple[int, datetime]]) -> Standings:
    standings = [(user, score, reached_at) for user, (score, reached_at) in scores.items()]
    return sorted(
        standings, key=lambda found: (-found[1], found[2].replace(microsecond=0), found[0].encode())
    )
