"""Bad events beside good ones: set aside with a reason, and the good ones apply."""

from __future__ import annotations

import pytest

from models import tables
from models.statements.events import Outcome
from tests.applying import opened, put_events, put_program, read_table

PROGRAM = """
[app]
name = "App"
timezone = "America/New_York"
[metrics.runs]
"""


def test_an_import_from_before_the_calendar_does_not_fail_the_batch_s17(database_url: str) -> None:
    """1 January of year 1 has no local date west of UTC; it is refused, and the other applies."""
    event = {"user_id": "a", "metric": "runs"}
    early = event | {"key": "early", "occurred_at": "0001-01-01T00:00:00Z"}
    good = event | {"key": "good", "occurred_at": "2026-11-23T08:00:00Z"}
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        applied = put_events(engine, [early, good])
        rejected = read_table(engine, tables.rejected_events)
    assert (applied.outcomes[Outcome.APPLIED], applied.outcomes[Outcome.REJECTED]) == (1, 1)
    assert [row["reason"] for row in rejected] == ["too-old"]


@pytest.mark.parametrize(
    "bad",
    [
        {"user_id": "a\x00b", "metric": "runs", "key": "k"},
        {"user_id": "a\ud800", "metric": "runs", "key": "k"},
        {"user_id": "a", "metric": "\ud800", "key": "k"},
        {"user_id": "a", "metric": "runs", "key": "k", "value": 2**70},
        {"user_id": "a", "metric": "runs", "key": "k", "value": float("nan")},
        {"user_id": "a", "metric": "runs", "key": "k", "note\x00": 1},
        None,
    ],
    ids=["nul", "surrogate", "metric", "huge", "nan", "field", "nothing"],
)
def test_what_no_column_can_hold_is_set_aside_and_the_good_applies_s17(
    database_url: str, bad: object
) -> None:
    good = {"user_id": "a", "metric": "runs", "key": "good"}
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        applied = put_events(engine, [bad, good])
        rejected = read_table(engine, tables.rejected_events)
    assert applied.outcomes[Outcome.APPLIED] == 1
    assert [row["reason"] for row in rejected] == ["invalid"]
