"""What accepted events come to under `program.toml`, counted in plain loops.

Nothing here comes from `models`, `jobs` or `worker`; the program's numbers are written out below on
purpose. Everyone was told of before the first event, so one zone holds for all that a user did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tests.chaos.producing import country_of, zone_of

XP_PER_LESSON = 10
PRACTICE_PER_XP, XP_PER_PRACTICE = 3, 5
PRACTICE_PER_COIN = 2
LEVELS = (("gold", 25), ("silver", 10), ("bronze", 0))
FIFTY = 50
THREE_DAYS = 3
WINNERS = 3
ALL = "all"
ONE_DAY = timedelta(days=1)


class Happened(NamedTuple):
    """An event that counts; they sort by instant, metric and key, as facts do."""

    at: datetime
    metric: str
    key: str
    user_id: str
    value: Decimal


class Place(NamedTuple):
    """A user's place on a board."""

    rank: int
    user_id: str
    score: Decimal
    reached_at: datetime


@dataclass(slots=True, kw_only=True)
class PlainUser:
    """What a user's events come to as of an instant."""

    totals: dict[str, Decimal] = field(default_factory=dict)
    days: dict[date, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """Lessons by local date."""
    xp: Decimal = Decimal(0)
    coins: Decimal = Decimal(0)
    achievements: set[str] = field(default_factory=set)
    chains: list[tuple[date, date, int]] = field(default_factory=list)
    """First date, last date, length, in order."""
    length: int = 0
    """0 where the latest chain is broken."""

    @property
    def level(self) -> str:
        """The highest level whose threshold the coins are at or over."""
        return next(key for key, at in LEVELS if self.coins >= at)

    @property
    def levels_told(self) -> list[str]:
        """The levels that were reached by earning: one is there from the beginning."""
        return [key for key, at in LEVELS if 0 < at <= self.coins]


Boards = dict[tuple[str, str, str], list[Place]]
"""By leaderboard, run and segment, best first."""


def replay(events: Iterable[Happened], now: datetime) -> tuple[dict[str, PlainUser], Boards]:
    """Return what all events come to as of an instant, and every board they are on."""
    users: dict[str, PlainUser] = defaultdict(PlainUser)
    scores: dict[tuple[str, str, str], dict[str, tuple[Decimal, datetime]]] = defaultdict(dict)
    for one in sorted(events):
        user = users[one.user_id]
        xp_before = user.xp
        _count(user, one)
        if user.xp != xp_before:
            scores["xp", ALL, ALL][one.user_id] = (user.xp, one.at)
        if one.metric == "quiz":
            best = scores["quiz", ALL, ALL].get(one.user_id)
            if best is None or one.value > best[0]:
                scores["quiz", ALL, ALL][one.user_id] = (one.value, one.at)
        if one.metric == "practice":
            for segment in (ALL, f"country={country_of(one.user_id)}"):
                board = scores["minute", run_name(one.at), segment]
                before = board.get(one.user_id, (Decimal(0), one.at))[0]
                board[one.user_id] = (before + one.value, one.at)
    for user_id, user in users.items():
        _draw_chains(user, now.astimezone(ZoneInfo(zone_of(user_id))).date())
    return dict(users), {board: _rank(found) for board, found in scores.items()}


def run_name(at: datetime) -> str:
    """Return the name of the run that an instant falls into: the minute's start."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:00Z")


def winners(places: Sequence[Place]) -> list[str]:
    """Return who is told of a run's end."""
    return [one.user_id for one in places if one.rank <= WINNERS]


def _count(user: PlainUser, one: Happened) -> None:
    before = user.totals.get(one.metric, Decimal(0))
    if one.metric == "quiz":
        user.totals[one.metric] = max(before, one.value)
        return
    total = user.totals[one.metric] = before + one.value
    if one.metric == "lessons":
        user.days[one.at.astimezone(ZoneInfo(zone_of(one.user_id))).date()] += one.value
        user.xp += XP_PER_LESSON * one.value
        return
    user.xp += XP_PER_PRACTICE * (total // PRACTICE_PER_XP - before // PRACTICE_PER_XP)
    user.coins += total // PRACTICE_PER_COIN - before // PRACTICE_PER_COIN
    user.achievements.add("first-practice")
    if total >= FIFTY:
        user.achievements.add("fifty")


def _draw_chains(user: PlainUser, today: date) -> None:
    days = sorted(day for day, lessons in user.days.items() if lessons >= 1)
    if not days:
        return
    starts = [days[0], *(day for before, day in pairwise(days) if day - before > ONE_DAY)]
    for first in starts:
        last = first
        while last + ONE_DAY in days:
            last += ONE_DAY
        user.chains.append((first, last, (last - first).days + 1))
    if max(chain[2] for chain in user.chains) >= THREE_DAYS:
        user.achievements.add("three-days")
    if user.chains[-1][1] >= today - ONE_DAY:
        user.length = user.chains[-1][2]


def _rank(board: Mapping[str, tuple[Decimal, datetime]]) -> list[Place]:
    """Rank: better score, then earlier to the second, then user id (S44)."""
    rows = sorted(
        (-score, reached.replace(microsecond=0), user_id)
        for user_id, (score, reached) in board.items()
    )
    return [
        Place(rank, user_id, -score, reached)
        for rank, (score, reached, user_id) in enumerate(rows, start=1)
    ]
