"""An email as it would be written to a user now, from what is known of the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobs.send_emails.contents import gather
from models.emails.rendering import Rendered, Renderer
from models.rules.calendar import ONE_DAY, local_date
from models.rules.due_mail import deadline
from models.rules.mailing import EmailKind, EmailRule
from models.rules.periods import last_date, period_of, previous_period
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.statements import users as user_statements
from models.statements.emails import EmailState, StoredEmail
from models.statements.notices import read_notices
from models.statements.recipients import read_recipients


class NothingToTell(LookupError):
    """There is nothing that such an email could tell this user of; the message says what."""


def preview_email(
    connection: Connection,
    rules: Rules,
    renderer: Renderer,
    name: str,
    user_id: str,
    unsubscribe_url: Callable[[str, str], str],
    now: datetime,
) -> Rendered:
    """Return an email of the program as it would be written to a user now; nothing is planned.

    What tells of a notice is about the user's latest one. Raises NothingToTell, and RenderError.
    """
    rule = next((rule for rule in rules.latest.mailing.rules if rule.name == name), None)
    if rule is None:
        known = ", ".join(rule.name for rule in rules.latest.mailing.rules) or "none"
        raise NothingToTell(f"the program in force has no email {name!r}; it has {known}")
    users = user_statements.read_users(connection, [user_id], rules.stamp)
    if user_id not in users.states:
        raise NothingToTell(f"no user {user_id!r} was ever seen")
    body = _body(connection, rules, rule, user_id, users.states[user_id], now)
    if body is None:
        raise NothingToTell(f"{user_id!r} has had nothing that {name!r} tells of")
    email = StoredEmail(
        email_id=0,
        user_id=user_id,
        name=name,
        kind=rule.kind.value,
        cause="preview",
        body=body,
        send_at=now,
        useless_at=now,
        state=EmailState.PLANNED,
        attempts=0,
        address=None,
        message_id=None,
        reason=None,
        planned_at=now,
        settled_at=None,
    )
    recipients = read_recipients(connection, [user_id])
    made = gather(
        connection, rules, renderer.program, [email], users, recipients, unsubscribe_url, now
    )
    about = made[0]
    if about is None:
        raise NothingToTell(f"what {name!r} would tell {user_id!r} of is not there any more")
    return renderer.render(about, email=name, seed=f"{user_id}:{name}:preview")


def _body(
    connection: Connection,
    rules: Rules,
    rule: EmailRule,
    user_id: str,
    state: UserState,
    now: datetime,
) -> Mapping[str, Any] | None:
    tz = state.tz_at(now, rules.latest.tz)
    match rule.kind:
        case EmailKind.REMINDER:
            ends_at = deadline(state, rules.latest.streaks[rule.subject], rules.latest, now)
            return None if ends_at is None else {"streak": rule.subject}
        case EmailKind.RECAP:
            assert rule.period is not None
            first = previous_period(period_of(local_date(now, tz), rule.period), rule.period)
            last = last_date(first, rule.period)
            return {"first": first.isoformat(), "last": last.isoformat()}
        case EmailKind.INACTIVE:
            if state.active_at is None:
                return None
            active_on = local_date(state.active_at, tz)
            days = max(1, (local_date(now, tz) - active_on) // ONE_DAY)
            return {"days": days, "last_active_on": active_on.isoformat()}
        case _:
            told = read_notices(connection, user_id, rule.kind.value)
            return next((body for body in told if rule.tells(rule.kind.value, body)), None)
