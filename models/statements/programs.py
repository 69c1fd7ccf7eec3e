"""The versions of the program."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, text

from models.tables import programs

_VERSION = select(func.coalesce(func.max(programs.c.version), 0))
_ALL = select(programs).order_by(programs.c.version)
_LOCK = text("lock table programs in access exclusive mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProgram:
    """A version of the program as it was applied: its text, and its canonical JSON."""

    version: int
    toml: str
    canonical: str
    applied_at: datetime


def read_first_applied(connection: Connection) -> datetime | None:
    """Return when the first version was applied; None before."""
    found: datetime | None = connection.execute(select(func.min(programs.c.applied_at))).scalar()
    return found


def read_version(connection: Connection) -> int:
    """Return the version in force, 0 before any program was applied."""
    version: int = connection.execute(_VERSION).scalar_one()
    return version


def read_programs(connection: Connection) -> list[StoredProgram]:
    """Return all versions, oldest first."""
    return [StoredProgram(**row) for row in connection.execute(_ALL).mappings()]


def lock_programs(connection: Connection) -> None:
    """Wait for the batches under way, which all read the version, and keep new ones waiting."""
    connection.execute(_LOCK)


def add_program(connection: Connection, program: StoredProgram) -> None:
    """Add a version."""
    connection.execute(
        insert(programs).values(
            version=program.version,
            toml=program.toml,
            canonical=program.canonical,
            applied_at=program.applied_at,
        )
    )
