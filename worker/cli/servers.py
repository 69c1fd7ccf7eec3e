"""`up`, `worker`, `scheduler`, `migrate`: what runs, and the tables it runs on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from models.migrations import current_revision, upgrade
from models.program import read_program
from models.warehouse.engine import WarehouseTaken, WarehouseUnavailable
from streakline.contract import EVENTS_QUEUE
from worker.cli.console import Json, fail, load_settings, open_console_runtime, out, print_json
from worker.cli.programs import apply_file
from worker.processes import Supervisor, read_procfile
from worker.runtime import Runtime, open_runtime
from worker.schedule import ANALYTICS_QUEUE, BACKFILLS_QUEUE, EMAILS_QUEUE, SWEEPS_QUEUE
from worker.serving import run_scheduler, run_web, run_worker

QUEUES = (EVENTS_QUEUE, SWEEPS_QUEUE, ANALYTICS_QUEUE, EMAILS_QUEUE, BACKFILLS_QUEUE)
THREADS = 64
"""Messages of one event are applied together with those of other threads."""
CONNECTIONS_MAX = 4
"""A worker applies a batch at a time and projects beside it, and may write a dead message, too."""
WORKERS = 2
MONITOR_PORT = "STREAKLINE_MONITOR_PORT"

PROCFILE = next(
    (
        path
        for path in (
            Path(__file__).parents[1] / "Procfile",  # in an installed wheel
            Path(__file__).parents[2] / "Procfile",
        )
        if path.exists()
    ),
    Path("Procfile"),
)


def up(
    workers: Annotated[int, typer.Option(min=1, help="How many worker processes.")] = WORKERS,
    procfile: Annotated[Path, typer.Option(help="Which processes to run.")] = PROCFILE,
) -> None:
    """Servers as needed, tables, program, and the Procfile's processes, until Ctrl-C."""
    settings = load_settings(process="up")
    commands = read_procfile(procfile)
    with open_runtime(settings) as runtime:
        prepare(runtime)
        supervisor = Supervisor(
            commands,
            environment=os.environ | runtime.addresses.environment(),
            counts={"worker": workers},
            ports=(MONITOR_PORT, settings.monitor_port) if settings.monitor_port else None,
        )
        _stop_on_signals(supervisor)
        supervisor.run()


def prepare(runtime: Runtime) -> None:
    """Bring the tables up to date, and the program into force where its file is there."""
    upgrade(runtime.engine)
    path = runtime.settings.program
    if not path.exists():
        out.print(
            f"There is no {path}: what was applied before stays in force. Without a program, "
            "events wait for one: streakline program apply FILE",
            soft_wrap=True,
        )
    else:
        program = read_program(path)
        changes, version, is_new = apply_file(runtime, program, path)
        state = f"now in force, {len(changes)} changes" if is_new else "in force"
        out.print(
            f"{path}: {program.app.name}, version {version}, {state}",
            soft_wrap=True,
        )


def worker(
    queues: Annotated[
        str, typer.Option(help=f"Which queues, by commas: {', '.join(QUEUES)}.")
    ] = EVENTS_QUEUE,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Messages at once.")] = THREADS,
) -> None:
    """Process messages until told to stop."""
    names = [name.strip() for name in queues.split(",") if name.strip()]
    unknown = sorted(set(names) - set(QUEUES))
    if unknown or not names:
        fail(f"there is no queue {', '.join(unknown) or queues!r}; there are {', '.join(QUEUES)}")
    with open_console_runtime(
        connections_max=CONNECTIONS_MAX, threads=threads, process="worker"
    ) as runtime:
        run_worker(runtime, names, threads)


def scheduler() -> None:
    """Ring the ticks until told to stop; several do no harm."""
    with open_console_runtime(process="scheduler") as runtime:
        run_scheduler(runtime)


def web(
    host: Annotated[str | None, typer.Option(help="Without it, STREAKLINE_WEB_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Without it, STREAKLINE_WEB_PORT.")
    ] = None,
) -> None:
    """Answer the links that unsubscribe until told to stop."""
    with open_console_runtime(process="web") as runtime:
        run_web(runtime, host or runtime.settings.web_host, port or runtime.settings.web_port)


def migrate(as_json: Json = False) -> None:
    """Bring the tables to what this version needs, those of the warehouse too."""
    with open_console_runtime() as runtime:
        upgrade(runtime.engine)
        with runtime.engine.connect() as connection:
            revision = current_revision(connection)
        try:
            warehouse = f"ClickHouse {runtime.warehouse.open()}"
        except WarehouseTaken:
            warehouse = "open in the process that loads it, which has seen to its tables"
        except WarehouseUnavailable as error:
            fail(f"the tables are at revision {revision}, but the warehouse: {error}")
    if as_json:
        print_json({"revision": revision, "warehouse": warehouse})
    else:
        out.print(f"The tables are at revision {revision}. Warehouse: {warehouse}")


def _stop_on_signals(supervisor: Supervisor) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
