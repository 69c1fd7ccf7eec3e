"""`status`, `drain`: how far everything is, and waiting until all of it is done."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from worker.cli.console import NO, Json, err, fail, open_console_runtime, out, print_json, when
from worker.status import read_queue, read_status

POLL_SECONDS = 0.1
DRAIN_SECONDS = 300.0


def status(as_json: Json = False) -> None:
    """Queues, lag of each projection, what was set aside or given up, next ticks."""
    with open_console_runtime() as runtime:
        found = read_status(runtime) | {"queue": read_queue(runtime)}
    if as_json:
        print_json(found)
        return
    table = Table(show_header=False, box=None)
    for name, value in _lines(found):
        table.add_row(name, str(value))
    out.print(table)


def drain(
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = DRAIN_SECONDS,
    as_json: Json = False,
) -> None:
    """Wait until everything accepted is applied, projected and loaded; exit 1 if not in time."""
    deadline = time.monotonic() + timeout
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        open_console_runtime() as runtime,
        Progress(*columns, console=err, transient=True, disable=as_json) as bar,
    ):
        found = read_status(runtime)
        total = _left(found)
        task = bar.add_task("draining", total=total or 1)
        while _left(found) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            found = read_status(runtime)
            total = max(total, _left(found))
            bar.update(task, total=total, completed=total - _left(found))
    if as_json:
        print_json(found)
    if _left(found):
        fail(
            f"after {timeout:g} s {found['waiting_events']} events still wait to be applied, "
            f"{found['rankings']['waiting']} batches to be projected and {_unloaded(found)} rows "
            "to be loaded; are workers running?",
            NO,
        )


def _left(found: dict[str, Any]) -> int:
    return int(found["waiting_events"]) + int(found["rankings"]["waiting"]) + _unloaded(found)


def _unloaded(found: dict[str, Any]) -> int:
    return int(found["warehouse"]["waiting_events"]) + int(found["warehouse"]["waiting_rows"])


def _warehouse(found: dict[str, Any]) -> str:
    waiting = f"{found['waiting_events']} events, {found['waiting_rows']} other rows"
    if found["error"] is None:
        return waiting
    return f"{waiting}; failing since {when(found['failing_since'])}: {found['error']}"


def _queue(found: dict[str, Any]) -> list[tuple[str, object]]:
    """Return the lines about the pace, where much waits, and about the room that is left."""
    lines: list[tuple[str, object]] = []
    if found["handled_per_second"] is not None:
        lines.append(("events handled", f"{found['handled_per_second']:,.0f}/s"))
        lines.append(("events arriving", f"{found['arriving_per_second']:,.0f}/s"))
        lines.append(("time left", _time_left(found)))
    if found["memory_bytes"] is not None:
        most = found["memory_bytes_max"]
        limit = f"of {most / 1e6:,.0f} MB" if most else "without a limit: set maxmemory"
        lines.append(("the broker's memory", f"{found['memory_bytes'] / 1e6:,.0f} MB {limit}"))
    return lines


def _time_left(found: dict[str, Any]) -> str:
    if not found["handled_per_second"]:
        return "nothing is handled: are workers running?"
    if found["seconds_left"] is None:
        return "producers outrun workers: start more workers, or let less come"
    return f"{timedelta(seconds=round(found['seconds_left']))}, as things go"


def _emails(found: dict[str, Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in found.items() if count) or "none"


def _lines(found: dict[str, Any]) -> list[tuple[str, object]]:
    ticks = [
        (f"tick {tick['name']}", f"last {when(tick['last'])}, next {when(tick['next'])}")
        for tick in found["ticks"]
    ]
    backfills = [
        (
            f"backfill {one['id']}",
            f"{one['kind']}, {one['state']}: {one['done']} of "
            f"{'?' if one['total'] is None else one['total']}",
        )
        for one in found["backfills"]
    ]
    return [
        ("events waiting", found["waiting_events"]),
        ("oldest waiting", f"{found['oldest_waiting_seconds']} s"),
        *_queue(found["queue"]),
        ("events applied", found["applied_events"]),
        ("duplicates", found["duplicate_events"]),
        ("set aside", f"{found['rejected_events']} (conflicts: {found['conflicting_events']})"),
        ("dead messages", found["dead_messages"]),
        ("rankings waiting", f"{found['rankings']['waiting']} batches"),
        ("warehouse waiting", _warehouse(found["warehouse"])),
        ("events in the warehouse alone", found["warehouse"]["closed_events"]),
        ("emails", _emails(found["emails"])),
        *backfills,
        *ticks,
    ]
