"""The rules of a whole app the plain way: `language-app.toml` as a competent developer writes it.

One Dramatiq message per event, one ORM session per message with the user's row locked, rankings by
`ZINCRBY` after the commit. It counts totals and days, keeps the three streaks with freezes, awards
XP with boosts and the cap, completes achievements and feeds the weekly, daily, quiz and sprint
boards with their segments. It leaves out what nobody writes at first: late events, zones that
change, taking back, ties, notices, and being right when it dies between the commit and Redis. Run
it with the `dramatiq` command.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis
from sqlalchemy import BigInteger, UniqueConstraint, create_engine, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

THREADS = 8
ONE_DAY = timedelta(days=1)
DAILY = {"lessons": 1, "minutes": 10}
WORKDAYS = {"lessons": 1}
MONTHLY = {"lessons": 20, "minutes": 300}
LEVELS = (("b1", 5000), ("a2", 1000), ("a1", 0))
XP_MAX_PER_DAY = 2000

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
    tz: Mapped[str]
    country: Mapped[str]
    plan: Mapped[str]
    xp: Mapped[int]
    level: Mapped[str]
    french: Mapped[int]


class Event(Base):
    __tablename__ = "plain_events"
    __table_args__ = (UniqueConstraint("user_id", "metric", "key"),)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[str]
    metric: Mapped[str]
    key: Mapped[str]
    value: Mapped[int]
    occurred_at: Mapped[datetime]
    local_date: Mapped[date]


class Day(Base):
    __tablename__ = "plain_days"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


class Streak(Base):
    __tablename__ = "plain_streaks"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    length: Mapped[int]
    last_day: Mapped[date]
    freezes: Mapped[int]


class Points(Base):
    __tablename__ = "plain_points"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[str]
    reason: Mapped[str]
    amount: Mapped[int]
    local_date: Mapped[date]


class Achievement(Base):
    __tablename__ = "plain_achievements"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)


@dramatiq.actor
def apply_event(
    user_id: str, metric: str, key: str, value: int, occurred_at: str, language: str
) -> None:
    """Apply one event, and raise the user's scores in Redis."""
    occurred = datetime.fromisoformat(occurred_at)
    with new_session() as session:
        user = _lock_user(session, user_id)
        day = occurred.astimezone(ZoneInfo(user.tz)).date()
        session.add(
            Event(
                user_id=user_id,
                metric=metric,
                key=key,
                value=value,
                occurred_at=occurred,
                local_date=day,
            )
        )
        try:
            session.flush()
        except IntegrityError:
            return  # it was applied before
        before = user.xp
        _count(session, user, metric, value, day, language)
        session.commit()
        earned, country, plan = user.xp - before, user.country, user.plan
    _rank(user_id, metric, value, occurred, day, earned, country, plan)


def _count(session: Session, user: User, metric: str, value: int, day: date, language: str) -> None:
    month = f"{day:%Y-%m}"
    total = _add(session, user, metric, "all", value)
    _add(session, user, metric, f"{day}", value)
    _add(session, user, metric, month, value)
    if _reached(session, user, f"{day}", DAILY, any):
        _extend(session, user, "daily", day, ())
    if metric == "lessons":
        _extend(session, user, "workdays", day, (5, 6))
        _award(session, user, "lesson", 10 * value, day)
        if language == "fr":
            user.french += value
            if user.french % 5 < value:
                _award(session, user, "french-bonus", 15, day)
        if total >= 1:
            _complete(session, user, "first-lesson")
        if total >= 100 and _complete(session, user, "hundred-lessons"):
            _complete_scholar(session, user, day)
    if _reached(session, user, month, MONTHLY, all):
        _extend(session, user, "monthly", day.replace(day=1), ())


def _lock_user(session: Session, user_id: str) -> User:
    number = int(user_id.rpartition("-")[2])
    values = {
        "tz": ("Europe/Paris", "Asia/Tokyo", "America/New_York")[number % 3],
        "country": ("FR", "JP", "US")[number % 3],
        "plan": ("free", "pro")[number % 2],
    }
    statement = insert(User).values(user_id=user_id, xp=25, level="a1", french=0, **values)
    session.execute(statement.on_conflict_do_nothing())
    return session.get_one(User, user_id, with_for_update=True)


def _add(session: Session, user: User, metric: str, period: str, value: int) -> int:
    row = session.get(Day, (user.user_id, metric, period))
    if row is None:
        row = Day(user_id=user.user_id, metric=metric, period=period, value=0)
        session.add(row)
    row.value = max(row.value, value) if metric == "best-score" else row.value + value
    return row.value


def _reached(
    session: Session, user: User, period: str, needs: dict[str, int], mode: object
) -> bool:
    found = []
    for metric, least in needs.items():
        row = session.get(Day, (user.user_id, metric, period))
        found.append(row is not None and row.value >= least)
    return any(found) if mode is any else all(found)


def _extend(session: Session, user: User, name: str, day: date, days_off: tuple[int, ...]) -> None:
    streak = session.get(Streak, (user.user_id, name))
    if streak is None:
        streak = Streak(user_id=user.user_id, name=name, length=1, last_day=day, freezes=1)
        session.add(streak)
    elif day > streak.last_day:
        missed = 0
        between = streak.last_day + ONE_DAY
        while between < day and name != "monthly":
            missed += between.weekday() not in days_off
            between += ONE_DAY
        if missed and (name != "daily" or missed > streak.freezes):
            streak.length = 0
        elif missed:
            streak.freezes -= missed
        streak.length += 1
        streak.last_day = day
    else:
        return
    if name == "daily" and streak.length % 7 == 0:
        streak.freezes = min(3, streak.freezes + 1)
        _award(session, user, "week", 50, day)
        if _complete(session, user, "week-streak"):
            _complete_scholar(session, user, day)


def _award(session: Session, user: User, reason: str, points: int, day: date) -> None:
    amount = Decimal(points)
    if date(2027, 1, 1) <= day <= date(2027, 1, 3):
        amount *= 2
    if user.plan == "pro":
        amount *= Decimal("1.25")
    earned = session.execute(
        select(func.coalesce(func.sum(Points.amount), 0)).where(
            Points.user_id == user.user_id, Points.local_date == day
        )
    ).scalar_one()
    awarded = min(int(amount), XP_MAX_PER_DAY - int(earned))
    session.add(Points(user_id=user.user_id, reason=reason, amount=awarded, local_date=day))
    session.flush()
    user.xp += awarded
    user.level = next(key for key, at in LEVELS if user.xp >= at)
    if user.level == "b1":
        _complete(session, user, "reached-b1")


def _complete(session: Session, user: User, key: str) -> bool:
    if session.get(Achievement, (user.user_id, key)) is not None:
        return False
    session.add(Achievement(user_id=user.user_id, key=key))
    return True


def _complete_scholar(session: Session, user: User, day: date) -> None:
    session.flush()
    both = [
        session.get(Achievement, (user.user_id, key)) for key in ("week-streak", "hundred-lessons")
    ]
    if all(both) and _complete(session, user, "scholar"):
        _award(session, user, "scholar", 500, day)


def _rank(
    user_id: str,
    metric: str,
    value: int,
    occurred: datetime,
    day: date,
    earned: int,
    country: str,
    plan: str,
) -> None:
    week = day.strftime("%G-W%V")
    if earned:
        redis.zincrby(f"plain:weekly-xp:{week}", earned, user_id)
        redis.zincrby(f"plain:weekly-xp:{week}:{country}", earned, user_id)
    if metric == "minutes":
        tokyo = occurred.astimezone(ZoneInfo("Asia/Tokyo")).date()
        redis.zincrby(f"plain:daily-minutes:{tokyo}", value, user_id)
    if metric == "best-score":
        redis.zadd(f"plain:quiz:{occurred.astimezone(UTC):%Y-%m}", {user_id: value}, gt=True)
    if metric == "lessons" and plan == "pro":
        redis.zincrby("plain:sprint", value, user_id)
