"""The facts of a user, and the one order in which they are folded.

Facts come in any order and are folded by `position`: by the instant at which they were true, then
kind by kind. What is told about a user, and pauses, are no facts in this order: they may speak of
the past or of the future, and stand beside it (`models.rules.timelines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

Position = tuple[datetime, int, str, str]
"""(instant, kind, metric, key): two facts of a user never share one."""

BEFORE_FACTS = -1
"""The kind of what time causes: it comes before any fact of the same instant."""


class Event(NamedTuple):
    """An accepted event, with the local date that it keeps and the version that judged it (S36)."""

    at: datetime
    metric: str
    key: str
    version: int
    value: Decimal
    local_date: date
    attributes: Mapping[str, str]

    @property
    def position(self) -> Position:
        """Where it stands among the facts."""
        return (self.at, 2, self.metric, self.key)


class Grant(NamedTuple):
    """Freezes given by an operator; what is over the maximum is clipped (S24)."""

    at: datetime
    fact_id: str
    version: int
    streak: str
    freezes: int

    @property
    def position(self) -> Position:
        """Where it stands among the facts."""
        return (self.at, 3, "", self.fact_id)


class Reset(NamedTuple):
    """The chain of a streak ends (S27)."""

    at: datetime
    fact_id: str
    version: int
    streak: str

    @property
    def position(self) -> Position:
        """Where it stands among the facts."""
        return (self.at, 4, "", self.fact_id)


class Adjustment(NamedTuple):
    """Points given or taken by an operator."""

    at: datetime
    fact_id: str
    version: int
    points: str
    amount: Decimal

    @property
    def position(self) -> Position:
        """Where it stands among the facts."""
        return (self.at, 5, "", self.fact_id)


class Completion(NamedTuple):
    """The backend's or an operator's word that an achievement is complete (S34)."""

    at: datetime
    fact_id: str
    version: int
    achievement: str

    @property
    def position(self) -> Position:
        """Where it stands among the facts."""
        return (self.at, 6, "", self.fact_id)


class Suspension(NamedTuple):
    """A user vanishes from rankings, or comes back (S48)."""

    at: datetime
    fact_id: str
    version: int
    suspended: bool

    @property
    def position(self) -> Position:
        """Where it stands among the facts."""
        return (self.at, 7, "", self.fact_id)


Fact = Event | Grant | Reset | Adjustment | Completion | Suspension
