"""What folds have decided: entries of the ledger, achievements, notices, chains, scores of runs.

Rows are added as they are decided. Before a fold from a checkpoint, what was decided after it is
cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Connection,
    Integer,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    lateral,
    null,
    select,
    true,
)

from models.rules.effects import (
    NOT_FOLDED,
    Checkpoint,
    Completed,
    Decided,
    DecidedScore,
    EndedChain,
    Notice,
    NoticeKind,
)
from models.rules.streaks import Chain
from models.rules.timelines import LAST
from models.statements.rows import (
    arrays,
    given,
    given_columns,
    insert_given,
    match_given,
    upsert_given,
)
from models.tables import (
    ID,
    INSTANT,
    achievements,
    checkpoints,
    notices,
    point_entries,
    run_scores,
    streak_chains,
)

Of = tuple[str, Any]
"""Of a user: (user_id, what was decided)."""

_ENTRY_COLUMNS = (
    "user_id",
    "decided_at",
    "number",
    "points",
    "trigger",
    "since",
    "cause",
    "amount",
    "base",
    "boosts",
    "clipped",
    "occurred_at",
)
_ADD_ENTRIES = insert_given(point_entries, *_ENTRY_COLUMNS)
_ACHIEVEMENT_COLUMNS = ("user_id", "key", "since", "completed_at", "backdated", "decided_at")
_ADD_ACHIEVEMENTS = insert_given(achievements, *_ACHIEVEMENT_COLUMNS)
_NOTICE_COLUMNS = ("user_id", "kind", "cause", "at", "body", "silent", "decided_at")
_PUT_NOTICES = upsert_given(notices, *_NOTICE_COLUMNS)
_NOTICE_KEY = ("user_id", "kind", "cause")
_dropped = given_columns(notices, *_NOTICE_KEY)
_DROP_NOTICES = (
    delete(notices)
    .where(match_given(notices, _dropped, *_NOTICE_KEY))
    .returning(notices.c.user_id, notices.c.decided_at)
)
_CHAIN_COLUMNS = ("user_id", "streak", "started_on", "ended_on", "length", "decided_at")
_ADD_CHAINS = insert_given(streak_chains, *_CHAIN_COLUMNS)
_SCORE_COLUMNS = ("run_id", "user_id", "score", "reached_at", "decided_at")
_PUT_SCORES = upsert_given(run_scores, *_SCORE_COLUMNS)
_CHECKPOINT_COLUMNS = ("user_id", "as_of", "state")
_PUT_CHECKPOINTS = upsert_given(checkpoints, *_CHECKPOINT_COLUMNS)

_after = given("after", user_id=ID, instant=INSTANT)


def _cut(table: Table, column: str = "decided_at") -> Any:
    return delete(table).where(
        and_(table.c.user_id == _after.c.user_id, table.c[column] > _after.c.instant)
    )


_IS_DECIDED = notices.c.kind.not_in(sorted(kind.value for kind in NOT_FOLDED))

_DROP_CHECKPOINTS = delete(checkpoints).where(
    and_(checkpoints.c.user_id == _after.c.user_id, checkpoints.c.as_of >= _after.c.instant)
)
_cut_notices = (
    _cut(notices)
    .where(_IS_DECIDED)
    .returning(notices.c.user_id, notices.c.kind, notices.c.cause, notices.c.silent)
    .cte("cut_notices")
)
_cut_scores = (
    _cut(run_scores).returning(run_scores.c.user_id, run_scores.c.run_id).cte("cut_scores")
)
# One statement, because where users are active at once in several processes each batch has a few
# late facts. Whatever it deletes stands in tables of their own, so no part depends on another.
_CUT = (
    select(
        _cut_notices.c.user_id,
        _cut_notices.c.kind,
        _cut_notices.c.cause,
        _cut_notices.c.silent,
        cast(null(), Integer).label("run_id"),
    )
    .union_all(
        select(
            _cut_scores.c.user_id,
            cast(null(), Text),
            cast(null(), Text),
            cast(null(), Boolean),
            _cut_scores.c.run_id,
        )
    )
    .add_cte(
        _cut(point_entries).cte("cut_entries"),
        _cut(achievements).cte("cut_achievements"),
        _cut(streak_chains).cte("cut_chains"),
        _cut(checkpoints, "as_of").cte("cut_checkpoints"),
    )
)
_latest = lateral(
    select(checkpoints.c.as_of, checkpoints.c.state)
    .where(checkpoints.c.user_id == _after.c.user_id, checkpoints.c.as_of < _after.c.instant)
    .order_by(checkpoints.c.as_of.desc())
    .limit(1)
    .correlate(_after),
    name="latest",
)
_LATEST_CHECKPOINTS = select(_after.c.user_id, _latest.c.as_of, _latest.c.state).join(
    _latest, true()
)
_ACHIEVEMENTS_OF = (
    select(achievements)
    .where(achievements.c.user_id == bindparam("user_id"))
    .where(achievements.c.decided_at <= bindparam("until"))
    .order_by(achievements.c.completed_at, achievements.c.key)
)
_CHAINS_OF = (
    select(streak_chains)
    .where(streak_chains.c.user_id == bindparam("user_id"))
    .where(streak_chains.c.decided_at <= bindparam("until"))
    .order_by(streak_chains.c.streak, streak_chains.c.started_on)
)


def read_checkpoints(
    connection: Connection, before: Mapping[str, datetime]
) -> dict[str, Checkpoint]:
    """Return each user's latest checkpoint before an instant, of those that have one."""
    rows = connection.execute(_LATEST_CHECKPOINTS, arrays(("user_id", "instant"), before.items()))
    return {row.user_id: Checkpoint(row.as_of, row.state) for row in rows}


def cut_decided(
    connection: Connection, after: Mapping[str, datetime]
) -> tuple[dict[tuple[str, NoticeKind, str], bool], list[tuple[str, int]]]:
    """Take away what was decided after an instant, for each user.

    Returns the notices that were cut, with whether they were silent, and the (user_id, run_id) of
    the scores.
    """
    cut: dict[tuple[str, NoticeKind, str], bool] = {}
    scores: list[tuple[str, int]] = []
    for row in connection.execute(_CUT, arrays(("user_id", "instant"), after.items())):
        if row.run_id is None:
            cut[row.user_id, NoticeKind(row.kind), row.cause] = row.silent
        else:
            scores.append((row.user_id, row.run_id))
    return cut, scores


def add_entries(connection: Connection, decided: Iterable[tuple[str, Decided]]) -> None:
    """Write entries of the ledger of points."""
    rows = (
        (
            user_id,
            one.at,
            one.number,
            one.entry.points,
            one.entry.trigger,
            one.entry.since,
            one.entry.cause,
            one.entry.amount,
            one.entry.base,
            ",".join(one.entry.boosts) or None,
            one.entry.clipped,
            one.entry.occurred_at,
        )
        for user_id, one in decided
    )
    connection.execute(_ADD_ENTRIES, arrays(_ENTRY_COLUMNS, rows))


def add_achievements(connection: Connection, decided: Iterable[tuple[str, Completed]]) -> None:
    """Write completed achievements."""
    rows = ((user_id, *completed) for user_id, completed in decided)
    connection.execute(_ADD_ACHIEVEMENTS, arrays(_ACHIEVEMENT_COLUMNS, rows))


def put_notices(connection: Connection, decided: Iterable[tuple[str, Notice, bool]]) -> None:
    """Write notices, each with whether it is silent."""
    rows = (
        (
            user_id,
            notice.kind.value,
            notice.cause,
            notice.at,
            msgspec.json.encode(notice.body).decode(),
            silent,
            notice.decided_at,
        )
        for user_id, notice, silent in decided
    )
    connection.execute(_PUT_NOTICES, arrays(_NOTICE_COLUMNS, rows))


def drop_notices(
    connection: Connection, dropped: Iterable[tuple[str, NoticeKind, str]]
) -> dict[str, datetime]:
    """Take back notices of what is so no more; return when the first of each user was decided."""
    rows = ((user_id, kind.value, cause) for user_id, kind, cause in dropped)
    found: dict[str, datetime] = {}
    for row in connection.execute(_DROP_NOTICES, arrays(_NOTICE_KEY, rows)):
        found[row.user_id] = min(row.decided_at, found.get(row.user_id, row.decided_at))
    return found


def drop_checkpoints(connection: Connection, since: Mapping[str, datetime]) -> None:
    """Take away checkpoints from an instant on: a fold from there would miss a dropped notice."""
    connection.execute(_DROP_CHECKPOINTS, arrays(("user_id", "instant"), since.items()))


def add_chains(connection: Connection, decided: Iterable[tuple[str, EndedChain]]) -> None:
    """Write chains that have ended."""
    rows = ((user_id, one.streak, *one.chain, one.decided_at) for user_id, one in decided)
    connection.execute(_ADD_CHAINS, arrays(_CHAIN_COLUMNS, rows))


def put_scores(connection: Connection, scores: Iterable[tuple[int, str, DecidedScore]]) -> None:
    """Write scores of runs as they now are: (run_id, user_id, score)."""
    rows = (
        (run_id, user_id, one.score.score, one.score.reached_at, one.decided_at)
        for run_id, user_id, one in scores
    )
    connection.execute(_PUT_SCORES, arrays(_SCORE_COLUMNS, rows))


def put_checkpoints(connection: Connection, made: Iterable[tuple[str, Checkpoint]]) -> None:
    """Keep states to begin at; a fold that began at one of them writes it again."""
    rows = ((user_id, *checkpoint) for user_id, checkpoint in made)
    connection.execute(_PUT_CHECKPOINTS, arrays(_CHECKPOINT_COLUMNS, rows))


def read_achievements(
    connection: Connection, user_id: str, until: datetime = LAST
) -> list[Completed]:
    """Return a user's achievements that were completed up to an instant, oldest first."""
    return [
        Completed(row.key, row.since, row.completed_at, row.backdated, row.decided_at)
        for row in connection.execute(_ACHIEVEMENTS_OF, {"user_id": user_id, "until": until})
    ]


def read_chains(
    connection: Connection, user_id: str, until: datetime = LAST
) -> dict[str, list[Chain]]:
    """Return, for each streak of a user, the chains that had ended for good by then, oldest
    first.
    """
    found: dict[str, list[Chain]] = {}
    for row in connection.execute(_CHAINS_OF, {"user_id": user_id, "until": until}):
        chain = Chain(row.started_on, row.ended_on, row.length)
        found.setdefault(row.streak, []).append(chain)
    return found
