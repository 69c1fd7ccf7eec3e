"""Backfills: how far each is, which chunk is next, and who did what with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, func, insert, null, select, update

from models.rules.calendar import ONE_DAY
from models.tables import backfill_actions, backfills

LISTED_MAX = 100
"""Backfills that are listed, the newest first."""
SETTLED_SHOWN = ONE_DAY
"""How long one that has ended is among those that `status` shows."""


class State(Enum):
    """How far a backfill is; PLANNED until its first chunk is done."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = frozenset({State.PLANNED, State.RUNNING})
"""Chunks are run in these."""
SETTLED = frozenset({State.DONE, State.CANCELLED})
"""What has ended for good; a failed one can be resumed."""


class Action(Enum):
    """What somebody did with a backfill."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    THROTTLE = "throttle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """A backfill as it stands; `cursor` is its kind's, `rate_max` in rows a second.

    `changes` tells by kind of row how many were changed and how, with samples.
    """

    backfill_id: int
    kind: str
    parameters: dict[str, Any]
    dry_run: bool
    state: State
    step: int
    cursor: dict[str, Any] | None
    done: int
    total: int | None
    rate_max: float | None
    running_seconds: float
    counted_until: datetime | None
    changes: dict[str, Any]
    error: str | None
    attempts: int
    next_at: datetime
    planned_at: datetime
    settled_at: datetime | None

    @property
    def rate(self) -> float | None:
        """Rows a second since it began, what the throttle costs included."""
        return self.done / self.running_seconds if self.running_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """How long it takes yet at its rate; None where that cannot be told."""
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.done) / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """Who did what, with which parameters, and why."""

    action: Action
    actor: str
    reason: str | None
    parameters: dict[str, Any]
    acted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a chunk comes to: the state and where the next one begins."""

    state: State
    cursor: Mapping[str, Any] | None
    done: int
    total: int | None
    changes: Mapping[str, Any]
    began: datetime
    now: datetime


_ADD = insert(backfills).returning(backfills.c.backfill_id)
_ACT = insert(backfill_actions)
_ONE = select(backfills).where(backfills.c.backfill_id == bindparam("of_id"))
_LOCK = _ONE.with_for_update()
_ACTIVE_VALUES = sorted(state.value for state in ACTIVE)
_CLAIM = _ONE.where(
    backfills.c.step == bindparam("of_step"), backfills.c.state.in_(_ACTIVE_VALUES)
).with_for_update(skip_locked=True)
_NEWEST = select(backfills).order_by(backfills.c.backfill_id.desc()).limit(bindparam("limit"))
_SHOWN = _NEWEST.where(
    backfills.c.settled_at.is_(None) | (backfills.c.settled_at > bindparam("since"))
)
_overdue = (
    select(backfills.c.backfill_id)
    .where(backfills.c.state.in_(_ACTIVE_VALUES), backfills.c.next_at < bindparam("before"))
    .with_for_update(skip_locked=True)
)
_TAKE_OVERDUE = (
    update(backfills)
    .values(next_at=bindparam("now"))
    .where(backfills.c.backfill_id.in_(_overdue))
    .returning(backfills.c.backfill_id, backfills.c.step)
)
_UNSETTLED = select(func.count()).where(
    backfills.c.kind == bindparam("kind"),
    backfills.c.settled_at.is_(None),
    ~backfills.c.dry_run,
)
_ACTIONS = (
    select(backfill_actions)
    .where(backfill_actions.c.backfill_id == bindparam("of_id"))
    .order_by(backfill_actions.c.action_id)
)
_SET = update(backfills).where(backfills.c.backfill_id == bindparam("of_id"))


def add_backfill(
    connection: Connection,
    *,
    kind: str,
    parameters: Mapping[str, Any],
    dry_run: bool,
    total: int | None,
    rate_max: float | None,
    now: datetime,
) -> int:
    """Plan a backfill; return its number."""
    added: int = connection.execute(
        _ADD,
        {
            "kind": kind,
            "parameters": dict(parameters),
            "dry_run": dry_run,
            "state": State.PLANNED.value,
            "total": total,
            "rate_max": rate_max,
            "next_at": now,
            "planned_at": now,
        },
    ).scalar_one()
    return added


def add_action(connection: Connection, backfill_id: int, acted: Acted) -> None:
    """Keep who did what."""
    connection.execute(
        _ACT,
        {
            "backfill_id": backfill_id,
            "action": acted.action.value,
            "actor": acted.actor,
            "reason": acted.reason,
            "parameters": acted.parameters,
            "acted_at": acted.acted_at,
        },
    )


def read_backfill(connection: Connection, backfill_id: int) -> Backfill | None:
    """Return a backfill by its number."""
    return _first(connection.execute(_ONE, {"of_id": backfill_id}).mappings())


def lock_backfill(connection: Connection, backfill_id: int) -> Backfill | None:
    """Return a backfill and keep it as it is until the transaction ends; waits for a chunk."""
    return _first(connection.execute(_LOCK, {"of_id": backfill_id}).mappings())


def claim_step(connection: Connection, backfill_id: int, step: int) -> Backfill | None:
    """Return a backfill whose chunk `step` is due, locked; None where it is not, or is another's.

    Whoever commits the chunk raises the step: a message that comes again finds nothing to do.
    """
    asked = {"of_id": backfill_id, "of_step": step}
    return _first(connection.execute(_CLAIM, asked).mappings())


def list_backfills(connection: Connection, limit: int = LISTED_MAX) -> list[Backfill]:
    """Return the newest backfills, newest first."""
    return [_backfill(row) for row in connection.execute(_NEWEST, {"limit": limit}).mappings()]


def list_shown(connection: Connection, now: datetime) -> list[Backfill]:
    """Return those that have not ended, or within the last day; newest first."""
    asked = {"limit": LISTED_MAX, "since": now - SETTLED_SHOWN}
    return [_backfill(row) for row in connection.execute(_SHOWN, asked).mappings()]


def take_overdue(
    connection: Connection, now: datetime, patience: timedelta
) -> list[tuple[int, int]]:
    """Return (number, step) of those whose next chunk should have run long ago; it is now due.

    One whose chunk runs at this moment is left out.
    """
    rows = connection.execute(_TAKE_OVERDUE, {"before": now - patience, "now": now}).all()
    return [(row.backfill_id, row.step) for row in rows]


def count_unsettled(connection: Connection, kind: str) -> int:
    """Return how many of a kind have not ended, dry runs left out."""
    count: int = connection.execute(_UNSETTLED, {"kind": kind}).scalar_one()
    return count


def list_actions(connection: Connection, backfill_id: int) -> list[Acted]:
    """Return who did what with a backfill, oldest first."""
    return [
        Acted(
            action=Action(row["action"]),
            actor=row["actor"],
            reason=row["reason"],
            parameters=row["parameters"],
            acted_at=row["acted_at"],
        )
        for row in connection.execute(_ACTIONS, {"of_id": backfill_id}).mappings()
    ]


def put_step(connection: Connection, backfill: Backfill, step: Step) -> None:
    """Commit what a chunk came to, in the transaction of its effects."""
    _set(
        connection,
        backfill.backfill_id,
        state=step.state.value,
        step=backfill.step + 1,
        # a JSON null would not be no cursor
        cursor=null() if step.cursor is None else dict(step.cursor),
        done=step.done,
        total=step.total,
        changes=_plain(step.changes),
        running_seconds=_running_seconds(backfill, step.now, step.began),
        counted_until=step.now,
        error=None,
        attempts=0,
        next_at=step.now,
        settled_at=step.now if step.state in SETTLED else None,
    )


def put_failure(
    connection: Connection, backfill: Backfill, error: str, *, is_final: bool, now: datetime
) -> None:
    """Note that a chunk failed; its step stays."""
    state = State.FAILED if is_final else backfill.state
    _set(
        connection,
        backfill.backfill_id,
        state=state.value,
        error=error,
        attempts=backfill.attempts + 1,
        running_seconds=_running_seconds(backfill, now),
        counted_until=None if is_final else now,
        next_at=now,
    )


def put_state(connection: Connection, backfill: Backfill, state: State, now: datetime) -> None:
    """Pause, resume or cancel; a message that is under way for a paused one finds it so."""
    is_active = state in ACTIVE
    _set(
        connection,
        backfill.backfill_id,
        state=state.value,
        error=None if is_active else backfill.error,
        attempts=0,
        running_seconds=_running_seconds(backfill, now),
        counted_until=now if is_active else None,
        next_at=now,
        settled_at=now if state in SETTLED else None,
    )


def put_rate(connection: Connection, backfill_id: int, rate_max: float | None) -> None:
    """Throttle to so many rows a second, or with None not at all."""
    _set(connection, backfill_id, rate_max=rate_max)


def put_next_at(connection: Connection, backfill_id: int, next_at: datetime) -> None:
    """Note when the next chunk is due, as its message says."""
    _set(connection, backfill_id, next_at=next_at)


def _set(connection: Connection, backfill_id: int, **values: Any) -> None:
    connection.execute(_SET.values(**values), {"of_id": backfill_id})


def _running_seconds(backfill: Backfill, now: datetime, began: datetime | None = None) -> float:
    since = backfill.counted_until or began
    if since is None or backfill.state not in ACTIVE:
        return backfill.running_seconds
    return backfill.running_seconds + max(0.0, (now - since).total_seconds())


def _plain(changes: Mapping[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(changes))


def _first(rows: Iterable[Mapping[Any, Any]]) -> Backfill | None:
    return next((_backfill(row) for row in rows), None)


def _backfill(row: Mapping[Any, Any]) -> Backfill:
    return Backfill(**{**row, "state": State(row["state"])})
