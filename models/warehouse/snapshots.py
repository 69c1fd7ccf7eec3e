"""Where everyone stood at the end of a day: written once a day, and read for one user.

Rows carry the instant at which they were seen, and count once that instant stands in `snapshots`,
which is written last: of one that was broken off nothing is ever shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from models.rules.rankings import Board, Standing
from models.warehouse.engine import Warehouse
from models.warehouse.schema import BY_NAME

_LAST = "select max(day) as last_day, count() as days from snapshots"
_HISTORY = """
select day, taken_at, run, segment, rank, participants, score
from rank_history
where leaderboard = {leaderboard:String} and user_id = {user_id:String} and day >= {from_day:Date32}
    and (day, taken_at) in (
        select day, max(snapshots.taken_at) from snapshots group by day
    )
order by day, run, segment
"""


def read_last_day(warehouse: Warehouse) -> date | None:
    """Return the last day that was seen whole."""
    [found] = warehouse.ask(_LAST)
    return found["last_day"] if found["days"] else None


def put_standings(
    warehouse: Warehouse,
    day: date,
    taken_at: datetime,
    board: Board,
    participants: int,
    standings: Sequence[Standing],
) -> None:
    """Write a part of a board; the ranks in it tell it from the other parts."""
    from models.warehouse.batches import to_rows  # needs pyarrow, as loading does

    same = {
        "day": day,
        "taken_at": taken_at,
        "leaderboard": board.leaderboard,
        "since": board.since,
        "run": board.run,
        "segment": board.segment,
        "participants": participants,
    }
    columns: dict[str, Sequence[Any]] = {
        name: [value] * len(standings) for name, value in same.items()
    }
    for name in ("rank", "user_id", "score"):
        columns[name] = [getattr(one, name) for one in standings]
    rows = to_rows(BY_NAME["rank_history"], columns)
    part = f"{board.leaderboard}@{board.since}/{board.run}/{board.segment}/{standings[0].rank}"
    warehouse.insert("rank_history", rows, f"{taken_at.isoformat()}:{part}")


def finish(warehouse: Warehouse, day: date, taken_at: datetime) -> None:
    """Say that all of a day is there."""
    from models.warehouse.batches import to_rows  # as above

    rows = to_rows(BY_NAME["snapshots"], {"day": [day], "taken_at": [taken_at]})
    warehouse.insert("snapshots", rows, f"{taken_at.isoformat()}:done")


def read_history(
    warehouse: Warehouse, leaderboard: str, user_id: str, from_day: date
) -> Iterable[dict[str, Any]]:
    """Return where a user stood at the end of each day that was seen, oldest first."""
    return warehouse.ask(_HISTORY, leaderboard=leaderboard, user_id=user_id, from_day=from_day)
