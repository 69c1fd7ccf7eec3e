"""How long it takes after a fault until all is as before, measured one fault after the other.

Events come all the time. From the ledger follows, for each fault, when the first of those was
applied that were received after it began, and when the last of those that were received before it
ended: then what had waited is gone. The first tick that a sweep answered after it began shows when
a scheduler rang again.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag

from sqlalchemy import Engine, func, select

from models import tables
from tests.chaos.crew import Crew
from tests.chaos.producing import Producers, open_journal
from tests.chaos.run import prepared, wait_until_settled
from tests.chaos.servers import Servers

BEFORE_SECONDS, AFTER_SECONDS = 8.0, 4.0
CUT_SECONDS = 30.0
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault: what is done, and after how many seconds it is over."""

    name: str
    begin: Callable[[Servers, Crew], object]
    seconds: float = 0.0
    end: Callable[[Servers, Crew], object] = lambda _servers, _crew: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Seconds from when a fault began; `fault_seconds` of them it lasted."""

    name: str
    fault_seconds: float
    first_applied: float
    backlog_gone: float
    first_tick: float


def _kill(*names: str) -> Callable[[Servers, Crew], object]:
    def begin(_servers: Servers, crew: Crew) -> None:
        for name in names:
            crew.members[name].end(signal.SIGKILL)

    return begin


def _cut(link: str) -> Case:
    return Case(
        name=f"network to {link.capitalize()} cut for {CUT_SECONDS:.0f} s",
        begin=lambda servers, _: servers.proxies[link].cut(refusing=True),
        seconds=CUT_SECONDS,
        end=lambda servers, _: servers.proxies[link].heal(),
    )


CASES = (
    Case(name="one of two workers killed", begin=_kill("worker.1")),
    Case(name="both workers killed", begin=_kill("worker.1", "worker.2")),
    Case(name="both schedulers killed", begin=_kill("scheduler.1", "scheduler.2")),
    Case(name="Postgres killed and started", begin=lambda servers, _: servers.kill_postgres()),
    Case(name="Valkey killed and started", begin=lambda servers, _: servers.kill_valkey()),
    _cut("postgres"),
    _cut("valkey"),
)


def measure(directory: Path, cases: Sequence[Case] = CASES) -> Iterator[Recovery]:
    """Yield what each fault came to, on servers and processes that all cases share."""
    directory.mkdir(parents=True)
    with prepared(directory) as (servers, crew, engine):
        for number, case in enumerate(cases):
            yield _measure(case, number, directory, servers, crew, engine)


def _measure(
    case: Case, number: int, directory: Path, servers: Servers, crew: Crew, engine: Engine
) -> Recovery:
    pause = Flag()
    journal = open_journal(directory / f"accepted-{number}.jsonl")
    seconds = BEFORE_SECONDS + case.seconds + AFTER_SECONDS
    producers = Producers(
        servers.environment(), journal, SEED + number, seconds, prefix=f"case-{number}-"
    )
    producers.start()
    pause.wait(BEFORE_SECONDS)
    began = datetime.now(UTC)
    case.begin(servers, crew)
    pause.wait(case.seconds)
    case.end(servers, crew)
    ended = datetime.now(UTC)
    producers.finish()
    wait_until_settled(servers, engine)
    events, ticks = tables.events.c, tables.tick_runs.c
    asked = (
        select(func.min(events.applied_at)).where(events.received_at > began),
        select(func.max(events.applied_at)).where(events.received_at <= ended),
        select(func.min(ticks.ran_at)).where(ticks.ran_at > began, ticks.slot > began),
    )
    with engine.connect() as connection:
        first, last, tick = (connection.execute(one).scalar_one() for one in asked)
    return Recovery(
        name=case.name,
        fault_seconds=(ended - began) / timedelta(seconds=1),
        first_applied=(first - began) / timedelta(seconds=1),
        backlog_gone=(max(last, began) - began) / timedelta(seconds=1),
        first_tick=(tick - began) / timedelta(seconds=1),
    )


def as_table(found: Sequence[Recovery]) -> str:
    """Return the figures as a table of Markdown."""
    lines = [
        "| fault | it lasted | first event applied after | backlog gone after | first tick after |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.name} | {one.fault_seconds:.1f} s | {one.first_applied:.1f} s"
        f" | {one.backlog_gone:.1f} s | {one.first_tick:.1f} s |"
        for one in found
    ]
    return "\n".join(lines) + "\n"
