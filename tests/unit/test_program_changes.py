"""What a new version of a program changes is told thing by thing."""

from __future__ import annotations

from models.program import Program, compare_programs, load_program

OLD = """
[app]
name = "App"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
[leaderboards.all-time]
rank_by = { metric = "lessons" }
period = "all"
"""


def load(text: str) -> Program:
    return load_program(text, source="test.toml")


def changes(old: str, new: str) -> list[str]:
    return [str(change) for change in compare_programs(load(old), load(new))]


def test_the_same_meaning_changes_nothing() -> None:
    assert changes(OLD, OLD.replace("points = 10", "points = 10.0\nevery = 1")) == []


def test_a_first_version_adds_everything() -> None:
    found = compare_programs(None, load(OLD))

    assert {change.kind for change in found} == {"added"}
    assert [change.place for change in found] == [
        "app",
        "leaderboards.all-time",
        "metrics.lessons",
        "points.xp",
        "points.xp.triggers.lesson",
        "streaks.daily",
    ]


def test_what_is_new_and_what_is_gone_is_named() -> None:
    new = OLD.replace("leaderboards.all-time", "leaderboards.ever") + "[metrics.minutes]\n"

    assert changes(OLD, new) == [
        "removed leaderboards.all-time",
        "added leaderboards.ever",
        "added metrics.minutes",
    ]


def test_a_change_says_the_old_and_the_new_value() -> None:
    new = OLD.replace("{ lessons = 1 }", '{ lessons = 2 }\nmode = "all"')

    assert changes(OLD, new) == [
        'changed streaks.daily: metrics {"lessons": "1"} → {"lessons": "2"}, mode (default) → all'
    ]


def test_a_changed_trigger_is_told_to_be_a_new_one_s36() -> None:
    [change] = compare_programs(load(OLD), load(OLD.replace("points = 10", "points = 20")))

    assert (change.kind, change.place) == ("changed", "points.xp.triggers.lesson")
    assert change.text.startswith("points 10 → 20; a changed trigger is a new trigger")


def test_a_changed_zone_of_the_program_changes_the_clocks_that_follow_it() -> None:
    weekly = OLD.replace('period = "all"', 'period = "week"')
    tokyo = weekly.replace('"App"', '"App"\ntimezone = "Asia/Tokyo"')

    assert changes(weekly, tokyo) == [
        "changed app: timezone (default) → Asia/Tokyo",
        "changed leaderboards.all-time: clock (default) → Asia/Tokyo",
    ]


def test_emails_are_told_apart_from_their_settings() -> None:
    emails = OLD + "[emails]\nfrom = 'a@example.org'\n[emails.done]\non = 'achievement'\n"

    assert changes(OLD, emails) == ["added emails", "added emails.done"]
    assert changes(emails, emails.replace("a@example", "b@example")) == [
        "changed emails: from a@example.org → b@example.org"
    ]
