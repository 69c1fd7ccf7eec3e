"""Points earned by metric triggers: the entries of the ledger as a function of the events.

A trigger sums the matching values in the order (occurred_at, key); what it has awarded after each
event is floor(sum / every) × points, and the event's own entry is by how much that changed (S30).
So several thresholds crossed at once are all paid, and a sum that falls takes points back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

TriggerKey = tuple[str, str, int]
"""What names a trigger in the ledger: (points, trigger, since)."""


@dataclass(frozen=True, kw_only=True)
class TriggerRule:
    """A metric trigger: `award` points for every `every` of the metric's matching values.

    `since` is the program version that brought it in; `where` are event attributes that must hold.
    """

    points: str
    name: str
    since: int
    metric: str
    every: Decimal
    award: Decimal
    where: Mapping[str, str]

    @cached_property
    def key(self) -> TriggerKey:
        """What names the trigger in the ledger."""
        return (self.points, self.name, self.since)

    @cached_property
    def id(self) -> str:
        """What names the trigger among those of its points system: a changed one is a new one."""
        return f"{self.name}@{self.since}"

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Tell whether the trigger counts an event of its metric with those attributes."""
        return not self.where or all(
            attributes.get(name) == value for name, value in self.where.items()
        )

    def awarded(self, total: Decimal) -> Decimal:
        """Return all the points that a sum of `total` has earned."""
        # divmod cuts towards zero; a quotient by "/" could be rounded up to a step not reached
        steps, rest = divmod(total, self.every)
        return (steps - 1 if rest < 0 else steps) * self.award


class Counted(NamedTuple):
    """A value that a trigger counts, and where it stands in the order of events."""

    occurred_at: datetime
    key: str
    value: Decimal

    @property
    def position(self) -> tuple[datetime, str]:
        """Events of one trigger are ordered by this."""
        return (self.occurred_at, self.key)


class Entry(NamedTuple):
    """A line of the ledger: what the event with key `cause` earned, or took back."""

    cause: str
    amount: Decimal
    occurred_at: datetime


class TriggerState(NamedTuple):
    """How far a trigger has come for a user.

    `counted` is the sum, `last` the position of the latest event in it, and `reached_at` the
    instant of the latest entry, None before the first.
    """

    counted: Decimal
    awarded: Decimal
    last: tuple[datetime, str]
    reached_at: datetime | None


def balance_of(states: Iterable[TriggerState]) -> Decimal:
    """Return what the triggers of a points system have awarded together (S33)."""
    return sum((state.awarded for state in states), start=Decimal(0))


def shifts_later_entries(rule: TriggerRule, state: TriggerState, new: Counted) -> bool:
    """Tell whether an event changes what later events, counted already, have earned.

    It does where it comes late and its value is no multiple of `every`: a multiple moves every
    later sum by whole steps, and the differences between the steps stay as they are.
    """
    return new.position < state.last and new.value % rule.every != 0


def count(
    rule: TriggerRule, state: TriggerState | None, events: Sequence[Counted]
) -> tuple[TriggerState, list[Entry]]:
    """Count events that shift nothing; return the new state and the entries that they earned.

    The events ascend by position; there is at least one.
    """
    counted, awarded = (state.counted, state.awarded) if state else (Decimal(0), Decimal(0))
    last, reached_at = events[-1].position, None
    if state is not None:
        last, reached_at = max(last, state.last), state.reached_at
    entries: list[Entry] = []
    for event in events:
        counted += event.value
        after = rule.awarded(counted)
        if after != awarded:
            entries.append(
                Entry(cause=event.key, amount=after - awarded, occurred_at=event.occurred_at)
            )
            awarded = after
            if reached_at is None or reached_at < event.occurred_at:
                reached_at = event.occurred_at
    return TriggerState(counted=counted, awarded=awarded, last=last, reached_at=reached_at), entries
