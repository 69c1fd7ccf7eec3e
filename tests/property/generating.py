"""Strategies: whole programs in several versions, and what happens to a user of them.

Programs are texts of TOML. Names are fixed, and what depends on what as well: achievements `a0` and
`a1` look at metrics and streaks, the points `xp` at those, `a2` and `a3` at `xp`, `gold` at all of
them, `a4` and `a5` at `gold`; so there is never a cycle, and a version can change any part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import strategies as st

from models.program import ProgramError, load_program
from models.rulebooks import ProgramVersion, build_rules
from models.rules.calendar import ZoneChange, local_date, zone_at
from models.rules.facts import (
    Adjustment,
    Completion,
    Event,
    Fact,
    Grant,
    Position,
    Reset,
    Suspension,
)
from models.rules.rulebook import Rules
from models.rules.timelines import Pause, Told

HOUR, ONE_DAY = timedelta(hours=1), timedelta(days=1)
METRICS = ("runs", "pages", "tasks")
STREAKS = ("s0", "s1", "s2")
ASSUMED = "America/Havana"
ZONES = (
    "UTC",
    "Pacific/Apia",
    "America/Havana",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Etc/GMT+12",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Asia/Tokyo",
)
STARTS = (
    datetime(2011, 12, 20, tzinfo=UTC),  # Apia skips the 30th (S4)
    datetime(2026, 2, 27, tzinfo=UTC),  # Havana has no midnight on 8 March (S2)
    datetime(2026, 4, 16, tzinfo=UTC),  # neither has Cairo on the 24th
    datetime(2026, 10, 22, tzinfo=UTC),  # Havana has two on 1 November (S3), Lord Howe half an hour
    datetime(2027, 2, 19, tzinfo=UTC),  # anniversaries of 29 February are a year away
)
DAYS = 24
ATTRIBUTES: Mapping[str, Sequence[str]] = {"plan": ("free", "pro"), "team": ("x", "y")}
KINDS = ("x", "y")
AMOUNTS = ("1", "2", "0.5", "7", "0.0001")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Parts = dict[str, str]
"""The parts of a program: a name, and the TOML of that thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A program, from its versions, and everything that happens to one user, in order."""

    versions: Sequence[tuple[datetime, str]]
    told: Sequence[Told]
    pauses: Sequence[Pause]
    facts: Sequence[Fact]
    until: datetime

    @property
    def rules(self) -> Rules:
        """The rulebooks of the program's versions."""
        return build_rules(
            [
                ProgramVersion(
                    version=number,
                    program=load_program(toml, source="a generated program"),
                    applied_at=applied_at,
                )
                for number, (applied_at, toml) in enumerate(self.versions, start=1)
            ]
        )

    def __repr__(self) -> str:
        """Write the programs as they would stand in a file."""
        programs = "\n".join(f"# --- in force since {at}\n{toml}" for at, toml in self.versions)
        rest = "\n".join(str(one) for one in (*self.told, *self.pauses, *self.facts))
        return f"\n{programs}\n# --- facts\n{rest}\n# --- until {self.until}\n"


def position_of(fact: Fact) -> Position:
    """Return where a fact stands among the facts."""
    return fact.position


def sometimes(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Leave a line out, or write it."""
    return st.one_of(st.just(""), strategy)


def _one_of(*lines: str) -> st.SearchStrategy[str]:
    return st.sampled_from(lines)


@st.composite
def programs(draw: st.DrawFn) -> Parts:
    """Draw a program."""
    parts: Parts = {}
    week = draw(st.sampled_from(["monday", "sunday", "saturday"]))
    parts["app"] = f'[app]\nname = "Any"\ntimezone = "{ASSUMED}"\nweek_starts_on = "{week}"'
    for metric in METRICS:
        parts[metric] = draw(_metric(metric))
    for number, streak in enumerate(STREAKS):
        if number == 0 or draw(st.booleans()):
            parts[streak] = draw(_streak(streak))
    streaks = [name for name in STREAKS if name in parts]
    for key in ("a0", "a1"):
        if key == "a0" or draw(st.booleans()):
            parts[key] = draw(_achievement(key, streaks, [], []))
    known = [key for key in parts if key.startswith("a") and key != "app"]
    parts["xp"] = draw(_points("xp", streaks, known))
    parts |= draw(_achievements(("a2", "a3"), streaks, ["xp"], known))
    known += [key for key in ("a2", "a3") if key in parts]
    if draw(st.booleans()):
        parts["gold"] = draw(_points("gold", streaks, known))
        parts |= draw(_achievements(("a4", "a5"), streaks, ["xp", "gold"], known))
    for number in range(draw(st.integers(0, 4))):
        systems = [name for name in ("xp", "gold") if name in parts]
        parts[f"b{number}"] = draw(_board(f"b{number}", streaks, systems))
    return parts


@st.composite
def _achievements(
    draw: st.DrawFn,
    keys: Sequence[str],
    streaks: Sequence[str],
    points: Sequence[str],
    others: Sequence[str],
) -> Parts:
    return {
        key: draw(_achievement(key, streaks, points, others)) for key in keys if draw(st.booleans())
    }


@st.composite
def _metric(draw: st.DrawFn, name: str) -> str:
    aggregate = "sum" if name == "runs" else draw(st.sampled_from(["sum", "max", "latest"]))
    negative = draw(st.sampled_from(["false", "true"]))
    return f'[metrics.{name}]\naggregate = "{aggregate}"\nallow_negative = {negative}'


@st.composite
def _streak(draw: st.DrawFn, name: str) -> str:
    # A streak keeps its name and its frequency through all versions.
    frequency = {
        "s0": "daily",
        "s1": "weekly",
        "s2": "monthly",
    }[name]
    if name == "s1" and draw(st.booleans()):
        frequency = "daily"
    metrics = draw(st.lists(st.sampled_from(METRICS), min_size=1, max_size=2, unique=True))
    thresholds = ", ".join(
        f"{metric} = {draw(st.sampled_from(['0.0001', '1', '2.5']))}" for metric in metrics
    )
    lines = [
        f'[streaks.{name}]\nfrequency = "{frequency}"\nmetrics = {{ {thresholds} }}',
        draw(_one_of('mode = "any"', 'mode = "all"')),
        draw(sometimes(_one_of('grace = "5h"', 'grace = "2d"', 'grace = "7d"'))),
        draw(sometimes(_one_of("milestones = [1, 3]", "milestones = [2]"))),
    ]
    if frequency == "daily":
        days_off = draw(st.lists(st.sampled_from(WEEKDAYS), max_size=3, unique=True))
        lines.append(f"days_off = {list(days_off)}".replace("'", '"'))
    if draw(st.booleans()):
        lines.append(f"[streaks.{name}.freezes]")
        lines.append(draw(_one_of("start = 0\nmax = 1", "start = 1\nmax = 2", "start = 2\nmax=3")))
        lines.append(draw(sometimes(_one_of("earn_every = 2", "earn_every = 3\nearn = 1"))))
    return "\n".join(lines)


def _where_user() -> st.SearchStrategy[str]:
    filters = [
        f'where = {{ user = {{ {name} = "{value}" }} }}'
        for name, values in ATTRIBUTES.items()
        for value in values
    ]
    return st.one_of(st.just(""), st.just(""), st.sampled_from(filters))


def _where_both() -> st.SearchStrategy[str]:
    return st.one_of(
        _where_user(), _one_of('where.event = { kind = "x" }', 'where.event = { kind = "y" }')
    )


@st.composite
def _achievement(
    draw: st.DrawFn, key: str, streaks: Sequence[str], points: Sequence[str], others: Sequence[str]
) -> str:
    kinds = ["metric", "streak", "manual", "anniversary"]
    kinds += ["points", "level"] if points else []
    kinds += ["achievements"] if others else []
    kind = draw(st.sampled_from(kinds))
    lines = [f'[achievements.{key}]\non = "{kind}"']
    where = _where_user()
    match kind:
        case "metric":
            lines.append(f'metric = "{draw(st.sampled_from(METRICS))}"')
            lines.append(draw(_one_of("at = 1", "at = 3", "at = 7.5")))
            where = _where_both()
        case "streak":
            lines.append(f'streak = "{draw(st.sampled_from(streaks))}"')
            lines.append(f"at = {draw(st.integers(1, 4))}")
        case "anniversary":
            lines.append(f"years = {draw(st.integers(1, 2))}")
        case "points":
            lines.append(f'points = "{draw(st.sampled_from(points))}"')
            lines.append(draw(_one_of("at = 1", "at = 5", "at = 12.5")))
        case "level":
            lines.append(f'points = "{draw(st.sampled_from(points))}"')
            lines.append(draw(_one_of('level = "one"', 'level = "two"')))
        case "achievements":
            some = draw(st.lists(st.sampled_from(others), min_size=1, max_size=2, unique=True))
            lines.append(f"all = {list(some)}".replace("'", '"'))
    return "\n".join([*lines, draw(where)])


@st.composite
def _points(draw: st.DrawFn, name: str, streaks: Sequence[str], achievements: Sequence[str]) -> str:
    levels = draw(_one_of("0, 10", "2, 5", "1, 3.5")).split(", ")
    lines = [
        f"[points.{name}]",
        draw(sometimes(_one_of("max_per_day = 3", "max_per_day = 10"))),
        draw(sometimes(_one_of('rounding = "up"', 'rounding = "half"'))),
        f'levels = [{{ key = "one", at = {levels[0]} }}, {{ key = "two", at = {levels[1]} }}]',
    ]
    for number in range(draw(st.integers(1, 4))):
        lines.append(f"[points.{name}.triggers.t{number}]")
        lines.append(draw(_trigger(streaks, achievements)))
    for number in range(draw(st.integers(0, 2))):
        lines.append(f"[points.{name}.boosts.b{number}]")
        lines.append(draw(_one_of("multiplier = 2", "multiplier = 1.5", "multiplier = 0.3")))
        lines.append(draw(_where_user()))
        first = draw(st.one_of(st.none(), st.sampled_from(STARTS)))
        if first is not None:
            last = first + draw(st.integers(1, DAYS)) * ONE_DAY
            lines.append(f"from = {first.date()}\nuntil = {last.date()}")
    return "\n".join(lines)


@st.composite
def _trigger(draw: st.DrawFn, streaks: Sequence[str], achievements: Sequence[str]) -> str:
    kind = draw(
        st.sampled_from(["metric", "metric", "streak", "achievement", "signup", "membership"])
    )
    lines = [f'on = "{kind}"', f"points = {draw(st.sampled_from(AMOUNTS))}"]
    where = _where_user()
    match kind:
        case "metric":
            lines.append(f'metric = "{draw(st.sampled_from(METRICS))}"')
            lines.append(draw(_one_of("every = 1", "every = 2.5", "every = 3")))
            where = _where_both()
        case "streak":
            lines.append(f'streak = "{draw(st.sampled_from(streaks))}"')
            lines.append(f"every = {draw(st.integers(1, 3))}")
        case "achievement":
            lines.append(f'achievement = "{draw(st.sampled_from(achievements))}"')
        case "membership":
            lines.append(draw(_one_of('every = "1d"', 'every = "5d"')))
    return "\n".join([*lines, draw(where)])


@st.composite
def _board(draw: st.DrawFn, name: str, streaks: Sequence[str], systems: Sequence[str]) -> str:
    kind = draw(st.sampled_from(["metric", "points", "streak"]))
    subject = draw(st.sampled_from({"metric": METRICS, "points": systems, "streak": streaks}[kind]))
    aggregates = ["best", "latest"] if kind == "streak" else ["sum", "sum", "best", "latest"]
    lines = [
        f'[leaderboards.{name}]\nrank_by = {{ {kind} = "{subject}" }}',
        f'aggregate = "{draw(st.sampled_from(aggregates))}"',
        draw(_one_of('order = "asc"', 'order = "desc"')),
        draw(sometimes(_one_of('segment_by = ["plan"]', 'segment_by = ["team", "plan"]'))),
        draw(_where_user()),
    ]
    period = draw(st.sampled_from(["all", "day", "week", "month", "cron"]))
    lines.append(f'period = "{period}"')
    if period == "cron":
        lines.append(draw(_one_of('cron = "0 18 * * fri"', 'cron = "30 0 * * *"')))
        lines.append(f'clock = "{draw(st.sampled_from(ZONES))}"')
    elif period != "all":
        lines.append(f'clock = "{draw(st.sampled_from([*ZONES, "user", "user", "user"]))}"')
        lines.append(f"every = {draw(st.integers(1, 3))}")
    return "\n".join(line for line in lines if line)


@st.composite
def _changed(draw: st.DrawFn, before: Parts) -> Parts:
    """Draw another version: some parts of another program, where nothing is missing then."""
    other = draw(programs())
    taken = {name for name in other if draw(st.booleans())}
    parts = {name: text for name, text in before.items() if name not in taken}
    return _in_order(parts | {name: other[name] for name in taken})


def _in_order(parts: Parts) -> Parts:
    return {name: parts[name] for name in sorted(parts)}


def text_of(parts: Parts) -> str:
    """Write a program."""
    return "\n".join(parts.values())


@st.composite
def versions(draw: st.DrawFn, start: datetime, versions_max: int) -> Sequence[tuple[datetime, str]]:
    """Draw a program, and perhaps later versions of it."""
    parts = draw(programs())
    found = [(start - draw(st.integers(0, 40)) * ONE_DAY, text_of(parts))]
    applied_at = start
    for _ in range(draw(st.integers(0, versions_max - 1))):
        applied_at += draw(st.integers(1, DAYS * 2)) * 6 * HOUR + HOUR
        parts = draw(_changed(parts))
        found.append((applied_at, text_of(parts)))
    return found


def instants(start: datetime, days: int = DAYS) -> st.SearchStrategy[datetime]:
    """Draw instants: often the same few hours, so that facts share days and instants."""
    quarters = st.integers(0, days * 4 - 1).map(lambda quarter: quarter * 6 * HOUR)
    minutes = st.integers(0, days * 24 * 60 - 1).map(lambda minute: timedelta(minutes=minute))
    return st.one_of(quarters, quarters, minutes).map(lambda since: start + since)


@st.composite
def tellings(draw: st.DrawFn, start: datetime) -> Sequence[Told]:
    """Draw what is told about a user: zones, some moves, attributes that change."""
    found = []
    for _ in range(draw(st.integers(0, 5))):
        tz = draw(st.one_of(st.none(), st.sampled_from(ZONES)))
        some = draw(st.sets(st.sampled_from(sorted(ATTRIBUTES))))
        attributes = {name: draw(st.sampled_from(ATTRIBUTES[name])) for name in sorted(some)}
        if tz is not None or attributes:
            found.append(Told(draw(instants(start)), tz, attributes))
    return sorted(found, key=lambda one: (one.at, one.tz or ""))


def values(*, negative: bool) -> st.SearchStrategy[Decimal]:
    """Draw the value of an event."""
    least = -4 if negative else 0
    signs = ("1", "-1", "2.5", "-2.5", "0") if negative else ("1", "2.5", "0", "3")
    return st.one_of(
        st.sampled_from([Decimal(1), Decimal(1), Decimal(3)]),
        st.sampled_from([Decimal(one) for one in signs]),
        st.decimals(min_value=least, max_value=5, places=4),
    )


def zone_in(told: Sequence[Told], instant: datetime) -> str:
    """Return the zone of a user of whom this was told, at an instant."""
    zones = [ZoneChange(one.at, one.tz) for one in told if one.tz is not None]
    return zone_at(zones, instant, ASSUMED)


@st.composite
def _events(
    draw: st.DrawFn,
    rules: Rules,
    start: datetime,
    told: Sequence[Told],
    events_max: int,
    least: int,
) -> list[Event]:
    """Draw events; some days are full and there are rows of days, so that chains grow."""
    found: list[Event] = []
    at = draw(st.lists(instants(start), min_size=1, max_size=events_max))
    for _ in range(draw(st.integers(0, 2))):
        first = draw(instants(start))
        at += [first + day * ONE_DAY for day in range(draw(st.integers(2, 7)))]
    for number, instant in enumerate(at):
        in_force = max(least, rules.in_force(instant).version)
        version = draw(st.integers(in_force, rules.latest.version))
        metric = draw(st.sampled_from(METRICS))
        negative = rules.of(version).metrics[metric].allow_negative
        kind = draw(st.sampled_from(["", *KINDS]))
        event = Event(
            at=instant,
            metric=metric,
            key=f"{draw(st.sampled_from('zaé'))}{number}",
            version=version,
            value=draw(values(negative=negative)),
            local_date=local_date(instant, zone_in(told, instant)),
            attributes={"kind": kind} if kind else {},
        )
        found.append(event)
    return found


@st.composite
def words(draw: st.DrawFn, rules: Rules, start: datetime, words_max: int, least: int) -> list[Fact]:
    """Draw what operators say."""
    found: list[Fact] = []
    for number in range(draw(st.integers(0, words_max))):
        at = draw(instants(start))
        in_force = max(least, rules.in_force(at).version)
        version = draw(st.integers(in_force, rules.latest.version))
        rulebook, fact_id = rules.of(version), f"{draw(st.sampled_from('ba'))}{number}"
        kinds = ["grant", "reset", "adjustment", "suspension", "completion"]
        match draw(st.sampled_from(kinds)):
            case "grant":
                streak = draw(st.sampled_from(sorted(rulebook.streaks)))
                found.append(Grant(at, fact_id, version, streak, draw(st.integers(1, 3))))
            case "reset":
                streak = draw(st.sampled_from(sorted(rulebook.streaks)))
                found.append(Reset(at, fact_id, version, streak))
            case "adjustment":
                points = draw(st.sampled_from(sorted(rulebook.points)))
                amount = draw(values(negative=True))
                found.append(Adjustment(at, fact_id, version, points, amount))
            case "suspension":
                found.append(Suspension(at, fact_id, version, draw(st.booleans())))
            case "completion":
                keys = [one.key for one in rulebook.achievements if one.kind.value == "manual"]
                if keys:
                    key = draw(st.sampled_from(sorted(set(keys))))
                    found.append(Completion(at, fact_id, version, key))
    return found


@st.composite
def pauses(draw: st.DrawFn, start: datetime, resets: Sequence[str]) -> Sequence[Pause]:
    """Draw pauses; one may take back resets that no other does, as a restored chain does."""
    found: list[Pause] = []
    for number in range(draw(st.integers(0, 2))):
        first = draw(instants(start)).date()
        last = first + draw(st.integers(0, 8)) * ONE_DAY
        streak = draw(st.sampled_from([None, *STREAKS]))
        left = [one for one in resets if not any(one in other.resets for other in found)]
        voided = tuple(sorted(draw(st.sets(st.sampled_from(left))))) if left else ()
        found.append(pause(f"p{number}", first, last, streak, voided))
    return found


def pause(
    fact_id: str, first: date, last: date, streak: str | None, resets: tuple[str, ...] = ()
) -> Pause:
    """Return a pause as an operator's command makes it."""
    at = datetime.combine(first, time.min, UTC) - 14 * HOUR
    return Pause(at, fact_id, first, last, streak, resets)


@st.composite
def lives(
    draw: st.DrawFn,
    *,
    versions_max: int = 3,
    events_max: int = 14,
    words_max: int = 4,
    judged_by_latest: bool = False,
) -> Life:
    """Draw a program and what happens to a user; facts came under their versions or the latest."""
    start = draw(st.sampled_from(STARTS))
    life = Life(
        versions=_different(draw(versions(start, versions_max).filter(_is_whole))),
        told=draw(tellings(start)),
        pauses=[],
        facts=[],
        until=start,
    )
    rules = life.rules
    least = rules.latest.version if judged_by_latest else 1
    facts: list[Fact] = [*draw(_events(rules, start, life.told, events_max, least))]
    facts += draw(words(rules, start, words_max, least))
    facts.sort(key=position_of)
    assert all(one.position < other.position for one, other in pairwise(facts))
    resets = [one.fact_id for one in facts if isinstance(one, Reset)]
    until = max(start + draw(st.integers(0, 500)) * 6 * HOUR, facts[-1].at)
    taken_back = draw(pauses(start, resets))
    earliest = {one.fact_id: one.at for one in facts if isinstance(one, Reset)}
    return replace(
        life,
        facts=facts,
        pauses=[
            one._replace(at=min([one.at, *(earliest[reset] for reset in one.resets)]))
            for one in taken_back
        ],
        until=until,
    )


def _different(found: Sequence[tuple[datetime, str]]) -> Sequence[tuple[datetime, str]]:
    """Leave out what means what the version before it means: it would not be a new one."""
    kept: list[tuple[datetime, str]] = []
    digests: list[str] = []
    for applied_at, toml in found:
        digest = load_program(toml, source="a generated program").digest
        if digests[-1:] != [digest]:
            kept.append((applied_at, toml))
            digests.append(digest)
    return kept


def _is_whole(found: Sequence[tuple[datetime, str]]) -> bool:
    """Tell whether every version refers to what it has only."""
    try:
        for _, toml in found:
            load_program(toml, source="a generated program")
    except ProgramError as error:
        if any("unknown" not in problem.text for problem in error.problems):
            raise
        return False
    return True


def examples(number: int) -> int:
    """Return how many examples a test tries; HYPOTHESIS_TIMES multiplies it."""
    return number * int(os.environ.get("HYPOTHESIS_TIMES", "1"))
