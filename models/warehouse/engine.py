"""A ClickHouse, on a server or embedded: the same client and the same statements for both.

`clickhouse://` and `http(s)://` name a server; `chdb:///path` is the engine in this process, which
alone can open that path. Whatever the way, an insert carries a token, and one that was there
already changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import clickhouse_connect
import pyarrow as pa  # type: ignore[import-untyped] # has no types
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from models.warehouse.schema import VERSIONS, VERSIONS_TABLE, ddl, versions_ddl
from streakline.errors import StreaklineError

INSERT_SETTINGS = {
    "async_insert": 0,  # it would take the token from the insert
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_partitions_per_insert_block": 0,
    # one block, whatever its size: its token is for all of it
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 0,
    "min_insert_block_size_bytes": 0,
    # on a cluster: an insert is done when every shard has it
    "distributed_foreground_insert": 1,
}
ASK_SECONDS_MAX = 60
SEND_SECONDS_MAX = 30
CONNECT_SECONDS_MAX = 5


class WarehouseUnavailable(StreaklineError):
    """ClickHouse cannot be reached, or refuses; the message has its words. Retry later."""


class Warehouse:
    """Inserts batches and answers queries. Thread-safe; raises WarehouseUnavailable."""

    def __init__(self, client: Client, cluster: str | None = None) -> None:
        self._client = client
        self._cluster = cluster

    def migrate(self, now: datetime) -> list[int]:
        """Bring the schema up to date; return the versions that were applied."""
        with _told():
            self._client.command(versions_ddl(self._cluster))
            applied = {row[0] for row in self.ask(f"select version from {VERSIONS_TABLE}")}
            missing = [(version, tables) for version, tables in VERSIONS if version not in applied]
            for version, tables in missing:
                for table in tables:
                    for statement in ddl(table, self._cluster):
                        self._client.command(statement)
                # last: what was begun and not finished is begun again, and changes nothing
                self._client.insert(VERSIONS_TABLE, [[version, now]], ["version", "applied_at"])
        return [version for version, _ in missing]

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        """Insert rows, unless a batch of this token was inserted before."""
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
        with _told():
            self._client.insert_arrow(table, rows, settings=settings)

    def ask(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows that a query finds; `{name:Type}` in it stands for a parameter."""
        with _told():
            found = self._client.query(
                query, parameters=parameters, settings={"max_execution_time": ASK_SECONDS_MAX}
            )
            return [tuple(row) for row in found.result_rows]

    def ask_named(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows that a query finds, by the names of its columns."""
        with _told():
            found = self._client.query(
                query, parameters=parameters, settings={"max_execution_time": ASK_SECONDS_MAX}
            )
            return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]

    @property
    def version(self) -> str:
        """The version of ClickHouse."""
        return str(self._client.server_version)

    def close(self) -> None:
        """Close the connection, or the engine."""
        self._client.close()


def open_warehouse(
    url: str, *, cluster: str | None = None, options: Mapping[str, Any] | None = None
) -> Warehouse:
    """Connect to a URL, or open the embedded engine. Raises WarehouseUnavailable."""
    limits: dict[str, Any] = {}
    if not url.startswith("chdb:"):
        limits = {
            "send_receive_timeout": SEND_SECONDS_MAX,
            "connect_timeout": CONNECT_SECONDS_MAX,
            # calls of several threads must not share a session
            "autogenerate_session_id": False,
        }
    with _told():
        client = clickhouse_connect.get_client(
            # it knows these schemes, and https for a server with TLS
            dsn=url.replace("clickhouses://", "https://", 1),
            **limits,
            **(options or {}),
        )
    return Warehouse(client, cluster)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (ClickHouseError, OSError) as error:
        raise WarehouseUnavailable(f"ClickHouse: {error}") from error
