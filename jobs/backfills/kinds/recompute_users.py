"""Fold users anew from nothing: everyone, those of a segment, or some by name.

What comes of it is what `verify` compares with. It is silent: nobody is told.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from jobs.backfills.kind import Chunk, Context, NotPossible, Work, only
from models.folding import renew_stale
from models.statements import users as statements
from models.statements.backfills import Backfill

ROWS_MAX = 200


class RecomputeUsers:
    """`{"user_ids": [...]}`, `{"segment": {"plan": "pro"}}`, or `{}` for everyone."""

    name = "recompute-users"
    unit = "users"
    rows_max = ROWS_MAX

    def read(self, context: Context, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check whom it is about."""
        only(parameters, "user_ids", "segment")
        user_ids, segment = parameters.get("user_ids"), parameters.get("segment")
        if user_ids is not None and segment is not None:
            raise NotPossible("name users or a segment, not both")
        if user_ids is not None:
            if not all(isinstance(one, str) and one for one in user_ids):
                raise NotPossible("user_ids must be texts; an empty one is no user")
            with context.engine.connect() as connection:
                there = set(statements.find_ids(connection, user_ids))
            missing = sorted(set(user_ids) - there)
            if missing:
                raise NotPossible(f"{len(missing)} users were never seen, such as {missing[0]!r}")
            return {"user_ids": sorted(there)}
        return {"segment": dict(segment)} if segment else {}

    def count(self, context: Context, parameters: Mapping[str, Any]) -> int:
        """Count the users."""
        if "user_ids" in parameters:
            return len(parameters["user_ids"])
        with context.engine.connect() as connection:
            if "segment" in parameters:
                return statements.count_segment(connection, parameters["segment"])
            return statements.count_users(connection)

    def run(self, work: Work) -> Chunk:
        """Fold the next ones anew."""
        return fold_anew(work, _next_ids(work))

    def forget(self, _connection: Connection, _backfill: Backfill) -> None:
        """It holds nothing."""


def fold_anew(work: Work, user_ids: Sequence[str]) -> Chunk:
    """Fold some users anew, the next ones in order; fewer than asked for are the last."""
    if user_ids:
        rules = work.context.rulebooks.current(work.connection)
        with work.effects():
            users = statements.lock_users(work.connection, user_ids, rules.stamp)
            with work.changes.watching(work.connection, rules, users.states):
                users.stale.update(users.states)
                renew_stale(work.connection, rules, users, work.now)
    is_end = len(user_ids) < work.rows_max
    return Chunk(rows=len(user_ids), cursor=None if is_end else {"after": user_ids[-1]})


def _next_ids(work: Work) -> list[str]:
    after = work.cursor.get("after", "")
    if "user_ids" in work.parameters:
        user_ids: list[str] = work.parameters["user_ids"]
        start = bisect_right(user_ids, after)
        return user_ids[start : start + work.rows_max]
    segment = work.parameters.get("segment")
    if segment is not None:
        return statements.read_next_of_segment(work.connection, segment, after, work.rows_max)
    return statements.read_next_ids(work.connection, after, work.rows_max)
