"""Emails by the processes that there are: planned, sent, killed while sending, looked after."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen
from uuid import uuid4

import pytest

from streakline import Event
from tests.servers import free_port
from tests.smtp import MailServer, mail_server
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

USERS = 300
PROGRAM = """
[app]
name = "Stack"
link_url = "https://stack.example.org"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[achievements.first]
on = "metric"
metric = "lessons"
at = 1
[emails]
from = "Stack <stack@example.org>"
[emails.achievement]
on = "achievement"
[emails.reminder]
on = "streak-reminder"
streak = "daily"
before = "1d"
[emails.come-back]
on = "inactive"
"""


@pytest.fixture
def stack(database_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Stack]:
    with running_stack(
        database_url=database_url,
        broker_url=valkey_url,
        namespace=f"t{uuid4().hex[:10]}",
        home=tmp_path,
        program=PROGRAM,
    ) as stack:
        yield stack


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def track(stack: Stack, users: int) -> None:
    """Let users do their first lesson, each with an address."""
    with stack.client() as client:
        client.track_many(
            Event(
                user_id=f"user-{number}",
                metric="lessons",
                key="1",
                user={"email": f"user-{number}@example.org", "tz": "UTC"},
            )
            for number in range(users)
        )


def use(stack: Stack, server: MailServer, **more: str) -> None:
    stack.environment = {**stack.environment, "STREAKLINE_SMTP_URL": server.url, **more}


def wait_for_more(server: MailServer) -> None:
    before = len(server.received)
    wait_until(lambda: len(server.received) > before + 20, deadline_seconds=60)


def states(stack: Stack) -> dict[str, int]:
    return {name: count for name, count in stack.ask("status")["emails"].items() if count}


def test_without_a_server_emails_are_files(stack: Stack, tmp_path: Path) -> None:
    stack.start_all()
    track(stack, 2)
    wait_until(lambda: states(stack).get("sent") == 2, deadline_seconds=60)
    files = sorted((tmp_path / "emails").glob("*.eml"))
    assert len(files) == 2
    message = message_from_bytes(files[0].read_bytes(), policy=default)
    assert message["From"] == "Stack <stack@example.org>"
    assert message["List-Unsubscribe"].startswith("<mailto:stack@example.org")
    listed = stack.ask("email", "list", "--state", "sent")["emails"]
    assert {one["user_id"] for one in listed} == {"user-0", "user-1"}
    previews = str(tmp_path / "previews")
    written = stack.run("email", "preview", "achievement", "--user", "user-0", "--out", previews)
    assert written.returncode == 0, written.stderr
    unknown = stack.run("email", "preview", "come-back", "--user", "nobody")
    assert (unknown.returncode, "was ever seen" in unknown.stderr) == (1, True)


def test_senders_that_are_killed_send_nothing_twice_and_lose_nothing_s53(
    stack: Stack, server: MailServer
) -> None:
    use(stack, server, STREAKLINE_EMAILS_PER_SECOND="100")
    stack.start("worker", "--queues", "events,sweeps")
    stack.start("scheduler")
    track(stack, USERS)
    for _ in range(3):
        sender = stack.start("worker", "--queues", "emails", "--threads", "2")
        wait_for_more(server)
        sender.send_signal(signal.SIGKILL)
        assert sender.wait(timeout=10) == -signal.SIGKILL
    stack.start("worker", "--queues", "emails", "--threads", "2")
    # What was in hand when a sender died is in doubt, and is not sent again.
    wait_until(lambda: not states(stack).get("planned"), deadline_seconds=60)
    wait_until(lambda: sum(states(stack).get(s, 0) for s in ("sent", "sending")) == USERS)
    addresses = [one.recipient for one in server.received]
    assert len(addresses) == len(set(addresses)), "nothing twice"
    found = states(stack)
    assert 0 < found["sending"] <= 3 * 20
    assert len(addresses) >= found["sent"]
    missing = {f"user-{number}@example.org" for number in range(USERS)} - set(addresses)
    in_doubt = {
        f"{one['user_id']}@example.org"
        for one in stack.ask("email", "list", "--state", "sending", "--limit", "1000")["emails"]
    }
    assert missing <= in_doubt, "nothing is lost that nobody knows of"


def test_operators_look_after_emails_s55(stack: Stack, server: MailServer) -> None:
    use(stack, server)
    server.refused |= {"user-0@example.org"}
    stack.start_all()
    track(stack, 2)
    wait_until(lambda: states(stack).get("failed") == 1, deadline_seconds=60)
    wait_until(lambda: states(stack).get("sent") == 1, deadline_seconds=60)
    doctor = json.loads(stack.run("doctor", "--json").stdout)
    [check] = [one for one in doctor["checks"] if one["check"] == "emails"]
    assert (check["ok"], "email list --state failed" in check["detail"]) == (False, True)
    [failed] = stack.ask("email", "list", "--state", "failed")["emails"]
    assert failed["reason"] == "550 5.1.1 no such user"

    server.refused.clear()
    assert stack.ask("email", "retry", "--state", "failed") == {"emails": 1}
    wait_until(lambda: states(stack) == {"sent": 2}, deadline_seconds=60)
    assert stack.run("email", "retry").returncode == 2
    stack.ask("email", "choose", "user-2", "--unwanted")
    track(stack, 3)
    wait_until(lambda: states(stack) == {"sent": 2, "cancelled": 1}, deadline_seconds=60)
    taken = stack.ask("email", "send-test", "me@example.org", "reminder")
    assert taken == {"emails": {"reminder": ["taken", "250 OK"]}}
    assert server.received[-1].recipient == "me@example.org"


def test_the_page_that_unsubscribes_is_a_process_s53(stack: Stack) -> None:
    port = free_port()
    web = stack.start("web", "--port", str(port))

    def status() -> int | None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/unsubscribe/x.y", timeout=5) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code
        except URLError:
            return None

    assert wait_until(status, deadline_seconds=60) == 404
    web.send_signal(signal.SIGTERM)
    assert web.wait(timeout=30) == 0
