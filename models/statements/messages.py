"""Messages that could not be processed, kept for an operator."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from models.statements.rows import one_of
from models.tables import dead_messages

NO_ACTOR = ""
"""What stands for the actor of what is no message of ours: it cannot be put back on a queue."""

_ADD = insert(dead_messages).on_conflict_do_nothing()
_COUNT = select(func.count()).select_from(dead_messages)
_NEXT = (
    select(dead_messages)
    .where(dead_messages.c.message_id > bindparam("after"))
    .order_by(dead_messages.c.message_id)
    .limit(bindparam("limit"))
)
_DROP = delete(dead_messages).where(one_of(dead_messages.c.message_id, "message_ids"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMessage:
    """A message that nobody will try again by itself; `body` is what the broker carried."""

    message_id: str
    queue: str
    actor: str
    body: bytes
    error: str


def add_dead_message(connection: Connection, message: DeadMessage) -> None:
    """Keep a message; one that is kept already stays as it is."""
    connection.execute(
        _ADD.values(
            message_id=message.message_id,
            queue=message.queue,
            actor=message.actor,
            body=message.body,
            error=message.error,
        )
    )


def count_dead_messages(connection: Connection) -> int:
    """Return how many messages are kept."""
    return connection.execute(_COUNT).scalar_one()


def count_dead_of(connection: Connection, actors: Collection[str]) -> int:
    """Return how many messages of some actors are kept, or of all actors where none is named."""
    count: int = connection.execute(_COUNT.where(*_of(actors))).scalar_one()
    return count


def read_dead_messages(
    connection: Connection, actors: Collection[str], after: str, limit: int, *, error: str = ""
) -> list[DeadMessage]:
    """Return kept messages in order of their ids, those that follow another.

    Of some actors, or of all where none is named; those whose `error` begins with a text.
    """
    begins = dead_messages.c.error.startswith(error, autoescape=True)
    query = _NEXT.where(*_of(actors), begins)
    rows = connection.execute(query, {"after": after, "limit": limit})
    return [
        DeadMessage(
            message_id=row.message_id,
            queue=row.queue,
            actor=row.actor,
            body=row.body,
            error=row.error,
        )
        for row in rows
    ]


def drop_dead_messages(connection: Connection, message_ids: Iterable[str]) -> None:
    """Forget messages that are on their queues again."""
    connection.execute(_DROP, {"message_ids": sorted(message_ids)})


def _of(actors: Collection[str]) -> list[ColumnElement[bool]]:
    if actors:
        return [dead_messages.c.actor.in_(sorted(actors))]
    return [dead_messages.c.actor != NO_ACTOR]
