"""A late fact that undoes what a later one had replaced: what was there before comes back (S14).

Each fact arrives alone, with a checkpoint after each, and then the late one; it must come to what
it is when all arrive at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from unittest.mock import patch

import pytest

from models.rules import fold
from tests.applying import Raw, dump_state, opened, put_events, put_program
from tests.folding import november
from tests.servers import fresh_database

PROGRAM = """
[app]
name = "Test"
[metrics.lessons]
[metrics.coins]
allow_negative = true
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 5
[points.xp.triggers.coins]
on = "metric"
metric = "coins"
every = 10
points = 7
[streaks.daily]
frequency = "daily"
metrics = { coins = 1 }
milestones = [1]
[leaderboards.monthly]
rank_by = { points = "xp" }
period = "month"
"""


@pytest.fixture
def template(_embedded_template: str) -> str:
    """The migrated database that each of the two is cloned from."""
    return _embedded_template


def event(hour: int, metric: str, value: str) -> Raw:
    at: datetime = november(2, hour)
    return {
        "user_id": "u",
        "metric": metric,
        "value": value,
        "key": f"k{hour}",
        "occurred_at": at.isoformat(),
    }


@pytest.mark.parametrize(
    ("facts", "late"),
    [
        # 12:00 brought the 10th coin, and its 7 points; with the late one it is the 9th
        (
            [
                event(8, "lessons", "1"),
                event(9, "coins", "9"),
                event(10, "lessons", "0"),
                event(12, "coins", "1"),
                event(13, "lessons", "0"),
            ],
            event(11, "coins", "-1"),
        ),
        # 12:00 took the milestone of 9:00 back; with the late one the day stays active
        (
            [
                event(9, "coins", "1"),
                event(10, "lessons", "0"),
                event(12, "coins", "-1"),
                event(13, "lessons", "0"),
            ],
            event(11, "coins", "1"),
        ),
    ],
    ids=["a-score-that-was-replaced", "a-notice-that-was-taken-back"],
)
def test_what_a_late_fact_undoes_leaves_what_was_there_before_s14(
    postgres_url: str, template: str, facts: Sequence[Raw], late: Raw
) -> None:
    dumps = []
    for batches in ([[one] for one in [*facts, late]], [[*facts, late]]):
        with (
            fresh_database(postgres_url, template=template) as url,
            opened(url) as engine,
            patch.object(fold, "FACTS_PER_CHECKPOINT", 1),
        ):
            put_program(engine, PROGRAM, november(1))
            for batch in batches:
                put_events(engine, batch, now=november(20))
            dumps.append(dump_state(engine))
    arrived_late, arrived_at_once = dumps
    for table, rows in arrived_at_once.items():
        assert arrived_late[table] == rows, table
