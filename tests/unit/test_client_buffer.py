"""When a buffer sends, and that it forgets nothing: with a plain function as what it sends to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from streakline import BrokerUnavailable, Buffer, Event, InvalidEvent
from tests.waiting import wait_until

LONG_MS = 60_000.0


class Outlet:
    """What a buffer sends to: it can be shut, and then says so as a client does."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.shut = False
        self.taken_before_shutting = 0

    def send(self, events: Sequence[Event]) -> None:
        if self.shut:
            taken = self.taken_before_shutting
            self.batches.append(list(events[:taken]))
            raise BrokerUnavailable(
                "shut", [event.fixed(datetime.now(UTC)) for event in events[taken:]]
            )
        self.batches.append(list(events))

    @property
    def keys(self) -> list[str | None]:
        return [event.key for batch in self.batches for event in batch]


@pytest.fixture
def outlet() -> Outlet:
    return Outlet()


def track(buffer: Buffer, *keys: str) -> None:
    for key in keys:
        buffer.track("u", "lessons", key=key)


def test_a_full_buffer_is_sent_by_the_caller_that_fills_it(outlet: Outlet) -> None:
    with Buffer(outlet.send, max_events=3, max_delay_ms=LONG_MS) as buffer:
        track(buffer, "a", "b")
        assert outlet.batches == []
        track(buffer, "c", "d")
        assert [len(batch) for batch in outlet.batches] == [3]
    assert outlet.keys == ["a", "b", "c", "d"]


def test_an_event_is_sent_after_the_delay_without_any_further_call(outlet: Outlet) -> None:
    with Buffer(outlet.send, max_events=100, max_delay_ms=1) as buffer:
        track(buffer, "a")
        wait_until(lambda: outlet.keys == ["a"])
        track(buffer, "b")
        wait_until(lambda: outlet.keys == ["a", "b"])


def test_flush_sends_at_once_and_an_empty_buffer_sends_no_event(outlet: Outlet) -> None:
    with Buffer(outlet.send, max_events=100, max_delay_ms=LONG_MS) as buffer:
        track(buffer, "a")
        buffer.flush()
        assert outlet.keys == ["a"]
        buffer.flush()
    assert outlet.keys == ["a"]


def test_a_bad_event_is_refused_in_the_callers_face(outlet: Outlet) -> None:
    with Buffer(outlet.send, max_events=100, max_delay_ms=LONG_MS) as buffer:
        with pytest.raises(InvalidEvent):
            buffer.track("u", "lessons", value="NaN")
        with pytest.raises(InvalidEvent, match="5 minutes ahead"):
            buffer.track("u", "lessons", occurred_at=datetime.now(UTC) + timedelta(hours=1))
    assert outlet.keys == []


def test_while_the_broker_is_down_the_buffer_keeps_what_it_took_and_refuses_more(
    outlet: Outlet,
) -> None:
    outlet.shut = True
    with Buffer(outlet.send, max_events=2, max_delay_ms=LONG_MS) as buffer:
        track(buffer, "a", "b")
        with pytest.raises(BrokerUnavailable) as caught:
            track(buffer, "c")
        [refused] = caught.value.events
        assert refused.key == "c"
        assert refused.occurred_at is not None
        assert "still holds 2 earlier events" in caught.value.__notes__[0]
        outlet.shut = False
        track(buffer, "d")
    assert outlet.keys == ["a", "b", "d"]


def test_what_was_taken_before_the_broker_went_down_is_not_sent_again(outlet: Outlet) -> None:
    outlet.shut, outlet.taken_before_shutting = True, 1
    with Buffer(outlet.send, max_events=100, max_delay_ms=LONG_MS) as buffer:
        track(buffer, "a", "b")
        with pytest.raises(BrokerUnavailable):
            buffer.flush()
        outlet.shut = False
    assert outlet.keys == ["a", "b"]


def test_events_without_key_are_sent_again_under_the_same_key(outlet: Outlet) -> None:
    lost: list[str | None] = []

    def lose(events: Sequence[Event]) -> None:
        lost.extend(event.key for event in events)
        if len(lost) < 3:
            raise KeyboardInterrupt  # even where no client had a chance to say what was confirmed

    buffer = Buffer(lose, max_events=100, max_delay_ms=LONG_MS)
    buffer.track("u", "lessons")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            buffer.flush()
    buffer.close()
    assert lost[0] is not None
    assert lost == lost[:1] * 3


def test_leaving_raises_where_it_cannot_send_and_a_later_flush_can(outlet: Outlet) -> None:
    outlet.shut = True
    buffer = Buffer(outlet.send, max_events=100, max_delay_ms=LONG_MS)
    track(buffer, "a")
    with pytest.raises(BrokerUnavailable) as caught:
        buffer.close()
    assert [event.key for event in caught.value.events] == ["a"]
    outlet.shut = False
    buffer.flush()
    assert outlet.keys == ["a"]


def test_the_timer_tries_again_by_itself(outlet: Outlet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streakline.buffer.RETRY_DELAY_SECONDS", 0.01)
    outlet.shut = True
    with Buffer(outlet.send, max_events=100, max_delay_ms=1) as buffer:
        track(buffer, "a")
        wait_until(lambda: len(outlet.batches) > 1)
        outlet.shut = False
        wait_until(lambda: outlet.keys == ["a"])


def test_a_closed_buffer_takes_nothing(outlet: Outlet) -> None:
    buffer = Buffer(outlet.send, max_events=1, max_delay_ms=LONG_MS)
    buffer.close()
    with pytest.raises(RuntimeError, match="closed"):
        track(buffer, "a")


@pytest.mark.parametrize(("max_events", "max_delay_ms"), [(0, 1), (10**9, 1), (1, 0), (1, 10**9)])
def test_a_buffer_without_bounds_is_refused(
    outlet: Outlet, max_events: int, max_delay_ms: float
) -> None:
    with pytest.raises(ValueError, match="must be"):
        Buffer(outlet.send, max_events=max_events, max_delay_ms=max_delay_ms)


def test_threads_share_a_buffer_and_every_event_is_sent_once(outlet: Outlet) -> None:
    with Buffer(outlet.send, max_events=7, max_delay_ms=1) as buffer:
        names = [[f"{thread}-{i}" for i in range(200)] for thread in range(8)]
        threads = [threading.Thread(target=track, args=(buffer, *keys)) for keys in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(str, outlet.keys)) == sorted(key for keys in names for key in keys)
    assert max(map(len, outlet.batches)) <= 7
