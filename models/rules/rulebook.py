"""A program as the rules read it: plain values, with nothing left to look up or to check."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from hashlib import blake2b

from models.rules.achievements import AchievementKind, AchievementRule
from models.rules.boards import BoardKind, BoardRule
from models.rules.mailing import Mailing
from models.rules.periods import Frequency, PeriodRule, period_key
from models.rules.points import PointsRule, TriggerKind, TriggerRule
from models.rules.streaks import StreakRule

FOLD_FORMAT = 3
"""Raised with every release in which the same facts fold to another state, or to another form of
it: everyone is then folded anew, when next touched or in the background."""
RECENT = timedelta(days=2)
"""More than any clock on earth is ahead of any other: what is older cannot come in order again."""


class MetricAggregate(Enum):
    """What is kept of a metric's values (S15)."""

    SUM = "sum"
    MAX = "max"
    LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """What an event of a metric may carry, and what its values come to.

    `value_max` is the largest value of one event; `events_per_day_max` and `value_per_day_max` are
    limits for one user's local day (S16). `total_max` is how far a user's total may go either way,
    so that neither it nor the points that follow from it leave the exact range of a ranking.
    """

    aggregate: MetricAggregate
    allow_negative: bool
    value_max: Decimal | None
    total_max: Decimal
    events_per_day_max: int | None = None
    value_per_day_max: Decimal | None = None

    @property
    def has_day_limit(self) -> bool:
        """Whether anything limits a day."""
        return self.events_per_day_max is not None or self.value_per_day_max is not None


Node = PointsRule | AchievementRule
"""What is decided in order of dependency: points systems and achievements (S35)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an event of one metric bears on.

    `periods` go with the keys under which a state keeps their totals. `keeps` where no value
    over zero can lower what the metric came to in a period. `nodes` are what it can
    change where it makes a period active, or inactive again, `plain_nodes` where it does not.
    """

    periods: Sequence[tuple[str, PeriodRule]]
    streaks: Sequence[tuple[str, StreakRule]]
    boards: Sequence[BoardRule]
    triggers: Mapping[str, Sequence[TriggerRule]]
    keeps: bool
    nodes: Sequence[Node]
    plain_nodes: Sequence[Node]


@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """Everything that decides about an event, as of one version of the program.

    `tz` is the zone of users of whom none is known, `event_age_max` how old an event may be unless
    it is imported. `nodes` are the points systems, and the achievements of this version and of
    later ones (a new achievement is backdated, S36), each after all that it depends on.
    """

    version: int
    applied_at: datetime
    tz: str
    event_age_max: timedelta
    metrics: Mapping[str, MetricRule]
    streaks: Mapping[str, StreakRule]
    points: Mapping[str, PointsRule]
    boards: Sequence[BoardRule]
    nodes: Sequence[Node]
    mailing: Mailing = field(default_factory=Mailing)

    @cached_property
    def plans(self) -> Mapping[str, Plan]:
        """What bears on each metric."""
        return {metric: self._plan(metric) for metric in self.metrics}

    @cached_property
    def achievements(self) -> Sequence[AchievementRule]:
        """The achievements in order of dependency."""
        return [node for node in self.nodes if isinstance(node, AchievementRule)]

    @cached_property
    def anniversaries(self) -> Sequence[AchievementRule]:
        """The achievements that time completes."""
        return [rule for rule in self.achievements if rule.kind is AchievementKind.ANNIVERSARY]

    @cached_property
    def memberships(self) -> Sequence[tuple[PointsRule, TriggerRule]]:
        """The triggers that time pays."""
        return self._triggers(TriggerKind.MEMBERSHIP)

    @cached_property
    def signups(self) -> Sequence[tuple[PointsRule, TriggerRule]]:
        """The triggers that a sign-up pays."""
        return self._triggers(TriggerKind.SIGNUP)

    @cached_property
    def metric_boards(self) -> Mapping[str, Sequence[BoardRule]]:
        """The leaderboards ranked by each metric."""
        return self._boards_by(BoardKind.METRIC)

    @cached_property
    def points_boards(self) -> Mapping[str, Sequence[BoardRule]]:
        """The leaderboards ranked by each points system."""
        return self._boards_by(BoardKind.POINTS)

    @cached_property
    def streak_boards(self) -> Mapping[str, Sequence[BoardRule]]:
        """The leaderboards ranked by each streak."""
        return self._boards_by(BoardKind.STREAK)

    def _boards_by(self, kind: BoardKind) -> Mapping[str, Sequence[BoardRule]]:
        found: dict[str, list[BoardRule]] = {}
        for board in self.boards:
            if board.kind is kind:
                found.setdefault(board.subject, []).append(board)
        return found

    def _triggers(self, kind: TriggerKind) -> Sequence[tuple[PointsRule, TriggerRule]]:
        return [
            (rule, trigger)
            for rule in self.points.values()
            for trigger in rule.triggers
            if trigger.kind is kind
        ]

    def _plan(self, metric: str) -> Plan:
        streaks = [rule for rule in self.streaks.values() if metric in rule.thresholds]
        periods = {rule.period for rule in streaks}
        if self.metrics[metric].has_day_limit:
            periods.add(DAILY)
        triggers = {
            rule.name: [
                trigger
                for trigger in rule.triggers
                if trigger.kind is TriggerKind.METRIC and trigger.subject == metric
            ]
            for rule in self.points.values()
        }
        return Plan(
            periods=[(period_key(rule), rule) for rule in sorted(periods, key=period_key)],
            streaks=[(period_key(rule.period), rule) for rule in streaks],
            boards=self.metric_boards.get(metric, ()),
            triggers={name: found for name, found in triggers.items() if found},
            keeps=self.metrics[metric].aggregate is not MetricAggregate.LATEST,
            nodes=self._nodes_after(metric, {rule.name for rule in streaks}),
            plain_nodes=self._nodes_after(metric, set()),
        )

    def _nodes_after(self, metric: str, streaks: set[str]) -> Sequence[Node]:
        """Return what an event of the metric can change, directly or through something else."""
        points: set[str] = set()
        achievements: set[str] = set()
        found: list[Node] = []
        for node in self.nodes:
            if isinstance(node, PointsRule):
                if any(_pays(trigger, metric, streaks, achievements) for trigger in node.triggers):
                    points.add(node.name)
                    found.append(node)
            elif _completes(node, metric, streaks, points, achievements):
                achievements.add(node.key)
                found.append(node)
        return found


DAILY = PeriodRule(frequency=Frequency.DAILY)


def _pays(trigger: TriggerRule, metric: str, streaks: set[str], achievements: set[str]) -> bool:
    match trigger.kind:
        case TriggerKind.METRIC:
            return trigger.subject == metric
        case TriggerKind.STREAK:
            return trigger.subject in streaks
        case TriggerKind.ACHIEVEMENT:
            return trigger.subject in achievements
        case _:
            return False


def _completes(
    rule: AchievementRule, metric: str, streaks: set[str], points: set[str], achievements: set[str]
) -> bool:
    match rule.kind:
        case AchievementKind.METRIC:
            return rule.subject == metric
        case AchievementKind.STREAK:
            return rule.subject in streaks
        case AchievementKind.POINTS:
            return rule.subject in points
        case AchievementKind.ALL_OF:
            return not achievements.isdisjoint(rule.all_of)
        case _:
            return False


class Rules:
    """The rulebooks of all versions: each event keeps the one that judged it (S36)."""

    def __init__(self, rulebooks: Sequence[Rulebook]) -> None:
        self._by_version = {rulebook.version: rulebook for rulebook in rulebooks}
        self._applied = [rulebook.applied_at for rulebook in rulebooks]
        self._rulebooks = list(rulebooks)
        self.latest = rulebooks[-1]
        grace = [rule.grace for book in rulebooks for rule in book.streaks.values()]
        self.recent = RECENT + max(grace, default=timedelta(0))
        """How long after its end a run or a day may still be changed by facts that come in order:
        an award of a streak waits for the periods before its own to close."""
        self.attributes = frozenset(name for book in rulebooks for name in _attributes(book))
        """The user attributes that any rule asks for."""
        self._triggers = {
            (rule.name, trigger.id): trigger
            for book in rulebooks
            for rule in book.points.values()
            for trigger in rule.triggers
        }
        self.boards = {rule.id: rule for rule in self.latest.boards}
        """The leaderboards in force, by id."""
        self.stamp = self._stamp()
        """What a state must have been folded under to be good: see `FOLD_FORMAT`."""

    def _stamp(self) -> str:
        """A new achievement, or a new attribute to look at, lets everyone be folded anew (S36)."""
        definitions = sorted({repr(one) for book in self._rulebooks for one in book.achievements})
        content = repr([FOLD_FORMAT, definitions, sorted(self.attributes)])
        return blake2b(content.encode(), digest_size=8).hexdigest()

    def of(self, version: int) -> Rulebook:
        """Return the rulebook of a version."""
        return self._by_version[version]

    def trigger(self, points: str, trigger_id: str) -> TriggerRule:
        """Return a trigger that there is or was."""
        return self._triggers[points, trigger_id]

    def in_force(self, instant: datetime) -> Rulebook:
        """Return what was in force at an instant; before the first version, that one."""
        return self._rulebooks[max(0, bisect_right(self._applied, instant) - 1)]

    def next_applied_at(self, version: int) -> datetime | None:
        """Return when the version after this one came into force."""
        return next((book.applied_at for book in self._rulebooks if book.version > version), None)


def _attributes(rulebook: Rulebook) -> set[str]:
    found: set[str] = set()
    for rule in rulebook.points.values():
        found.update(name for trigger in rule.triggers for name in trigger.where_user)
        found.update(name for boost in rule.boosts for name in boost.where_user)
    found.update(name for rule in rulebook.achievements for name in rule.where_user)
    for board in rulebook.boards:
        found.update(board.where_user, board.segment_by)
    return found
