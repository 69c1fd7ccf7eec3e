"""Which parts of a program this version reads but does not act upon yet.

Each kind of table has its rows; a row goes when what it speaks of is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from models.program.achievements import AchievementTable
from models.program.app import App, Metric
from models.program.emails import Emails, EmailTable
from models.program.leaderboards import Leaderboard
from models.program.points import (
    AchievementTrigger,
    Boost,
    MembershipTrigger,
    MetricTrigger,
    PointsSystem,
    SignupTrigger,
    StreakTrigger,
)
from models.program.schema import Program
from models.program.streaks import Streak
from models.program.table import Table, place_text, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """Tables of this type for which `used` holds do not have `text` done about `key` yet."""

    table: type[Table]
    key: str = ""
    used: Callable[[Any], object] = lambda _: True
    text: str


_PENDING = (
    _Pending(
        table=App,
        key="control_group_percent",
        used=lambda app: app.control_group_percent,
        text="no control group is kept yet",
    ),
    _Pending(
        table=App, key="link_url", used=lambda app: app.link_url, text="nothing links there yet"
    ),
    _Pending(
        table=Metric,
        key="aggregate",
        used=lambda metric: metric.aggregate != "sum",
        text="only sums are kept yet",
    ),
    _Pending(
        table=Metric,
        key="max_events_per_day",
        used=lambda metric: metric.max_events_per_day,
        text="daily limits are not applied yet",
    ),
    _Pending(
        table=Metric,
        key="max_value_per_day",
        used=lambda metric: metric.max_value_per_day,
        text="daily limits are not applied yet",
    ),
    _Pending(
        table=Streak,
        key="frequency",
        used=lambda streak: streak.frequency != "daily",
        text="only daily streaks are counted yet",
    ),
    _Pending(
        table=Streak,
        key="days_off",
        used=lambda streak: streak.days_off,
        text="days off do not hold a streak yet",
    ),
    _Pending(
        table=Streak,
        key="grace",
        used=lambda streak: streak.grace,
        text="a day closes without grace yet",
    ),
    _Pending(
        table=Streak,
        key="freezes",
        used=lambda streak: streak.freezes,
        text="freezes are not given or spent yet",
    ),
    _Pending(
        table=Streak,
        key="milestones",
        used=lambda streak: streak.milestones,
        text="milestones are not noticed yet",
    ),
    _Pending(
        table=PointsSystem,
        key="max_per_day",
        used=lambda system: system.max_per_day,
        text="points are not capped yet",
    ),
    _Pending(
        table=PointsSystem,
        key="rounding",
        used=lambda system: system.rounding != "down",
        text="points are not rounded yet",
    ),
    _Pending(table=StreakTrigger, text="only metrics earn points yet, streaks do not"),
    _Pending(table=AchievementTrigger, text="only metrics earn points yet, achievements do not"),
    _Pending(table=SignupTrigger, text="only metrics earn points yet, sign-up does not"),
    _Pending(table=MembershipTrigger, text="only metrics earn points yet, membership does not"),
    _Pending(
        table=MetricTrigger,
        key="where.user",
        used=lambda trigger: trigger.where.user,
        text="users are not filtered yet",
    ),
    _Pending(table=Boost, text="points are not boosted yet"),
    _Pending(table=AchievementTable, text="achievements are not completed yet"),
    _Pending(
        table=Leaderboard,
        key="period",
        used=lambda board: board.period != "all",
        text="only leaderboards of all time are kept yet",
    ),
    _Pending(
        table=Leaderboard,
        key="rank_by",
        used=lambda board: board.rank_by.kind == "streak",
        text="streaks are not ranked yet",
    ),
    _Pending(
        table=Leaderboard,
        key="aggregate",
        used=lambda board: board.aggregate != "sum" and board.rank_by.kind != "streak",
        text="only sums are ranked yet",
    ),
    _Pending(
        table=Leaderboard,
        key="segment_by",
        used=lambda board: board.segment_by,
        text="segments have no boards yet",
    ),
    _Pending(
        table=Leaderboard,
        key="where.user",
        used=lambda board: board.where.user,
        text="users are not filtered yet",
    ),
    _Pending(
        table=Leaderboard,
        key="size",
        used=lambda board: board.size,
        text="only the reader limits the list yet",
    ),
    _Pending(
        table=Emails,
        key="send_window",
        used=lambda emails: emails.send_window,
        text="emails are not sent yet",
    ),
    _Pending(table=EmailTable, text="emails are not sent yet"),
)


def pending_features(program: Program) -> list[str]:
    """Return a line for each part that is read but not acted upon yet, in the order of the schema.

    Each begins with its place: `streaks.daily.freezes: freezes are not given or spent yet`.
    """
    return list(_lines(program))


def _lines(program: Program) -> Iterator[str]:
    for loc, table in walk(program):
        for pending in _PENDING:
            if isinstance(table, pending.table) and pending.used(table):
                place = place_text((*loc, pending.key) if pending.key else loc)
                yield f"{place}: {pending.text}"
