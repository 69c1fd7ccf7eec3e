"""What a metric comes to: for all time, and in each period (S15)."""

from __future__ import annotations

from decimal import Decimal

from models.rules.facts import Event
from models.rules.rulebook import MetricAggregate, MetricRule
from models.rules.state import PeriodTotal, Total


def add_to_total(rule: MetricRule, before: Total | None, event: Event) -> Total:
    """Return the total after an event; events come in the order of the facts."""
    if before is None:
        moved = bool(event.value) or rule.aggregate is not MetricAggregate.SUM
        return Total(event.value, 1, event.at if moved else None)
    value = _joined(rule, before.value, event.value)
    moved_at = event.at if value != before.value else before.reached_at
    return Total(value, before.events + 1, moved_at)


def add_to_period(rule: MetricRule, before: PeriodTotal | None, event: Event) -> PeriodTotal:
    """Return what the metric came to in a period after an event in it."""
    if before is None:
        return PeriodTotal(event.value, 1)
    return PeriodTotal(_joined(rule, before.value, event.value), before.events + 1)


def _joined(rule: MetricRule, before: Decimal, value: Decimal) -> Decimal:
    match rule.aggregate:
        case MetricAggregate.SUM:
            return before + value
        case MetricAggregate.MAX:
            return max(before, value)
        case MetricAggregate.LATEST:
            return value
