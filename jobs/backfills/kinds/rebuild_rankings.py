"""Make boards anew from what Postgres holds, beside those that are read, and swap them in (S74).

A chunk reads some users' scores and writes them into the build, under the lock of whoever projects.
What is projected meanwhile goes into the build, too: so each user's score there is the newest that
was projected. At the end each board is put in place of the old one in one step; a reader sees the
old one or the new one, whole.

Where Redis loses the build, on the way or at the end, it is begun again under another name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from jobs.backfills.changes import ADDED, CHANGED, REMOVED, Changes
from jobs.backfills.kind import Chunk, Context, NotPossible, Work, only
from models.rankings import Rankings
from models.rules.boards import BoardRule, score_of
from models.rules.rankings import ALL, Board, Score
from models.rules.rulebook import Rules
from models.rules.runs import RunPeriod
from models.statements import backfills as backfill_statements
from models.statements import boards as statements
from models.statements import users as user_statements
from models.statements.backfills import Backfill

ROWS_MAX = 1_000

BoardScores = dict[Board, dict[str, Score | None]]


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
        user_ids = user_statements.read_next_ids(
            work.connection, work.cursor.get("after", ""), work.rows_max
        )
        rules = work.context.rulebooks.current(work.connection)
        scores = _read_scores(work.connection, rules, user_ids, _names(work, rules))
        found = dict(work.cursor.get("found", {}))
        _compare(work.context.rankings, scores, work.changes, found)
        if not work.backfill.dry_run and not _put(work, build, scores):
            return _begin_again(work, build)
        cursor = {"build": build, "found": found}
        if len(user_ids) < work.rows_max:
            return Chunk(rows=len(user_ids), cursor=cursor | {"is_filled": True})
        return Chunk(rows=len(user_ids), cursor=cursor | {"after": user_ids[-1]})

    def forget(self, connection: Connection, backfill: Backfill) -> None:
        """Give the build up, where it is not in place; its keys expire."""
        if backfill.cursor is not None and not backfill.dry_run:
            statements.lock_projecting(connection)
            statements.finish_build(connection, backfill.cursor["build"], in_place=False)


def _names(work: Work, rules: Rules) -> set[str]:
    wanted = work.parameters.get("leaderboards")
    return {rule.name for rule in rules.latest.boards} if wanted is None else set(wanted)


def _read_scores(
    connection: Connection, rules: Rules, user_ids: Sequence[str], names: Collection[str]
) -> BoardScores:
    """Return what users have on the boards that are kept up, as Postgres holds it now."""
    users = user_statements.read_users(connection, user_ids, rules.stamp)
    # Who is to be folded anew first touches all boards then.
    current = {one: state for one, state in users.states.items() if one not in users.stale}
    in_runs = statements.read_scores_of(connection, current) if current else {}
    final = statements.find_finalized(
        connection, {name for found in in_runs.values() for name in found}
    )
    scores: BoardScores = {}
    for user_id, state in current.items():
        told = state.told.now()
        for rule in rules.latest.boards:
            if rule.name not in names:
                continue
            found = (
                {ALL: score_of(rule, state, ALL)}
                if rule.runs.period is RunPeriod.ALL
                else _of_runs(rule, in_runs.get(user_id, {}), final)
            )
            for segment in rule.segments(told, state.suspended):
                for run, score in found.items():
                    if score is not None:
                        scores.setdefault(rule.board(run, segment), {})[user_id] = score
    return scores


def _of_runs(
    rule: BoardRule,
    scores: Mapping[statements.RunName, Score],
    final: Collection[statements.RunName],
) -> dict[str, Score]:
    return {
        name[2]: score
        for name, score in scores.items()
        if name[:2] == (rule.name, rule.since) and name not in final
    }


def _put(work: Work, build: str, scores: BoardScores) -> bool:
    """Write scores into the build; tell whether it is still there."""
    known = statements.find_projected(work.connection, scores)
    begun = [board for board in scores if known.get(board) == build]
    if work.context.rankings.put_all(scores, expected=begun, build=build):
        return False
    statements.add_projected(work.connection, scores.keys() - set(begun), build)
    return True


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


def _compare(
    rankings: Rankings, scores: BoardScores, changes: Changes, found: dict[str, int]
) -> None:
    """Count what differs on the boards that are read; `found` counts who stands there, by board."""
    live = rankings.read_scores(scores)
    for board, wanted in scores.items():
        there = live[board]
        found[_id(board)] = found.get(_id(board), 0) + len(there)
        for user_id, score in wanted.items():
            assert score is not None
            was, now = there.get(user_id), score._replace(reached_at=_to_the_second(score))
            if was == now:
                continue
            sample = {"board": _id(board), "user_id": user_id, "after": _shown(now)}
            if was is not None:
                sample["before"] = _shown(was)
            changes.add("standings", ADDED if was is None else CHANGED, sample=sample)


def _count_removed(work: Work, boards: Collection[Board]) -> None:
    """Count who stands on a board that is read and has no score on it."""
    found = work.cursor.get("found", {})
    for board in boards:
        more = work.context.rankings.count(board) - found.get(_id(board), 0)
        if more > 0:
            sample = {"board": _id(board), "users": more}
            work.changes.add("standings", REMOVED, more, sample=sample)


def _id(board: Board) -> str:
    return f"{board.leaderboard}/{board.run}/{board.segment}@{board.since}"


def _to_the_second(score: Score) -> Any:
    return score.reached_at.replace(microsecond=0)


def _shown(score: Score) -> dict[str, str]:
    return {"score": str(score.score.normalize()), "reached_at": score.reached_at.isoformat()}
