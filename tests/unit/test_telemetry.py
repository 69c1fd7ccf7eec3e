"""What a log shows of an error: where it came from, never what was held there."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
