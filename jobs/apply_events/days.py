"""What a batch does to local days and to the streaks over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import Connection

from models.rules.arrivals import Dated
from models.rules.rulebook import Rulebook
from models.rules.state import UserState
from models.rules.streaks import (
    Chain,
    ChangedDays,
    changed_days,
    extend_chain,
    is_active,
    refold_start,
    with_deadline,
)
from models.rules.totals import Day, DayTotals, fold_days
from models.statements import chains as chain_statements
from models.statements import days as day_statements
from models.statements.chains import UserStreak
from models.statements.users import States

Days = Mapping[date, DayTotals]


def apply_to_days(
    connection: Connection,
    rulebook: Rulebook,
    new: Mapping[str, Sequence[Dated]],
    states: States,
) -> None:
    """Add new events to their days, and fold the days that changed onto their users' streaks.

    A user's latest day is part of the state; a row is written once it is over, or when a late event
    changes it afterwards.
    """
    past = _read_past_days(connection, new, states)
    rows: dict[str, Days] = {}
    changes: dict[UserStreak, ChangedDays] = {}
    for user_id, events in new.items():
        state = states[user_id]
        before = {**past.get(user_id, {}), **_latest_day(state)}
        after = fold_days(events, before)
        changes |= _changed_streaks(rulebook, user_id, before, after)
        past_days = _move_on(state, after)
        if past_days:
            rows[user_id] = past_days
    if rows:
        day_statements.put_days(connection, rows)
    if changes:
        _fold(connection, rulebook, changes, states)


def _read_past_days(
    connection: Connection, new: Mapping[str, Sequence[Dated]], states: States
) -> Mapping[str, Days]:
    """Return the days before their users' latest that the events fall on."""
    late = {
        (user_id, dated.local_date)
        for user_id, events in new.items()
        if (day := states[user_id].day)
        for dated in events
        if dated.local_date < day.date
    }
    return day_statements.read_days(connection, late) if late else {}


def _latest_day(state: UserState) -> Days:
    return {state.day.date: state.day.totals} if state.day else {}


def _move_on(state: UserState, changed: Days) -> Days:
    """Let the state hold the latest day as it now is; return the others that are to be written."""
    days = {**_latest_day(state), **changed}
    latest = max(days)
    state.day = Day(date=latest, totals=days.pop(latest))
    return days


def _changed_streaks(
    rulebook: Rulebook, user_id: str, before: Days, after: Days
) -> dict[UserStreak, ChangedDays]:
    changes = {(user_id, rule.name): changed_days(rule, before, after) for rule in rulebook.streaks}
    return {key: change for key, change in changes.items() if change}


def _fold(
    connection: Connection,
    rulebook: Rulebook,
    changes: Mapping[UserStreak, ChangedDays],
    states: States,
) -> None:
    """Extend the latest chains, or where a day of the past changed, fold them anew (S14)."""
    chains: dict[UserStreak, list[Chain]] = {}
    late: dict[UserStreak, date] = {}
    for (user_id, streak), change in changes.items():
        state = states[user_id]
        latest = state.streaks.get(streak)
        chain = latest.chain if latest else None
        if change.follow(chain):
            tz = state.tz(rulebook.tz)
            chains[user_id, streak] = extend_chain(chain, change.added, tz)
        else:
            late[user_id, streak] = change.first
    if late:
        chains |= _fold_anew(connection, rulebook, late, states)
    followed: list[tuple[UserStreak, Chain]] = []
    for key, found in chains.items():
        followed += [(key, chain) for chain in found[:-1]]
        _put_latest(rulebook, states[key[0]], key[1], found)
    if followed:
        chain_statements.add_chains(connection, followed)


def _put_latest(rulebook: Rulebook, state: UserState, streak: str, chains: Sequence[Chain]) -> None:
    if chains:
        state.streaks[streak] = with_deadline(chains[-1], state.tz(rulebook.tz))
    else:
        state.streaks.pop(streak, None)


def _fold_anew(
    connection: Connection,
    rulebook: Rulebook,
    late: Mapping[UserStreak, date],
    states: States,
) -> dict[UserStreak, list[Chain]]:
    """Take away the chains that a change in the past may touch, and fold their days again."""
    rules = {rule.name: rule for rule in rulebook.streaks}
    starts = _refold_starts(connection, late, states)
    earliest: dict[str, date] = defaultdict(lambda: date.max)
    for (user_id, _), start in starts.items():
        earliest[user_id] = min(start, earliest[user_id])
    past = day_statements.read_days_since(connection, earliest)
    chain_statements.cut_chains(connection, starts)
    chains: dict[UserStreak, list[Chain]] = {}
    for (user_id, streak), start in starts.items():
        state = states[user_id]
        days = {**past.get(user_id, {}), **_latest_day(state)}
        active = [
            day for day, totals in days.items() if day >= start and is_active(rules[streak], totals)
        ]
        chains[user_id, streak] = extend_chain(None, active, state.tz(rulebook.tz))
    return chains


def _refold_starts(
    connection: Connection, late: Mapping[UserStreak, date], states: States
) -> dict[UserStreak, date]:
    starts = chain_statements.read_last_starts(connection, late)
    for user_id, streak in late:
        latest = states[user_id].streaks.get(streak)
        if latest:
            starts.setdefault((user_id, streak), []).append(latest.chain.started_on)
    return {key: refold_start(day, starts.get(key, [])) for key, day in late.items()}
