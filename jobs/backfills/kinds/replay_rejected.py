"""Apply events that were set aside, after the program was put right: those that count now do.

They are judged as if the program had been right when they came. What was set aside for its age is
judged by the age that it had then; of the others the age is not asked, for they may have come with
an import. Those refused again stay on the list, with the reason that holds now. A chunk has all
events of its users, so that a dry run sees of each user what the run will. It is silent, as an
import is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from jobs.backfills.changes import ADDED, CHANGED, REMOVED
from jobs.backfills.kind import Chunk, Context, NotPossible, Work, only
from models.applying import Item, Kind, Received, apply_locked, collect, decode
from models.rules.acceptance import Reason, Refusal
from models.rules.arrivals import Arrival
from models.rules.rulebook import Rules
from models.statements import events as statements
from models.statements import users as user_statements
from models.statements.backfills import Backfill
from models.statements.events import Outcome, SetAside

ROWS_MAX = 500


class ReplayRejected:
    """`{"reasons": ["unknown-metric"], "metrics": [...]}`; either left out: all."""

    name = "replay-rejected"
    unit = "events"
    rows_max = ROWS_MAX

    def read(self, _context: Context, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check the reasons."""
        only(parameters, "reasons", "metrics")
        reasons = sorted(set(parameters.get("reasons", ())))
        known = [reason.value for reason in Reason]
        for reason in reasons:
            if reason not in known:
                raise NotPossible(f"there is no reason {reason!r}; there are {', '.join(known)}")
        return {"reasons": reasons, "metrics": sorted(set(parameters.get("metrics", ())))}

    def count(self, context: Context, parameters: Mapping[str, Any]) -> int:
        """Count the events."""
        with context.engine.connect() as connection:
            return statements.count_rejected(
                connection, parameters["reasons"], parameters["metrics"]
            )

    def run(self, work: Work) -> Chunk:
        """Apply those of the next users."""
        rows = statements.read_rejected(
            work.connection,
            work.parameters["reasons"],
            work.parameters["metrics"],
            work.cursor.get("after", ""),
            work.rows_max,
        )
        if not rows:
            return Chunk(rows=0, cursor=None)
        with work.effects():
            _replay(work, rows)
        return Chunk(rows=len(rows), cursor={"after": rows[-1].user_id})

    def forget(self, _connection: Connection, _backfill: Backfill) -> None:
        """It holds nothing."""


def _replay(work: Work, rows: Sequence[SetAside]) -> None:
    connection, now = work.connection, work.now
    rules = work.context.rulebooks.current(connection)
    items = decode(
        Received(kind=Kind.EVENT, raw=row.event, received_at=row.received_at, imported=True)
        for row in rows
    )
    row_of = {id(item): row for item, row in zip(items, rows, strict=True)}
    stays = {
        row.digest for row, item in zip(rows, items, strict=True) if _was_too_old(row, item, rules)
    }
    batch = collect(item for item in items if row_of[id(item)].digest not in stays)
    user_ids = batch.user_ids()
    with work.changes.watching(connection, rules, user_ids):
        user_statements.add_missing_users(connection, user_ids, now, rules.stamp)
        users = user_statements.lock_users(connection, user_ids, rules.stamp)
        applied = apply_locked(connection, rules, batch, users, now, set_aside=False)
    refused = {row_of[id(item)].digest: refusal for item, refusal in applied.refused}
    gone = [row for row in rows if row.digest not in stays | refused.keys()]
    new_reasons = {
        row.digest: refused[row.digest]
        for row in rows
        if row.digest in refused and refused[row.digest].reason.value != row.reason
    }
    _write(work, gone, new_reasons, applied.outcomes[Outcome.APPLIED])


def _was_too_old(row: SetAside, item: Item, rules: Rules) -> bool:
    """Tell whether an event was older than the program now allows when it came (S13)."""
    if row.reason != Reason.TOO_OLD.value or not isinstance(item, Arrival):
        return False
    return item.occurred_at < item.received_at - rules.latest.event_age_max


def _write(
    work: Work, gone: Sequence[SetAside], reasons: Mapping[bytes, Refusal], applied: int
) -> None:
    if gone:
        statements.drop_rejected(work.connection, [row.digest for row in gone])
    if reasons:
        statements.put_reasons(work.connection, reasons)
    counts = {Outcome.APPLIED: applied, Outcome.REJECTED: -len(gone)}
    statements.count_outcomes(work.connection, counts)
    work.changes.add("events", ADDED, applied)
    for row in gone:
        sample = {"user_id": row.user_id, "reason": row.reason, "event": row.event}
        work.changes.add("rejected_events", REMOVED, samples=[sample])
    work.changes.add("rejected_events", CHANGED, len(reasons))
