"""RabbitMQ without room, or without an answer: clients say so in time, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from streakline import BrokerUnavailable, Client, Event, QueueFull
from streakline.contract import EVENTS_QUEUE
from streakline.rabbitmq_transport import QuorumBroker
from tests.rabbitmq_node import running_rabbitmq

FULL, ROOMY = "0.00001", "0.6"
"""Parts of the machine's memory above which RabbitMQ raises its alarm."""


def test_a_client_is_told_that_there_is_no_room_and_can_send_when_there_is(tmp_path: Path) -> None:
    with running_rabbitmq(tmp_path) as node, Client(node.url) as client:
        # Given a queue that takes
        client.track("u", "lessons", key="before")

        # When its memory is full, a call is refused with its events
        node.control("set_vm_memory_high_watermark", FULL)
        with pytest.raises(QueueFull, match="no room") as refused:
            client.track_many([Event(user_id="u", metric="lessons", key="refused")])
        assert [event.key for event in refused.value.events] == ["refused"]

        # Then the same goes through once there is room
        node.control("set_vm_memory_high_watermark", ROOMY)
        client.track_many(refused.value.events)
        broker = QuorumBroker(node.url)
        waiting, *_ = broker.get_queue_message_counts(EVENTS_QUEUE)
        broker.close()

    # and what was refused was sent once, and may be there: it lay in the connection
    assert waiting in (2, 3)


def test_a_call_ends_where_rabbitmq_holds_the_connection_and_says_nothing(tmp_path: Path) -> None:
    with running_rabbitmq(tmp_path) as node, Client(node.url) as client:
        client.track("u", "lessons", key="before")
        with node.held(), pytest.raises(BrokerUnavailable, match="no answer within 10 s"):
            client.track("u", "lessons", key="while it is held")
        client.track("u", "lessons", key="afterwards")
