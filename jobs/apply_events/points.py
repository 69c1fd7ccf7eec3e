"""What a batch does to points: counts on, or counts the tail of the past anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from models.rules.arrivals import Dated
from models.rules.points import (
    Counted,
    Entry,
    TriggerKey,
    TriggerRule,
    TriggerState,
    count,
    shifts_later_entries,
)
from models.rules.rulebook import Rulebook
from models.statements import points as statements
from models.statements.points import LedgerEvent, UserTrigger
from models.statements.users import States

Position = tuple[datetime, str]


def apply_to_points(
    connection: Connection,
    rulebook: Rulebook,
    new: Mapping[str, Sequence[Dated]],
    states: States,
) -> Mapping[str, Collection[str]]:
    """Count new events in every trigger that they match and write what they earned.

    Call it before the events are in the ledger. Returns, for each points system, the users for whom
    anything was counted.
    """
    by_system: dict[str, set[str]] = defaultdict(set)
    entries: list[tuple[UserTrigger, Entry]] = []
    shifting: dict[UserTrigger, list[Counted]] = {}
    for user_id, rule, events in _matches(rulebook, new):
        by_system[rule.points].add(user_id)
        states_of_system = states[user_id].points.setdefault(rule.points, {})
        state = states_of_system.get(rule.id)
        if state and any(shifts_later_entries(rule, state, event) for event in events):
            shifting[user_id, rule.key] = events
            continue
        states_of_system[rule.id], earned = count(rule, state, events)
        entries += [((user_id, rule.key), entry) for entry in earned]
    if shifting:
        entries += _count_anew(connection, rulebook, states, shifting)
    if entries:
        statements.add_entries(connection, entries)
    return by_system


def _matches(
    rulebook: Rulebook, new: Mapping[str, Sequence[Dated]]
) -> Iterator[tuple[str, TriggerRule, list[Counted]]]:
    """Yield what each trigger counts of each user's events, in order; at least one event each."""
    for user_id, events in new.items():
        for rule in rulebook.triggers:
            counted = [
                Counted(
                    occurred_at=dated.arrival.occurred_at,
                    key=dated.arrival.key,
                    value=dated.arrival.event.value,
                )
                for dated in events
                if dated.arrival.event.metric == rule.metric
                and rule.matches(dated.arrival.event.attributes)
            ]
            if counted:
                yield user_id, rule, sorted(counted, key=_position)


def _count_anew(
    connection: Connection,
    rulebook: Rulebook,
    states: States,
    shifting: Mapping[UserTrigger, list[Counted]],
) -> list[tuple[UserTrigger, Entry]]:
    """Count again everything after the earliest event that shifts what later ones earned.

    The entries of that tail are taken away and written as they are now: the ledger follows the
    facts (S30).
    """
    rules = {rule.key: rule for rule in rulebook.triggers}
    tails = _read_tails(connection, rules, shifting)
    starts = {key: events[0].position for key, events in shifting.items()}
    reached_before = statements.read_reached_before(connection, starts)
    entries: list[tuple[UserTrigger, Entry]] = []
    for key, new in shifting.items():
        user_id, rule, tail = key[0], rules[key[1]], tails[key]
        states_of_system = states[user_id].points[rule.points]
        counted = states_of_system[rule.id].counted - sum(event.value for event in tail)
        before = TriggerState(
            counted=counted,
            awarded=rule.awarded(counted),
            last=starts[key],
            reached_at=reached_before.get(key),
        )
        states_of_system[rule.id], earned = count(
            rule, before, sorted([*new, *tail], key=_position)
        )
        entries += [(key, entry) for entry in earned]
    statements.cut_entries(
        connection, ((key, event.key) for key, tail in tails.items() for event in tail)
    )
    return entries


def _read_tails(
    connection: Connection,
    rules: Mapping[TriggerKey, TriggerRule],
    shifting: Mapping[UserTrigger, list[Counted]],
) -> dict[UserTrigger, list[Counted]]:
    """Return the events of the ledger that come after the first new one of each trigger."""
    since: dict[tuple[str, str], Position] = {}
    for (user_id, trigger), new in shifting.items():
        user_metric = (user_id, rules[trigger].metric)
        since[user_metric] = min(new[0].position, since.get(user_metric, new[0].position))
    found = statements.read_events_after(connection, since)
    return {
        key: [
            event.counted
            for event in found.get((key[0], rules[key[1]].metric), ())
            if event.counted.position > new[0].position and _counts(rules[key[1]], event)
        ]
        for key, new in shifting.items()
    }


def _counts(rule: TriggerRule, event: LedgerEvent) -> bool:
    """A trigger counts what was judged since it entered the program (S30)."""
    return event.program_version >= rule.since and rule.matches(event.attributes)


def _position(event: Counted) -> Position:
    return event.position
