"""`backfill start KIND …`: a command for each kind, with its own parameters."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.backfills import By, NotPossible, start_backfill
from models.sources import Format
from models.statements.backfills import read_backfill
from worker.cli.console import Json, fail, open_console_runtime, out, print_json, read_attributes
from worker.clock import utc_now

app = typer.Typer(no_args_is_help=True, help="Plan a backfill; workers begin at once.")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]
Rate = Annotated[float | None, typer.Option("--rate", help="Rows a second at the most.")]
Why = Annotated[str | None, typer.Option("--reason", help="Why; kept with who did it.")]
Actor = Annotated[
    str | None, typer.Option("--by", help="Who wants it; without it, who is logged in.")
]


@app.command("import-events")
def import_events(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="JSON lines, CSV, plain or compressed; Parquet; git repositories."),
    ] = None,
    users: Annotated[
        list[Path] | None, typer.Option(help="A file of users with their zones; repeat it.")
    ] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Without it, the files' names tell.")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Rows of a database instead: select … order by …")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(help="The variable that holds its URL, here and where the backfills run."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Where fields are: user_id=uid,occurred_at=created,attributes.plan=p."),
    ] = None,
    constant: Annotated[
        list[str] | None,
        typer.Option(help="What a field is in every row, such as metric=lessons; repeat it."),
    ] = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Import events of any age from files that the process of the queue backfills can read."""
    parameters: dict[str, Any] = {
        "files": [str(path.absolute()) for path in files or ()],
        "users": [str(path.absolute()) for path in users or ()],
        "format": format_.value if format_ else None,
        "query": query,
        "database": database,
        "columns": read_attributes(columns.split(",") if columns else [], "--columns"),
        "constants": read_attributes(constant or [], "--constant"),
    }
    _start("import-events", parameters, dry_run, rate, reason, by, as_json)


@app.command("recompute-users")
def recompute_users(
    user: Annotated[list[str] | None, typer.Option(help="These users alone; repeat it.")] = None,
    users: Annotated[
        Path | None, typer.Option("--users", help="A file with an id on each line.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="Users with an attribute, such as plan=pro; repeat it.")
    ] = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Fold users anew from nothing: everyone, a segment, or some."""
    parameters: dict[str, Any] = {}
    named = list(user or ())
    if users is not None:
        named += _lines(users)
    if user or users is not None:
        parameters["user_ids"] = named
    if segment:
        parameters["segment"] = read_attributes(segment, "--segment")
    _start("recompute-users", parameters, dry_run, rate, reason, by, as_json)


@app.command("backdate-achievements")
def backdate_achievements(
    keys: Annotated[
        list[str] | None, typer.Argument(help="Achievements by name; left out: all.")
    ] = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Give achievements to those who meet them already, silently."""
    parameters = {"achievements": keys} if keys else {}
    _start("backdate-achievements", parameters, dry_run, rate, reason, by, as_json)


@app.command("rebuild-rankings")
def rebuild_rankings(
    leaderboard: Annotated[
        list[str] | None, typer.Option(help="These leaderboards alone; repeat it.")
    ] = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Make the boards in Redis anew from Postgres; readers see the old ones until then."""
    parameters = {"leaderboards": leaderboard} if leaderboard else {}
    _start("rebuild-rankings", parameters, dry_run, rate, reason, by, as_json)


@app.command("reload-warehouse")
def reload_warehouse(
    first: Annotated[str, typer.Option("--from", help="The first day, such as 2026-11-23.")],
    last: Annotated[str, typer.Option("--to", help="The last day, included.")],
    table: Annotated[
        list[str] | None, typer.Option(help="These tables alone, with their rollups; repeat it.")
    ] = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Make days of the warehouse that differ from Postgres anew."""
    parameters: dict[str, Any] = {"from": first, "to": last}
    if table:
        parameters["tables"] = table
    _start("reload-warehouse", parameters, dry_run, rate, reason, by, as_json)


@app.command("replay-rejected")
def replay_rejected(
    refused_as: Annotated[
        list[str] | None,
        typer.Option("--refused-as", help="Set aside for this, such as unknown-metric; repeat it."),
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Of this metric; repeat it.")] = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Apply events that were set aside, after the program was put right."""
    parameters = {"reasons": refused_as or [], "metrics": metric or []}
    _start("replay-rejected", parameters, dry_run, rate, reason, by, as_json)


@app.command("replay-dead")
def replay_dead(
    actor: Annotated[
        list[str] | None, typer.Option(help="Messages of this actor alone; repeat it.")
    ] = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Put messages that were given up back on their queues."""
    _start("replay-dead", {"actors": actor or []}, dry_run, rate, reason, by, as_json)


def _start(
    kind: str,
    parameters: Mapping[str, Any],
    dry_run: bool,
    rate: float | None,
    reason: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    with open_console_runtime() as runtime:
        try:
            backfill_id = start_backfill(
                runtime.backfills.context,
                kind,
                parameters,
                by=By(actor=by or getpass.getuser(), reason=reason),
                now=utc_now(),
                dry_run=dry_run,
                rate_max=rate,
            )
        except NotPossible as error:
            fail(str(error))
        with runtime.engine.connect() as connection:
            backfill = read_backfill(connection, backfill_id)
        assert backfill is not None
        runtime.backfills.send(backfill)
    if as_json:
        print_json({"id": backfill_id, "kind": kind, "dry_run": dry_run, "total": backfill.total})
        return
    out.print(f"backfill {backfill_id} is planned: streakline backfill watch {backfill_id}")


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read: {error}")
