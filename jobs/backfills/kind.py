"""What a kind of backfill is: how to read its parameters, how to count, how to do a chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from jobs.backfills.changes import Changes
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.statements.backfills import Backfill
from streakline.errors import StreaklineError


class NotPossible(StreaklineError, ValueError):
    """A backfill cannot be had or changed as asked; the message says why, and what can be done."""


class Hopeless(StreaklineError):
    """A chunk failed in a way that no retry can cure; the message says what to do."""


def _ask_nobody(question: str, **_parameters: Any) -> Any:
    raise Hopeless(f"there is no warehouse here of which to ask {question!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What kinds work with. `put_back` puts a message, as the broker carried it, on its queue.

    `find_secret` returns what stands under a name where secrets are, None where there is none:
    parameters are kept and shown, so they name a secret instead of holding it. `ask_warehouse` asks
    whoever has the warehouse, by the name of a question and its parameters, for what JSON holds.
    """

    engine: Engine
    rulebooks: Rulebooks
    rankings: Rankings
    put_back: Callable[[bytes], None]
    find_secret: Callable[[str], str | None] = lambda _: None
    ask_warehouse: Callable[..., Any] = _ask_nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What was done: so many rows, and where to go on; a cursor of None is the end.

    `total` corrects how many rows there are in all, where that became known. `restarts` takes back
    what is done so far: it begins anew.
    """

    rows: int
    cursor: Mapping[str, Any] | None
    total: int | None = None
    restarts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A chunk to be done, in the transaction that commits where the next one begins.

    Not more than `rows_max` rows. `changes` takes what it changes.
    """

    context: Context
    connection: Connection
    backfill: Backfill
    rows_max: int
    now: datetime
    changes: Changes

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the backfill was started with."""
        return self.backfill.parameters

    @property
    def cursor(self) -> Mapping[str, Any]:
        """Where it begins; empty at the beginning."""
        return self.backfill.cursor or {}

    @contextmanager
    def effects(self) -> Iterator[None]:
        """Do what is inside; in a dry run it is taken back at the end, locks included (S72)."""
        savepoint = self.connection.begin_nested()
        try:
            yield
        except BaseException:
            savepoint.rollback()
            raise
        if self.backfill.dry_run:
            savepoint.rollback()
        else:
            savepoint.commit()


class Kind(Protocol):
    """A kind of backfill. One that may run anywhere, any number of times, beside live traffic."""

    @property
    def name(self) -> str:
        """What operators call it."""

    @property
    def unit(self) -> str:
        """What its rows are, in the plural."""

    @property
    def rows_max(self) -> int:
        """Rows of a chunk at the most: about a second's work."""

    def read(self, context: Context, parameters: Mapping[str, Any], /) -> dict[str, Any]:
        """Return the parameters, checked and complete. Raises NotPossible."""

    def count(self, context: Context, parameters: Mapping[str, Any], /) -> int | None:
        """Return how many rows there are about, None where that is not known."""

    def run(self, work: Work, /) -> Chunk:
        """Do a chunk. Raises Hopeless, and what the servers' clients raise."""

    def forget(self, connection: Connection, backfill: Backfill, /) -> None:
        """Clear away what a backfill that has ended or was cancelled holds beside its row."""


def only(parameters: Mapping[str, Any], *names: str) -> None:
    """Refuse a parameter that there is not. Raises NotPossible."""
    unknown = sorted(set(parameters) - set(names))
    if unknown:
        known = ", ".join(names) or "none"
        raise NotPossible(f"there is no parameter {unknown[0]!r}; there are: {known}")
