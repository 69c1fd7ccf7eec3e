"""`report`: asked of the process that has the warehouse, and here where none has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streakline import Event
from tests.stack import Stack

NOW = datetime.now(UTC)


def test_it_writes_a_page_or_prints_what_is_on_it(stack: Stack, tmp_path: Path) -> None:
    # Given nothing but a program
    assert stack.ask("report") == {"until": None, "questions": []}

    # When processes run, and events of three users on three days are applied and loaded
    stack.start_all()
    with stack.client() as client:
        client.track_many(
            [
                Event(
                    user_id=f"user-{user}",
                    metric="lessons",
                    key=f"{day}",
                    occurred_at=NOW - timedelta(days=day),
                )
                for user in range(3)
                for day in range(3)
            ]
        )
    drained = stack.run("drain", "--timeout", "90")
    assert drained.returncode == 0, drained.stderr

    # Then the process that has the warehouse answers
    found = stack.ask("report", "--until", f"{NOW:%Y-%m-%d}")
    totals = found["questions"][0]
    assert dict(zip(totals["columns"], totals["rows"][0], strict=True))["events"] == 9
    assert "control_days" not in {one["name"] for one in found["questions"]}

    # And without it, so does the command itself, with a page
    stack.stop()
    written = stack.run("report", "--out", str(tmp_path / "some" / "folder"))
    assert written.returncode == 0, written.stderr
    page = tmp_path / "some" / "folder" / "report.html"
    assert written.stdout.strip() == str(page)
    text = page.read_text(encoding="utf-8")
    assert "<h1>Stack</h1>" in text
    assert json.loads(text.partition('id="figures">')[2].partition("</script>")[0])


def test_a_day_that_is_none_is_wrong_use(stack: Stack) -> None:
    done = stack.run("report", "--until", "yesterday")
    assert done.returncode == 2
    assert "--until 'yesterday' is not a date such as" in done.stderr


def test_the_control_group_of_the_program_is_measured(stack: Stack, tmp_path: Path) -> None:
    program = Path(stack.environment["STREAKLINE_PROGRAM"])
    text = program.read_text(encoding="utf-8")
    program.write_text(text.replace("[app]", "[app]\ncontrol_group_percent = 50"), encoding="utf-8")
    stack.ask("program", "apply")
    found = stack.ask("report", "--until", "2026-11-23")
    names = [one["name"] for one in found["questions"]]
    assert names[-2:] == ["control_days", "control_retention"]
