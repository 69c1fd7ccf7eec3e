"""Asking the warehouse: here, or in the process that has it, through its queue and Redis.

A warehouse on a server is asked here. The embedded one is open in one process at a time: asked here
as long as no other has it.

    <namespace>:answer:<id>  list: `"taken"` as soon as a worker has the question, then the answer
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from dramatiq import Broker
from sqlalchemy import Engine

from jobs.compare_warehouse import compare_warehouse
from jobs.reload_part import reload_part
from jobs.reload_warehouse import reload_warehouse
from models.warehouse import snapshots
from models.warehouse.engine import (
    Warehouse,
    WarehouseFailed,
    WarehouseTaken,
    WarehouseUnavailable,
)
from models.warehouse.reloading import Part
from streakline.redis_connection import AnyRedis
from worker.clock import utc_now
from worker.reporting.answering import answer_report
from worker.shapes import plain

ASK_ACTOR = "ask_warehouse"
TAKEN_SECONDS_MAX = 20.0
"""A question that no worker took by then is not answered any more."""
ANSWER_SECONDS_MAX = 900.0
"""Comparing all of a large ledger takes minutes."""
KEPT_SECONDS = 60
POLL_SECONDS_MAX = 1.0
"""Below the time-out of a Redis command."""
TAKEN = "taken"


class NoAnswer(WarehouseUnavailable):
    """Nobody answered a question; the message says what to look at."""


class Answers:
    """Answers questions to the warehouse in the process that has it open."""

    def __init__(
        self, engine: Engine, warehouse: Warehouse, redis: AnyRedis, namespace: str
    ) -> None:
        self._redis = redis
        self._namespace = namespace
        self._questions: Mapping[str, Callable[..., Any]] = {
            "version": lambda: {"version": warehouse.open(), "made_at": warehouse.made_at()},
            "reload": lambda: reload_warehouse(engine, warehouse),
            "reload-part": lambda table, first, last, is_month, renews: reload_part(
                engine,
                warehouse,
                Part(
                    table=table,
                    first=date.fromisoformat(first),
                    last=date.fromisoformat(last),
                    is_month=is_month,
                ),
                renews=renews,
            ),
            "compare": partial(compare_warehouse, engine, warehouse),
            "rank-history": lambda leaderboard, user_id, from_day: snapshots.read_history(
                warehouse, leaderboard, user_id, date.fromisoformat(from_day)
            ),
            "report": partial(answer_report, warehouse),
        }

    def find(self, question: str, parameters: Mapping[str, Any]) -> Any:
        """Return the answer as JSON has it. Raises WarehouseUnavailable."""
        return json.loads(json.dumps(self._questions[question](**parameters), default=plain))

    def answer(
        self, question_id: str, question: str, parameters: dict[str, Any], asked_at: str
    ) -> None:
        """Answer through Redis, unless whoever asked has given up; the actor."""
        asked = datetime.fromisoformat(asked_at)
        if (utc_now() - asked).total_seconds() > TAKEN_SECONDS_MAX:
            return
        self._push(question_id, TAKEN)
        try:
            found = {"answer": self.find(question, parameters)}
        except WarehouseUnavailable as error:
            found = {"error": str(error), "is_final": isinstance(error, WarehouseFailed)}
        except Exception:
            why = "the worker that was asked failed; see its log"
            self._push(question_id, {"error": why, "is_final": True})
            raise
        self._push(question_id, found)

    def _push(self, question_id: str, value: object) -> None:
        key = _key(self._namespace, question_id)
        with self._redis.pipeline() as pipeline:
            pipeline.rpush(key, json.dumps(value))
            pipeline.expire(key, KEPT_SECONDS)
            pipeline.execute()


class Questions:
    """Asks the warehouse.

    Answers are as JSON has them. Raises NoAnswer where another process has the warehouse and no
    worker takes the question, WarehouseUnavailable where the warehouse cannot be reached, and
    WarehouseFailed where it was and could not answer.
    """

    def __init__(
        self,
        answers: Answers,
        warehouse: Warehouse,
        broker: Broker,
        redis: AnyRedis,
        namespace: str,
    ) -> None:
        self._answers = answers
        self._warehouse = warehouse
        self._broker = broker
        self._redis = redis
        self._namespace = namespace

    def ask(self, question: str, **parameters: Any) -> Any:
        """Ask here, where nobody else has the warehouse: for a command, which ends soon."""
        try:
            return self._answers.find(question, parameters)
        except WarehouseTaken:
            return self._ask_elsewhere(question, parameters)

    def ask_owner(self, question: str, **parameters: Any) -> Any:
        """Ask without opening the embedded warehouse: a worker would keep it from its owner."""
        if self._warehouse.is_here:
            return self._answers.find(question, parameters)
        return self._ask_elsewhere(question, parameters)

    def _ask_elsewhere(self, question: str, parameters: Mapping[str, Any]) -> Any:
        question_id = uuid4().hex
        asked = (question_id, question, dict(parameters), utc_now().isoformat())
        self._broker.get_actor(ASK_ACTOR).send(*asked)
        if self._wait(question_id, TAKEN_SECONDS_MAX) is None:
            raise NoAnswer(
                "another process has the warehouse open, but no worker of the queue analytics "
                f"answered within {TAKEN_SECONDS_MAX:g} s; which processes run?"
            )
        answer = self._wait(question_id, ANSWER_SECONDS_MAX)
        if answer is None:
            raise NoAnswer(f"the warehouse did not answer within {ANSWER_SECONDS_MAX:g} s")
        if "error" in answer:
            raise (WarehouseFailed if answer["is_final"] else WarehouseUnavailable)(answer["error"])
        return answer["answer"]

    def _wait(self, question_id: str, seconds: float) -> Any:
        key, deadline = _key(self._namespace, question_id), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            found: Any = self._redis.blpop([key], timeout=min(left, POLL_SECONDS_MAX))
            if found is not None:
                return json.loads(found[1])
        return None


def _key(namespace: str, question_id: str) -> str:
    return f"{namespace}:answer:{question_id}"
