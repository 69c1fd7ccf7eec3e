"""How fast emails are planned, and sent by one process to a server on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from jobs.plan_emails import plan_emails
from models.rulebooks import Rulebooks
from models.statements.emails import EmailState, count_emails
from tests.benchmarks.harness import (
    SCHEDULER,
    Bench,
    Figure,
    copy_template,
    measure_rate,
    open_bench,
    put_template,
    resident_megabytes,
    running,
    script,
    tidy,
    wait_for,
)
from tests.servers import free_port
from worker.serving import collect_rarely

SENDER = (script("streakline"), "worker", "--queues", "emails", "--threads", "2")
ACTIVE_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REMINDED_AT = datetime(2026, 11, 21, 20, tzinfo=UTC)
PROGRAM = """
[app]
name = "Emails"
link_url = "https://emails.example.org"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[achievements.first]
on = "metric"
metric = "lessons"
at = 1
[emails]
from = "Emails <emails@example.org>"
[emails.reminder]
on = "streak-reminder"
streak = "daily"
[emails.achievement]
on = "achievement"
"""
_ADDRESSES = text(
    "insert into user_fields (user_id, field, value, told_at)"
    " select 'user-' || copy, 'email', 'user-' || copy || '@example.org', now()"
    " from generate_series(1, :count) copy"
)
_NOTICES = text(
    "insert into notices (user_id, kind, cause, at, body, silent, decided_at)"
    " select 'user-' || copy, kind, cause, now(), body, false, decided_at"
    " from notices, generate_series(1, :count) copy where user_id = 'template'"
)


def run(quick: bool) -> Iterator[Figure]:
    """Yield how long a million reminders take to be planned, and emails sent in a second."""
    planned, sent = (10_000, 1_000) if quick else (1_000_000, 20_000)
    with open_bench(PROGRAM) as bench:
        _put_users(bench.engine, planned)
        collect_rarely()
        began = time.perf_counter()
        found = sum(plan_emails(bench.engine, Rulebooks(), REMINDED_AT))
        seconds = time.perf_counter() - began
        if found != planned:
            raise RuntimeError(f"{found} of {planned} were planned")
    yield Figure(
        name=f"plan {planned:,} reminders that are due at one instant",
        value=seconds,
        unit="s",
        note=f"one process, {planned / seconds:,.0f} emails/s",
        goal="60",
    )
    yield from _send(sent)


def _put_users(engine: Engine, count: int) -> None:
    put_template(engine, ACTIVE_AT)
    copy_template(engine, count)
    with engine.begin() as connection:
        connection.execute(_ADDRESSES, {"count": count})
    tidy(engine)


def _send(count: int) -> Iterator[Figure]:
    with open_bench(PROGRAM) as bench, _mail_server() as url:
        _put_users(bench.engine, count)
        with bench.engine.begin() as connection:
            connection.execute(_NOTICES, {"count": count})
            connection.execute(text("update users set mail_at = null"))
        list(plan_emails(bench.engine, Rulebooks(), datetime.now(UTC) + timedelta(seconds=1)))
        with (
            running(bench, SCHEDULER, 1),
            running(bench, SENDER, 1, STREAKLINE_SMTP_URL=url) as senders,
        ):
            rate = measure_rate(lambda: _sent(bench), count)
            megabytes = resident_megabytes(senders)
    yield Figure(
        name="send emails",
        value=rate,
        unit="emails/s",
        note=f"{count:,} by one process, to a server that throws them away",
        goal="300",
    )
    yield Figure(name="a sender process after that", value=megabytes, unit="MB")


def _sent(bench: Bench) -> int:
    with bench.engine.connect() as connection:
        return count_emails(connection)[EmailState.SENT]


@contextmanager
def _mail_server() -> Iterator[str]:
    port = free_port()
    sink = ("-n", "-c", "aiosmtpd.handlers.Sink", "-l", f"127.0.0.1:{port}")
    process = subprocess.Popen([sys.executable, "-m", "aiosmtpd", *sink])
    try:
        wait_for(lambda: _listens(port))
        yield f"smtp://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
