"""Which emails time makes due, and when they may go out: every instant by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest

from models.program import load_program
from models.rulebooks import ProgramVersion, build_rules
from models.rules.calendar import local_date
from models.rules.due_mail import DueEmail, due_hint, due_mail, told_mail
from models.rules.effects import Effects, Notice, NoticeKind
from models.rules.facts import Event
from models.rules.fold import fold
from models.rules.mailing import SendWindow, is_open, place
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.rules.timelines import Told

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
DAYTIME = SendWindow(opens=time(9), closes=time(20))
EVENING = SendWindow(opens=time(18), closes=time(2))
PROGRAM = """
[app]
name = "Due"
week_starts_on = "monday"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[streaks.weekly]
frequency = "weekly"
metrics = { lessons = 3 }
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 1
[leaderboards.lessons]
rank_by = { metric = "lessons" }
period = "week"
[emails]
from = "Due <due@example.org>"
"""
REMINDER = """
[emails.reminder]
on = "streak-reminder"
streak = "daily"
before = "4h"
"""
INACTIVE = """
[emails.come-back]
on = "inactive"
days = [3, 7]
"""
RECAP = """
[emails.recap]
on = "recap"
every = "week"
"""
WINDOW = 'send_window = { from = "09:00", until = "20:00" }\n'


def make_rules(*emails: str, window: bool = False) -> Rules:
    toml = PROGRAM + (WINDOW if window else "") + "".join(emails)
    program = load_program(toml, source="the test's program")
    return build_rules([ProgramVersion(version=1, program=program, applied_at=BEGINNING)])


def live(rules: Rules, tz: str, *instants: datetime) -> UserState:
    """Return the state of a user who did a lesson at some instants, in a zone."""
    state = UserState()
    state.told.tell([Told(BEGINNING, tz, {})], rules.attributes)
    facts = [
        Event(one, "lessons", f"{one}", 1, Decimal(1), local_date(one, tz), {})
        for one in sorted(instants)
    ]
    fold(state, facts, rules, Effects())
    return state


def at(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


def briefly(emails: Sequence[DueEmail]) -> list[tuple[str, str, datetime]]:
    return [(one.name, one.cause, one.send_at) for one in emails]


@pytest.mark.parametrize(
    ("tz", "instant", "window", "expected"),
    [
        # Paris is at UTC+1 in winter: the window is 8:00 to 19:00 UTC.
        ("Europe/Paris", "2026-01-10T08:00", DAYTIME, "2026-01-10T08:00"),
        ("Europe/Paris", "2026-01-10T18:59", DAYTIME, "2026-01-10T18:59"),
        ("Europe/Paris", "2026-01-10T19:00", DAYTIME, "2026-01-11T08:00"),
        ("Europe/Paris", "2026-01-10T02:00", DAYTIME, "2026-01-10T08:00"),
        # In the night to 29 March clocks go forward: 9:00 is 7:00 UTC from then on.
        ("Europe/Paris", "2026-03-28T19:30", DAYTIME, "2026-03-29T07:00"),
        # In the night to 25 October they go back: 9:00 is 8:00 UTC again.
        ("Europe/Paris", "2026-10-24T18:30", DAYTIME, "2026-10-25T08:00"),
        # From 18:00 to 2:00 over midnight: at 1:59 it is open, at 2:00 no more.
        ("UTC", "2026-01-10T01:59", EVENING, "2026-01-10T01:59"),
        ("UTC", "2026-01-10T02:00", EVENING, "2026-01-10T18:00"),
        # Apia never had 30 December 2011: after 20:00 on the 29th (UTC-10) comes 9:00 on the 31st,
        # at UTC+14.
        ("Pacific/Apia", "2011-12-30T07:00", DAYTIME, "2011-12-30T19:00"),
    ],
)
def test_an_email_goes_out_when_the_window_is_open_or_opens_next_s51(
    tz: str, instant: str, window: SendWindow, expected: str
) -> None:
    assert place(at(instant), tz, window) == at(expected)
    assert is_open(at(expected), tz, window)


def test_without_a_window_it_goes_out_at_once_s51() -> None:
    assert place(BEGINNING, "Asia/Tokyo", None) == BEGINNING


def test_what_would_come_too_late_is_sent_in_the_last_minute_before_s51() -> None:
    """Midnight is the deadline: 23:00 is after the window, and its next opening after midnight."""
    assert place(at("2026-01-10T23:00"), "UTC", DAYTIME, at("2026-01-11T00:00")) == at(
        "2026-01-10T19:59"
    )
    assert place(at("2026-01-10T05:00"), "UTC", DAYTIME, at("2026-01-10T12:00")) == at(
        "2026-01-10T09:00"
    )


def test_a_reminder_is_due_four_hours_before_the_deadline_s51() -> None:
    """A lesson on 10 January in Tokyo: the streak ends with the 11th, at 15:00 UTC."""
    rules = make_rules(REMINDER)
    state = live(rules, "Asia/Tokyo", at("2026-01-10T03:00"))
    hint = due_hint(state, rules.latest)
    early = due_mail(state, rules.latest, at("2026-01-11T10:59"))
    assert (early.emails, early.next_at) == ([], at("2026-01-11T11:00"))
    assert hint is not None
    assert hint <= at("2026-01-11T11:00")
    found = due_mail(state, rules.latest, at("2026-01-11T11:00"))
    cause = "daily:2026-01-11T15:00:00+00:00"
    assert briefly(found.emails) == [("reminder", cause, at("2026-01-11T11:00"))]
    assert found.emails[0].useless_at == at("2026-01-11T15:00")
    assert found.next_at is None, "only a lesson brings another deadline"
    assert due_mail(state, rules.latest, at("2026-01-11T15:00")).emails == []


def test_four_hours_are_elapsed_time_s51() -> None:
    """In New York clocks go forward at 2:00 on 8 March: the 8th ends at 4:00 UTC on the 9th."""
    rules = make_rules(REMINDER.replace("4h", "23h"))
    state = live(rules, "America/New_York", at("2026-03-07T15:00"))
    found = due_mail(state, rules.latest, at("2026-03-08T05:00"))
    assert briefly(found.emails)[0][2] == at("2026-03-08T05:00"), "the first instant of the 8th"


def test_who_has_done_it_today_is_reminded_tomorrow_s52() -> None:
    rules = make_rules(REMINDER)
    state = live(rules, "UTC", at("2026-01-10T03:00"), at("2026-01-11T03:00"))
    found = due_mail(state, rules.latest, at("2026-01-11T21:00"))
    assert (found.emails, found.next_at) == ([], at("2026-01-12T20:00"))


def test_a_reminder_after_the_window_is_placed_before_it_closes_s51() -> None:
    """Four hours before midnight is 20:00, when the window has closed: 19:59 it is."""
    rules = make_rules(REMINDER, window=True)
    state = live(rules, "UTC", at("2026-01-10T03:00"))
    early = due_mail(state, rules.latest, at("2026-01-11T12:00"))
    assert (early.emails, early.next_at) == ([], at("2026-01-11T19:59"))
    found = due_mail(state, rules.latest, at("2026-01-11T19:59"))
    assert briefly(found.emails)[0][2] == at("2026-01-11T19:59")
    hint = due_hint(state, rules.latest)
    assert hint is not None
    assert hint <= at("2026-01-11T19:59")


def test_who_stays_away_is_called_back_at_the_same_time_of_the_day_s50() -> None:
    """A lesson at 18:30 in Paris, in winter; after 29 March it is an hour earlier in UTC."""
    rules = make_rules(INACTIVE)
    state = live(rules, "Europe/Paris", at("2026-03-26T17:30"))
    third, seventh = at("2026-03-29T16:30"), at("2026-04-02T16:30")
    assert due_hint(state, rules.latest) == third
    found = due_mail(state, rules.latest, third)
    assert briefly(found.emails) == [("come-back", "2026-03-26:3", third)]
    assert found.next_at == seventh
    later = due_mail(state, rules.latest, seventh)
    assert [one.cause for one in later.emails] == ["2026-03-26:7"], "four days later, 3 is no news"
    assert later.next_at is None


def test_nobody_is_told_of_what_was_due_before_an_import_s53() -> None:
    rules = make_rules(INACTIVE)
    state = live(rules, "UTC", at("2026-01-05T10:00"))
    imported_at = at("2026-01-09T10:00")
    found = due_mail(state, rules.latest, imported_at, quiet_until=imported_at)
    assert (found.emails, found.next_at) == ([], at("2026-01-12T10:00"))


def test_a_week_that_is_over_is_told_of_to_who_was_there_s50() -> None:
    """Monday 12 January begins at 5:00 UTC in New York; there is a lesson on the Saturday."""
    rules = make_rules(RECAP)
    state = live(rules, "America/New_York", at("2026-01-10T15:00"))
    over = at("2026-01-12T05:00")
    assert due_hint(state, rules.latest) == over
    early = due_mail(state, rules.latest, over - timedelta(seconds=1))
    assert (early.emails, early.next_at) == ([], over)
    found = due_mail(state, rules.latest, over)
    assert briefly(found.emails) == [("recap", "2026-01-05", over)]
    assert found.emails[0].body == {"first": "2026-01-05", "last": "2026-01-11"}
    assert found.next_at is None, "nothing was done in the new week yet"
    assert due_mail(state, rules.latest, over + timedelta(days=3)).emails == [], "no news any more"


def told(kind: NoticeKind, body: dict[str, object], rules: Rules, now: str) -> list[DueEmail]:
    notice = Notice(kind, "cause", at("2026-01-10T12:00"), body, at("2026-01-10T12:00"))
    return list(told_mail(notice, "UTC", rules.latest, at(now)))


def test_a_notice_is_told_to_whom_the_program_says_s50() -> None:
    rules = make_rules(
        '[emails.lost]\non = "streak-lost"\nstreak = "daily"\n',
        '[emails.podium]\non = "leaderboard-finished"\nleaderboard = "lessons"\ntop = 3\n',
        window=True,
    )
    lost: dict[str, object] = {"streak": "daily", "length": 3}
    found = told(NoticeKind.STREAK_LOST, lost, rules, "2026-01-10T23:00")
    assert briefly(found) == [("lost", "cause", at("2026-01-11T09:00"))]
    assert told(NoticeKind.STREAK_LOST, lost, rules, "2026-01-12T12:01") == [], "no news any more"
    assert told(NoticeKind.STREAK_LOST, {"streak": "weekly"}, rules, "2026-01-10T13:00") == []
    assert told(NoticeKind.ACHIEVEMENT, {}, rules, "2026-01-10T13:00") == [], "no such email"
    podium: dict[str, object] = {"leaderboard": "lessons", "segment": "all", "rank": 3}
    for change, emails in ({}, 1), ({"rank": 4}, 0), ({"segment": "country=FR"}, 0):
        body = podium | change
        found = told(NoticeKind.LEADERBOARD_FINISHED, body, rules, "2026-01-10T13:00")
        assert len(found) == emails, change
