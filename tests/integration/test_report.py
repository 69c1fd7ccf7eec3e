"""The report, figure by figure, against plain loops over the facts (`plain_report`): S62."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import clickhouse_connect
import pytest
from sqlalchemy import Engine

from jobs.gather_report import gather_report
from jobs.load_warehouse import load_warehouse
from jobs.sweep_streaks import sweep_streaks
from models import tables
from models.rulebooks import Rulebooks
from models.warehouse.engine import Warehouse
from tests import clickhouse
from tests.applying import NOW, batches, opened, put_events, put_program, put_users, read_table
from tests.integration import plain_history
from tests.integration.plain_report import (
    Chain,
    Completed,
    Counted,
    Entry,
    Event,
    Facts,
    Notice,
    Rows,
)
from tests.servers import fresh_database

SHARED = Path(__file__).parents[3] / "shared"
DATA = SHARED / "data"
PROGRAM = SHARED / "programs" / "open-source.toml"
COMMITS_LATE = 1_500
"""So many come after everything was loaded, in batches with loads between them."""
LANGUAGES = """
[app]
name = "Report"
timezone = "Europe/Paris"
week_starts_on = "sunday"
control_group_percent = 20

[metrics.lessons]

[metrics.coins]
allow_negative = true

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
grace = "6h"
freezes = { start = 1, max = 2, earn_every = 3, earn = 1 }

[streaks.weekly]
frequency = "weekly"
metrics = { coins = 1 }

[points.xp]
max_per_day = 45

[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10

[points.xp.triggers.coins]
on = "metric"
metric = "coins"
every = 5
points = 3

[points.gems.triggers.days]
on = "streak"
streak = "daily"
every = 2
points = 1

[achievements.first]
on = "metric"
metric = "lessons"
at = 1

[achievements.tenth]
on = "metric"
metric = "lessons"
at = 10

[achievements.three-days]
on = "streak"
streak = "daily"
at = 3
"""
ZONES = ("Europe/Paris", "Asia/Tokyo", "America/New_York", "Pacific/Auckland")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A warehouse with everything in it, and the facts that are in it."""

    warehouse: Warehouse
    facts: Facts

    def must_agree(self, until: date, percent: Decimal, week_starts_on: int = 0) -> None:
        found = gather_report(
            self.warehouse, until=until, control_percent=percent, week_starts_on=week_starts_on
        )
        assert found["until"] == until.isoformat()
        expected = Counted(self.facts, until, percent, week_starts_on).answers()
        assert rows_of(found) == expected


def rows_of(report: Mapping[str, Any]) -> dict[str, Rows]:
    return {one["name"]: [tuple(row) for row in one["rows"]] for one in report["questions"]}


def load(engine: Engine, warehouse: Warehouse) -> dict[str, int]:
    """Load what there is; return how many rows of each source that was."""
    found: dict[str, int] = {}
    for source, rows in load_warehouse(engine, warehouse, NOW):
        found[source] = found.get(source, 0) + rows
    return found


def merge_parts(home: Path, warehouse: Warehouse) -> None:
    """Merge every table, as ClickHouse does sooner or later."""
    [found] = warehouse.ask("select currentDatabase() as name")
    admin = clickhouse_connect.get_client(dsn=clickhouse.embedded_url(home), database=found["name"])
    try:
        for row in warehouse.ask(
            "select name from system.tables where database = currentDatabase() and"
            " engine like '%MergeTree'"
        ):
            admin.command(f"optimize table {row['name']} final")
    finally:
        admin.close()


@pytest.fixture(scope="module")
def history(postgres_url: str, _embedded_template: str, home: Path) -> Iterator[Loaded]:
    """The history of commits, some of them late, loaded as it came."""
    if not DATA.is_dir():
        pytest.skip("the history of commits, ../shared/data, is not here")
    commits = plain_history.read_lines(DATA / "open-source-commits.jsonl.gz")
    users = plain_history.read_lines(DATA / "open-source-users.jsonl.gz")
    with (
        fresh_database(postgres_url, template=_embedded_template) as url,
        opened(url) as engine,
        clickhouse.fresh_warehouse(home) as warehouse,
    ):
        put_program(engine, PROGRAM.read_text())
        put_users(engine, users)
        chance = random.Random(20261124)
        late = set(chance.sample(range(len(commits)), COMMITS_LATE))
        rulebooks = Rulebooks()
        for batch in batches([one for n, one in enumerate(commits) if n not in late], 500):
            put_events(engine, batch, rulebooks=rulebooks)
        load(engine, warehouse)
        for batch in batches([commits[n] for n in late], 500):
            put_events(engine, batch, rulebooks=rulebooks)
            load(engine, warehouse)
        list(sweep_streaks(engine, rulebooks, NOW))
        load(engine, warehouse)
        yield Loaded(warehouse=warehouse, facts=facts_of_history(commits, users))


def facts_of_history(
    commits: Sequence[Mapping[str, Any]], users: Sequence[Mapping[str, Any]]
) -> Facts:
    """Return what the commits come to, from `plain_history`."""
    zones = {user["user_id"]: ZoneInfo(user["tz"]) for user in users}
    expected = plain_history.compute(commits, users, NOW)
    facts = Facts(events=[], chains=[], notices=[], entries=[], completed=[])
    for commit in commits:
        at = datetime.fromisoformat(commit["occurred_at"]).astimezone(UTC)
        user = commit["user_id"]
        day = plain_history.local_date(at, zones[user])
        facts.events.append(Event(user, "commits", day, Decimal(1)))
    for user, author in expected.authors.items():
        for name, streak, step in (
            ("daily", author.daily, plain_history.ONE_DAY),
            ("weekly", author.weekly, plain_history.ONE_WEEK),
        ):
            ended = streak.chains[:-1] if streak.length else streak.chains
            facts.chains.extend(Chain(name, one.end, one.length) for one in ended)
            for period in streak.frozen:
                day = closes_on(period, step, zones[user])
                facts.notices.append(Notice("freeze-used", name, day))
            for one in ended:
                missed = missed_after(one, streak.frozen, step, zones[user])
                facts.notices.append(
                    Notice("streak-lost", name, closes_on(missed, step, zones[user]))
                )
        facts.entries.extend(
            Entry("xp", one.trigger, one.occurred_at.date(), Decimal(one.amount))
            for one in author.entries
        )
        facts.completed.extend(Completed(key, at.date()) for key, at in author.achievements.items())
    return facts


def missed_after(
    chain: plain_history.Chain, frozen: Sequence[date], step: timedelta, zone: ZoneInfo
) -> date:
    """Return the period that ended a chain: the first missed one that no freeze held."""
    period = chain.end + step
    while period in frozen or not plain_history.date_exists(period, zone):
        period += step
    return period


def closes_on(period: date, step: timedelta, zone: ZoneInfo) -> date:
    """Return the UTC date of the first instant after a period."""
    return datetime.combine(period + step, time(0), zone).astimezone(UTC).date()


@pytest.mark.parametrize(
    "until",
    [date(2021, 10, 6), date(2022, 3, 2), date(2019, 2, 28), date(2023, 1, 1)],
    ids=str,
)
@pytest.mark.parametrize("week_starts_on", [0, 6])
def test_every_figure_of_a_real_history_s62(
    history: Loaded, until: date, week_starts_on: int
) -> None:
    history.must_agree(until, Decimal("12.5"), week_starts_on)


def test_without_a_day_the_report_is_up_to_the_last_one_with_events(history: Loaded) -> None:
    found = gather_report(history.warehouse)
    assert found["until"] == max(event.day for event in history.facts.events).isoformat()
    assert "control_days" not in rows_of(found), "there is no control group"


def facts_of_tables(engine: Engine, events: Sequence[Event]) -> Facts:
    """Return the events with what Postgres says came of them."""
    notices = [
        row
        for row in read_table(engine, tables.notices)
        if row["kind"] in {"freeze-used", "streak-lost"}
    ]
    return Facts(
        events=list(events),
        chains=[
            Chain(row["streak"], row["ended_on"], row["length"])
            for row in read_table(engine, tables.streak_chains)
        ],
        notices=[
            Notice(row["kind"], row["body"]["streak"], row["at"].astimezone(UTC).date())
            for row in notices
        ],
        entries=[
            Entry(
                row["points"],
                row["trigger"],
                row["occurred_at"].astimezone(UTC).date(),
                row["amount"],
            )
            for row in read_table(engine, tables.point_entries)
        ],
        completed=[
            Completed(row["key"], row["completed_at"].astimezone(UTC).date())
            for row in read_table(engine, tables.achievements)
        ],
    )


def test_every_figure_stays_exact_through_corrections_and_merges_s14_s62(
    database_url: str, warehouse: Warehouse, home: Path
) -> None:
    """Events in any order: each load takes back much of what the ones before it brought."""
    chance = random.Random(62)
    raw, events = [], []
    for number in range(1_200):
        user = chance.randrange(24)
        zone = ZONES[user % len(ZONES)]
        days = chance.choice([chance.randrange(240), chance.randrange(20)])
        at = NOW - timedelta(days=days, minutes=chance.randrange(1_440))
        metric = chance.choice(["lessons", "lessons", "coins"])
        value = Decimal(chance.choice([1, 2, 7])) if metric == "lessons" else Decimal("2.25")
        if metric == "coins" and chance.random() < 0.3:
            value = -value
        raw.append(
            {
                "user_id": f"user-{user}",
                "metric": metric,
                "key": f"{number}",
                "value": f"{value}",
                "occurred_at": at.isoformat(),
            }
        )
        day = at.astimezone(ZoneInfo(zone)).date()
        events.append(Event(f"user-{user}", metric, day, value))
    until = max(event.day for event in events)
    with opened(database_url) as engine:
        put_program(engine, LANGUAGES)
        put_users(
            engine,
            [{"user_id": f"user-{n}", "tz": ZONES[n % len(ZONES)]} for n in range(24)],
        )
        taken_back = 0
        for batch in batches(list(range(len(raw))), 300):
            put_events(engine, [raw[number] for number in batch])
            list(sweep_streaks(engine, Rulebooks(), NOW))
            load(engine, warehouse)
            facts = facts_of_tables(engine, events[: batch[-1] + 1])
            Loaded(warehouse=warehouse, facts=facts).must_agree(until, Decimal(20), 6)
        [found] = warehouse.ask("select count() as n from streak_chains where sign = -1")
        taken_back += found["n"]
        assert taken_back > 0
        merge_parts(home, warehouse)
        Loaded(warehouse=warehouse, facts=facts).must_agree(until, Decimal(20), 6)
        Loaded(warehouse=warehouse, facts=facts).must_agree(date(2026, 9, 1), Decimal("0.5"))


def test_nothing_is_loaded_yet(warehouse: Warehouse) -> None:
    assert gather_report(warehouse) == {"until": None, "questions": []}
    asked = gather_report(warehouse, until=date(2026, 11, 23), control_percent=Decimal(5))
    found = rows_of(asked)
    assert found.pop("active_users")[-1] == ("2026-11-23", 0, 0, 0, None)
    assert set(map(len, found.values())) == {0}
