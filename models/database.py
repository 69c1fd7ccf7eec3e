"""How we talk to Postgres: one kind of engine, with its limits set on purpose."""

from __future__ import annotations

import msgspec
from sqlalchemy import Engine, create_engine

CONNECT_SECONDS_MAX = 5
STATEMENT_MILLISECONDS_MAX = 60_000
LOCK_MILLISECONDS_MAX = 30_000
IDLE_IN_TRANSACTION_MILLISECONDS_MAX = 60_000
"""A process that hangs in a transaction holds locks, and keeps vacuum from the outbox."""


def open_engine(url: str, *, connections_max: int = 5, application: str = "streakline") -> Engine:
    """Return an engine that connects when first used; `application` names it in pg_stat_activity.

    A connection that the server closed is replaced when it is taken from the pool.
    """
    limits = {
        "statement_timeout": STATEMENT_MILLISECONDS_MAX,
        "lock_timeout": LOCK_MILLISECONDS_MAX,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MILLISECONDS_MAX,
        "timezone": "UTC",
        # The statements are small and always the same; compiling them would only cost.
        "jit": "off",
    }
    return create_engine(
        url,
        pool_size=connections_max,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,  # they are somebody's data, and errors are logged
        json_deserializer=msgspec.json.decode,
        connect_args={
            "connect_timeout": CONNECT_SECONDS_MAX,
            "application_name": application,
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
        },
    )
