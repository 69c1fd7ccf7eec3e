"""What a process holds while it runs: settings, servers, and what is built on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from dramatiq import Broker
from sqlalchemy import Engine

from jobs.backfills import Context
from jobs.project_rankings import project_rankings
from models.database import open_engine
from models.program import Program
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.warehouse.engine import Warehouse
from streakline.redis_connection import AnyRedis, open_any_redis
from worker.actors import declare_actors
from worker.asking import Answers, Questions
from worker.backfilling import BackfillRunner, put_back_on
from worker.broker import open_broker
from worker.holding import HoldInOutage
from worker.mailing.mailer import Mailer
from worker.projecting import Projector
from worker.retries import RetryOrKeep
from worker.settings import Addresses, Settings, open_servers
from worker.sweeps import Sweep, build_sweeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything that a command or a process needs; nothing connects before it is used."""

    settings: Settings
    addresses: Addresses
    engine: Engine
    redis: AnyRedis
    rankings: Rankings
    rulebooks: Rulebooks
    warehouse: Warehouse
    questions: Questions
    broker: Broker
    projector: Projector
    sweeps: Mapping[str, Sweep]
    mailer: Mailer
    backfills: BackfillRunner

    def program(self) -> Program:
        """Return the program in force. Raises NoProgram."""
        with self.engine.connect() as connection:
            return self.rulebooks.program(connection)


@contextmanager
def open_runtime(
    settings: Settings, *, connections_max: int = 5, threads: int = 1
) -> Iterator[Runtime]:
    """Open what the settings name, starting embedded servers as needed; close it at the end.

    `threads` are those that will process messages, where any do.

    Raises EmbeddedServerError where one cannot be started.
    """
    with open_servers(settings) as addresses:
        engine = open_engine(addresses.database_url, connections_max=connections_max)
        redis = open_any_redis(addresses.redis_url)
        rankings = Rankings(redis, settings.namespace)
        rulebooks = Rulebooks()
        warehouse = Warehouse(addresses.warehouse_url, cluster=settings.clickhouse_cluster)
        middleware = [RetryOrKeep(engine), HoldInOutage(engine)]
        broker = open_broker(addresses.broker_url, settings.namespace, redis, middleware)
        projector = Projector(lambda: project_rankings(engine, rankings, rulebooks))
        mailer = Mailer(engine, rulebooks, settings)
        answers = Answers(engine, warehouse, redis, settings.namespace)
        questions = Questions(answers, warehouse, broker, redis, settings.namespace)
        context = Context(
            engine=engine,
            rulebooks=rulebooks,
            rankings=rankings,
            put_back=put_back_on(broker),
            ask_warehouse=questions.ask_owner,
            find_secret=os.environ.get,
        )
        backfills = BackfillRunner(context, broker, projector.wake)
        sweeps = build_sweeps(
            engine=engine,
            rulebooks=rulebooks,
            rankings=rankings,
            warehouse=warehouse,
            projector=projector,
            broker=broker,
            broker_url=addresses.broker_url,
            mailer=mailer,
            backfills=backfills,
            events_kept=settings.events_kept,
        )
        declare_actors(
            broker,
            engine=engine,
            rulebooks=rulebooks,
            projector=projector,
            sweeps=sweeps,
            answers=answers,
            backfills=backfills,
            threads=threads,
        )
        try:
            yield Runtime(
                settings=settings,
                addresses=addresses,
                engine=engine,
                redis=redis,
                rankings=rankings,
                rulebooks=rulebooks,
                warehouse=warehouse,
                questions=questions,
                broker=broker,
                projector=projector,
                sweeps=sweeps,
                mailer=mailer,
                backfills=backfills,
            )
        finally:
            mailer.close()
            warehouse.close()
            broker.close()
            redis.close()
            engine.dispose()
