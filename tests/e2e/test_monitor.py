"""What processes answer over HTTP: Prometheus' metrics, and whether they work."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from streakline import Event
from tests.servers import free_port
from tests.stack import Stack
from tests.waiting import wait_until
from worker.schedule import TICKS

Samples = dict[str, float]


def fetch(port: int, path: str) -> tuple[int, str]:
    """Return the status and the body of what a process answers; 0 while it does not."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except URLError:
        return 0, ""


def ask(port: int, path: str) -> tuple[int, Any]:
    status, body = fetch(port, path)
    return status, json.loads(body) if body else None


def read_metrics(port: int) -> dict[tuple[str, ...], float]:
    """Return a process's metrics by name and labels' values."""
    status, body = fetch(port, "/metrics")
    assert status == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def outcomes(port: int) -> Samples:
    """Return how many events had each outcome that any had."""
    return {key: value for key, value in labelled(port, "streakline_events_total") if value}


def swept(port: int) -> set[str]:
    """Return the ticks that were answered."""
    rang = labelled(port, "streakline_tick_lateness_seconds_count")
    return {tick for tick, times in rang if times}


def overdue(port: int) -> Samples:
    """Return which ticks are overdue."""
    return dict(labelled(port, "streakline_tick_overdue"))


def labelled(port: int, wanted: str) -> list[tuple[str, float]]:
    """Return the values of a metric with one label, by its value."""
    return [
        (rest[0], value) for (name, *rest), value in read_metrics(port).items() if name == wanted
    ]


def start(stack: Stack, *words: str) -> int:
    port = free_port()
    stack.start(*words, STREAKLINE_MONITOR_PORT=str(port))
    return port


def answers(port: int, path: str, status: int) -> Callable[[], bool]:
    return lambda: fetch(port, path)[0] == status


def test_processes_tell_what_they_did_and_how_far_everything_is(stack: Stack) -> None:
    worker = start(stack, "worker", "--queues", "events")
    sweeper = start(stack, "worker", "--queues", "sweeps,analytics,emails", "--threads", "6")
    scheduler = start(stack, "scheduler")
    for port in (worker, sweeper, scheduler):
        wait_until(answers(port, "/health", 200), deadline_seconds=60)
        assert ask(port, "/ready")[1]["ok"]

    # Given 3 events, and one of a metric that there is not
    events = [Event(user_id="ann", metric="lessons", key=key) for key in "abc"]
    with stack.client() as client:
        client.track_many([*events, Event(user_id="ann", metric="lesons", key="d")])

    # Then the worker counts them by what became of them
    wait_until(lambda: outcomes(worker) == {"applied": 3, "rejected": 1})
    wait_until(lambda: read_metrics(worker)["streakline_apply_latency_seconds_count",] == 1)
    found = read_metrics(worker)
    # what is of a user never seen goes into the batch after the one that adds the user
    assert found["streakline_batch_events_sum",] == 8
    assert 0 < found["streakline_apply_latency_seconds_sum",] < 60
    # which of the two projects first is chance: the worker that applied, or the other's tick
    projecting = ("streakline_projection_seconds_count", "rankings")
    wait_until(lambda: any(projecting in read_metrics(port) for port in (worker, sweeper)))

    # And sweeps are timed, and the scheduler tells of every tick and queue
    names = {tick.name for tick in TICKS}
    wait_until(lambda: names - {"close-ledgers"} == swept(sweeper))  # that one is daily
    wait_until(lambda: overdue(scheduler) == dict.fromkeys(names, 0))
    of_all = read_metrics(scheduler)
    assert of_all["streakline_status_readable",] == 1
    assert of_all["streakline_queue_events", "events"] == 0
    assert {labels[0] for name, *labels in of_all if name == "streakline_queue_messages"} == {
        "events",
        "sweeps",
        "analytics",
        "emails",
        "backfills",
    }
    assert ("streakline_queue_events", "events") not in found, "of the scheduler alone"
    assert fetch(worker, "/elsewhere")[0] == 404


def test_a_process_works_though_it_is_not_ready_without_its_servers(stack: Stack) -> None:
    port = free_port()
    stack.start(
        "scheduler",
        STREAKLINE_MONITOR_PORT=str(port),
        STREAKLINE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing",
    )
    wait_until(answers(port, "/health", 200), deadline_seconds=60)
    status, found = ask(port, "/ready")
    assert status == 503
    assert found["ok"] is False
    assert "Postgres cannot be used" in found["postgres"]
    assert "Valkey" in found["broker"]
    assert read_metrics(port).get(("streakline_status_readable",)) == 0


def test_a_port_that_is_taken_is_said_with_the_setting(stack: Stack) -> None:
    port = start(stack, "scheduler")
    wait_until(answers(port, "/health", 200), deadline_seconds=60)
    again = stack.start("scheduler", STREAKLINE_MONITOR_PORT=str(port))
    assert again.wait(timeout=60) == 2
    stack.processes[0].send_signal(signal.SIGTERM)
    assert stack.processes[0].wait(timeout=60) == 0
