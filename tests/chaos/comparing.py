"""Whether what the stores hold is what was accepted: Postgres, Valkey, ClickHouse, the mailbox.

Each difference is a line of text. What is expected is counted by `tests.chaos.replay`; of the
project only what reads is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select

from jobs.show_user import show_user
from models import tables
from models.rankings import Rankings
from models.warehouse.engine import Warehouse
from tests.applying import read_leaderboard, read_standings, read_table
from tests.chaos.faults import SKEW_SECONDS_MAX
from tests.chaos.producing import Content, Identity, Journal
from tests.chaos.replay import ALL, Happened, Place, PlainUser, replay, run_name, winners
from tests.smtp import Received

ONE_MINUTE = timedelta(minutes=1)
SOONEST_FINAL = 2 * ONE_MINUTE - timedelta(seconds=SKEW_SECONDS_MAX)
"""From the start of a minute until it can be final, where the clock of who sweeps is ahead."""
DIFFERENCES_MAX = 40
"""Lines that are kept of what differs; all are counted."""

Lines = Iterator[str]


def compare_ledger(engine: Engine, journal: Journal) -> tuple[list[Happened], list[str]]:
    """Return what counts, and what differs between the ledger and what was accepted.

    Where one key was sent with different contents any may have come first, and all others must be
    listed as conflicts.
    """
    found: dict[Identity, Content] = {
        (row["user_id"], row["metric"], row["key"]): Content(
            value=row["value"], occurred_at=row["occurred_at"]
        )
        for row in read_table(engine, tables.events)
    }
    rejected = read_table(engine, tables.rejected_events)
    conflicts = {
        ((row["user_id"], row["metric"], row["event"]["key"]), Decimal(row["event"]["value"]))
        for row in rejected
        if row["reason"] == "conflict"
    }
    differences: list[str] = []
    events: list[Happened] = []
    for identity, contents in journal.contents.items():
        there = found.pop(identity, None)
        if there not in contents:
            differences.append(f"lost: {identity} {contents} (found {there})")
            continue
        user_id, metric, key = identity
        events.append(Happened(there.occurred_at, metric, key, user_id, there.value))
        differences += [
            f"conflict not listed: {identity} {other}"
            for other in contents
            if other != there and (identity, other.value) not in conflicts
        ]
    differences += [f"never accepted: {identity}" for identity in found]
    differences += _compare_rubbish(engine, rejected, journal)
    return events, differences


def _compare_rubbish(
    engine: Engine, rejected: Sequence[Mapping[str, Any]], journal: Journal
) -> Lines:
    listed = {
        (row["user_id"], row["metric"], str(row["event"].get("key"))): row["reason"]
        for row in rejected
        if row["reason"] != "conflict"
    }
    for identity, reason in journal.set_aside.items():
        if listed.pop(identity, None) != reason:
            yield f"not set aside as {reason}: {identity}"
    for mark in journal.invalid:
        keys = [one for one in listed if one[2].startswith(mark)]
        if len(keys) != 1 or listed.pop(keys[0]) != "invalid":
            yield f"not set aside as invalid: {mark}"
    yield from (f"set aside without being rubbish: {one} {why}" for one, why in listed.items())
    dead = {row["message_id"] for row in read_table(engine, tables.dead_messages)}
    yield from (f"dead message not listed: {one}" for one in journal.dead - dead)
    yield from (f"dead without being rubbish: {one}" for one in dead - journal.dead)


class Expectation:
    """What everything should be as of an instant, given what counts."""

    def __init__(self, events: Iterable[Happened], now: datetime) -> None:
        self.now = now
        self.events = list(events)
        self.users, self.boards = replay(self.events, now)


def compare_users(engine: Engine, rankings: Rankings, expected: Expectation) -> Lines:
    """Compare everyone's totals, streak, points, level, achievements, as `user show` has them."""
    for user_id, plain in expected.users.items():
        shown = show_user(engine, rankings, user_id, expected.now)
        if shown is None:
            yield f"{user_id} is unknown"
            continue
        yield from _differing(user_id, _plain(plain), _shown(shown))


def _plain(user: PlainUser) -> dict[str, Any]:
    return {
        "totals": user.totals,
        "length": user.length,
        "history": user.chains,
        "xp": user.xp,
        "coins": user.coins,
        "level": user.level,
        "achievements": sorted(user.achievements),
    }


def _shown(shown: Mapping[str, Any]) -> dict[str, Any]:
    streak = shown["streaks"]["daily"]
    return {
        "totals": {name: one["total"] for name, one in shown["metrics"].items()},
        "length": streak["length"],
        "history": [(one["start"], one["end"], one["length"]) for one in streak["history"]],
        "xp": shown["points"]["xp"]["total"],
        "coins": shown["points"]["coins"]["total"],
        "level": shown["points"]["coins"]["level"]["key"],
        "achievements": sorted(one["key"] for one in shown["achievements"]),
    }


def _differing(what: str, wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Lines:
    for name, value in wanted.items():
        if there.get(name) != value:
            yield f"{what} {name}: {value!r} accepted, {there.get(name)!r} stored"


def compare_boards(
    engine: Engine, rankings: Rankings, expected: Expectation, journal: Journal
) -> Lines:
    """Compare live boards in Valkey and in Postgres, and the records of runs that are final."""
    final = _read_records(engine)
    late = _find_late_runs(expected, journal)
    for (name, run, segment), places in expected.boards.items():
        if name == "minute" and run in final:
            if run not in late:
                record = final[run].get(segment, [])
                yield from _compare_places(f"record of {run}/{segment}", places, record)
            continue
        board = read_leaderboard(engine, name, run, segment)
        live = rankings.page(board, limit=len(places) + 10)
        stored = read_standings(engine, board)
        for store, found in (("Valkey", live), ("Postgres", stored)):
            there = [Place(one.rank, one.user_id, one.score, one.reached_at) for one in found]
            yield from _compare_places(f"{name}/{run}/{segment} in {store}", places, there)


def _read_records(engine: Engine) -> dict[str, dict[str, list[Place]]]:
    """Return the places of every final run by segment."""
    standings = tables.final_standings
    records: dict[str, dict[str, list[Place]]] = {
        row["run"]: {} for row in read_table(engine, tables.runs) if row["finalized_at"]
    }
    query = select(tables.runs.c.run, standings).join(
        standings, standings.c.run_id == tables.runs.c.run_id
    )
    with engine.connect() as connection:
        for row in connection.execute(query.order_by(standings.c.rank)):
            place = Place(row.rank, row.user_id, row.score, row.reached_at)
            records[row.run].setdefault(row.segment, []).append(place)
    return records


def _find_late_runs(expected: Expectation, journal: Journal) -> set[str]:
    """Return the runs of which an event was accepted when their record may have been written."""
    found = set()
    for one in expected.events:
        accepted_at = journal.accepted_at[one.user_id, one.metric, one.key]
        began = one.at.replace(second=0, microsecond=0)
        if one.metric == "practice" and accepted_at > began + SOONEST_FINAL:
            found.add(run_name(one.at))
    return found


def _compare_places(what: str, wanted: Sequence[Place], there: Sequence[Place]) -> Lines:
    if list(wanted) == list(there):
        return
    missing = [one for one in wanted if one not in there][:2]
    more = [one for one in there if one not in wanted][:2]
    yield f"{what}: {len(wanted)} places accepted, {len(there)} stored; {missing} not {more}"


def compare_warehouse_rows(warehouse: Warehouse, expected: Expectation) -> Lines:
    """Compare events, points and achievements row by row, summed by user."""
    wanted_events = Counter((one.user_id, one.metric) for one in expected.events)
    wanted_values: dict[tuple[str, str], Decimal] = Counter()  # type: ignore[assignment]
    for one in expected.events:
        wanted_values[one.user_id, one.metric] += one.value
    rows = warehouse.ask(
        "select user_id, metric, count() as events, uniqExact(key) as keys, sum(value) as value"
        " from events group by user_id, metric"
    )
    for row in rows:
        of = (row["user_id"], row["metric"])
        wanted = (wanted_events.pop(of, 0), wanted_values.get(of))
        if (row["events"], row["value"]) != wanted or row["events"] != row["keys"]:
            yield f"events of {of} in ClickHouse: {wanted} accepted, {row} there"
    yield from (f"events of {of} not in ClickHouse" for of in wanted_events)
    balances = {
        (row["user_id"], row["points"]): row["amount"]
        for row in warehouse.ask(
            "select user_id, points, sum(amount * sign) as amount from point_entries"
            " group by user_id, points having amount != 0"
        )
    }
    completed = {
        row["user_id"]: sorted(row["keys"])
        for row in warehouse.ask(
            "select user_id, groupArray(key) as keys from (select user_id, key,"
            " sum(sign) as times from achievements group by user_id, key having times = 1)"
            " group by user_id"
        )
    }
    for user_id, user in expected.users.items():
        there = {name: balances.get((user_id, name), Decimal(0)) for name in ("xp", "coins")}
        yield from _differing(
            f"{user_id} in ClickHouse",
            {"xp": user.xp, "coins": user.coins, "achievements": sorted(user.achievements)},
            {**there, "achievements": completed.get(user_id, [])},
        )


def compare_emails(
    engine: Engine, mailbox: Sequence[Received], expected: Expectation, settled_at: datetime
) -> tuple[Counter[str], list[str]]:
    """Return how many emails have which state, and what is wrong about them.

    All that was told of before `settled_at` was planned by then. Each is sent once at the most, and
    those that are missing are in doubt or wait to be sent again.
    """
    rows = read_table(engine, tables.emails)
    states = Counter(str(row["state"]) for row in rows)
    taken = Counter(str(one.message["Message-ID"]) for one in mailbox)
    differences = [f"sent {times} times: {one}" for one, times in taken.items() if times > 1]
    by_message = {row["message_id"]: row for row in rows if row["message_id"]}
    for row in rows:
        if row["state"] == "sent" and not taken[row["message_id"]]:
            differences.append(f"said to be sent and is not: {_email(row)}")
        if row["state"] == "failed":
            differences.append(f"failed: {_email(row)} {row['reason']}")
    known = {row["message_id"] for row in rows if row["state"] in {"sent", "unsure", "sending"}}
    for message_id in taken.keys() - known:
        row = by_message.get(message_id, {})
        # One that was left behind has no Message-ID yet: it is in doubt, by its address.
        if not row and any(each["state"] in {"unsure", "sending"} for each in rows):
            continue
        differences.append(f"sent, and not said to be: {message_id} {row and _email(row)}")
    differences += _compare_causes(engine, rows, expected, settled_at)
    return states, differences


def _email(row: Mapping[str, Any]) -> str:
    return f"{row['user_id']} {row['name']} {row['cause']} {row['state']}"


def _compare_causes(
    engine: Engine, rows: Sequence[Mapping[str, Any]], expected: Expectation, settled_at: datetime
) -> Lines:
    """Compare what emails there are with what users did."""
    told = Counter(
        (row["user_id"], row["name"], _about(row)) for row in rows if row["state"] != "cancelled"
    )
    yield from (f"{times} emails: {one}" for one, times in told.items() if times > 1)
    may: set[tuple[str, str, str]] = set()
    must: set[tuple[str, str, str]] = set()
    for user_id, user in expected.users.items():
        must |= {(user_id, "level", level) for level in user.levels_told}
        may |= {(user_id, "achievement", key) for key in user.achievements}
    # Of lessons of the last days the streak is of: whether that is news depends on which came when.
    must |= {one for one in may if one[2] != "three-days"}
    settled = {
        row["run"]
        for row in read_table(engine, tables.runs)
        if row["finalized_at"] is not None and row["finalized_at"] < settled_at
    }
    for run, segments in _read_records(engine).items():
        told_of = {(user_id, "podium", run) for user_id in winners(segments.get(ALL, []))}
        may |= told_of
        must |= told_of if run in settled else set()
    yield from (f"no email: {one}" for one in must - told.keys())
    yield from (f"email for nothing: {one}" for one in told.keys() - must - may)


def _about(row: Mapping[str, Any]) -> str:
    names = {"achievement": "achievement", "level": "level", "podium": "run"}
    return str(row["body"].get(names[row["name"]], row["cause"]))


def shortened(differences: Sequence[str]) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = len(differences) - DIFFERENCES_MAX
    return [*differences[:DIFFERENCES_MAX], *([f"... and {more} more"] if more > 0 else [])]
