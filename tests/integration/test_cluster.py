"""Rankings, and what else is in their Redis, on a cluster: spread over nodes and moved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from dramatiq import Worker
from redis import Redis
from redis.crc import key_slot

from models.rankings import Rankings
from models.rules.rankings import Board, Score
from models.warehouse.engine import Warehouse, WarehouseUnavailable
from streakline import Client
from streakline.addresses import split_nodes
from tests.applying import opened_rankings
from tests.cluster import NODES
from worker.asking import Answers, Questions
from worker.checks import Finding, run_checks
from worker.runtime import open_runtime
from worker.schedule import ANALYTICS_QUEUE
from worker.settings import SecretUrl, Settings

NO_SERVER = "127.0.0.1:1"
REACHED = datetime(2026, 11, 23, 9, tzinfo=UTC)
BOARDS = [
    Board(leaderboard="runs", run=f"2026-W{week}", segment="all", since=1, ascending=False)
    for week in range(10, 40)
]


@pytest.fixture
def nodes(cluster_url: str) -> Iterator[list[Any]]:
    """Return a client of each node, untyped as cluster commands are."""
    clients: list[Any] = [Redis.from_url(node) for node in split_nodes(cluster_url)]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def rankings(cluster_url: str, namespace: str) -> Iterator[Rankings]:
    with opened_rankings(cluster_url, namespace) as rankings:
        yield rankings


def scores(value: int) -> dict[str, Score]:
    return {user: Score(Decimal(value + place), REACHED) for place, user in enumerate("abc")}


def keys_of(node: Any, namespace: str) -> list[bytes]:
    return list(node.scan_iter(match=f"{namespace}:*", count=1_000))


def test_boards_are_spread_over_the_nodes_and_each_is_on_one(
    rankings: Rankings, nodes: list[Any], namespace: str
) -> None:
    assert rankings.put_all({board: scores(1) for board in BOARDS}) == []
    spread = [keys_of(node, namespace) for node in nodes]
    assert all(spread)
    assert sum(map(len, spread)) == 2 * len(BOARDS)
    boards = [{key.decode().rpartition(":")[0] for key in keys} for keys in spread]
    assert sum(map(len, boards)) == len(BOARDS), "both keys of a board are on the same node"
    assert len(rankings.list_boards()) == len(BOARDS)
    rankings.drop(BOARDS[::2])
    rankings.expire(BOARDS[1::2])
    assert rankings.find_lost(BOARDS) == BOARDS[::2]


def test_a_node_that_does_not_know_the_script_is_told(rankings: Rankings, nodes: list[Any]) -> None:
    """As after a failover, or a restart."""
    for node in nodes:
        node.script_flush()
    rankings.put_all({board: scores(1) for board in BOARDS})
    nodes[0].script_flush()
    for board in BOARDS:
        assert [found.user_id for found in rankings.around(board, "b", 1)] == ["c", "b", "a"]


def test_a_board_that_moves_to_another_node_is_read_and_written_there(
    rankings: Rankings, nodes: list[Any], cluster_url: str, namespace: str
) -> None:
    board = BOARDS[0]
    rankings.put(board, scores(1))
    name = f"{namespace}:ranking:{{{board.leaderboard}/{board.run}/all/1}}:order"
    slot = key_slot(name.encode())
    ids = [node.execute_command("CLUSTER MYID") for node in nodes]
    at = next(
        place for place, node in enumerate(nodes) if name.encode() in keys_of(node, namespace)
    )
    to = (at + 1) % NODES
    port = urlsplit(split_nodes(cluster_url)[to]).port
    nodes[to].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[at])
    nodes[at].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[to])
    moved = nodes[at].execute_command("CLUSTER GETKEYSINSLOT", slot, 10)
    nodes[at].execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *moved)
    rankings.put(board, scores(2))  # while it moves
    for node in (nodes[to], nodes[at]):
        node.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[to])
    rankings.put(board, scores(3))
    assert [int(found.score) for found in rankings.page(board, limit=9)] == [5, 4, 3]
    assert name.encode() in keys_of(nodes[to], namespace)


def test_the_client_on_rabbitmq_keeps_what_was_seen_on_a_cluster(
    rabbitmq_url: str, cluster_url: str, namespace: str
) -> None:
    with Client(rabbitmq_url, cluster_url, namespace=namespace) as client:
        told = [client.track("u", "lessons", key="k").duplicate for _ in range(2)]
    assert told == [False, True]


def alone(redis_url: str, broker_url: str = f"redis://{NO_SERVER}/0") -> Settings:
    """Return settings with no other server than these."""
    return Settings(
        database_url=SecretUrl(f"postgresql+psycopg://{NO_SERVER}/none"),
        redis_url=SecretUrl(redis_url),
        broker_url=SecretUrl(broker_url),
        clickhouse_url=SecretUrl(f"clickhouse://{NO_SERVER}/none"),
    )


def doctor(redis_url: str) -> Finding:
    """Return what `doctor` says of the rankings' Redis."""
    with open_runtime(alone(redis_url)) as runtime:
        [finding] = run_checks(runtime, ["redis"])
    return finding


def test_a_cluster_is_known_by_any_of_its_nodes(cluster_url: str) -> None:
    for url in (cluster_url, cluster_url.partition(",")[0]):
        found = doctor(url)
        assert found.ok, found
        assert found.detail.startswith("a cluster of 3 primaries: Valkey ")


def test_a_cluster_that_is_away_is_named_without_its_password() -> None:
    found = doctor(f"redis+cluster://app:secret@{NO_SERVER},{NO_SERVER}")
    assert (found.ok, "STREAKLINE_REDIS_URL" in found.detail) == (False, True)
    assert "secret" not in found.detail


def test_a_redis_alone_is_refused_as_a_cluster(running_redis_url: str) -> None:
    found = doctor(running_redis_url.replace("redis://", "redis+cluster://"))
    assert (found.ok, "Cluster mode is not enabled" in found.detail) == (False, True)


def test_what_the_warehouse_answers_crosses_the_cluster(
    cluster_url: str, valkey_url: str, namespace: str
) -> None:
    settings = alone(cluster_url, valkey_url).model_copy(update={"namespace": namespace})
    with open_runtime(settings) as runtime:
        worker = Worker(
            runtime.broker, queues={ANALYTICS_QUEUE}, worker_threads=1, worker_timeout=10
        )
        not_here = Warehouse("chdb:///nowhere")
        answers = Answers(runtime.engine, not_here, runtime.redis, namespace)
        questions = Questions(answers, not_here, runtime.broker, runtime.redis, namespace)
        worker.start()
        try:
            with pytest.raises(WarehouseUnavailable, match=NO_SERVER) as caught:
                questions.ask_owner("version")
        finally:
            worker.stop()
    assert type(caught.value) is WarehouseUnavailable
