"""What an email can say, by kind: the variables that templates read and that sending fills in.

Every text that comes from users is cleaned as it is put in (`cleaning`), whoever does it. The
docstrings of the fields are what the documentation says of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal

from models.emails.cleaning import TEXT_LENGTH_MAX, WHOLE_LENGTH_MAX, clean_text
from models.program.emails import DEFAULT_COLOR
from models.program.schema import Program

CALENDAR_PERIODS_MAX = 35
LIST_LENGTH_MAX = 100
"""Of every other list."""

Unit = Literal["day", "week", "month"]
UNITS: Mapping[str, Unit] = {"daily": "day", "weekly": "week", "monthly": "month"}
"""By a streak's frequency, as the program has it."""
PeriodState = Literal["active", "frozen", "missed", "open"]

_WHOLE = {"whole": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """A group of variables; its texts are clean and its lists short once it is made."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            cleaned = _clean(value, whole="whole" in one.metadata)
            if cleaned is not value:
                object.__setattr__(self, one.name, cleaned)


def _clean(value: Any, *, whole: bool) -> Any:
    if isinstance(value, str):
        return clean_text(value, WHOLE_LENGTH_MAX if whole else TEXT_LENGTH_MAX)
    if isinstance(value, tuple):
        items = value[:LIST_LENGTH_MAX]
        return tuple(_clean(item, whole=whole) for item in items)
    if isinstance(value, Mapping):
        return {_clean(key, whole=True): _clean(item, whole=True) for key, item in value.items()}
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class AppVariables(Variables):
    """The app, from the program."""

    name: str
    """What the app is called."""
    link_url: str | None = field(default=None, metadata=_WHOLE)
    """Where links lead; none where the program has no `link_url`."""
    logo_url: str | None = field(default=None, metadata=_WHOLE)
    """The picture on top; none where the program has no `logo_url`."""
    color: str
    """The app's colour, such as `#2457d6`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserVariables(Variables):
    """Who gets the email."""

    id: str = field(metadata=_WHOLE)
    """The user's id."""
    name: str | None = None
    """The user's name, if it is known."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The user's attributes; one that a user does not have is an empty text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodVariables(Variables):
    """A period of a streak's calendar."""

    date: date
    """Its first local day."""
    state: PeriodState
    """`active`, `frozen`, `missed` or `open`; days off and pauses are `frozen`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreakVariables(Variables):
    """A streak of the user."""

    key: str
    """Its name in the program."""
    name: str
    """How people call it."""
    length: int
    """Active periods in the chain; of a lost streak, of the chain that was lost."""
    longest: int
    """The most that it ever was."""
    freezes: int = 0
    """How many freezes are left."""
    unit: Unit
    """What a period is: `day`, `week` or `month`."""
    expires_at: datetime | None = None
    """When it ends unless something is done, in the user's zone; none where it cannot end."""
    time_left: timedelta | None = None
    """From when the email is written to `expires_at`."""
    calendar: tuple[PeriodVariables, ...] = ()
    """The last periods, the oldest first; the last one may be open."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "calendar", self.calendar[-CALENDAR_PERIODS_MAX:])
        super(StreakVariables, self).__post_init__()


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneVariables(Variables):
    """The milestone that was reached."""

    length: int
    """The length that the program marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AchievementVariables(Variables):
    """The achievement that is complete."""

    key: str
    """Its name in the program."""
    name: str
    """How people call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLevelVariables(Variables):
    """The level after the one that was reached."""

    name: str
    """How people call it."""
    number: int
    """Its place, from 1."""
    missing: Decimal
    """So many points are missing."""
    progress: float
    """How much of the way from the level before is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelVariables(Variables):
    """The level that was reached."""

    key: str
    """Its key in the program."""
    name: str
    """How people call it."""
    number: int
    """Its place, from 1 for the lowest."""
    total: Decimal
    """The balance of points."""
    points: str
    """How people call the points."""
    next: NextLevelVariables | None = None
    """The level after it; none at the highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricVariables(Variables):
    """A metric over the time of a recap."""

    name: str
    """How people call it."""
    value: Decimal
    """What came together, or the best or latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsVariables(Variables):
    """A points system over the time of a recap."""

    name: str
    """How people call the points."""
    earned: Decimal
    """What was earned in that time."""
    total: Decimal
    """The balance at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecapStreakVariables(Variables):
    """A streak at the end of a recap."""

    name: str
    """How people call it."""
    length: int
    """Active periods in the chain."""
    unit: Unit
    """What a period is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecapVariables(Variables):
    """The week or month that is over."""

    every: Literal["week", "month"]
    """Which of the two."""
    first: date
    """Its first local day."""
    last: date
    """Its last local day."""
    metrics: tuple[MetricVariables, ...] = ()
    """Metrics with events in that time."""
    points: tuple[PointsVariables, ...] = ()
    """Points systems in which something was earned."""
    achievements: tuple[str, ...] = ()
    """The names of what was completed."""
    streaks: tuple[RecapStreakVariables, ...] = ()
    """Streaks that are running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InactiveVariables(Variables):
    """How long the user has been away."""

    days: int
    """So many days."""
    last_active_on: date
    """The last local day with an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingVariables(Variables):
    """A line of a leaderboard."""

    rank: int
    """From 1."""
    name: str | None = None
    """Whose line it is, if the name is known."""
    score: Decimal
    """The score of the run."""
    is_user: bool = False
    """Whether it is the reader's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardVariables(Variables):
    """The run that is final."""

    key: str
    """The leaderboard's name in the program."""
    name: str
    """How people call it."""
    run: str
    """The run, such as `2026-W48`."""
    rank: int
    """The reader's place."""
    score: Decimal
    """The reader's score."""
    participants: int
    """How many took part."""
    standings: tuple[StandingVariables, ...] = ()
    """Lines worth showing, best first: the first few, and those around the reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailVariables(Variables):
    """What every email knows."""

    kind: ClassVar[str]
    """The kind of email, as `on` says it in the program."""
    app: AppVariables
    """The app."""
    user: UserVariables
    """Who gets the email."""
    unsubscribe_url: str = field(metadata=_WHOLE)
    """Where one click ends these emails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReminderVariables(EmailVariables):
    """A streak will end unless something is done."""

    kind: ClassVar[str] = "streak-reminder"
    streak: StreakVariables
    """The streak that is about to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreakLostVariables(EmailVariables):
    """A streak has ended."""

    kind: ClassVar[str] = "streak-lost"
    streak: StreakVariables
    """The streak as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeUsedVariables(EmailVariables):
    """A freeze has held a streak."""

    kind: ClassVar[str] = "freeze-used"
    streak: StreakVariables
    """The streak that was held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneReachedVariables(EmailVariables):
    """A streak has reached one of its milestones."""

    kind: ClassVar[str] = "milestone"
    streak: StreakVariables
    """The streak."""
    milestone: MilestoneVariables
    """The mark that it reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AchievementCompleteVariables(EmailVariables):
    """An achievement is complete."""

    kind: ClassVar[str] = "achievement"
    achievement: AchievementVariables
    """The achievement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReachedVariables(EmailVariables):
    """A level is reached."""

    kind: ClassVar[str] = "level"
    level: LevelVariables
    """The level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecapEmailVariables(EmailVariables):
    """What a user did in the week or month that is over."""

    kind: ClassVar[str] = "recap"
    recap: RecapVariables
    """The week or month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InactiveEmailVariables(EmailVariables):
    """A user has not been seen for some days."""

    kind: ClassVar[str] = "inactive"
    inactive: InactiveVariables
    """How long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardFinishedVariables(EmailVariables):
    """A run is final."""

    kind: ClassVar[str] = "leaderboard-finished"
    leaderboard: LeaderboardVariables
    """The run."""


KINDS: Mapping[str, type[EmailVariables]] = {
    one.kind: one
    for one in (
        ReminderVariables,
        StreakLostVariables,
        FreezeUsedVariables,
        MilestoneReachedVariables,
        AchievementCompleteVariables,
        LevelReachedVariables,
        RecapEmailVariables,
        InactiveEmailVariables,
        LeaderboardFinishedVariables,
    )
}
"""What each kind of email knows, in the order of the documentation."""


def named(key: str) -> str:
    """Return a name for people, of a thing that the program gives none.

    >>> named("weekly-xp")
    'Weekly xp'
    """
    words = key.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def app_variables(program: Program) -> AppVariables:
    """Return the variables of the app itself."""
    emails = program.emails
    return AppVariables(
        name=program.app.name,
        link_url=program.app.link_url,
        logo_url=emails.logo_url if emails else None,
        color=emails.color if emails else DEFAULT_COLOR,
    )
