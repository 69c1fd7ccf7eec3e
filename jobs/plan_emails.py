"""Plan emails: from what notices tell, and from what time brings, each once for its cause.

An email that is planned waits for its time in the user's zone, and is looked at again when it is
sent: who has acted by then gets none (`jobs.send_emails`). The control group's are kept as
withheld, so that one can see what emails do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, Engine

from models.rulebooks import Rulebooks
from models.rules.control import bucket_of, control_buckets
from models.rules.due_mail import DueEmail, due_mail, told_mail
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.statements import emails as statements
from models.statements import users as user_statements
from models.statements.cursors import lock_cursor, move_cursor
from models.statements.emails import PlannedEmail
from models.statements.notices import take_told

DONE = 2**62
"""More than there are users: all were looked at."""
NOTICES_PER_TRANSACTION = 2_000
USERS_PER_TRANSACTION = 2_000


def plan_emails(engine: Engine, rulebooks: Rulebooks, now: datetime) -> Iterator[int]:
    """Plan what there is to be told, then what is due by `now`, part by part; yield how many.

    Between two parts the caller may stop. Raises NoProgram.
    """
    for plan in (_follow_program, _plan_told, _plan_due):
        while True:
            with engine.begin() as connection:
                found = plan(connection, rulebooks.current(connection), now)
            if found is None:
                break
            yield found


def _follow_program(connection: Connection, rules: Rules, now: datetime) -> int | None:
    """Let everyone be looked at once by rules that are new: what states say is by the old ones."""
    reader = f"mailing:{rules.latest.mailing.digest}"
    position = lock_cursor(connection, reader)
    if position == DONE or not any(rules.latest.mailing.timed):
        return None
    last = user_statements.look_at_mail(connection, now, position, USERS_PER_TRANSACTION)
    move_cursor(connection, reader, DONE if last is None else last)
    return None if last is None else 0


def _plan_told(connection: Connection, rules: Rules, now: datetime) -> int | None:
    told = take_told(connection, NOTICES_PER_TRANSACTION)
    if told is None:
        return None
    wanted = {rule.kind.value for rule in rules.latest.mailing.rules}
    told = [(user_id, notice) for user_id, notice in told if notice.kind.value in wanted]
    states = user_statements.read_users(
        connection, {user_id for user_id, _ in told}, rules.stamp
    ).states
    return _add(
        connection,
        rules,
        (
            (user_id, due)
            for user_id, notice in told
            for due in told_mail(notice, _tz(rules, states[user_id], now), rules.latest, now)
        ),
        now,
    )


def _plan_due(connection: Connection, rules: Rules, now: datetime) -> int | None:
    users = user_statements.lock_mail_users(connection, now, USERS_PER_TRANSACTION, rules.stamp)
    if not users.states:
        return None
    mail = {
        user_id: due_mail(state, rules.latest, now, users.quiet.get(user_id))
        for user_id, state in users.states.items()
    }
    planned = _add(
        connection,
        rules,
        ((user_id, due) for user_id, one in mail.items() for due in one.emails),
        now,
    )
    user_statements.put_mail_at(connection, {user_id: one.next_at for user_id, one in mail.items()})
    return planned


def _add(
    connection: Connection, rules: Rules, due: Iterator[tuple[str, DueEmail]], now: datetime
) -> int:
    below = control_buckets(rules.latest.mailing.percent)
    planned = [
        PlannedEmail(user_id=user_id, due=one, withheld=bucket_of(user_id) < below)
        for user_id, one in due
    ]
    return statements.add_emails(connection, planned, now) if planned else 0


def _tz(rules: Rules, state: UserState, now: datetime) -> str:
    return state.tz_at(now, rules.latest.tz)
