"""`[points.*]`: what earns points, what multiplies them, and the levels they lead to (S30–S33)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from models.program.table import Fault, Reference, Table, UserWhere, Where
from models.program.values import (
    Count,
    Day,
    Name,
    NotNegative,
    Positive,
    PositiveDuration,
    Text,
    at_most,
)

MULTIPLIER_MAX = Decimal(1000)


class MetricTrigger(Table):
    """`points` for each `every` of a metric, from the moment the trigger enters the program."""

    on: Literal["metric"]
    metric: Name
    """Whose values are summed."""
    every: Positive = Decimal(1)
    """So much of the metric makes one award."""
    points: Positive
    """What one award is worth."""
    where: Where = Field(default_factory=Where)
    """Which events and users count."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="metric", section="metrics", name=self.metric)


class StreakTrigger(Table):
    """`points` each time a streak's length reaches a multiple of `every`, in each chain anew."""

    on: Literal["streak"]
    streak: Name
    """Whose length counts."""
    every: Count = 1
    """So many periods make one award."""
    points: Positive
    """What one award is worth."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users count."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="streak", section="streaks", name=self.streak)


class AchievementTrigger(Table):
    """`points` when an achievement is completed."""

    on: Literal["achievement"]
    achievement: Name
    """Which one."""
    points: Positive
    """What it is worth."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users count."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="achievement", section="achievements", name=self.achievement)


class SignupTrigger(Table):
    """`points` once, when a user is first seen."""

    on: Literal["signup"]
    points: Positive
    """What it is worth."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users count."""


class MembershipTrigger(Table):
    """`points` for each `every` since sign-up."""

    on: Literal["membership"]
    every: PositiveDuration
    """A whole number of days, such as `30d`."""
    points: Positive
    """What one award is worth."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users count."""

    def faults(self) -> Iterator[Fault]:
        if self.every % timedelta(days=1):
            yield "every", "must be whole days, such as '30d'"


Trigger = Annotated[
    MetricTrigger | StreakTrigger | AchievementTrigger | SignupTrigger | MembershipTrigger,
    Field(discriminator="on"),
]


class Boost(Table):
    """Multiplies what is earned while it is in force; boosts multiply each other (S32)."""

    multiplier: Annotated[Positive, at_most(MULTIPLIER_MAX)]
    """2 doubles, 0.5 halves."""
    from_: Day | None = Field(default=None, alias="from")
    """The first of the user's local dates on which it is in force; left out, since ever."""
    until: Day | None = None
    """The last of them; left out, for ever."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users have it."""

    def faults(self) -> Iterator[Fault]:
        if self.from_ and self.until and self.until < self.from_:
            text = f"{self.until} is before from, which is {self.from_}: no day has this boost"
            yield "until", f"{text}; put the first day in from and the last in until"


class Level(Table):
    """A step that a balance at or over `at` has reached (S33)."""

    key: Name
    """What it is called in the program and in JSON."""
    name: Text | None = None
    """How people call it."""
    at: NotNegative
    """The balance that reaches it."""


class PointsSystem(Table):
    """One balance per user: the sum of its ledger."""

    name: Text | None = None
    """How people call it."""
    max_per_day: Positive | None = None
    """The most that one user earns on one local day; what is over it is clipped (S32)."""
    rounding: Literal["down", "up", "half"] = "down"
    """How the product of points and boosts is rounded, once (S32)."""
    triggers: dict[Name, Trigger] = Field(default_factory=dict)
    """What earns points, by name."""
    boosts: dict[Name, Boost] = Field(default_factory=dict)
    """What multiplies them, by name."""
    levels: tuple[Level, ...] = ()
    """From the lowest to the highest."""

    def faults(self) -> Iterator[Fault]:
        for position in range(1, len(self.levels)):
            below, level = self.levels[position - 1], self.levels[position]
            if level.at <= below.at:
                text = (
                    f"must be over {below.at}, where {below.key!r} begins: write the lowest first"
                )
                yield f"levels.{position}.at", text
        keys = Counter(level.key for level in self.levels)
        for position, level in enumerate(self.levels):
            if keys[level.key] > 1:
                text = f"{level.key!r} names more than one level; give each a key of its own"
                yield f"levels.{position}.key", text
