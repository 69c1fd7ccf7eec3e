"""Made-up variables for an email of a program: for previews, and for the check of templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from models.emails import variables as v
from models.program.emails import (
    InactiveEmail,
    LeaderboardEmail,
    LevelEmail,
    RecapEmail,
    StreakEmail,
)
from models.program.schema import Program
from models.program.streaks import Streak

TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 19, 30, tzinfo=UTC)
PERIODS = 14
LENGTH = 11
LINK_URL = "https://app.example.org"

States = Mapping[int, v.PeriodState]
"""The states of a sample's periods by how far back they are; the others are active."""

_NAMES = ("Amélie", "Kofi", "Mei", "Jonas", "Priya")


def sample_variables(
    program: Program, kind: str, email: str | None = None, *, language: str | None = None
) -> v.EmailVariables:
    """Return made-up variables for an email of this kind, with everything that can be there.

    With the name of an email they are about the streak, level or leaderboard that it names.
    """
    attributes = {} if language is None else {"language": language}
    common: dict[str, Any] = {
        "app": v.app_variables(program),
        "user": v.UserVariables(id="user-1", name="Amélie", attributes=attributes),
        "unsubscribe_url": f"{program.app.link_url or LINK_URL}/unsubscribe/sample",
    }
    message = program.emails.messages.get(email) if program.emails and email else None
    return v.KINDS[kind](**common, **_MAKERS[kind](program, message))


def sparse_variables(
    program: Program, kind: str, email: str | None = None, *, language: str | None = None
) -> v.EmailVariables:
    """Return the same with everything left out that may be missing for a user."""
    full: Any = sample_variables(program, kind, email, language=language)
    changes: dict[str, Any] = {"user": replace(full.user, name=None)}
    if kind == "level":
        changes["level"] = replace(full.level, next=None)
    elif kind == "recap":
        empty: dict[str, Any] = dict.fromkeys(("metrics", "points", "achievements", "streaks"), ())
        changes["recap"] = replace(full.recap, **empty)
    elif kind == "leaderboard-finished":
        nameless = tuple(replace(one, name=None) for one in full.leaderboard.standings)
        changes["leaderboard"] = replace(full.leaderboard, standings=nameless)
    elif kind in {"streak-reminder", "streak-lost", "freeze-used", "milestone"}:
        gone: dict[str, Any] = {"calendar": (), "expires_at": None, "time_left": None}
        changes["streak"] = replace(full.streak, length=1, freezes=0, **gone)
    sparse: v.EmailVariables = replace(full, **changes)
    return sparse


def _reminder(program: Program, message: Any) -> dict[str, Any]:
    return _about_streak(program, message, {0: "open", 5: "frozen", PERIODS - 1: "missed"})


def _lost(program: Program, message: Any) -> dict[str, Any]:
    states: States = {0: "open", 1: "missed", PERIODS - 1: "missed"}
    about = _about_streak(program, message, states)
    lost = replace(about["streak"], expires_at=None, time_left=None)
    return {"streak": lost}


def _frozen(program: Program, message: Any) -> dict[str, Any]:
    return _about_streak(program, message, {0: "open", 1: "frozen", PERIODS - 1: "missed"})


def _about_streak(program: Program, message: Any, states: States) -> dict[str, Any]:
    name = message.streak if isinstance(message, StreakEmail) else next(iter(program.streaks), "")
    streak = program.streaks.get(name)
    return {"streak": _streak(name or "daily", streak, states)}


def _streak(key: str, streak: Streak | None, states: States) -> v.StreakVariables:
    unit = v.UNITS[streak.frequency] if streak else "day"
    freezes = streak.freezes if streak else None
    return v.StreakVariables(
        key=key,
        name=(streak.name if streak else None) or v.named(key),
        length=LENGTH,
        longest=41,
        freezes=freezes.max if freezes else 0,
        unit=unit,
        expires_at=NOW.replace(hour=0, minute=0) + timedelta(days=1),
        time_left=timedelta(hours=4, minutes=30),
        calendar=tuple(
            v.PeriodVariables(date=_first(unit, back), state=states.get(back, "active"))
            for back in range(PERIODS - 1, -1, -1)
        ),
    )


def _first(unit: v.Unit, back: int) -> date:
    if unit == "day":
        return TODAY - timedelta(days=back)
    if unit == "week":
        return TODAY - timedelta(weeks=back)
    months = TODAY.year * 12 + TODAY.month - 1 - back
    return date(months // 12, months % 12 + 1, 1)


def _milestone(program: Program, message: Any) -> dict[str, Any]:
    about = _about_streak(program, message, {})
    streak = program.streaks.get(about["streak"].key)
    marks = streak.milestones if streak else ()
    length = marks[1] if len(marks) > 1 else marks[0] if marks else LENGTH
    about["streak"] = replace(about["streak"], length=length, longest=max(41, length))
    return about | {"milestone": v.MilestoneVariables(length=length)}


def _achievement(program: Program, _message: Any) -> dict[str, Any]:
    key, one = next(iter(program.achievements.items()), ("first-steps", None))
    name = (one.name if one else None) or v.named(key)
    return {"achievement": v.AchievementVariables(key=key, name=name)}


def _level(program: Program, message: Any) -> dict[str, Any]:
    key = message.points if isinstance(message, LevelEmail) else next(iter(program.points), "xp")
    system = program.points.get(key)
    levels = system.levels if system else ()
    names = [level.name or v.named(level.key) for level in levels] or [
        "Beginner",
        "Regular",
        "Expert",
    ]
    keys = [level.key for level in levels] or ["beginner", "regular", "expert"]
    number = min(2, len(names))
    return {
        "level": v.LevelVariables(
            key=keys[number - 1],
            name=names[number - 1],
            number=number,
            total=Decimal("1240"),
            points=(system.name if system else None) or v.named(key),
            next=v.NextLevelVariables(
                name=names[min(number, len(names) - 1)],
                number=number + 1,
                missing=Decimal("760"),
                progress=0.62,
            ),
        )
    }


def _recap(program: Program, message: Any) -> dict[str, Any]:
    every = message.every if isinstance(message, RecapEmail) else "week"
    last = TODAY - timedelta(days=1) if every == "week" else date(2026, 10, 31)
    first = last - timedelta(days=6) if every == "week" else date(2026, 10, 1)
    metrics = [one.name or v.named(key) for key, one in program.metrics.items()]
    points = [one.name or v.named(key) for key, one in program.points.items()]
    achievements = [one.name or v.named(key) for key, one in program.achievements.items()]
    return {
        "recap": v.RecapVariables(
            every=every,
            first=first,
            last=last,
            metrics=tuple(
                v.MetricVariables(name=name, value=Decimal(38 + 117 * number))
                for number, name in enumerate(metrics[:3] or ["Lessons"])
            ),
            points=tuple(
                v.PointsVariables(name=name, earned=Decimal(420), total=Decimal(1240))
                for name in points[:2] or ["XP"]
            ),
            achievements=tuple(achievements[:2] or ["First steps"]),
            streaks=tuple(
                v.RecapStreakVariables(
                    name=one.name or v.named(key), length=LENGTH, unit=v.UNITS[one.frequency]
                )
                for key, one in list(program.streaks.items())[:2]
            ),
        )
    }


def _inactive(_program: Program, message: Any) -> dict[str, Any]:
    days = message.days[0] if isinstance(message, InactiveEmail) else 7
    last = TODAY - timedelta(days=days)
    return {"inactive": v.InactiveVariables(days=days, last_active_on=last)}


def _leaderboard(program: Program, message: Any) -> dict[str, Any]:
    wanted = message.leaderboard if isinstance(message, LeaderboardEmail) else None
    key = wanted or next(iter(program.leaderboards), "weekly")
    board = program.leaderboards.get(key)
    return {
        "leaderboard": v.LeaderboardVariables(
            key=key,
            name=(board.name if board else None) or v.named(key),
            run="2026-W47",
            rank=3,
            score=Decimal(980),
            participants=1204,
            standings=tuple(
                v.StandingVariables(
                    rank=rank,
                    name=_NAMES[-rank + 3],
                    score=Decimal(1240 - 130 * (rank - 1)),
                    is_user=rank == 3,
                )
                for rank in range(1, 6)
            ),
        )
    }


_MAKERS: Mapping[str, Callable[[Program, Any], dict[str, Any]]] = {
    "streak-reminder": _reminder,
    "streak-lost": _lost,
    "freeze-used": _frozen,
    "milestone": _milestone,
    "achievement": _achievement,
    "level": _level,
    "recap": _recap,
    "inactive": _inactive,
    "leaderboard-finished": _leaderboard,
}
