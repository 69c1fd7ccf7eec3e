"""The history of the tables, as Alembic revisions, and the way to the newest one."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

LOCK_MILLISECONDS_MAX = 5_000
"""A statement that waits for a table lets everyone wait behind it."""
_BRIEFLY = text("set lock_timeout = 200")
# Held until the connection ends, so that processes which start together migrate once.
_ALONE = text("select pg_advisory_lock(24228, 0)")
_LIMITS = text(f"set lock_timeout = {LOCK_MILLISECONDS_MAX}; set statement_timeout = 0")
_HERE = str(Path(__file__).parent)


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to a revision, each in a transaction of its own; nothing to do is fine.

    Two processes that do it at once wait for each other. What it needs a table for itself for waits
    for it a short time, for all others wait behind: where that is not enough it raises what
    SQLAlchemy raises, what was done stays, and the next call goes on from there.
    """
    with engine.connect() as connection:
        try:
            _wait_alone(connection)
            connection.execute(_LIMITS)
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        finally:
            connection.invalidate()  # its limits are others now; the lock goes with it


def current_revision(connection: Connection) -> str | None:
    """Return the revision that the database is at, None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str | None:
    """Return the revision that this version of the code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _wait_alone(connection: Connection) -> None:
    """Wait until no other process migrates.

    It waits in short turns: who waits has a transaction open, and an index that the other process
    builds beside everyone waits for its end. Both would wait for ever.
    """
    connection.execute(_BRIEFLY)
    connection.commit()
    while True:
        try:
            connection.execute(_ALONE)
            return
        except OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, LockNotAvailable):
                raise


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", _HERE)
    return config
