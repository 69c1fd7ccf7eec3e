"""Achievements: completed once, by what crosses their threshold (S34)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum


class AchievementKind(Enum):
    """What completes an achievement."""

    METRIC = "metric"
    STREAK = "streak"
    POINTS = "points"
    ALL_OF = "achievements"
    ANNIVERSARY = "anniversary"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class AchievementRule:
    """Something that is completed once and stays so.

    `subject` names the metric, streak or points system; `at` is the total, length, balance (of a
    level, the one that reaches it) or number of years. `where` are event attributes, for which the
    matching values are summed apart, `where_user` user attributes that must hold. `since` is the
    version that brought it in just so.
    """

    key: str
    since: int
    kind: AchievementKind
    subject: str = ""
    at: Decimal = Decimal(0)
    all_of: Sequence[str] = ()
    where: Mapping[str, str]
    where_user: Mapping[str, str]

    @property
    def id(self) -> str:
        """What names this definition: a changed achievement is a new one."""
        return f"{self.key}@{self.since}"


def crosses(rule: AchievementRule, before: Decimal, after: Decimal) -> bool:
    """Tell whether a value reached the threshold just now.

    One that was over it before met an achievement that came later: that is backdated (S36).
    """
    return before < rule.at <= after
