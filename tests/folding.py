"""Folding in tests: rules from a program's text, facts in a few letters, and what they come to.

Nothing here knows a database: a ledger is a list. Days are those of November 2026, whose 2nd, 9th,
16th, 23rd and 30th are Mondays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from models.program import load_program
from models.rulebooks import ProgramVersion, build_rules
from models.rules.calendar import local_date
from models.rules.effects import Effects, Notice, NoticeKind
from models.rules.facts import Event, Fact, Position
from models.rules.fold import advance, fold
from models.rules.points import Entry
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.rules.streaks import Chain, Life, PeriodKind, Reading, Step, StreakRule, read, walk
from models.rules.timelines import Pause, Told
from models.statements.users import decode_state, encode_state

APPLIED_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first version of every program here came into force."""
ONE_HOUR = timedelta(hours=1)
_LETTERS = {
    PeriodKind.ACTIVE: "x",
    PeriodKind.OFF: "o",
    PeriodKind.PAUSED: "p",
    PeriodKind.FROZEN: "f",
    PeriodKind.MISSED: "m",
    PeriodKind.PENDING: "?",
}


def build(toml: str, *later: tuple[datetime, str]) -> Rules:
    """Return the rules of a program, and of later versions with the instants of their coming."""
    versions = [(APPLIED_AT, toml), *later]
    return build_rules(
        [
            ProgramVersion(
                version=number,
                program=load_program(f'[app]\nname = "Test"\n{text}', source="the test's program"),
                applied_at=applied_at,
            )
            for number, (applied_at, text) in enumerate(versions, start=1)
        ]
    )


def utc(text: str) -> datetime:
    """Return an instant in UTC: `2026-11-23 09:30`, or a date for its midnight."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def november(day: int, hour: int = 0, minute: int = 0) -> datetime:
    """Return an instant of November 2026 in UTC; days may lie before it or after."""
    return datetime(2026, 11, 1, hour, minute, tzinfo=UTC) + timedelta(days=day - 1)


def the(day: int) -> date:
    """Return a date of November 2026."""
    return november(day).date()


def event(
    at: datetime,
    value: str | int | Decimal = 1,
    metric: str = "lessons",
    *,
    key: str | None = None,
    version: int = 1,
    tz: str = "UTC",
    **attributes: str,
) -> Event:
    """Return an event; without a key it is called after its instant."""
    return Event(
        at=at,
        metric=metric,
        key=key or f"{at:%m-%dT%H:%M:%S}",
        version=version,
        value=Decimal(value),
        local_date=local_date(at, tz),
        attributes=attributes,
    )


def noons(diary: str, metric: str = "lessons", first: int = 2) -> list[Event]:
    """Return an event at noon of each day of a diary that is marked `x`; it begins on a Monday."""
    return [
        event(november(first + offset, 12), metric=metric)
        for offset, mark in enumerate(diary)
        if mark == "x"
    ]


def lives(at: datetime, tz: str) -> Told:
    """Tell a zone."""
    return Told(at, tz, {})


def tells(at: datetime, **attributes: str) -> Told:
    """Tell attributes."""
    return Told(at, None, attributes)


def pause(
    first: int, last: int, streak: str | None = None, *, resets: tuple[str, ...] = ()
) -> Pause:
    """Return a pause of days of November, inclusive."""
    fact_id = f"pause-{first}-{last}"
    return Pause(november(first) - 14 * ONE_HOUR, fact_id, the(first), the(last), streak, resets)


@dataclass(slots=True, kw_only=True)
class Folded:
    """What facts have come to, as of an instant, and short ways to look at it."""

    rules: Rules
    state: UserState
    now: datetime
    effects: Effects = field(default_factory=lambda: Effects(periods={}))

    def more(self, facts: Iterable[Fact] = (), *, now: datetime | None = None) -> Folded:
        """Fold more facts that come later, and go on to an instant."""
        fold(self.state, sorted(facts, key=_position), self.rules, self.effects)
        self.now = now or self.now
        advance(self.state, self.now, self.rules, self.effects)
        return self

    def read(self, now: datetime | None = None, name: str = "daily") -> Reading:
        """Return a streak as it reads, whether or not the state was brought up to the instant."""
        return read(self._rule(name), self.state.streaks[name], self._life(), now or self.now)

    def length(self, now: datetime | None = None, name: str = "daily") -> int:
        """Return a streak's length as it reads."""
        return self.read(now, name).length

    def chains(self, name: str = "daily") -> list[tuple[date, date, int]]:
        """Return every chain, the current one last: first date, last date, length (S29)."""
        ended = [one.chain for one in self.effects.chains if one.streak == name]
        found = (*ended, *self.read(name=name).history)
        return [(one.started_on, one.ended_on, one.length) for one in found]

    def spans(self, name: str = "daily") -> list[tuple[int, int, int]]:
        """Return the chains with days of November instead of dates."""
        first = the(1)
        return [
            ((start - first).days + 1, (end - first).days + 1, length)
            for start, end, length in self.chains(name)
        ]

    def steps(self, name: str = "daily") -> list[Step]:
        """Return each period that was looked at, and what it is."""
        assert self.effects.periods is not None
        settled = [step for step, _ in self.effects.periods.get(name, [])]
        return settled + walk(self._rule(name), self.state.streaks[name], self._life(), self.now)[0]

    def diary(self, name: str = "daily") -> str:
        """Return the periods from the first active one on, a letter for each.

        `x` active, `o` day off, `p` paused, `f` frozen, `m` missed, `?` pending, and `.` where
        there was no chain that could miss anything.
        """
        kinds = {step.period: _LETTERS[step.kind] for step in self.steps(name)}
        first = min(day for day, letter in kinds.items() if letter == "x")
        days = (max(kinds) - first).days
        return "".join(kinds.get(first + timedelta(day), ".") for day in range(days + 1))

    def entries(self, points: str = "xp") -> list[Entry]:
        """Return the ledger of a points system."""
        found = [one.entry for one in self.effects.entries]
        return [entry for entry in found if entry.points == points]

    def amounts(self, points: str = "xp") -> list[str]:
        """Return what each entry of a ledger adds."""
        return [plain(entry.amount) for entry in self.entries(points)]

    def paid(self, points: str = "xp") -> list[tuple[str, str, str]]:
        """Return for each entry of a ledger the trigger, the cause and the amount."""
        return [(one.trigger, one.cause, plain(one.amount)) for one in self.entries(points)]

    def balance(self, points: str = "xp") -> str:
        """Return a balance."""
        found = self.state.points.get(points)
        return plain(found.balance) if found else "0"

    def completed(self) -> dict[str, datetime]:
        """Return the achievements, each with its instant."""
        return {one.key: one.completed_at for one in self.effects.completed}

    def notices(self, kind: NoticeKind) -> list[Notice]:
        """Return the notices of a kind in the order of their instants."""
        found = [one for one in self.effects.notices.values() if one.kind is kind]
        return sorted(found, key=lambda one: (one.at, one.cause))

    def told(self, kind: NoticeKind, name: str) -> list[tuple[datetime, object]]:
        """Return the notices of a kind as instants and one value of their bodies."""
        return [(one.at, one.body[name]) for one in self.notices(kind)]

    def score(self, board: str, run: str = "all", since: int = 1) -> tuple[str, datetime] | None:
        """Return a score in a run, and when it was reached."""
        found = self.state.runs.get(f"{board}@{since}", {}).get(run)
        return (plain(found.score), found.reached_at) if found else None

    def _rule(self, name: str) -> StreakRule:
        return self.rules.latest.streaks[name]

    def _life(self) -> Life:
        return Life(self.state.told.zones, self.rules.latest.tz, self.state.told.pauses)


def fold_all(
    rules: Rules,
    facts: Iterable[Fact],
    *,
    now: datetime | None = None,
    told: Iterable[Told] = (),
    pauses: Iterable[Pause] = (),
    effects: Effects | None = None,
) -> Folded:
    """Fold facts, given in any order, from nothing, and go on to `now`, else to the last fact."""
    ordered = sorted(facts, key=_position)
    state = UserState()
    state.told.tell(told, rules.attributes)
    state.told.pause(pauses)
    last = ordered[-1].at if ordered else APPLIED_AT
    folded = Folded(rules=rules, state=state, now=now or last)
    if effects is not None:
        folded.effects = effects
    return folded.more(ordered)


def copied(state: UserState) -> UserState:
    """Return a state as it comes back from where it is kept."""
    return decode_state(encode_state(state))


def chain(first: int, last: int, length: int) -> Chain:
    """Return a chain between days of November."""
    return Chain(the(first), the(last), length)


def plain(number: Decimal) -> str:
    """Write a number without trailing zeros."""
    return f"{number.normalize() + 0:f}"


def _position(fact: Fact) -> Position:
    return fact.position
