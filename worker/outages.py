"""Telling an outage, which waiting cures, from a failure that would only repeat itself."""

from __future__ import annotations

import redis
from dramatiq.errors import BrokerConnectionError
from sqlalchemy.exc import DBAPIError

from models.rulebooks import NoProgram

CONNECTION_STATES = ("08", "57P")
"""Classes of SQLSTATE: connection exceptions, and a server that shuts down or starts up."""


def is_outage(error: BaseException) -> bool:
    """Tell whether a server could not be reached, or nobody has applied a program yet."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or _is_connection_state(state)
    return isinstance(
        error,
        (NoProgram, BrokerConnectionError, redis.ConnectionError, redis.TimeoutError),
    )


def _is_connection_state(state: str | None) -> bool:
    # An error without a state never came from a server: the connection failed before.
    return state is None or state.startswith(CONNECTION_STATES)
