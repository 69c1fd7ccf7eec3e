"""Make boards anew from what Postgres holds, beside those that are read, and swap them in (S74).

A chunk reads some users' scores and writes them into the build, under the lock of whoever projects:
one thread reads and another writes beside it. What is projected between chunks goes into the build,
too: so each user's score there is the newest that was projected. At the end each board is put in
place of the old one in one step; a reader sees the old one or the new one, whole.

Where Redis loses the build, on the way or at the end, it is begun again under another name.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from sqlalchemy import Connection

from jobs.backfills.ahead import ReadAhead
from jobs.backfills.changes import ADDED, CHANGED, REMOVED, SAMPLES_MAX
from jobs.backfills.kind import Chunk, Context, NotPossible, Work, only
from models.rules.boards import BoardRule, score_of
from models.rules.rankings import ALL, Board, Score
from models.rules.rulebook import Rules
from models.rules.runs import RunPeriod
from models.statements import backfills as backfill_statements
from models.statements import boards as statements
from models.statements import users as user_statements
from models.statements.backfills import Backfill

ROWS_MAX = 20_000
ROWS_AT_ONCE = 1_000
"""Of a chunk: so many are read, and as many written, while as many are decoded."""
WRITES_WAITING = 2
"""So many pieces wait to be written while the next is decoded: with one Redis would often be idle
between two, until the interpreter lets the writing thread go on."""
NOTHING_TOLD: Mapping[str, str] = {}
NO_RUNS: Mapping[statements.RunName, Score] = {}

BoardScores = dict[Board, dict[str, Score]]
_ScoresByBoard = defaultdict[tuple[str, str], dict[str, Score]]
"""Scores of one leaderboard, by run and segment, and then by user."""


class RebuildRankings:
    """`{"leaderboards": [...]}`, or `{}` for all that are in force."""

    name = statements.REBUILD_RANKINGS
    unit = "users"
    rows_max = ROWS_MAX

    def read(self, context: Context, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check the leaderboards, and that no other one runs: both would write one build."""
        only(parameters, "leaderboards")
        wanted = parameters.get("leaderboards")
        with context.engine.connect() as connection:
            if backfill_statements.count_unsettled(connection, self.name):
                raise NotPossible(
                    f"another {self.name} has not ended; see: streakline backfill list"
                )
            names = sorted(
                {rule.name for rule in context.rulebooks.current(connection).latest.boards}
            )
        unknown = sorted(set(wanted or ()) - set(names))
        if unknown:
            raise NotPossible(
                f"there is no leaderboard {unknown[0]!r}; there are {', '.join(names) or 'none'}"
            )
        return {} if wanted is None else {"leaderboards": sorted(set(wanted))}

    def count(self, context: Context, _parameters: Mapping[str, Any]) -> int:
        """Count the users, of each of whom all scores are looked at."""
        with context.engine.connect() as connection:
            return user_statements.count_users(connection)

    def run(self, work: Work) -> Chunk:
        """Write the next users' scores into the build, or at the end swap it in."""
        statements.lock_projecting(work.connection)
        build = work.cursor.get("build", f"{work.backfill.backfill_id}-0")
        if work.cursor.get("is_filled"):
            return _swap(work, build)
        return _fill(work, build)

    def forget(self, connection: Connection, backfill: Backfill) -> None:
        """Give the build up, where it is not in place; its keys expire."""
        if backfill.cursor is not None and not backfill.dry_run:
            statements.lock_projecting(connection)
            statements.finish_build(connection, backfill.cursor["build"], in_place=False)


class _Piece(NamedTuple):
    """Some users in order, None who is to be folded anew, and what they have in open runs."""

    users: dict[str, str | None]
    in_runs: Mapping[str, Mapping[statements.RunName, Score]]


def _fill(work: Work, build: str) -> Chunk:
    """Write the next users' scores into the build, and count how they differ from what is read."""
    rules = work.context.rulebooks.current(work.connection)
    names = _names(work, rules)
    wanted = [rule for rule in rules.latest.boards if rule.name in names]
    found = dict(work.cursor.get("found", {}))
    after, rows, added = work.cursor.get("after", ""), 0, set[Board]()
    known = statements.list_projected(work.connection)
    begun = {board for board, of_build in known.items() if of_build == build}
    with (
        closing(ReadAhead(_read(work, rules.stamp, wanted))) as pieces,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="rankings") as writer,
    ):
        writes, is_lost = deque[Future[bool]](), False
        for users, in_runs in pieces:
            scores = _scores(wanted, users, in_runs)
            writes.append(writer.submit(_write, work, build, scores, frozenset(begun), found))
            added |= scores.keys() - begun
            begun |= added
            rows += len(users)
            after = next(reversed(users), after)
            if len(writes) > WRITES_WAITING and not writes.popleft().result():
                is_lost = True
                break
    if is_lost or not all(write.result() for write in writes):
        return _begin_again(work, build)
    if not work.backfill.dry_run:
        statements.add_projected(work.connection, added, build)
    goes_on = {"is_filled": True} if rows < work.rows_max else {"after": after}
    return Chunk(rows=rows, cursor={"build": build, "found": found} | goes_on)


def _read(work: Work, stamp: str, wanted: Sequence[BoardRule]) -> Generator[_Piece]:
    """Yield the users of a chunk as Postgres holds them now."""
    connection, after, left = work.connection, work.cursor.get("after", ""), work.rows_max
    is_any_in_runs = any(rule.runs.period is not RunPeriod.ALL for rule in wanted)
    while left:
        limit = min(ROWS_AT_ONCE, left)
        users = user_statements.read_next_scored(connection, after, limit, stamp)
        yield _Piece(
            users, statements.read_open_scores_of(connection, users) if is_any_in_runs else {}
        )
        left -= len(users)
        if len(users) < limit:
            return
        after = next(reversed(users))


def _names(work: Work, rules: Rules) -> set[str]:
    wanted = work.parameters.get("leaderboards")
    return {rule.name for rule in rules.latest.boards} if wanted is None else set(wanted)


def _scores(
    wanted: Sequence[BoardRule],
    users: Mapping[str, str | None],
    in_runs: Mapping[str, Mapping[statements.RunName, Score]],
) -> BoardScores:
    """Return what users have on the boards that are kept up."""
    is_any_segmented = any(rule.segment_by or rule.where_user for rule in wanted)
    found = [(rule, _ScoresByBoard(dict)) for rule in wanted]
    of_all_time = [one for one in found if one[0].runs.period is RunPeriod.ALL]
    of_runs = {
        (rule.name, rule.since): (rule, of_rule)
        for rule, of_rule in found
        if rule.runs.period is not RunPeriod.ALL
    }
    for user_id, stored in users.items():
        if stored is None:
            continue  # who is to be folded anew first touches all boards then
        state = user_statements.decode_scored(stored)
        told = state.told.now() if is_any_segmented else NOTHING_TOLD
        for rule, of_rule in of_all_time:
            of_user = score_of(rule, state, ALL)
            if of_user is not None:
                for segment in rule.segments(told, state.suspended):
                    of_rule[ALL, segment][user_id] = of_user
        for (name, since, run), in_run in in_runs.get(user_id, NO_RUNS).items():
            if (name, since) in of_runs:
                rule, of_rule = of_runs[name, since]
                for segment in rule.segments(told, state.suspended):
                    of_rule[run, segment][user_id] = in_run
    return {
        rule.board(run, segment): scores
        for rule, of_rule in found
        for (run, segment), scores in of_rule.items()
    }


def _begin_again(work: Work, build: str) -> Chunk:
    statements.finish_build(work.connection, build, in_place=False)
    number, _, attempt = build.rpartition("-")
    again = f"{number}-{int(attempt) + 1}"
    return Chunk(rows=0, cursor={"build": again}, restarts=True)


def _swap(work: Work, build: str) -> Chunk:
    """Put the boards of the build into place, and take away those that nobody is on."""
    rules = work.context.rulebooks.current(work.connection)
    names, rankings = _names(work, rules), work.context.rankings
    in_force = {(rule.name, rule.since) for rule in rules.latest.boards}
    projected = statements.list_projected(work.connection)
    final = statements.find_finalized(
        work.connection,
        {(board.leaderboard, board.since, board.run) for board in projected if board.run != ALL},
    )
    mine = [
        board
        for board in projected
        if board.leaderboard in names
        or (
            "leaderboards" not in work.parameters
            and (board.leaderboard, board.since) not in in_force
        )
    ]
    kept = [board for board in mine if (board.leaderboard, board.since, board.run) not in final]
    _count_removed(work, kept)
    if work.backfill.dry_run:
        return Chunk(rows=0, cursor=None)
    built = [board for board in kept if projected[board] == build]
    if rankings.swap(built, build):
        return _begin_again(work, build)
    empty = [board for board in kept if projected[board] != build]
    rankings.drop(empty)
    # Records are read of runs that are over: Redis need not have those boards any more.
    statements.forget_projected(work.connection, set(mine) - set(built))
    statements.finish_build(work.connection, build, in_place=True)
    return Chunk(rows=0, cursor=None)


def _write(
    work: Work,
    build: str,
    scores: BoardScores,
    expected: Collection[Board],
    found: dict[str, int],
) -> bool:
    """Write scores into the build; tell whether it is still there, with all that is expected.

    Count what differs on the boards that are read; `found` counts who stands there, by board. In a
    dry run that is all.
    """
    rankings, lost = work.context.rankings, list[Board]()
    if work.backfill.dry_run:
        compared = rankings.compare(scores, samples=SAMPLES_MAX)
    else:
        compared, lost = rankings.compare_and_put(
            scores, expected=expected, build=build, samples=SAMPLES_MAX
        )
    for board, of_board in compared.items():
        found[_id(board)] = found.get(_id(board), 0) + of_board.there
        added, changed = [], []
        for user_id, was in of_board.before.items():
            now = {"board": _id(board), "user_id": user_id, "after": _shown(scores[board][user_id])}
            if was is None:
                added.append(now)
            else:
                changed.append(now | {"before": _shown(was)})
        work.changes.add("standings", ADDED, of_board.added, samples=added)
        work.changes.add("standings", CHANGED, of_board.changed, samples=changed)
    return not lost


def _count_removed(work: Work, boards: Collection[Board]) -> None:
    """Count who stands on a board that is read and has no score on it."""
    found = work.cursor.get("found", {})
    for board in boards:
        more = work.context.rankings.count(board) - found.get(_id(board), 0)
        if more > 0:
            sample = {"board": _id(board), "users": more}
            work.changes.add("standings", REMOVED, more, samples=[sample])


def _id(board: Board) -> str:
    return f"{board.leaderboard}/{board.run}/{board.segment}@{board.since}"


def _shown(score: Score) -> dict[str, str]:
    # as boards have it
    reached_at = score.reached_at.replace(microsecond=0)
    return {"score": str(score.score.normalize()), "reached_at": reached_at.isoformat()}
