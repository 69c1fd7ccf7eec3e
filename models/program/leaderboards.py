"""`[leaderboards.*]`: who is compared by what, and over which runs (S40 to S48)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from models.program.cron import read_cron
from models.program.table import Fault, Reference, Table, Texts, UserWhere
from models.program.values import USERS_OWN_CLOCK, Clock, Count, Duration, Name, Text

SEGMENT_ATTRIBUTES_MAX = 5
"""Boards multiply with each attribute: one for every combination of values."""

Cron = Annotated[str, Strict(), AfterValidator(read_cron)]


class RankBy(Table):
    """Exactly one of a metric, a points system and a streak."""

    metric: Name | None = None
    """By the values of a metric."""
    points: Name | None = None
    """By what was earned in a points system."""
    streak: Name | None = None
    """By a streak's length."""

    @property
    def kind(self) -> Literal["metric", "points", "streak"]:
        """What the board is ranked by."""
        if self.metric is not None:
            return "metric"
        return "points" if self.points is not None else "streak"

    @property
    def name(self) -> str:
        """The name of the metric, points system or streak."""
        return self.metric or self.points or self.streak or ""

    def faults(self) -> Iterator[Fault]:
        if len(self.model_fields_set) != 1:
            yield "", "must be exactly one of metric, points and streak"

    def references(self) -> Iterator[Reference]:
        sections = {"metric": "metrics", "points": "points", "streak": "streaks"}
        for key in sorted(self.model_fields_set):
            yield Reference(key=key, section=sections[key], name=getattr(self, key))


class Leaderboard(Table):
    """A ranking of everyone, in runs that follow each other."""

    name: Text | None = None
    """How people call it."""
    rank_by: RankBy
    """What makes the score."""
    aggregate: Literal["sum", "best", "latest"] = "sum"
    """How the values of a run make a score; left out, `best` for a streak, else `sum` (S40)."""
    order: Literal["desc", "asc"] = "desc"
    """Best first, or least first."""
    period: Literal["all", "day", "week", "month", "cron"]
    """How long a run is (S41)."""
    every: Count = 1
    """A run is so many days, weeks or months."""
    cron: Cron | None = None
    """For `period = "cron"`: a run ends and the next begins whenever it says."""
    clock: Clock = "UTC"
    """One zone for all, or `user` for each user's own (S42); left out, the program's zone."""
    segment_by: Annotated[Texts, Field(max_length=SEGMENT_ATTRIBUTES_MAX)] = ()
    """User attributes: one board for each combination of their values, and one for all (S45)."""
    where: UserWhere = Field(default_factory=UserWhere)
    """Which users take part."""
    size: Count | None = None
    """How many are listed; everyone has a rank (S46). Left out, all."""
    late: Duration = timedelta(hours=12)
    """How long after its close a run takes late events; then it is final (S43)."""

    @model_validator(mode="before")
    @classmethod
    def _default_aggregate(cls, data: Any) -> Any:
        if isinstance(data, dict) and "aggregate" not in data:
            rank_by = data.get("rank_by")
            if isinstance(rank_by, dict) and "streak" in rank_by:
                return data | {"aggregate": "best"}
        return data

    def faults(self) -> Iterator[Fault]:
        if self.rank_by.kind == "streak" and self.aggregate == "sum":
            yield "aggregate", "lengths of a streak do not add up; use 'best' or 'latest'"
        if self.period == "cron" and self.cron is None:
            yield "cron", "is missing; with period = 'cron' say when, such as '0 18 * * fri'"
        if self.period != "cron" and self.cron is not None:
            yield "cron", f"means nothing with period = {self.period!r}; use period = 'cron'"
        if self.period == "cron" and self.clock == USERS_OWN_CLOCK:
            yield "clock", "a cron expression needs one zone for all, such as 'Europe/Paris'"
        yield from self._meaningless()

    def _meaningless(self) -> Iterator[Fault]:
        keys = {"all": ("every", "clock", "late"), "cron": ("every",)}.get(self.period, ())
        for key in keys:
            if key in self.model_fields_set:
                yield key, f"means nothing with period = {self.period!r}; leave it out"
