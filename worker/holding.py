"""A worker holds its messages while Postgres is away, instead of failing one after the other.

Each message of an outage would fail several times (`worker.retries`), come back after a pause, and
out of order: users whose events were overtaken are folded anew. Here the first ones that fail tell
of the outage, and those that follow wait where they are, in order, until Postgres answers. What a
question does not tell (a server that answers and takes no writes) is left to the retries.
"""

from __future__ import annotations

import time
from threading import Event, Lock

import structlog
from dramatiq import Broker, MessageProxy, Middleware, Worker
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from worker.outages import is_outage

ASK_SECONDS = 1.0
HELD_SECONDS_MAX = 300.0
"""After that a message fails, is put back and held again: RabbitMQ takes what is not acknowledged
within half an hour from a consumer, with all that it has beside."""

log = structlog.get_logger(__name__)


class HoldInOutage(Middleware):
    """Lets messages wait in their threads until Postgres answers, or the worker is to stop.

    They are this worker's meanwhile, as those that it runs. Told to stop, it lets them fail.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_away = False
        self._asking = Lock()
        self._stopping = Event()

    def before_process_message(
        self,
        broker: Broker,  # noqa: ARG002 - the signature is Dramatiq's
        message: MessageProxy,  # noqa: ARG002 - as above
    ) -> None:
        """Wait while Postgres is away."""
        if not self._is_away:
            return
        began = time.monotonic()
        # One thread asks for all.
        with self._asking:
            while self._is_away and not self._stopping.is_set():
                held_seconds = time.monotonic() - began
                if self._answers():
                    self._is_away = False
                    log.info("messages_released", seconds=round(held_seconds, 1))
                elif held_seconds > HELD_SECONDS_MAX:
                    return
                else:
                    self._stopping.wait(ASK_SECONDS)

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002 - as above
        message: MessageProxy,  # noqa: ARG002 - as above
        *,
        result: object = None,  # noqa: ARG002 - as above
        exception: BaseException | None = None,
    ) -> None:
        """Look whether a message failed because Postgres is away."""
        if isinstance(exception, DBAPIError) and is_outage(exception):
            self._is_away = True

    def before_worker_shutdown(
        self,
        broker: Broker,  # noqa: ARG002 - as above
        worker: Worker,  # noqa: ARG002 - as above
    ) -> None:
        """Hold nothing any more."""
        self._stopping.set()

    def _answers(self) -> bool:
        try:
            # One of the pool is asked whether it still answers before it is given out.
            with self._engine.connect():
                return True
        except DBAPIError:
            return False
