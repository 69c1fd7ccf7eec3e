"""Import events of any age: read sources, send them to the workers, and say what was refused.

What a source holds goes out in messages of up to 500 events as it is read, so memory is bounded by
one message. A line that cannot be used is refused with its place and the rest goes on. Every event
has a key that comes from its source, so importing the same again changes nothing (S75): also after
an import that was cut short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TypeVar

from models.sources import EventRow, Refused, UserLine, UserRow
from streakline.contract import EVENTS_PER_MESSAGE_MAX
from streakline.transport import Transport

REFUSED_KEPT_MAX = 1_000
"""Refused lines that a report lists; the others are only counted."""

Item = TypeVar("Item")


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What came of an import: how much was sent, and what was refused."""

    events_sent: int = 0
    users_told: int = 0
    refused: list[Refused] = field(default_factory=list)
    refused_count: int = 0


def import_events(
    users: Iterable[UserRow | Refused],
    events: Iterable[EventRow | Refused],
    tell_users: Callable[[Sequence[UserLine]], object],
    transport: Transport,
    now: datetime,
    progress: Callable[[int], object] = lambda _: None,
) -> ImportReport:
    """Have the users told, then send the events.

    `tell_users` returns when they are in Postgres: on the queue they could be overtaken by their
    events, which would then be dated in the wrong zone for ever (S1). `progress` is called with
    the number of items after each message. Raises BrokerUnavailable; what was sent until then
    stays, and the same import again sends it again without harm.
    """
    report = ImportReport()
    for some_users in _in_messages(_usable(users, report)):
        tell_users([row.item for row in some_users])
        report.users_told += len(some_users)
        progress(len(some_users))
    for some_events in _in_messages(_usable(events, report)):
        transport.send_imported([row.item for row in some_events], now)
        report.events_sent += len(some_events)
        progress(len(some_events))
    return report


def _usable(items: Iterable[Item | Refused], report: ImportReport) -> Iterator[Item]:
    for item in items:
        if not isinstance(item, Refused):
            yield item
            continue
        report.refused_count += 1
        if len(report.refused) < REFUSED_KEPT_MAX:
            report.refused.append(item)


def _in_messages(items: Iterator[Item]) -> Iterator[Sequence[Item]]:
    while message := list(islice(items, EVENTS_PER_MESSAGE_MAX)):
        yield message
