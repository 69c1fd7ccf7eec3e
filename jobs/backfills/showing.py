"""A backfill in the shape of the interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from jobs.backfills.kinds import KINDS
from models.statements import backfills as statements
from models.statements import staged
from models.statements.backfills import Acted, Backfill


def show_backfill(engine: Engine, backfill_id: int) -> dict[str, Any] | None:
    """Return a backfill in the shape of the interface, with who did what; None where none is."""
    with engine.connect() as connection:
        backfill = statements.read_backfill(connection, backfill_id)
        if backfill is None:
            return None
        actions = statements.list_actions(connection, backfill_id)
        refused = staged.count_refusals(connection, backfill_id)
    return _shape(backfill, actions, refused)


def summary(backfill: Backfill) -> dict[str, Any]:
    """Return how far a backfill is, as `status` has it."""
    return {
        "id": backfill.backfill_id,
        "kind": backfill.kind,
        "state": backfill.state.value,
        "done": backfill.done,
        "total": backfill.total,
    }


def _shape(backfill: Backfill, actions: Sequence[Acted], refused: int) -> dict[str, Any]:
    kind = KINDS.get(backfill.kind)
    return {
        **summary(backfill),
        "unit": kind.unit if kind else "rows",
        "rate": _rounded(backfill.rate),
        "rate_max": backfill.rate_max,
        "seconds_left": _rounded(backfill.seconds_left),
        "cursor": backfill.cursor,
        "dry_run": backfill.dry_run,
        "parameters": backfill.parameters,
        "changes": backfill.changes,
        "refused": refused,
        "error": backfill.error,
        "planned_at": backfill.planned_at,
        "settled_at": backfill.settled_at,
        "actions": [
            {
                "action": one.action.value,
                "actor": one.actor,
                "reason": one.reason,
                "parameters": one.parameters,
                "at": one.acted_at,
            }
            for one in actions
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
