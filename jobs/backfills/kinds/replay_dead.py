"""Put messages that were given up back on their queues, after their cause is gone.

All that a message causes is idempotent, so one that is put back twice does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from jobs.backfills.changes import REMOVED
from jobs.backfills.kind import Chunk, Context, Work, only
from models.statements import messages as statements
from models.statements.backfills import Backfill

ROWS_MAX = 500


class ReplayDead:
    """`{"actors": [...]}`, or `{}` for all."""

    name = "replay-dead"
    unit = "messages"
    rows_max = ROWS_MAX

    def read(self, _context: Context, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check the names of the parameters."""
        only(parameters, "actors")
        return {"actors": sorted(set(parameters.get("actors", ())))}

    def count(self, context: Context, parameters: Mapping[str, Any]) -> int:
        """Count the messages."""
        with context.engine.connect() as connection:
            return statements.count_dead_of(connection, parameters["actors"])

    def run(self, work: Work) -> Chunk:
        """Put the next ones back, then forget them."""
        dead = statements.read_dead_messages(
            work.connection, work.parameters["actors"], work.cursor.get("after", ""), work.rows_max
        )
        for one in dead:
            sample = {"message_id": one.message_id, "actor": one.actor, "error": one.error}
            work.changes.add("dead_messages", REMOVED, samples=[sample])
            if not work.backfill.dry_run:
                work.context.put_back(one.body)
        with work.effects():
            statements.drop_dead_messages(work.connection, [one.message_id for one in dead])
        is_end = len(dead) < work.rows_max
        return Chunk(rows=len(dead), cursor=None if is_end else {"after": dead[-1].message_id})

    def forget(self, _connection: Connection, _backfill: Backfill) -> None:
        """It holds nothing."""
