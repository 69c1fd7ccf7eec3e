"""What releases left behind, rows and messages on queues, is read by this version."""

from __future__ import annotations

import json

import pytest

from jobs.recompute_users import recompute_stale
from models.migrations import upgrade
from models.statements.messages import count_dead_messages
from tests.applying import NOW, must_verify, opened
from tests.frozen import Frozen, read_frozen
from tests.frozen.becoming import read_becomes, read_outcomes, work_off
from tests.migrating import put_rows
from tests.servers import fresh_database
from worker.runtime import open_runtime
from worker.settings import SecretUrl, Settings


@pytest.mark.parametrize("frozen", read_frozen(), ids=str)
def test_rows_and_messages_of_a_release_come_to_what_they_came_to(
    frozen: Frozen, postgres_url: str, valkey_url: str, namespace: str
) -> None:
    with fresh_database(postgres_url) as url:
        # Given rows as the release wrote them, brought to this version's tables
        with opened(url) as engine:
            upgrade(engine, frozen.revision)
            put_rows(engine, frozen.tables)
            upgrade(engine)
        settings = Settings(
            database_url=SecretUrl(url), broker_url=SecretUrl(valkey_url), namespace=namespace
        )
        with open_runtime(settings) as runtime:
            # When its messages are taken, twice as after a crash
            work_off(runtime, frozen.messages)
            first = read_outcomes(runtime)
            work_off(runtime, frozen.messages)
            recompute_stale(runtime.engine, runtime.rulebooks, NOW)

            # Then each event counted once, and users have what they had
            again = read_outcomes(runtime)
            assert first == frozen.counts
            assert again["applied"] == first["applied"]
            assert read_becomes(runtime) == frozen.becomes
            must_verify(runtime.engine)
            with runtime.engine.connect() as connection:
                assert count_dead_messages(connection) == 0


def test_what_is_kept_of_a_release_has_rows_of_most_tables_and_messages_for_most_actors() -> None:
    """So that nothing is proved by what is not there."""
    for frozen in read_frozen():
        assert {"programs", "users", "events", "user_facts", "checkpoints"} <= frozen.tables.keys()
        actors = {json.loads(message["body"])["actor_name"] for message in frozen.messages}
        assert len(actors) >= 5
        assert frozen.counts["applied"] > 150
        assert min(frozen.counts.values()) > 0
    assert read_frozen(), "there is at least the format of before the first release"
