"""What of a batch counts: looks up what the rules of acceptance ask for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import Connection

from models.applying.dating import date_arrivals
from models.folding import News
from models.rules.acceptance import NONE_CLOSED, Accepted, Closed, Days, UserDay, accept
from models.rules.arrivals import Arrival
from models.rules.calendar import ONE_DAY
from models.rules.periods import period_key
from models.rules.rulebook import DAILY, Rules
from models.rules.state import PeriodTotal, UserState
from models.rules.timelines import Told
from models.statements import events as statements
from models.statements import ledger as ledger_statements
from models.statements import openings as opening_statements
from models.statements.users import Users


def accept_arrivals(
    connection: Connection, rules: Rules, arrivals: Sequence[Arrival], users: Users, now: datetime
) -> Accepted:
    """Sort a batch's events into those that count, duplicates, and refused ones."""
    if not arrivals:
        return Accepted()
    known = statements.read_known(connection, [item.identity for item in arrivals])
    totals = {
        (user_id, metric): total.value
        for user_id, metric in {item.identity[:2] for item in arrivals}
        if (total := users.states[user_id].totals.get(metric)) is not None
    }
    days = _read_days(connection, rules, arrivals, users)
    closed = _read_closed(connection, arrivals, users) if users.closed else NONE_CLOSED
    return accept(arrivals, rules.latest, known, totals, now, days, closed)


def _read_closed(connection: Connection, arrivals: Sequence[Arrival], users: Users) -> Closed:
    """Look up which events have left: one statement more, in batches that have such users."""
    asked = [item.identity for item in arrivals if item.event.user_id in users.closed]
    return Closed(until=users.closed, identities=opening_statements.read_closed(connection, asked))


def _read_days(
    connection: Connection, rules: Rules, arrivals: Sequence[Arrival], users: Users
) -> Days:
    """Look up the days of events whose metrics have limits for one (S16).

    A state knows the recent days; older ones are counted in the ledger.
    """
    metrics = {name for name, rule in rules.latest.metrics.items() if rule.has_day_limit}
    limited = [one for one in arrivals if one.event.metric in metrics]
    if not limited:
        return Days(dates={}, totals={})
    told: dict[str, News] = {}
    for one in limited:
        if one.event.user is not None and one.event.user.tz is not None:
            said = Told(one.occurred_at, one.event.user.tz, {})
            told.setdefault(one.event.user_id, News()).told.append(said)
    dates = {arrival.identity: day for arrival, day in date_arrivals(rules, limited, users, told)}
    totals: dict[UserDay, PeriodTotal] = {}
    asked: set[UserDay] = set()
    for (user_id, metric, _), day in dates.items():
        state = users.states[user_id]
        if _is_forgotten(state, rules, day):
            asked.add((user_id, metric, day))
        else:
            total = state.periods.get(period_key(DAILY), {}).get(day, {}).get(metric)
            if total is not None:
                totals[user_id, metric, day] = total
    if asked:
        totals |= ledger_statements.read_day_totals(connection, asked)
    return Days(dates=dates, totals=totals)


def _is_forgotten(state: UserState, rules: Rules, day: date) -> bool:
    """Tell whether a state may have dropped what a day came to."""
    return state.as_of is not None and day <= (state.as_of[0] - rules.recent + ONE_DAY).date()
