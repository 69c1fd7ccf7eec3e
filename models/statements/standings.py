"""Final standings: the record of runs that are over (S43), written by Postgres alone.

Ranking, segments and filters are one statement for a run of any size, so that a run of a million
users passes through no memory of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from models.rules.effects import NoticeKind
from models.rules.rankings import ALL, Place, Standing
from models.rules.segments import segment_name
from models.statements.boards import IS_NAMED, RunName, StoredRun, named
from models.statements.ledger import FactKind
from models.statements.rows import JsonText, arrays, given, one_of
from models.statements.told import ATTRIBUTE
from models.tables import (
    ID,
    INSTANT,
    final_standings,
    notices,
    run_scores,
    runs,
    user_facts,
    user_fields,
    users,
)

_DUE_RUNS = (
    select(runs)
    .where(runs.c.final_at <= bindparam("now"), runs.c.finalized_at.is_(None))
    .order_by(runs.c.final_at, runs.c.run_id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_LOCK_RUN = select(runs).where(IS_NAMED).with_for_update()
_IS_ANYONE_DUE = select(exists().where(users.c.due_at < bindparam("instant")))
_MARK = (
    update(runs).where(runs.c.run_id == bindparam("of_run")).values(finalized_at=bindparam("at"))
)
_CUT = delete(final_standings).where(final_standings.c.run_id == bindparam("run_id"))

# Whether a user is suspended is what the latest such fact says (S48).
_latest_suspension = (
    select(user_facts.c.user_id, user_facts.c.body["suspended"].as_boolean().label("suspended"))
    .ext(distinct_on(user_facts.c.user_id))
    .where(user_facts.c.kind == FactKind.SUSPENSION)
    .order_by(user_facts.c.user_id, user_facts.c.at.desc(), user_facts.c.fact_id.desc())
    .cte("latest_suspension")
)
_suspended = select(_latest_suspension.c.user_id).where(_latest_suspension.c.suspended)
_told = (
    select(
        user_fields.c.user_id,
        func.jsonb_object_agg(user_fields.c.field, user_fields.c.value).label("attributes"),
    )
    .join(run_scores, run_scores.c.user_id == user_fields.c.user_id)
    .where(
        run_scores.c.run_id == bindparam("run_id"),
        one_of(user_fields.c.field, "fields"),
    )
    .group_by(user_fields.c.user_id)
    .cte("told")
)
_placed = (
    select(run_scores.c.user_id, run_scores.c.score, run_scores.c.reached_at, _told.c.attributes)
    .outerjoin(_told, _told.c.user_id == run_scores.c.user_id)
    .where(
        run_scores.c.run_id == bindparam("run_id"),
        run_scores.c.user_id.not_in(_suspended),
        func.coalesce(_told.c.attributes, cast(literal("{}", Text()), JSONB)).contains(
            cast(bindparam("where", type_=Text()), JSONB)
        ),
    )
    .cte("placed")
)
_COMBINATIONS = select(_placed.c.attributes).where(_placed.c.attributes.is_not(None)).distinct()
_segments = given("segments", attributes=JsonText(), segment=ID)
_in_segments = union_all(
    select(literal(ALL, ID).label("segment"), _placed),
    select(_segments.c.segment, _placed).join(
        _segments, _placed.c.attributes == cast(_segments.c.attributes, JSONB)
    ),
).cte("in_segments")
_reached_at = func.date_trunc("second", _in_segments.c.reached_at)
# Better score, then who reached it earlier, to the second, then the user id (S44).
_place = func.row_number().over(
    partition_by=_in_segments.c.segment,
    order_by=(_in_segments.c.score * bindparam("sign"), _reached_at, _in_segments.c.user_id),
)
_WRITE = insert(final_standings).from_select(
    ["run_id", "segment", "rank", "user_id", "score", "reached_at"],
    select(
        bindparam("run_id", type_=Integer()),
        _in_segments.c.segment,
        _place,
        _in_segments.c.user_id,
        _in_segments.c.score,
        _reached_at,
    ),
)
_participants = select(func.max(final_standings.c.rank)).where(
    final_standings.c.run_id == bindparam("run_id"),
    final_standings.c.segment == bindparam("segment"),
)
_COUNT = select(func.coalesce(_participants.scalar_subquery(), 0))
_TELL_WINNERS = (
    postgresql_insert(notices)
    .from_select(
        ["user_id", "kind", "cause", "at", "body", "silent", "decided_at"],
        select(
            final_standings.c.user_id,
            literal(NoticeKind.LEADERBOARD_FINISHED.value, ID),
            bindparam("cause", type_=ID) + literal(":", ID) + final_standings.c.segment,
            bindparam("at", type_=INSTANT),
            func.jsonb_build_object(
                cast("leaderboard", Text),
                bindparam("leaderboard", type_=Text()),
                cast("run", Text),
                bindparam("run", type_=Text()),
                cast("segment", Text),
                final_standings.c.segment,
                cast("rank", Text),
                final_standings.c.rank,
            ),
            # of what was past when it was imported nobody is told (S53)
            func.coalesce(users.c.quiet_until >= bindparam("at", type_=INSTANT), false()),
            bindparam("at", type_=INSTANT),
        )
        .join(users, users.c.user_id == final_standings.c.user_id)
        .where(
            final_standings.c.run_id == bindparam("run_id"),
            or_(
                final_standings.c.rank <= bindparam("winners"),
                and_(
                    final_standings.c.segment == literal(ALL, ID),
                    final_standings.c.rank <= bindparam("told"),
                ),
            ),
        ),
    )
    .on_conflict_do_nothing()
)
_OF_BOARD = select(final_standings).where(
    final_standings.c.run_id == bindparam("run_id"),
    final_standings.c.segment == bindparam("segment"),
)
_PAGE = _OF_BOARD.where(
    final_standings.c.rank.between(bindparam("first"), bindparam("last"))
).order_by(final_standings.c.rank)
_OF_USERS = _OF_BOARD.where(one_of(final_standings.c.user_id, "user_ids")).order_by(
    final_standings.c.rank
)
_own = final_standings.alias("own")
_OF_USER = (
    select(
        _own,
        select(func.max(final_standings.c.rank))
        .where(
            final_standings.c.run_id == _own.c.run_id, final_standings.c.segment == _own.c.segment
        )
        .scalar_subquery()
        .label("participants"),
        select(func.count())
        .where(
            final_standings.c.run_id == _own.c.run_id,
            final_standings.c.segment == _own.c.segment,
            final_standings.c.score == _own.c.score,
            final_standings.c.rank < _own.c.rank,
        )
        .scalar_subquery()
        .label("earlier"),
    )
    .where(_own.c.run_id == bindparam("run_id"), _own.c.user_id == bindparam("user_id"))
    .order_by(_own.c.segment)
)
_FINAL_RUN = select(runs).where(IS_NAMED, runs.c.finalized_at.is_not(None))
_listed = (
    select(final_standings)
    .where(final_standings.c.run_id == bindparam("run_id"), final_standings.c.segment == ALL)
    .cte("listed")
)
_scored = select(run_scores).where(run_scores.c.run_id == bindparam("run_id")).cte("scored")
# A score that came or changed after the record was written.
_LATE = (
    select(
        _scored.c.user_id,
        _listed.c.score.label("final_score"),
        _scored.c.score.label("score"),
        _scored.c.reached_at,
    )
    .outerjoin(_listed, _listed.c.user_id == _scored.c.user_id)
    .where(
        _listed.c.score.is_distinct_from(_scored.c.score),
        _scored.c.user_id.not_in(_suspended),
    )
    .order_by(_scored.c.user_id)
    .limit(bindparam("limit"))
)


def lock_due_run(connection: Connection, now: datetime) -> StoredRun | None:
    """Lock the run that is due longest to become final, if any is that nobody else has locked."""
    row = connection.execute(_DUE_RUNS, {"now": now}).mappings().first()
    return StoredRun(**row) if row else None


def lock_run(connection: Connection, name: RunName) -> StoredRun | None:
    """Lock a run, and wait for whoever holds it; None where it was never opened."""
    row = connection.execute(_LOCK_RUN, named(name)).mappings().first()
    return StoredRun(**row) if row else None


def is_anyone_due(connection: Connection, instant: datetime) -> bool:
    """Tell whether time has not been followed up to an instant for everyone."""
    return bool(connection.execute(_IS_ANYONE_DUE, {"instant": instant}).scalar_one())


def write_final(
    connection: Connection,
    run: StoredRun,
    *,
    segment_by: Sequence[str],
    where: Mapping[str, str],
    ascending: bool,
    winners: int,
    told: int,
    now: datetime,
) -> Sequence[str]:
    """Write a run's standings as its record, instead of one that there was; tell the winners.

    These are the first of each board, and of that of everyone as many as are to be `told`.

    Returns the segments in which anybody stands. The caller holds the lock of the run.
    """
    fields = [ATTRIBUTE + name for name in sorted({*segment_by, *where})]
    asked: dict[str, Any] = {
        "run_id": run.run_id,
        "fields": fields,
        "where": _json({ATTRIBUTE + name: value for name, value in where.items()}),
    }
    segments = _name_segments(connection, asked, segment_by) if segment_by else {}
    connection.execute(_CUT, {"run_id": run.run_id})
    rows = arrays(("attributes", "segment"), segments.items())
    connection.execute(_WRITE, asked | rows | {"sign": 1 if ascending else -1})
    cause = f"{run.leaderboard}@{run.since}:{run.run}"
    about = {"cause": cause, "at": run.final_at, "leaderboard": run.leaderboard, "run": run.run}
    ranks = {"winners": winners, "told": told}
    connection.execute(_TELL_WINNERS, about | ranks | {"run_id": run.run_id})
    connection.execute(_MARK, {"of_run": run.run_id, "at": now})
    return [ALL, *sorted(set(segments.values()))]


def find_final(connection: Connection, name: RunName) -> StoredRun | None:
    """Return a run whose record is written, None for any other."""
    row = connection.execute(_FINAL_RUN, named(name)).mappings().first()
    return StoredRun(**row) if row else None


def count_final(connection: Connection, run_id: int, segment: str) -> int:
    """Return how many users stand in a record."""
    count: int = connection.execute(_COUNT, {"run_id": run_id, "segment": segment}).scalar_one()
    return count


def read_final(
    connection: Connection, run_id: int, segment: str, first: int, last: int
) -> list[Standing]:
    """Return the standings of a record from one rank to another, both included."""
    asked = {"run_id": run_id, "segment": segment, "first": first, "last": last}
    return [_standing(row) for row in connection.execute(_PAGE, asked)]


def find_standings(
    connection: Connection, run_id: int, segment: str, user_ids: Iterable[str]
) -> list[Standing]:
    """Return the standings of some users in a record, of those that have one."""
    asked = {"run_id": run_id, "segment": segment, "user_ids": list(user_ids)}
    return [_standing(row) for row in connection.execute(_OF_USERS, asked)]


def find_places(
    connection: Connection, run_id: int, user_id: str, neighbours: int
) -> dict[str, Place]:
    """Return how a user's standings in a record come about, by segment."""
    asked = {"run_id": run_id, "user_id": user_id}
    return {
        row.segment: Place(
            own=_standing(row),
            participants=row.participants,
            better=row.rank - 1 - row.earlier,
            earlier=row.earlier,
            ahead=read_final(connection, run_id, row.segment, row.rank - neighbours, row.rank - 1),
        )
        for row in connection.execute(_OF_USER, asked).all()
    }


def list_late(connection: Connection, run_id: int, limit: int) -> list[dict[str, Any]]:
    """Return whose score is another now than in the record, which late events have made so."""
    asked = {"run_id": run_id, "limit": limit}
    return [dict(row) for row in connection.execute(_LATE, asked).mappings()]


def _name_segments(
    connection: Connection, asked: Mapping[str, Any], segment_by: Sequence[str]
) -> dict[str, str]:
    """Return the segments that combinations of attributes stand for, by their JSON."""
    found = {}
    for attributes in connection.execute(_COMBINATIONS, asked).scalars():
        values = {name: attributes.get(ATTRIBUTE + name) for name in segment_by}
        if None not in values.values():
            found[_json(attributes)] = segment_name(values)
    return found


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _standing(row: Any) -> Standing:
    return Standing(rank=row.rank, user_id=row.user_id, score=row.score, reached_at=row.reached_at)
