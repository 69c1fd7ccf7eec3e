"""`[emails]` and `[emails.*]`: who writes, when, and about what (S50 to S54)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from models.program.table import Fault, OrderFree, Reference, Table
from models.program.values import (
    Color,
    Count,
    Language,
    Name,
    PositiveDuration,
    Sender,
    Text,
    TimeOfDay,
    Url,
    check_name,
)

DEFAULT_COLOR = "#2457d6"
DEFAULT_LANGUAGE = "en"


class SendWindow(Table):
    """Emails go out between these local times; over midnight where `from` is the later (S51)."""

    from_: TimeOfDay = Field(alias="from")
    """The first minute."""
    until: TimeOfDay
    """The first minute in which none goes out any more."""

    def faults(self) -> Iterator[Fault]:
        if self.from_ == self.until:
            text = "is the same as from, so that no email could ever go out"
            yield "until", f"{text}; move one, or leave send_window out for any hour"


class EmailTable(Table):
    """What every email has."""

    subject: Text | None = None
    """The subject line; `{{ … }}` stands for a variable. Left out, there is a good one."""


class StreakEmail(EmailTable):
    """An email about one streak."""

    streak: Name
    """Which streak."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="streak", section="streaks", name=self.streak)


class ReminderEmail(StreakEmail):
    """A streak will end unless something is done."""

    on: Literal["streak-reminder"]
    before: PositiveDuration = timedelta(hours=4)
    """So long before the deadline, in elapsed time (S51)."""


class StreakLostEmail(StreakEmail):
    """A streak has ended."""

    on: Literal["streak-lost"]


class FreezeUsedEmail(StreakEmail):
    """A freeze has held a streak."""

    on: Literal["freeze-used"]


class MilestoneEmail(StreakEmail):
    """A streak has reached one of its milestones."""

    on: Literal["milestone"]


class AchievementEmail(EmailTable):
    """An achievement is complete."""

    on: Literal["achievement"]


class LevelEmail(EmailTable):
    """A level is reached."""

    on: Literal["level"]
    points: Name
    """In which points system."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="points", section="points", name=self.points)


class RecapEmail(EmailTable):
    """What a user did in the week or month that is over."""

    on: Literal["recap"]
    every: Literal["week", "month"]
    """How often."""


class InactiveEmail(EmailTable):
    """A user has not been seen for some days: come back."""

    on: Literal["inactive"]
    days: Annotated[tuple[Count, ...], Field(min_length=1), OrderFree] = (3, 7, 14, 30)
    """After how many days."""


class LeaderboardEmail(EmailTable):
    """A run is final."""

    on: Literal["leaderboard-finished"]
    leaderboard: Name
    """Of which leaderboard."""
    top: Count | None = None
    """Only to the best so many; left out, to everyone in it."""

    def references(self) -> Iterator[Reference]:
        yield Reference(key="leaderboard", section="leaderboards", name=self.leaderboard)


Email = Annotated[
    ReminderEmail
    | StreakLostEmail
    | FreezeUsedEmail
    | MilestoneEmail
    | AchievementEmail
    | LevelEmail
    | RecapEmail
    | InactiveEmail
    | LeaderboardEmail,
    Field(discriminator="on"),
]


class Emails(Table):
    """Who writes and when; every further table in it is an email, by name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Email]

    from_: Sender = Field(alias="from")
    """The sender."""
    send_window: SendWindow | None = None
    """Left out, emails go out at any hour."""
    logo_url: Url | None = None
    """The picture on top of every email; left out, the app's name stands there."""
    color: Color = DEFAULT_COLOR
    """The app's colour, of buttons, bars and marks."""
    language: Language = DEFAULT_LANGUAGE
    """The language of subjects here, and of own templates that name none (S54)."""

    @property
    def messages(self) -> dict[str, Email]:
        """The emails by name."""
        return self.__pydantic_extra__

    def faults(self) -> Iterator[Fault]:
        for name in self.messages:
            try:
                check_name(name)
            except ValueError as error:
                yield name, str(error)
