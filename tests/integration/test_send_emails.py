"""Emails over a real SMTP server: the right ones, once, whatever the server does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trustme
from sqlalchemy import Engine

from jobs.compare_warehouse import compare_warehouse
from jobs.finalize_runs import finalize_due_runs, open_runs
from jobs.load_warehouse import load_warehouse
from jobs.plan_emails import plan_emails
from jobs.send_emails import ATTEMPTS_MAX, CLAIMED_FOR, Reply, pause_after
from jobs.sweep_streaks import sweep_streaks
from models import tables
from models.emails.messages import write_message
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.control import bucket_of
from models.rules.due_mail import DueEmail
from models.rules.mailing import EmailKind
from models.statements import emails as statements
from models.statements import recipients
from models.statements.emails import EmailState, PlannedEmail
from models.warehouse.engine import Warehouse
from tests.applying import opened, opened_rankings, put_events, put_program, put_users, read_table
from tests.smtp import DROP, STALL, TAKE_AND_DROP, MailServer, Passwords, mail_server
from worker.mailing.mailer import Mailer
from worker.mailing.smtp import SmtpServer
from worker.settings import SecretUrl, Settings

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROGRAM = """
[app]
name = "Parlons"
link_url = "https://parlons.example.org"
{app}
[metrics.lessons]
name = "Lessons"
[streaks.daily]
frequency = "daily"
metrics = {{ lessons = 1 }}
milestones = [2]
[points.xp]
name = "XP"
levels = [{{ key = "beginner", at = 0 }}, {{ key = "reader", name = "Reader", at = 20 }}]
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
[achievements.scholar]
name = "Scholar"
on = "metric"
metric = "lessons"
at = 2
[leaderboards.weekly]
rank_by = {{ points = "xp" }}
period = "week"
clock = "UTC"
late = "1h"
[emails]
from = "Parlons <hello@parlons.example.org>"
send_window = {{ from = "09:00", until = "20:00" }}
[emails.reminder]
on = "streak-reminder"
streak = "daily"
before = "4h"
subject = "Your {{{{ streak.length }}}}-day streak ends tonight"
[emails.lost]
on = "streak-lost"
streak = "daily"
[emails.milestone]
on = "milestone"
streak = "daily"
[emails.achievement]
on = "achievement"
[emails.level]
on = "level"
points = "xp"
[emails.recap]
on = "recap"
every = "week"
[emails.come-back]
on = "inactive"
days = [3]
[emails.podium]
on = "leaderboard-finished"
leaderboard = "weekly"
top = 1
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM.format(app=""), BEGINNING)
        yield engine


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def mailer(engine: Engine, server: MailServer) -> Iterator[Mailer]:
    mailer = make_mailer(engine, server.url)
    yield mailer
    mailer.close()


def make_mailer(engine: Engine, url: str, **settings: Any) -> Mailer:
    settings = {"public_url": "https://parlons.example.org/mail", **settings}
    return Mailer(engine, Rulebooks(), Settings(smtp_url=SecretUrl(url), **settings))


def learn(engine: Engine, user: str, at: datetime, **fields: str) -> None:
    """Let a user with an address do a lesson."""
    event = {
        "user_id": user,
        "metric": "lessons",
        "key": f"{at}",
        "occurred_at": at.isoformat(),
        "user": {"email": f"{user}@example.org", **fields},
    }
    put_events(engine, [event], now=at, imported=False)


def send(mailer: Mailer, now: datetime) -> Counter[str]:
    """Send what is due; return how many emails came to which state."""
    return Counter(one.state.value for some in mailer.send(lambda: now) for one in some)


def put_email(engine: Engine, user: str, number: int = 0, at: datetime = NOON) -> None:
    """Plan an email about an achievement that the user has completed."""
    email = DueEmail(
        "come-back",
        EmailKind.INACTIVE,
        f"{number}",
        at,
        at + timedelta(days=3),
        {"days": 3, "last_active_on": f"{NOON.date()}"},
    )
    with engine.begin() as connection:
        planned = [PlannedEmail(user_id=user, due=email, withheld=False)]
        statements.add_emails(connection, planned, at)


def rows(engine: Engine) -> list[tuple[str, int, str | None]]:
    return [
        (row["state"], row["attempts"], row["reason"]) for row in read_table(engine, tables.emails)
    ]


ZONES = {
    # Clocks go forward in the night to Sunday 29 March in Europe, and back on 5 April in Sydney.
    "paris": "Europe/Paris",
    "london": "Europe/London",
    "berlin": "Europe/Berlin",
    "lisbon": "Europe/Lisbon",
    "new-york": "America/New_York",
    "los-angeles": "America/Los_Angeles",
    "tokyo": "Asia/Tokyo",
    "kolkata": "Asia/Kolkata",
    "sydney": "Australia/Sydney",
    "kiritimati": "Pacific/Kiritimati",
}


def test_a_weekend_of_ten_zones_over_daylight_saving_s50_s51_s52_s53(
    engine: Engine, server: MailServer, mailer: Mailer, valkey_url: str, namespace: str
) -> None:
    """Everyone does lessons at local noon on Thursday and Friday, 26 and 27 March 2026.

    Without more, each gets: on Friday a milestone (2 days), an achievement (2 lessons) and a level
    (20 XP); on Saturday a reminder at 19:59, because four hours before midnight is when the window
    has closed; on Sunday that the streak is lost, at 9:00; on Monday a recap at 9:00, and, three
    days after Friday noon, a come-back at 12:00.
    """
    users = dict(ZONES)
    for user, tz in users.items():
        for day in (26, 27):
            learn(engine, user, local(tz, date(2026, 3, day), 12), tz=tz)
    # One acts on Saturday, before the reminder; one wants no reminders; one is told otherwise.
    paris = local(ZONES["paris"], date(2026, 3, 28), 12)
    with engine.begin() as connection:
        recipients.choose(connection, "berlin", "reminder", False, NOON)
        recipients.choose(connection, "lisbon", recipients.ALL_EMAILS, False, BEGINNING)
    control = next(f"user-{n}" for n in range(1000) if bucket_of(f"user-{n}") < 100)
    put_program(engine, PROGRAM.format(app="control_group_percent = 1"), BEGINNING)
    for day in (26, 27):
        learn(engine, control, local("UTC", date(2026, 3, day), 12), tz="UTC")
    assert not any(bucket_of(user) < 100 for user in users)

    def on_saturday(now: datetime) -> None:
        if now == paris:
            learn(engine, "paris", paris)

    with opened_rankings(valkey_url, namespace) as rankings:
        arrived = live_through(engine, rankings, server, mailer, on_saturday)
    who = {user for user, _, _ in arrived}
    assert control not in who
    assert "lisbon" not in who
    for user, _, at in arrived:
        shown = at.astimezone(ZoneInfo(users[user])).time()
        assert time(9) <= shown < time(20), (user, at)
    assert len(arrived) == len(set(arrived)), "each once"
    stored = [row for row in read_table(engine, tables.emails) if row["state"] == EmailState.SENT]
    assert len(stored) == len(arrived)
    sent = {(row["user_id"], row["name"]): row["settled_at"] for row in stored}
    kinds = {user: {name for of, name in sent if of == user} for user in users}
    plain = {"milestone", "achievement", "level", "reminder", "lost", "recap", "come-back"}
    for user in ("london", "new-york", "los-angeles", "tokyo", "kolkata", "sydney", "kiritimati"):
        assert kinds[user] == plain, user
    assert kinds["berlin"] == plain - {"reminder"}
    assert kinds["lisbon"] == set()
    # Paris acts on Saturday: it is reminded on Sunday, has lost its streak on Monday, has won the
    # week by 30 XP, and three days after Saturday are not over.
    assert kinds["paris"] == plain - {"come-back"} | {"podium"}
    assert sent["paris", "reminder"] == local("Europe/Paris", date(2026, 3, 29), 20) - MINUTE
    # 19:59 on Saturday, by hand: UTC in London, UTC+9 in Tokyo.
    assert sent["london", "reminder"] == datetime(2026, 3, 28, 19, 59, tzinfo=UTC)
    assert sent["tokyo", "reminder"] == datetime(2026, 3, 28, 10, 59, tzinfo=UTC)
    # 9:00 on Sunday is 8:00 UTC in London since that night, and 13:00 UTC in New York.
    assert sent["london", "lost"] == datetime(2026, 3, 29, 8, tzinfo=UTC)
    assert sent["new-york", "lost"] == datetime(2026, 3, 29, 13, tzinfo=UTC)
    # Noon in Sydney on Monday, three days after Friday noon: UTC+11 until 5 April.
    assert sent["sydney", "come-back"] == datetime(2026, 3, 30, 1, tzinfo=UTC)


Arrived = list[tuple[str, str, datetime]]
"""Emails by user, subject, and when they came."""


def live_through(
    engine: Engine,
    rankings: Rankings,
    server: MailServer,
    mailer: Mailer,
    act: Callable[[datetime], None],
) -> Arrived:
    """Let the days from Thursday to Monday pass; return what arrives."""
    arrived: Arrived = []
    now = datetime(2026, 3, 26, tzinfo=UTC)
    while now < datetime(2026, 3, 31, tzinfo=UTC):
        act(now)
        live(engine, rankings, now)
        for minute in (0, 29, 59):
            send_at = now + timedelta(minutes=minute)
            list(plan_emails(engine, Rulebooks(), send_at))
            before = len(server.received)
            send(mailer, send_at)
            arrived += [
                (one.recipient.partition("@")[0], str(one.message["Subject"]), send_at)
                for one in server.received[before:]
            ]
        now += timedelta(hours=1)
    return arrived


def local(tz: str, day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), ZoneInfo(tz)).astimezone(UTC)


def live(engine: Engine, rankings: Rankings, now: datetime) -> None:
    """Let time do what it does beside emails."""
    open_runs(engine, Rulebooks(), now)
    list(sweep_streaks(engine, Rulebooks(), now))
    finalize_due_runs(engine, Rulebooks(), rankings, now)


def test_what_arrives_says_what_happened_s54(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, name='Ann "the <b>best</b>" Übermut', tz="UTC")
    learn(engine, "ann", NOON + timedelta(days=1))
    evening = datetime(2026, 3, 29, 19, 59, tzinfo=UTC)
    list(plan_emails(engine, Rulebooks(), evening))
    assert send(mailer, evening) == {"sent": 4}
    by_subject = {str(one.message["Subject"]): one for one in server.received}
    reminder = by_subject["Your 2-day streak ends tonight"]
    assert reminder.sender == "hello@parlons.example.org"
    assert str(reminder.message["From"]) == "Parlons <hello@parlons.example.org>"
    assert reminder.message["To"].addresses[0].addr_spec == "ann@example.org"
    assert reminder.message["To"].addresses[0].display_name == 'Ann "the <b>best</b>" Übermut'
    assert "<b>best</b>" not in reminder.text("html")
    assert "4 hours" in reminder.text() or "hours" in reminder.text()
    link = reminder.message["List-Unsubscribe"]
    assert link.startswith("<https://parlons.example.org/mail/unsubscribe/")
    assert reminder.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link.strip("<>") in reminder.text()
    assert any("Scholar" in one.text() for one in server.received)
    assert any("Reader" in one.text() for one in server.received)
    assert server.connections == 1, "for all of them"
    ids = {one.message["Message-ID"] for one in server.received}
    assert len(ids) == 4
    stored = {row["message_id"] for row in read_table(engine, tables.emails)}
    assert stored == ids


def test_who_acted_in_between_gets_no_reminder_s52(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, tz="UTC")
    evening = datetime(2026, 3, 28, 19, 59, tzinfo=UTC)
    assert sum(plan_emails(engine, Rulebooks(), evening)) == 1
    learn(engine, "ann", evening)
    assert send(mailer, evening) == {"cancelled": 1}
    assert server.received == []
    assert "acted" in str(rows(engine)[0][2])


def test_who_came_back_is_not_called_back_s52(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON - timedelta(days=3), tz="UTC")
    list(plan_emails(engine, Rulebooks(), NOON))
    learn(engine, "ann", NOON)
    send(mailer, NOON)
    assert [str(one.message["Subject"]) for one in server.received] == []
    came_back = [row for row in read_table(engine, tables.emails) if row["name"] == "come-back"]
    assert [row["reason"] for row in came_back] == ["the user has come back"]


def test_what_was_taken_back_is_not_told_s52(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    """A late lesson on Saturday makes the streak whole again, before it is told that it ended."""
    learn(engine, "ann", NOON, tz="UTC")
    sunday = datetime(2026, 3, 29, 0, 1, tzinfo=UTC)
    list(sweep_streaks(engine, Rulebooks(), sunday))
    list(plan_emails(engine, Rulebooks(), sunday))
    late = {
        "user_id": "ann",
        "metric": "lessons",
        "key": "late",
        "occurred_at": (NOON + timedelta(days=1)).isoformat(),
    }
    put_events(engine, [late], now=sunday, imported=False)
    morning = datetime(2026, 3, 29, 9, tzinfo=UTC)
    send(mailer, morning)
    lost = [row for row in read_table(engine, tables.emails) if row["name"] == "lost"]
    assert [(row["state"], row["reason"]) for row in lost] == [
        ("cancelled", "what it tells of was taken back")
    ]
    assert server.received == []


def test_an_email_waits_for_the_window_also_when_it_was_late_s51(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, tz="UTC")
    put_email(engine, "ann")
    night = datetime(2026, 3, 27, 23, tzinfo=UTC)
    assert send(mailer, night) == {"planned": 1}
    assert read_table(engine, tables.emails)[0]["send_at"] == datetime(2026, 3, 28, 9, tzinfo=UTC)
    assert server.received == []
    assert send(mailer, datetime(2026, 3, 28, 9, tzinfo=UTC)) == {"sent": 1}


@pytest.mark.parametrize("reply", ["451 4.3.0 try again", "421 4.3.2 going away", DROP])
@pytest.mark.parametrize("stage", ["rcpt_replies", "data_replies"])
def test_a_refusal_for_now_is_tried_again_later_s55(
    stage: str, reply: str, engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, tz="UTC")
    put_email(engine, "ann")
    getattr(server, stage).append(reply)
    expected = "unsure" if (stage, reply) == ("data_replies", DROP) else "planned"
    assert send(mailer, NOON) == {expected: 1}, "after the message nobody knows who has it"
    if expected == "planned":
        assert send(mailer, NOON + timedelta(seconds=59)) == {}
        assert send(mailer, NOON + timedelta(seconds=60)) == {"sent": 1}
        assert rows(engine) == [("sent", 2, "250 OK")]
        assert len(server.received) == 1


def test_a_server_that_goes_on_refusing_is_given_up_with_its_words_s55(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, tz="UTC")
    put_email(engine, "ann")
    server.data_replies += ["452 4.2.2 the mailbox is full"] * ATTEMPTS_MAX
    now = NOON
    for attempt in range(1, ATTEMPTS_MAX):
        assert send(mailer, now) == {"planned": 1}
        now += pause_after(attempt)
    assert send(mailer, now) == {"failed": 1}
    assert rows(engine) == [("failed", ATTEMPTS_MAX, "452 4.2.2 the mailbox is full")]
    with engine.begin() as connection:
        [email] = statements.list_emails(connection, 10, EmailState.FAILED)
        assert statements.retry(connection, [email.email_id], now, now + timedelta(days=1)) == 1
    assert send(mailer, now) == {"sent": 1}


def test_a_permanent_refusal_marks_the_address_s55(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, tz="UTC")
    put_email(engine, "ann", 1)
    server.refused.add("ann@example.org")
    assert send(mailer, NOON) == {"failed": 1}
    assert rows(engine) == [("failed", 1, "550 5.1.1 no such user")]
    put_email(engine, "ann", 2)
    server.refused.clear()
    assert send(mailer, NOON) == {"cancelled": 1}
    assert rows(engine)[1][2] == "the address was refused: 550 5.1.1 no such user"
    put_users(engine, [{"user_id": "ann", "email": "new@example.org"}], now=NOON)
    put_email(engine, "ann", 3)
    assert send(mailer, NOON) == {"sent": 1}, "another address is another matter"


def test_a_message_that_is_refused_for_good_marks_no_address_s55(
    engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, tz="UTC")
    put_email(engine, "ann", 1)
    server.data_replies.append("554 5.7.1 this looks like spam")
    assert send(mailer, NOON) == {"failed": 1}
    assert read_table(engine, tables.refused_addresses) == []


def test_no_server_is_waited_for_s55(engine: Engine, server: MailServer, mailer: Mailer) -> None:
    learn(engine, "ann", NOON, tz="UTC")
    for number in range(3):
        put_email(engine, "ann", number)
    server.stop()
    assert send(mailer, NOON) == {"planned": 3}
    assert "refused" in str(rows(engine)[0][2])
    with mail_server() as again:
        other = make_mailer(engine, again.url)
        assert send(other, NOON + timedelta(minutes=1)) == {"sent": 3}
        other.close()


@pytest.mark.parametrize(("unsure", "received"), [("keep", 1), ("again", 2)])
def test_in_doubt_a_setting_decides(
    unsure: str, received: int, engine: Engine, server: MailServer
) -> None:
    """The server takes the email, and the connection ends before it says so."""
    mailer = make_mailer(engine, server.url, email_unsure=unsure)
    learn(engine, "ann", NOON, tz="UTC")
    put_email(engine, "ann")
    server.data_replies.append(TAKE_AND_DROP)
    send(mailer, NOON)
    send(mailer, NOON + timedelta(minutes=1))
    mailer.close()
    assert len(server.received) == received
    assert len({one.message["Message-ID"] for one in server.received}) == 1
    assert rows(engine)[0][0] == ("unsure" if unsure == "keep" else "sent")


@pytest.mark.parametrize(("unsure", "received"), [("keep", 3), ("again", 4)])
def test_what_a_dead_process_was_sending_is_in_doubt_and_the_rest_is_sent(
    unsure: str, received: int, engine: Engine, server: MailServer
) -> None:
    """It ends after the server has taken the first of two: both had been taken for sending."""
    learn(engine, "ann", NOON, tz="UTC")
    put_email(engine, "ann", 1)
    put_email(engine, "ann", 2)

    class Dying(Mailer):
        def deliver(self, message: Any) -> Any:
            super().deliver(message)
            raise KeyboardInterrupt

    dying = Dying(engine, Rulebooks(), Settings(smtp_url=SecretUrl(server.url)))
    with pytest.raises(KeyboardInterrupt):
        send(dying, NOON)
    dying.close()
    put_email(engine, "ann", 3)
    put_email(engine, "ann", 4)
    mailer = make_mailer(engine, server.url, email_unsure=unsure)
    assert send(mailer, NOON) == {"sent": 2}, "nobody waits for the other two"
    send(mailer, NOON + CLAIMED_FOR)
    mailer.close()
    states = Counter(state for state, _, _ in rows(engine))
    if unsure == "keep":
        assert states == {"sent": 2, "unsure": 2}
        assert len(server.received) == received
    else:
        assert states == {"sent": 4}
        assert len(server.received) == received + 1


def test_a_rate_is_kept(engine: Engine, server: MailServer) -> None:
    mailer = make_mailer(engine, server.url, emails_per_second=50)
    learn(engine, "ann", NOON, tz="UTC")
    for number in range(6):
        put_email(engine, "ann", number)
    began = datetime.now(UTC)
    assert send(mailer, NOON) == {"sent": 6}
    assert (datetime.now(UTC) - began).total_seconds() >= 5 / 50
    mailer.close()


@pytest.mark.parametrize(
    ("address", "state"),
    [("ann@bücher.example.org", "sent"), ("änn@example.org", "failed")],
)
def test_a_domain_may_have_any_letters(
    address: str, state: str, engine: Engine, server: MailServer, mailer: Mailer
) -> None:
    learn(engine, "ann", NOON, tz="UTC", email=address)
    put_email(engine, "ann")
    assert send(mailer, NOON) == {state: 1}
    arrived = [one.recipient for one in server.received]
    assert arrived == (["ann@xn--bcher-kva.example.org"] if state == "sent" else [])


MESSAGE = write_message(
    sender="Parlons <hello@parlons.example.org>",
    address="ann@example.org",
    name=None,
    key="ann",
    subject="Hello",
    html="<p>Hello</p>",
    text="Hello",
    unsubscribe_url="https://example.org",
    now=NOON,
)


@pytest.mark.parametrize(
    ("stage", "reply"), [("rcpt_replies", Reply.LATER), ("data_replies", Reply.UNKNOWN)]
)
def test_a_server_that_says_nothing_is_not_waited_for_without_end_s55(
    stage: str, reply: Reply, server: MailServer
) -> None:
    sender = SmtpServer(server.url, seconds_max=0.3)
    getattr(server, stage).append(STALL)
    assert sender.deliver(MESSAGE).reply is reply
    assert sender.deliver(MESSAGE).reply is Reply.TAKEN, "over a new connection"
    sender.close()


def test_who_is_let_in_with_a_password_s55() -> None:
    passwords = Passwords(b"ann", b"s:cret@")
    with mail_server(authenticator=passwords, auth_require_tls=False) as server:
        right = SmtpServer(f"smtp://ann:s%3Acret%40@{server.address}")
        assert right.deliver(MESSAGE).reply is Reply.TAKEN
        right.close()
        wrong = SmtpServer(f"smtp://ann:no@{server.address}").deliver(MESSAGE)
        assert (wrong.reply, wrong.words[:3]) == (Reply.LATER, "535"), "it may be put right"


def test_a_password_goes_in_clear_text_to_this_machine_alone() -> None:
    """127.0.0.2 is this machine, too, but not by a name that says so."""
    with mail_server(
        host="127.0.0.2",
        authenticator=Passwords(b"ann", b"secret"),
        auth_require_tls=False,
    ) as server:
        delivery = SmtpServer(f"smtp://ann:secret@{server.address}").deliver(MESSAGE)
        assert delivery.reply is Reply.LATER
        assert "offers no encryption" in delivery.words
        assert "secret" not in delivery.words


def test_a_run_is_told_to_as_many_as_its_email_is_for_s43_s50(
    engine: Engine, server: MailServer, mailer: Mailer, valkey_url: str, namespace: str
) -> None:
    """Five users, of whom the fifth has the fewest points: without `top` all are told."""
    for rank in range(1, 6):
        for number in range(6 - rank):
            learn(engine, f"user-{rank}", NOON + timedelta(minutes=number), tz="UTC")
    everyone = PROGRAM.format(app="").replace(
        'leaderboard = "weekly"\ntop = 1', 'leaderboard = "weekly"'
    )
    put_program(engine, everyone, NOON)
    monday = datetime(2026, 3, 30, 9, tzinfo=UTC)
    with opened_rankings(valkey_url, namespace) as rankings:
        live(engine, rankings, monday)
    list(plan_emails(engine, Rulebooks(), monday))
    send(mailer, monday)
    podium = [row for row in read_table(engine, tables.emails) if row["name"] == "podium"]
    assert [row["body"]["rank"] for row in podium] == [1, 2, 3, 4, 5]
    told = {one.recipient: one.text() for one in server.received}
    assert "50" in told["user-1@example.org"]


def test_what_became_of_emails_is_in_the_warehouse_s60_s61(
    engine: Engine, server: MailServer, mailer: Mailer, warehouse: Warehouse
) -> None:
    def load() -> Counter[str]:
        list(load_warehouse(engine, warehouse, NOON))
        found = compare_warehouse(engine, warehouse)
        assert (found.mismatches, found.unfinished) == (0, []), found.samples
        sums = warehouse.ask("select state, sum(sign) as n from emails group by state")
        return Counter({row["state"]: int(row["n"]) for row in sums if row["n"]})

    learn(engine, "ann", NOON, tz="UTC")
    learn(engine, "bob", NOON, tz="UTC")
    put_email(engine, "ann")
    put_email(engine, "bob")
    assert load() == {}, "what is planned has no end yet"
    server.refused.add("bob@example.org")
    send(mailer, NOON)
    assert load() == {"sent": 1, "failed": 1}
    server.refused.clear()
    with engine.begin() as connection:
        [failed] = statements.list_emails(connection, 10, EmailState.FAILED)
        statements.retry(connection, [failed.email_id], NOON, NOON + timedelta(days=1))
    assert load() == {"sent": 1}, "it is taken back"
    send(mailer, NOON)
    assert load() == {"sent": 2}


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority for certificates that this process trusts."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


def server_context(authority: trustme.CA, name: str) -> SSLContext:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_connection_is_encrypted_where_the_server_offers_it_s55(authority: trustme.CA) -> None:
    context = server_context(authority, "127.0.0.1")
    passwords = Passwords(b"ann", b"secret")
    with mail_server(tls_context=context, authenticator=passwords) as server:
        sender = SmtpServer(f"smtp://ann:secret@{server.address}")
        assert sender.deliver(MESSAGE).reply is Reply.TAKEN
        assert sender.greet().endswith(", encrypted")
        sender.close()


def test_a_connection_is_encrypted_from_the_start_with_smtps_s55(authority: trustme.CA) -> None:
    with mail_server(ssl_context=server_context(authority, "127.0.0.1")) as server:
        sender = SmtpServer(server.url.replace("smtp://", "smtps://"))
        assert sender.deliver(MESSAGE).reply is Reply.TAKEN
        sender.close()


def test_nothing_is_sent_to_a_server_that_cannot_prove_its_name_s55(authority: trustme.CA) -> None:
    context = server_context(authority, "elsewhere.example.org")
    with mail_server(tls_context=context) as server:
        delivery = SmtpServer(server.url).deliver(MESSAGE)
        assert (delivery.reply, "certificate" in delivery.words) == (Reply.LATER, True)
        assert server.received == []
