"""What a user's facts have come to: everything that the next fact is judged by, as one value.

It is read, folded on and written as a whole, so that an event costs the same however many rules a
program has. It does not grow with the number of facts: what lies further back than a late event of
an ordinary clock could reach (past chains, the ledger of points, scores of past runs) is kept
beside it, in rows, and a checkpoint now and then lets a later correction begin there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from models.rules.calendar import zone_at
from models.rules.facts import Position
from models.rules.timelines import Timelines, ToldAttributes

ZERO = Decimal(0)


class Total(NamedTuple):
    """What a metric of a user has come to (S15).

    `reached_at` is the instant of the latest event that moved the value, and so the instant from
    which on it has been what it is (S44); None while no event has moved it.
    """

    value: Decimal
    events: int
    reached_at: datetime | None


class PeriodTotal(NamedTuple):
    """What a metric of a user came to in one period."""

    value: Decimal
    events: int


PeriodTotals = Mapping[str, PeriodTotal]
"""What each metric that had an event came to in one period of a user."""


class Activation(NamedTuple):
    """What made a period active: an event's instant and local date, and the version judging it."""

    at: datetime
    local_date: date
    version: int


@dataclass(slots=True, kw_only=True)
class StreakState:
    """A streak of a user: the chain up to the first period that may still change, and what follows.

    `next` is that period. `length`, `started_on`, `ended_on` and `freezes` are those before it;
    `activated` holds the active periods from it on, `made` the lengths for which consequences were
    drawn on them, and `closed` the others of which it was told that they were frozen or missed.
    `cuts` are periods before which a reset ended a chain, `grants` are freezes given by
    operators that no settled period has counted yet. `due_at` is when time alone will next change
    it.
    """

    next: date
    length: int = 0
    started_on: date | None = None
    ended_on: date | None = None
    longest: int = 0
    freezes: int = 0
    activated: dict[date, Activation] = field(default_factory=dict)
    made: dict[date, int] = field(default_factory=dict)
    closed: dict[date, str] = field(default_factory=dict)
    grants: list[tuple[datetime, int]] = field(default_factory=list)
    cuts: list[date] = field(default_factory=list)
    due_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class ScoredPoints:
    """The part of a user's points that boards look at."""

    balance: Decimal = ZERO
    reached_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class PointsState(ScoredPoints):
    """A points system of a user.

    `counted` is the sum of each metric trigger, by its id. `stacks` holds, for triggers whose sum
    may fall, what each step paid, as runs of (amount, steps), the latest last. `paid` is what
    streak triggers paid on periods that may still change, `members` how often each membership
    trigger paid. `earned` is what counts towards the cap of each recent local date. `promoted` is
    how often each level was reached from below.
    """

    counted: dict[str, Decimal] = field(default_factory=dict)
    stacks: dict[str, list[tuple[Decimal, int]]] = field(default_factory=dict)
    paid: dict[str, dict[date, Decimal]] = field(default_factory=dict)
    earned: dict[date, Decimal] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)
    promoted: dict[str, int] = field(default_factory=dict)


class RunScore(NamedTuple):
    """What a user has in a run, when that was reached, and when the run closes; None for never."""

    score: Decimal
    reached_at: datetime
    closes_at: datetime | None


@dataclass(slots=True, kw_only=True)
class ScoredState:
    """The part of a user's state that boards look at: a third of it, for who looks at everyone.

    It stands first in a state that is written, and `models.statements.users` finds where it ends by
    its last field and the one that follows: moved, states are read whole.
    """

    told: ToldAttributes = field(default_factory=ToldAttributes)
    totals: dict[str, Total] = field(default_factory=dict)
    points: Mapping[str, ScoredPoints] = field(default_factory=dict)
    runs: dict[str, dict[str, RunScore]] = field(default_factory=dict)
    suspended: bool = False


@dataclass(slots=True, kw_only=True)
class UserState(ScoredState):
    """A user's state, by the names that the program gives.

    `as_of` is the position of the latest fact in it, or of what time has caused since. `periods`
    holds what recent days, weeks and months came to, by frequency. Counters and runs are kept by
    the id of their definition (`name@since`), achievements by key. `seen_at` is when the user was
    last told of: so far time has been followed at least. `active_at` is the instant of the latest
    event. `facts` counts those folded, `decided` the entries of the ledger that were decided at the
    instant `decided_at`. `due_at` is when time alone will next change anything.
    """

    told: Timelines = field(default_factory=Timelines)
    points: dict[str, PointsState] = field(default_factory=dict)
    as_of: Position | None = None
    signed_up_at: datetime | None = None
    signed_up_on: date | None = None
    signed_up_version: int = 0
    version: int = 0
    periods: dict[str, dict[date, dict[str, PeriodTotal]]] = field(default_factory=dict)
    streaks: dict[str, StreakState] = field(default_factory=dict)
    achievements: dict[str, datetime] = field(default_factory=dict)
    counters: dict[str, Decimal] = field(default_factory=dict)
    facts: int = 0
    decided_at: datetime | None = None
    decided: int = 0
    due_at: datetime | None = None
    seen_at: datetime | None = None
    active_at: datetime | None = None

    def tz_at(self, instant: datetime, assumed: str) -> str:
        """Return the zone in force for the user at an instant (S1)."""
        return zone_at(self.told.zones, instant, assumed)

    def tz(self, assumed: str) -> str:
        """Return the zone in force at the instant that the state is as of."""
        return self.tz_at(self.as_of[0], assumed) if self.as_of else assumed
