"""The one place in the tests that waits: for a condition, with a deadline, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

POLL_SECONDS = 0.01


def wait_until(
    condition: Callable[[], Answer], *, deadline_seconds: float = 30.0, message: str = ""
) -> Answer:
    """Poll until the condition's answer is true and return that answer.

    Fails the test at the deadline with the message and the last answer.
    """
    deadline = time.monotonic() + deadline_seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            what = message or getattr(condition, "__name__", "the condition")
            raise AssertionError(
                f"not within {deadline_seconds} s: {what} (last answer: {answer!r})"
            )
        time.sleep(POLL_SECONDS)
    return answer
