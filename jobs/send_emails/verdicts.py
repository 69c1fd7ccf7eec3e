"""Whether an email is still to be sent, looked at when it is about to be (S51 to S53)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from models.rules.calendar import local_date
from models.rules.due_mail import deadline
from models.rules.mailing import EmailKind, place
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.statements.emails import StoredEmail
from models.statements.notices import read_still_told
from models.statements.recipients import Recipient
from models.statements.users import Users

TOLD_KINDS = frozenset(
    kind.value
    for kind in EmailKind
    if kind not in {EmailKind.REMINDER, EmailKind.RECAP, EmailKind.INACTIVE}
)
"""Those that tell of a notice, which has the same kind and cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why an email is not sent, or not before an instant."""

    reason: str
    send_at: datetime | None = None


def judge(
    connection: Connection,
    rules: Rules,
    emails: Sequence[StoredEmail],
    users: Users,
    recipients: Mapping[str, Recipient],
    now: datetime,
) -> dict[int, Verdict | None]:
    """Return for each email, by its number, why it is not sent now; None where it is."""
    keys = [(one.user_id, one.kind, one.cause) for one in emails if one.kind in TOLD_KINDS]
    told = read_still_told(connection, keys) if keys else set()
    found: dict[int, Verdict | None] = {}
    for one in emails:
        reason = _refuse(one, recipients[one.user_id], rules, now)
        if reason is None and one.user_id not in users.stale:
            reason = _refuse_by_state(one, users.states[one.user_id], rules, now)
        if reason is None and one.kind in TOLD_KINDS:
            key = (one.user_id, one.kind, one.cause)
            reason = None if key in told else "what it tells of was taken back"
        if reason is not None:
            found[one.email_id] = Verdict(reason=reason)
        else:
            found[one.email_id] = _put_off(one, users.states[one.user_id], rules, now)
    return found


def _refuse(email: StoredEmail, recipient: Recipient, rules: Rules, now: datetime) -> str | None:
    if all(rule.name != email.name for rule in rules.latest.mailing.rules):
        return "the program has no such email any more"
    if email.useless_at <= now:
        return "it would have come too late"
    if "email" not in recipient.fields:
        return "there is no address any more"
    if not recipient.wants(email.name):
        return "the user wants none"
    if recipient.refused is not None:
        return f"the address was refused: {recipient.refused}"
    return None


def _refuse_by_state(
    email: StoredEmail, state: UserState, rules: Rules, now: datetime
) -> str | None:
    if email.kind == EmailKind.REMINDER.value:
        rule = rules.latest.streaks.get(email.body["streak"])
        ends_at = None if rule is None else deadline(state, rule, rules.latest, now)
        if ends_at != datetime.fromisoformat(email.body["expires_at"]):
            return "the user has acted, or the streak ends at another time"
    if email.kind == EmailKind.INACTIVE.value and state.active_at is not None:
        tz = state.tz_at(state.active_at, rules.latest.tz)
        if local_date(state.active_at, tz) != date.fromisoformat(email.body["last_active_on"]):
            return "the user has come back"
    return None


def _put_off(email: StoredEmail, state: UserState, rules: Rules, now: datetime) -> Verdict | None:
    """Wait for the window's next opening, where it has closed since the email was planned."""
    tz = state.tz_at(now, rules.latest.tz)
    send_at = place(now, tz, rules.latest.mailing.window)
    if send_at == now:
        return None
    if send_at >= email.useless_at:
        return Verdict(reason="the send window closed before it could be sent")
    return Verdict(reason="it waits for the send window", send_at=send_at)
