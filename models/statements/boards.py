"""Boards: which there are, and what of them Redis does not show yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Integer, bindparam, delete, func, insert, select

from models.rules.rankings import Board, BoardName, Score, Scores
from models.statements.rows import arrays, insert_given, one_of
from models.tables import boards, touched_boards, users

ADVISORY_CLASS = 0x5EA4
"""The first of the two numbers of our advisory locks, so that no one else's are ours."""
PROJECTING = 0
"""The second one, of whoever brings Redis up to date."""
USERS_PER_TOUCH = 500

_BOARD_COLUMNS = ("leaderboard", "run", "segment", "since", "ascending")

_ADD_BOARDS = insert_given(boards, *_BOARD_COLUMNS).on_conflict_do_nothing()
_BOARDS = select(boards)
_LOCK_PROJECTING = select(func.pg_advisory_xact_lock(ADVISORY_CLASS, PROJECTING))

_TOUCH = insert_given(touched_boards, "board_id", "scores")
_numbered = select(
    users.c.user_id,
    ((func.row_number().over(order_by=users.c.user_id) - 1) // USERS_PER_TOUCH).label("part"),
).subquery("numbered")
_TOUCH_EVERYONE = insert(touched_boards).from_select(
    ["board_id", "user_ids"],
    select(bindparam("board_id", type_=Integer), func.array_agg(_numbered.c.user_id)).group_by(
        _numbered.c.part
    ),
)
_TOUCHES = select(touched_boards).order_by(touched_boards.c.touch_id).limit(bindparam("limit"))
_CUT_TOUCHES = delete(touched_boards).where(one_of(touched_boards.c.touch_id, "touch_ids"))
_WAITING = select(func.count()).select_from(touched_boards)


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(dict[str, Score | None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """What a batch changed on a board: users' scores, or users whose scores are to be read.

    Of two touches the later one, by `touch_id`, has the newer score of a user: it was written under
    the user's lock, and so after the transaction of the earlier one had ended.
    """

    touch_id: int
    board_id: int
    scores: Scores
    user_ids: Sequence[str]


def add_boards(connection: Connection, wanted: Iterable[BoardName]) -> None:
    """Add boards that are not there yet."""
    rows = ([getattr(board, name) for name in _BOARD_COLUMNS] for board in wanted)
    connection.execute(_ADD_BOARDS, arrays(_BOARD_COLUMNS, rows))


def read_boards(connection: Connection) -> list[Board]:
    """Return all boards that there ever were."""
    return [Board(**row) for row in connection.execute(_BOARDS).mappings()]


def lock_projecting(connection: Connection) -> None:
    """Wait until nobody else projects, and keep it so until the transaction ends."""
    connection.execute(_LOCK_PROJECTING)


def touch(connection: Connection, touched: Mapping[int, Scores]) -> None:
    """Note the scores that changed, by board, for Redis to follow."""
    rows = ((board_id, _ENCODER.encode(scores).decode()) for board_id, scores in touched.items())
    connection.execute(_TOUCH, arrays(("board_id", "scores"), rows))


def touch_everyone(connection: Connection, board_id: int) -> None:
    """Note that everyone may have a score on a board of which Redis shows nothing yet."""
    connection.execute(_TOUCH_EVERYONE, {"board_id": board_id})


def read_touches(connection: Connection, limit: int) -> list[Touch]:
    """Return what is to be projected, oldest first."""
    rows = connection.execute(_TOUCHES, {"limit": limit}).all()
    return [
        Touch(
            touch_id=row.touch_id,
            board_id=row.board_id,
            scores=_DECODER.decode(row.scores) if row.scores else {},
            user_ids=row.user_ids or (),
        )
        for row in rows
    ]


def cut_touches(connection: Connection, touches: Iterable[Touch]) -> None:
    """Forget what has been projected."""
    connection.execute(_CUT_TOUCHES, {"touch_ids": [touch.touch_id for touch in touches]})


def count_touches(connection: Connection) -> int:
    """Return how many batches wait to be projected, each board of a batch counted apart."""
    return connection.execute(_WAITING).scalar_one()
