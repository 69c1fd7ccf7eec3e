"""Which emails are due for a user, and when (S50 to S53).

What happened is told by notices. What time brings (a streak about to end, a week that is over, a
user who stayed away) follows from the state, at an instant that is known ahead: `due_hint` is no
later than it and costs little, `due_mail` is exact. Nothing is remembered between: what is due is
due for a while, and one email goes out for each cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from models.rules.calendar import ONE_DAY, first_shown, local_date, local_time
from models.rules.effects import Notice
from models.rules.mailing import EmailKind, EmailRule, place
from models.rules.periods import next_period, period_of, previous_period, starts_at
from models.rules.rulebook import Rulebook
from models.rules.state import UserState
from models.rules.streaks import Life, StreakRule, read

TOLD_WITHIN = timedelta(days=2)
"""What was due longer ago, as after an outage, is no news any more."""
USELESS_AFTER = TOLD_WITHIN + ONE_DAY


class DueEmail(NamedTuple):
    """An email that is due: to be sent at `send_at`, and of no use from `useless_at` on.

    `cause` tells it from every other one of its name, for ever; `body` is what it is about.
    """

    name: str
    kind: EmailKind
    cause: str
    send_at: datetime
    useless_at: datetime
    body: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class DueMail:
    """What is due for a user, and when to look again; None where only something done could tell."""

    emails: list[DueEmail] = field(default_factory=list)
    next_at: datetime | None = None

    def look_at(self, instant: datetime) -> None:
        """Look again at an instant, unless that is done before."""
        if self.next_at is None or instant < self.next_at:
            self.next_at = instant


def due_hint(state: UserState, rulebook: Rulebook) -> datetime | None:
    """Return an instant no later than when time next makes an email due; None for never."""
    due = DueMail()
    ahead = ONE_DAY if rulebook.mailing.window is not None else timedelta(0)
    for rule in rulebook.mailing.timed:
        if rule.kind is EmailKind.REMINDER:
            streak = state.streaks.get(rule.subject)
            if streak is not None and streak.due_at is not None:
                due.look_at(streak.due_at - rule.before - ahead)
        elif state.active_at is not None:
            tz = state.tz_at(state.active_at, rulebook.tz)
            if rule.kind is EmailKind.RECAP:
                due.look_at(_recap_at(rule, state.active_at, tz))
            else:
                due.look_at(_inactive_at(state.active_at, min(rule.days), tz))
    return due.next_at


def due_mail(
    state: UserState, rulebook: Rulebook, now: datetime, quiet_until: datetime | None = None
) -> DueMail:
    """Return the emails that time has made due for a user, and when to look again.

    Of what was due by `quiet_until`, when the user's past was imported, nobody is told (S53).
    """
    due, tz = DueMail(), state.tz_at(now, rulebook.tz)
    since = max(now - TOLD_WITHIN, quiet_until or datetime.min.replace(tzinfo=UTC))
    send_at = place(now, tz, rulebook.mailing.window)
    for rule in rulebook.mailing.timed:
        if rule.kind is EmailKind.REMINDER:
            _remind(due, rule, state, rulebook, now, send_at)
        elif state.active_at is not None:
            look = _Look(state.active_at, since, now, tz, send_at)
            find = _recap if rule.kind is EmailKind.RECAP else _call_back
            find(due, rule, look)
    return due


def told_mail(notice: Notice, tz: str, rulebook: Rulebook, now: datetime) -> Iterator[DueEmail]:
    """Yield the emails that tell of a notice, unless it is no news any more."""
    if notice.at < now - TOLD_WITHIN:
        return
    for rule in rulebook.mailing.rules:
        if rule.tells(notice.kind.value, notice.body):
            send_at = place(now, tz, rulebook.mailing.window)
            useless_at = notice.at + USELESS_AFTER
            yield DueEmail(rule.name, rule.kind, notice.cause, send_at, useless_at, notice.body)


def deadline(
    state: UserState, rule: StreakRule, rulebook: Rulebook, now: datetime
) -> datetime | None:
    """Return when a streak ends unless something is done; None for one that has no chain."""
    streak = state.streaks.get(rule.name)
    if streak is None:
        return None
    life = Life(state.told.zones, rulebook.tz, state.told.pauses)
    return read(rule, streak, life, now).expires_at


class _Look(NamedTuple):
    """A look at a user who was last active at an instant: what was due after `since` is told now.

    It goes out at `send_at`.
    """

    active_at: datetime
    since: datetime
    now: datetime
    tz: str
    send_at: datetime


def _remind(
    due: DueMail,
    rule: EmailRule,
    state: UserState,
    rulebook: Rulebook,
    now: datetime,
    send_at: datetime,
) -> None:
    ends_at = deadline(state, rulebook.streaks[rule.subject], rulebook, now)
    if ends_at is None or ends_at <= now:
        return
    tz = state.tz_at(now, rulebook.tz)
    due_at = place(ends_at - rule.before, tz, rulebook.mailing.window, ends_at)
    if due_at > now:
        due.look_at(due_at)
        return
    # Late, and the window closed meanwhile: then it is not sent, but it was due.
    body = {"streak": rule.subject, "expires_at": ends_at.isoformat()}
    cause = f"{rule.subject}:{ends_at.isoformat()}"
    due.emails.append(DueEmail(rule.name, rule.kind, cause, send_at, ends_at, body))


def _recap(due: DueMail, rule: EmailRule, look: _Look) -> None:
    assert rule.period is not None
    current = period_of(local_date(look.now, look.tz), rule.period)
    first = previous_period(current, rule.period)
    over_at = starts_at(current, rule.period, look.tz)
    was_active = look.active_at >= starts_at(first, rule.period, look.tz)
    if look.since < over_at <= look.now and was_active:
        body = {"first": first.isoformat(), "last": (current - ONE_DAY).isoformat()}
        _add(due, rule, first.isoformat(), over_at, body, look)
    if look.active_at >= over_at:
        due.look_at(starts_at(next_period(current, rule.period), rule.period, look.tz))


def _recap_at(rule: EmailRule, active_at: datetime, tz: str) -> datetime:
    assert rule.period is not None
    period = period_of(local_date(active_at, tz), rule.period)
    return starts_at(next_period(period, rule.period), rule.period, tz)


def _call_back(due: DueMail, rule: EmailRule, look: _Look) -> None:
    for days in sorted(rule.days):
        instant = _inactive_at(look.active_at, days, look.tz)
        if instant > look.now:
            due.look_at(instant)
            return
        if instant > look.since:
            active_on = local_date(look.active_at, look.tz)
            body = {"days": days, "last_active_on": active_on.isoformat()}
            _add(due, rule, f"{active_on}:{days}", instant, body, look)


def _add(
    due: DueMail,
    rule: EmailRule,
    cause: str,
    due_at: datetime,
    body: Mapping[str, Any],
    look: _Look,
) -> None:
    useless_at = due_at + USELESS_AFTER
    due.emails.append(DueEmail(rule.name, rule.kind, cause, look.send_at, useless_at, body))


def _inactive_at(active_at: datetime, days: int, tz: str) -> datetime:
    """Return when a user has stayed away for so many days: at the same time of the day."""
    day = local_date(active_at, tz) + days * ONE_DAY
    return first_shown(day, local_time(active_at, tz), tz)
