"""Checks of connections, versions, clocks, program and lag, each ok or with what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any, cast

from dramatiq.brokers.redis import RedisBroker
from redis.cluster import RedisCluster
from sqlalchemy import text

from models.migrations import current_revision, newest_revision
from models.rulebooks import NoProgram, read_history
from models.statements.loads import read_first_loaded
from models.statements.users import count_stale
from streakline.addresses import is_cluster
from streakline.contract import instant_text
from streakline.redis_connection import AnyRedis
from worker.clock import utc_now
from worker.mailing.files import EmailFiles
from worker.outages import reason_of
from worker.rabbitmq import TellingBroker
from worker.runtime import Runtime
from worker.schedule import STALE_SLOTS
from worker.status import overdue_ticks, read_status

CLOCK_SKEW_MAX = timedelta(seconds=2)
OLDEST_SECONDS_MAX = 60.0
LOADING = timedelta(minutes=1)
"""A load bears the instant at which its tick began, which may be before the warehouse was made."""
TO_WORK = ("postgres", "tables", "redis", "broker", "program")
"""Checks without which no process can do its work."""


class Unwell(Exception):
    """A check failed; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of a check: what was seen, or what to do."""

    check: str
    ok: bool
    detail: str


def run_checks(runtime: Runtime, names: Collection[str] = ()) -> list[Finding]:
    """Run the checks of these names, or all, in order."""
    return [
        _run(name, check, runtime) for name, check in _CHECKS.items() if not names or name in names
    ]


def _run(name: str, check: Callable[[Runtime], str], runtime: Runtime) -> Finding:
    try:
        return Finding(check=name, ok=True, detail=check(runtime))
    except Unwell as error:
        return Finding(check=name, ok=False, detail=str(error))
    except Exception as error:
        reason = reason_of(error)
        if reason is None:
            raise
        return Finding(check=name, ok=False, detail=reason)


def _postgres(runtime: Runtime) -> str:
    with runtime.engine.connect() as connection:
        version = connection.execute(text("show server_version")).scalar_one()
        return f"Postgres {version}"


def _clock(runtime: Runtime) -> str:
    with runtime.engine.connect() as connection:
        theirs: datetime = connection.execute(text("select clock_timestamp()")).scalar_one()
    skew = abs(utc_now() - theirs)
    if skew > CLOCK_SKEW_MAX:
        raise Unwell(f"our clock and Postgres' are {skew.total_seconds():.1f} s apart; set up NTP")
    return f"within {CLOCK_SKEW_MAX.total_seconds():g} s of Postgres' clock"


def _tables(runtime: Runtime) -> str:
    with runtime.engine.connect() as connection:
        found, wanted = current_revision(connection), newest_revision()
    if found != wanted:
        raise Unwell(f"at revision {found}, this version needs {wanted}; run: streakline migrate")
    return f"at revision {found}"


def _redis(runtime: Runtime) -> str:
    if not is_cluster(runtime.addresses.redis_url):
        return _describe_redis(_info(runtime.redis))
    cluster = cast(RedisCluster, runtime.redis)
    primaries = cluster.get_primaries()  # type: ignore[no-untyped-call] # redis-py has none
    described = {_describe_redis(_info(cluster, target_nodes=node)) for node in primaries}
    return f"a cluster of {len(primaries)} primaries: {' and '.join(sorted(described))}"


def _broker(runtime: Runtime) -> str:
    broker = runtime.broker
    if isinstance(broker, RedisBroker):
        info = _info(broker.client)
        return f"{_describe_redis(info)}, {_describe_room(info)}"
    assert isinstance(broker, TellingBroker)
    return broker.describe()


def _info(redis: AnyRedis, **options: Any) -> dict[str, Any]:
    return redis.info("everything", **options)


def _describe_redis(info: Mapping[str, Any]) -> str:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info["redis_version"])
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        raise Unwell(f"{name} evicts keys when full ({policy}); set maxmemory-policy noeviction")
    return f"{name} {version}"


def _describe_room(info: Mapping[str, Any]) -> str:
    most = info.get("maxmemory")
    limit = f"of {most / 1e6:,.0f} MB" if most else "and no limit: maxmemory lets clients know"
    return f"{info['used_memory'] / 1e6:,.0f} MB used {limit}"


def _program(runtime: Runtime) -> str:
    with runtime.engine.connect() as connection:
        history = read_history(connection)
    if not history:
        raise NoProgram
    return f"{history[-1].program.app.name}, version {history[-1].version}"


def _users(runtime: Runtime) -> str:
    with runtime.engine.connect() as connection:
        waiting = count_stale(connection, runtime.rulebooks.current(connection).stamp)
    if waiting:
        return f"{waiting} are to be folded anew; recompute-users does so, or streakline recompute"
    return "all are folded as this version and program do"


def _lag(runtime: Runtime) -> str:
    found = read_status(runtime)
    if found["oldest_waiting_seconds"] > OLDEST_SECONDS_MAX:
        raise Unwell(
            f"the oldest event has waited {found['oldest_waiting_seconds']:.0f} s; "
            "are workers running? streakline up, or streakline worker"
        )
    if found["dead_messages"]:
        raise Unwell(f"{found['dead_messages']} messages were given up; see dead_messages")
    return f"{found['waiting_events']} events wait, {found['rankings']['waiting']} projections"


def _warehouse(runtime: Runtime) -> str:
    found = read_status(runtime)["warehouse"]
    waiting = f"{found['waiting_events']} events and {found['waiting_rows']} other rows wait"
    if found["error"]:
        since = instant_text(found["failing_since"])
        raise Unwell(
            f"nothing could be loaded since {since} ({found['error'][:200]}); {waiting} and are "
            "not lost; check STREAKLINE_CLICKHOUSE_URL and the server"
        )
    asked = runtime.questions.ask("version")
    with runtime.engine.connect() as connection:
        first = read_first_loaded(connection)
    if first is not None and first + LOADING < datetime.fromisoformat(asked["made_at"]):
        raise Unwell(
            f"it was made at {asked['made_at']}, after what was loaded before; "
            "run: streakline warehouse reload"
        )
    return f"ClickHouse {asked['version']}; {waiting}"


def _ticks(runtime: Runtime) -> str:
    late = overdue_ticks(read_status(runtime), utc_now())
    if late:
        raise Unwell(
            f"not run for {STALE_SLOTS} intervals: {', '.join(late)}; "
            "is a scheduler running, and a worker of the queue sweeps?"
        )
    return "all on time"


def _emails(runtime: Runtime) -> str:
    server = runtime.mailer.server()
    found = read_status(runtime)["emails"]
    for state, remedy in _TO_LOOK_AT.items():
        if found[state]:
            raise Unwell(f"{found[state]} {state}: streakline email list --state {state}; {remedy}")
    if isinstance(server, EmailFiles):
        return f"{found['planned']} planned; written into files: STREAKLINE_SMTP_URL is not set"
    try:
        where = server.greet()
    except (OSError, SMTPException) as error:
        raise Unwell(f"the server of STREAKLINE_SMTP_URL cannot be used: {error}") from error
    if runtime.settings.public_url is None:
        return f"{where}; without STREAKLINE_PUBLIC_URL one unsubscribes by answering"
    return where


_TO_LOOK_AT = {
    "unsure": "streakline email retry sends them (again), email cancel does not",
    "failed": "the reasons are the server's; streakline email retry tries again",
}


_CHECKS: Mapping[str, Callable[[Runtime], str]] = {
    "postgres": _postgres,
    "clock": _clock,
    "tables": _tables,
    "redis": _redis,
    "broker": _broker,
    "program": _program,
    "users": _users,
    "lag": _lag,
    "warehouse": _warehouse,
    "emails": _emails,
    "ticks": _ticks,
}
