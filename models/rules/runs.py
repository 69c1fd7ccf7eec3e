"""The runs of a leaderboard: which one an event belongs to, what it is called, when it is final.

A run is so many days, weeks or months, or what lies between two times of a cron expression (S41).
By one zone for all it is a stretch of time: days begin as in `models.rules.calendar`, and an event
belongs to it by its instant. By users' own clocks it is a stretch of dates, and an event belongs to
it by its local date (S42): it opens with its first date in UTC+14 and closes when its last date has
ended in UTC-12.

Days are counted from 1 January 1970, weeks from the first whole week from then on, months from
January 1970. Every instant and every date lies in exactly one run of a rule, and the runs of a rule
have different names.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from models.rules import calendar
from models.rules.calendar import ONE_DAY, day_start, next_day
from models.rules.cron import Cron
from streakline.contract import instant_text

RUNS_CACHED_MAX = 65_536
ALL_TIME = "all"
EARLIEST_CLOCK = timedelta(hours=14)
"""How far the first zone to see a date is ahead of UTC."""
LATEST_CLOCK = timedelta(hours=12)
"""How far the last zone to leave a date is behind UTC."""
_FIRST_DAY = date(1970, 1, 1)
_DAYS_PER_WEEK = 7
_MONTHS_PER_YEAR = 12
_TO_FOURTH_DAY = 3 * ONE_DAY
"""A week is called after the ISO week of its fourth day, whichever day it starts on."""
_JUST_BEFORE = timedelta(microseconds=1)


class RunPeriod(Enum):
    """What a run is made of."""

    ALL = "all"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    CRON = "cron"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunRule:
    """How the runs of a leaderboard follow each other.

    A run is `every` days, weeks or months by the clock of `tz`; None is each user's own. Weeks
    start on `week_starts_on`, as `date.weekday` counts: 0 is Monday (S5). `cron` stands with that
    period alone, and needs one zone. `late` is how long after its close a run is final (S43).
    """

    period: RunPeriod
    every: int = 1
    tz: str | None
    week_starts_on: int = 0
    cron: Cron | None = None
    late: timedelta = timedelta(hours=12)

    def __post_init__(self) -> None:
        if (self.period is RunPeriod.CRON) != (self.cron is not None):
            raise ValueError("an expression stands with the period CRON, and with no other")
        if self.cron is not None and self.tz is None:
            raise ValueError("a cron expression needs one zone for all")
        if self.every < 1:
            raise ValueError(f"a run is at least one {self.period.value}, not {self.every}")


class Run(NamedTuple):
    """One run: from `opens_at` on, up to but not with `closes_at`; final from `final_at` on.

    `first_on` and `last_on` are its first and last local date where it is made of dates. All of
    them are None for the run of all time; the dates for those of a cron expression.
    """

    name: str
    opens_at: datetime | None
    closes_at: datetime | None
    final_at: datetime | None
    first_on: date | None = None
    last_on: date | None = None

    @property
    def ends(self) -> tuple[datetime, datetime, datetime] | None:
        """When it opens, closes and is final; None for the run of all time."""
        if self.opens_at is None or self.closes_at is None or self.final_at is None:
            return None
        return self.opens_at, self.closes_at, self.final_at


class Phase(Enum):
    """How far a run is, by the time alone (S43)."""

    UPCOMING = "upcoming"
    OPEN = "open"
    CLOSING = "closing"
    """Over, but late events still count."""
    FINAL = "final"


_ALL_TIME_RUN = Run(name=ALL_TIME, opens_at=None, closes_at=None, final_at=None)


def phase(run: Run, now: datetime) -> Phase:
    """Return how far a run is at an instant. The run of all time is always open."""
    if run.opens_at is None or run.closes_at is None or run.final_at is None:
        return Phase.OPEN
    if now < run.opens_at:
        return Phase.UPCOMING
    if now < run.closes_at:
        return Phase.OPEN
    return Phase.CLOSING if now < run.final_at else Phase.FINAL


def run_at(rule: RunRule, occurred_at: datetime, local_date: date) -> Run:
    """Return the run that an event belongs to: one of the instant, or of the user's local date."""
    if rule.period is RunPeriod.ALL:
        return _ALL_TIME_RUN
    if rule.tz is None:
        return _run_of_date(rule, local_date)
    if rule.cron is None:
        return _run_of_date(rule, calendar.local_date(occurred_at, rule.tz))
    run = _cron_run(rule, occurred_at.replace(second=0, microsecond=0))
    if run.closes_at is not None and run.closes_at <= occurred_at:
        # Before 1972 clocks were set by seconds: there a run may begin within a minute of UTC.
        return _cron_run(rule, occurred_at)
    return run


@lru_cache(maxsize=RUNS_CACHED_MAX)
def _cron_run(rule: RunRule, instant: datetime) -> Run:
    """Return the run of an instant; that of a minute's first is nearly always the minute's."""
    assert rule.cron is not None
    assert rule.tz is not None
    opens_at = rule.cron.fires_at_or_before(instant, rule.tz)
    if opens_at is None:
        raise ValueError(f"{rule.cron} never fires; the check of a program refuses it")
    return _run_from(rule, opens_at)


def next_run(rule: RunRule, run: Run) -> Run:
    """Return the run that follows. Raises ValueError for the run of all time."""
    if run.last_on is not None:
        following = _run_of_date(rule, run.last_on + ONE_DAY)
        return following if _has_time(following) else next_run(rule, following)
    if run.closes_at is None:
        raise ValueError("the run of all time has none after it")
    return _run_from(rule, run.closes_at)


def previous_run(rule: RunRule, run: Run) -> Run:
    """Return the run before. Raises ValueError for the run of all time."""
    if run.first_on is not None:
        before = _run_of_date(rule, run.first_on - ONE_DAY)
        return before if _has_time(before) else previous_run(rule, before)
    if run.opens_at is None:
        raise ValueError("the run of all time has none before it")
    return run_at(rule, run.opens_at - _JUST_BEFORE, run.opens_at.date())


def run_named(rule: RunRule, name: str) -> Run:
    """Return the run of this name. Raises ValueError, which says what a name looks like."""
    try:
        run = _run_like(rule, name)
    except (ValueError, OverflowError):
        raise ValueError(f"{name!r} names no run; {_name_hint(rule)}") from None
    if run.name != name:
        raise ValueError(f"{name!r} names no run; the one that it falls into is {run.name!r}")
    if not _has_time(run):
        raise ValueError(f"{name!r} names no run; {rule.tz} never had that date")
    return run


def _run_like(rule: RunRule, name: str) -> Run:
    """Return the run of the date or the instant that stands in a name."""
    if rule.period is RunPeriod.ALL:
        if name != ALL_TIME:
            raise ValueError(name)
        return _ALL_TIME_RUN
    if _is_named_by_instant(rule):
        instant = datetime.strptime(name, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return run_at(rule, instant, instant.date())
    if rule.period is RunPeriod.WEEK:
        monday = date.fromisoformat(f"{name}-1")
        return _run_of_date(rule, _in_week(monday, rule))
    suffix = "-01" if rule.period is RunPeriod.MONTH else ""
    return _run_of_date(rule, date.fromisoformat(name + suffix))


def _is_named_by_instant(rule: RunRule) -> bool:
    return rule.period is RunPeriod.CRON or rule.every != 1


def _name_hint(rule: RunRule) -> str:
    if rule.period is RunPeriod.ALL:
        return f"this leaderboard has the one run {ALL_TIME!r}"
    if _is_named_by_instant(rule):
        return "a run is named by its start in UTC, such as '2026-11-23T00:00:00Z'"
    example = {RunPeriod.WEEK: "2026-W48", RunPeriod.MONTH: "2026-11"}.get(rule.period)
    return f"a run is named by its {rule.period.value}, such as {example or '2026-11-23'!r}"


def _has_time(run: Run) -> bool:
    """Tell whether a run is one at all: a date that never existed in its zone is none (S4)."""
    return run.opens_at != run.closes_at or run is _ALL_TIME_RUN


@lru_cache(maxsize=RUNS_CACHED_MAX)
def _run_from(rule: RunRule, opens_at: datetime) -> Run:
    """Return the run that begins when the expression of the rule fires."""
    assert rule.cron is not None
    assert rule.tz is not None
    closes_at = rule.cron.fires_after(opens_at, rule.tz)
    assert closes_at is not None, "what has fired fires again"
    return Run(
        name=instant_text(opens_at),
        opens_at=opens_at,
        closes_at=closes_at,
        final_at=closes_at + rule.late,
    )


@lru_cache(maxsize=RUNS_CACHED_MAX)
def _run_of_date(rule: RunRule, day: date) -> Run:
    """Return the run that a date lies in."""
    first, following = _dates_around(rule, day)
    if rule.tz is None:
        opens_at = _midnight(first) - EARLIEST_CLOCK
        closes_at = _midnight(following) + LATEST_CLOCK
    else:
        opens_at, closes_at = _start(first, rule.tz), _start(following, rule.tz)
    named_after = _midnight(first) if rule.tz is None else opens_at
    return Run(
        name=instant_text(named_after) if _is_named_by_instant(rule) else _date_name(rule, first),
        opens_at=opens_at,
        closes_at=closes_at,
        final_at=closes_at + rule.late,
        first_on=first,
        last_on=following - ONE_DAY,
    )


def _dates_around(rule: RunRule, day: date) -> tuple[date, date]:
    """Return the first date of the run that a date lies in, and that of the run after it."""
    if rule.period is RunPeriod.MONTH:
        month = (day.year - _FIRST_DAY.year) * _MONTHS_PER_YEAR + day.month - 1
        month -= month % rule.every
        return _month_start(month), _month_start(month + rule.every)
    origin, length = _FIRST_DAY, rule.every
    if rule.period is RunPeriod.WEEK:
        to_week_start = (rule.week_starts_on - _FIRST_DAY.weekday()) % _DAYS_PER_WEEK
        origin, length = _FIRST_DAY + to_week_start * ONE_DAY, rule.every * _DAYS_PER_WEEK
    first = day - (day - origin).days % length * ONE_DAY
    return first, first + length * ONE_DAY


def _month_start(month: int) -> date:
    years, months = divmod(month, _MONTHS_PER_YEAR)
    return date(_FIRST_DAY.year + years, months + 1, 1)


def _date_name(rule: RunRule, first: date) -> str:
    if rule.period is RunPeriod.MONTH:
        return first.isoformat()[: len("2026-11")]
    if rule.period is RunPeriod.WEEK:
        year, week, _ = (first + _TO_FOURTH_DAY).isocalendar()
        return f"{year:04}-W{week:02}"
    return first.isoformat()


def _in_week(monday: date, rule: RunRule) -> date:
    """Return the fourth day of the week that is called after the ISO week of this Monday."""
    fourth = rule.week_starts_on * ONE_DAY + _TO_FOURTH_DAY
    return monday + fourth % timedelta(days=_DAYS_PER_WEEK)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _start(day: date, tz: str) -> datetime:
    """Return when a date begins, or the next that exists."""
    start = day_start(day, tz) or day_start(next_day(day, tz), tz)
    assert start is not None, "next_day returns days that exist"
    return start
