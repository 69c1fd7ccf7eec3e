"""Emails: planned once for each cause, claimed when they are due, kept with what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    RowMapping,
    Text,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.types import TypeEngine

from models.rules.due_mail import DueEmail
from models.statements.recipients import forgive
from models.statements.rows import JsonText, arrays, given, one_of
from models.tables import (
    ID,
    INSTANT,
    THIS_TRANSACTION,
    emails,
    user_fields,
)


class EmailState(StrEnum):
    """What has become of an email."""

    PLANNED = "planned"
    """It waits for its time, or to be tried again."""
    SENDING = "sending"
    """It is being handed to the server; one that stays so was, or was not, taken by it."""
    SENT = "sent"
    """The server has taken it."""
    WITHHELD = "withheld"
    """Its user is in the control group."""
    CANCELLED = "cancelled"
    """It was not sent, and the reason says why."""
    FAILED = "failed"
    """The server refused it, or did so too often; the reason is its reply."""
    UNSURE = "unsure"
    """The process ended, or the connection, before the server's yes; it may have been sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEmail:
    """An email for a user, and whether it is withheld."""

    user_id: str
    due: DueEmail
    withheld: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEmail:
    """An email as it is kept."""

    email_id: int
    user_id: str
    name: str
    kind: str
    cause: str
    body: Mapping[str, Any]
    send_at: datetime
    useless_at: datetime
    state: EmailState
    attempts: int
    address: str | None
    message_id: str | None
    reason: str | None
    planned_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What came of an attempt. With `state` planned it is tried again at `send_at`."""

    email_id: int
    state: EmailState
    send_at: datetime | None = None
    address: str | None = None
    message_id: str | None = None
    reason: str | None = None


_PLANNED_COLUMNS: dict[str, TypeEngine[Any]] = {
    "user_id": ID,
    "name": ID,
    "cause": ID,
    "kind": ID,
    "body": JsonText(),
    "send_at": INSTANT,
    "useless_at": INSTANT,
    "state": ID,
}
_planned = given("planned", **_PLANNED_COLUMNS)
_has_address = exists().where(
    user_fields.c.user_id == _planned.c.user_id, user_fields.c.field == "email"
)
_is_withheld = _planned.c.state == EmailState.WITHHELD
_SETTLED_STATES = [
    state for state in EmailState if state not in {EmailState.PLANNED, EmailState.SENDING}
]
_ADD = (
    insert(emails)
    .from_select(
        [*_PLANNED_COLUMNS, "planned_at", "settled_at", "txid"],
        select(
            *[
                cast(_planned.c[name], JSONB) if name == "body" else _planned.c[name]
                for name in _PLANNED_COLUMNS
            ],
            bindparam("now", type_=INSTANT),
            case((_is_withheld, bindparam("now", type_=INSTANT))),
            case((_is_withheld, THIS_TRANSACTION)),
        ).where(_has_address),
    )
    .on_conflict_do_nothing(index_elements=["user_id", "name", "cause"])
    .returning(emails.c.email_id)
)
_due = (
    select(emails.c.email_id)
    .where(emails.c.state == EmailState.PLANNED, emails.c.send_at <= bindparam("now"))
    .order_by(emails.c.send_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_CLAIM = (
    update(emails)
    .where(emails.c.email_id == _due.c.email_id)
    .values(
        state=EmailState.SENDING,
        attempts=emails.c.attempts + 1,
        # while it is being sent: until when that may take
        send_at=bindparam("until"),
    )
    .returning(emails)
)
_LEFT_BEHIND = (
    update(emails)
    .where(emails.c.state == EmailState.SENDING, emails.c.send_at <= bindparam("now"))
    .values(
        state=bindparam("new_state"),
        reason=bindparam("why"),
        settled_at=cast(bindparam("settled", type_=INSTANT), INSTANT),
        txid=case((bindparam("new_state").in_(_SETTLED_STATES), THIS_TRANSACTION)),
    )
    .returning(emails.c.email_id)
)
_SETTLED_COLUMNS: dict[str, TypeEngine[Any]] = {
    "of_email": BigInteger(),
    "new_state": ID,
    "new_send_at": INSTANT,
    "to_address": ID,
    "as_message": ID,
    "why": ID,
    "at": INSTANT,
}
_settled = given("settled", **_SETTLED_COLUMNS)
_SETTLE = (
    update(emails)
    .where(emails.c.email_id == _settled.c.of_email, emails.c.state == EmailState.SENDING)
    .values(
        state=_settled.c.new_state,
        send_at=func.coalesce(_settled.c.new_send_at, emails.c.send_at),
        address=func.coalesce(_settled.c.to_address, emails.c.address),
        message_id=func.coalesce(_settled.c.as_message, emails.c.message_id),
        reason=_settled.c.why,
        settled_at=_settled.c.at,
        txid=case((_settled.c.new_state.in_(_SETTLED_STATES), THIS_TRANSACTION)),
    )
)
_COUNTS = select(emails.c.state, func.count()).group_by(emails.c.state)
_COUNT_DUE = select(func.count()).where(
    emails.c.state.in_([EmailState.PLANNED, EmailState.SENDING]),
    emails.c.send_at <= bindparam("now"),
)
_LIST = (
    select(emails)
    .where(
        or_(bindparam("state", type_=Text()).is_(None), emails.c.state == bindparam("state")),
        or_(bindparam("user_id", type_=Text()).is_(None), emails.c.user_id == bindparam("user_id")),
    )
    .order_by(func.coalesce(emails.c.settled_at, emails.c.send_at).desc(), emails.c.email_id)
    .limit(bindparam("limit"))
)
_RETRY = (
    update(emails)
    .where(
        one_of(emails.c.email_id, "email_ids"),
        emails.c.state.in_([EmailState.FAILED, EmailState.UNSURE, EmailState.CANCELLED]),
    )
    .values(
        state=EmailState.PLANNED,
        attempts=0,
        send_at=bindparam("now"),
        useless_at=func.greatest(emails.c.useless_at, bindparam("useless_at", type_=INSTANT)),
        reason=None,
        settled_at=None,
        txid=None,
    )
    .returning(emails.c.email_id, emails.c.address)
)
_CANCEL = (
    update(emails)
    .where(one_of(emails.c.email_id, "email_ids"), emails.c.state == EmailState.PLANNED)
    .values(
        state=EmailState.CANCELLED,
        reason=bindparam("why"),
        settled_at=bindparam("now"),
        txid=THIS_TRANSACTION,
    )
    .returning(emails.c.email_id)
)


def add_emails(connection: Connection, planned: Iterable[PlannedEmail], now: datetime) -> int:
    """Plan emails, of users with an address, that were not planned before; return how many."""
    rows = (
        (
            one.user_id,
            one.due.name,
            one.due.cause,
            one.due.kind.value,
            msgspec.json.encode(one.due.body).decode(),
            one.due.send_at,
            one.due.useless_at,
            (EmailState.WITHHELD if one.withheld else EmailState.PLANNED).value,
        )
        for one in planned
    )
    found = connection.execute(_ADD, arrays(tuple(_PLANNED_COLUMNS), rows) | {"now": now})
    return len(found.all())


def claim(connection: Connection, now: datetime, until: datetime, limit: int) -> list[StoredEmail]:
    """Take emails that are due, so that nobody else sends them until an instant; never waits."""
    rows = connection.execute(_CLAIM, {"now": now, "until": until, "limit": limit}).mappings()
    return sorted((_stored(row) for row in rows), key=lambda one: one.email_id)


def settle(connection: Connection, settled: Iterable[Settled], now: datetime) -> None:
    """Write what came of attempts."""
    rows = (
        (
            one.email_id,
            one.state.value,
            one.send_at,
            one.address,
            one.message_id,
            one.reason,
            None if one.state is EmailState.PLANNED else now,
        )
        for one in settled
    )
    connection.execute(_SETTLE, arrays(tuple(_SETTLED_COLUMNS), rows))


def settle_left_behind(
    connection: Connection, now: datetime, state: EmailState, reason: str
) -> int:
    """Settle what a process took and did not bring to an end in time; return how many."""
    asked = {
        "now": now,
        "new_state": state.value,
        "why": reason,
        "settled": None if state is EmailState.PLANNED else now,
    }
    return len(connection.execute(_LEFT_BEHIND, asked).all())


def count_emails(connection: Connection) -> dict[EmailState, int]:
    """Return how many emails are in each state."""
    found = {row[0]: int(row[1]) for row in connection.execute(_COUNTS)}
    return {state: found.get(state.value, 0) for state in EmailState}


def count_due(connection: Connection, now: datetime) -> int:
    """Return how many emails wait although it is their time."""
    return int(connection.execute(_COUNT_DUE, {"now": now}).scalar_one())


def list_emails(
    connection: Connection, limit: int, state: EmailState | None = None, user_id: str | None = None
) -> list[StoredEmail]:
    """Return emails, those of which something happened last first."""
    asked = {"limit": limit, "state": state and state.value, "user_id": user_id}
    return [_stored(row) for row in connection.execute(_LIST, asked).mappings()]


def retry(
    connection: Connection, email_ids: Sequence[int], now: datetime, useless_at: datetime
) -> int:
    """Let emails that were not sent be sent, whatever their addresses were; return how many."""
    asked = {"email_ids": list(email_ids), "now": now, "useless_at": useless_at}
    found = connection.execute(_RETRY, asked).all()
    forgive(connection, [row.address for row in found if row.address is not None])
    return len(found)


def cancel(connection: Connection, email_ids: Sequence[int], reason: str, now: datetime) -> int:
    """Let emails that wait not be sent; return how many."""
    asked = {"email_ids": list(email_ids), "why": reason, "now": now}
    return len(connection.execute(_CANCEL, asked).all())


def _stored(row: RowMapping) -> StoredEmail:
    values = {name: row[name] for name in StoredEmail.__dataclass_fields__}
    return StoredEmail(**values | {"state": EmailState(row["state"])})
