"""Benchmarks come to their end: run small, those that start no processes of the Procfile."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "name", ["enqueue", "users", "one_user", "reads", "checks", "emails", "warehouse"]
)
def test_a_benchmark_comes_to_its_end(name: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", name, "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{name}: " in done.stderr
