"""A program as the rules read it: plain values, with nothing left to look up or to check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from models.rules.points import TriggerRule
from models.rules.rankings import Board
from models.rules.streaks import StreakRule


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """What an event of a metric may carry; `value_max` is the largest value of one event.

    `total_max` is how far a user's total may go either way, so that neither it nor the points that
    follow from it leave the exact range of a ranking. Values of a metric that does not `add_up` are
    kept in the ledger and not totalled.
    """

    adds_up: bool
    allow_negative: bool
    value_max: Decimal | None
    total_max: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRule:
    """A board that runs for all time, ranked by a metric or by a points system.

    Exactly one of `metric` and `points` is set.
    """

    board: Board
    metric: str | None = None
    points: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """Everything that decides about an event, as of one version of the program.

    `tz` is the zone of users of whom none is known, `event_age_max` how old an event may be unless
    it is imported.
    """

    version: int
    tz: str
    event_age_max: timedelta
    metrics: Mapping[str, MetricRule]
    streaks: Sequence[StreakRule]
    triggers: Sequence[TriggerRule]
    boards: Sequence[BoardRule]
