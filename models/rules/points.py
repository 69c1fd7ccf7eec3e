"""Points: what earns them, what multiplies and clips them, and the entries that keep it (S30–S33).

A metric trigger sums the matching values in the order of the facts and has awarded
floor(sum / every) × points. Several steps crossed at once are all paid; a sum that falls takes back
the latest steps first, at what they paid, so that nobody gains by going up and down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from enum import Enum
from typing import NamedTuple

from models.rules.levels import Level
from models.rules.state import ZERO, PointsState
from streakline.contract import VALUE_MAX

ONE = Decimal(1)


class Rounding(Enum):
    """How the product of points and boosts is rounded; points that are taken back never are."""

    DOWN = ROUND_DOWN
    UP = ROUND_UP
    HALF = ROUND_HALF_UP


class TriggerKind(Enum):
    """What makes a trigger pay (S30, S31)."""

    METRIC = "metric"
    STREAK = "streak"
    ACHIEVEMENT = "achievement"
    SIGNUP = "signup"
    MEMBERSHIP = "membership"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRule:
    """Something that earns points.

    `since` is the program version that brought it in just so: a changed trigger is a new one.
    `subject` names the metric, the streak or the achievement. `every` is an amount of the metric, a
    number of periods or of days. `where` are event attributes and `where_user` user attributes
    that must hold. `falls` tells that the metric's sum can.
    """

    name: str
    since: int
    kind: TriggerKind
    award: Decimal
    subject: str = ""
    every: Decimal = ONE
    where: Mapping[str, str]
    where_user: Mapping[str, str]
    falls: bool = False

    @property
    def id(self) -> str:
        """What names the trigger among those of its points system."""
        return f"{self.name}@{self.since}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostRule:
    """Multiplies what is earned on a user's local dates from `first` to `last`, inclusive (S32)."""

    name: str
    multiplier: Decimal
    first: date | None
    last: date | None
    where_user: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsRule:
    """A points system, as of one version of the program."""

    name: str
    triggers: Sequence[TriggerRule]
    boosts: Sequence[BoostRule]
    levels: Sequence[Level]
    day_max: Decimal | None
    rounding: Rounding


class Entry(NamedTuple):
    """A line of the ledger.

    `cause` names the fact that earned it: an event's key, a period, an achievement. `amount` is
    `base`, multiplied by the boosts named, rounded once, less what was `clipped`.
    """

    points: str
    trigger: str
    since: int
    cause: str
    amount: Decimal
    base: Decimal
    boosts: tuple[str, ...]
    clipped: Decimal
    occurred_at: datetime


class Occasion(NamedTuple):
    """What an award is for: its cause, the instant and the user's local date (S31, S32)."""

    cause: str
    at: datetime
    local_date: date
    attributes: Mapping[str, str]


def holds(where: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    """Tell whether all attributes of a filter have the values that it names."""
    return not where or all(attributes.get(name) == value for name, value in where.items())


def steps_of(total: Decimal, every: Decimal) -> int:
    """Return floor(total / every): how many steps a sum has reached."""
    # divmod cuts towards zero; a quotient by "/" could be rounded up to a step not reached
    steps, rest = divmod(total, every)
    return int(steps) - 1 if rest < 0 else int(steps)


def count(
    rule: PointsRule,
    trigger: TriggerRule,
    state: PointsState,
    value: Decimal,
    occasion: Occasion,
) -> Entry | None:
    """Count a value in a metric trigger; return the entry that it makes, if any (S30)."""
    counted = state.counted.get(trigger.id, ZERO)
    state.counted[trigger.id] = total = counted + value
    steps = steps_of(total, trigger.every) - steps_of(counted, trigger.every)
    if steps == 0:
        return None
    if not trigger.falls:
        return pay(rule, trigger, state, steps * trigger.award, occasion)
    return _move(rule, trigger, state, steps, occasion)


def pay(
    rule: PointsRule,
    trigger: TriggerRule,
    state: PointsState,
    base: Decimal,
    occasion: Occasion,
) -> Entry:
    """Add an award to the balance: boosts multiply it, it is rounded once, caps clip it (S32)."""
    boosts = [
        boost
        for boost in rule.boosts
        if (boost.first is None or boost.first <= occasion.local_date)
        and (boost.last is None or occasion.local_date <= boost.last)
        and holds(boost.where_user, occasion.attributes)
    ]
    boosted = base
    if boosts:
        for boost in boosts:
            boosted *= boost.multiplier
        boosted = boosted.quantize(_places_of(trigger.award), rule.rounding.value)
    amount = min(boosted, VALUE_MAX - state.balance)
    if rule.day_max is not None:
        earned = state.earned.get(occasion.local_date, ZERO)
        amount = min(amount, max(rule.day_max - earned, ZERO))
    names = tuple(boost.name for boost in boosts)
    return _book(rule, trigger, state, (amount, base, names, boosted - amount), occasion)


def take_back(
    rule: PointsRule,
    trigger: TriggerRule,
    state: PointsState,
    amount: Decimal,
    occasion: Occasion,
) -> Entry:
    """Take back an award, at what it paid."""
    return _book(rule, trigger, state, (-amount, -amount, (), ZERO), occasion)


def _move(
    rule: PointsRule, trigger: TriggerRule, state: PointsState, steps: int, occasion: Occasion
) -> Entry | None:
    """Pay or take back steps of a sum that can fall: the latest ones first, at what they paid.

    A sum below zero has taken points that nobody had; they come back at the same price.
    """
    stack = state.stacks.setdefault(trigger.id, [])
    undone, left = _unwind(stack, steps, _places_of(trigger.award))
    entry = None
    if left > 0:
        entry = pay(rule, trigger, state, left * trigger.award, occasion)
        _push(stack, (entry.amount, left))
    elif left < 0:
        undone += left * trigger.award
        _push(stack, (left * trigger.award, left))
    if not undone:
        return entry
    taken = take_back(rule, trigger, state, -undone, occasion)
    if entry is None:
        return taken
    return entry._replace(amount=entry.amount + taken.amount, base=entry.base + taken.base)


def _unwind(stack: list[tuple[Decimal, int]], steps: int, places: Decimal) -> tuple[Decimal, int]:
    """Take steps of the other sign off the stack; return by how much points change, and the rest.

    A run from which some steps are taken keeps its share, rounded towards zero.
    """
    change = ZERO
    while steps and stack and (stack[-1][1] > 0) != (steps > 0):
        amount, count = stack.pop()
        undone = min(abs(steps), abs(count)) * (1 if count > 0 else -1)
        kept = (amount * (count - undone) / count).quantize(places, ROUND_DOWN)
        if count != undone:
            stack.append((kept, count - undone))
        change -= amount - kept
        steps += undone
    return change, steps


def _push(stack: list[tuple[Decimal, int]], run: tuple[Decimal, int]) -> None:
    """Put a run on top; one that paid as much a step as the run below joins it."""
    amount, count = run
    if stack and stack[-1][0] * count == amount * stack[-1][1]:
        below = stack.pop()
        amount, count = amount + below[0], count + below[1]
    stack.append((amount, count))


def _book(
    rule: PointsRule,
    trigger: TriggerRule,
    state: PointsState,
    made: tuple[Decimal, Decimal, tuple[str, ...], Decimal],
    occasion: Occasion,
) -> Entry:
    amount, base, boosts, clipped = made
    state.balance += amount
    if rule.day_max is not None:
        earned = state.earned.get(occasion.local_date, ZERO) + amount
        state.earned[occasion.local_date] = max(earned, ZERO)
    if amount and (state.reached_at is None or state.reached_at < occasion.at):
        state.reached_at = occasion.at
    return Entry(
        rule.name,
        trigger.name,
        trigger.since,
        occasion.cause,
        amount,
        base,
        boosts,
        clipped,
        occasion.at,
    )


def _places_of(award: Decimal) -> Decimal:
    """Return one unit of the last place that an award has: whole points, unless it says finer."""
    exponent = award.normalize().as_tuple().exponent
    return ONE.scaleb(min(0, exponent)) if isinstance(exponent, int) else ONE
