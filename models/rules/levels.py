"""Levels: the highest whose threshold a balance is at or over (S33)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level of a points system; `number` counts from 1, the lowest."""

    key: str
    number: int
    at: Decimal


def level_of(levels: Sequence[Level], balance: Decimal) -> Level | None:
    """Return the level that a balance has reached; `levels` ascend, and None is below the first."""
    reached = None
    for level in levels:
        if level.at > balance:
            break
        reached = level
    return reached
