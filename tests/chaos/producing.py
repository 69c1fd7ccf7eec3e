"""What backends send in a run, through the real client: events, repeats, and rubbish.

An event counts as accepted when the call that brought it returned, or did not name it among those
that were not confirmed; these are sent again, with the same keys, until they are. Everything that
was accepted is written down as it is, beside the run.
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any, TextIO

from dramatiq import Message
from redis import RedisError

from streakline import BrokerUnavailable, Client, Event
from streakline.addresses import find_broker, is_redis
from streakline.client import Receipt
from streakline.contract import APPLY_EVENTS_ACTOR, EVENTS_QUEUE, NAMESPACE, instant_text
from streakline.rabbitmq_transport import RABBITMQ_ERRORS, QuorumBroker
from streakline.redis_connection import open_redis

USERS = 150
ZONES = ("UTC", "Asia/Tokyo", "America/New_York")
COUNTRIES = ("FR", "JP", "US")
EVENTS_PER_SECOND = 420
"""25,000 in a minute."""
SINGLE_SHARE = 0.1
"""Of these so many are sent one by one; the others together, half of them by a buffer."""
STEP_SECONDS = 0.1
PAST_DAYS_MAX = 6
AGAIN_SECONDS = 0.2
ACCEPTED_SECONDS_MAX = 120.0
"""How long after its time a producer goes on until all is accepted."""
REPEATED, CONFLICTING, RUBBISH = 0.03, 0.005, 0.005
"""Shares of all events: the same again, the same key with something else, and what is none."""

Identity = tuple[str, str, str]
"""User, metric, key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an event says, beside its identity."""

    value: Decimal
    occurred_at: datetime


@dataclass(slots=True, kw_only=True)
class Journal:
    """What was accepted: by identity every content that was, in the order of being accepted.

    `repeats` counts those sent again. `set_aside` are identities whose event is to be refused, with
    the reason; `invalid` the marks of what is no event at all; `dead` the ids of messages that
    nobody can read.
    """

    contents: dict[Identity, list[Content]] = field(default_factory=lambda: defaultdict(list))
    accepted_at: dict[Identity, datetime] = field(default_factory=dict)
    repeats: int = 0
    set_aside: dict[Identity, str] = field(default_factory=dict)
    invalid: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    unconfirmed: int = 0
    lock: Lock = field(default_factory=Lock)
    file: TextIO | None = None

    @property
    def rubbish(self) -> int:
        """How much was sent that cannot count."""
        return len(self.set_aside) + len(self.invalid) + len(self.dead)

    def accept(self, events: Iterable[Event]) -> None:
        """Write down that the broker has these."""
        now = datetime.now(UTC)
        with self.lock:
            for event in events:
                assert event.key is not None
                assert event.occurred_at is not None
                identity = (event.user_id, event.metric, event.key)
                content = Content(value=event.value, occurred_at=event.occurred_at)
                if content in self.contents[identity]:
                    self.repeats += 1
                else:
                    self.contents[identity].append(content)
                self.accepted_at.setdefault(identity, now)
                if self.file is not None:
                    self.file.write(json.dumps(event.to_json()) + "\n")


class JournalingClient(Client):
    """The client, of which everything that it confirms is written down."""

    def __init__(self, environment: Mapping[str, str], journal: Journal) -> None:
        super().__init__(*find_broker(environment))
        self._journal = journal

    def track_many(self, events: Iterable[Event]) -> list[Receipt]:
        """As Client does."""
        given = list(events)
        try:
            receipts = super().track_many(given)
        except BrokerUnavailable as error:
            unconfirmed = {(one.user_id, one.metric, one.key) for one in error.events}
            self._journal.unconfirmed += len(unconfirmed)
            self._journal.accept(
                one for one in given if (one.user_id, one.metric, one.key) not in unconfirmed
            )
            raise
        self._journal.accept(given)
        return receipts


class Producers:
    """Three backends: one with a buffer, one that sends many at once, one that sends one by one.

    They send for so many seconds to the broker that the environment names; what the seed draws is
    the same for each, but for the instants. Keys begin with `prefix`.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        journal: Journal,
        seed: int,
        seconds: float,
        *,
        prefix: str = "",
    ) -> None:
        self._environment = environment
        self._journal = journal
        self._prefix = prefix
        self._seed = seed
        self._seconds = seconds
        self._failed: list[BaseException] = []
        self._threads = [
            Thread(target=self._run, args=(way,), name=f"producer-{way.__name__}", daemon=True)
            for way in (self._buffered, self._many, self._single)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait until all is sent and accepted. Raises what went wrong in a producer."""
        for thread in self._threads:
            thread.join(self._seconds + ACCEPTED_SECONDS_MAX)
            if thread.is_alive():
                raise TimeoutError(f"{thread.name} could not send everything")
        if self._failed:
            raise self._failed[0]

    def _run(self, way: Any) -> None:
        try:
            chance = random.Random(f"{way.__name__} {self._seed}")
            with JournalingClient(self._environment, self._journal) as client:
                way(client, chance)
        except BaseException as error:
            self._failed.append(error)

    def _paced(self, chance: random.Random, name: str) -> Iterator[Sequence[Event]]:
        """Yield what is to be sent in each tenth of a second, whatever was late before."""
        began = time.monotonic()
        steps = round(self._seconds / STEP_SECONDS)
        share = SINGLE_SHARE if name == "single" else (1 - SINGLE_SHARE) / 2
        per_step = EVENTS_PER_SECOND * STEP_SECONDS * share
        pause = Flag()
        sent = 0
        for step in range(steps):
            pause.wait(max(0.0, began + step * STEP_SECONDS - time.monotonic()))
            wanted = round((step + 1) * per_step) - sent
            yield [
                draw_event(chance, f"{self._prefix}{name}-{sent + each}") for each in range(wanted)
            ]
            sent += wanted

    def _buffered(self, client: JournalingClient, chance: random.Random) -> None:
        buffer = client.buffer()
        for events in self._paced(chance, "buffered"):
            for event in events:
                _until_accepted(
                    lambda event=event: buffer.track(
                        event.user_id,
                        event.metric,
                        value=event.value,
                        key=event.key,
                        occurred_at=event.occurred_at,
                    )
                )
        _until_accepted(buffer.close)

    def _many(self, client: JournalingClient, chance: random.Random) -> None:
        kept: list[Event] = []
        for events in self._paced(chance, "many"):
            kept = [*kept, *events][-1_000:]
            extra = [one for one in kept if chance.random() < REPEATED * len(events) / len(kept)]
            extra += [
                _other(one)
                for one in kept
                if chance.random() < CONFLICTING * 2 * len(events) / len(kept)
            ]
            self._send(client, [*events, *extra])

    def _single(self, client: JournalingClient, chance: random.Random) -> None:
        rubbish = Rubbish(self._environment, self._journal)
        kept: list[Event] = []
        for events in self._paced(chance, "single"):
            kept = [*kept, *events][-1_000:]
            for event in events:
                self._send(client, [event])
                if chance.random() < REPEATED / SINGLE_SHARE:
                    rubbish.repeat(chance.choice(kept))
                if chance.random() < RUBBISH / SINGLE_SHARE:
                    rubbish.send(client, chance)

    def _send(self, client: JournalingClient, events: Sequence[Event]) -> None:
        while events:
            try:
                client.track_many(events)
                return
            except BrokerUnavailable as error:
                events = error.events
                Flag().wait(AGAIN_SECONDS)


def draw_event(chance: random.Random, key: str) -> Event:
    """Draw an event: practice of now, lessons and quizzes of the last days as well."""
    now = datetime.now(UTC)
    user_id = f"user-{chance.randrange(USERS)}"
    metric = chance.choices(("practice", "lessons", "quiz"), (4, 5, 1))[0]
    value = Decimal(chance.randrange(1, 101 if metric == "quiz" else 4))
    past = metric != "practice" and chance.random() < 0.2
    ago = timedelta(seconds=chance.uniform(0, PAST_DAYS_MAX * 86_400)) if past else timedelta(0)
    return Event(user_id=user_id, metric=metric, value=value, key=key, occurred_at=now - ago)


class Rubbish:
    """Puts on the queue what no client of ours would: as somebody's own code may."""

    def __init__(self, environment: Mapping[str, str], journal: Journal) -> None:
        url, _ = find_broker(environment)
        self._put = _put_into_redis(url) if is_redis(url) else _put_into_rabbitmq(url)
        self._journal = journal
        self._number = 0

    def repeat(self, event: Event) -> None:
        """Bring an event once more, past the filter of what was seen lately."""
        self._enqueue(events=[event.to_json()])
        self._journal.accept([event])

    def send(self, client: JournalingClient, chance: random.Random) -> None:
        """Send something that cannot count, of one kind or another."""
        self._number += 1
        mark = f"rubbish-{self._number}"
        chance.choice((self._unknown, self._old, self._invalid, self._unreadable))(client, mark)

    def _unknown(self, client: JournalingClient, mark: str) -> None:
        event = Event(user_id="user-1", metric="nonsense", key=mark)
        _until_accepted(lambda: Client.track_many(client, [event]))
        self._journal.set_aside["user-1", "nonsense", mark] = "unknown-metric"

    def _old(self, client: JournalingClient, mark: str) -> None:
        at = datetime.now(UTC) - timedelta(days=90)
        event = Event(user_id="user-1", metric="lessons", key=mark, occurred_at=at)
        _until_accepted(lambda: Client.track_many(client, [event]))
        self._journal.set_aside["user-1", "lessons", mark] = "too-old"

    def _invalid(self, _client: JournalingClient, mark: str) -> None:
        whole = {"user_id": "user-1", "metric": "lessons", "key": mark}
        self._enqueue(
            events=[
                whole | {"value": "NaN", "key": f"{mark}-value"},
                whole | {"key": f"{mark}-long" + "x" * 300},
                whole
                | {"key": f"{mark}-many", "attributes": {f"a{n}": "x" * 4_000 for n in range(90)}},
            ]
        )
        self._journal.invalid |= {f"{mark}-value", f"{mark}-long", f"{mark}-many"}

    def _unreadable(self, _client: JournalingClient, _mark: str) -> None:
        self._journal.dead.add(self._enqueue(events="these are no events"))

    def _enqueue(self, **kwargs: Any) -> str:
        """Put a message on the queue as Dramatiq does, until it is known to be there."""
        message: Message[Any] = Message(
            queue_name=EVENTS_QUEUE,
            actor_name=APPLY_EVENTS_ACTOR,
            args=(),
            kwargs={"received_at": instant_text(datetime.now(UTC)), **kwargs},
            options={},
        )
        while True:
            try:
                self._put(message)
                return message.message_id
            except (RedisError, OSError, *RABBITMQ_ERRORS):
                Flag().wait(AGAIN_SECONDS)


def _put_into_redis(url: str) -> Callable[[Message[Any]], object]:
    redis, queue = open_redis(url), f"{NAMESPACE}:{EVENTS_QUEUE}"

    def put(message: Message[Any]) -> None:
        message.options["redis_message_id"] = message.message_id
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(f"{queue}.msgs", message.message_id, message.encode())
            pipeline.rpush(queue, message.message_id)
            pipeline.execute()

    return put


def _put_into_rabbitmq(url: str) -> Callable[[Message[Any]], object]:
    return QuorumBroker(url).enqueue


def tell_users(environment: Mapping[str, str]) -> None:
    """Tell everyone's zone, country and address, before anything else is known of them."""
    with Client(*find_broker(environment)) as client:
        for number in range(USERS):
            client.identify(
                f"user-{number}",
                tz=zone_of(f"user-{number}"),
                email=f"user-{number}@example.org",
                attributes={"country": country_of(f"user-{number}")},
            )


def zone_of(user_id: str) -> str:
    """Return the zone in which a user lives."""
    return ZONES[int(user_id.rpartition("-")[2]) % len(ZONES)]


def country_of(user_id: str) -> str:
    """Return the country that a user is of."""
    return COUNTRIES[int(user_id.rpartition("-")[2]) % len(COUNTRIES)]


def open_journal(path: Path) -> Journal:
    """Return a journal that writes into a file."""
    return Journal(file=path.open("w", encoding="utf-8"))


def _other(event: Event) -> Event:
    """Return an event with the same key that says something else."""
    return Event(
        user_id=event.user_id,
        metric=event.metric,
        key=event.key,
        value=event.value + 1,
        occurred_at=event.occurred_at,
    )


def _until_accepted(send: Any) -> None:
    while True:
        try:
            send()
            return
        except BrokerUnavailable:
            Flag().wait(AGAIN_SECONDS)
