"""From what was accepted to what is new of each user: dated events, and what was told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from models.applying.dating import date_arrivals
from models.folding import News
from models.rules import timelines
from models.rules.arrivals import Arrival, Dated, Told
from models.rules.facts import Event
from models.rules.fold import INSTANT
from models.rules.rulebook import Rules
from models.statements import ledger as ledger_statements
from models.statements import told as told_statements
from models.statements.ledger import StoredFact, told_fact
from models.statements.users import Users
from streakline.contract import UserFields


def collect_news(
    connection: Connection,
    rules: Rules,
    new: Sequence[Arrival],
    told: Sequence[Told],
    users: Users,
    now: datetime,
) -> tuple[dict[str, News], list[Dated]]:
    """Keep what was told, and return what is new by user, and the events with their local dates.

    What an event tells about its user was true when it occurred, and dates the event itself.
    """
    _keep_fields(connection, new, told)
    news: dict[str, News] = {}
    for fact in _add_told(connection, rules, told, users, now):
        one = news.setdefault(fact.user_id, News(silent=True))
        body = fact.body
        one.told.append(timelines.Told(fact.at, body.get("tz"), body.get("attributes", {})))
        if not body.get("imported"):
            one.seen_at.append(fact.at)
    for arrival in new:
        if arrival.event.user is not None:
            one = news.setdefault(arrival.event.user_id, News(silent=True))
            one.told.append(_said(arrival.event.user, arrival.occurred_at))
    dated = date_arrivals(rules, new, users, news)
    version = rules.latest.version
    for arrival, local_date in dated:
        one = news.setdefault(arrival.event.user_id, News(silent=True))
        one.silent = one.silent and arrival.imported
        one.facts.append(
            Event(
                arrival.occurred_at,
                arrival.event.metric,
                arrival.key,
                version,
                arrival.event.value,
                local_date,
                arrival.event.attributes,
            )
        )
    return news, dated


def _said(fields: UserFields, at: datetime) -> timelines.Told:
    return timelines.Told(at, fields.tz, fields.attributes)


def _open_at(told: Told, users: Users) -> datetime:
    """Return when something was told, or the first instant after where the ledger is closed."""
    closed_until = users.closed.get(told.user_id)
    return told.told_at if closed_until is None else max(told.told_at, closed_until + INSTANT)


def _keep_fields(connection: Connection, new: Sequence[Arrival], told: Sequence[Told]) -> None:
    facts = [
        *told,
        *(
            Told(user_id=item.event.user_id, fields=item.event.user, told_at=item.occurred_at)
            for item in new
            if item.event.user is not None
        ),
    ]
    if facts:
        told_statements.tell(connection, facts)


def _add_told(
    connection: Connection, rules: Rules, told: Sequence[Told], users: Users, now: datetime
) -> list[StoredFact]:
    """Write what was told beside events to the ledger; return what was not there already.

    What is told of a time up to which a ledger is closed holds from then on.
    """
    facts = {
        (fact.user_id, fact.fact_id): fact
        for fact in (
            told_fact(
                one.user_id,
                _said(one.fields, _open_at(one, users)),
                imported=one.imported,
                program_version=rules.latest.version,
                recorded_at=now,
            )
            for one in told
        )
    }
    if not facts:
        return []
    known = ledger_statements.read_known_facts(connection, facts)
    new = [fact for key, fact in sorted(facts.items()) if key not in known]
    if new:
        ledger_statements.add_facts(connection, new)
    return new
