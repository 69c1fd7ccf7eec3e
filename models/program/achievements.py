"""`[achievements.*]`: what is completed once and stays complete (S34)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from models.program.table import OrderFree, Reference, Table, UserWhere, Where
from models.program.values import Count, Name, Positive, Text


class AchievementTable(Table):
    """What every achievement has."""

    name: Text | None = None
    """How people call it."""


class MetricAchievement(AchievementTable):
    """A metric's total reaches `at`."""

    on: Literal["metric"]
    metric: Name
    """Whose total counts."""
    at: Positive
    """The total that completes it."""
    where: Where = Field(default_factory=Where)
    """Which events and users count."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="metric", section="metrics", name=self.metric)


class StreakAchievement(AchievementTable):
    """A streak's length reaches `at`."""

    on: Literal["streak"]
    streak: Name
    """Whose length counts."""
    at: Count
    """The length that completes it."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users can complete it."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="streak", section="streaks", name=self.streak)


class PointsAchievement(AchievementTable):
    """A balance of points reaches `at`."""

    on: Literal["points"]
    points: Name
    """Which points system."""
    at: Positive
    """The balance that completes it."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users can complete it."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="points", section="points", name=self.points)


class LevelAchievement(AchievementTable):
    """A level is reached."""

    on: Literal["level"]
    points: Name
    """Which points system."""
    level: Name
    """The key of the level."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users can complete it."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="points", section="points", name=self.points)
        yield Reference(key="level", section=f"points.{self.points}.levels", name=self.level)


class CollectionAchievement(AchievementTable):
    """All of other achievements are complete."""

    on: Literal["achievements"]
    all: Annotated[tuple[Name, ...], Field(min_length=1), OrderFree]
    """Which ones."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users can complete it."""

    def references(self) -> Iterator[Reference]:
        for achievement in self.all:
            yield Reference(key="all", section="achievements", name=achievement)


class AnniversaryAchievement(AchievementTable):
    """So many years since sign-up."""

    on: Literal["anniversary"]
    years: Count
    """How many."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users can complete it."""


class ManualAchievement(AchievementTable):
    """Complete when the backend says so."""

    on: Literal["manual"]
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users can complete it."""


Achievement = Annotated[
    MetricAchievement
    | StreakAchievement
    | PointsAchievement
    | LevelAchievement
    | CollectionAchievement
    | AnniversaryAchievement
    | ManualAchievement,
    Field(discriminator="on"),
]
