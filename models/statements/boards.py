"""Boards: the runs that there are, users' scores in them, and what Redis does not show yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Integer, and_, bindparam, delete, func, insert, select, update

from models.rules.rankings import Board, Score, Scores
from models.statements.rows import (
    arrays,
    given,
    given_columns,
    insert_given,
    match_given,
    one_of,
    upsert_given,
)
from models.tables import (
    ID,
    backfills,
    projected_boards,
    run_scores,
    runs,
    touched_boards,
    users,
)

ADVISORY_CLASS = 0x5EA4
"""The first of the two numbers of our advisory locks, so that no one else's are ours."""
PROJECTING = 0
"""The second one, of whoever brings Redis up to date."""
USERS_PER_TOUCH = 500

RunName = tuple[str, int, str]
"""(leaderboard, since, run)"""

Ends = tuple[datetime, datetime, datetime]
"""(opens_at, closes_at, final_at) of a run."""

_RUN_NAME = ("leaderboard", "since", "run")
_RUN_COLUMNS = (*_RUN_NAME, "opens_at", "closes_at", "final_at")
IS_NAMED = and_(*[runs.c[name] == bindparam(name) for name in _RUN_NAME])
"""Whether a run has the name that `named` makes parameters of."""
_asked = given_columns(runs, *_RUN_NAME)
_RUN_IDS = select(runs).join(_asked, match_given(runs, _asked, *_RUN_NAME))
_ADD_RUNS = insert_given(runs, *_RUN_COLUMNS).on_conflict_do_nothing()
_FINALIZED = (
    select(runs.c.leaderboard, runs.c.since, runs.c.run)
    .join(_asked, match_given(runs, _asked, *_RUN_NAME))
    .where(runs.c.finalized_at.is_not(None))
)
_RUNS_BY_ID = select(runs).where(one_of(runs.c.run_id, "run_ids"))
_RUNS_OF = (
    select(runs)
    .where(runs.c.leaderboard == bindparam("leaderboard"), runs.c.since == bindparam("since"))
    .order_by(runs.c.opens_at)
)
_SCORES_OF = (
    select(run_scores.c.user_id, run_scores.c.score, run_scores.c.reached_at)
    .join(runs, runs.c.run_id == run_scores.c.run_id)
    .where(IS_NAMED)
)
_SCORES_OF_USERS = (
    select(runs, run_scores.c.user_id, run_scores.c.score, run_scores.c.reached_at)
    .join(run_scores, run_scores.c.run_id == runs.c.run_id)
    .where(one_of(run_scores.c.user_id, "user_ids"))
)
_OPEN_SCORES_OF_USERS = _SCORES_OF_USERS.where(runs.c.finalized_at.is_(None))
_LOCK_PROJECTING = select(func.pg_advisory_xact_lock(ADVISORY_CLASS, PROJECTING))
_TRY_LOCK_PROJECTING = select(func.pg_try_advisory_xact_lock(ADVISORY_CLASS, PROJECTING))

REBUILD_RANKINGS = "rebuild-rankings"
"""The backfill that makes boards anew, beside those that are read."""
_BOARD = ("leaderboard", "run", "segment", "since")
_board_asked = given_columns(projected_boards, *_BOARD)
_PROJECTED = select(projected_boards).join(
    _board_asked, match_given(projected_boards, _board_asked, *_BOARD)
)
_KEEP_PROJECTED = upsert_given(projected_boards, *_BOARD, "ascending", "build")
_ADD_PROJECTED = insert_given(projected_boards, *_BOARD, "ascending").on_conflict_do_nothing()
# An update reserves the names of the table's own columns for its parameters.
_LOST_COLUMNS = ("of_leaderboard", "of_run", "of_segment", "of_since")
_lost = given("given", of_leaderboard=ID, of_run=ID, of_segment=ID, of_since=Integer())
_LOST = (
    update(projected_boards)
    .values(lost_at=func.now())
    .where(
        *[
            projected_boards.c[name] == _lost.c[given_name]
            for name, given_name in zip(_BOARD, _LOST_COLUMNS, strict=True)
        ],
        projected_boards.c.lost_at.is_(None),
    )
)
_COUNT_LOST = (
    select(func.count())
    .select_from(projected_boards)
    .where(projected_boards.c.lost_at.is_not(None))
)
_SOME_PROJECTED = select(projected_boards).order_by(func.random()).limit(bindparam("limit"))
_BUILT = update(projected_boards).where(projected_boards.c.build == bindparam("of_build"))
_FORGET_BOARDS = delete(projected_boards).where(
    match_given(projected_boards, _board_asked, *_BOARD)
)
_REBUILD = select(backfills.c.cursor, backfills.c.parameters).where(
    backfills.c.kind == REBUILD_RANKINGS,
    backfills.c.settled_at.is_(None),
    ~backfills.c.dry_run,
    backfills.c.cursor.is_not(None),
)

_TOUCH = insert(touched_boards)
_numbered = select(
    users.c.user_id,
    ((func.row_number().over(order_by=users.c.user_id) - 1) // USERS_PER_TOUCH).label("part"),
).subquery("numbered")
_TOUCH_EVERYONE = insert(touched_boards).from_select(
    ["user_ids"], select(func.array_agg(_numbered.c.user_id)).group_by(_numbered.c.part)
)
_TOUCHES = select(touched_boards).order_by(touched_boards.c.touch_id).limit(bindparam("limit"))
_CUT_TOUCHES = delete(touched_boards).where(one_of(touched_boards.c.touch_id, "touch_ids"))
_WAITING = select(func.count()).select_from(touched_boards)
_OLDEST = select(touched_boards.c.touched_at).order_by(touched_boards.c.touch_id).limit(1)

BoardScores = list[tuple[str, int, str, str, bool, dict[str, Score | None]]]
"""What users have on boards: (leaderboard, since, run, segment, ascending, scores)."""
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(BoardScores)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run that was opened, ahead or by the first score in it."""

    run_id: int
    leaderboard: str
    since: int
    run: str
    opens_at: datetime
    closes_at: datetime
    final_at: datetime
    finalized_at: datetime | None

    @property
    def name(self) -> RunName:
        """What tells it from all others."""
        return (self.leaderboard, self.since, self.run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """What a batch changed: users' scores, or users whose scores are to be read.

    Of two touches the later one, by `touch_id`, has the newer score of a user: it was written under
    the user's lock, and so after the transaction of the earlier one had ended.
    """

    touch_id: int
    scores: Mapping[Board, Scores]
    user_ids: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Boards that are being made anew: those of some leaderboards, or None for all."""

    build: str
    leaderboards: Sequence[str] | None

    def covers(self, board: Board) -> bool:
        """Tell whether a board is among them."""
        return self.leaderboards is None or board.leaderboard in self.leaderboards


def named(name: RunName) -> dict[str, object]:
    """Return the parameters of a statement about one run."""
    return dict(zip(_RUN_NAME, name, strict=True))


def number_runs(
    connection: Connection, wanted: Mapping[RunName, Ends], now: datetime
) -> dict[RunName, int]:
    """Return the numbers of runs, adding those that are not there.

    One that is added when it is over already, by an import say, waits as long as any other for what
    comes late: from `now` on.

    The names go in one order everywhere, so that two batches that add the same runs never wait for
    each other in a circle.
    """
    names = sorted(wanted)
    found = _run_ids(connection, names)
    missing = [(*name, *_opened(*wanted[name], now)) for name in names if name not in found]
    if missing:
        connection.execute(_ADD_RUNS, arrays(_RUN_COLUMNS, missing))
        found = _run_ids(connection, names)
    return found


def read_runs(connection: Connection, run_ids: Iterable[int]) -> dict[int, StoredRun]:
    """Return runs by their numbers."""
    rows = connection.execute(_RUNS_BY_ID, {"run_ids": sorted(set(run_ids))}).mappings()
    return {row["run_id"]: StoredRun(**row) for row in rows}


def find_finalized(connection: Connection, names: Iterable[RunName]) -> set[RunName]:
    """Return those of the runs whose record is written."""
    rows = connection.execute(_FINALIZED, arrays(_RUN_NAME, names))
    return {(row.leaderboard, row.since, row.run) for row in rows}


def list_runs(connection: Connection, leaderboard: str, since: int) -> list[StoredRun]:
    """Return the runs of a leaderboard that were opened, oldest first."""
    asked = {"leaderboard": leaderboard, "since": since}
    return [StoredRun(**row) for row in connection.execute(_RUNS_OF, asked).mappings()]


def read_scores(connection: Connection, name: RunName) -> Iterator[tuple[str, Score]]:
    """Yield everyone's score in a run, in no order."""
    for row in connection.execute(_SCORES_OF, named(name)):
        yield row.user_id, Score(row.score, row.reached_at)


def read_scores_of(
    connection: Connection, user_ids: Iterable[str]
) -> dict[str, dict[RunName, Score]]:
    """Return all scores of some users in runs that close."""
    return _by_user(connection.execute(_SCORES_OF_USERS, {"user_ids": sorted(user_ids)}))


def read_open_scores_of(
    connection: Connection, user_ids: Iterable[str]
) -> dict[str, dict[RunName, Score]]:
    """Return scores of some users in runs whose record is not written."""
    return _by_user(connection.execute(_OPEN_SCORES_OF_USERS, {"user_ids": sorted(user_ids)}))


def lock_projecting(connection: Connection) -> None:
    """Wait until nobody else projects, and keep it so until the transaction ends."""
    connection.execute(_LOCK_PROJECTING)


def try_lock_projecting(connection: Connection) -> bool:
    """Do so where nobody else projects at this moment; tell whether that is so."""
    is_ours: bool = connection.execute(_TRY_LOCK_PROJECTING).scalar_one()
    return is_ours


def find_projected(connection: Connection, boards: Iterable[Board]) -> dict[Board, str | None]:
    """Return those of the boards that Redis was given, each with the build it is made anew in."""
    rows = connection.execute(_PROJECTED, arrays(_BOARD, (board[:-1] for board in boards)))
    return {_board(row): row.build for row in rows}


def list_projected(connection: Connection) -> dict[Board, str | None]:
    """Return all boards that Redis was given, each with the build it is made anew in."""
    return {_board(row): row.build for row in connection.execute(select(projected_boards))}


def pick_projected(connection: Connection, count: int) -> list[Board]:
    """Return some of the boards that Redis was given, at random."""
    return [_board(row) for row in connection.execute(_SOME_PROJECTED, {"limit": count})]


def add_projected(connection: Connection, boards: Iterable[Board], build: str | None) -> None:
    """Note that Redis was given boards; with a build, that they are in it too."""
    ordered = sorted(boards)
    if not ordered:
        return
    if build is None:
        connection.execute(_ADD_PROJECTED, arrays((*_BOARD, "ascending"), ordered))
    else:
        rows = ((*board, build) for board in ordered)
        connection.execute(_KEEP_PROJECTED, arrays((*_BOARD, "ascending", "build"), rows))


def mark_lost(connection: Connection, boards: Iterable[Board]) -> None:
    """Note that Redis has lost boards."""
    ordered = sorted(board[:-1] for board in boards)
    if ordered:
        connection.execute(_LOST, arrays(_LOST_COLUMNS, ordered))


def count_lost(connection: Connection) -> int:
    """Return how many boards Redis is known to have lost."""
    count: int = connection.execute(_COUNT_LOST).scalar_one()
    return count


def finish_build(connection: Connection, build: str, *, in_place: bool) -> None:
    """Note that the boards of a build are in place, or that it was given up."""
    values: dict[str, None] = {"build": None} | ({"lost_at": None} if in_place else {})
    connection.execute(_BUILT.values(**values), {"of_build": build})


def forget_projected(connection: Connection, boards: Iterable[Board]) -> None:
    """Note that Redis need not have boards any more."""
    ordered = sorted(board[:-1] for board in boards)
    if ordered:
        connection.execute(_FORGET_BOARDS, arrays(_BOARD, ordered))


def read_rebuild(connection: Connection) -> Rebuild | None:
    """Return what is being made anew: whoever projects writes there, too."""
    row = connection.execute(_REBUILD).first()
    if row is None:
        return None
    return Rebuild(build=row.cursor["build"], leaderboards=row.parameters.get("leaderboards"))


def touch(connection: Connection, touched: Mapping[Board, Scores]) -> None:
    """Note the scores that changed, by board, for Redis to follow."""
    scores = [
        (board.leaderboard, board.since, board.run, board.segment, board.ascending, found)
        for board, found in touched.items()
    ]
    connection.execute(_TOUCH, {"scores": _ENCODER.encode(scores).decode()})


def touch_everyone(connection: Connection) -> None:
    """Note that everyone may have scores of which Redis shows nothing yet."""
    connection.execute(_TOUCH_EVERYONE)


def read_touches(connection: Connection, limit: int) -> list[Touch]:
    """Return what is to be projected, oldest first."""
    return [
        Touch(
            touch_id=row.touch_id,
            scores=_read_boards(row.scores) if row.scores else {},
            user_ids=row.user_ids or (),
        )
        for row in connection.execute(_TOUCHES, {"limit": limit}).all()
    ]


def cut_touches(connection: Connection, touches: Iterable[Touch]) -> None:
    """Forget what has been projected."""
    connection.execute(_CUT_TOUCHES, {"touch_ids": [touch.touch_id for touch in touches]})


def count_touches(connection: Connection) -> int:
    """Return how many batches wait to be projected."""
    waiting: int = connection.execute(_WAITING).scalar_one()
    return waiting


def read_oldest_touch(connection: Connection) -> datetime | None:
    """Return when the batch began that has waited longest to be projected."""
    oldest: datetime | None = connection.execute(_OLDEST).scalar_one_or_none()
    return oldest


def _board(row: Any) -> Board:
    return Board(row.leaderboard, row.run, row.segment, row.since, row.ascending)


def _by_user(rows: Iterable[Any]) -> dict[str, dict[RunName, Score]]:
    found: dict[str, dict[RunName, Score]] = {}
    for row in rows:
        name = (row.leaderboard, row.since, row.run)
        found.setdefault(row.user_id, {})[name] = Score(row.score, row.reached_at)
    return found


def _opened(opens_at: datetime, closes_at: datetime, final_at: datetime, now: datetime) -> Ends:
    return opens_at, closes_at, max(final_at, now + (final_at - closes_at))


def _run_ids(connection: Connection, names: Sequence[RunName]) -> dict[RunName, int]:
    rows: Iterable[Any] = connection.execute(_RUN_IDS, arrays(_RUN_NAME, names))
    return {(row.leaderboard, row.since, row.run): row.run_id for row in rows}


def _read_boards(text: str) -> dict[Board, Scores]:
    return {
        Board(
            leaderboard=leaderboard, since=since, run=run, segment=segment, ascending=ascending
        ): (scores)
        for leaderboard, since, run, segment, ascending, scores in _DECODER.decode(text)
    }
