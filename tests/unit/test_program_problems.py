"""What is wrong with a program is told all at once: place, line, problem, nearest right name."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from models.program import ProgramError, load_program, read_program
from models.program.loading import PROGRAM_BYTES_MAX

FRAME = """\
[app]
name = "Bad"
[metrics.lessons]
[metrics.minutes]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[points.xp]
levels = [{ key = "a1", at = 0 }]
[achievements.first]
on = "metric"
metric = "lessons"
at = 1
[leaderboards.all-time]
rank_by = { metric = "lessons" }
period = "all"
"""
FIRST_LINE = FRAME.count("\n") + 1


def problems_of(text: str) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        load_program(text, source="bad.toml")
    return caught.value


TRIGGER = "[points.xp.triggers.t]\n"
BOARD = "[leaderboards.b]\nrank_by = { metric = 'lessons' }\n"
EMAILS = "[emails]\nfrom = 'A <a@example.org>'\n"

# Each: lines after FRAME; the place; its line, from 1, among these; a part of the text.
ONE_PROBLEM = [
    ("[metrics.m]\nagregate = 'sum'", "metrics.m.agregate", 2, "did you mean 'aggregate'?"),
    ("[metrics.m]\nzzz = 1", "metrics.m.zzz", 2, "the keys here are name, aggregate"),
    ("[leaderbords.x]", "leaderbords", 1, "unknown key; did you mean 'leaderboards'?"),
    ("[metrics.m]\naggregate = 'summ'", "metrics.m.aggregate", 2, "did you mean 'sum'?"),
    ("[metrics.m]\nmax_value = '10'", "metrics.m.max_value", 2, "a number such as 10 or 2.5"),
    ("[metrics.m]\nmax_value = true", "metrics.m.max_value", 2, "must be a number"),
    ("[metrics.m]\nmax_value = 0", "metrics.m.max_value", 2, "must be more than 0"),
    ("[metrics.m]\nmax_value = nan", "metrics.m.max_value", 2, "largest number that is exact"),
    ("[metrics.m]\nmax_value = inf", "metrics.m.max_value", 2, "largest number that is exact"),
    ("[metrics.m]\nmax_value = 1e99999999999999999999", "metrics.m.max_value", 2, "exact"),
    ("[metrics.m]\nmax_value = 0.00001", "metrics.m.max_value", 2, "4 decimal places"),
    ("[metrics.m]\nmax_events_per_day = 2.5", "metrics.m.max_events_per_day", 2, "whole number"),
    ("[metrics.m]\nallow_negative = 1", "metrics.m.allow_negative", 2, "true or false"),
    ("[metrics.m]\nname = ' '", "metrics.m.name", 2, "must not be empty"),
    ('[metrics.m]\nname = "a\\u0000"', "metrics.m.name", 2, "control characters"),
    ("[metrics.'Bad Name']", "metrics.Bad Name", 1, "such as 'bad-name'"),
    (f"[metrics.{'m' * 65}]", f"metrics.{'m' * 65}", 1, "at most 64 characters"),
    ("[streaks.s]\nfrequency = 'daily'", "streaks.s.metrics", 1, "is missing"),
    (
        "[streaks.s]\nfrequency = 'dayly'\nmetrics = { lessons = 1 }",
        "streaks.s.frequency",
        2,
        "'da",
    ),
    ("[streaks.s]\nfrequency = 'daily'\nmetrics = {}", "streaks.s.metrics", 3, "not be empty"),
    (
        "[streaks.s]\nfrequency = 'daily'\nmetrics = { lesson = 1 }",
        "streaks.s.metrics.lesson",
        3,
        "unknown metric 'lesson'; did you mean 'lessons'?",
    ),
    (
        "[streaks.s]\nfrequency = 'weekly'\nmetrics = { lessons = 1 }\ndays_off = ['sunday']",
        "streaks.s.days_off",
        4,
        "use frequency = 'daily'",
    ),
    (
        "[streaks.s]\nfrequency = 'daily'\nmetrics = { lessons = 1 }\ndays_off = ['satuday']",
        "streaks.s.days_off[0]",
        4,
        "did you mean 'saturday'?",
    ),
    (
        "[streaks.s]\nfrequency = 'daily'\nmetrics = { lessons = 1 }\ngrace = '6 hours'",
        "streaks.s.grace",
        4,
        "such as '90m', '6h', '30d' or '2w'",
    ),
    (
        "[streaks.s]\nfrequency = 'daily'\nmetrics = { lessons = 1 }\ngrace = '8d'",
        "streaks.s.grace",
        4,
        "must be at most 7d",
    ),
    (
        "[streaks.s]\nfrequency = 'daily'\nmetrics = { lessons = 1 }\nmilestones = 7",
        "streaks.s.milestones",
        4,
        "must be a list",
    ),
    (
        "[streaks.daily.freezes]\nmax = 1\nstart = 2",
        "streaks.daily.freezes.start",
        3,
        "2 is more than max, which is 1; lower it, or raise max",
    ),
    (
        "[streaks.daily.freezes]\nmax = 1\nearn = 2\nearn_every = 7",
        "streaks.daily.freezes.earn",
        3,
        "2 is more than max, which is 1; lower it, or raise max",
    ),
    ("[streaks.daily.freezes]\nmax = 0", "streaks.daily.freezes.max", 2, "must be at least 1"),
    ("[streaks.daily.freezes]\nmax = 1\nearn = 1", "streaks.daily.freezes.earn", 3, "earn_every"),
    (TRIGGER + "points = 1", "points.xp.triggers.t.on", 1, "is missing; say one of metric, streak"),
    (TRIGGER + "on = 'metrics'", "points.xp.triggers.t.on", 2, "did you mean 'metric'?"),
    (
        TRIGGER + "on = 'metric'\nmetric = 'lesson'\npoints = 1",
        "points.xp.triggers.t.metric",
        3,
        "unknown metric 'lesson'; did you mean 'lessons'?",
    ),
    (
        TRIGGER + "on = 'metric'\nmetric = 'qqq'\npoints = 1",
        "points.xp.triggers.t.metric",
        3,
        "there is: lessons, minutes",
    ),
    (
        TRIGGER + "on = 'streak'\nstreak = 'dayly'\npoints = 1",
        "points.xp.triggers.t.streak",
        3,
        "did you mean 'daily'?",
    ),
    (
        TRIGGER + "on = 'achievement'\nachievement = 'frist'\npoints = 1",
        "points.xp.triggers.t.achievement",
        3,
        "did you mean 'first'?",
    ),
    (
        TRIGGER + "on = 'membership'\nevery = '36h'\npoints = 1",
        "points.xp.triggers.t.every",
        3,
        "whole days",
    ),
    (
        TRIGGER + "on = 'signup'\npoints = 1\nwhere = { event = { a = 'b' } }",
        "points.xp.triggers.t.where.event",
        4,
        "the keys here are user",
    ),
    (
        TRIGGER + "on = 'signup'\npoints = 1\nwhere = { user = { plan = 1 } }",
        "points.xp.triggers.t.where.user.plan",
        4,
        "must be text",
    ),
    ("[points.xp.boosts.b]\nmultiplier = 0", "points.xp.boosts.b.multiplier", 2, "more than 0"),
    (
        "[points.xp.boosts.b]\nmultiplier = 2\nfrom = 2027-01-03\nuntil = 2027-01-01",
        "points.xp.boosts.b.until",
        4,
        "2027-01-01 is before from, which is 2027-01-03: no day has this boost; put the first day",
    ),
    (
        "[points.xp.boosts.b]\nmultiplier = 2\nfrom = '2027-01-03'",
        "points.xp.boosts.b.from",
        3,
        "without quotes",
    ),
    (
        "[[points.p.levels]]\nkey = 'a'\nat = 3\n[[points.p.levels]]\nkey = 'b'\nat = 3",
        "points.p.levels[1].at",
        6,
        "must be over 3, where 'a' begins",
    ),
    (
        "[[points.p.levels]]\nkey = 'a'\nat = 3\n[[points.p.levels]]\nkey = 'b'\nat = 2",
        "points.p.levels[1].at",
        6,
        "must be over 3, where 'a' begins: write the lowest first",
    ),
    (
        "[[points.p.levels]]\nkey = 'a'\nat = 3\n[[points.p.levels]]\nkey = 'a'\nat = 4",
        "points.p.levels[1].key",
        5,
        "'a' names more than one level; give each a key of its own",
    ),
    (
        "[achievements.a]\non = 'level'\npoints = 'xp'\nlevel = 'a11'",
        "achievements.a.level",
        4,
        "unknown level 'a11'; did you mean 'a1'?",
    ),
    (
        "[achievements.a]\non = 'points'\npoints = 'xpp'\nat = 5",
        "achievements.a.points",
        3,
        "unknown points system 'xpp'; did you mean 'xp'?",
    ),
    (
        "[achievements.a]\non = 'achievements'\nall = ['frist']",
        "achievements.a.all",
        3,
        "did you mean 'first'?",
    ),
    (
        "[leaderboards.b]\nrank_by = { metric = 'lessons', points = 'xp' }\nperiod = 'all'",
        "leaderboards.b.rank_by",
        2,
        "exactly one of metric, points and streak",
    ),
    (
        "[leaderboards.b]\nrank_by = {}\nperiod = 'all'",
        "leaderboards.b.rank_by",
        2,
        "exactly one of metric, points and streak",
    ),
    (
        "[leaderboards.b]\nrank_by = { streak = 'daily' }\nperiod = 'all'\naggregate = 'sum'",
        "leaderboards.b.aggregate",
        4,
        "do not add up",
    ),
    (BOARD + "period = 'week'\norder = 'down'", "leaderboards.b.order", 4, "one of desc, asc"),
    (BOARD + "period = 'all'\nclock = 'user'", "leaderboards.b.clock", 4, "leave it out"),
    (BOARD + "period = 'all'\nlate = '2h'", "leaderboards.b.late", 4, "leave it out"),
    (BOARD + "period = 'all'\nevery = 2", "leaderboards.b.every", 4, "leave it out"),
    (
        BOARD + "period = 'cron'\ncron = '0 0 * * *'\nevery = 2",
        "leaderboards.b.every",
        5,
        "leave it out",
    ),
    (
        BOARD + "period = 'cron'\ncron = '0 0 30 2 *'",
        "leaderboards.b.cron",
        4,
        "never fires: there is no day 30 in month 2; change one of the two fields",
    ),
    (BOARD + "period = 'week'\nclock = 'Asia/Tokio'", "leaderboards.b.clock", 4, "'Asia/Tokyo'"),
    (BOARD + "period = 'cron'", "leaderboards.b.cron", 1, "such as '0 18 * * fri'"),
    (BOARD + "period = 'week'\ncron = '0 0 * * *'", "leaderboards.b.cron", 4, "period = 'cron'"),
    (BOARD + "period = 'cron'\ncron = '0 18 * * fre'", "leaderboards.b.cron", 4, "mean 'fri'?"),
    (
        BOARD + "period = 'cron'\ncron = '0 18 * * fri'\nclock = 'user'",
        "leaderboards.b.clock",
        5,
        "one zone for all",
    ),
    (EMAILS + "sent_window = 3", "emails.sent_window", 3, "did you mean 'send_window'?"),
    (EMAILS + "[emails.Bad]\non = 'achievement'", "emails.Bad", 3, "such as 'bad'"),
    (EMAILS + "[emails.e]\non = 'streak-lst'", "emails.e.on", 4, "did you mean 'streak-lost'?"),
    (
        EMAILS + "send_window = { from = '09:00', until = '09:00' }",
        "emails.send_window.until",
        3,
        "no email could ever go out; move one, or leave send_window out",
    ),
    (
        EMAILS + "send_window = { from = '9', until = '24:00' }",
        "emails.send_window.from",
        3,
        "such as '09:00'",
    ),
    (
        EMAILS + "[emails.e]\non = 'leaderboard-finished'\nleaderboard = 'all-tme'",
        "emails.e.leaderboard",
        5,
        "unknown leaderboard 'all-tme'; did you mean 'all-time'?",
    ),
    (
        EMAILS + "[emails.e]\non = 'leaderboard-finished'\nleaderboard = 'all-time'",
        "emails.e.leaderboard",
        5,
        "never finishes",
    ),
    (EMAILS + "[emails.e]\non = 'freeze-used'\nstreak = 'daily'", "emails.e.streak", 5, "freezes"),
    (EMAILS + "[emails.e]\non = 'milestone'\nstreak = 'daily'", "emails.e.streak", 5, "milestones"),
    ("[emails]\nfrom = 'nobody'", "emails.from", 2, "a sender such as"),
]


@pytest.mark.parametrize(("lines", "place", "line", "text"), ONE_PROBLEM)
def test_a_bad_line_is_told_with_its_place(lines: str, place: str, line: int, text: str) -> None:
    problem = next(
        (found for found in problems_of(FRAME + lines).problems if found.place == place), None
    )

    assert problem is not None, str(problems_of(FRAME + lines))
    assert problem.line == FIRST_LINE + line - 1
    assert text in problem.text


APP_PROBLEMS = [
    ("timezone = 'Europe/Pariss'", "app.timezone", "did you mean 'Europe/Paris'?"),  # S6
    ("week_starts_on = 'Monday'", "app.week_starts_on", "did you mean 'monday'?"),
    ("max_event_age = '0d'", "app.max_event_age", "must be more than 0"),
    ("max_event_age = '99999w'", "app.max_event_age", "longer than 3660d"),
    ("control_group_percent = 101", "app.control_group_percent", "at most 100"),
    ("control_group_percent = -1", "app.control_group_percent", "not be less than 0"),
    ("link_url = 'javascript:alert(1)'", "app.link_url", "https://app.example.org"),
]


@pytest.mark.parametrize(("line", "place", "text"), APP_PROBLEMS)
def test_a_bad_line_of_the_app_is_told_once(line: str, place: str, text: str) -> None:
    error = problems_of(FRAME.replace('name = "Bad"', f'name = "Bad"\n{line}'))

    [problem] = error.problems
    assert (problem.place, problem.line) == (place, 3)
    assert text in problem.text


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    error = problems_of(
        FRAME
        + dedent("""\
        [points.xp.triggers.one]
        on = "metric"
        metric = "lesson"
        points = 10
        [points.xp.triggers.two]
        on = "metric"
        metrc = "lessons"
        metric = "minutes"
        points = 10
        [achievements.streaky]
        on = "streak"
        streak = "weekly"
        at = 7
        """)
    )

    first = FIRST_LINE
    assert str(error).splitlines() == [
        "bad.toml has 3 problems:",
        f"  line {first + 2}, points.xp.triggers.one.metric: "
        "unknown metric 'lesson'; did you mean 'lessons'?",
        f"  line {first + 6}, points.xp.triggers.two.metrc: unknown key; did you mean 'metric'?",
        f"  line {first + 11}, achievements.streaky.streak: "
        "unknown streak 'weekly'; there is: daily",
    ]


def test_a_thing_that_is_itself_wrong_is_not_called_unknown_too() -> None:
    [problem] = problems_of(FRAME.replace("[metrics.lessons]", "[metrics.lessons]\nx = 1")).problems

    assert problem.place == "metrics.lessons.x"


def test_a_circle_of_points_and_achievements_is_refused_and_shown_s35() -> None:
    error = problems_of(
        FRAME
        + dedent("""\
        [points.gems.triggers.champion]
        on = "achievement"
        achievement = "champion"
        points = 5
        [achievements.champion]
        on = "achievements"
        all = ["first", "rich"]
        [achievements.rich]
        on = "points"
        points = "gems"
        at = 100
        [achievements.selfish]
        on = "achievements"
        all = ["selfish"]
        """)
    )

    assert [(problem.place, problem.text) for problem in error.problems] == [
        (
            "achievements.champion",
            "a circle: achievements.champion needs achievements.rich needs points.gems "
            "needs achievements.champion; break it by changing achievements.champion.all or "
            "achievements.rich.points or points.gems.triggers.champion.achievement",
        ),
        (
            "achievements.selfish",
            "a circle: achievements.selfish needs achievements.selfish; "
            "break it by changing achievements.selfish.all",
        ),
    ]


def test_points_for_an_achievement_that_needs_these_points_are_a_circle_s35() -> None:
    error = problems_of(
        FRAME
        + dedent("""\
        [points.xp.triggers.bonus]
        on = "achievement"
        achievement = "beginner"
        points = 5
        [points.xp.triggers.more]
        on = "achievement"
        achievement = "beginner"
        points = 7
        [achievements.beginner]
        on = "level"
        points = "xp"
        level = "a1"
        """)
    )

    [problem] = error.problems
    assert problem.text == (
        "a circle: achievements.beginner needs points.xp needs achievements.beginner; "
        "break it by changing achievements.beginner.points or "
        "points.xp.triggers.bonus.achievement or points.xp.triggers.more.achievement"
    )


# Each: lines after FRAME; the place; its line and the earlier one, from 1, among these.
TWICE = [
    (TRIGGER + "points = 1\n[metrics.m]\n" + TRIGGER, "points.xp.triggers.t", 4, 1),
    (TRIGGER + "[points.'xp' . triggers.\"t\"]", "points.xp.triggers.t", 2, 1),
    ("[points.p]\ntriggers = { t = {} }\n[points.p.triggers.t]", "points.p.triggers.t", 3, 2),
    ("[points.p]\ntriggers.t.points = 1\n[points.p.triggers.t]", "points.p.triggers.t", 3, 2),
    (
        "[points.p.triggers.t]\n[points.p]\ntriggers.t.points = 1",
        "points.p.triggers.t",
        3,
        1,
    ),
    ("[metrics.m]\nname = 'a'\n'name' = '='", "metrics.m.name", 3, 2),
    ("[metrics.m]\n'a=b' = 1\n'a=b' = [\n2]", "metrics.m.a=b", 3, 2),
    ("[metrics.m]\nname = 'a'\nname.b = 1", "metrics.m.name", 3, 2),
    ("[[points.p.levels]]\nat = 1\n[points.p.levels]", "points.p.levels", 3, 1),
    ("[points.p.levels]\n[[points.p.levels]]", "points.p.levels", 2, 1),
    ("[points.p]\nlevels = []\n[[points.p.levels]]", "points.p.levels", 3, 2),
    (
        "[[points.p.levels]]\nat = 1\n[[points.p.levels]]\nat = 2\nat = 3",
        "points.p.levels[1].at",
        5,
        4,
    ),
]


@pytest.mark.parametrize("end", ["", "\n", "\n\n[metrics.n]\n"])
@pytest.mark.parametrize(("lines", "place", "line", "first"), TWICE)
def test_a_name_that_stands_twice_is_told_with_both_places(
    lines: str, place: str, line: int, first: int, end: str
) -> None:
    [problem] = problems_of(FRAME + lines + end).problems

    assert (problem.place, problem.line) == (place, FIRST_LINE + line - 1)
    assert problem.text == (
        f"stands twice, first on line {FIRST_LINE + first - 1}; rename one of the two, or remove it"
    )


@pytest.mark.parametrize("line", ["triggers = { t = {}, t = {} }", "triggers = { t = 1, t = 2 }"])
def test_a_name_that_stands_twice_on_one_line_is_told(line: str) -> None:
    [problem] = problems_of(FRAME + f"[points.p]\n{line}\n").problems

    assert problem.line == FIRST_LINE + 1
    assert "a key stands twice in a table of one line" in problem.text
    assert "'t'" in problem.text
    assert problem.text.endswith("rename one of the two, or remove it")


def test_a_name_of_a_section_that_is_empty_is_told_with_where_to_declare_it() -> None:
    text = "[app]\nname = 'A'\n[achievements.a]\non = 'streak'\nstreak = 'daily'\nat = 7"

    [problem] = problems_of(text).problems
    assert problem.text == (
        "unknown streak 'daily'; the program has no streak yet: declare it in [streaks.daily]"
    )


def test_milestones_may_stand_in_any_order_s28() -> None:
    text = FRAME.replace("{ lessons = 1 }", "{ lessons = 1 }\nmilestones = [30, 7, 30]")

    assert load_program(text, source="good.toml").streaks["daily"].milestones == (7, 30)


def test_an_empty_file_says_what_is_missing() -> None:
    assert str(problems_of("")) == "bad.toml has 1 problem:\n  app: is missing"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("[app]\nname = \n", 2, 8), ("[app]\n\nname\n", 3, 5), ("a = 2027-02-30", 1, 5)],
)
def test_broken_toml_is_told_with_line_and_column(text: str, line: int, column: int) -> None:
    [problem] = problems_of(text).problems

    assert (problem.line, problem.column) == (line, column)
    assert problem.text.startswith("is not TOML")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("x = " + "9" * 5000, "digits"), ("x = " + "[" * 50_000, "nested too deeply")],
)
def test_a_text_that_toml_cannot_hold_is_told(text: str, reason: str) -> None:
    assert reason in str(problems_of(text))


def test_a_file_that_is_not_there_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="no such file; name the right one, or set STREAKLINE"):
        read_program(tmp_path / "missing.toml")


def test_a_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="is a directory, not a TOML file"):
        read_program(tmp_path)


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes("[app]\nname = 'É'".encode("latin-1"))

    with pytest.raises(ProgramError, match="line 2: the byte 0xc9 is not UTF-8"):
        read_program(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * (PROGRAM_BYTES_MAX + 1))

    with pytest.raises(ProgramError, match="is it the right file"):
        read_program(path)


def test_lines_are_found_after_values_of_several_lines() -> None:
    lines = dedent('''\
        [metrics."quoted"]
        text = """
        [not.a.table]
        name = 1 # not a key
        """
        list = [
          "]", # [not.a.table]
        ]
        [metrics . spaced]
        nme = "x"
        ''')

    assert [
        (found.place, found.line and found.line - FIRST_LINE)
        for found in problems_of(FRAME + lines).problems
    ] == [("metrics.quoted.text", 1), ("metrics.quoted.list", 5), ("metrics.spaced.nme", 9)]


JUNK = ("[]", "{}", "true", "-1.5", "'a b'", "07:32:00")


@pytest.mark.parametrize("junk", JUNK)
def test_any_value_anywhere_is_a_program_or_a_problem_with_its_line(junk: str) -> None:
    path = Path(__file__).parents[3] / "shared" / "programs" / "language-app.toml"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    lines = path.read_text().splitlines()
    errors = []
    for position in [place for place, line in enumerate(lines) if " = " in line]:
        key = lines[position].partition(" = ")[0]
        text = "\n".join([*lines[:position], f"{key} = {junk}", *lines[position + 1 :]])
        try:
            load_program(text, source="junk.toml")
        except ProgramError as error:
            errors.append(error)

    assert len(errors) > 50
    for found in errors:
        assert all(problem.line for problem in found.problems), str(found)
