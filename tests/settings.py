"""Settings of a test: a database and a namespace of its own, on servers that all tests share."""

from __future__ import annotations

from typing import Any

from worker.settings import SecretUrl, Settings

NO_WAREHOUSE = "clickhouse://127.0.0.1:1/none"
"""Nobody listens there."""


def make_settings(
    database_url: str,
    redis_url: str,
    namespace: str,
    *,
    broker_url: str | None = None,
    clickhouse_url: str = NO_WAREHOUSE,
    **others: Any,
) -> Settings:
    """Return settings that name every server; the broker is the rankings' Redis unless named."""
    return Settings(
        database_url=SecretUrl(database_url),
        redis_url=SecretUrl(redis_url),
        broker_url=SecretUrl(broker_url or redis_url),
        clickhouse_url=SecretUrl(clickhouse_url),
        namespace=namespace,
        **others,
    )
