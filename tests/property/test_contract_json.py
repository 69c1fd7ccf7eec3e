"""For any event: what the wire carries is what was meant, and content is told from its writing."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, timedelta, timezone
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from streakline import Event, UserFields
from streakline.contract import VALUE_MAX, decimal_text, zone_names

STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
IDS = st.text(STORABLE, min_size=1, max_size=255)
ATTRIBUTES = st.dictionaries(
    st.text(STORABLE, min_size=1, max_size=20), st.text(STORABLE, max_size=20), max_size=20
)
VALUES = st.decimals(-VALUE_MAX, VALUE_MAX, places=4) | st.integers(-(10**11), 10**11)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
EMAILS = st.from_regex(r"[a-z0-9.+]{1,20}@[a-z0-9]{1,20}\.example", fullmatch=True)
USERS = st.builds(
    UserFields,
    tz=st.none() | st.sampled_from(sorted(zone_names())),
    email=st.none() | EMAILS,
    name=st.none() | IDS,
    attributes=ATTRIBUTES,
)
EVENTS = st.builds(
    Event,
    user_id=IDS,
    metric=IDS,
    value=VALUES,
    key=st.none() | IDS,
    occurred_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    attributes=ATTRIBUTES,
    user=st.none() | USERS,
)


@given(EVENTS)
def test_an_event_comes_back_from_json_as_it_was(event: Event) -> None:
    read = Event.from_json(json.loads(json.dumps(event.to_json())))
    assert read == event
    assert (read.id, read.fingerprint) == (event.id, event.fingerprint)


@given(EVENTS, EVENTS, st.sets(st.sampled_from([field.name for field in fields(Event)])))
def test_fingerprints_are_equal_where_identity_and_content_are_s11(
    one: Event, other: Event, changed: set[str]
) -> None:
    two = replace(one, **{name: getattr(other, name) for name in changed})

    def content(event: Event) -> object:
        said = (event.user_id, event.metric, event.key, event.value, event.occurred_at)
        return (*said, dict(event.attributes))

    assert (one.fingerprint == two.fingerprint) == (content(one) == content(two))


@given(EVENTS.filter(lambda event: event.occurred_at is not None), OFFSETS)
def test_the_zone_in_which_an_instant_is_written_is_not_content_s11(
    event: Event, zone: timezone
) -> None:
    assert event.occurred_at is not None
    try:
        elsewhere = event.occurred_at.astimezone(zone)
    except OverflowError:  # the first and the last day of the calendar
        return
    data = event.to_json() | {"occurred_at": elsewhere.isoformat()}
    assert Event.from_json(data).fingerprint == event.fingerprint


@given(VALUES, st.integers(0, 4))
def test_a_value_is_written_exactly_and_in_one_way_only(
    value: Decimal | int, more_places: int
) -> None:
    number = Decimal(value)
    text = decimal_text(Event(user_id="u", metric="m", value=number).value)
    assert Decimal(text) == number
    longer = f"{number:f}" + ("." if isinstance(value, int) and more_places else "")
    again = Event(user_id="u", metric="m", value=longer + "0" * more_places * ("." in longer))
    assert decimal_text(again.value) == text
