"""A program file is read with the meaning that its comments give."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.program import Program, load_program, read_program
from models.program.achievements import CollectionAchievement, LevelAchievement
from models.program.emails import InactiveEmail, ReminderEmail
from models.program.points import MembershipTrigger, MetricTrigger, StreakTrigger

SHARED = Path(__file__).parents[3] / "shared" / "programs"

SMALL = """
[app]
name = "Small"
timezone = "Asia/Tokyo"
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
[leaderboards.weekly]
rank_by = { points = "xp" }
period = "week"
[leaderboards.streaks]
rank_by = { streak = "daily" }
period = "month"
"""


def load(text: str) -> Program:
    return load_program(text, source="test.toml")


def shared(name: str) -> Program:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return read_program(path)


def test_the_language_app_has_its_app_and_metrics() -> None:
    program = shared("language-app.toml")

    assert program.app.timezone == "Europe/Paris"
    assert program.app.max_event_age == timedelta(days=30)
    assert program.app.control_group_percent == Decimal(5)
    assert program.metrics["lessons"].max_value == Decimal(20)
    assert program.metrics["lessons"].max_events_per_day == 200
    assert program.metrics["minutes"].max_value_per_day == Decimal(1440)
    assert program.metrics["best-score"].aggregate == "max"
    assert program.metrics["coins"].allow_negative
    assert not program.metrics["lessons"].allow_negative


def test_the_language_app_has_its_streaks() -> None:
    daily, workdays, monthly = shared("language-app.toml").streaks.values()

    assert daily.mode == "any"
    assert daily.metrics == {"lessons": Decimal(1), "minutes": Decimal(10)}
    assert daily.grace == timedelta(hours=6)
    assert daily.milestones == (7, 30, 100, 365)
    assert daily.freezes is not None
    assert (daily.freezes.start, daily.freezes.max) == (1, 3)
    assert (daily.freezes.earn_every, daily.freezes.earn) == (7, 1)
    assert workdays.days_off == ("saturday", "sunday")
    assert workdays.freezes is None
    assert (monthly.frequency, monthly.mode) == ("monthly", "all")


def test_the_language_app_has_its_points() -> None:
    xp = shared("language-app.toml").points["xp"]

    bonus, week, loyalty = (xp.triggers[name] for name in ("french-bonus", "week", "loyalty"))
    assert isinstance(bonus, MetricTrigger)
    assert (bonus.every, bonus.points) == (Decimal(5), Decimal(15))
    assert bonus.where.event == {"language": "fr"}
    assert isinstance(week, StreakTrigger)
    assert (week.streak, week.every) == ("daily", 7)
    assert isinstance(loyalty, MembershipTrigger)
    assert loyalty.every == timedelta(days=30)
    assert xp.boosts["new-year"].from_ == date(2027, 1, 1)
    assert xp.boosts["new-year"].until == date(2027, 1, 3)
    assert xp.boosts["pro"].multiplier == Decimal("1.25")
    assert xp.boosts["pro"].where.user == {"plan": "pro"}
    assert [(level.key, level.at) for level in xp.levels] == [
        ("a1", Decimal(0)),
        ("a2", Decimal(1000)),
        ("b1", Decimal(5000)),
    ]
    assert (xp.max_per_day, xp.rounding) == (Decimal(2000), "down")


def test_the_language_app_has_its_achievements() -> None:
    achievements = shared("language-app.toml").achievements

    level, scholar = achievements["reached-b1"], achievements["scholar"]
    assert isinstance(level, LevelAchievement)
    assert (level.points, level.level) == ("xp", "b1")
    assert isinstance(scholar, CollectionAchievement)
    assert scholar.all == ("hundred-lessons", "week-streak")


def test_the_language_app_has_its_leaderboards() -> None:
    boards = shared("language-app.toml").leaderboards

    weekly, sprint = boards["weekly-xp"], boards["sprint"]
    assert (weekly.rank_by.kind, weekly.rank_by.name) == ("points", "xp")
    assert (weekly.clock, weekly.segment_by, weekly.size) == ("user", ("country",), 1000)
    assert weekly.late == timedelta(hours=12)
    assert boards["daily-minutes"].clock == "Asia/Tokyo"
    assert boards["quiz"].aggregate == "best"
    assert (sprint.cron, sprint.clock) == ("0 18 * * 5", "Europe/Paris")
    assert sprint.where.user == {"plan": "pro"}


def test_the_language_app_has_its_emails() -> None:
    emails = shared("language-app.toml").emails

    assert emails is not None
    assert emails.from_ == "Parlons <hello@example.org>"
    assert emails.send_window is not None
    assert (emails.send_window.from_, emails.send_window.until) == (time(9), time(20))
    reminder, come_back = emails.messages["reminder"], emails.messages["come-back"]
    assert isinstance(reminder, ReminderEmail)
    assert reminder.before == timedelta(hours=4)
    assert isinstance(come_back, InactiveEmail)
    assert come_back.days == (3, 7, 14, 30)


def test_the_open_source_program_loads() -> None:
    program = shared("open-source.toml")

    assert list(program.streaks) == ["daily", "weekly"]
    assert program.leaderboards["weekly"].clock == "user"
    assert program.leaderboards["longest-streak"].rank_by.kind == "streak"


def test_what_is_left_out_has_its_default() -> None:
    program = load(SMALL)

    trigger = program.points["xp"].triggers["lesson"]
    assert isinstance(trigger, MetricTrigger)
    assert (trigger.every, trigger.where.event, trigger.where.user) == (Decimal(1), {}, {})
    assert program.metrics["lessons"].aggregate == "sum"
    assert program.streaks["daily"].mode == "any"
    assert program.app.week_starts_on == "monday"
    assert program.emails is None


def test_a_leaderboard_without_a_clock_goes_by_the_programs_zone() -> None:
    assert load(SMALL).leaderboards["weekly"].clock == "Asia/Tokyo"


def test_a_leaderboard_by_streak_takes_the_best_unless_told() -> None:
    boards = load(SMALL).leaderboards

    assert boards["streaks"].aggregate == "best"
    assert boards["weekly"].aggregate == "sum"


def test_a_decimal_is_what_the_file_says_and_no_float() -> None:
    program = load(SMALL.replace("lessons = 1", "lessons = 0.1"))

    assert program.streaks["daily"].metrics["lessons"] == Decimal("0.1")


def test_a_program_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(SMALL).app.name = "Other"  # type: ignore[misc]  # what is refused


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())

    assert read_program(path) == load(SMALL)


SAME_MEANING = {
    "defaults spelled out": SMALL.replace('period = "week"', 'period = "week"\nevery = 1')
    .replace('frequency = "daily"', 'frequency = "daily"\nmode = "any"\ngrace = "0h"')
    .replace("points = 10", "points = 10\nevery = 1.0\nwhere = { event = {} }"),
    "other spellings of numbers": SMALL.replace("points = 10", "points = 1.0e1"),
    "another duration": SMALL.replace('name = "Small"', 'name = "Small"\nmax_event_age = "720h"'),
    "the clock named": SMALL.replace('"week"', '"week"\nclock = "Asia/Tokyo"'),
    "the aggregate named": SMALL.replace('"month"', '"month"\naggregate = "best"'),
    "another order of tables": SMALL.replace("[metrics.lessons]\n", "") + "[metrics.lessons]\n",
    "another layout": SMALL.replace("[metrics.lessons]", "# a comment\n[metrics]\nlessons = {}"),
}


@pytest.mark.parametrize("text", SAME_MEANING.values(), ids=SAME_MEANING.keys())
def test_texts_of_one_meaning_have_one_canonical_form(text: str) -> None:
    assert text != SMALL
    assert load(text).canonical_json() == load(SMALL).canonical_json()
    assert load(text).digest == load(SMALL).digest


def test_lists_without_order_have_one_canonical_form() -> None:
    one, other = (
        SMALL.replace("{ lessons = 1 }", f"{{ lessons = 1 }}\n{lists}")
        for lists in (
            'days_off = ["sunday", "saturday"]\nmilestones = [30, 7, 7]',
            'days_off = ["saturday", "sunday"]\nmilestones = [7, 30]',
        )
    )

    assert load(one).canonical_json() == load(other).canonical_json()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("points = 10", "points = 10.0001"),
        ("Asia/Tokyo", "Europe/Paris"),
        ('period = "week"', 'period = "week"\nclock = "UTC"'),
        ("[leaderboards.weekly]", "[leaderboards.week]"),
        ('"week"', '"week"\nlate = "0m"'),
    ],
)
def test_texts_of_different_meaning_have_different_canonical_forms(old: str, new: str) -> None:
    changed = SMALL.replace(old, new)

    assert changed != SMALL
    assert load(changed).canonical_json() != load(SMALL).canonical_json()
