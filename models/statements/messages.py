"""Messages that could not be processed, kept for an operator."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from models.tables import dead_messages

_ADD = insert(dead_messages).on_conflict_do_nothing()
_COUNT = select(func.count()).select_from(dead_messages)


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
