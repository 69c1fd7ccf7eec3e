"""What follows from facts beside the state: rows that are written once and kept.

Each is marked with the instant at which it was decided. When a late fact changes the past, all that
was decided after the checkpoint is taken away and what the new fold decides is written instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from models.rules.points import Entry
from models.rules.runs import Run
from models.rules.state import PeriodTotals, RunScore, UserState
from models.rules.streaks import Chain, Step


class NoticeKind(Enum):
    """What is worth telling a user."""

    ACHIEVEMENT = "achievement"
    LEVEL = "level"
    MILESTONE = "milestone"
    FREEZE_USED = "freeze-used"
    STREAK_LOST = "streak-lost"
    CORRECTION = "correction"
    """That something was put right stays told, whatever else is put right later."""
    LEADERBOARD_FINISHED = "leaderboard-finished"
    """It tells of the record of a run, which stays what it is."""


NOT_FOLDED = frozenset({NoticeKind.CORRECTION, NoticeKind.LEADERBOARD_FINISHED})
"""What they tell is not decided by a fold of the user's facts alone."""


class Decided(NamedTuple):
    """An entry of the ledger, when it was decided, and its number among those of that instant."""

    at: datetime
    number: int
    entry: Entry


class Completed(NamedTuple):
    """A completed achievement; `backdated` where the fact is older than the achievement (S36)."""

    key: str
    since: int
    completed_at: datetime
    backdated: bool
    decided_at: datetime


class Notice(NamedTuple):
    """Something worth telling, once for each kind and cause."""

    kind: NoticeKind
    cause: str
    at: datetime
    body: Mapping[str, Any]
    decided_at: datetime


class EndedChain(NamedTuple):
    """A chain that nothing in order can change any more."""

    streak: str
    chain: Chain
    decided_at: datetime


class ScoreKey(NamedTuple):
    """A user's score: the leaderboard's id and the run."""

    board: str
    run: str


class DecidedScore(NamedTuple):
    """A score in a run as it came to be."""

    run: Run
    score: RunScore
    decided_at: datetime


class Scored(NamedTuple):
    """A value that was brought into a run, and the score after it."""

    board: str
    run: str
    value: Decimal
    occurred_at: datetime
    score: Decimal


class Checkpoint(NamedTuple):
    """A state as of an instant, encoded: a later correction can begin here."""

    as_of: datetime
    state: str


class Opening(NamedTuple):
    """A state from which a ledger goes on, of which the events of before have left.

    `version` is that of the program under which it was made.
    """

    as_of: datetime
    state: str
    version: int


@dataclass(slots=True, kw_only=True)
class Effects:
    """What a fold decided. `encode` writes the states of checkpoints; without it none are made.

    `touched` are leaderboards whose all-time score changed. `periods` and `scored` collect what
    became of each period and what made each score, for those who want to see it.
    """

    encode: Callable[[UserState], str] | None = None
    entries: list[Decided] = field(default_factory=list)
    completed: list[Completed] = field(default_factory=list)
    notices: dict[tuple[NoticeKind, str], Notice] = field(default_factory=dict)
    dropped: list[tuple[NoticeKind, str]] = field(default_factory=list)
    chains: list[EndedChain] = field(default_factory=list)
    scores: dict[ScoreKey, DecidedScore] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    periods: dict[str, list[tuple[Step, PeriodTotals]]] | None = None
    scored: list[Scored] | None = None

    def put_notice(self, notice: Notice) -> None:
        """Add a notice."""
        self.notices[notice.kind, notice.cause] = notice

    def drop_notice(self, kind: NoticeKind, cause: str) -> None:
        """Take back a notice, of this fold or of an earlier one."""
        dropped = self.notices.pop((kind, cause), None)
        if dropped is None:
            self.dropped.append((kind, cause))
            return
        # A fold from where the notice stood would not know that it has to come back.
        self.checkpoints = [one for one in self.checkpoints if one.as_of < dropped.decided_at]
