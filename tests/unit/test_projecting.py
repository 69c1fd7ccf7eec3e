"""The thread that projects: woken by every batch, stopped by none that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event

from redis import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from tests.waiting import wait_until
from worker.projecting import Projector

DEADLINE_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class Rounds:
    """Counts rounds; the first waits at the gate, each raises what is next in line."""

    count: int = 0
    errors: list[Exception] = field(default_factory=list)
    gate: Event = field(default_factory=Event)

    def reached(self, count: int) -> bool:
        return self.count >= count

    def project(self) -> int:
        self.count += 1
        if self.count == 1:
            assert self.gate.wait(DEADLINE_SECONDS)
        if self.errors:
            raise self.errors.pop(0)
        return 0


@contextmanager
def running(rounds: Rounds) -> Iterator[Projector]:
    projector = Projector(rounds.project)
    projector.start()
    try:
        yield projector
    finally:
        rounds.gate.set()
        projector.stop()


def test_any_number_of_wake_ups_during_a_round_make_one_more() -> None:
    rounds = Rounds()
    with running(rounds) as projector:
        projector.wake()
        wait_until(lambda: rounds.count == 1, message="the first round runs")
        for _ in range(5):
            projector.wake()
        rounds.gate.set()
        wait_until(lambda: rounds.count == 2, message="the second round runs")
    assert rounds.count <= 3, "stopping runs what it may have been woken for, once"


def test_a_round_that_fails_is_told_and_the_next_wake_up_tries_again() -> None:
    rounds = Rounds(errors=[RedisConnectionError("gone"), ValueError("a bug")])
    rounds.gate.set()
    with capture_logs() as logs, running(rounds) as projector:
        for number in range(1, 4):
            projector.wake()
            wait_until(partial(rounds.reached, number))
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("projecting_waits", "warning"),
        ("projecting_failed", "error"),
    ]


def test_what_it_was_woken_for_is_projected_before_it_stops() -> None:
    rounds = Rounds()
    rounds.gate.set()
    projector = Projector(rounds.project)
    projector.start()
    projector.wake()
    projector.stop()
    assert rounds.count >= 1
