"""Records from Parquet; a row's line is its number, from 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

from models.sources.columns import find_columns, plain_value
from models.sources.records import Record, SourceError

ROWS_AT_ONCE = 5_000


def read_parquet(
    path: Path,
    columns: Mapping[str, str],
    constants: Mapping[str, str],
    *,
    of_users: bool = False,
) -> Iterator[Record]:
    """Read rows. Raises SourceError: no Parquet, or a column that is asked for is not there."""
    import pyarrow  # type: ignore[import-untyped] # has no types

    with _open(path) as file:
        found = find_columns(
            str(path), file.schema_arrow.names, columns, constants, of_users=of_users
        )
        number = 0
        try:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=sorted(set(found.taken.values()))):
                names = batch.schema.names
                # a column at once: as rows they take twice as long
                cells = [list(map(plain_value, column.to_pylist())) for column in batch.columns]
                for row in zip(*cells, strict=True) if cells else repeat((), batch.num_rows):
                    number += 1
                    values = dict(zip(names, row, strict=True))
                    yield Record(line=number, data=found.row(values))
        except (OSError, pyarrow.ArrowException) as error:
            reason = f"the file is damaged from here on ({error}); what came before was read"
            yield Record(line=number + 1, reason=reason)


def check_parquet(
    path: Path, columns: Mapping[str, str], constants: Mapping[str, str], *, of_users: bool
) -> None:
    """Look at the schema alone. Raises SourceError."""
    with _open(path) as file:
        find_columns(str(path), file.schema_arrow.names, columns, constants, of_users=of_users)


def count_parquet(path: Path) -> int:
    """Return how many rows there are. Raises SourceError."""
    with _open(path) as file:
        return int(file.metadata.num_rows)


def _open(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet  # type: ignore[import-untyped] # as above

    try:
        return pyarrow.parquet.ParquetFile(str(path))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except pyarrow.ArrowException as error:
        raise SourceError(f"{path} is no Parquet, or its end is missing: {error}") from error
