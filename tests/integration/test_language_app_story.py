"""The language app of `programs/language-app.toml`, told chapter by chapter.

Each chapter has people and a database of its own. What happens is told in the order in which it
reaches the app, and above every number stands how it comes about. Read beside it the program, and
the rules: S1 to S75 in `SEMANTICS.md`.

The calendar: Monday, 2 November 2026, begins week 45. In these months Paris is an hour ahead of
UTC and Tokyo nine; New York is five hours behind, Los Angeles eight.

When a chapter is over its facts are told again to another database, in another order and in other
batches, and everyone is computed anew from nothing. Nothing may come out differently (`story`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from jobs.change_users import (
    adjust_points,
    complete_achievement,
    grant_freezes,
    pause_streaks,
    restore_streak,
    suspend_users,
)
from tests.applying import opened, opened_rankings
from tests.servers import fresh_database
from tests.telling import (
    Story,
    at,
    chains,
    completed,
    dates,
    freezes_and_length,
    lengths,
    level,
    xp,
)

PROGRAM = Path(__file__).parents[3] / "shared" / "programs" / "language-app.toml"
PARIS, TOKYO = "Europe/Paris", "Asia/Tokyo"
NEW_YORK, LOS_ANGELES = "America/New_York", "America/Los_Angeles"

pytestmark = pytest.mark.skipif(
    not PROGRAM.is_file(), reason="the program, ../shared/programs/language-app.toml, is not here"
)


@pytest.fixture
def story(
    database_url: str,
    postgres_url: str,
    _embedded_template: str,
    valkey_url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    """A chapter begins with the program and nobody, and ends with the same facts told otherwise."""
    with (
        opened(database_url) as engine,
        opened_rankings(valkey_url, namespace) as rankings,
        fresh_database(postgres_url, template=_embedded_template) as other_url,
        opened(other_url) as other,
    ):
        story = Story(engine, rankings, PROGRAM.read_text(), monkeypatch)
        yield story
        story.must_come_to_the_same(other)


def test_a_first_week_and_its_weekend_s20_s21_s24_s28_s30(story: Story) -> None:
    """Amélie learns French in Paris: a lesson on every workday, practice alone on the weekend."""
    story.meet("amelie", at("2026-11-02 18:30", PARIS), tz=PARIS, country="FR")
    for day in dates("2026-11-02", "2026-11-06"):
        story.do("amelie", "lessons", at(f"{day} 19:00", PARIS), language="fr")
    for day in dates("2026-11-07", "2026-11-08"):
        story.do("amelie", "minutes", at(f"{day} 19:00", PARIS), 10)

    amelie = story.show("amelie", at("2026-11-08 21:00", PARIS))
    # `daily` asks for a lesson or 10 minutes: Monday to Sunday are 7 days. There is 1 freeze from
    # the start, and 1 for the 7th day. `workdays` asks for lessons: the weekend is off, and holds
    # its 5 days without adding any.
    assert lengths(amelie) == {"daily": 7, "workdays": 5, "monthly": 0}
    assert freezes_and_length(amelie) == (2, 7)
    # By the end of Monday in Paris (23:00 UTC) the next is due; `daily` has 6 hours of grace.
    assert amelie["streaks"]["daily"]["expires_at"] == at("2026-11-10 05:00")
    assert amelie["streaks"]["workdays"]["expires_at"] == at("2026-11-10 00:00", PARIS)
    # 25 for signing up, 5 lessons of 10, 15 for the 5th in French, 50 for the week: 140.
    assert (xp(amelie), level(amelie)) == (140, "a1")
    assert completed(amelie) == {
        "first-lesson": at("2026-11-02 19:00", PARIS),
        "week-streak": at("2026-11-08 19:00", PARIS),
    }
    assert ("milestone", "daily:2026-11-08:7") in story.notices("amelie")
    # All of it was earned in week 45, and by someone in France.
    assert story.board("weekly-xp", "2026-W45") == [("amelie", 140)]
    assert story.board("weekly-xp", "2026-W45", "country=FR") == [("amelie", 140)]

    # Monday's lesson is the 8th day of the one and, over the weekend, the 6th of the other.
    story.do("amelie", "lessons", at("2026-11-09 19:00", PARIS), language="fr")
    amelie = story.show("amelie", at("2026-11-09 21:00", PARIS))
    assert lengths(amelie) == {"daily": 8, "workdays": 6, "monthly": 0}


def test_travel_east_and_west_s1_s7(story: Story) -> None:
    """Bao flies from Paris to Tokyo, and on to Los Angeles, where Saturday begins once more."""
    story.meet("bao", at("2026-11-09 08:00", PARIS), tz=PARIS)
    story.do("bao", "lessons", at("2026-11-09 20:00", PARIS))
    story.do("bao", "lessons", at("2026-11-10 08:00", PARIS))
    story.meet("bao", at("2026-11-11 12:00", TOKYO), tz=TOKYO)
    # East. Bao began the 11th in Paris, so it stays open until it is over there as well, at 23:00
    # UTC, and 6 hours longer for grace: 5:00. By Tokyo's clock alone it would have been 21:00.
    # Then the freeze of the start holds the 2 days.
    assert freezes_and_length(story.show("bao", at("2026-11-12 04:59"))) == (1, 2)
    assert freezes_and_length(story.show("bao", at("2026-11-12 05:00"))) == (0, 2)

    story.do("bao", "lessons", at("2026-11-12 21:00", TOKYO))
    story.do("bao", "lessons", at("2026-11-13 20:00", TOKYO))
    story.do("bao", "lessons", at("2026-11-14 09:00", TOKYO))
    # The 9th, 10th, 12th, 13th and 14th.
    assert lengths(story.show("bao", at("2026-11-14 16:00", TOKYO)))["daily"] == 5
    # West. It is Saturday, 10:00, again: the 14th counts once, though the lesson earns its points.
    story.meet("bao", at("2026-11-14 10:00", LOS_ANGELES), tz=LOS_ANGELES)
    story.do("bao", "lessons", at("2026-11-14 12:00", LOS_ANGELES))
    assert lengths(story.show("bao", at("2026-11-14 13:00", LOS_ANGELES)))["daily"] == 5
    story.do("bao", "lessons", at("2026-11-15 12:00", LOS_ANGELES))
    story.do("bao", "lessons", at("2026-11-16 12:00", LOS_ANGELES))

    bao = story.show("bao", at("2026-11-16 13:00", LOS_ANGELES))
    # With the 15th and the 16th 7 days, which earn a freeze; the first one is spent.
    assert freezes_and_length(bao) == (1, 7)
    # The 17th ends in Los Angeles at 8:00 UTC.
    assert bao["streaks"]["daily"]["expires_at"] == at("2026-11-18 14:00")
    # No freeze holds `workdays`: Wednesday the 11th broke it after 2. A lesson on a day off adds:
    # Thursday to Monday are 5.
    assert chains(bao, "workdays") == [
        ("2026-11-09", "2026-11-10", 2),
        ("2026-11-12", "2026-11-16", 5),
    ]
    # 25 and 8 lessons of 10, and 50 for the week: 155.
    assert xp(bao) == 155
    # Until Sunday in Los Angeles it was week 46: 25 and 7 lessons. Monday is 10 and 50.
    assert story.board("weekly-xp", "2026-W46") == [("bao", 95)]
    assert story.board("weekly-xp", "2026-W47") == [("bao", 60)]


def test_a_phone_lost_for_two_days_s14_s25_s26(story: Story) -> None:
    """Chidi of New York practises offline on Saturday and Sunday, and then loses the phone."""
    story.meet("chidi", at("2026-11-02 08:00", NEW_YORK), tz=NEW_YORK)
    for day in dates("2026-11-02", "2026-11-06"):
        story.do("chidi", "lessons", at(f"{day} 20:00", NEW_YORK))

    # As far as anyone knows, nothing was done. Saturday, the 7th, closes on Sunday at 5:00 UTC and
    # 6 hours of grace: the freeze holds 5 days. Sunday closes on Monday at 11:00 and breaks them.
    sunday, monday = at("2026-11-08 11:00"), at("2026-11-09 11:00")
    assert freezes_and_length(story.show("chidi", sunday)) == (0, 5)
    assert freezes_and_length(story.show("chidi", monday)) == (0, 0)
    # On Monday, on another phone, a new chain begins, but `workdays` goes on over the weekend.
    story.do("chidi", "lessons", at("2026-11-09 08:00", NEW_YORK))
    chidi = story.show("chidi", at("2026-11-09 09:00", NEW_YORK))
    assert lengths(chidi) == {"daily": 1, "workdays": 6, "monthly": 0}
    assert chains(chidi, "daily") == [
        ("2026-11-02", "2026-11-06", 5),
        ("2026-11-09", "2026-11-09", 1),
    ]
    # 25 and 6 lessons.
    assert xp(chidi) == 85
    assert story.notices("chidi") == [
        ("achievement", "first-lesson"),
        ("freeze-used", "daily:2026-11-07"),
        ("streak-lost", "daily:2026-11-08"),
    ]

    # At 18:00 the phone is found, and sends what it has kept.
    found = at("2026-11-09 18:00", NEW_YORK)
    story.do("chidi", "minutes", at("2026-11-07 20:00", NEW_YORK), 15, arrives=found)
    story.do("chidi", "minutes", at("2026-11-08 20:00", NEW_YORK), 15, arrives=found)
    chidi = story.show("chidi", found)
    # The chain is whole: 2 to 9 November. The freeze is back, and there is one more for 7 days.
    assert chains(chidi, "daily") == [("2026-11-02", "2026-11-09", 8)]
    assert freezes_and_length(chidi) == (2, 8)
    # Sunday was the 7th day, so 50 more were earned then, at 20:00: in week 45, which takes late
    # events until 0:00 UTC. That is 25, 5 lessons and 50; the lesson of Monday is in week 46.
    assert xp(chidi) == 135
    assert completed(chidi)["week-streak"] == at("2026-11-08 20:00", NEW_YORK)
    assert story.board("weekly-xp", "2026-W45") == [("chidi", 125)]
    assert story.board("weekly-xp", "2026-W46") == [("chidi", 10)]
    # What was told of the freeze and the loss is taken back, and each late event that changed the
    # past is told: Saturday's gave the freeze back to Saturday and let it hold Sunday (5 days, the
    # 7th, and the 9th: 7), Sunday's made them 8.
    saturdays, sundays = "daily:2026-11-08T01:00:00+00:00", "daily:2026-11-09T01:00:00+00:00"
    assert sorted(story.notices("chidi")) == [
        ("achievement", "first-lesson"),
        ("achievement", "week-streak"),
        ("correction", saturdays),
        ("correction", sundays),
        ("milestone", "daily:2026-11-08:7"),
    ]
    told = story.notice("chidi", "correction", saturdays)
    assert told == {"streak": "daily", "before": 1, "after": 7}
    # As of Monday at 11:00 it reads as if the phone had never been lost.
    assert freezes_and_length(story.show("chidi", found, as_of=monday)) == (2, 7)


def test_an_outage_and_an_amnesty_s23_s27(story: Story) -> None:
    """On Wednesday at noon the app fails, until Friday. Esi was early on Wednesday; Diego not."""
    for user in ("diego", "esi"):
        story.meet(user, at("2026-11-16 06:00", LOS_ANGELES), tz=LOS_ANGELES)
        story.do(user, "lessons", at("2026-11-16 07:00", LOS_ANGELES))
        story.do(user, "lessons", at("2026-11-17 07:00", LOS_ANGELES))
    story.do("esi", "lessons", at("2026-11-18 07:00", LOS_ANGELES))
    for user in ("diego", "esi"):
        story.do(user, "lessons", at("2026-11-20 07:00", LOS_ANGELES))

    # Diego's freeze held Wednesday and nothing held Thursday, which closed on Friday at 6:00.
    # Esi's freeze held Thursday: Monday, Tuesday, Wednesday and Friday are 4. `workdays` has none.
    friday = at("2026-11-20 12:00", LOS_ANGELES)
    diego, esi = story.show("diego", friday), story.show("esi", friday)
    assert (freezes_and_length(diego), freezes_and_length(esi)) == ((0, 1), (0, 4))
    assert (lengths(diego)["workdays"], lengths(esi)["workdays"]) == (1, 1)
    assert ("streak-lost", "daily:2026-11-19") in story.notices("diego")

    outage = date(2026, 11, 18), date(2026, 11, 19)
    saturday = at("2026-11-21 10:00", LOS_ANGELES)
    story.order(pause_streaks, ["diego", "esi"], *outage, given_at=saturday)
    # Both days hold every chain, and cost no freeze. Nothing is added for Diego, who has 3 days;
    # what Esi did on Wednesday adds as on any day.
    diego, esi = story.show("diego", saturday), story.show("esi", saturday)
    assert (freezes_and_length(diego), freezes_and_length(esi)) == ((1, 3), (1, 4))
    assert (lengths(diego)["workdays"], lengths(esi)["workdays"]) == (3, 4)
    assert chains(diego, "daily") == [("2026-11-16", "2026-11-20", 3)]
    assert story.notices("diego") == [("achievement", "first-lesson")]


def test_freezes_that_save_and_one_that_is_missing_s23_s24_s27(story: Story) -> None:
    """Fumiko of Tokyo has 2 freezes after a week, and needs 3."""
    story.meet("fumiko", at("2026-11-02 07:00", TOKYO), tz=TOKYO)
    for day in [*dates("2026-11-02", "2026-11-08"), date(2026, 11, 11), date(2026, 11, 13)]:
        story.do("fumiko", "lessons", at(f"{day} 08:00", TOKYO))

    # 7 days, held over the 9th and the 10th by a freeze each; with the 11th 8. The 12th closed on
    # the 13th at 6:00 in Tokyo (its end is 15:00 UTC) and found none.
    fumiko = story.show("fumiko", at("2026-11-13 12:00", TOKYO))
    assert chains(fumiko, "daily") == [
        ("2026-11-02", "2026-11-11", 8),
        ("2026-11-13", "2026-11-13", 1),
    ]
    assert freezes_and_length(fumiko) == (0, 1)
    assert fumiko["streaks"]["daily"]["longest"] == 8
    lost = story.notice("fumiko", "streak-lost", "daily:2026-11-12")
    assert (lost["period"], lost["length"]) == ("2026-11-12", 8)
    assert story.notice("fumiko", "freeze-used", "daily:2026-11-09")["freezes"] == 1
    assert story.notice("fumiko", "freeze-used", "daily:2026-11-10")["freezes"] == 0
    # 25, 9 lessons, and a week.
    assert xp(fumiko) == 165

    # Fumiko writes to the support, and Olga there restores the chain: an amnesty over the 12th. Of
    # 5 freezes that she adds 3 are kept, the most that there can be.
    story.order(restore_streak, ["fumiko"], "daily", given_at=at("2026-11-13 20:00", TOKYO))
    story.order(grant_freezes, ["fumiko"], "daily", 5, given_at=at("2026-11-13 21:00", TOKYO))
    fumiko = story.show("fumiko", at("2026-11-13 22:00", TOKYO))
    assert chains(fumiko, "daily") == [("2026-11-02", "2026-11-13", 9)]
    assert freezes_and_length(fumiko) == (3, 9)
    # 5 days later it is 14: 5 lessons and 50 for another week. The freeze for it is one too many.
    for day in dates("2026-11-14", "2026-11-18"):
        story.do("fumiko", "lessons", at(f"{day} 08:00", TOKYO))
    fumiko = story.show("fumiko", at("2026-11-18 12:00", TOKYO))
    assert freezes_and_length(fumiko) == (3, 14)
    assert xp(fumiko) == 265


def test_boosts_rounding_and_the_cap_of_a_day_over_new_year_s32(story: Story) -> None:
    """Goran of New York is `pro` (× 1.25), and points are doubled from 1 to 3 January."""
    story.meet("goran", at("2026-12-30 12:00", NEW_YORK), tz=NEW_YORK, plan="pro")
    # 25 × 1.25 = 31.25, rounded down.
    assert xp(story.show("goran", at("2026-12-30 13:00", NEW_YORK))) == 31
    # The boost goes by Goran's date, not that of UTC, and each award is rounded by itself:
    # 10 × 1.25 = 12.5, so 12, on the 31st; 10 × 2 × 1.25 = 25 an hour later.
    story.do("goran", "lessons", at("2026-12-31 23:30", NEW_YORK), language="fr")
    story.do("goran", "lessons", at("2027-01-01 00:30", NEW_YORK), language="fr")
    assert xp(story.show("goran", at("2027-01-01 01:00", NEW_YORK))) == 68

    # 20 French lessons at once are 200 × 2.5 = 500. After 2, 22, 42, 62 and 82 lessons the bonus
    # was earned 0, 4, 8, 12 and 16 times: 4 × 15 × 2.5 = 150 each time.
    for hour in (10, 11, 12, 13):
        story.do("goran", "lessons", at(f"2027-01-01 {hour}:00", NEW_YORK), 20, language="fr")
    # Three times that the day has 25 + 3 × 650 = 1975. The cap is 2000: of the fourth 500 there is
    # room for 25, and for nothing of the bonus.
    assert story.last_entry("goran", "lesson") == (25, 200, "new-year,pro", 475)
    assert story.last_entry("goran", "french-bonus") == (0, 60, "new-year,pro", 150)
    goran = story.show("goran", at("2027-01-01 14:00", NEW_YORK))
    # 31 + 12 + 2000. From 68 by 650 to 718, and to 1368: a2 came with the second twenty.
    assert (xp(goran), level(goran)) == (2043, "a2")
    assert story.levels("goran") == [(at("2027-01-01 11:00", NEW_YORK), "a2")]

    # The 3rd is boosted until its last minute in New York: 25 at 23:00, and 12 after midnight.
    story.do("goran", "lessons", at("2027-01-03 23:00", NEW_YORK))
    story.do("goran", "lessons", at("2027-01-04 00:30", NEW_YORK))
    assert xp(story.show("goran", at("2027-01-04 01:00", NEW_YORK))) == 2080
    # Week 53 ends with that Sunday: 31 + 12 + 2000 + 25.
    assert story.board("weekly-xp", "2026-W53") == [("goran", 2068)]
    assert story.board("weekly-xp", "2027-W01") == [("goran", 12)]


def test_a_promotion_and_a_demotion_s33_s34(story: Story) -> None:
    """Hana of Paris works hard, wins a contest, and it turns out that she should not have."""
    story.meet("hana", at("2026-11-03 08:00", PARIS), tz=PARIS)
    for hour in ("09", "10", "11", "12", "13"):
        story.do("hana", "lessons", at(f"2026-11-03 {hour}:00", PARIS), 20)
    # 25 + 5 × 200 = 1025. With the fourth twenty it was 825: the fifth brings a2, at 1000, and is
    # the 100th lesson.
    hana = story.show("hana", at("2026-11-03 14:00", PARIS))
    assert (xp(hana), level(hana)) == (1025, "a2")
    fifth = at("2026-11-03 13:00", PARIS)
    assert completed(hana)["hundred-lessons"] == fifth

    # 1025 + 3975 is 5000 exactly, and that is b1.
    won, lost = at("2026-11-04 10:00", PARIS), at("2026-11-05 10:00", PARIS)
    story.order(adjust_points, ["hana"], "xp", Decimal(3975), given_at=won)
    hana = story.show("hana", won)
    assert (xp(hana), level(hana)) == (5000, "b1")
    assert completed(hana)["reached-b1"] == won
    # 5000 - 4001 = 999 is a1. What was reached stays reached.
    story.order(adjust_points, ["hana"], "xp", Decimal(-4001), given_at=lost)
    hana = story.show("hana", lost)
    assert (xp(hana), level(hana)) == (999, "a1")
    assert completed(hana)["reached-b1"] == won
    # One more lesson, 1009, and a2 is worth telling again.
    again = at("2026-11-06 09:00", PARIS)
    story.do("hana", "lessons", again)
    assert story.levels("hana") == [(fifth, "a2"), (won, "b1"), (again, "a2")]
    assert story.board("weekly-xp", "2026-W45") == [("hana", 1009)]


def test_one_lesson_and_all_that_follows_from_it_s31_s34_s35(story: Story) -> None:
    """Ivo of Paris is one day short of a week, and 4 lessons short of 100."""
    story.meet("ivo", at("2026-11-09 08:00", PARIS), tz=PARIS)
    for day in dates("2026-11-09", "2026-11-14"):
        story.do("ivo", "lessons", at(f"{day} 19:00", PARIS), 16)
    # 25 + 96 × 10 = 985.
    ivo = story.show("ivo", at("2026-11-14 20:00", PARIS))
    assert (xp(ivo), level(ivo)) == (985, "a1")

    sunday = at("2026-11-15 19:00", PARIS)
    story.do("ivo", "lessons", sunday, 4)
    ivo = story.show("ivo", sunday)
    # 4 lessons are 40. They make a week (50) and 100 lessons; the two make a scholar (500).
    assert completed(ivo) == {
        "first-lesson": at("2026-11-09 19:00", PARIS),
        "hundred-lessons": sunday,
        "week-streak": sunday,
        "scholar": sunday,
    }
    assert (xp(ivo), level(ivo)) == (1575, "a2")
    assert story.levels("ivo") == [(sunday, "a2")]


def test_a_week_with_a_tie_a_move_and_a_suspension_s42_s44_s45_s48(story: Story) -> None:
    """Everyone does 3 lessons in week 47, from Monday to Sunday by clocks on three continents."""
    homes = {"amelie": PARIS, "zoe": PARIS, "kenji": TOKYO, "liv": NEW_YORK}
    countries = {PARIS: "FR", TOKYO: "JP", NEW_YORK: "US"}
    for user, tz in homes.items():
        story.meet(user, at("2026-11-10 12:00", tz), tz=tz, country=countries[tz])
    # Kenji is the first, on Monday by his clock, and Sunday by that of UTC. Amélie and Zoé finish
    # in the same second.
    story.do("kenji", "lessons", at("2026-11-16 00:30", TOKYO), 3)
    story.do("zoe", "lessons", at("2026-11-18 19:00", PARIS), 3)
    story.do("amelie", "lessons", at("2026-11-18 19:00", PARIS), 3)
    # All have 30: the earlier one stands higher, and in the same second the id decides.
    assert story.board("weekly-xp", "2026-W47") == [("kenji", 30), ("amelie", 30), ("zoe", 30)]
    assert story.board("weekly-xp", "2026-W47", "country=FR") == [("amelie", 30), ("zoe", 30)]

    # On Thursday Amélie moves to Japan, and takes what she has in the open week along.
    story.meet("amelie", at("2026-11-19 12:00", PARIS), country="JP")
    assert story.board("weekly-xp", "2026-W47", "country=FR") == [("zoe", 30)]
    assert story.board("weekly-xp", "2026-W47", "country=JP") == [("kenji", 30), ("amelie", 30)]

    # On Friday Kenji is suspended: he vanishes from all boards and keeps what is his. 25 + 30.
    friday = at("2026-11-20 12:00", PARIS)
    story.order(suspend_users, ["kenji"], True, given_at=friday)
    assert story.board("weekly-xp", "2026-W47") == [("amelie", 30), ("zoe", 30)]
    assert story.board("weekly-xp", "2026-W47", "country=JP") == [("amelie", 30)]
    assert story.board("streak") == [("amelie", 1), ("zoe", 1)]
    assert xp(story.show("kenji", friday)) == 55
    # On Saturday it is cleared up.
    story.order(suspend_users, ["kenji"], False, given_at=at("2026-11-21 12:00", PARIS))
    assert story.board("weekly-xp", "2026-W47", "country=JP") == [("kenji", 30), ("amelie", 30)]
    assert story.board("streak") == [("kenji", 1), ("amelie", 1), ("zoe", 1)]

    # It is Monday in Tokyo, and Kenji begins week 48, before Liv is done with Sunday in New York.
    story.do("kenji", "lessons", at("2026-11-23 00:30", TOKYO))
    story.do("liv", "lessons", at("2026-11-22 23:30", NEW_YORK), 3)
    names = [user for user, _ in story.board("weekly-xp", "2026-W47")]
    assert names == ["kenji", "amelie", "zoe", "liv"]
    assert story.board("weekly-xp", "2026-W48") == [("kenji", 10)]
    liv = story.show("liv", at("2026-11-22 23:45", NEW_YORK))
    place = {"run": "2026-W47", "rank": 4, "score": 30, "participants": 4}
    assert liv["leaderboards"]["weekly-xp"] == place


def test_boards_of_minutes_quizzes_sprints_and_streaks_s15_s40_s41(story: Story) -> None:
    """Marta is `pro` from the start, Nils from a Saturday on; both live in Paris."""
    story.meet("marta", at("2026-11-16 08:00", PARIS), tz=PARIS, plan="pro")
    story.meet("nils", at("2026-11-16 08:00", PARIS), tz=PARIS)
    # Days of `daily-minutes` change at midnight in Tokyo, 16:00 in Paris: 30 + 15 are one.
    story.do("marta", "minutes", at("2026-11-16 15:59", PARIS), 20)
    story.do("marta", "minutes", at("2026-11-16 16:00", PARIS), 30)
    story.do("marta", "minutes", at("2026-11-17 09:00", PARIS), 15)
    assert story.board("daily-minutes", "2026-11-16") == [("marta", 20)]
    assert story.board("daily-minutes", "2026-11-17") == [("marta", 45)]

    # A sprint ends and the next begins on Friday at 18:00 in Paris, 17:00 UTC.
    story.do("marta", "lessons", at("2026-11-20 17:59", PARIS), 2)
    story.do("marta", "lessons", at("2026-11-20 18:00", PARIS), 4)
    story.do("nils", "lessons", at("2026-11-20 19:00", PARIS), 5)
    assert story.board("sprint", "2026-11-13T17:00:00Z") == [("marta", 2)]
    # Nils is not `pro` and does not take part; when he is, what he did counts.
    assert story.board("sprint", "2026-11-20T17:00:00Z") == [("marta", 4)]
    story.meet("nils", at("2026-11-21 10:00", PARIS), plan="pro")
    assert story.board("sprint", "2026-11-20T17:00:00Z") == [("nils", 5), ("marta", 4)]

    # The board of streaks has the greatest length ever: Marta's 2 days, the 16th and 17th, broke
    # on the 19th (the 18th was frozen), and the 20th is 1. Nils has the 20th to the 22nd.
    assert story.board("streak") == [("marta", 2), ("nils", 1)]
    story.do("nils", "lessons", at("2026-11-21 11:00", PARIS))
    story.do("nils", "lessons", at("2026-11-22 11:00", PARIS))
    assert story.board("streak") == [("nils", 3), ("marta", 2)]

    # The best quiz of a month by the program's zone: the 60 was done in December, in Paris.
    story.do("marta", "best-score", at("2026-11-30 20:00", PARIS), 80)
    story.do("marta", "best-score", at("2026-11-30 23:30", PARIS), 75)
    story.do("marta", "best-score", at("2026-12-01 00:30", PARIS), 60)
    assert story.board("quiz", "2026-11") == [("marta", 80)]
    assert story.board("quiz", "2026-12") == [("marta", 60)]
    # The metric itself keeps the most that there ever was.
    marta = story.show("marta", at("2026-12-01 01:00", PARIS))
    assert marta["metrics"]["best-score"]["total"] == 80


def test_a_month_needs_lessons_and_minutes_s20_s22(story: Story) -> None:
    """Pia of Paris needs 20 lessons and 300 minutes in each calendar month."""
    story.meet("pia", at("2026-11-05 08:00", PARIS), tz=PARIS)
    story.do("pia", "lessons", at("2026-11-05 19:00", PARIS), 20)
    # The lessons alone do not make November.
    assert lengths(story.show("pia", at("2026-11-20 12:00", PARIS)))["monthly"] == 0
    story.do("pia", "minutes", at("2026-11-28 19:00", PARIS), 300)
    assert lengths(story.show("pia", at("2026-11-28 20:00", PARIS)))["monthly"] == 1

    # December lacks one minute until ten to midnight on the 31st; November's chain waits for it.
    story.do("pia", "lessons", at("2026-12-10 19:00", PARIS), 20)
    story.do("pia", "minutes", at("2026-12-20 19:00", PARIS), 299)
    pia = story.show("pia", at("2026-12-31 23:45", PARIS))
    assert (lengths(pia)["monthly"], pia["streaks"]["monthly"]["active"]) == (1, False)
    assert pia["streaks"]["monthly"]["expires_at"] == at("2027-01-01 00:00", PARIS)
    story.do("pia", "minutes", at("2026-12-31 23:50", PARIS), 1)
    assert lengths(story.show("pia", at("2026-12-31 23:55", PARIS)))["monthly"] == 2

    # In January a lesson is missing. The chain ends with the month, in Paris.
    story.do("pia", "lessons", at("2027-01-15 19:00", PARIS), 19)
    story.do("pia", "minutes", at("2027-01-15 20:00", PARIS), 400)
    assert lengths(story.show("pia", at("2027-01-31 23:59", PARIS)))["monthly"] == 2
    pia = story.show("pia", at("2027-02-01 00:00", PARIS))
    assert lengths(pia)["monthly"] == 0
    assert chains(pia, "monthly") == [("2026-11-01", "2026-12-01", 2)]


def test_a_year_of_membership_s31_s34(story: Story) -> None:
    """Noor signs up on 10 December 2025 and only stays; Omar signs up 30 days before New Year."""
    story.meet("noor", at("2025-12-10 12:00", PARIS), tz=PARIS)
    # Every 30 days, as the day begins, there are 100. The first such day is 9 January.
    assert xp(story.show("noor", at("2026-01-08 23:59", PARIS))) == 25
    assert xp(story.show("noor", at("2026-01-09 00:00", PARIS))) == 125
    # Day 300 is 6 October 2026, in summer time: the 10th hundred makes 1025, and a2.
    noor = story.show("noor", at("2026-10-05 23:59", PARIS))
    assert (xp(noor), level(noor)) == (925, "a1")
    noor = story.show("noor", at("2026-10-06 00:00", PARIS))
    assert (xp(noor), level(noor)) == (1025, "a2")

    # Noor helps with a new version, which only somebody's word can tell.
    told = at("2026-11-20 10:00", PARIS)
    story.order(complete_achievement, ["noor"], "beta-tester", given_at=told)
    assert completed(story.show("noor", at("2026-12-09 23:59", PARIS))) == {"beta-tester": told}
    # A year is over as 10 December begins. Day 360 was the 5th: 25 + 12 × 100.
    year = at("2026-12-10 00:00", PARIS)
    noor = story.show("noor", year)
    assert completed(noor) == {"beta-tester": told, "one-year": year}
    assert xp(noor) == 1225

    # Omar does one lesson, on a plane; it is sent when he next opens the app, a week later.
    story.meet("omar", at("2026-12-02 09:00", NEW_YORK), tz=NEW_YORK)
    opened_again = at("2026-12-20 09:00", NEW_YORK)
    story.meet("omar", opened_again, tz=NEW_YORK)
    story.do("omar", "lessons", at("2026-12-13 09:00", NEW_YORK), arrives=opened_again)
    # His 30th day is 1 January, on which everything is doubled: 25 + 10 + 200.
    assert xp(story.show("omar", at("2026-12-31 23:59", NEW_YORK))) == 35
    assert xp(story.show("omar", at("2027-01-01 00:00", NEW_YORK))) == 235


def test_too_much_for_one_day_s15_s16(story: Story) -> None:
    """Rosa of Paris lets a script practise; what is over a limit is set aside, the rest counts."""
    story.meet("rosa", at("2026-11-24 07:00", PARIS), tz=PARIS)
    # A day has 1440 minutes: 1000 and 440, and not one more, until it is tomorrow in Paris.
    story.do("rosa", "minutes", at("2026-11-24 08:00", PARIS), 1000)
    story.do("rosa", "minutes", at("2026-11-24 20:00", PARIS), 440)
    assert story.refused("rosa", "minutes", at("2026-11-24 23:59", PARIS)) == "day-limit"
    story.do("rosa", "minutes", at("2026-11-25 00:00", PARIS), 10)
    # Of lessons there are 20 in an event at most, and 200 events in a day.
    assert story.refused("rosa", "lessons", at("2026-11-25 08:00", PARIS), 21) == "too-large"
    for number in range(200):
        story.do("rosa", "lessons", at(f"2026-11-25 {9 + number // 60:02}:{number % 60:02}", PARIS))
    assert story.refused("rosa", "lessons", at("2026-11-25 13:00", PARIS)) == "day-limit"
    # Coins can be spent; lessons cannot be undone.
    story.do("rosa", "coins", at("2026-11-25 14:00", PARIS), 100)
    story.do("rosa", "coins", at("2026-11-25 15:00", PARIS), -30)
    assert story.refused("rosa", "lessons", at("2026-11-26 08:00", PARIS), -1) == "negative"

    rosa = story.show("rosa", at("2026-11-26 09:00", PARIS))
    totals = {name: metric["total"] for name, metric in rosa["metrics"].items()}
    assert totals == {"minutes": 1450, "lessons": 200, "coins": 70}
    # 25, and 200 lessons of 10: the 2000 of a day, exactly. The 100th came at 9:00 and 99 minutes.
    assert xp(rosa) == 2025
    assert completed(rosa)["hundred-lessons"] == at("2026-11-25 10:39", PARIS)
