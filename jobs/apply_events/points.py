"""What a batch does to points: counts on, or counts the tail of the past anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
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

Position = tuple[datetime, str]
UserPoints = tuple[str, str]


def apply_to_points(
    connection: Connection, rulebook: Rulebook, new: Iterable[Dated]
) -> dict[UserPoints, dict[TriggerKey, TriggerState]]:
    """Count new events in every trigger that they match and write what they earned.

    Call it before the events are in the ledger. Returns, for each user and points system in which
    anything was counted, the states of all triggers that ever earned the user anything there.
    """
    matched = _match(rulebook, new)
    if not matched:
        return {}
    rules = {rule.key: rule for rule in rulebook.triggers}
    states = statements.read_states(connection, {user_id for user_id, _ in matched})
    changed: dict[UserTrigger, TriggerState] = {}
    entries: list[tuple[UserTrigger, Entry]] = []
    shifting: dict[UserTrigger, list[Counted]] = {}
    for key, events in matched.items():
        rule, state = rules[key[1]], states.get(key)
        events.sort(key=_position)
        if state and any(shifts_later_entries(rule, state, event) for event in events):
            shifting[key] = events
            continue
        changed[key], earned = count(rule, state, events)
        entries += [(key, entry) for entry in earned]
    if shifting:
        recounted, earned_anew = _count_anew(connection, rules, states, shifting)
        changed |= recounted
        entries += earned_anew
    statements.put_states(connection, changed)
    if entries:
        statements.put_entries(connection, entries)
    return _by_system({**states, **changed}, changed)


def _match(rulebook: Rulebook, new: Iterable[Dated]) -> dict[UserTrigger, list[Counted]]:
    by_metric: dict[str, list[TriggerRule]] = defaultdict(list)
    for rule in rulebook.triggers:
        by_metric[rule.metric].append(rule)
    matched: dict[UserTrigger, list[Counted]] = defaultdict(list)
    for dated in new:
        arrival = dated.arrival
        event = arrival.event
        for rule in by_metric.get(event.metric, ()):
            if rule.matches(event.attributes):
                matched[event.user_id, rule.key].append(
                    Counted(occurred_at=arrival.occurred_at, key=arrival.key, value=event.value)
                )
    return matched


def _count_anew(
    connection: Connection,
    rules: Mapping[TriggerKey, TriggerRule],
    states: Mapping[UserTrigger, TriggerState],
    shifting: Mapping[UserTrigger, list[Counted]],
) -> tuple[dict[UserTrigger, TriggerState], list[tuple[UserTrigger, Entry]]]:
    """Count again everything after the earliest event that shifts what later ones earned.

    The entries of that tail are taken away and written as they are now: the ledger follows the
    facts (S30).
    """
    tails = _read_tails(connection, rules, shifting)
    starts = {key: events[0].position for key, events in shifting.items()}
    reached_before = statements.read_reached_before(connection, starts)
    changed: dict[UserTrigger, TriggerState] = {}
    entries: list[tuple[UserTrigger, Entry]] = []
    for key, new in shifting.items():
        rule, tail = rules[key[1]], tails[key]
        counted = states[key].counted - sum(event.value for event in tail)
        before = TriggerState(
            counted=counted,
            awarded=rule.awarded(counted),
            last=starts[key],
            reached_at=reached_before.get(key),
        )
        changed[key], earned = count(rule, before, sorted([*new, *tail], key=_position))
        entries += [(key, entry) for entry in earned]
    statements.cut_entries(
        connection, ((key, event.key) for key, tail in tails.items() for event in tail)
    )
    return changed, entries


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


def _by_system(
    states: Mapping[UserTrigger, TriggerState], changed: Iterable[UserTrigger]
) -> dict[UserPoints, dict[TriggerKey, TriggerState]]:
    touched = {(user_id, trigger[0]) for user_id, trigger in changed}
    found: dict[UserPoints, dict[TriggerKey, TriggerState]] = defaultdict(dict)
    for (user_id, trigger), state in states.items():
        if (user_id, trigger[0]) in touched:
            found[user_id, trigger[0]][trigger] = state
    return found


def _position(event: Counted) -> Position:
    return event.position
