"""What a batch does to local days and to the streaks over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection

from jobs.apply_events.users import Zones
from models.rules.arrivals import Dated
from models.rules.rulebook import Rulebook
from models.rules.streaks import (
    Chain,
    ChangedDays,
    chain_deadline,
    changed_days,
    extend_chain,
    is_active,
)
from models.rules.totals import DayTotal, UserDayMetric, fold_days
from models.statements import metrics as day_statements
from models.statements import streaks as statements
from models.statements.streaks import Latest, UserStreak

Days = dict[str, dict[date, dict[str, Decimal]]]
"""What days of users came to: `{user_id: {day: {metric: value}}}`."""


def apply_to_days(
    connection: Connection, rulebook: Rulebook, new: Sequence[Dated], zones: Zones
) -> None:
    """Add new events to their days, and fold the days that changed onto their users' streaks."""
    before = day_statements.read_days(
        connection, {(item.arrival.event.user_id, item.local_date) for item in new}
    )
    changed = fold_days(new, before)
    day_statements.put_days(connection, changed)
    changes = _changed_streaks(rulebook, _by_user(before), _by_user({**before, **changed}))
    if changes:
        chains = _fold(connection, rulebook, changes, zones)
        _write(connection, chains, zones)


def _changed_streaks(
    rulebook: Rulebook, before: Days, after: Days
) -> dict[UserStreak, ChangedDays]:
    changes = {
        (user_id, rule.name): changed_days(rule, before.get(user_id, {}), days)
        for user_id, days in after.items()
        for rule in rulebook.streaks
    }
    return {key: change for key, change in changes.items() if change}


def _fold(
    connection: Connection,
    rulebook: Rulebook,
    changes: Mapping[UserStreak, ChangedDays],
    zones: Zones,
) -> dict[UserStreak, list[Chain]]:
    """Extend the latest chains, or where a day of the past changed, fold them anew (S14)."""
    latest = statements.read_latest(connection, {user_id for user_id, _ in changes})
    chains: dict[UserStreak, list[Chain]] = {}
    late: dict[UserStreak, date] = {}
    for key, change in changes.items():
        chain = latest[key].chain if key in latest else None
        if change.follow(chain):
            chains[key] = extend_chain(chain, change.added, zones.latest(key[0]))
        else:
            late[key] = change.first
    if late:
        chains |= _fold_anew(connection, rulebook, late, zones)
    return chains


def _fold_anew(
    connection: Connection,
    rulebook: Rulebook,
    late: Mapping[UserStreak, date],
    zones: Zones,
) -> dict[UserStreak, list[Chain]]:
    """Take away the chains that a change in the past may touch, and fold their days again."""
    rules = {rule.name: rule for rule in rulebook.streaks}
    starts = statements.read_refold_starts(connection, late)
    earliest: dict[str, date] = {}
    for (user_id, _), start in starts.items():
        earliest[user_id] = min(start, earliest.get(user_id, start))
    days = statements.read_days_since(connection, earliest)
    statements.cut_chains(connection, starts)
    return {
        (user_id, streak): extend_chain(
            None,
            [
                day
                for day, values in days.get(user_id, {}).items()
                if day >= start and is_active(rules[streak], values)
            ],
            zones.latest(user_id),
        )
        for (user_id, streak), start in starts.items()
    }


def _write(
    connection: Connection,
    chains: Mapping[UserStreak, list[Chain]],
    zones: Zones,
) -> None:
    latest = {
        key: Latest(chain=found[-1], deadline_at=chain_deadline(found[-1], zones.latest(key[0])))
        for key, found in chains.items()
        if found
    }
    if latest:
        statements.put_latest(connection, latest)
    followed = [(key, chain) for key, found in chains.items() for chain in found[:-1]]
    if followed:
        statements.add_chains(connection, followed)


def _by_user(days: Mapping[UserDayMetric, DayTotal]) -> Days:
    found: Days = defaultdict(lambda: defaultdict(dict))
    for (user_id, day, metric), total in days.items():
        found[user_id][day][metric] = total.value
    return found
