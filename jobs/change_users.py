"""What operators do to users: dated facts with who did it and why, folded like every other fact.

Each command is one fact for each user, in one transaction for some users at a time. What it touches
is folded again from there: the state is what it would be had the fact always been known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import islice
from uuid import uuid4

from sqlalchemy import Connection, Engine

from models.folding import LedgerClosed, News, bring_up_to_date, renew_stale
from models.rulebooks import Rulebooks
from models.rules.achievements import AchievementKind
from models.rules.arrivals import Told as ToldFields
from models.rules.calendar import local_date
from models.rules.effects import Effects, EndedChain
from models.rules.facts import Adjustment, Completion, Grant, Reset, Suspension
from models.rules.fold import advance
from models.rules.periods import last_date, next_period, period_of, previous_period
from models.rules.points import holds
from models.rules.rulebook import Rules
from models.rules.runs import EARLIEST_CLOCK
from models.rules.state import UserState
from models.rules.streaks import Chain, Life, StreakRule, read
from models.rules.timelines import Pause, Told
from models.statements import decided as decided_statements
from models.statements import ledger as ledger_statements
from models.statements import told as told_statements
from models.statements import users as user_statements
from models.statements.ledger import FactKind, OperatorFact, StoredFact, operator_fact, told_fact
from models.statements.users import Users, decode_state, encode_state
from streakline.contract import UserFields, nearest

USERS_PER_TRANSACTION = 200


class NotPossible(ValueError):
    """It cannot be done; the message says why, and what could be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who wants it, why, and since when it holds."""

    actor: str
    reason: str
    given_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _User:
    """A user as a command finds them: brought up to the instant of the order.

    `ended` are chains that only time has ended since the user was last folded.
    """

    connection: Connection
    user_id: str
    state: UserState
    ended: Sequence[EndedChain]
    rules: Rules


def find_users(
    engine: Engine, rulebooks: Rulebooks, attributes: Mapping[str, str]
) -> Iterator[str]:
    """Yield the users of a segment, or, without attributes, everyone. Raises NotPossible."""
    with engine.connect() as connection:
        rules = rulebooks.current(connection)
        unknown = sorted(set(attributes) - rules.attributes)
        if unknown:
            known = ", ".join(sorted(rules.attributes)) or "none"
            raise NotPossible(
                f"no rule looks at the attribute {unknown[0]!r}, so users cannot be found by it; "
                f"those that can be named: {known}"
            )
        after = ""
        while ids := user_statements.read_next_ids(connection, after, USERS_PER_TRANSACTION):
            after = ids[-1]
            users = user_statements.read_users(connection, ids, rules.stamp)
            for user_id in ids:
                if holds(attributes, users.states[user_id].told.now()):
                    yield user_id


def grant_freezes(
    engine: Engine,
    rulebooks: Rulebooks,
    user_ids: Iterable[str],
    streak: str,
    freezes: int,
    order: Order,
) -> None:
    """Give freezes; over the maximum is clipped (S24). Raises NotPossible."""

    def make(user: _User) -> OperatorFact:
        rule = _streak_rule(user.rules, streak)
        if rule.freezes is None:
            raise NotPossible(f"{streak} has no freezes; give it [streaks.{streak}.freezes]")
        return Grant(order.given_at, _new_id(), user.rules.latest.version, streak, freezes)

    _record(engine, rulebooks, user_ids, order, make)


def pause_streaks(
    engine: Engine,
    rulebooks: Rulebooks,
    user_ids: Iterable[str],
    first: date,
    last: date,
    order: Order,
    streak: str | None = None,
) -> None:
    """Hold streaks on local dates, inclusive: ahead, or as an amnesty over the past (S27)."""
    if last < first:
        raise NotPossible(f"the last date, {last}, is before the first, {first}")

    def make(user: _User) -> OperatorFact:
        if streak is not None:
            _streak_rule(user.rules, streak)
        return Pause(_begins_at(first), _new_id(), first, last, streak)

    _record(engine, rulebooks, user_ids, order, make)


def reset_streak(
    engine: Engine, rulebooks: Rulebooks, user_ids: Iterable[str], streak: str, order: Order
) -> None:
    """End the chain now (S27). Raises NotPossible."""

    def make(user: _User) -> OperatorFact:
        _streak_rule(user.rules, streak)
        return Reset(order.given_at, _new_id(), user.rules.latest.version, streak)

    _record(engine, rulebooks, user_ids, order, make)


def restore_streak(
    engine: Engine, rulebooks: Rulebooks, user_ids: Iterable[str], streak: str, order: Order
) -> None:
    """Undo the latest break or reset, by an amnesty over the gap (S27). Raises NotPossible."""

    def make(user: _User) -> OperatorFact:
        return _restoration(user, _streak_rule(user.rules, streak), order.given_at)

    _record(engine, rulebooks, user_ids, order, make)


def adjust_points(
    engine: Engine,
    rulebooks: Rulebooks,
    user_ids: Iterable[str],
    points: str,
    amount: Decimal,
    order: Order,
) -> None:
    """Give points, or take some. Raises NotPossible."""

    def make(user: _User) -> OperatorFact:
        known = user.rules.latest.points
        if points not in known:
            raise NotPossible(f"there is no points system {points!r}{nearest(points, known)}")
        return Adjustment(order.given_at, _new_id(), user.rules.latest.version, points, amount)

    _record(engine, rulebooks, user_ids, order, make)


def complete_achievement(
    engine: Engine, rulebooks: Rulebooks, user_ids: Iterable[str], key: str, order: Order
) -> None:
    """Complete an achievement that only somebody's word completes (S34). Raises NotPossible."""

    def make(user: _User) -> OperatorFact:
        manual = [
            rule.key
            for rule in user.rules.latest.achievements
            if rule.kind is AchievementKind.MANUAL
        ]
        if key not in manual:
            raise NotPossible(
                f"{key!r} is no achievement with on = 'manual'{nearest(key, manual)}; "
                f"there is: {', '.join(manual) or 'none'}"
            )
        return Completion(order.given_at, _new_id(), user.rules.latest.version, key)

    _record(engine, rulebooks, user_ids, order, make)


def suspend_users(
    engine: Engine, rulebooks: Rulebooks, user_ids: Iterable[str], suspended: bool, order: Order
) -> None:
    """Take users off all rankings, or let them return; their state stays (S48)."""

    def make(user: _User) -> OperatorFact:
        version = user.rules.latest.version
        return Suspension(order.given_at, _new_id(), version, suspended)

    _record(engine, rulebooks, user_ids, order, make)


def set_fields(
    engine: Engine,
    rulebooks: Rulebooks,
    user_ids: Iterable[str],
    fields: UserFields,
    order: Order,
) -> None:
    """Tell about users, as `identify` does, from the order's instant on. Raises NotPossible."""
    for user_id in user_ids:
        with engine.begin() as connection:
            rules = rulebooks.current(connection)
            users = user_statements.lock_users(connection, [user_id], rules.stamp)
            _check_known(users.states, [user_id])
            renew_stale(connection, rules, users, order.given_at)
            _set_fields(connection, rules, users, user_id, fields, order)


def _set_fields(
    connection: Connection,
    rules: Rules,
    users: Users,
    user_id: str,
    fields: UserFields,
    order: Order,
) -> None:
    told = Told(order.given_at, fields.tz, fields.attributes)
    fact = told_fact(
        user_id,
        told,
        imported=False,
        program_version=rules.latest.version,
        recorded_at=order.given_at,
        actor=order.actor,
        reason=order.reason,
    )
    ledger_statements.add_facts(connection, [fact])
    told_statements.tell(
        connection, [ToldFields(user_id=user_id, fields=fields, told_at=order.given_at)]
    )
    news = {user_id: News(told=[told], seen_at=[order.given_at])}
    bring_up_to_date(connection, rules, users, news, order.given_at)


def _record(
    engine: Engine,
    rulebooks: Rulebooks,
    user_ids: Iterable[str],
    order: Order,
    make: Callable[[_User], OperatorFact],
) -> None:
    """Make a fact for each user and fold it. Raises NotPossible; what was done until then stays."""
    remaining = iter(user_ids)
    while some := sorted(set(islice(remaining, USERS_PER_TRANSACTION))):
        with engine.begin() as connection:
            _record_some(connection, rulebooks.current(connection), some, order, make)


def _record_some(
    connection: Connection,
    rules: Rules,
    user_ids: Sequence[str],
    order: Order,
    make: Callable[[_User], OperatorFact],
) -> None:
    users = user_statements.lock_users(connection, user_ids, rules.stamp)
    _check_known(users.states, user_ids)
    renew_stale(connection, rules, users, order.given_at)
    stored: list[StoredFact] = []
    news: dict[str, News] = {}
    for user_id in user_ids:
        state, ended = _as_of(users.states[user_id], rules, order.given_at)
        fact = make(
            _User(connection=connection, user_id=user_id, state=state, ended=ended, rules=rules)
        )
        if user_id in users.closed and fact.at <= users.closed[user_id]:
            raise NotPossible(str(LedgerClosed(user_id, users.closed[user_id])))
        stored.append(
            operator_fact(
                user_id,
                fact,
                program_version=rules.latest.version,
                recorded_at=order.given_at,
                actor=order.actor,
                reason=order.reason,
            )
        )
        news[user_id] = News(pauses=[fact]) if isinstance(fact, Pause) else News(facts=[fact])
    ledger_statements.add_facts(connection, stored)
    bring_up_to_date(connection, rules, users, news, order.given_at)


def _as_of(state: UserState, rules: Rules, now: datetime) -> tuple[UserState, Sequence[EndedChain]]:
    """Return a copy of a state, brought up to an instant, and the chains that ended on the way."""
    copy, effects = decode_state(encode_state(state)), Effects()
    advance(copy, now, rules, effects)
    return copy, effects.chains


def _check_known(states: Mapping[str, UserState], user_ids: Sequence[str]) -> None:
    unknown = [user_id for user_id in user_ids if user_id not in states]
    if unknown:
        raise NotPossible(f"no user {unknown[0]!r} was ever seen")


def _streak_rule(rules: Rules, name: str) -> StreakRule:
    rule = rules.latest.streaks.get(name)
    if rule is None:
        known = ", ".join(rules.latest.streaks) or "none"
        hint = nearest(name, rules.latest.streaks)
        raise NotPossible(f"there is no streak {name!r}{hint} (there is: {known})")
    return rule


def _restoration(user: _User, rule: StreakRule, now: datetime) -> Pause:
    """Return the pause that joins the chain that ended last to what follows it."""
    state = user.state
    today = local_date(now, state.tz_at(now, user.rules.latest.tz))
    current = period_of(today, rule.period)
    streak = state.streaks.get(rule.name)
    chains: list[Chain] = list(
        decided_statements.read_chains(user.connection, user.user_id).get(rule.name, [])
    )
    chains += [one.chain for one in user.ended if one.streak == rule.name]
    following = current
    if streak is not None:
        life = Life(state.told.zones, user.rules.latest.tz, state.told.pauses)
        found = read(rule, streak, life, now)
        recent = list(found.history)
        if found.length and found.started_on is not None:
            following = found.started_on
            recent = recent[:-1]
        chains += recent
    ended = max(chains, default=None)
    if ended is None:
        raise NotPossible(f"{user.user_id} has no chain of {rule.name} that broke or was reset")
    first = next_period(ended.ended_on, rule.period)
    last = last_date(previous_period(following, rule.period), rule.period)
    resets = [
        order
        for order in ledger_statements.read_orders(user.connection, user.user_id)
        if order.kind == FactKind.RESET
        and order.body["streak"] == rule.name
        and order.at >= _begins_at(ended.ended_on)
        and order.fact_id not in state.told.voided
    ]
    at = min([_begins_at(first), *(order.at for order in resets)])
    ids = tuple(sorted(order.fact_id for order in resets))
    return Pause(at, _new_id(), first, last, rule.name, ids)


def _begins_at(day: date) -> datetime:
    """Return when a date begins where it begins first."""
    return datetime.combine(day, time.min, UTC) - EARLIEST_CLOCK


def _new_id() -> str:
    return uuid4().hex
