"""Running backfills: a message on a queue of their own runs chunks, and sends the next message.

It runs one after the other for some seconds, for between two messages a worker looks at its queue
only now and then. A message names the backfill and its step, and may come twice, late, or never: a
step is done once (`jobs.backfills`), and the tick `recover-backfills` sends anew what should long
have run. Live traffic goes first (S73): while messages wait for workers in a crowd, a backfill
rests nine tenths of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from dramatiq import Broker, Message

from jobs.backfills import ACTIVE, Backfill, By, Context, run_chunk, start_backfill
from jobs.watch_rankings import watch_rankings
from models.statements import backfills as statements
from models.statements import staged
from models.statements.boards import REBUILD_RANKINGS
from streakline.contract import EVENTS_QUEUE
from worker.clock import utc_now
from worker.outages import is_outage
from worker.queues import is_crowded
from worker.schedule import SWEEPS_QUEUE

RUN_ACTOR = "run_backfill"
OURSELVES = "streakline"
"""Who starts a backfill that no operator did."""
SHARE_IN_A_CROWD = 0.1
"""Of the time: a backfill that never went on would hold an operator up for good."""
REST_SECONDS_MAX = 10.0
OVERDUE = timedelta(seconds=30)
"""A chunk that should have begun so long ago has lost its message; none runs for so long."""
CLEARED_ROWS_MAX = 50_000
"""At once: a second's work."""
DELAY_SECONDS_MAX = 60.0
"""How long a message waits with a worker: RabbitMQ wants each back within half an hour."""
MESSAGE_SECONDS_MAX = 5.0
"""After so long no further chunk is begun in a message: one that runs long is taken for lost."""
FAILED_SECONDS = 1.0
"""How long after a failure it is tried again."""

log = structlog.get_logger(__name__)


class _Follows(NamedTuple):
    """The chunk that is to be run next, and for how many seconds to rest before."""

    step: int
    rest: float


class BackfillRunner:
    """Runs chunks, and sends for the next ones."""

    def __init__(
        self, context: Context, broker: Broker, wake_projector: Callable[[], None]
    ) -> None:
        self._context = context
        self._broker = broker
        self._wake_projector = wake_projector

    @property
    def context(self) -> Context:
        """What the jobs of backfills are called with."""
        return self._context

    def send(self, backfill: Backfill) -> None:
        """Ask the workers for the next chunk. Raises what the broker's client raises."""
        self._send(backfill.backfill_id, backfill.step, 0.0)

    def run(self, backfill_id: int, step: int) -> None:
        """Run chunks, and send for the one that follows them; the actor."""
        until = time.monotonic() + MESSAGE_SECONDS_MAX
        follows = self._run_chunk(backfill_id, step)
        while follows is not None and follows.rest == 0 and time.monotonic() < until:
            try:
                follows = self._run_chunk(backfill_id, follows.step)
            except Exception:
                # To try this message again would be in vain: its own chunk is done.
                log.warning("backfill_chunk_put_off", backfill_id=backfill_id, exc_info=True)
                break
        if follows is not None:
            self._send(backfill_id, follows.step, follows.rest)

    def _run_chunk(self, backfill_id: int, step: int) -> _Follows | None:
        """Run a chunk; return what follows it, None where nothing does."""
        began = time.monotonic()
        before = self._read_done(backfill_id)
        backfill = run_chunk(self._context, backfill_id, step, utc_now, is_outage)
        if backfill is None:
            return None
        self._wake_projector()
        took = time.monotonic() - began
        log.info(
            "backfill_chunk",
            backfill_id=backfill_id,
            kind=backfill.kind,
            state=backfill.state.value,
            step=step,
            done=backfill.done,
            seconds=round(took, 3),
            error=backfill.error,
        )
        if backfill.state not in ACTIVE:
            return None
        rows = max(0, backfill.done - before)
        return _Follows(backfill.step, self._rest(backfill, rows, took))

    def recover(self, now: datetime) -> int:
        """Send anew for chunks that should long have run; return how many those were."""
        with self._context.engine.begin() as connection:
            overdue = statements.take_overdue(connection, now, OVERDUE)
        for backfill_id, step in overdue:
            self._send(backfill_id, step, 0.0)
        return len(overdue)

    def clear(self) -> int:
        """Forget some of what backfills have read that have ended; return how many rows."""
        with self._context.engine.begin() as connection:
            return staged.clear_rows(connection, CLEARED_ROWS_MAX)

    def heal_rankings(self, now: datetime) -> int:
        """Have boards that Redis has lost made anew; return how many are lost."""
        lost = watch_rankings(self._context.engine, self._context.rankings)
        with self._context.engine.connect() as connection:
            is_healing = statements.count_unsettled(connection, REBUILD_RANKINGS) > 0
        if lost and not is_healing:
            by = By(actor=OURSELVES, reason=f"Redis has lost boards, {lost} of those looked at")
            number = start_backfill(self._context, REBUILD_RANKINGS, {}, by=by, now=now)
            log.warning("rankings_lost", boards=lost, backfill_id=number)
            self._send(number, 0, 0.0)
        return lost

    def _rest(self, backfill: Backfill, rows: int, took: float) -> float:
        """Return for how many seconds to rest after a chunk."""
        rest = 0.0
        if backfill.error is not None:
            rest = FAILED_SECONDS
        elif backfill.rate_max is not None:
            rest = rows / backfill.rate_max - took
        if is_crowded(self._broker, EVENTS_QUEUE, SWEEPS_QUEUE):
            rest = max(rest, min(took / SHARE_IN_A_CROWD - took, REST_SECONDS_MAX))
        return max(0.0, rest)

    def _send(self, backfill_id: int, step: int, rest: float) -> None:
        if rest:
            with self._context.engine.begin() as connection:
                due_at = utc_now() + timedelta(seconds=rest)
                statements.put_next_at(connection, backfill_id, due_at)
        if rest > DELAY_SECONDS_MAX:
            return  # the tick sends it when it is due
        self._broker.get_actor(RUN_ACTOR).send_with_options(
            args=(backfill_id, step), delay=round(rest * 1000) or None
        )

    def _read_done(self, backfill_id: int) -> int:
        with self._context.engine.connect() as connection:
            backfill = statements.read_backfill(connection, backfill_id)
        return 0 if backfill is None else backfill.done


def put_back_on(broker: Broker) -> Callable[[bytes], None]:
    """Return what puts a message that died back on its queue, with all its retries before it."""

    def put_back(body: bytes) -> None:
        message: Message[object] = Message.decode(body)
        broker.enqueue(message.copy(options={"retries": 0}))

    return put_back
