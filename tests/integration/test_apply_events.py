"""Bad events beside good ones: set aside with a reason, and the good ones apply."""

from __future__ import annotations

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
