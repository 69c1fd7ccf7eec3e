"""Notices as emails read them: the next ones to be told, in the order of commits, and whether each
still stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, select
from sqlalchemy.types import TypeEngine

from models.rules.effects import Notice, NoticeKind
from models.statements.cursors import lock_cursor, move_cursor
from models.statements.loads import read_horizon
from models.statements.rows import arrays, given
from models.tables import ID, notices

READER = "emails"
"""Whose cursor it is that goes through the notices."""
NOTICES_MAX = 100
"""Of one kind that are looked at for a preview."""

_next = (
    select(notices.c.txid)
    .where(notices.c.txid >= bindparam("from_txid"), notices.c.txid < bindparam("to_txid"))
    .order_by(notices.c.txid)
    .limit(bindparam("limit"))
    .subquery()
)
_LAST_TXID = select(func.max(_next.c.txid))
_TOLD = select(
    notices.c.user_id,
    notices.c.kind,
    notices.c.cause,
    notices.c.at,
    notices.c.body,
    notices.c.decided_at,
).where(
    notices.c.txid >= bindparam("from_txid"),
    notices.c.txid <= bindparam("last_txid"),
    ~notices.c.silent,
)
_NOTICE_KEY: dict[str, TypeEngine[Any]] = {"user_id": ID, "kind": ID, "cause": ID}
_asked = given("asked", **_NOTICE_KEY)
_STILL_TOLD = select(_asked.c.user_id, _asked.c.kind, _asked.c.cause).where(
    exists().where(*[notices.c[name] == _asked.c[name] for name in _NOTICE_KEY])
)
_NOTICES_OF = (
    select(notices.c.body)
    .where(notices.c.user_id == bindparam("user_id"), notices.c.kind == bindparam("kind"))
    .order_by(notices.c.at.desc(), notices.c.cause)
    .limit(NOTICES_MAX)
)


def take_told(connection: Connection, limit: int) -> list[tuple[str, Notice]] | None:
    """Return the next notices that are to be told, with their users; None where there are no more.

    They are taken once the transaction is committed. Others who ask wait for its end.
    """
    start = lock_cursor(connection, READER)
    asked = {"from_txid": start, "to_txid": read_horizon(connection), "limit": limit}
    last = connection.execute(_LAST_TXID, asked).scalar_one()
    if last is None:
        return None
    rows = connection.execute(_TOLD, {"from_txid": start, "last_txid": last}).all()
    move_cursor(connection, READER, last + 1)
    return [
        (row.user_id, Notice(NoticeKind(row.kind), row.cause, row.at, row.body, row.decided_at))
        for row in rows
    ]


def read_still_told(
    connection: Connection, keys: Iterable[tuple[str, str, str]]
) -> set[tuple[str, str, str]]:
    """Return those of the notices, by (user_id, kind, cause), that have not been taken back."""
    rows = connection.execute(_STILL_TOLD, arrays(tuple(_NOTICE_KEY), keys))
    return {(row.user_id, row.kind, row.cause) for row in rows}


def read_notices(connection: Connection, user_id: str, kind: str) -> list[Mapping[str, Any]]:
    """Return what notices of a kind told a user, the latest first."""
    return list(connection.execute(_NOTICES_OF, {"user_id": user_id, "kind": kind}).scalars())
