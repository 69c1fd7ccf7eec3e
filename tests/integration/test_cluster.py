"""A Redis Cluster for the rankings: what `doctor` says of it, and answers that cross it."""

from __future__ import annotations

import pytest
from dramatiq import Worker

from models.warehouse.engine import WarehouseUnavailable
from worker.asking import ask_elsewhere
from worker.checks import Finding, run_checks
from worker.runtime import open_runtime
from worker.schedule import ANALYTICS_QUEUE
from worker.settings import SecretUrl, Settings

NO_SERVER = "127.0.0.1:1"


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
        worker.start()
        try:
            with pytest.raises(WarehouseUnavailable, match=NO_SERVER) as caught:
                ask_elsewhere(runtime.broker, runtime.redis, namespace, "version", {})
        finally:
            worker.stop()
    assert type(caught.value) is WarehouseUnavailable
