"""Backfills: an operator's runs over the past, in chunks, watched, stopped, continued, trusted.

A chunk's effects and where the next one begins are committed together (S71). So a chunk that is
asked for twice is done once, and one that is killed anywhere was not begun. Chunks of one backfill
run one after the other: whoever runs one holds the lock of the backfill's row. One that fails is
tried again; after ATTEMPTS_MAX the backfill stops as failed, with the reason, and can be resumed
from there. While a server is away nothing is counted as a failure.

    number = start_backfill(context, "recompute-users", {}, by=By(actor="ops"), now=now)
    while (ran := run_chunk(context, number, step, clock)) and ran.state in ACTIVE: ...

Workers do the second part (`worker.backfilling`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobs.backfills.changes import Changes
from jobs.backfills.kind import Chunk, Context, Hopeless, NotPossible, Work
from jobs.backfills.kinds import KINDS
from models.statements import backfills as statements
from models.statements.backfills import (
    ACTIVE,
    Acted,
    Action,
    Backfill,
    State,
    Step,
)
from streakline.contract import nearest
from streakline.errors import StreaklineError

__all__ = [
    "ACTIVE",
    "KINDS",
    "Backfill",
    "By",
    "Chunk",
    "Context",
    "Hopeless",
    "NotPossible",
    "Work",
    "cancel_backfill",
    "pause_backfill",
    "resume_backfill",
    "run_chunk",
    "start_backfill",
    "throttle_backfill",
]

ATTEMPTS_MAX = 3
"""Of a chunk, before its backfill stops as failed."""
ERROR_CHARACTERS_MAX = 2_000
ROWS_SECONDS = 1.0
"""A throttled chunk has the rows of about so long, so that the rate is even."""

_FROM: Mapping[Action, frozenset[State]] = {
    Action.PAUSE: ACTIVE,
    Action.RESUME: frozenset({State.PAUSED, State.FAILED}),
    Action.CANCEL: ACTIVE | {State.PAUSED, State.FAILED},
    Action.THROTTLE: ACTIVE | {State.PAUSED, State.FAILED},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who does something with a backfill, and why."""

    actor: str
    reason: str | None = None


def start_backfill(
    context: Context,
    kind: str,
    parameters: Mapping[str, Any],
    *,
    by: By,
    now: datetime,
    dry_run: bool = False,
    rate_max: float | None = None,
) -> int:
    """Plan a backfill; return its number. Workers begin it within seconds.

    `rate_max` is in rows a second. Raises NotPossible: no such kind, wrong parameters.
    """
    if kind not in KINDS:
        raise NotPossible(
            f"there is no backfill {kind!r}{nearest(kind, KINDS)}; there are {', '.join(KINDS)}"
        )
    _check_rate(rate_max)
    of = KINDS[kind]
    checked = of.read(context, parameters)
    total = of.count(context, checked)
    with context.engine.begin() as connection:
        backfill_id = statements.add_backfill(
            connection,
            kind=kind,
            parameters=checked,
            dry_run=dry_run,
            total=total,
            rate_max=rate_max,
            now=now,
        )
        given = {"parameters": checked, "dry_run": dry_run, "rate_max": rate_max}
        _act(connection, backfill_id, Action.START, by, given, now)
    return backfill_id


def pause_backfill(context: Context, backfill_id: int, by: By, now: datetime) -> Backfill:
    """Stop after the chunk that runs. Raises NotPossible."""
    return _change(context, backfill_id, Action.PAUSE, by, now, State.PAUSED)


def resume_backfill(context: Context, backfill_id: int, by: By, now: datetime) -> Backfill:
    """Go on where it was paused or has failed. Raises NotPossible."""
    return _change(context, backfill_id, Action.RESUME, by, now, State.RUNNING)


def cancel_backfill(context: Context, backfill_id: int, by: By, now: datetime) -> Backfill:
    """Stop for good; what is done stays. Raises NotPossible."""
    return _change(context, backfill_id, Action.CANCEL, by, now, State.CANCELLED)


def throttle_backfill(
    context: Context, backfill_id: int, rate_max: float | None, by: By, now: datetime
) -> Backfill:
    """Hold it to so many rows a second, or with None to none. Raises NotPossible."""
    _check_rate(rate_max)
    with context.engine.begin() as connection:
        _lock(connection, backfill_id, Action.THROTTLE)
        statements.put_rate(connection, backfill_id, rate_max)
        _act(connection, backfill_id, Action.THROTTLE, by, {"rate_max": rate_max}, now)
    return _read(context, backfill_id)


def run_chunk(
    context: Context,
    backfill_id: int,
    step: int,
    clock: Callable[[], datetime],
    is_outage: Callable[[BaseException], bool] = lambda _: False,
) -> Backfill | None:
    """Do the chunk `step` and return the backfill after it.

    None where it is not due: done already, paused, or running elsewhere. A failure is noted with
    the backfill and not raised, but for an outage, which is to be waited for.
    """
    try:
        with context.engine.begin() as connection:
            backfill = statements.claim_step(connection, backfill_id, step)
            if backfill is None:
                return None
            _do(context, connection, backfill, clock)
    except Exception as error:
        if is_outage(error):
            raise
        _note_failure(context, backfill_id, step, error, clock())
    return _read(context, backfill_id)


def _do(
    context: Context, connection: Connection, backfill: Backfill, clock: Callable[[], datetime]
) -> None:
    kind, began = KINDS[backfill.kind], clock()
    changes = Changes(backfill.changes)
    work = Work(
        context=context,
        connection=connection,
        backfill=backfill,
        rows_max=_rows_max(kind.rows_max, backfill.rate_max),
        now=began,
        changes=changes,
    )
    chunk = kind.run(work)
    is_end = chunk.cursor is None
    if is_end:
        kind.forget(connection, backfill)
    done = chunk.rows if chunk.restarts else backfill.done + chunk.rows
    total = backfill.total if chunk.total is None else chunk.total
    statements.put_step(
        connection,
        backfill,
        Step(
            state=State.DONE if is_end else State.RUNNING,
            cursor=chunk.cursor,
            done=done,
            # what was counted before may have grown or shrunk meanwhile
            total=done if is_end or (total is not None and done > total) else total,
            changes={} if chunk.restarts else changes.as_json(),
            began=began,
            now=clock(),
        ),
    )


def _rows_max(most: int, rate_max: float | None) -> int:
    return most if rate_max is None else max(1, min(most, round(rate_max * ROWS_SECONDS)))


def _note_failure(
    context: Context, backfill_id: int, step: int, error: Exception, now: datetime
) -> None:
    # Errors of our own are written for people.
    named = "" if isinstance(error, StreaklineError) else f"{type(error).__name__}: "
    text = f"{named}{error}".replace("\x00", "")[:ERROR_CHARACTERS_MAX]
    with context.engine.begin() as connection:
        backfill = statements.claim_step(connection, backfill_id, step)
        if backfill is not None:
            is_final = isinstance(error, Hopeless) or backfill.attempts + 1 >= ATTEMPTS_MAX
            statements.put_failure(connection, backfill, text, is_final=is_final, now=now)


def _change(
    context: Context, backfill_id: int, action: Action, by: By, now: datetime, state: State
) -> Backfill:
    with context.engine.begin() as connection:
        backfill = _lock(connection, backfill_id, action)
        statements.put_state(connection, backfill, state, now)
        _act(connection, backfill_id, action, by, {}, now)
        if state is State.CANCELLED:
            KINDS[backfill.kind].forget(connection, backfill)
    return _read(context, backfill_id)


def _lock(connection: Connection, backfill_id: int, action: Action) -> Backfill:
    backfill = statements.lock_backfill(connection, backfill_id)
    if backfill is None:
        raise NotPossible(f"there is no backfill {backfill_id}; see: streakline backfill list")
    if backfill.state not in _FROM[action]:
        allowed = " or ".join(sorted(state.value for state in _FROM[action]))
        raise NotPossible(
            f"backfill {backfill_id} is {backfill.state.value}; "
            f"to {action.value} it, it must be {allowed}"
        )
    return backfill


def _read(context: Context, backfill_id: int) -> Backfill:
    with context.engine.connect() as connection:
        backfill = statements.read_backfill(connection, backfill_id)
    assert backfill is not None
    return backfill


def _act(
    connection: Connection,
    backfill_id: int,
    action: Action,
    by: By,
    parameters: dict[str, Any],
    now: datetime,
) -> None:
    acted = Acted(
        action=action, actor=by.actor, reason=by.reason, parameters=parameters, acted_at=now
    )
    statements.add_action(connection, backfill_id, acted)


def _check_rate(rate_max: float | None) -> None:
    if rate_max is not None and not rate_max > 0:
        raise NotPossible(
            f"a rate of {rate_max:g} rows a second is none; leave it out for no limit"
        )
