"""What end-to-end tests share: a stack with its program in force and nothing running yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, running_stack


@pytest.fixture
def stack(database_url: str, valkey_url: str, namespace: str, tmp_path: Path) -> Iterator[Stack]:
    with running_stack(
        database_url=database_url, broker_url=valkey_url, namespace=namespace, home=tmp_path
    ) as stack:
        yield stack
