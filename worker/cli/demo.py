"""`demo`: the main job on a real history, from nothing to a leaderboard, and then it is gone.

It runs what `up` runs, on embedded servers in a temporary home: a repository's commits become
events, two workers apply them, and what came of it is printed. A history of some hundred commits
says little about speed, so a burst of generated events follows, whose rate is told apart.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jobs.apply_program import apply_program
from jobs.import_events import import_events
from jobs.show_leaderboard import Source, Wanted, show_leaderboard
from jobs.show_user import show_user
from models.migrations import upgrade
from models.program import read_program
from models.sources import Format, count_rows, read_events, read_users
from streakline import Client, Event
from streakline.contract import decimal_text
from worker.cli.console import NO, err, fail, load_settings, out
from worker.cli.events import open_transport, tell_users
from worker.cli.leaderboards import standings_table
from worker.cli.servers import PROCFILE, WORKERS
from worker.clock import utc_now
from worker.processes import Supervisor, read_procfile
from worker.runtime import Runtime, open_runtime
from worker.settings import Settings
from worker.status import read_status

PROGRAM = Path(__file__).with_name("demo.toml")
BURST_EVENTS = 20_000
BURST_USERS = 1_000
BURST_METRIC = "pings"
FINISHED_SECONDS_MAX = 240.0
POLL_SECONDS = 0.05
USERS_SHOWN = 5


def demo(
    git: Annotated[
        Path, typer.Option(help="The repository whose history becomes events.")
    ] = Path(),
    burst: Annotated[int, typer.Option(min=0, help="Generated events after it.")] = BURST_EVENTS,
) -> None:
    """A bounded run on a repository's history: streaks, a leaderboard, and how fast it went."""
    count_rows(git)  # before anything is started for it
    with TemporaryDirectory(prefix="streakline-demo-") as home:
        settings = _settings(Path(home))
        with open_runtime(settings) as runtime, _progress() as progress:
            upgrade(runtime.engine)
            program = read_program(PROGRAM)
            apply_program(runtime.engine, program, PROGRAM.read_text("utf-8"), utc_now())
            with _processes(runtime):
                history = _import_history(runtime, git, progress)
                generated = _burst(runtime, burst, progress) if burst else None
                _print(runtime, git, history, generated)


def _settings(home: Path) -> Settings:
    """Return settings that touch nothing but a home of our own, whatever the environment says."""
    urls = ("database_url", "redis_url", "broker_url", "clickhouse_url", "clickhouse_cluster")
    servers = dict.fromkeys(urls)
    return load_settings(process="demo").model_copy(
        update={**servers, "home": home, "program": PROGRAM}
    )


@contextmanager
def _processes(runtime: Runtime) -> Iterator[None]:
    """Run the processes of the Procfile meanwhile."""
    supervisor = Supervisor(
        read_procfile(PROCFILE),
        environment=os.environ
        | runtime.addresses.environment()
        | {"STREAKLINE_HOME": str(runtime.settings.home)},
        counts={"worker": WORKERS},
    )
    thread = Thread(target=supervisor.run, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join()


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, transient=True)


def _finish(runtime: Runtime, events: int, before: int, progress: Progress, name: str) -> float:
    """Wait until `events` more than `before` are applied and projected; return events a second.

    The clock starts when the first of them is applied, so that starting processes is not counted.
    """
    task = progress.add_task(name, total=events)
    deadline = time.monotonic() + FINISHED_SECONDS_MAX
    began, counted = time.monotonic(), 0
    while True:
        found = read_status(runtime)
        done = found["applied_events"] + found["duplicate_events"] - before
        if not counted and done:
            began, counted = time.monotonic(), done
        progress.update(task, completed=done)
        if done >= events and not found["waiting_events"] and not found["rankings"]["waiting"]:
            elapsed = time.monotonic() - began
            # All may have been applied between two looks; then there is no rate to tell.
            return (done - counted) / elapsed if done > counted else 0.0
        if time.monotonic() > deadline:
            fail(f"{name}: {done} of {events} events after {FINISHED_SECONDS_MAX:g} s", NO)
        time.sleep(POLL_SECONDS)


def _import_history(runtime: Runtime, git: Path, progress: Progress) -> float:
    """Import the history of a repository and return at how many events a second it was applied."""
    with closing(open_transport(runtime)) as transport:
        report = import_events(
            read_users(git, Format.GIT),
            read_events(git, Format.GIT),
            lambda lines: tell_users(runtime, lines),
            transport,
            utc_now(),
        )
    if not report.events_sent:
        fail(f"{git} has no commits; name a repository with --git", NO)
    return _finish(runtime, report.events_sent, 0, progress, "commits")


def _burst(runtime: Runtime, events: int, progress: Progress) -> float:
    """Send generated events and return at how many a second they were applied and projected."""
    before = read_status(runtime)["applied_events"]
    with Client(runtime.addresses.broker_url, namespace=runtime.settings.namespace) as client:
        client.track_many(
            Event(user_id=f"pinger-{number % BURST_USERS}", metric=BURST_METRIC, key=str(number))
            for number in range(events)
        )
    return _finish(runtime, events, before, progress, "generated events")


def _print(runtime: Runtime, git: Path, history: float, generated: float | None) -> None:
    page = show_leaderboard(
        runtime.engine,
        runtime.rankings,
        Wanted(leaderboard="commits", limit=USERS_SHOWN),
        Source.REDIS,
        utc_now(),
    )
    out.print(f"\nThe history of {git.resolve().name}, as streaks and points\n")
    out.print(_streaks(runtime, [one.user_id for one in page.standings]))
    out.print(standings_table(page))
    status = read_status(runtime)
    out.print(f"{status['applied_events']} events applied, {status['rejected_events']} set aside")
    if history:
        out.print(f"history: {history:,.0f} events/s applied and ranked")
    if generated:
        out.print(f"generated events: {generated:,.0f} events/s applied and ranked")
    out.print("Next: make up, and docs/getting-started.md")


def _streaks(runtime: Runtime, user_ids: list[str]) -> Table:
    table = Table(title="streaks of days with a commit")
    for heading in ("user", "zone", "now", "longest", "from", "XP", "level"):
        table.add_column(
            heading, justify="right" if heading in {"now", "longest", "XP"} else "left"
        )
    for user_id in user_ids:
        user = show_user(runtime.engine, runtime.rankings, user_id, utc_now())
        if user is not None:
            table.add_row(*_streak_row(user))
    return table


def _streak_row(user: dict[str, Any]) -> list[str]:
    streak, points = user["streaks"]["daily"], user["points"]["xp"]
    longest = max(streak["history"], key=lambda chain: chain["length"])
    return [
        user["user_id"],
        user["tz"],
        str(streak["length"]),
        str(longest["length"]),
        str(longest["start"]),
        decimal_text(points["total"]),
        points["level"]["key"],
    ]
