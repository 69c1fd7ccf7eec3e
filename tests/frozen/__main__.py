"""`python -m tests.frozen NAME`: keep what this version writes, under the name of a release.

All instants are of the past, so that they are so on every clock.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from dramatiq import Message
from sqlalchemy import Connection, Table, text

from jobs.apply_program import apply_program
from jobs.change_users import Order, adjust_points, pause_streaks
from jobs.sweep_streaks import sweep_streaks
from models import tables
from models.migrations import current_revision, upgrade
from models.program import load_program
from streakline import Event
from streakline.contract import UserFields
from streakline.messages import events_message, imported_message, users_message
from tests.applying import put_events, put_users
from tests.frozen import Frozen
from tests.frozen.becoming import read_becomes, read_outcomes, work_off
from tests.servers import temporary_home
from worker.runtime import Runtime, open_runtime
from worker.schedule import SWEEPS_QUEUE, TICKS
from worker.settings import Settings
from worker.sweeps import HELP_SWEEP_ACTOR

PROGRAM = Path(__file__).with_name("program.toml")
BEGAN = datetime(2025, 3, 3, 9, tzinfo=UTC)
KEPT = (
    tables.programs,
    tables.users,
    tables.checkpoints,
    tables.user_facts,
    tables.user_fields,
    tables.events,
    tables.rejected_events,
    tables.event_counts,
    tables.streak_chains,
    tables.point_entries,
    tables.achievements,
    tables.notices,
    tables.runs,
    tables.run_scores,
)
NOT_KEPT = {"txid"}
"""Numbers of transactions of another server."""


def freeze(release: str) -> Frozen:
    """Let this version write rows and messages, and apply the messages to see what they become."""
    with temporary_home() as home, open_runtime(Settings(home=home)) as runtime:
        upgrade(runtime.engine)
        _fill(runtime)
        with runtime.engine.connect() as connection:
            revision = str(current_revision(connection))
            rows = {table.name: _read(connection, table) for table in KEPT}
        messages = [
            {"queue": message.queue_name, "body": message.encode().decode()}
            for message in (*_events(), *_ticks(runtime))
        ]
        work_off(runtime, messages)
        return Frozen(
            release=release,
            revision=revision,
            tables={name: found for name, found in rows.items() if found},
            messages=messages,
            becomes=read_becomes(runtime),
            counts=read_outcomes(runtime),
        )


def _fill(runtime: Runtime) -> None:
    """Have users with all kinds of facts, and time that has passed for them."""
    engine, rulebooks = runtime.engine, runtime.rulebooks
    toml = PROGRAM.read_text("utf-8")
    apply_program(engine, load_program(toml, source=PROGRAM.name), toml, BEGAN)
    told = [{"user_id": "aoi", "tz": "Asia/Tokyo", "attributes": {"country": "JP"}}]
    seen_at = BEGAN + timedelta(days=8)
    put_users(engine, told, now=BEGAN, imported=False)
    put_events(engine, [_event(day).to_json() for day in (*range(4), 7)], now=seen_at)
    put_events(engine, [_event(5).to_json()], now=seen_at)  # late
    put_events(engine, [_event(5, value=2).to_json()], now=seen_at)  # a conflict
    some = ((day, n) for day, count in ((0, 100), (1, 60)) for n in range(count))
    many = [_event(day, user_id="bo", key=f"{day}-{n}").to_json() for day, n in some]
    put_events(engine, many, now=seen_at)
    put_events(engine, [_event(1, metric="naps").to_json()], now=seen_at)  # not in the program
    order = Order(actor="ops", reason="a gift", given_at=seen_at)
    adjust_points(engine, rulebooks, ["aoi"], "xp", Decimal(5), order)
    first, last = (date(2025, 3, 12), date(2025, 3, 13))
    pause_streaks(engine, rulebooks, ["aoi"], first, last, order)
    sum(sweep_streaks(engine, rulebooks, BEGAN + timedelta(days=30)))


def _events() -> Iterator[Message[Any]]:
    """Yield messages as clients send them."""
    at = BEGAN + timedelta(days=40)
    new = [_event(39), _event(40), _event(39, user_id="cy", user=UserFields(tz="Europe/Paris"))]
    yield events_message([*new, _event(3)], at)  # the last one is applied already
    rich = _event(40, metric="minutes", value="12.5", attributes={"language": "fr"})
    yield events_message([rich, Event(user_id="cy", metric="lessons", key="no time")], at)
    yield imported_message([_event(-400, user_id="di")], at)
    yield users_message([{"user_id": "cy", "name": "Cy", "attributes": {"country": "FR"}}], at)


def _ticks(runtime: Runtime) -> Iterator[Message[Any]]:
    """Yield what schedulers and workers send to each other; it is too old to be acted on."""
    slot = BEGAN.isoformat()
    for tick in TICKS:
        if tick.queue == SWEEPS_QUEUE:
            yield runtime.broker.get_actor(tick.actor_name).message(slot)
    yield runtime.broker.get_actor(HELP_SWEEP_ACTOR).message(slot)


def _event(day: int, **fields: Any) -> Event:
    told = {"user_id": "aoi", "metric": "lessons", "key": f"day {day}"} | fields
    return Event(occurred_at=BEGAN + timedelta(days=day), **told)


def _read(connection: Connection, table: Table) -> list[dict[str, Any]]:
    columns = [column.name for column in table.columns if column.name not in NOT_KEPT]
    order = ", ".join(column.name for column in table.primary_key)
    rows = connection.execute(
        text(
            f"select to_jsonb(one) from (select {', '.join(columns)} from {table.name}"
            f" order by {order}) as one"
        )
    )
    return list(rows.scalars())


if __name__ == "__main__":
    print(freeze(sys.argv[1]).write())  # noqa: T201 - a command's output
