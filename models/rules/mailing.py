"""Emails as a program has them: about what, to whom, and at which local times (S50 to S54)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any

from models.rules.calendar import ONE_DAY, day_start, first_shown, local_date
from models.rules.periods import PeriodRule
from models.rules.segments import ALL

LAST_MINUTE = timedelta(minutes=1)
"""Before a window closes: a moment in which there is still time to send."""


class EmailKind(Enum):
    """What an email is about (S50)."""

    REMINDER = "streak-reminder"
    STREAK_LOST = "streak-lost"
    FREEZE_USED = "freeze-used"
    MILESTONE = "milestone"
    ACHIEVEMENT = "achievement"
    LEVEL = "level"
    RECAP = "recap"
    INACTIVE = "inactive"
    LEADERBOARD_FINISHED = "leaderboard-finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailRule:
    """An email of a program.

    `subject` names the streak, points system or leaderboard that it is about. A reminder is due
    `before` the deadline, a recap at the end of each `period`, a come-back after so many `days`. Of
    a run that is final it goes to the best `top` of all who took part, without it to all.
    """

    name: str
    kind: EmailKind
    subject: str = ""
    before: timedelta = timedelta(0)
    days: Sequence[int] = ()
    period: PeriodRule | None = None
    top: int | None = None

    def tells(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Tell whether a notice is what the email is about."""
        if kind != self.kind.value:
            return False
        match self.kind:
            case EmailKind.STREAK_LOST | EmailKind.FREEZE_USED | EmailKind.MILESTONE:
                return bool(body["streak"] == self.subject)
            case EmailKind.LEVEL:
                return bool(body["points"] == self.subject)
            case EmailKind.LEADERBOARD_FINISHED:
                is_whole = body["leaderboard"] == self.subject and body["segment"] == ALL
                return is_whole and (self.top is None or bool(body["rank"] <= self.top))
            case _:
                return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SendWindow:
    """The local times between which emails go out; over midnight where it closes the earlier."""

    opens: time
    closes: time

    def around(self, instant: datetime, tz: str) -> Iterator[tuple[datetime, datetime]]:
        """Yield the windows of the days before, at and after an instant: (opening, closing)."""
        day = local_date(instant, tz) - 2 * ONE_DAY
        for _ in range(5):
            if day_start(day, tz) is not None:
                last = day if self.opens < self.closes else day + ONE_DAY
                yield first_shown(day, self.opens, tz), first_shown(last, self.closes, tz)
            day += ONE_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """All that a program says about emails; `percent` of the users are the control group."""

    rules: Sequence[EmailRule] = ()
    window: SendWindow | None = None
    percent: Decimal = Decimal(0)

    @property
    def digest(self) -> str:
        """What tells these rules from others, as far as time makes emails due by them."""
        content = repr([*self.timed, self.window])
        return blake2b(content.encode(), digest_size=8).hexdigest()

    @property
    def timed(self) -> Iterator[EmailRule]:
        """The emails that time makes due."""
        timed = {EmailKind.REMINDER, EmailKind.RECAP, EmailKind.INACTIVE}
        return (rule for rule in self.rules if rule.kind in timed)


def place(
    instant: datetime, tz: str, window: SendWindow | None, useless_at: datetime | None = None
) -> datetime:
    """Return when an email that is due goes out (S51): now, or when the window opens next.

    Where that would be too late it is the last minute of the window before, which may be past.
    """
    if window is None:
        return instant
    windows = list(window.around(instant, tz))
    if any(opens <= instant < closes for opens, closes in windows):
        return instant
    opening = min(opens for opens, _ in windows if opens > instant)
    if useless_at is not None and opening >= useless_at:
        return max(closes for _, closes in windows if closes <= instant) - LAST_MINUTE
    return opening


def is_open(instant: datetime, tz: str, window: SendWindow | None) -> bool:
    """Tell whether emails go out at an instant."""
    return place(instant, tz, window) == instant
