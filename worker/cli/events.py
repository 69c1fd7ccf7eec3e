"""`events import|rejected|replay|close`: the past; what was set aside; what may leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from jobs.apply_events import Kind, Received, apply_events
from jobs.close_ledgers import BeingReloaded, KeptTooShort, close_ledgers
from jobs.import_events import ImportReport, import_events
from models.sources import (
    EventRow,
    Format,
    Refused,
    UserLine,
    UserRow,
    count_rows,
    guess_format,
    read_events,
    read_users,
)
from models.statements.events import list_rejected
from streakline.transport import Transport, connect
from worker.cli.backfill_kinds import replay_rejected
from worker.cli.console import NO, Json, err, fail, open_console_runtime, out, print_json, refuse
from worker.clock import utc_now
from worker.runtime import Runtime

app = typer.Typer(no_args_is_help=True, help="Bring events in; see what was set aside.")
app.command("replay")(replay_rejected)

SHOWN_MAX = 20


@app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSON lines, CSV, plain or compressed; Parquet; git repositories."),
    ],
    users: Annotated[Path | None, typer.Option(help="A file of users with their zones.")] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Without it, the files' names tell.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send events of any age to the workers; exit 1 if lines were refused (the rest is sent)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with (
        open_console_runtime() as runtime,
        closing(open_transport(runtime)) as transport,
        Progress(*columns, console=err, transient=True, disable=as_json) as progress,
    ):
        task = progress.add_task("sent", total=None if as_json else _count(files, users, format_))
        report = import_events(
            _users(files, users, format_),
            _events(files, format_),
            lambda lines: tell_users(runtime, lines),
            transport,
            utc_now(),
            progress=lambda items: progress.update(task, advance=items),
        )
    _print(report, as_json)
    if report.refused_count:
        raise typer.Exit(NO)


@app.command()
def rejected(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List events that were set aside or conflict with an accepted one, newest first."""
    with open_console_runtime() as runtime, runtime.engine.connect() as connection:
        found = list_rejected(connection, limit)
    if as_json:
        shown = ("user_id", "metric", "reason", "detail", "event", "received_at", "rejected_at")
        print_json({"rejected": [{name: item[name] for name in shown} for item in found]})
        return
    table = Table("rejected at (UTC)", "user", "metric", "reason", "detail")
    for item in found:
        table.add_row(
            f"{item['rejected_at']:%Y-%m-%d %H:%M:%S}",
            item["user_id"],
            item["metric"],
            item["reason"],
            item["detail"],
        )
    out.print(table)


@app.command()
def close(
    kept: Annotated[
        int | None,
        typer.Option(
            "--kept", min=1, help="Days that events stay; without it, STREAKLINE_EVENTS_KEPT_DAYS."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let older events leave Postgres, once the warehouse is found to have them all, for good."""
    columns = (TextColumn("{task.description}"), SpinnerColumn(), TextColumn("{task.completed}"))
    with (
        open_console_runtime() as runtime,
        Progress(*columns, console=err, transient=True, disable=as_json) as progress,
    ):
        days = timedelta(days=kept) if kept else runtime.settings.events_kept
        if days is None:
            fail("for how long do events stay? Say --kept DAYS, or STREAKLINE_EVENTS_KEPT_DAYS")
        compared = runtime.questions.ask("compare", sources=["events"])
        if compared["mismatches"] or compared["unfinished"]:
            refuse(
                "the warehouse does not hold the events as Postgres does, so they stay: "
                "streakline verify tells what differs",
                as_json,
            )
        task = progress.add_task("users", total=None)
        events = 0
        try:
            for users, gone in close_ledgers(
                runtime.engine,
                runtime.rulebooks,
                utc_now(),
                kept=days,
                loaded=compared["loaded"]["events"],
                together=timedelta(),
            ):
                events += gone
                progress.advance(task, users)
        except KeptTooShort as error:
            fail(str(error))
        except BeingReloaded as error:
            refuse(f"{events} events have left; {error}", as_json)
    if as_json:
        print_json({"events": events})
    else:
        out.print(f"{events} events have left Postgres; their warehouse is now to be backed up")


def open_transport(runtime: Runtime) -> Transport:
    """Return the way to the queue that clients use."""
    addresses = runtime.addresses
    return connect(addresses.broker_url, addresses.redis_url, runtime.settings.namespace)


def tell_users(runtime: Runtime, lines: Sequence[UserLine]) -> None:
    """Apply what is told about users here and now, before their events are sent."""
    now = utc_now()
    received = [
        Received(kind=Kind.USER, raw=line.data, received_at=now, imported=True) for line in lines
    ]
    apply_events(runtime.engine, runtime.rulebooks, received, now)


def _events(files: list[Path], format_: Format | None) -> Iterator[EventRow | Refused]:
    return chain.from_iterable(read_events(path, format_) for path in files)


def _users(
    files: list[Path], users: Path | None, format_: Format | None
) -> Iterator[UserRow | Refused]:
    if users is not None:
        yield from read_users(users)
    for path in files:
        if (format_ or guess_format(path)) is Format.GIT:
            yield from read_users(path, Format.GIT)


def _count(files: list[Path], users: Path | None, format_: Format | None) -> int:
    """Count what is to be sent, for the progress bar: about, empty lines and authors left out."""
    of_users = [users] if users is not None and users.is_file() else []
    regular = [path for path in files if path.is_file() or path.is_dir()]
    return sum(map(count_rows, of_users)) + sum(count_rows(path, format_) for path in regular)


def _print(report: ImportReport, as_json: bool) -> None:
    if as_json:
        refused = [
            {"file": item.file, "line": item.line, "reason": item.reason} for item in report.refused
        ]
        print_json(
            {
                "events_sent": report.events_sent,
                "users_told": report.users_told,
                "refused_count": report.refused_count,
                "refused": refused,
            }
        )
        return
    out.print(
        f"{report.users_told} users told, {report.events_sent} events on the queue.",
    )
    for item in report.refused[:SHOWN_MAX]:
        err.print(
            f"{item.file}, line {item.line}: {item.reason}",
            markup=False,
            soft_wrap=True,
        )
    if report.refused_count:
        lines = "1 line was" if report.refused_count == 1 else f"{report.refused_count} lines were"
        err.print(f"{lines} refused; the others were sent.")
