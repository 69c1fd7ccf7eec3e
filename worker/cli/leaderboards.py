"""`leaderboard show|runs|finalize|late`: standings, and the records of runs that are over."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from jobs.finalize_runs import NotOver, finalize_run
from jobs.show_leaderboard import (
    NoSuchBoard,
    Page,
    Source,
    Wanted,
    find_leaderboard,
    list_late,
    list_runs,
    percentile,
    show_leaderboard,
)
from streakline.contract import decimal_text
from worker.cli.console import (
    Json,
    open_console_runtime,
    out,
    print_json,
    read_attributes,
    refuse,
)
from worker.clock import utc_now

app = typer.Typer(no_args_is_help=True, help="Who is where.")

LIMIT_MAX = 10_000


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="The leaderboard's name in the program.")],
    run: Annotated[str | None, typer.Option(help="A run, such as `all`.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="How many standings.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="How many places to skip.")] = 0,
    around: Annotated[str | None, typer.Option(help="Show the places around this user.")] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="Show these users alone, friends say; repeat it.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="A segment, such as country=FR; repeat it.")
    ] = None,
    source: Annotated[Source, typer.Option(help="Live rankings, or the truth.")] = Source.REDIS,
    as_json: Json = False,
) -> None:
    """Print standings in order."""
    wanted = Wanted(
        leaderboard=key,
        run=run,
        segment=read_attributes(segment or [], "--segment"),
        limit=limit,
        offset=offset,
        around=around,
        users=user or (),
    )
    with open_console_runtime() as runtime:
        try:
            page = show_leaderboard(runtime.engine, runtime.rankings, wanted, source, utc_now())
        except NoSuchBoard as error:
            refuse(str(error), as_json)
    if as_json:
        print_json(_shape(page))
    else:
        out.print(standings_table(page))


@app.command()
def history(
    key: Annotated[str, typer.Argument(help="The leaderboard's name in the program.")],
    user_id: Annotated[str, typer.Argument(help="The user.")],
    days: Annotated[int, typer.Option(min=1, max=400, help="How many days back.")] = 30,
    as_json: Json = False,
) -> None:
    """Print where a user stood at the end of each day (UTC), run by run and segment by segment."""
    from_day = utc_now().date() - timedelta(days=days)
    with open_console_runtime() as runtime:
        try:
            with runtime.engine.connect() as connection:
                find_leaderboard(runtime.rulebooks.current(connection), key)
        except NoSuchBoard as error:
            refuse(str(error), as_json)
        found = runtime.questions.ask(
            "rank-history", leaderboard=key, user_id=user_id, from_day=from_day.isoformat()
        )
    if as_json:
        print_json({"leaderboard": key, "user_id": user_id, "history": found})
        return
    table = Table("day", "run", "segment", "rank", "of", "score", title=f"{user_id} in {key}")
    for one in found:
        table.add_row(
            one["day"],
            one["run"],
            one["segment"],
            str(one["rank"]),
            str(one["participants"]),
            one["score"],
        )
    out.print(table)


@app.command()
def late(
    key: Annotated[str, typer.Argument(help="The leaderboard's name in the program.")],
    run: Annotated[str, typer.Argument(help="A run that is final.")],
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List whose score late events have changed after a run was final; its record stays."""
    with open_console_runtime() as runtime:
        try:
            found = list_late(runtime.engine, key, run, limit)
        except NoSuchBoard as error:
            refuse(str(error), as_json)
    if as_json:
        print_json({"leaderboard": key, "run": run, "late": found})
        return
    table = Table("user", "in the record", "now", title=f"late in {key} ({run})")
    for one in found:
        recorded = one["final_score"]
        table.add_row(
            one["user_id"],
            "" if recorded is None else decimal_text(recorded),
            decimal_text(one["score"]),
        )
    out.print(table)


@app.command()
def finalize(
    key: Annotated[str, typer.Argument(help="The leaderboard's name in the program.")],
    run: Annotated[str, typer.Argument(help="A run that has closed.")],
    as_json: Json = False,
) -> None:
    """Write the record of a run anew, with what came late, or before its time."""
    with open_console_runtime() as runtime:
        try:
            with runtime.engine.connect() as connection:
                rule = find_leaderboard(runtime.rulebooks.current(connection), key)
            name = (rule.name, rule.since, run)
            now = utc_now()
            if not finalize_run(runtime.engine, runtime.rulebooks, runtime.rankings, name, now):
                raise NoSuchBoard(f"{key} has no run {run!r} that was opened")
        except (NoSuchBoard, NotOver) as error:
            refuse(str(error), as_json)
    if as_json:
        print_json({"leaderboard": key, "run": run, "status": "final"})
    else:
        out.print(f"{key}, run {run}: its record is written anew")


@app.command()
def runs(
    key: Annotated[str, typer.Argument(help="The leaderboard's name in the program.")],
    as_json: Json = False,
) -> None:
    """List the runs that were opened, and how far each is."""
    with open_console_runtime() as runtime:
        try:
            found = list_runs(runtime.engine, key, utc_now())
        except NoSuchBoard as error:
            refuse(str(error), as_json)
    if as_json:
        print_json({"leaderboard": key, "runs": found})
        return
    table = Table(title=f"runs of {key}")
    for heading in ("run", "status", "opens at (UTC)", "closes at (UTC)"):
        table.add_column(heading)
    for run in found:
        ends = [run["opens_at"], run["closes_at"]]
        table.add_row(
            run["run"], run["status"], *(f"{end:%Y-%m-%d %H:%M}" if end else "" for end in ends)
        )
    out.print(table)


def standings_table(page: Page) -> Table:
    """Return standings as a table for people."""
    board = page.board
    of = ", ".join([board.run, *(f"{name}={value}" for name, value in page.segment.items())])
    table = Table(title=f"{board.leaderboard} ({of}), {page.participants} participants")
    table.add_column("rank", justify="right")
    table.add_column("user")
    table.add_column("score", justify="right")
    table.add_column("reached at (UTC)")
    for standing in page.standings:
        table.add_row(
            str(standing.rank),
            standing.user_id,
            decimal_text(standing.score),
            f"{standing.reached_at:%Y-%m-%d %H:%M:%S}",
        )
    return table


def _shape(page: Page) -> dict[str, object]:
    return {
        "leaderboard": page.board.leaderboard,
        "run": page.board.run,
        "status": page.phase.value,
        "segment": page.segment,
        "participants": page.participants,
        "standings": [
            {
                "rank": standing.rank,
                "user_id": standing.user_id,
                "score": standing.score,
                "reached_at": standing.reached_at,
                "percentile": percentile(standing.rank, page.participants),
            }
            for standing in page.standings
        ],
    }
