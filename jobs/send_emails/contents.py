"""What emails say: their variables, from states and rows, for some emails at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from models.emails import variables as v
from models.program import Program
from models.rules.calendar import ONE_DAY, local_date
from models.rules.mailing import EmailKind
from models.rules.periods import (
    Frequency,
    PeriodRule,
    period_of,
    previous_period,
    starts_at,
)
from models.rules.rankings import ALL, Standing
from models.rules.rulebook import MetricAggregate, Rules
from models.rules.state import ZERO, PeriodTotal, UserState
from models.rules.streaks import Life, Reading, StreakRule, is_active, read
from models.statements import contents as statements
from models.statements import standings as standing_statements
from models.statements.contents import Dates, DayValue, Times
from models.statements.emails import StoredEmail
from models.statements.recipients import Recipient
from models.statements.told import ATTRIBUTE
from models.statements.users import Users

PERIODS_SHOWN = 14
TOP_SHOWN = 3
AROUND_SHOWN = 2
"""Lines of a leaderboard: the first ones, and those on each side of the reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was read for some emails, by their users."""

    days: Mapping[str, Sequence[DayValue]]
    earned: Mapping[str, Mapping[str, Any]]
    completed: Mapping[str, Sequence[str]]
    boards: Mapping[int, v.LeaderboardVariables | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """An email, its user, and all that it may tell of."""

    email: StoredEmail
    state: UserState
    rules: Rules
    program: Program
    found: _Found
    now: datetime

    @property
    def tz(self) -> str:
        """The user's zone now."""
        return self.state.tz_at(self.now, self.rules.latest.tz)

    @property
    def life(self) -> Life:
        """What of the user bears on streaks."""
        return Life(self.state.told.zones, self.rules.latest.tz, self.state.told.pauses)


def gather(
    connection: Connection,
    rules: Rules,
    program: Program,
    emails: Sequence[StoredEmail],
    users: Users,
    recipients: Mapping[str, Recipient],
    unsubscribe_url: Callable[[str, str], str],
    now: datetime,
) -> dict[int, v.EmailVariables | None]:
    """Return the variables of each email, by its number; None where what it tells of is gone."""
    found = _read(connection, rules, program, emails, users, now)
    app = v.app_variables(program)
    made: dict[int, v.EmailVariables | None] = {}
    for email in emails:
        state = users.states[email.user_id]
        about = _about(
            _Case(email=email, state=state, rules=rules, program=program, found=found, now=now)
        )
        fields = recipients[email.user_id].fields
        made[email.email_id] = None
        if about is not None:
            made[email.email_id] = v.KINDS[email.kind](
                app=app,
                user=_user(email.user_id, fields),
                unsubscribe_url=unsubscribe_url(email.user_id, email.name),
                **about,
            )
    return made


def _user(user_id: str, fields: Mapping[str, str]) -> v.UserVariables:
    attributes = {
        field.removeprefix(ATTRIBUTE): value
        for field, value in fields.items()
        if field.startswith(ATTRIBUTE)
    }
    return v.UserVariables(id=user_id, name=fields.get("name"), attributes=attributes)


def _read(
    connection: Connection,
    rules: Rules,
    program: Program,
    emails: Sequence[StoredEmail],
    users: Users,
    now: datetime,
) -> _Found:
    dates: dict[str, Dates] = {}
    times: dict[str, Times] = {}
    for email in emails:
        tz = users.states[email.user_id].tz_at(now, rules.latest.tz)
        if email.kind == EmailKind.RECAP.value:
            first, last = _dates(email)
            dates[email.user_id] = _wider(dates.get(email.user_id), (first, last))
            daily = PeriodRule(frequency=Frequency.DAILY)
            after = starts_at(last + ONE_DAY, daily, tz)
            times[email.user_id] = (starts_at(first, daily, tz), after)
        elif "streak" in email.body:
            rule = rules.latest.streaks.get(email.body["streak"])
            if rule is not None:
                shown = _shown(rule, local_date(now, tz))
                dates[email.user_id] = _wider(
                    dates.get(email.user_id), (shown[0], local_date(now, tz))
                )
    return _Found(
        days=statements.read_day_values(connection, dates) if dates else {},
        earned=statements.read_earned(connection, times) if times else {},
        completed=statements.read_completed(connection, times) if times else {},
        boards=_read_boards(connection, rules, program, emails),
    )


def _wider(one: Dates | None, other: Dates) -> Dates:
    return other if one is None else (min(one[0], other[0]), max(one[1], other[1]))


def _dates(email: StoredEmail) -> Dates:
    return date.fromisoformat(email.body["first"]), date.fromisoformat(email.body["last"])


def _about(case: _Case) -> dict[str, Any] | None:
    """Return what an email of its kind tells of; None where that is gone."""
    body = case.email.body
    match EmailKind(case.email.kind):
        case EmailKind.REMINDER | EmailKind.FREEZE_USED | EmailKind.STREAK_LOST:
            return _about_streak(case)
        case EmailKind.MILESTONE:
            about = _about_streak(case)
            return about and about | {"milestone": v.MilestoneVariables(length=body["length"])}
        case EmailKind.ACHIEVEMENT:
            return _about_achievement(case)
        case EmailKind.LEVEL:
            return _about_level(case)
        case EmailKind.RECAP:
            return _about_recap(case)
        case EmailKind.INACTIVE:
            last = date.fromisoformat(body["last_active_on"])
            return {"inactive": v.InactiveVariables(days=body["days"], last_active_on=last)}
        case EmailKind.LEADERBOARD_FINISHED:
            board = case.found.boards[case.email.email_id]
            return None if board is None else {"leaderboard": board}


def _about_streak(case: _Case) -> dict[str, Any] | None:
    key, now = case.email.body["streak"], case.now
    rule, streak = case.rules.latest.streaks.get(key), case.state.streaks.get(key)
    if rule is None or streak is None:
        return None
    reading = read(rule, streak, case.life, now)
    expires_at = reading.expires_at if case.email.kind == EmailKind.REMINDER.value else None
    told = case.email.body.get("length")
    days = case.found.days.get(case.email.user_id, ())
    return {
        "streak": v.StreakVariables(
            key=key,
            name=case.program.streaks[key].name or v.named(key),
            length=reading.length if told is None else told,
            longest=max(reading.longest, told or 0),
            freezes=reading.freezes,
            unit=v.UNITS[rule.period.frequency.value],
            expires_at=None if expires_at is None else expires_at.astimezone(ZoneInfo(case.tz)),
            time_left=None if expires_at is None else expires_at - now,
            calendar=_calendar(rule, reading, days, local_date(now, case.tz)),
        )
    }


def _shown(rule: StreakRule, today: date) -> list[date]:
    """Return the periods of the calendar, oldest first."""
    period = period_of(today, rule.period)
    shown = [period]
    while len(shown) < PERIODS_SHOWN:
        period = previous_period(period, rule.period)
        shown.append(period)
    return shown[::-1]


def _calendar(
    rule: StreakRule, reading: Reading, days: Sequence[DayValue], today: date
) -> tuple[v.PeriodVariables, ...]:
    """Return what recent periods were: active by what was done, or held where a chain has them."""
    totals: dict[date, dict[str, PeriodTotal]] = {}
    for one in days:
        of_period = totals.setdefault(period_of(one.day, rule.period), {})
        before = of_period.get(one.metric, PeriodTotal(ZERO, 0))
        of_period[one.metric] = PeriodTotal(before.value + one.sum, before.events + one.events)
    shown = _shown(rule, today)
    return tuple(
        v.PeriodVariables(date=period, state=_state(rule, reading, totals, period, shown[-1]))
        for period in shown
    )


def _state(
    rule: StreakRule,
    reading: Reading,
    totals: Mapping[date, Mapping[str, PeriodTotal]],
    period: date,
    current: date,
) -> v.PeriodState:
    if is_active(rule, totals.get(period, {})):
        return "active"
    if period == current:
        return "open"
    held = any(chain.started_on <= period <= chain.ended_on for chain in reading.history)
    since = reading.ended_on
    after = since is not None and reading.length > 0 and period > since
    return "frozen" if held or after else "missed"


def _about_achievement(case: _Case) -> dict[str, Any] | None:
    key = case.email.body["achievement"]
    achievement = case.program.achievements.get(key)
    if achievement is None:
        return None
    name = achievement.name or v.named(key)
    return {"achievement": v.AchievementVariables(key=key, name=name)}


def _about_level(case: _Case) -> dict[str, Any] | None:
    name, state = case.email.body["points"], case.state
    points, rule = case.program.points.get(name), case.rules.latest.points.get(name)
    if points is None or rule is None:
        return None
    names = {level.key: level.name or v.named(level.key) for level in points.levels}
    level = next((one for one in rule.levels if one.key == case.email.body["level"]), None)
    if level is None:
        return None
    balance = state.points[name].balance if name in state.points else ZERO
    following = next((one for one in rule.levels if one.number == level.number + 1), None)
    missing = None if following is None else max(ZERO, following.at - balance)
    return {
        "level": v.LevelVariables(
            key=level.key,
            name=names[level.key],
            number=level.number,
            total=balance,
            points=points.name or v.named(name),
            next=None
            if following is None or missing is None
            else v.NextLevelVariables(
                name=names[following.key],
                number=following.number,
                missing=missing,
                progress=_share(balance - level.at, following.at - level.at),
            ),
        )
    }


def _share(done: Any, whole: Any) -> float:
    return float(min(max(done / whole, ZERO), 1)) if whole else 1.0


def _about_recap(case: _Case) -> dict[str, Any] | None:
    user_id, rules, program = case.email.user_id, case.rules.latest, case.program
    first, last = _dates(case.email)
    days = [one for one in case.found.days[user_id] if first <= one.day <= last]
    if not days:
        return None
    every = next(one for one in rules.mailing.rules if one.name == case.email.name)
    assert every.period is not None
    states = case.state.streaks
    lengths = {
        key: read(rule, states[key], case.life, case.now).length
        for key, rule in rules.streaks.items()
        if key in states
    }
    earned = case.found.earned[user_id]
    return {
        "recap": v.RecapVariables(
            every="week" if every.period.frequency is Frequency.WEEKLY else "month",
            first=first,
            last=last,
            metrics=tuple(_metrics(days, case.rules, program)),
            points=tuple(
                v.PointsVariables(
                    name=program.points[name].name or v.named(name),
                    earned=earned[name],
                    total=case.state.points[name].balance,
                )
                for name in program.points
                if name in earned and name in case.state.points
            ),
            achievements=tuple(
                program.achievements[key].name or v.named(key)
                for key in case.found.completed[user_id]
                if key in program.achievements
            ),
            streaks=tuple(
                v.RecapStreakVariables(
                    name=program.streaks[key].name or v.named(key),
                    length=length,
                    unit=v.UNITS[rules.streaks[key].period.frequency.value],
                )
                for key, length in lengths.items()
                if length
            ),
        )
    }


def _metrics(days: Sequence[DayValue], rules: Rules, program: Program) -> list[v.MetricVariables]:
    found = []
    for name, metric in program.metrics.items():
        of_metric = [one for one in days if one.metric == name]
        if not of_metric:
            continue
        match rules.latest.metrics[name].aggregate:
            case MetricAggregate.SUM:
                value = sum((one.sum for one in of_metric), start=ZERO)
            case MetricAggregate.MAX:
                value = max(one.max for one in of_metric)
            case MetricAggregate.LATEST:
                value = max(of_metric, key=lambda one: one.day).latest
        found.append(v.MetricVariables(name=metric.name or v.named(name), value=value))
    return found


def _read_boards(
    connection: Connection, rules: Rules, program: Program, emails: Sequence[StoredEmail]
) -> dict[int, v.LeaderboardVariables | None]:
    """Return what emails about runs tell, by their numbers."""
    found: dict[int, v.LeaderboardVariables | None] = {}
    since = {rule.name: rule.since for rule in rules.latest.boards}
    for email in emails:
        if email.kind != EmailKind.LEADERBOARD_FINISHED.value:
            continue
        name, run_name, rank = (email.body[key] for key in ("leaderboard", "run", "rank"))
        run = (
            standing_statements.find_final(connection, (name, since[name], run_name))
            if name in since
            else None
        )
        if run is None:
            found[email.email_id] = None
            continue
        participants = standing_statements.count_final(connection, run.run_id, ALL)
        lines = {
            line.rank: line
            for first, last in (
                (1, TOP_SHOWN),
                (rank - AROUND_SHOWN, rank + AROUND_SHOWN),
            )
            for line in standing_statements.read_final(connection, run.run_id, ALL, first, last)
        }
        own = lines[rank]
        found[email.email_id] = v.LeaderboardVariables(
            key=name,
            name=program.leaderboards[name].name or v.named(name),
            run=run_name,
            rank=rank,
            score=own.score,
            participants=participants,
            standings=_standings(connection, list(lines.values()), email.user_id),
        )
    return found


def _standings(
    connection: Connection, lines: Sequence[Standing], user_id: str
) -> tuple[v.StandingVariables, ...]:
    names = statements.read_names(connection, [line.user_id for line in lines])
    return tuple(
        v.StandingVariables(
            rank=line.rank,
            name=names.get(line.user_id),
            score=line.score,
            is_user=line.user_id == user_id,
        )
        for line in sorted(lines, key=lambda line: line.rank)
    )
