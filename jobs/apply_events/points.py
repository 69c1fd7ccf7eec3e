"""What a batch does to points: counts on, or counts the tail of the past anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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
    matched = _match(rulebook, new)
    rules = {rule.key: rule for rule in rulebook.triggers}
    entries: list[tuple[UserTrigger, Entry]] = []
    shifting: dict[UserTrigger, list[Counted]] = {}
    for key, events in matched.items():
        rule = rules[key[1]]
        state = _state(states, key[0], rule)
        events.sort(key=_position)
        if state and any(shifts_later_entries(rule, state, event) for event in events):
            shifting[key] = events
            continue
        after, earned = count(rule, state, events)
        _put_state(states, key[0], rule, after)
        entries += [(key, entry) for entry in earned]
    if shifting:
        entries += _count_anew(connection, rules, states, shifting)
    if entries:
        statements.add_entries(connection, entries)
    by_system: dict[str, set[str]] = defaultdict(set)
    for user_id, trigger in matched:
        by_system[rules[trigger].points].add(user_id)
    return by_system


def _state(states: States, user_id: str, rule: TriggerRule) -> TriggerState | None:
    return states[user_id].points.get(rule.points, {}).get(rule.id)


def _put_state(states: States, user_id: str, rule: TriggerRule, state: TriggerState) -> None:
    states[user_id].points.setdefault(rule.points, {})[rule.id] = state


def _match(
    rulebook: Rulebook, new: Mapping[str, Sequence[Dated]]
) -> dict[UserTrigger, list[Counted]]:
    by_metric: dict[str, list[TriggerRule]] = defaultdict(list)
    for rule in rulebook.triggers:
        by_metric[rule.metric].append(rule)
    matched: dict[UserTrigger, list[Counted]] = defaultdict(list)
    for user_id, events in new.items():
        for dated in events:
            arrival = dated.arrival
            event = arrival.event
            for rule in by_metric.get(event.metric, ()):
                if rule.matches(event.attributes):
                    matched[user_id, rule.key].append(
                        Counted(occurred_at=arrival.occurred_at, key=arrival.key, value=event.value)
                    )
    return matched


def _count_anew(
    connection: Connection,
    rules: Mapping[TriggerKey, TriggerRule],
    states: States,
    shifting: Mapping[UserTrigger, list[Counted]],
) -> list[tuple[UserTrigger, Entry]]:
    """Count again everything after the earliest event that shifts what later ones earned.

    The entries of that tail are taken away and written as they are now: the ledger follows the
    facts (S30).
    """
    tails = _read_tails(connection, rules, shifting)
    starts = {key: events[0].position for key, events in shifting.items()}
    reached_before = statements.read_reached_before(connection, starts)
    entries: list[tuple[UserTrigger, Entry]] = []
    for key, new in shifting.items():
        user_id, rule, tail = key[0], rules[key[1]], tails[key]
        known = states[user_id].points[rule.points][rule.id]
        counted = known.counted - sum(event.value for event in tail)
        before = TriggerState(
            counted=counted,
            awarded=rule.awarded(counted),
            last=starts[key],
            reached_at=reached_before.get(key),
        )
        after, earned = count(rule, before, sorted([*new, *tail], key=_position))
        _put_state(states, user_id, rule, after)
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
