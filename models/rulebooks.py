"""From the versions of a program to the rulebooks that judge facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from graphlib import TopologicalSorter
from typing import get_args

from sqlalchemy import Connection

from models.program import Program, load_program
from models.program.achievements import (
    Achievement,
    AnniversaryAchievement,
    CollectionAchievement,
    LevelAchievement,
    ManualAchievement,
    MetricAchievement,
    PointsAchievement,
    StreakAchievement,
)
from models.program.emails import (
    Email,
    InactiveEmail,
    LeaderboardEmail,
    LevelEmail,
    RecapEmail,
    ReminderEmail,
    StreakEmail,
)
from models.program.leaderboards import Leaderboard
from models.program.points import (
    AchievementTrigger,
    MembershipTrigger,
    MetricTrigger,
    PointsSystem,
    SignupTrigger,
    StreakTrigger,
    Trigger,
)
from models.program.streaks import Freezes, Streak
from models.program.values import USERS_OWN_CLOCK, Weekday
from models.rules.achievements import AchievementKind, AchievementRule
from models.rules.boards import Aggregate, BoardKind, BoardRule
from models.rules.cron import Cron
from models.rules.levels import Level
from models.rules.mailing import EmailKind, EmailRule, Mailing, SendWindow
from models.rules.periods import Frequency, PeriodRule
from models.rules.points import BoostRule, PointsRule, Rounding, TriggerKind, TriggerRule
from models.rules.rulebook import MetricAggregate, MetricRule, Node, Rulebook, Rules
from models.rules.runs import RunPeriod, RunRule
from models.rules.streaks import FreezeRule, Mode, StreakRule
from models.statements import programs as program_statements
from streakline.contract import VALUE_MAX, VALUE_PLACES_MAX

_WEEKDAYS = get_args(Weekday)
_ROUNDING = {"down": Rounding.DOWN, "up": Rounding.UP, "half": Rounding.HALF}


class NoProgram(Exception):
    """No program was applied yet, so nothing can be judged: run `streakline program apply FILE`."""

    def __init__(self) -> None:
        super().__init__("no program is applied yet; run: streakline program apply FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramVersion:
    """A program, the number under which it came into force, and when."""

    version: int
    program: Program
    applied_at: datetime


class Rulebooks:
    """Hands out the rules in force, and builds them anew only when the version changes."""

    def __init__(self) -> None:
        self._rules: Rules | None = None
        self._program: Program | None = None

    def program(self, connection: Connection) -> Program:
        """Return the program in force, the same object as long as it is. Raises NoProgram."""
        self.current(connection)
        assert self._program is not None
        return self._program

    def current(self, connection: Connection) -> Rules:
        """Return the rules of all versions, the one in force last. Raises NoProgram."""
        version = program_statements.read_version(connection)
        rules = self._rules
        if rules is None or rules.latest.version != version:
            history = read_history(connection)
            rules = build_rules(history)
            self._program, self._rules = history[-1].program, rules
        return rules


def read_history(connection: Connection) -> list[ProgramVersion]:
    """Return all versions of the program, oldest first."""
    return [
        ProgramVersion(
            version=stored.version,
            program=load_program(stored.toml, source=f"program version {stored.version}"),
            applied_at=stored.applied_at,
        )
        for stored in program_statements.read_programs(connection)
    ]


def build_rules(history: Sequence[ProgramVersion]) -> Rules:
    """Return the rulebooks of all versions; `history` ascends. Raises NoProgram."""
    if not history:
        raise NoProgram
    nodes = [list(_nodes(history[: place + 1])) for place in range(len(history))]
    return Rules(
        [
            _rulebook(history[: place + 1], _with_later(nodes[place:]))
            for place in range(len(history))
        ]
    )


def _rulebook(history: Sequence[ProgramVersion], nodes: Sequence[Node]) -> Rulebook:
    version, program = history[-1], history[-1].program
    points = {node.name: node for node in nodes if isinstance(node, PointsRule)}
    return Rulebook(
        version=version.version,
        applied_at=version.applied_at,
        tz=program.app.timezone,
        event_age_max=program.app.max_event_age,
        metrics={
            name: MetricRule(
                aggregate=MetricAggregate(metric.aggregate),
                allow_negative=metric.allow_negative,
                value_max=metric.max_value,
                total_max=_total_max(name, list(points.values())),
                events_per_day_max=metric.max_events_per_day,
                value_per_day_max=metric.max_value_per_day,
            )
            for name, metric in program.metrics.items()
        },
        streaks={
            name: _streak_rule(name, streak, _week_start(program))
            for name, streak in program.streaks.items()
        },
        points=points,
        boards=[_board_rule(history, name, board) for name, board in program.leaderboards.items()],
        nodes=nodes,
        mailing=_mailing(program),
    )


def _mailing(program: Program) -> Mailing:
    emails = program.emails
    if emails is None:
        return Mailing()
    window = emails.send_window
    return Mailing(
        rules=[
            _email_rule(name, email, _week_start(program))
            for name, email in emails.messages.items()
        ],
        window=SendWindow(opens=window.from_, closes=window.until) if window else None,
        percent=program.app.control_group_percent,
    )


def _email_rule(name: str, email: Email, week_starts_on: int) -> EmailRule:
    subject, before, top = "", timedelta(0), None
    days: Sequence[int] = ()
    period: PeriodRule | None = None
    match email:
        case ReminderEmail():
            subject, before = email.streak, email.before
        case StreakEmail():
            subject = email.streak
        case LevelEmail():
            subject = email.points
        case LeaderboardEmail():
            subject, top = email.leaderboard, email.top
        case InactiveEmail():
            days = email.days
        case RecapEmail() if email.every == "week":
            period = PeriodRule(frequency=Frequency.WEEKLY, week_starts_on=week_starts_on)
        case RecapEmail():
            period = PeriodRule(frequency=Frequency.MONTHLY)
        case _:
            pass
    return EmailRule(
        name=name,
        kind=EmailKind(email.on),
        subject=subject,
        before=before,
        days=days,
        period=period,
        top=top,
    )


def _week_start(program: Program) -> int:
    return _WEEKDAYS.index(program.app.week_starts_on)


def _streak_rule(name: str, streak: Streak, week_starts_on: int) -> StreakRule:
    frequency = Frequency(streak.frequency)
    weekly = frequency is Frequency.WEEKLY
    return StreakRule(
        name=name,
        period=PeriodRule(frequency=frequency, week_starts_on=week_starts_on if weekly else 0),
        mode=Mode(streak.mode),
        thresholds=streak.metrics,
        days_off=frozenset(_WEEKDAYS.index(day) for day in streak.days_off),
        grace=streak.grace,
        freezes=_freeze_rule(streak.freezes),
        milestones=streak.milestones,
    )


def _freeze_rule(freezes: Freezes | None) -> FreezeRule | None:
    if freezes is None:
        return None
    return FreezeRule(freezes.start, freezes.max, freezes.earn_every, freezes.earn)


def _nodes(history: Sequence[ProgramVersion]) -> Iterator[Node]:
    """Yield the points systems and achievements of the latest version, none before its needs."""
    program = history[-1].program
    needs: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for section, things in (("points", program.points), ("achievements", program.achievements)):
        for name, thing in things.items():
            needs[section, name] = {
                (reference.section, reference.name)
                for table in (thing, *getattr(thing, "triggers", {}).values())
                for reference in table.references()
                if reference.section in {"points", "achievements"}
            }
    for section, name in TopologicalSorter(needs).static_order():
        if section == "points":
            yield _points_rule(history, name, program.points[name])
        else:
            yield _achievement_rule(history, name, program.achievements[name])


def _with_later(nodes: Sequence[Sequence[Node]]) -> list[Node]:
    """Return the nodes of the first version, and the achievements that later ones brought in.

    Another definition of an achievement comes right behind the first, so that what depends on it
    comes after both; a new one comes last.
    """
    later: dict[str, dict[str, AchievementRule]] = {}
    for node in (node for version in nodes for node in version):
        if isinstance(node, AchievementRule):
            later.setdefault(node.key, {}).setdefault(node.id, node)
    found: list[Node] = []
    for node in nodes[0]:
        if isinstance(node, AchievementRule):
            found += later.pop(node.key).values()
        else:
            found.append(node)
    return [*found, *(rule for rules in later.values() for rule in rules.values())]


def _points_rule(history: Sequence[ProgramVersion], name: str, system: PointsSystem) -> PointsRule:
    metrics = history[-1].program.metrics
    return PointsRule(
        name=name,
        triggers=[
            _trigger_rule(
                trigger_name,
                _since(history, _trigger_getter(name, trigger_name)),
                trigger,
                falls=isinstance(trigger, MetricTrigger) and metrics[trigger.metric].allow_negative,
            )
            for trigger_name, trigger in system.triggers.items()
        ],
        boosts=[
            BoostRule(
                name=boost_name,
                multiplier=boost.multiplier,
                first=boost.from_,
                last=boost.until,
                where_user=boost.where.user,
            )
            for boost_name, boost in system.boosts.items()
        ],
        levels=[
            Level(key=level.key, number=number, at=level.at)
            for number, level in enumerate(system.levels, start=1)
        ],
        day_max=system.max_per_day,
        rounding=_ROUNDING[system.rounding],
    )


def _trigger_rule(name: str, since: int, trigger: Trigger, *, falls: bool) -> TriggerRule:
    kind, subject, every = TriggerKind(trigger.on), "", Decimal(1)
    where: dict[str, str] = {}
    match trigger:
        case MetricTrigger():
            subject, every, where = trigger.metric, trigger.every, trigger.where.event
        case StreakTrigger():
            subject, every = trigger.streak, Decimal(trigger.every)
        case AchievementTrigger():
            subject = trigger.achievement
        case MembershipTrigger():
            every = Decimal(trigger.every.days)
        case SignupTrigger():
            pass
    return TriggerRule(
        name=name,
        since=since,
        kind=kind,
        award=trigger.points,
        subject=subject,
        every=every,
        where=where,
        where_user=trigger.where.user,
        falls=falls,
    )


def _achievement_rule(
    history: Sequence[ProgramVersion], key: str, achievement: Achievement
) -> AchievementRule:
    subject, at = "", Decimal(0)
    all_of: Sequence[str] = ()
    kind = AchievementKind.POINTS
    where: dict[str, str] = {}
    match achievement:
        case MetricAchievement():
            kind, subject, at = AchievementKind.METRIC, achievement.metric, achievement.at
            where = achievement.where.event
        case StreakAchievement():
            kind, subject = AchievementKind.STREAK, achievement.streak
            at = Decimal(achievement.at)
        case PointsAchievement():
            subject, at = achievement.points, achievement.at
        case LevelAchievement():
            subject = achievement.points
            levels = history[-1].program.points[subject].levels
            at = next(level.at for level in levels if level.key == achievement.level)
        case CollectionAchievement():
            kind, all_of = AchievementKind.ALL_OF, achievement.all
        case AnniversaryAchievement():
            kind, at = AchievementKind.ANNIVERSARY, Decimal(achievement.years)
        case ManualAchievement():
            kind = AchievementKind.MANUAL
    return AchievementRule(
        key=key,
        since=_since(history, lambda program: program.achievements.get(key)),
        kind=kind,
        subject=subject,
        at=at,
        all_of=all_of,
        where=where,
        where_user=achievement.where.user,
    )


def _board_rule(history: Sequence[ProgramVersion], name: str, board: Leaderboard) -> BoardRule:
    program = history[-1].program
    weekly = board.period == "week"
    all_time = board.period == "all"
    return BoardRule(
        name=name,
        since=_since(history, _leaderboard_getter(name)),
        kind=BoardKind(board.rank_by.kind),
        subject=board.rank_by.name,
        aggregate=Aggregate(board.aggregate),
        ascending=board.order == "asc",
        runs=RunRule(
            period=RunPeriod(board.period),
            every=board.every,
            tz=None if board.clock == USERS_OWN_CLOCK or all_time else board.clock,
            week_starts_on=_week_start(program) if weekly else 0,
            cron=Cron.parse(board.cron) if board.cron else None,
            late=board.late,
        ),
        segment_by=board.segment_by,
        where_user=board.where.user,
        size=board.size,
    )


def _total_max(metric: str, systems: Sequence[PointsRule]) -> Decimal:
    """Return the total beyond which a balance could leave the exact range, or the total itself.

    If no metric's total goes further than the range divided by all the points that a system gives
    for one of each metric, then neither does the sum of what the system's triggers have awarded.
    """
    most_points_for_one = Decimal(1)
    for system in systems:
        triggers = [one for one in system.triggers if one.kind is TriggerKind.METRIC]
        if all(trigger.subject != metric for trigger in triggers):
            continue
        points_for_one = sum((one.award / one.every for one in triggers), start=Decimal(0))
        for boost in system.boosts:
            points_for_one *= max(Decimal(1), boost.multiplier)
        most_points_for_one = max(most_points_for_one, points_for_one)
    places = Decimal(1).scaleb(-VALUE_PLACES_MAX)
    return (VALUE_MAX / most_points_for_one).quantize(places, ROUND_DOWN)


def _leaderboard_getter(name: str) -> Callable[[Program], object]:
    """Look at what makes the scores: what it is called and how much is listed changes no board."""

    def get(program: Program) -> object:
        leaderboard = program.leaderboards.get(name)
        return leaderboard and leaderboard.model_copy(update={"name": None, "size": None})

    return get


def _trigger_getter(points: str, name: str) -> Callable[[Program], object]:
    def get(program: Program) -> object:
        system = program.points.get(points)
        return system and system.triggers.get(name)

    return get


def _since(history: Sequence[ProgramVersion], get: Callable[[Program], object]) -> int:
    """Return the version from which on a part of the program has been as it is in the latest."""
    wanted = get(history[-1].program)
    since = history[-1].version
    for earlier in reversed(history):
        if get(earlier.program) != wanted:
            break
        since = earlier.version
    return since
