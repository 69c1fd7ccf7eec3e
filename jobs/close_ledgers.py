"""Let old events leave Postgres: they are in the warehouse, and what they came to stays here.

A ledger is folded anew, and where it comes to what is stored, the state on the way becomes the
ledger's opening and the events before it leave. Their keys stay, as
digests, so that a duplicate is known for ever, and their counts and sums by day, so that the
warehouse can be compared with what it was given.

Before an opening nothing is decided any more: an older event is set aside, an operator's word about
before is refused, and what a new definition would have made of those events is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from models.folding import fold_openings
from models.rulebooks import Rulebooks
from models.statements import openings as statements
from models.statements import users as user_statements
from models.statements.backfills import count_unsettled
from models.statements.loads import RELOAD_WAREHOUSE, is_loaded

USERS_PER_TRANSACTION = 100
TOGETHER = timedelta(days=30)
"""A user is closed anew once so many days of events are too old: a fold a month, not one a day."""
MARGIN = timedelta(days=3)
"""A local day may begin before the UTC day and end after it: no day is closed in part."""


class KeptTooShort(ValueError):
    """Events must stay as long as late ones may arrive; the message says how long that is."""


class BeingReloaded(RuntimeError):
    """What the warehouse holds is being made anew, so that events cannot leave for it."""

    def __init__(self) -> None:
        super().__init__(
            "the warehouse is being reloaded, so the rest stays until that has ended: "
            "streakline backfill list, streakline drain"
        )


def close_ledgers(
    engine: Engine,
    rulebooks: Rulebooks,
    now: datetime,
    *,
    kept: timedelta,
    loaded: int,
    together: timedelta = TOGETHER,
) -> Iterator[tuple[int, int]]:
    """Close everyone's ledger up to `now - kept`; yield the users and the events of each part.

    `loaded` is the transaction up to which, not included, the warehouse has all events and was
    found to be right. A user who is to be folded anew first, or whose stored state is not what a
    fold gives, is left as it is. Raises NoProgram, KeptTooShort, and BeingReloaded where the
    warehouse is not what it was found to be any more.
    """
    with engine.connect() as connection:
        least = rulebooks.current(connection).latest.event_age_max + MARGIN
    if kept < least:
        raise KeptTooShort(
            f"events must stay for {least.days} days at least, max_event_age and "
            f"{MARGIN.days} more; to keep them for {kept.days}, lower max_event_age"
        )
    until, after = now - kept, ""
    while True:
        with engine.connect() as connection:
            older_than = until - together
            ids = statements.read_old_ids(connection, after, older_than, USERS_PER_TRANSACTION)
        if not ids:
            return
        after = ids[-1]
        with engine.begin() as connection:
            yield len(ids), _close(connection, rulebooks, ids, until, loaded)


def _close(
    connection: Connection,
    rulebooks: Rulebooks,
    user_ids: Sequence[str],
    until: datetime,
    loaded: int,
) -> int:
    statements.lock_closing(connection)
    is_reloading = count_unsettled(connection, RELOAD_WAREHOUSE) > 0
    if is_reloading or not is_loaded(connection, "events", loaded):
        raise BeingReloaded
    rules = rulebooks.current(connection)
    users = user_statements.lock_free_users(connection, user_ids, rules.stamp)
    made = fold_openings(connection, rules, users, until)
    written = statements.read_latest_txids(
        connection, {user_id: one.as_of for user_id, one in made.items()}
    )
    closing = {user_id: made[user_id] for user_id, txid in written.items() if txid < loaded}
    return statements.close_ledgers(connection, closing, until + MARGIN) if closing else 0
