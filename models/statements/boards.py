"""Boards: which there are, the scores on them, and what of them Redis does not show yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
)

from models.rules.rankings import Board, BoardName, Score, Standing
from models.statements.rows import (
    array_parameter,
    arrays,
    given_columns,
    insert_given,
    match_given,
    one_of,
    upsert_given,
)
from models.tables import ID, boards, scores, touched_boards

ADVISORY_CLASS = 0x5EA4
"""The first of the two numbers of our advisory locks, so that no one else's are ours."""

BoardUser = tuple[int, str]

_BOARD_COLUMNS = ("leaderboard", "run", "segment", "since", "ascending")
_SCORE_COLUMNS = ("board_id", "user_id", "score", "reached_at")
_ON_BOARD = scores.c.board_id == bindparam("board_id")

_ADD_BOARDS = insert_given(boards, *_BOARD_COLUMNS).on_conflict_do_nothing()
_BOARDS = select(boards)
_LOCK_BOARD = select(func.pg_advisory_xact_lock(ADVISORY_CLASS, bindparam("board_id")))

_PUT_SCORES = upsert_given(scores, *_SCORE_COLUMNS)
_cut = given_columns(scores, "board_id", "user_id")
_CUT_SCORES = delete(scores).where(match_given(scores, _cut, "board_id", "user_id"))
_SCORES = select(scores).where(_ON_BOARD, one_of(scores.c.user_id, "user_ids"))
_COUNT = select(func.count()).select_from(scores).where(_ON_BOARD)
_ranked = (
    select(
        scores,
        func.row_number()
        .over(
            order_by=[
                # The score as the board sorts it, then to the second, then byte by byte (S44).
                case((boards.c.ascending, scores.c.score), else_=-scores.c.score),
                func.date_trunc("second", scores.c.reached_at),
                scores.c.user_id,
            ]
        )
        .label("rank"),
    )
    .join(boards, boards.c.board_id == scores.c.board_id)
    .where(_ON_BOARD)
    .subquery("ranked")
)
_PAGE = (
    select(_ranked)
    .where(
        _ranked.c.rank > bindparam("offset"),
        _ranked.c.rank <= bindparam("offset") + bindparam("limit"),
    )
    .order_by(_ranked.c.rank)
)
_RANK_OF = select(_ranked).where(_ranked.c.user_id == bindparam("user_id"))

_TOUCH = insert(touched_boards).values(
    board_id=bindparam("board_id"), user_ids=array_parameter("user_ids", ID)
)
_TOUCHED_BOARDS = select(touched_boards.c.board_id).distinct()
_TOUCHES = (
    select(touched_boards.c.touch_id, touched_boards.c.user_ids)
    .where(touched_boards.c.board_id == bindparam("board_id"))
    .order_by(touched_boards.c.touch_id)
    .limit(bindparam("limit"))
)
_CUT_TOUCHES = delete(touched_boards).where(one_of(touched_boards.c.touch_id, "touch_ids"))
_WAITING = select(func.count()).select_from(touched_boards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Users whose scores on a board a batch changed, as long as Redis may not show it."""

    touch_id: int
    user_ids: Sequence[str]


def add_boards(connection: Connection, wanted: Iterable[BoardName]) -> None:
    """Add boards that are not there yet."""
    rows = ([getattr(board, name) for name in _BOARD_COLUMNS] for board in wanted)
    connection.execute(_ADD_BOARDS, arrays(_BOARD_COLUMNS, rows))


def read_boards(connection: Connection) -> list[Board]:
    """Return all boards that there ever were."""
    return [Board(**row) for row in connection.execute(_BOARDS).mappings()]


def lock_board(connection: Connection, board_id: int) -> None:
    """Wait until nobody else projects the board, and keep it so until the transaction ends."""
    connection.execute(_LOCK_BOARD, {"board_id": board_id})


def put_scores(connection: Connection, found: Mapping[int, Iterable[Score]]) -> None:
    """Write scores, by board, as they now are."""
    rows = (
        (board_id, score.user_id, score.score, score.reached_at)
        for board_id, items in found.items()
        for score in items
    )
    connection.execute(_PUT_SCORES, arrays(_SCORE_COLUMNS, rows))


def cut_scores(connection: Connection, users: Iterable[BoardUser]) -> None:
    """Take users off boards."""
    connection.execute(_CUT_SCORES, arrays(("board_id", "user_id"), users))


def read_scores(connection: Connection, board_id: int, user_ids: Sequence[str]) -> list[Score]:
    """Return the scores of these users on a board, of those who have one."""
    rows = connection.execute(_SCORES, {"board_id": board_id, "user_ids": list(user_ids)}).all()
    return [Score(user_id=row.user_id, score=row.score, reached_at=row.reached_at) for row in rows]


def count_scores(connection: Connection, board_id: int) -> int:
    """Return how many users are on a board."""
    return connection.execute(_COUNT, {"board_id": board_id}).scalar_one()


def read_page(connection: Connection, board_id: int, *, offset: int, limit: int) -> list[Standing]:
    """Return standings in order, from the place `offset` on; it sorts the whole board."""
    rows = connection.execute(_PAGE, {"board_id": board_id, "offset": offset, "limit": limit}).all()
    return [_standing(row) for row in rows]


def read_standing(connection: Connection, board_id: int, user_id: str) -> Standing | None:
    """Return a user's place, or None without a score; it sorts the whole board."""
    row = connection.execute(_RANK_OF, {"board_id": board_id, "user_id": user_id}).one_or_none()
    return _standing(row) if row else None


def touch(connection: Connection, touched: Mapping[int, Sequence[str]]) -> None:
    """Note which users' scores changed, by board, for Redis to follow."""
    connection.execute(
        _TOUCH,
        [{"board_id": board_id, "user_ids": list(users)} for board_id, users in touched.items()],
    )


def read_touched_boards(connection: Connection) -> list[int]:
    """Return the boards that Redis may not show as they are."""
    return sorted(connection.execute(_TOUCHED_BOARDS).scalars())


def read_touches(connection: Connection, board_id: int, limit: int) -> list[Touch]:
    """Return what is to be projected on a board, oldest first."""
    rows = connection.execute(_TOUCHES, {"board_id": board_id, "limit": limit}).all()
    return [Touch(touch_id=row.touch_id, user_ids=row.user_ids) for row in rows]


def cut_touches(connection: Connection, touches: Iterable[Touch]) -> None:
    """Forget what has been projected."""
    connection.execute(_CUT_TOUCHES, {"touch_ids": [touch.touch_id for touch in touches]})


def count_touches(connection: Connection) -> int:
    """Return how many batches wait to be projected, each board of a batch counted apart."""
    return connection.execute(_WAITING).scalar_one()


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        rank=row.rank,
        user_id=row.user_id,
        score=row.score,
        reached_at=row.reached_at.replace(microsecond=0),  # boards count in seconds (S44)
    )
