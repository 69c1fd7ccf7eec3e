"""What was told about a user, as timelines: zones and attributes from instants on, and pauses.

Timelines are not folded but looked into: a fact is judged by what held at its instant. What a
telling can change is therefore only what comes after it; but before the first zone that is known
of a user, that zone held. Telling again what holds already changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

from models.rules.calendar import ZoneChange

EVER = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
"""Before every fact."""


class AttributeChange(NamedTuple):
    """From `since` on an attribute has a value."""

    since: datetime
    value: str


class Told(NamedTuple):
    """What was told about a user, by an event or beside them, and when it was true."""

    at: datetime
    tz: str | None
    attributes: Mapping[str, str]


class Pause(NamedTuple):
    """Local dates, inclusive, on which nothing need be done, of one streak or of all (S27).

    `at` is from when on it can change anything: before the first of the dates begins anywhere on
    earth. A restored chain is a pause over the gap, which also takes back the resets that it names.
    """

    at: datetime
    fact_id: str
    first: date
    last: date
    streak: str | None
    resets: tuple[str, ...] = ()


Attributes = dict[str, list[AttributeChange]]


@dataclass(slots=True, kw_only=True)
class ToldAttributes:
    """A user's attributes; each list ascends, and no two neighbours are the same."""

    attributes: Attributes = field(default_factory=dict)

    def now(self) -> dict[str, str]:
        """Return the attributes that were told last."""
        return {name: changes[-1].value for name, changes in self.attributes.items() if changes}


@dataclass(slots=True, kw_only=True)
class Timelines(ToldAttributes):
    """A user's zones and attributes; each list ascends, and no two neighbours are the same.

    `pauses` are those that may still hold a period, `voided` the resets that were taken back, with
    the instant from which that was told.
    """

    zones: list[ZoneChange] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    voided: dict[str, datetime] = field(default_factory=dict)

    def tell(self, told: Iterable[Told], names: frozenset[str]) -> None:
        """Add what was told, in any order; `names` are of interest.

        What comes before the last change here is left out: see `late_from`.
        """
        said = list(told)
        for change in sorted(ZoneChange(one.at, one.tz) for one in said if one.tz is not None):
            _append(self.zones, change)
        values = sorted(
            (name, AttributeChange(one.at, value))
            for one in said
            for name, value in one.attributes.items()
            if name in names
        )
        for name, value in values:
            _append(self.attributes.setdefault(name, []), value)

    def pause(self, pauses: Iterable[Pause]) -> None:
        """Add pauses, in any order."""
        for one in pauses:
            self.pauses.append(one)
            for fact_id in one.resets:
                self.voided[fact_id] = min(one.at, self.voided.get(fact_id, one.at))
        self.pauses.sort()

    def at(self, instant: datetime) -> dict[str, str]:
        """Return the attributes that hold at an instant."""
        found = {}
        for name, changes in self.attributes.items():
            value = _value_at(changes, instant)
            if value is not None:
                found[name] = value
        return found

    def next_change(self, after: datetime) -> datetime | None:
        """Return when a zone or an attribute next changes."""
        found: datetime | None = None
        timelines: list[Sequence[ZoneChange | AttributeChange]] = [self.zones]
        timelines += self.attributes.values()
        for changes in timelines:
            for change in reversed(changes):
                if change.since <= after:
                    break
                found = _earlier(found, change.since)
        return found

    def zones_until(self, instant: datetime) -> Sequence[ZoneChange]:
        """Return the zones that are known at an instant: a later move is not foreseen."""
        if len(self.zones) < 2 or self.zones[-1].since <= instant:
            return self.zones
        return [
            change
            for place, change in enumerate(self.zones)
            if place == 0 or change.since <= instant
        ]

    def as_told(self) -> list[Told]:
        """Return the zones as if they had just been told."""
        return [Told(change.since, change.tz, {}) for change in self.zones]

    def until(self, instant: datetime) -> Timelines:
        """Return what was told up to an instant, inclusive."""
        attributes = {
            name: [change for change in changes if change.since <= instant]
            for name, changes in self.attributes.items()
        }
        return Timelines(
            zones=[change for change in self.zones if change.since <= instant],
            attributes={name: changes for name, changes in attributes.items() if changes},
            pauses=[one for one in self.pauses if one.at <= instant],
            voided={fact_id: at for fact_id, at in self.voided.items() if at <= instant},
        )


def late_from(
    known: Timelines, told: Iterable[Told], names: frozenset[str], as_of: datetime | None
) -> datetime | None:
    """Return from which instant on facts must be folded again, None where `tell` is enough.

    `as_of` is how far facts are folded. What says again what held then changes nothing. Something
    new reaches to its instant, also where nothing was folded after it: the value before it may have
    been told again later. The first zone of a user reaches to the beginning: before it nothing
    better is known.
    """
    earliest = None
    for one in told:
        if one.tz is not None:
            if known.zones:
                instant = _late_from(known.zones, one.at, one.tz, as_of)
            else:
                instant = None if as_of is None else EVER
            earliest = _earlier(earliest, instant)
        for name, value in one.attributes.items():
            if name in names:
                changes = known.attributes.get(name, [])
                earliest = _earlier(earliest, _late_from(changes, one.at, value, as_of))
    return earliest


def _late_from(
    changes: Sequence[ZoneChange | AttributeChange],
    at: datetime,
    value: str,
    as_of: datetime | None,
) -> datetime | None:
    if not changes:
        return at if as_of is not None and at <= as_of else None
    if changes[-1][0] < at:
        # Something new: the value before it may have been told again later, which stands in the
        # ledger alone.
        return None if changes[-1][1] == value else at
    return None if _value_at(changes, at) == value else EVER


def _value_at(changes: Sequence[ZoneChange | AttributeChange], instant: datetime) -> str | None:
    for change in reversed(changes):
        if change[0] <= instant:
            return change[1]
    return None


def _append(
    changes: list[ZoneChange] | list[AttributeChange], change: ZoneChange | AttributeChange
) -> None:
    """Put a change at the end, unless it says again what holds, or held then.

    Of two at one instant that which says something new stays, of two new ones the greater,
    whichever came first.
    """
    items: list[ZoneChange | AttributeChange] = changes  # type: ignore[assignment] # one kind each
    if not items or items[-1][0] < change[0]:
        if not items or items[-1][1] != change[1]:
            items.append(change)
    elif items[-1][0] == change[0]:
        held = items[-2][1] if len(items) > 1 else None
        if change[1] != held:
            items[-1] = max(items[-1], change)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)
