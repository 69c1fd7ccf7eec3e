"""What an error means: an outage, which waiting cures, or a failure; and what people can do."""

from __future__ import annotations

import redis
from dramatiq.errors import BrokerConnectionError
from pika.adapters.utils.connection_workflow import (  # type: ignore[import-untyped]  # no types
    AMQPConnectorException,
)
from pika.exceptions import AMQPError  # type: ignore[import-untyped]  # as above
from redis.exceptions import ClusterError, RedisClusterException
from sqlalchemy.exc import DBAPIError, ProgrammingError

from models.program import ProgramError
from models.rulebooks import NoProgram
from models.warehouse.engine import DISTRUSTED, WarehouseFailed, WarehouseUnavailable
from streakline.addresses import without_password
from streakline.errors import StreaklineError

CONNECTION_STATES = ("08", "25006", "53", "55P03", "57P")
"""Beginnings of SQLSTATE: connection exceptions, a server that takes no writes (a replica after a
failover), one whose disk, memory or connections are used up, a lock that another held for long
(whoever folds a million events of a user does), one that shuts down or starts up."""
_RABBITMQ_ERRORS = (BrokerConnectionError, AMQPError, AMQPConnectorException)
_REDIS_OUTAGES = (redis.ConnectionError, redis.TimeoutError, ClusterError, RedisClusterException)
_RABBITMQ_REMEDIES = {
    "Login was refused": "its user or password is wrong",
    "NOT_ALLOWED": "its path names a virtual host that is not there, or not for this user",
    "ACCESS_REFUSED": "its user needs permission to configure, write and read our queues",
    "PRECONDITION_FAILED": "a queue there was made otherwise; delete it once it is empty",
}
"""What RabbitMQ says, and what that says about the URL."""


def is_outage(error: BaseException) -> bool:
    """Tell whether a server could not be reached or used, or nobody has applied a program yet."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or _is_connection_state(state)
    if isinstance(error, WarehouseUnavailable):
        return not isinstance(error, WarehouseFailed)
    return isinstance(error, (NoProgram, *_RABBITMQ_ERRORS, *_REDIS_OUTAGES))


def reason_of(error: Exception) -> str | None:
    """Return what to tell a person about an error that is no bug of ours, without passwords."""
    if isinstance(error, (StreaklineError, ProgramError, NoProgram)):
        return str(error)
    if isinstance(error, DBAPIError) and is_outage(error):
        reason = without_password(str(error.orig)).strip().splitlines()[0]
        authority = "?sslmode=verify-full&sslrootcert=FILE"
        return f"Postgres cannot be used ({reason}); check STREAKLINE_DATABASE_URL" + _trust(
            reason, authority
        )
    if isinstance(error, _RABBITMQ_ERRORS):
        return _rabbitmq_reason(error)
    if isinstance(error, (redis.RedisError, RedisClusterException)):
        return (
            f"Redis does not answer ({error}); check STREAKLINE_REDIS_URL, STREAKLINE_BROKER_URL"
        ) + _trust(str(error), "?ssl_ca_certs=FILE")
    if isinstance(error, ProgrammingError) and "does not exist" in str(error.orig):
        return "the database has no tables of ours, or old ones; run: streakline migrate"
    return None


def _trust(reason: str, authority: str) -> str:
    """Return what more there is to do where a server's certificate was not trusted."""
    if DISTRUSTED not in reason:
        return ""
    return f"; {authority} at its end names the file of the authority to trust"


def _is_connection_state(state: str | None) -> bool:
    # An error without a state never came from a server: the connection failed before.
    return state is None or state.startswith(CONNECTION_STATES)


def _rabbitmq_reason(error: Exception) -> str:
    text = str(error)
    for said, remedy in _RABBITMQ_REMEDIES.items():
        if said in text:
            return f"RabbitMQ refuses ({text}); check STREAKLINE_BROKER_URL: {remedy}"
    return f"RabbitMQ cannot be reached ({text or repr(error)}); check STREAKLINE_BROKER_URL"
