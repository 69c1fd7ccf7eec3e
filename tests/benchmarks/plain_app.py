"""The plain way, as a competent backend developer writes it without Streakline.

One Dramatiq message per event, one ORM session per message, `ZINCRBY` after the commit. It does
what it must to be right under concurrency: the user's row is locked, and the event's unique key
makes a repeat harmless in Postgres (a crash between commit and `ZINCRBY` still loses the increment,
which is part of why this way is not Streakline's). Run it with the `dramatiq` command.
"""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis
from sqlalchemy import BigInteger, UniqueConstraint, create_engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

THREADS = 8
POINTS = 10

engine = create_engine(os.environ["STREAKLINE_DATABASE_URL"], pool_size=THREADS)
new_session = sessionmaker(engine)
redis = Redis.from_url(os.environ["STREAKLINE_REDIS_URL"])
broker = RedisBroker(url=os.environ["STREAKLINE_BROKER_URL"])  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)


class Base(DeclarativeBase):
    """The tables of the plain way."""


class User(Base):
    __tablename__ = "plain_users"
    user_id: Mapped[str] = mapped_column(primary_key=True)


class Event(Base):
    __tablename__ = "plain_events"
    __table_args__ = (UniqueConstraint("user_id", "metric", "key"),)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[str]
    metric: Mapped[str]
    key: Mapped[str]
    value: Mapped[int]
    occurred_at: Mapped[datetime]


class Total(Base):
    __tablename__ = "plain_totals"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


class Streak(Base):
    __tablename__ = "plain_streaks"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    length: Mapped[int]
    last_day: Mapped[date]


class Points(Base):
    __tablename__ = "plain_points"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[str]
    amount: Mapped[int]
    event_key: Mapped[str]


@dramatiq.actor
def apply_event(user_id: str, metric: str, key: str, value: int, occurred_at: str) -> None:
    """Apply one event, and raise the user's scores in Redis."""
    occurred = datetime.fromisoformat(occurred_at)
    with new_session() as session:
        _lock_user(session, user_id)
        session.add(
            Event(user_id=user_id, metric=metric, key=key, value=value, occurred_at=occurred)
        )
        try:
            session.flush()
        except IntegrityError:
            return  # it was applied before
        _add_to_total(session, user_id, metric, value)
        _extend_streak(session, user_id, occurred.date())
        session.add(Points(user_id=user_id, amount=POINTS * value, event_key=key))
        session.commit()
    redis.zincrby(f"plain:{metric}", value, user_id)
    redis.zincrby("plain:xp", POINTS * value, user_id)


def _lock_user(session: Session, user_id: str) -> None:
    session.execute(insert(User).values(user_id=user_id).on_conflict_do_nothing())
    session.get_one(User, user_id, with_for_update=True)


def _add_to_total(session: Session, user_id: str, metric: str, value: int) -> None:
    total = session.get(Total, (user_id, metric))
    if total is None:
        session.add(Total(user_id=user_id, metric=metric, value=value))
    else:
        total.value += value


def _extend_streak(session: Session, user_id: str, day: date) -> None:
    streak = session.get(Streak, user_id)
    if streak is None:
        session.add(Streak(user_id=user_id, length=1, last_day=day))
    elif day > streak.last_day:
        follows = day == streak.last_day + timedelta(days=1)
        streak.length = streak.length + 1 if follows else 1
        streak.last_day = day
