"""What a client does with events before any broker is involved, seen through RecordingClient."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from streakline import AsyncClient, Client, Event, InvalidEvent, UserFields
from streakline.testing import RecordingClient


def lesson(number: int, **changes: Any) -> Event:
    return Event(**{"user_id": "u", "metric": "lessons", "key": f"lesson-{number}", **changes})


def test_track_takes_every_field_and_returns_the_events_identity() -> None:
    client = RecordingClient()
    receipt = client.track(
        "u",
        "lessons",
        value="2.5",
        key="lesson-1",
        occurred_at=datetime(2026, 7, 1, tzinfo=UTC),
        attributes={"language": "fr"},
        user={"tz": "Asia/Tokyo"},
    )
    [event] = client.events
    assert receipt.event_id == event.id == lesson(1).id
    assert event.value == Decimal("2.5")
    assert event.attributes == {"language": "fr"}
    assert event.user == UserFields(tz="Asia/Tokyo")


def test_the_same_event_again_is_a_duplicate_and_another_content_is_not_s11() -> None:
    client = RecordingClient()
    receipts = [client.track("u", "lessons", value=value, key="k") for value in (1, "1.0", 2, 1)]
    assert [receipt.duplicate for receipt in receipts] == [False, True, False, True]
    assert len({receipt.event_id for receipt in receipts}) == 1
    assert [event.value for event in client.events] == [1, 2]


def test_repeats_inside_one_call_are_duplicates_and_receipts_keep_the_order() -> None:
    client = RecordingClient()
    client.track_many([lesson(1)])
    receipts = client.track_many([lesson(2), lesson(1), lesson(2), lesson(3), lesson(1)])
    assert [receipt.event.key for receipt in receipts] == [f"lesson-{n}" for n in (2, 1, 2, 3, 1)]
    assert [receipt.duplicate for receipt in receipts] == [False, True, True, False, True]
    assert [event.key for event in client.events] == ["lesson-1", "lesson-2", "lesson-3"]


def test_an_event_without_key_gets_a_fresh_one_each_time_s10() -> None:
    client = RecordingClient()
    receipts = [client.track("u", "lessons") for _ in range(3)]
    assert not any(receipt.duplicate for receipt in receipts)
    assert len({receipt.event_id for receipt in receipts}) == 3
    assert all(event.key for event in client.events)


def test_one_bad_event_in_a_call_keeps_all_of_them_back() -> None:
    client = RecordingClient()
    future = datetime.now(UTC) + timedelta(minutes=6)
    with pytest.raises(InvalidEvent, match="5 minutes ahead"):
        client.track_many([lesson(1), lesson(2, occurred_at=future)])
    with pytest.raises(InvalidEvent, match="must be an Event"):
        client.track_many([lesson(1), {"user_id": "u"}])  # type: ignore[list-item]  # the case
    assert client.events == []


def test_identify_records_what_was_told_and_refuses_what_cannot_be() -> None:
    client = RecordingClient()
    client.identify("u", tz="Asia/Tokyo", attributes={"plan": "pro"})
    assert client.users == [("u", UserFields(tz="Asia/Tokyo", attributes={"plan": "pro"}))]
    with pytest.raises(InvalidEvent, match="did you mean 'Europe/Paris'"):
        client.identify("u", tz="Europe/Pariss")
    with pytest.raises(InvalidEvent, match="user_id: must not be empty"):
        client.identify("")
    assert len(client.users) == 1


def test_a_misspelt_option_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="valeu"):
        RecordingClient().track("u", "lessons", valeu=2)  # type: ignore[call-arg]  # the case


def test_a_recording_client_can_forget_and_needs_no_environment() -> None:
    client = RecordingClient.from_env()
    client.track("u", "lessons", key="k")
    client.clear()
    assert client.events == []
    assert not client.track("u", "lessons", key="k").duplicate


def test_no_events_are_no_message() -> None:
    assert RecordingClient().track_many([]) == []


def test_async_clients_share_the_client_they_are_made_around() -> None:
    client = RecordingClient()

    async def use() -> list[bool]:
        async with AsyncClient.around(client) as tracker:
            await tracker.identify("u", tz="UTC")
            one = await tracker.track("u", "lessons", key="lesson-1")
            many = await tracker.track_many([lesson(1), lesson(2)])
            async with tracker.buffer() as buffer:
                await buffer.track("u", "lessons", key="lesson-3")
                await buffer.flush()
            with pytest.raises(InvalidEvent):
                await tracker.track("u", "")
            return [receipt.duplicate for receipt in (one, *many)]

    assert asyncio.run(use()) == [False, True, False]
    assert [event.key for event in client.events] == ["lesson-1", "lesson-2", "lesson-3"]
    assert client.users == [("u", UserFields(tz="UTC"))]


def test_a_recording_client_stands_in_wherever_a_client_is_asked_for() -> None:
    with RecordingClient() as client:
        assert isinstance(client, Client)
