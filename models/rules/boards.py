"""Leaderboards: what makes a score, run by run (S40, S41)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cached_property

from models.rules.rankings import ALL, Board, Score
from models.rules.runs import Run, RunPeriod, RunRule
from models.rules.segments import segments_of
from models.rules.state import RunScore, ScoredState

EVERYBODY = (ALL,)


class BoardKind(Enum):
    """What a board is ranked by."""

    METRIC = "metric"
    POINTS = "points"
    STREAK = "streak"


class Aggregate(Enum):
    """How the values of a run make a score."""

    SUM = "sum"
    BEST = "best"
    LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class BoardRule:
    """A leaderboard, as the version `since` brought it in; `subject` is what it is ranked by.

    `where_user` are the attributes of those who take part. `size` is how many are listed.
    """

    name: str
    since: int
    kind: BoardKind
    subject: str
    aggregate: Aggregate
    ascending: bool
    runs: RunRule
    segment_by: Sequence[str] = ()
    where_user: Mapping[str, str]
    size: int | None = None

    @cached_property
    def id(self) -> str:
        """What names this definition: a changed leaderboard is a new one."""
        return f"{self.name}@{self.since}"

    @cached_property
    def follows_totals(self) -> bool:
        """Whether a score is what the user's total or balance is anyway: nothing more is kept."""
        return (
            self.runs.period is RunPeriod.ALL
            and self.aggregate is Aggregate.SUM
            and self.kind is not BoardKind.STREAK
        )

    def board(self, run: str, segment: str = ALL) -> Board:
        """Return one board of it."""
        return Board(
            leaderboard=self.name,
            run=run,
            segment=segment,
            since=self.since,
            ascending=self.ascending,
        )

    def segments(self, attributes: Mapping[str, str], suspended: bool) -> Sequence[str]:
        """Return on which segments' boards a user with these attributes stands (S45, S48)."""
        if not (self.segment_by or self.where_user or suspended):
            return EVERYBODY
        return segments_of(self.segment_by, self.where_user, attributes, suspended)


def add_value(
    rule: BoardRule, before: RunScore | None, value: Decimal, at: datetime, run: Run
) -> RunScore | None:
    """Return the score of a run after one more value, or None where it stays as it is.

    Values come in the order of the facts, awards of a streak perhaps later than others: the instant
    of a sum is the latest that moved it.
    """
    if before is None:
        if rule.aggregate is Aggregate.SUM and not value:
            return None
        return RunScore(value, at, run.closes_at)
    match rule.aggregate:
        case Aggregate.SUM:
            if not value:
                return None
            return RunScore(before.score + value, max(before.reached_at, at), run.closes_at)
        case Aggregate.BEST:
            better = value < before.score if rule.ascending else value > before.score
            return RunScore(value, at, run.closes_at) if better else None
        case Aggregate.LATEST:
            if at < before.reached_at or value == before.score:
                return None
            return RunScore(value, at, run.closes_at)


def score_of(rule: BoardRule, state: ScoredState, run: str) -> Score | None:
    """Return what the user has in a run that the state holds, None where nothing was scored."""
    if not rule.follows_totals:
        found = state.runs.get(rule.id, {}).get(run)
        return Score(found.score, found.reached_at) if found else None
    if rule.kind is BoardKind.METRIC:
        total = state.totals.get(rule.subject)
        return Score(total.value, total.reached_at) if total and total.reached_at else None
    points = state.points.get(rule.subject)
    return Score(points.balance, points.reached_at) if points and points.reached_at else None


def scores_of_all_time(
    boards: Iterable[BoardRule], state: ScoredState
) -> Iterator[tuple[Board, Score | None]]:
    """Yield what the user has on the boards that never reset, of each segment that the user is in.

    None where nothing was scored: who stands there has no place any more.
    """
    attributes = state.told.now()
    for rule in boards:
        if rule.runs.period is RunPeriod.ALL:
            score = score_of(rule, state, ALL)
            for segment in rule.segments(attributes, state.suspended):
                yield rule.board(ALL, segment), score
