"""Prove on live data that state is a function of facts, and that Redis is what Postgres holds.

Users are folded from nothing over their ledgers, with the same rules, and compared with what is
stored: the state, and every row that folds have decided. Boards are ranked from Postgres and
compared with Redis, place by place. It reads in snapshots and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine

from models.folding import Refolded, refold
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.boards import BoardRule, scores_of_all_time
from models.rules.effects import NOT_FOLDED, Effects
from models.rules.fold import advance
from models.rules.rankings import Board, Score, Scores, rank
from models.rules.rulebook import Rules
from models.rules.runs import RunPeriod
from models.rules.state import UserState
from models.statements import boards as board_statements
from models.statements import checks as check_statements
from models.statements import users as user_statements

USERS_AT_ONCE = 500
SAMPLES_MAX = 20
"""Differences that are shown; all are counted."""


@dataclass(slots=True, kw_only=True)
class Verified:
    """What was compared, and what differs; `users_waiting` are to be folded anew first.

    Of those checked, `users_closed` have events that left for the warehouse: what they came to
    until then is taken as it is.
    """

    users_checked: int = 0
    users_closed: int = 0
    users_waiting: int = 0
    user_mismatches: int = 0
    boards_checked: int = 0
    board_mismatches: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add_sample(self, **sample: Any) -> None:
        """Keep a difference to be shown."""
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(sample)


def count_users(engine: Engine) -> int:
    """Return how many users there are."""
    with engine.connect() as connection:
        return user_statements.count_users(connection)


def verify_users(
    engine: Engine,
    rulebooks: Rulebooks,
    verified: Verified,
    *,
    sample: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Compare everyone, or some picked at random, with a fold from nothing. Raises NoProgram."""
    for user_ids in _some_ids(engine, sample):
        with _snapshot(engine) as connection:
            _verify_some(connection, rulebooks.current(connection), user_ids, verified)
        progress(len(user_ids))


def verify_boards(
    engine: Engine, rankings: Rankings, rulebooks: Rulebooks, verified: Verified
) -> None:
    """Compare every board of Redis with what Postgres ranks. Raises NoProgram.

    Nobody projects meanwhile. Users of whom something waits to be projected are left out.
    """
    with _snapshot(engine) as connection:
        board_statements.lock_projecting(connection)
        rules = rulebooks.current(connection)
        waiting = {
            user_id
            for touch in board_statements.read_touches(connection, limit=1_000_000)
            for user_id in (*touch.user_ids, *(one for of in touch.scores.values() for one in of))
        }
        for board, scores in _read_boards(connection, rules):
            verified.boards_checked += 1
            expected = [
                (one.user_id, one.score, one.reached_at)
                for one in rank(scores, ascending=board.ascending)
                if one.user_id not in waiting
            ]
            live = [
                (one.user_id, one.score, one.reached_at)
                for one in rankings.page(board, limit=len(scores) + len(waiting) + 1)
                if one.user_id not in waiting
            ]
            if live != expected:
                verified.board_mismatches += 1
                verified.add_sample(board=_name(board), **_first_difference(expected, live))


def every_id(engine: Engine) -> Iterator[str]:
    """Yield the ids of all users, in order."""
    return (user_id for some in _some_ids(engine, None) for user_id in some)


def _snapshot(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="REPEATABLE READ")


def _some_ids(engine: Engine, sample: int | None) -> Iterator[Sequence[str]]:
    if sample is not None:
        with engine.connect() as connection:
            ids = check_statements.sample_ids(connection, sample)
        yield from _in_parts(ids, USERS_AT_ONCE)
        return
    after = ""
    while True:
        with engine.connect() as connection:
            ids = user_statements.read_next_ids(connection, after, USERS_AT_ONCE)
        if not ids:
            return
        yield ids
        after = ids[-1]


def _in_parts(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _verify_some(
    connection: Connection, rules: Rules, user_ids: Sequence[str], verified: Verified
) -> None:
    users = user_statements.read_users(connection, user_ids, rules.stamp)
    current = [user_id for user_id in users.states if user_id not in users.stale]
    verified.users_waiting += len(users.stale)
    stored = check_statements.read_decided(connection, current)
    refolded = refold(connection, rules, {user_id: Effects() for user_id in current})
    for user_id, one in refolded.items():
        verified.users_checked += 1
        verified.users_closed += user_id in users.closed
        state = users.states[user_id]
        if state.as_of is not None:
            advance(one.state, state.as_of[0], rules, one.effects)
        differing = _differing(state, one, stored[user_id])
        if differing:
            verified.user_mismatches += 1
            verified.add_sample(user_id=user_id, **differing)


def _decided(effects: Effects) -> dict[str, list[tuple[Any, ...]]]:
    """Return what a fold decided in the shape of `checks.read_decided`."""
    return {
        "point_entries": [
            (one.at, one.number, *one.entry[:6], ",".join(one.entry.boosts) or None, *one.entry[7:])
            for one in effects.entries
        ],
        "achievements": [tuple(one) for one in effects.completed],
        "streak_chains": [(one.streak, *one.chain, one.decided_at) for one in effects.chains],
        "notices": [
            (one.kind.value, one.cause, one.at, one.decided_at) for one in effects.notices.values()
        ],
        "run_scores": [
            (*_split(key.board), key.run, *one.score[:2]) for key, one in effects.scores.items()
        ],
    }


def _differing(
    state: UserState, refolded: Refolded, stored: Mapping[str, list[tuple[Any, ...]]]
) -> dict[str, Any]:
    """Return the first thing that differs: what it is, what is stored, and what it should be."""
    for name in UserState.__dataclass_fields__:
        if getattr(state, name) != getattr(refolded.state, name):
            return {
                "differs": f"state.{name}",
                "stored": repr(getattr(state, name)),
                "recomputed": repr(getattr(refolded.state, name)),
            }
    not_folded = {kind.value for kind in NOT_FOLDED}
    for table, rows in _decided(refolded.effects).items():
        kept = [
            row[1:]
            for row in stored.get(table, [])
            if row[0] > refolded.since and row[1] not in not_folded
        ]
        if sorted(kept, key=repr) != sorted(rows, key=repr):
            return {"differs": table, **_first_difference(rows, kept)}
    return {}


def _first_difference(expected: Iterable[Any], found: Iterable[Any]) -> dict[str, Any]:
    wanted, there = list(expected), list(found)
    return {
        "stored": repr(next((row for row in there if row not in wanted), None)),
        "recomputed": repr(next((row for row in wanted if row not in there), None)),
    }


def _read_boards(connection: Connection, rules: Rules) -> Iterator[tuple[Board, Scores]]:
    """Yield every board in force that anybody has a score on, as Postgres ranks it."""
    all_time: dict[Board, dict[str, Score]] = {}
    placed: dict[tuple[str, str], Sequence[str]] = {}
    boards = rules.latest.boards
    with_runs = [rule for rule in boards if rule.runs.period is not RunPeriod.ALL]
    for user_id, state in user_statements.stream_scored(connection, rules.stamp):
        for board, score in scores_of_all_time(boards, state):
            if score is not None:
                all_time.setdefault(board, {})[user_id] = score
        attributes = state.told.now()
        for rule in with_runs:
            placed[rule.id, user_id] = rule.segments(attributes, state.suspended)
    yield from all_time.items()
    for rule in with_runs:
        yield from _read_runs(connection, rule, placed)


def _read_runs(
    connection: Connection, rule: BoardRule, placed: Mapping[tuple[str, str], Sequence[str]]
) -> Iterator[tuple[Board, Scores]]:
    for run in board_statements.list_runs(connection, rule.name, rule.since):
        if run.finalized_at is not None:
            continue  # what is read of it is its record
        found: dict[Board, dict[str, Score]] = {}
        for user_id, score in board_statements.read_scores(connection, run.name):
            for segment in placed.get((rule.id, user_id), ()):
                found.setdefault(rule.board(run.run, segment), {})[user_id] = score
        yield from found.items()


def _name(board: Board) -> str:
    return f"{board.leaderboard}/{board.run}/{board.segment}"


def _split(board_id: str) -> tuple[str, int]:
    name, _, since = board_id.rpartition("@")
    return name, int(since)
