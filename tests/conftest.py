"""Servers for the tests, real ones always.

`valkey_url`, `postgres_url`, `database_url`: embedded servers, one pair for each xdist worker.
`every_redis_url`, `every_database_url`: the same test on embedded servers and on those that run on
this machine; `every_rankings_url`: on a Redis Cluster, too. `rabbitmq_url`: the one that runs here;
`each_broker_url`: the same test on Valkey and on RabbitMQ. A server that is missing skips the test
with a word about it, and fails it where STREAKLINE_TEST_REQUIRE_SERVERS=1 (CI).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from models.warehouse.engine import Warehouse
from tests import clickhouse, servers
from tests.clickhouse import ClickhouseServer
from tests.cluster import running_cluster
from worker.embedded import embedded_postgres, embedded_valkey


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remove what killed runs have left behind: once, not in each xdist worker."""
    if not hasattr(session.config, "workerinput"):
        servers.remove_abandoned_homes()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take minutes: one that is begun last runs while others wait."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """The home of this session's embedded servers."""
    with servers.temporary_home() as path:
        yield path


@pytest.fixture(scope="session")
def valkey_url(home: Path) -> Iterator[str]:
    """URL of an embedded Valkey, database 0 (`place_redis` takes 1 as well)."""
    with embedded_valkey(home) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url(home: Path) -> Iterator[str]:
    """URL of an embedded Postgres, of a superuser and a database that holds nothing."""
    with embedded_postgres(home, settings=servers.FAST_POSTGRES) as url:
        yield url


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    """The embedded ClickHouse, in a database of this test's own."""
    with clickhouse.fresh_warehouse(home) as warehouse:
        yield warehouse


@pytest.fixture
def clickhouse_server(home: Path) -> Iterator[ClickhouseServer]:
    """The same engine over HTTP, with a database of this test's own; it listens already."""
    with clickhouse.fresh_database(home) as name:
        server = ClickhouseServer(home, name)
        server.start()
        yield server
        server.close()


@pytest.fixture
def namespace() -> str:
    """A short text that is in no other test's keys and queues."""
    return f"t{uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def _embedded_template(postgres_url: str) -> Iterator[str]:
    with servers.migrated_database(postgres_url) as name:
        yield name


@pytest.fixture
def database_url(postgres_url: str, _embedded_template: str) -> Iterator[str]:
    """URL of a fresh, migrated database of this test's own on the embedded Postgres."""
    with servers.fresh_database(postgres_url, template=_embedded_template) as url:
        yield url


@pytest.fixture
def second_database_url(postgres_url: str, _embedded_template: str) -> Iterator[str]:
    """Another one beside `database_url`."""
    with servers.fresh_database(postgres_url, template=_embedded_template) as url:
        yield url


@pytest.fixture(scope="session")
def _running_template() -> Iterator[str]:
    servers.require_postgres(servers.RUNNING_POSTGRES_URL)
    with servers.migrated_database(servers.RUNNING_POSTGRES_URL) as name:
        yield name


@pytest.fixture
def running_database_url(_running_template: str) -> Iterator[str]:
    """URL of a fresh, migrated database of this test's own on the Postgres that runs here."""
    url = servers.RUNNING_POSTGRES_URL
    with servers.fresh_database(url, template=_running_template) as fresh:
        yield fresh


@pytest.fixture
def running_redis_url(namespace: str) -> Iterator[str]:
    """URL of the Redis that runs here; keys must contain `namespace`, and are deleted."""
    servers.require_redis(servers.RUNNING_REDIS_URL)
    yield servers.RUNNING_REDIS_URL
    servers.delete_keys(servers.RUNNING_REDIS_URL, namespace)


@pytest.fixture(params=["embedded", "running"])
def every_database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database on each kind of Postgres in turn."""
    name = "database_url" if request.param == "embedded" else "running_database_url"
    return str(request.getfixturevalue(name))


@pytest.fixture(params=["embedded", "running"])
def every_redis_url(request: pytest.FixtureRequest) -> str:
    """Valkey and Redis in turn; keys must contain `namespace`."""
    name = "valkey_url" if request.param == "embedded" else "running_redis_url"
    return str(request.getfixturevalue(name))


@pytest.fixture(scope="session")
def cluster_url(home: Path) -> Iterator[str]:
    """URL of a Redis Cluster of three embedded nodes; keys must contain `namespace`."""
    with running_cluster(home / "cluster") as url:
        yield url


@pytest.fixture(params=["embedded", "running", "cluster"])
def every_rankings_url(request: pytest.FixtureRequest) -> str:
    """Valkey, Redis and a cluster in turn; keys must contain `namespace`."""
    names = {"embedded": "valkey_url", "running": "running_redis_url", "cluster": "cluster_url"}
    return str(request.getfixturevalue(names[request.param]))


@pytest.fixture(scope="session")
def _virtual_host() -> Iterator[str]:
    with servers.virtual_host(servers.RUNNING_RABBITMQ_URL) as url:
        yield url


@pytest.fixture
def rabbitmq_url(_virtual_host: str) -> Iterator[str]:
    """URL of a virtual host of this session's own, on the RabbitMQ that runs here, with no queue.

    Queues must have the names that Streakline gives them.
    """
    yield _virtual_host
    servers.delete_queues(_virtual_host)


@pytest.fixture(params=["redis", "rabbitmq"])
def each_broker_url(request: pytest.FixtureRequest) -> str:
    """A broker of each kind in turn: the embedded Valkey, and RabbitMQ."""
    name = "valkey_url" if request.param == "redis" else "rabbitmq_url"
    return str(request.getfixturevalue(name))
