"""A real history, and each kind of backfill over it: the dry run tells what the run does (S72).

One after the other, each where the one before left off: imported, damaged, put right, replayed,
ranked anew, loaded anew.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from jobs.backfills import Context
from jobs.load_warehouse import load_warehouse
from jobs.project_rankings import project_rankings
from models import tables
from models.statements.boards import list_projected
from models.warehouse.engine import Warehouse
from tests.applying import dump_state, must_equal, must_verify, opened, put_events, put_program
from tests.backfilling import counts, opened_context, run

SHARED = Path(__file__).parents[3] / "shared"
COMMITS = SHARED / "data" / "open-source-commits.jsonl.gz"
USERS = SHARED / "data" / "open-source-users.jsonl.gz"
PROGRAM = SHARED / "programs" / "open-source.toml"
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVERY = 40
"""One of so many commits is imported, and one of so many users' zones."""
REVIEWS = "[metrics.reviews]\n"
TEN = '[achievements.ten-commits]\non = "metric"\nmetric = "commits"\nat = 10\n'

pytestmark = pytest.mark.skipif(
    not COMMITS.is_file(), reason="the history of commits, ../shared/data, is not here"
)


@pytest.fixture
def context(
    database_url: str, warehouse: Warehouse, valkey_url: str, namespace: str
) -> Iterator[Context]:
    with (
        opened(database_url) as engine,
        opened_context(engine, valkey_url, namespace, warehouse) as context,
    ):
        put_program(engine, PROGRAM.read_text(), NOW)
        yield context


def rehearse(context: Context, kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Run it dry, for real and again; return what it changed."""
    before = dump_state(context.engine)
    predicted = run(context, kind, parameters, dry_run=True).changes
    must_equal(dump_state(context.engine), before)
    assert run(context, kind, parameters).changes == predicted
    assert run(context, kind, parameters).changes == {}, "again: no change"
    must_verify(context.engine)
    return counts(predicted)


def sample(whole: Path, part: Path) -> int:
    """Write some of the lines of a file into another; return how many."""
    with gzip.open(whole, "rt") as lines:
        some = list(islice(lines, 0, None, EVERY))
    part.write_text("".join(some))
    return len(some)


def damage(engine: Engine) -> None:
    """Lose what every third user has been paid, and all achievements."""
    entries = tables.point_entries
    with engine.begin() as connection:
        connection.execute(delete(tables.achievements))
        connection.execute(delete(entries).where(entries.c.user_id.like("u-5%")))


def test_each_kind_does_what_its_dry_run_told_s70_s72_s75(
    context: Context, warehouse: Warehouse, tmp_path: Path
) -> None:
    engine = context.engine
    commits = sample(COMMITS, tmp_path / "commits.jsonl")
    sample(USERS, tmp_path / "users.jsonl")
    files = {"files": [str(tmp_path / "commits.jsonl")], "users": [str(tmp_path / "users.jsonl")]}
    found = rehearse(context, "import-events", files)
    assert found["events"] == {"added": commits}

    damage(engine)
    found = rehearse(context, "recompute-users", {})
    assert set(found) == {"achievements", "point_entries"}
    assert {how for change in found.values() for how in change} == {"added"}

    put_program(engine, PROGRAM.read_text() + TEN, NOW + HOUR)
    found = rehearse(context, "backdate-achievements", {"achievements": ["ten-commits"]})
    assert found["achievements"]["added"] > 5

    reviews = [
        {"user_id": f"u-{number}", "metric": "reviews", "key": "r", "occurred_at": str(NOW)}
        for number in range(50)
    ]
    put_events(engine, reviews)
    put_program(engine, PROGRAM.read_text() + TEN + REVIEWS, NOW + 2 * HOUR)
    found = rehearse(context, "replay-rejected", {})
    assert (found["events"], found["rejected_events"]) == ({"added": 50}, {"removed": 50})

    project_rankings(engine, context.rankings, context.rulebooks)
    with engine.connect() as connection:
        board = next(iter(list_projected(connection)))
    [first] = context.rankings.page(board, limit=1)
    context.rankings.put(board, {first.user_id: None})
    assert rehearse(context, "rebuild-rankings", {}) == {"standings": {"added": 1}}

    list(load_warehouse(engine, warehouse, NOW))
    day = "2021-10-04"
    warehouse.command(f"delete from events where local_date = '{day}'", {"mutations_sync": 1})
    days = {"from": "2021-10-03", "to": "2021-10-06", "tables": ["events"]}
    found = rehearse(context, "reload-warehouse", days)
    assert list(found) == [f"events {day}"]
    assert list(found[f"events {day}"]) == ["added"]
