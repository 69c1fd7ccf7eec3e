"""Where everyone stood at the end of each day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from jobs.project_rankings import project_rankings
from jobs.snapshot_ranks import snapshot_ranks
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.warehouse import snapshots
from models.warehouse.engine import Warehouse, WarehouseUnavailable
from tests.applying import opened, opened_rankings, put_events, put_program

PROGRAM = """
[app]
name = "Ranks"

[metrics.lessons]

[leaderboards.ever]
rank_by = { metric = "lessons" }
period = "all"

[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
segment_by = ["country"]
"""
MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, MONDAY)
        yield engine


@pytest.fixture
def rankings(valkey_url: str, namespace: str) -> Iterator[Rankings]:
    with opened_rankings(valkey_url, namespace) as rankings:
        yield rankings


def earn(engine: Engine, rankings: Rankings, at: datetime, **values: int) -> None:
    put_events(
        engine,
        [
            {
                "user_id": user,
                "metric": "lessons",
                "value": value,
                "key": at.isoformat(),
                "occurred_at": at.isoformat(),
                "user": {"attributes": {"country": "FR" if user == "ann" else "DE"}},
            }
            for user, value in values.items()
        ],
        now=at,
    )
    project_rankings(engine, rankings, Rulebooks())


def history(warehouse: Warehouse, board: str, user: str) -> list[tuple[str, str, str, int, int]]:
    return [
        (str(one["day"]), one["run"], one["segment"], one["rank"], one["participants"])
        for one in snapshots.read_history(warehouse, board, user, date(2026, 11, 1))
    ]


def test_a_user_s_rank_is_kept_day_by_day(
    engine: Engine, rankings: Rankings, warehouse: Warehouse
) -> None:
    def see(now: datetime) -> int:
        return snapshot_ranks(engine, Rulebooks(), rankings, warehouse, now)

    earn(engine, rankings, MONDAY, ann=5, bob=3)
    assert see(MONDAY + DAY) == 6, "two on each of: ever, weekly; and one in each of two segments"
    assert see(MONDAY + DAY + timedelta(hours=5)) == 0, "a day is seen once"
    earn(engine, rankings, MONDAY + DAY, bob=9)
    see(MONDAY + 2 * DAY)
    assert history(warehouse, "ever", "ann") == [
        ("2026-11-23", "all", "all", 1, 2),
        ("2026-11-24", "all", "all", 2, 2),
    ]
    assert history(warehouse, "weekly", "ann") == [
        ("2026-11-23", "2026-W48", "all", 1, 2),
        ("2026-11-23", "2026-W48", "country=FR", 1, 1),
        ("2026-11-24", "2026-W48", "all", 2, 2),
        ("2026-11-24", "2026-W48", "country=FR", 1, 1),
    ]
    assert history(warehouse, "ever", "nobody") == []


def test_what_was_broken_off_is_not_shown(
    engine: Engine, rankings: Rankings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> None:
        raise WarehouseUnavailable("gone")

    earn(engine, rankings, MONDAY, ann=5, bob=3)
    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "finish", unavailable)
        with pytest.raises(WarehouseUnavailable):
            snapshot_ranks(engine, Rulebooks(), rankings, warehouse, MONDAY + DAY)
    assert history(warehouse, "ever", "ann") == []
    later = MONDAY + DAY + timedelta(minutes=1)
    assert snapshot_ranks(engine, Rulebooks(), rankings, warehouse, later) == 6
    assert len(history(warehouse, "ever", "ann")) == 1
