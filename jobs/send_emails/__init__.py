"""Send the emails that are due, each once, to whom it still concerns.

Some are claimed at a time and committed, so that no other process takes them. Then the state is
looked at again: who has acted, wants no emails, or whose address was refused gets none (S52, S53).
What came of each is committed together. In between lies the only gap: where this process ends, or
the connection, after the server has an email and before its yes is kept, nobody can know whether it
was sent. A policy decides: such an email stays `unsure`, for an operator to look at, or is sent
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import Connection, Engine

from jobs.send_emails.contents import gather
from jobs.send_emails.verdicts import Verdict, judge
from models.emails.messages import Message, write_message
from models.emails.rendering import Renderer, RenderError
from models.rulebooks import Rulebooks
from models.rules.rulebook import Rules
from models.statements import emails as statements
from models.statements import users as user_statements
from models.statements.emails import EmailState, Settled, StoredEmail
from models.statements.recipients import Recipient, mark_refused, read_recipients
from models.statements.users import Users

EMAILS_PER_CLAIM = 20
"""So many can be in doubt at most where a process ends."""
CLAIMED_FOR = timedelta(minutes=10)
"""More than sending so many takes, each with the longest time-out of the server."""
ATTEMPTS_MAX = 8
FIRST_PAUSE = timedelta(minutes=1)
PAUSE_MAX = timedelta(hours=1)
"""From one attempt to the next: a minute, doubled each time."""
LEFT_BEHIND = "the process that was sending it ended before the server's answer was kept"


class Reply(Enum):
    """What came of handing an email to a server."""

    TAKEN = "taken"
    LATER = "later"
    """Not now: a temporary refusal, or no connection."""
    NEVER = "never"
    """Refused for good."""
    NO_SUCH_ADDRESS = "no-such-address"
    """The address was refused for good."""
    UNKNOWN = "unknown"
    """The connection broke when the server may have had the email."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A reply and its words."""

    reply: Reply
    words: str


class Unsure(Enum):
    """What is done with an email of which nobody knows whether it was sent."""

    KEEP = "keep"
    """It stays `unsure`: none is sent twice, and one may be missing."""
    AGAIN = "again"
    """It is sent again: none is missing, and one may come twice."""


Deliver = Callable[[Message], Delivery]
UnsubscribeUrl = Callable[[str, str], str]
"""From a user's id and the name of an email to the link that ends these emails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How emails are sent: what renders them, what delivers, and what is done in doubt."""

    renderer: Callable[[Connection], Renderer]
    deliver: Deliver
    unsubscribe_url: UnsubscribeUrl
    unsure: Unsure


def send_emails(
    engine: Engine, rulebooks: Rulebooks, sending: Sending, now: Callable[[], datetime]
) -> Iterator[Sequence[Settled]]:
    """Send what is due, some at a time; yield what came of them. Raises NoProgram.

    Between two yields the caller may stop.
    """
    with engine.begin() as connection:
        _settle_left_behind(connection, sending.unsure, now())
    while True:
        with engine.begin() as connection:
            at = now()
            claimed = statements.claim(connection, at, at + CLAIMED_FOR, EMAILS_PER_CLAIM)
        if not claimed:
            return
        with engine.connect() as connection:
            settled, outgoing = _prepare(connection, rulebooks, sending, claimed, now())
        refused: dict[str, str] = {}
        for email, message in outgoing:
            delivery = sending.deliver(message)
            settled.append(_settle(email, message, delivery, sending.unsure, now()))
            if delivery.reply is Reply.NO_SUCH_ADDRESS:
                refused[message.address] = delivery.words
        with engine.begin() as connection:
            statements.settle(connection, settled, now())
            if refused:
                mark_refused(connection, refused, now())
        yield settled


def _settle_left_behind(connection: Connection, unsure: Unsure, now: datetime) -> None:
    state = EmailState.PLANNED if unsure is Unsure.AGAIN else EmailState.UNSURE
    statements.settle_left_behind(connection, now, state, LEFT_BEHIND)


def _prepare(
    connection: Connection,
    rulebooks: Rulebooks,
    sending: Sending,
    claimed: Sequence[StoredEmail],
    now: datetime,
) -> tuple[list[Settled], list[tuple[StoredEmail, Message]]]:
    """Return what is settled without being sent, and what is to be sent."""
    rules = rulebooks.current(connection)
    user_ids = {one.user_id for one in claimed}
    users = user_statements.read_users(connection, user_ids, rules.stamp)
    recipients = read_recipients(connection, user_ids)
    verdicts = judge(connection, rules, claimed, users, recipients, now)
    settled = [_settle_verdict(one, found) for one in claimed if (found := verdicts[one.email_id])]
    wanted = [one for one in claimed if verdicts[one.email_id] is None]
    outgoing = []
    for email, made in _write(connection, rules, sending, wanted, users, recipients, now):
        if isinstance(made, Message):
            outgoing.append((email, made))
        else:
            settled.append(Settled(email_id=email.email_id, state=EmailState.FAILED, reason=made))
    return settled, outgoing


def _settle_verdict(email: StoredEmail, verdict: Verdict) -> Settled:
    state = EmailState.CANCELLED if verdict.send_at is None else EmailState.PLANNED
    return Settled(
        email_id=email.email_id, state=state, send_at=verdict.send_at, reason=verdict.reason
    )


def _write(
    connection: Connection,
    rules: Rules,
    sending: Sending,
    emails: Sequence[StoredEmail],
    users: Users,
    recipients: Mapping[str, Recipient],
    now: datetime,
) -> Iterator[tuple[StoredEmail, Message | str]]:
    """Yield each email as it goes out, or why it cannot be written."""
    renderer = sending.renderer(connection)
    variables = gather(
        connection, rules, renderer.program, emails, users, recipients, sending.unsubscribe_url, now
    )
    emails_table = renderer.program.emails
    sender = emails_table.from_ if emails_table is not None else ""
    for email in emails:
        about, key = variables[email.email_id], f"{email.user_id}:{email.name}:{email.cause}"
        if about is None:
            yield email, "what it tells of is not there any more"
            continue
        try:
            rendered = renderer.render(about, email=email.name, seed=key)
        except RenderError as error:
            yield email, str(error)
            continue
        address = recipients[email.user_id].fields["email"]
        try:
            message = write_message(
                sender=sender,
                address=address,
                name=about.user.name,
                key=key,
                subject=rendered.subject,
                html=rendered.html,
                text=rendered.text,
                unsubscribe_url=about.unsubscribe_url,
                now=now,
            )
        except ValueError as error:
            yield email, f"the address {address!r} cannot be written to: {error}"
            continue
        yield email, message


def _settle(
    email: StoredEmail, message: Message, delivery: Delivery, unsure: Unsure, now: datetime
) -> Settled:
    state, send_at = EmailState.SENT, None
    match delivery.reply:
        case Reply.TAKEN:
            pass
        case Reply.NEVER | Reply.NO_SUCH_ADDRESS:
            state = EmailState.FAILED
        case Reply.UNKNOWN if unsure is Unsure.KEEP:
            state = EmailState.UNSURE
        case Reply.LATER | Reply.UNKNOWN:
            state = EmailState.PLANNED if email.attempts < ATTEMPTS_MAX else EmailState.FAILED
            if state is EmailState.PLANNED:
                send_at = now + pause_after(email.attempts)
    return Settled(
        email_id=email.email_id,
        state=state,
        send_at=send_at,
        address=message.address,
        message_id=message.message_id,
        reason=delivery.words,
    )


def pause_after(attempts: int) -> timedelta:
    """Return how long is waited after so many attempts.

    >>> pause_after(1).total_seconds(), pause_after(3).total_seconds(), str(pause_after(8))
    (60.0, 240.0, '1:00:00')
    """
    doubled: int = 2 ** (attempts - 1)
    return min(FIRST_PAUSE * doubled, PAUSE_MAX)
