"""What goes wrong in a run, and when: drawn from the seed alone.

The same seed draws the same faults at the same seconds. What they meet, a transaction halfway or an
idle process, the machine decides: a run that failed is likely to fail again, not bound to.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Event

from tests.chaos.crew import Crew
from tests.chaos.servers import BrokerKind, Servers
from tests.proxy import Proxy

WORKERS = ("worker.1", "worker.2")
MEMBERS = (*WORKERS, "analytics.1", "scheduler.1", "scheduler.2", "backfills.1")
SKEW_SECONDS_MAX = 45.0
"""Beyond the 30 s after which a silent worker counts as dead; within the minute that runs wait."""


class Kind(StrEnum):
    """A kind of fault."""

    KILL = "kill"
    TERMINATE = "terminate"
    KILL_POSTGRES = "kill-postgres"
    RESTART_POSTGRES = "restart-postgres"
    KILL_VALKEY = "kill-valkey"
    KILL_RABBITMQ = "kill-rabbitmq"
    CUT = "cut"
    HALF_CLOSE = "half-close"
    DELAY = "delay"
    STALL = "stall"
    LOSE_REPLIES = "lose-replies"
    REFUSE_WRITES = "refuse-writes"
    FULL_MEMORY = "full-memory"
    SKEW = "skew"


WEIGHTS: Mapping[Kind, int] = {
    Kind.KILL: 40,
    Kind.TERMINATE: 8,
    Kind.KILL_POSTGRES: 5,
    Kind.RESTART_POSTGRES: 5,
    Kind.KILL_VALKEY: 7,
    Kind.CUT: 10,
    Kind.HALF_CLOSE: 6,
    Kind.DELAY: 5,
    Kind.STALL: 5,
    Kind.LOSE_REPLIES: 10,
    Kind.REFUSE_WRITES: 8,
    Kind.FULL_MEMORY: 4,
    Kind.SKEW: 6,
}
LINKS = {"postgres": 4, "valkey": 4, "smtp": 1}
RABBITMQ_WEIGHTS, RABBITMQ_LINKS = {Kind.KILL_RABBITMQ: 5}, {"rabbitmq": 5}
"""Beside the others, where it is the broker."""
APART_SECONDS = (0.5, 4.0)
KILL_AT_LEAST_EVERY = 3
"""So many faults without a kill, and the next one is a kill: a minute has at least five."""
STALL_SECONDS = (1.0, 7.0)
"""Some longer than the 5 s for which a reply of Redis is waited for."""
SHORT_SECONDS = (0.2, 3.0)
SKEWED_SECONDS = (10.0, 20.0)
DELAYS_SECONDS = (0.02, 0.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong `at` so many seconds of the run, for `seconds` where it lasts.

    `amount` is of a delay or a skew, in seconds.
    """

    at: float
    kind: Kind
    target: str = ""
    seconds: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        amount = f" by {self.amount:+.2f} s" if self.amount else ""
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} {self.kind} {self.target}{amount}{lasting}".rstrip()


def draw_faults(seed: int, seconds: float, broker: BrokerKind) -> list[Fault]:
    """Return the faults of a run, in their order. All begin before its last second."""
    chance = random.Random(f"faults {seed}")
    has_rabbitmq = broker is BrokerKind.RABBITMQ
    weights = {**WEIGHTS, **(RABBITMQ_WEIGHTS if has_rabbitmq else {})}
    links = {**LINKS, **(RABBITMQ_LINKS if has_rabbitmq else {})}
    faults: list[Fault] = []
    at, since_kill = chance.uniform(*APART_SECONDS), 0
    while at < seconds:
        kind = chance.choices(list(weights), list(weights.values()))[0]
        if since_kill >= KILL_AT_LEAST_EVERY:
            kind = Kind.KILL
        since_kill = 0 if kind is Kind.KILL else since_kill + 1
        fault = _draw(chance, kind, at, links)
        faults.append(fault)
        at += chance.uniform(*APART_SECONDS)
    return faults


def _draw(chance: random.Random, kind: Kind, at: float, links: Mapping[str, int]) -> Fault:
    match kind:
        case Kind.KILL | Kind.TERMINATE:
            # Workers hold what can be lost, so they die most.
            return Fault(at=at, kind=kind, target=chance.choice((*MEMBERS, *WORKERS)))
        case Kind.KILL_POSTGRES | Kind.RESTART_POSTGRES | Kind.KILL_VALKEY | Kind.KILL_RABBITMQ:
            return Fault(at=at, kind=kind)
        case Kind.SKEW:
            amount = chance.choice((-1, 1)) * chance.uniform(5.0, SKEW_SECONDS_MAX)
            target, seconds = chance.choice(MEMBERS), chance.uniform(*SKEWED_SECONDS)
            return Fault(at=at, kind=kind, target=target, seconds=seconds, amount=amount)
        case Kind.REFUSE_WRITES:
            target = chance.choice(("postgres", "valkey"))
            return Fault(at=at, kind=kind, target=target, seconds=chance.uniform(*SHORT_SECONDS))
        case Kind.FULL_MEMORY:
            return Fault(at=at, kind=kind, seconds=chance.uniform(*SHORT_SECONDS))
        case _:
            target = chance.choices(list(links), list(links.values()))[0]
            seconds = chance.uniform(*(STALL_SECONDS if kind is Kind.STALL else SHORT_SECONDS))
            if kind is Kind.HALF_CLOSE:
                return Fault(at=at, kind=kind, target=target)
            amount = chance.uniform(*DELAYS_SECONDS) if kind is Kind.DELAY else 0.0
            return Fault(at=at, kind=kind, target=target, seconds=seconds, amount=amount)


def bring_about(fault: Fault, servers: Servers, crew: Crew, stopping: Event) -> None:
    """Let it go wrong, and right again after its time or when all is to stop."""
    begin = _AT_ONCE.get(fault.kind)
    if begin is not None:
        begin(fault, servers, crew)
        return
    undo = _LASTING[fault.kind](fault, servers, crew)
    stopping.wait(fault.seconds)
    undo()


Begin = Callable[[Fault, Servers, Crew], None]
BeginLasting = Callable[[Fault, Servers, Crew], Callable[[], None]]
"""Returns what ends it."""


def _end(number: signal.Signals) -> Begin:
    return lambda fault, _, crew: crew.members[fault.target].end(number)


def _disturb(disturb: Callable[[Proxy, Fault], None]) -> BeginLasting:
    def begin(fault: Fault, servers: Servers, _crew: Crew) -> Callable[[], None]:
        proxy = servers.proxies[fault.target]
        disturb(proxy, fault)
        return proxy.heal

    return begin


def _refuse(fault: Fault, servers: Servers, _crew: Crew) -> Callable[[], None]:
    servers.refuse_writes(fault.target, True)
    return lambda: servers.refuse_writes(fault.target, False)


def _fill(_fault: Fault, servers: Servers, _crew: Crew) -> Callable[[], None]:
    servers.fill_memory(True)
    return lambda: servers.fill_memory(False)


def _skew(fault: Fault, _servers: Servers, crew: Crew) -> Callable[[], None]:
    crew.members[fault.target].restart(skew_seconds=fault.amount)
    return lambda: crew.members[fault.target].restart(skew_seconds=0.0)


_AT_ONCE: Mapping[Kind, Begin] = {
    Kind.KILL: _end(signal.SIGKILL),
    Kind.TERMINATE: _end(signal.SIGTERM),
    Kind.KILL_POSTGRES: lambda _, servers, __: servers.kill_postgres(),
    Kind.RESTART_POSTGRES: lambda _, servers, __: servers.restart_postgres(),
    Kind.KILL_VALKEY: lambda _, servers, __: servers.kill_valkey(),
    Kind.KILL_RABBITMQ: lambda _, servers, __: servers.kill_rabbitmq(),
    Kind.HALF_CLOSE: lambda fault, servers, _: servers.proxies[fault.target].half_close(),
}
_LASTING: Mapping[Kind, BeginLasting] = {
    Kind.CUT: _disturb(lambda proxy, _: proxy.cut(refusing=True)),
    Kind.LOSE_REPLIES: _disturb(lambda proxy, _: proxy.lose_replies()),
    Kind.STALL: _disturb(lambda proxy, _: proxy.stall()),
    Kind.DELAY: _disturb(lambda proxy, fault: proxy.delay(fault.amount)),
    Kind.REFUSE_WRITES: _refuse,
    Kind.FULL_MEMORY: _fill,
    Kind.SKEW: _skew,
}
