"""What happens to a message that failed: tried again, or kept where an operator finds it.

Dramatiq's own retry middleware acknowledges a message even when its retry could not be enqueued,
and it is lost without a trace. Here a message leaves its queue only for another place: its retry
is on the queue, or it is in Postgres as dead, or, where neither can be reached, it is rejected and
`recovery` brings it back. An outage is no reason to give up: it is waited for, however long (one
of Postgres mostly by `worker.holding`, before a message is tried).
"""

from __future__ import annotations

from hashlib import blake2b

import structlog
from dramatiq import Broker, Message, MessageProxy, Middleware
from sqlalchemy import Engine

from models.statements.messages import NO_ACTOR, DeadMessage, add_dead_message
from streakline.fields import shown
from worker.outages import is_outage

RETRIES_MAX = 8
"""With the delays below a message is tried for about two minutes before it is given up."""
DELAY_MILLISECONDS_MIN = 1_000
DELAY_MILLISECONDS_MAX = 60_000
OUTAGE_DELAY_MILLISECONDS_MAX = 10_000
"""What waited for a server is done this soon after it is back, and it is asked no more often."""
DOUBLINGS_MAX = 16
"""Beyond the longest delay; in an outage of days there are thousands of retries."""
ERROR_CHARACTERS_MAX = 4_000
BODY_BYTES_MAX = 64 * 1024 * 1024
"""Of what is too large to be a message, the beginning is kept."""

log = structlog.get_logger(__name__)


class MalformedMessage(Exception):
    """A message is not what its actor takes; no retry can help."""


class UnknownActor(MalformedMessage):
    """A message is for an actor that there is not here: a newer release may have it."""

    def __init__(self, actor_name: str) -> None:
        super().__init__(f"there is no actor {shown(actor_name)}; does another release send it?")
        self.actor_name = actor_name


class RetryOrKeep(Middleware):
    """Tries a failed message again with growing delays, and keeps it in Postgres after that."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @staticmethod
    def of(broker: Broker) -> RetryOrKeep:
        """Return the one that a broker has."""
        return next(one for one in broker.middleware if isinstance(one, RetryOrKeep))

    def set_aside(self, queue: str, body: bytes, error: MalformedMessage) -> None:
        """Keep what is no message of ours, as it came. Raises what SQLAlchemy raises.

        One for an actor that is unknown here is put back by a process that has it
        (`worker.recovery`).
        """
        # Named by its content: whatever it says of itself may be said of another one, too.
        message_id = blake2b(body, digest_size=16).hexdigest()
        self._add(
            DeadMessage(
                message_id=message_id,
                queue=queue,
                actor=error.actor_name if isinstance(error, UnknownActor) else NO_ACTOR,
                body=body[:BODY_BYTES_MAX],
                error=_shown(error),
            )
        )
        log.error("message_malformed", message_id=message_id, queue=queue, error=_shown(error))

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002 - the signature is Dramatiq's
        exception: BaseException | None = None,
    ) -> None:
        """Settle a message that failed before Dramatiq acknowledges it."""
        if exception is None:
            return
        retries = message.options.get("retries", 0)
        try:
            if self._is_hopeless(exception, retries):
                self._keep(message, exception)
            else:
                _retry(broker, message, exception, retries)
        except Exception:
            # Neither place took it: rejected, it stays in the broker for `recovery` to find.
            message.fail()
            log.exception("message_rejected", message_id=message.message_id)

    def _is_hopeless(self, exception: BaseException, retries: int) -> bool:
        if isinstance(exception, MalformedMessage):
            return True
        return retries >= RETRIES_MAX and not is_outage(exception)

    def _keep(self, message: MessageProxy, exception: BaseException) -> None:
        error = _shown(exception)
        self._add(
            DeadMessage(
                message_id=message.message_id,
                queue=message.queue_name,
                actor=message.actor_name,
                body=message.encode(),
                error=error,
            )
        )
        log.error("message_dead", message_id=message.message_id, error=error)

    def _add(self, message: DeadMessage) -> None:
        with self._engine.begin() as connection:
            add_dead_message(connection, message)


def _shown(error: BaseException) -> str:
    """Return an error as a column can hold it."""
    text = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
    return text.replace("\x00", "").encode(errors="backslashreplace").decode()


def delay_milliseconds(retries: int, *, is_outage: bool) -> int:
    """Return how long a message waits that failed, having been tried again so often before."""
    longest = OUTAGE_DELAY_MILLISECONDS_MAX if is_outage else DELAY_MILLISECONDS_MAX
    return min(DELAY_MILLISECONDS_MIN << min(retries, DOUBLINGS_MAX), longest)


def _retry(broker: Broker, message: MessageProxy, exception: BaseException, retries: int) -> None:
    in_outage = is_outage(exception)
    delay = delay_milliseconds(retries, is_outage=in_outage)
    again: Message[object] = message.copy(options={"retries": retries + 1})
    broker.enqueue(again, delay=delay)
    log.warning(
        "message_retried",
        message_id=message.message_id,
        retries=retries + 1,
        delay_milliseconds=delay,
        outage=in_outage,
        error=f"{type(exception).__name__}: {exception}"[:200],
    )
