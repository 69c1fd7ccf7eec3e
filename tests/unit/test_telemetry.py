"""What a log shows of an error: where it came from, never what was held there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rich.table import Table

from worker.cli.console import out

FAILING = """
import sys
import structlog
from worker.telemetry import configure_logs

configure_logs(sys.argv[1])

def connect(url):
    raise OSError("refused")

try:
    connect("redis://app:" + "hu" + "sh@host")
except OSError:
    structlog.get_logger().exception("failed")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_no_values_of_variables(log_format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING, log_format], capture_output=True, text=True, check=True
    )
    assert "Traceback" in done.stderr
    assert "OSError: refused" in done.stderr
    assert "hush" not in done.stderr


SAYING = """
import sys
import structlog
from worker.telemetry import configure_logs

configure_logs(sys.argv[1])
structlog.get_logger().info("said", user_id="a\\nb\\x1b[2J", name="\\u202eevil")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_what_users_chose_ends_no_line_and_steers_no_terminal(log_format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAYING, log_format], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("\n") == 1
    assert "\x1b[2J" not in done.stderr
    assert "\u202e" not in done.stderr


def test_a_command_s_answer_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("user")
    table.add_row("\x1b]0;title\x07\x9b2J")
    out.print(table)
    out.print("\x1b[2J", "two\nlines")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "two\nlines" in shown
