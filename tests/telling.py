"""Telling stories in tests: what happens to an app's users, in the order in which it reaches it.

A `Story` applies what it is told at once and remembers it, so that the same facts can be told again
to another database, in another order and in other batches.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, Table

from jobs import change_users
from jobs.change_users import Order, restore_streak
from jobs.project_rankings import project_rankings
from jobs.recompute_users import recompute_users
from jobs.show_user import show_user
from jobs.verify import Verified, verify_boards, verify_users
from models import tables
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.statements.events import Outcome
from tests.applying import (
    dump_state,
    must_equal,
    put_events,
    put_program,
    put_users,
    read_leaderboard,
    read_standings,
    read_table,
)

IN_FORCE_SINCE = datetime(2025, 11, 1, tzinfo=UTC)
"""Before any story: since then the program has been in force."""
LONG_AFTER = datetime(2027, 2, 2, tzinfo=UTC)
"""After every story: then it is told again."""
BATCH_EVENTS_MAX = 9

Telling = Callable[[Engine], object]


def at(clock: str, tz: str = "UTC") -> datetime:
    """Return the instant at which the clocks of a zone show this."""
    return datetime.fromisoformat(clock).replace(tzinfo=ZoneInfo(tz)).astimezone(UTC)


def dates(first: str, last: str) -> list[date]:
    """Return the dates from one to another, inclusive."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [start + timedelta(days=number) for number in range((end - start).days + 1)]


def lengths(shown: dict[str, Any]) -> dict[str, int]:
    """Return how long each streak is."""
    return {name: streak["length"] for name, streak in shown["streaks"].items()}


def freezes_and_length(shown: dict[str, Any]) -> tuple[int, int]:
    """Return the freezes left and the length of the daily streak."""
    daily = shown["streaks"]["daily"]
    return daily["freezes"], daily["length"]


def chains(shown: dict[str, Any], streak: str) -> list[tuple[str, str, int]]:
    """Return a streak's chains: first and last active period, and how many were active."""
    history = shown["streaks"][streak]["history"]
    return [(f"{one['start']}", f"{one['end']}", one["length"]) for one in history]


def completed(shown: dict[str, Any]) -> dict[str, Any]:
    """Return which achievements are complete, and since when."""
    return {one["key"]: one["completed_at"] for one in shown["achievements"]}


def xp(shown: dict[str, Any]) -> Any:
    """Return the balance of points."""
    return shown["points"]["xp"]["total"]


def level(shown: dict[str, Any]) -> Any:
    """Return the key of the level reached."""
    return shown["points"]["xp"]["level"]["key"]


class Story:
    """Tells an app what happens, reads what came of it, and can tell it again."""

    def __init__(
        self, engine: Engine, rankings: Rankings, program: str, patch: pytest.MonkeyPatch
    ) -> None:
        self._engine, self._rankings, self._program = engine, rankings, program
        self._patch = patch
        self._events: list[dict[str, Any]] = []
        self._told: list[Telling] = []
        self._orders: list[Telling] = []
        self._restorations: list[Telling] = []
        put_program(engine, program, now=IN_FORCE_SINCE)

    def meet(self, user: str, when: datetime, tz: str | None = None, **attributes: str) -> None:
        """Tell something about a user, as `client.identify` does."""
        told: dict[str, Any] = {"user_id": user, "attributes": attributes}
        if tz is not None:
            told["tz"] = tz
        tell = partial(put_users, raw=[told], now=when, imported=False)
        self._told.append(tell)
        tell(self._engine)

    def do(
        self,
        user: str,
        metric: str,
        when: datetime,
        value: int = 1,
        *,
        arrives: datetime | None = None,
        **attributes: str,
    ) -> None:
        """Track an event, which arrives at once unless told otherwise, and counts."""
        event = _event(user, metric, when, value, attributes)
        applied = put_events(self._engine, [event], now=arrives or when, imported=False)
        assert applied.outcomes[Outcome.APPLIED] == 1, self._reason(event)
        self._events.append(event)

    def refused(self, user: str, metric: str, when: datetime, value: int = 1) -> str:
        """Track an event that is set aside; return the reason."""
        event = _event(user, metric, when, value, {})
        applied = put_events(self._engine, [event], now=when, imported=False)
        assert applied.outcomes[Outcome.REJECTED] == 1
        return self._reason(event)

    def order(
        self, job: Callable[..., None], users: list[str], *what: object, given_at: datetime
    ) -> None:
        """Let an operator do something to users."""
        order = Order(actor="olga", reason="as the story goes", given_at=given_at)
        fact_id = f"order-{len(self._orders) + len(self._restorations)}"

        def give(engine: Engine) -> None:
            # An order is a new fact each time that it is given; told again, it is the same one.
            self._patch.setattr(change_users, "_new_id", lambda: fact_id)
            job(engine, Rulebooks(), users, *what, order)

        (self._restorations if job is restore_streak else self._orders).append(give)
        give(self._engine)

    def show(self, user: str, now: datetime, as_of: datetime | None = None) -> dict[str, Any]:
        """Read a user; what is stored must read as what the facts alone come to (S26)."""
        shown = show_user(self._engine, self._rankings, user, now, as_of)
        from_facts = show_user(self._engine, self._rankings, user, now, as_of or now)
        assert shown is not None
        assert shown | {"leaderboards": {}} == from_facts
        return shown

    def notices(self, user: str) -> list[tuple[str, str]]:
        """Return what there is to tell a user: kind and cause, in the order of the instants."""
        found = sorted(self._rows(tables.notices, user), key=lambda row: row["at"])
        return [(row["kind"], row["cause"]) for row in found]

    def notice(self, user: str, kind: str, cause: str) -> dict[str, Any]:
        """Return what a notice says."""
        found = {
            (row["kind"], row["cause"]): row["body"] for row in self._rows(tables.notices, user)
        }
        return dict(found[kind, cause])

    def levels(self, user: str) -> list[tuple[datetime, str]]:
        """Return which levels there are to tell a user of, and when each was reached."""
        rows = [row for row in self._rows(tables.notices, user) if row["kind"] == "level"]
        return [(row["at"], row["body"]["level"]) for row in sorted(rows, key=lambda r: r["at"])]

    def last_entry(self, user: str, trigger: str) -> tuple[Any, ...]:
        """Return a trigger's last line in the ledger: amount, base, boosts, what was clipped."""
        rows = self._rows(tables.point_entries, user)
        last = [row for row in rows if row["trigger"] == trigger][-1]
        return last["amount"], last["base"], last["boosts"], last["clipped"]

    def board(self, name: str, run: str = "all", segment: str = "all") -> list[tuple[str, Any]]:
        """Return who stands on a board, as Redis ranks it; Postgres must agree (S44)."""
        project_rankings(self._engine, self._rankings, Rulebooks())
        board = read_leaderboard(self._engine, name, run, segment)
        standings = self._rankings.page(board, limit=100)
        assert standings == read_standings(self._engine, board)
        return [(one.user_id, one.score) for one in standings]

    def must_come_to_the_same(self, other: Engine) -> None:
        """Verify what is stored; tell another database the same facts in another order; recompute.

        What is told about users comes first: it decides for good which date an event has (S1). An
        operator restores what can be seen to be broken, so that comes last.
        """
        self._verify()
        chance = random.Random(20261102)
        events = chance.sample(self._events, len(self._events))
        told: list[Telling] = list(self._orders)
        while events:
            size = chance.randint(1, BATCH_EVENTS_MAX)
            told.append(partial(put_events, raw=events[:size], now=LONG_AFTER, imported=True))
            del events[:size]
        put_program(other, self._program, now=IN_FORCE_SINCE)
        for tell in chance.sample(self._told, len(self._told)):
            tell(other)
        for tell in [*chance.sample(told, len(told)), *self._restorations]:
            tell(other)
        dump = dump_state(self._engine)
        must_equal(dump_state(other), dump)
        everyone = [row["user_id"] for row in read_table(self._engine, tables.users)]
        for engine in (self._engine, other):
            recompute_users(engine, Rulebooks(), everyone, LONG_AFTER)
            must_equal(dump_state(engine), dump)

    def _verify(self) -> None:
        """Let `streakline verify` compare what is stored with its facts, and Redis with it."""
        rulebooks, verified = Rulebooks(), Verified()
        project_rankings(self._engine, self._rankings, rulebooks)
        verify_users(self._engine, rulebooks, verified)
        verify_boards(self._engine, self._rankings, rulebooks, verified)
        assert not verified.samples, verified.samples

    def _rows(self, table: Table, user: str) -> list[dict[str, Any]]:
        return [row for row in read_table(self._engine, table) if row["user_id"] == user]

    def _reason(self, event: dict[str, Any]) -> str:
        rejected = read_table(self._engine, tables.rejected_events)
        return "".join(row["reason"] for row in rejected if row["event"]["key"] == event["key"])


def _event(
    user: str, metric: str, when: datetime, value: int, attributes: dict[str, str]
) -> dict[str, Any]:
    return {
        "user_id": user,
        "metric": metric,
        "key": f"{metric}-{when.isoformat()}",
        "value": value,
        "occurred_at": when.isoformat(),
        "attributes": attributes,
    }
