"""Three nodes of RabbitMQ, of which some are killed: what was confirmed is there, and calls end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from streakline import BrokerUnavailable, Client
from streakline.contract import EVENTS_QUEUE
from streakline.rabbitmq_transport import QuorumBroker
from tests.brokers import peek
from tests.rabbitmq_node import RabbitmqNode, running_rabbitmq
from tests.waiting import wait_until


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RabbitmqNode]]:
    with ExitStack() as stack:
        nodes = []
        for number in range(3):
            place = tmp_path / str(number)
            place.mkdir()
            nodes.append(stack.enter_context(running_rabbitmq(place)))
        for node in nodes[1:]:
            node.join(nodes[0])
        yield nodes


def test_what_a_majority_confirmed_is_there_whichever_node_is_killed(
    nodes: list[RabbitmqNode],
) -> None:
    confirmed: list[str] = []
    url = ";".join(node.url for node in nodes)
    with Client(url) as client:

        def is_taken() -> bool:
            try:
                client.track("u", "lessons", key=str(len(confirmed)))
            except BrokerUnavailable:
                return False
            confirmed.append(str(len(confirmed)))
            return True

        # Given three nodes that hold an event; one of which is killed, the leader of the queue
        assert is_taken()
        nodes[0].kill()
        wait_until(is_taken)

        # When of the two a second one is killed, the call ends: nobody can confirm
        nodes[1].kill()
        with pytest.raises(BrokerUnavailable, match="did not confirm"):
            client.track("u", "lessons", key="while there is no majority")

        # Then all is as before once there are two again
        nodes[1].start()
        wait_until(is_taken, deadline_seconds=60)
    broker = QuorumBroker(url)
    kept = [json.loads(body)["kwargs"]["events"][0]["key"] for body in peek(broker, EVENTS_QUEUE)]
    broker.close()
    assert set(kept) - {"while there is no majority"} == set(confirmed)
