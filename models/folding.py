"""Bringing users up to date: their stored states, the new facts, and what follows from them.

The caller's transaction holds the users' locks and has written the facts. Facts that come after all
that a state holds are folded onto it. Where one comes earlier, the user is folded again from the
latest checkpoint before it, over the ledger: what was decided since is taken away and written as it
is now. A ledger that events have left begins with its opening. Both ways lead to the same rows, and
the number of statements does not grow with the number of users or facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from models.rules.boards import BoardRule, score_of
from models.rules.due import next_due
from models.rules.effects import (
    Checkpoint,
    DecidedScore,
    Effects,
    Notice,
    NoticeKind,
    Opening,
    ScoreKey,
)
from models.rules.facts import BEFORE_FACTS, Event, Fact, Position
from models.rules.fold import advance, fold, reopen, sign_up
from models.rules.rankings import ALL, Board, Score
from models.rules.rulebook import Rules
from models.rules.runs import Run, RunPeriod
from models.rules.state import RunScore, UserState
from models.rules.streaks import Life, Reading, read
from models.rules.timelines import EVER, LAST, late_from
from models.statements import boards as board_statements
from models.statements import decided as decided_statements
from models.statements import ledger as ledger_statements
from models.statements import openings as opening_statements
from models.statements import users as user_statements
from models.statements.boards import RunName, StoredRun
from models.statements.decided import Of
from models.statements.ledger import Ledger
from models.statements.users import Users, decode_state, encode_state
from streakline.contract import instant_text

Placement = tuple[Mapping[str, str], bool]
"""What decides on which boards a user stands: attributes, and whether the user is suspended."""


@dataclass(slots=True, kw_only=True)
class News(Ledger):
    """What is new of a user; `silent` where nobody is to be told what follows."""

    silent: bool = False


@dataclass(slots=True, kw_only=True)
class _Folded:
    """A user while being brought up to date."""

    state: UserState
    effects: Effects
    placement: Placement | None = None
    before: Mapping[str, Reading] = field(default_factory=dict)
    silent: bool = False
    anew: bool = False
    cut: list[StoredRun] = field(default_factory=list)


Silenced = Mapping[tuple[str, NoticeKind, str], bool]
"""Notices that were taken away, (user_id, kind, cause), and whether they were silent."""


def bring_up_to_date(
    connection: Connection, rules: Rules, users: Users, news: Mapping[str, News], now: datetime
) -> bool:
    """Fold what is new and write all that follows; tell whether any board changed.

    Users that are stale are folded from nothing, up to `now`. It is also what readers of
    corrections go by, and up to when what time causes is told to nobody whose past was imported.
    """
    late = _find_late(rules, users, news)
    folded = {
        user_id: _Folded(
            state=users.states[user_id],
            effects=Effects(encode=encode_state),
            placement=_placement(users.states[user_id])
            if _may_move(one, user_id in late)
            else None,
            before=_readings(rules, users.states[user_id], now) if user_id in late else {},
            silent=one.silent or user_id in users.stale,
            anew=user_id in late,
        )
        for user_id, one in news.items()
    }
    silenced = _fold_anew(connection, rules, users, folded, late, now) if late else {}
    for user_id, one in news.items():
        if user_id not in late:
            state = folded[user_id].state
            if one.told:
                state.told.tell(one.told, rules.attributes)
            _fold(state, one, rules, folded[user_id].effects)
        if one.silent and one.facts:
            users.quiet[user_id] = now
    for user_id in late.keys() - users.stale:
        _tell_corrections(rules, folded[user_id], news[user_id], now)
    return _put(connection, rules, users, folded, silenced, now)


def renew_stale(connection: Connection, rules: Rules, users: Users, now: datetime) -> bool:
    """Fold from nothing those whose states mean nothing yet, silently; tell if a board changed."""
    stale = {user_id: News(silent=True) for user_id in users.stale}
    return bool(stale) and bring_up_to_date(connection, rules, users, stale, now)


def pass_time(
    connection: Connection,
    rules: Rules,
    users: Users,
    now: datetime,
    *,
    new_calendar: bool = False,
) -> bool:
    """Do what time alone causes up to `now`, and write it; tell whether any board changed.

    By a `new_calendar` what is due is computed anew from where each user is: what is closed stays.
    """
    current = users.states.keys() - users.stale
    touched = renew_stale(connection, rules, users, now)
    folded = {}
    for user_id in current:
        one = folded[user_id] = _Folded(
            state=users.states[user_id], effects=Effects(encode=encode_state)
        )
        if new_calendar and one.state.as_of is not None:
            one.state.due_at = one.state.as_of[0]
        advance(one.state, now, rules, one.effects)
    return _put(connection, rules, users, folded, {}, now) or touched


@dataclass(frozen=True, slots=True, kw_only=True)
class Refolded:
    """What a user's ledger comes to, folded from nothing, or from its opening."""

    state: UserState
    effects: Effects
    ledger: Ledger
    opening: Opening | None

    @property
    def since(self) -> datetime:
        """Up to when events have left; what was decided by then is not in the effects."""
        return _since(self.opening)


class LedgerClosed(ValueError):
    """What is asked for lies before a user's ledger begins; the message says when it does."""

    def __init__(self, user_id: str, closed_until: datetime) -> None:
        super().__init__(
            f"the ledger of {user_id!r} is closed up to {instant_text(closed_until)}: events of "
            "before have left for the warehouse; name a later instant"
        )


def refold(
    connection: Connection,
    rules: Rules,
    wanted: Mapping[str, Effects],
    until: datetime = LAST,
) -> dict[str, Refolded]:
    """Fold users anew, each into effects of its own; nothing is written.

    With `until` it is as a reader of that instant would have done. Raises LedgerClosed.
    """
    openings = opening_statements.read_openings(connection, wanted)
    for user_id, opening in openings.items():
        if opening.as_of > until:
            raise LedgerClosed(user_id, opening.as_of)
    since = {user_id: _since(openings.get(user_id)) for user_id in wanted}
    ledgers = ledger_statements.read_after(connection, since, until)
    found = {}
    for user_id, effects in wanted.items():
        opened, ledger = openings.get(user_id), ledgers[user_id]
        state = _begin(opened)
        _tell_first(state, ledger, opened, rules, effects)
        _fold(state, ledger, rules, effects)
        found[user_id] = Refolded(state=state, effects=effects, ledger=ledger, opening=opened)
    return found


def fold_openings(
    connection: Connection, rules: Rules, users: Users, until: datetime
) -> dict[str, Opening]:
    """Return where ledgers can begin anew: the state at each user's latest fact up to an instant.

    Left out is who has no such fact, is to be folded anew first, or whose stored state is not what
    the ledger comes to.
    """
    current = sorted(users.states.keys() - users.stale)
    openings = opening_statements.read_openings(connection, users.closed.keys() & current)
    since = {user_id: _since(openings.get(user_id)) for user_id in current}
    found = {}
    for user_id, ledger in ledger_statements.read_after(connection, since).items():
        state, stored, effects = _begin(openings.get(user_id)), users.states[user_id], Effects()
        _tell_first(state, ledger, openings.get(user_id), rules, effects)
        state.told.pause(ledger.pauses)
        before = [fact for fact in ledger.facts if fact.at <= until]
        if not before or stored.as_of is None:
            continue
        _sign_up_seen(state, before, ledger, rules, effects)
        fold(state, before, rules, effects)
        assert state.as_of is not None
        opening = Opening(state.as_of[0], encode_state(state), rules.latest.version)
        after = [fact for fact in ledger.facts if fact.at > until]
        _fold(state, Ledger(facts=after, seen_at=ledger.seen_at), rules, effects)
        advance(state, stored.as_of[0], rules, effects)
        if state == stored:
            found[user_id] = opening
    return found


def _since(opening: Opening | None) -> datetime:
    return EVER if opening is None else opening.as_of


def _tell_first(
    state: UserState, ledger: Ledger, opening: Opening | None, rules: Rules, effects: Effects
) -> None:
    """Tell a state where a ledger begins all that the ledger tells, for the facts in it as well."""
    state.told.tell(ledger.told, rules.attributes)
    if opening is not None and opening.version < rules.latest.version:
        reopen(state, opening.version, rules, effects)


def _begin(kept: Checkpoint | Opening | None) -> UserState:
    """Return a state to fold onto: one that was kept, with what was told by then, or none."""
    if kept is None:
        return UserState()
    state = decode_state(kept.state)
    state.seen_at, state.told = None, state.told.until(kept.as_of)
    return state


def _fold(state: UserState, new: Ledger, rules: Rules, effects: Effects) -> None:
    """Fold facts that come after the state's own, and go on to where the user was last seen."""
    if new.pauses:
        state.told.pause(new.pauses)
    if new.told and state.as_of is not None:
        state.due_at = next_due(state, rules)
    facts = sorted(new.facts, key=_position)
    _sign_up_seen(state, facts, new, rules, effects)
    fold(state, facts, rules, effects)
    if new.seen_at or state.seen_at:
        state.seen_at = max([*new.seen_at, state.seen_at or EVER])
        advance(state, state.seen_at, rules, effects)
        if state.as_of is not None and state.seen_at <= state.as_of[0]:
            state.seen_at = None  # a fold from a checkpoint would not know of it


def _sign_up_seen(
    state: UserState, facts: Sequence[Fact], new: Ledger, rules: Rules, effects: Effects
) -> None:
    """Begin with a user who was seen before their first fact."""
    seen_at = min(new.seen_at, default=None)
    if state.as_of is None and seen_at is not None and not (facts and facts[0].at <= seen_at):
        sign_up(state, seen_at, rules, effects)


def _put(
    connection: Connection,
    rules: Rules,
    users: Users,
    folded: Mapping[str, _Folded],
    silenced: Silenced,
    now: datetime,
) -> bool:
    """Write what was decided, and the states; tell whether any board changed."""
    _write(connection, folded, silenced, users.quiet, now)
    touched = _touched(connection, rules, folded)
    if touched:
        board_statements.touch(connection, touched)
    users.states.update((user_id, one.state) for user_id, one in folded.items())
    users.stale -= folded.keys()
    user_statements.put_states(connection, users, folded, rules)
    return bool(touched)


def _find_late(rules: Rules, users: Users, news: Mapping[str, News]) -> dict[str, datetime]:
    """Return whom something concerns that comes before what is folded already, and from when on."""
    late = {}
    for user_id, one in news.items():
        if user_id in users.stale:
            late[user_id] = EVER
            continue
        state = users.states[user_id]
        instants = [fact.at for fact in one.facts if state.as_of and fact.position < state.as_of]
        instants += [pause.at for pause in one.pauses if state.as_of and pause.at <= state.as_of[0]]
        as_of = state.as_of[0] if state.as_of else None
        told_from = late_from(state.told, one.told, rules.attributes, as_of) if one.told else None
        if told_from is not None:
            instants.append(told_from)
        if one.seen_at and state.signed_up_at and min(one.seen_at) < state.signed_up_at:
            instants.append(EVER)
        if not state.facts and any(fact.at == state.signed_up_at for fact in one.facts):
            instants.append(EVER)  # the first fact signs up, under its own version
        if instants:
            late[user_id] = min(instants)
    return late


def _fold_anew(
    connection: Connection,
    rules: Rules,
    users: Users,
    folded: Mapping[str, _Folded],
    late: Mapping[str, datetime],
    now: datetime,
) -> Silenced:
    """Fold users again from their latest checkpoint before an instant, or from the beginning.

    Time has passed for them as far as before; where that is not known any more, up to `now`: what a
    new definition finds there is no news.
    """
    checkpoints = decided_statements.read_checkpoints(connection, late)
    closed = late.keys() & users.closed.keys()
    openings = opening_statements.read_openings(connection, closed) if closed else {}
    starts = dict.fromkeys(late, EVER)
    for user_id, instant in late.items():
        kept = checkpoints.get(user_id) if instant != EVER else None
        if kept is not None:
            openings.pop(user_id, None)
        found = kept or openings.get(user_id)
        folded[user_id].state = _begin(found)
        if found is not None:
            starts[user_id] = found.as_of
    # Read first: where it is much, what comes then is given the time that it takes.
    ledgers = ledger_statements.read_after(connection, starts)
    silenced, scores = decided_statements.cut_decided(connection, starts)
    run_ids = {run_id for _, run_id in scores}
    runs = board_statements.read_runs(connection, run_ids) if run_ids else {}
    for user_id, run_id in scores:
        folded[user_id].cut.append(runs[run_id])
    for user_id, ledger in ledgers.items():
        one = folded[user_id]
        before = {board_id: dict(runs) for board_id, runs in one.state.runs.items()}
        _tell_first(one.state, ledger, openings.get(user_id), rules, one.effects)
        _fold(one.state, ledger, rules, one.effects)
        was = users.states[user_id].as_of
        if was is None and user_id in users.stale:
            advance(one.state, now, rules, one.effects)
        elif was is not None and was[1] == BEFORE_FACTS:
            advance(one.state, was[0], rules, one.effects)
        _put_back(one, before, starts[user_id])
    return silenced


def _put_back(one: _Folded, before: Mapping[str, Mapping[str, RunScore]], as_of: datetime) -> None:
    """Keep the scores that were cut and not decided anew as they were at the checkpoint."""
    for run in one.cut:
        key = ScoreKey(f"{run.leaderboard}@{run.since}", run.run)
        score = before.get(key.board, {}).get(key.run)
        if score is not None and key not in one.effects.scores:
            whole = Run(run.run, run.opens_at, run.closes_at, run.final_at)
            one.effects.scores[key] = DecidedScore(whole, score, as_of)


def _may_move(one: News, late: bool) -> bool:
    """Tell whether what is new of a user can put them on other boards."""
    return late or bool(one.told) or any(type(fact) is not Event for fact in one.facts)


def _placement(state: UserState) -> Placement:
    return state.told.now(), state.suspended


def _readings(rules: Rules, state: UserState, now: datetime) -> dict[str, Reading]:
    """Return how a user's streaks read."""
    life = Life(state.told.zones, rules.latest.tz, state.told.pauses)
    return {
        name: read(rule, state.streaks[name], life, now)
        for name, rule in rules.latest.streaks.items()
        if name in state.streaks
    }


def _tell_corrections(rules: Rules, one: _Folded, news: News, now: datetime) -> None:
    """Notice streaks of whose past something changed (S14), not only of their latest period."""
    if not news.facts or one.state.as_of is None:
        return
    for name, after in _readings(rules, one.state, now).items():
        before = one.before.get(name)
        if before is None or not before.differs_in_the_past(after):
            continue
        at = min(fact.at for fact in news.facts)
        body = {"streak": name, "before": before.length, "after": after.length}
        cause = f"{name}:{at.isoformat()}"
        one.effects.put_notice(Notice(NoticeKind.CORRECTION, cause, at, body, one.state.as_of[0]))


def _write(
    connection: Connection,
    folded: Mapping[str, _Folded],
    silenced: Silenced,
    quiet: Mapping[str, datetime],
    now: datetime,
) -> None:
    """Write what was decided, one statement for each kind of row that there is."""
    effects = {user_id: one.effects for user_id, one in folded.items()}
    entries: list[Of] = [(user, row) for user, one in effects.items() for row in one.entries]
    if entries:
        decided_statements.add_entries(connection, entries)
    completed: list[Of] = [(user, row) for user, one in effects.items() for row in one.completed]
    if completed:
        decided_statements.add_achievements(connection, completed)
    dropped = [(user, *key) for user, one in effects.items() for key in one.dropped]
    unsure = decided_statements.drop_notices(connection, dropped) if dropped else {}
    notices = [
        (user, notice, silenced.get((user, *key), _is_silent(one, notice, quiet.get(user))))
        for user, one in folded.items()
        for key, notice in one.effects.notices.items()
    ]
    if notices:
        decided_statements.put_notices(connection, notices)
    chains: list[Of] = [(user, row) for user, one in effects.items() for row in one.chains]
    if chains:
        decided_statements.add_chains(connection, chains)
    made: list[Of] = [(user, row) for user, one in effects.items() for row in one.checkpoints]
    if made:
        decided_statements.put_checkpoints(connection, made)
    if unsure:
        decided_statements.drop_checkpoints(connection, unsure)
    scores = [(user, key, row) for user, one in effects.items() for key, row in one.scores.items()]
    if scores:
        wanted = {
            _run_name(key): ends for _, key, row in scores if (ends := row.run.ends) is not None
        }
        numbers = board_statements.number_runs(connection, wanted, now)
        rows = ((numbers[_run_name(key)], user, row) for user, key, row in scores)
        decided_statements.put_scores(connection, rows)


def _is_silent(one: _Folded, notice: Notice, quiet_until: datetime | None) -> bool:
    return one.silent or (quiet_until is not None and notice.decided_at <= quiet_until)


def _run_name(key: ScoreKey) -> RunName:
    name, _, since = key.board.rpartition("@")
    return (name, int(since), key.run)


def _touched(
    connection: Connection, rules: Rules, folded: Mapping[str, _Folded]
) -> dict[Board, dict[str, Score | None]]:
    """Return the scores that changed on the boards that are in force.

    A user whose attributes changed, or who was suspended or cleared, takes all scores along.
    """
    touched: dict[Board, dict[str, Score | None]] = {}
    moved = {
        user_id
        for user_id, one in folded.items()
        if one.placement is not None and one.placement != _placement(one.state)
    }
    kept = board_statements.read_scores_of(connection, moved) if moved else {}
    for user_id, one in folded.items():
        placement = _placement(one.state)
        found = (
            _all_scores(rules, one, kept.get(user_id, {}))
            if user_id in moved or one.anew
            else _new_scores(rules, one)
        )
        for rule, run, score in found:
            now = rule.segments(*placement)
            for segment in now:
                touched.setdefault(rule.board(run, segment), {})[user_id] = score
            if user_id in moved and one.placement is not None:
                for segment in rule.segments(*one.placement):
                    if segment not in now:
                        touched.setdefault(rule.board(run, segment), {})[user_id] = None
    return touched


Found = tuple[BoardRule, str, Score | None]
"""A leaderboard, a run, and what a user has there."""


def _new_scores(rules: Rules, one: _Folded) -> Iterator[Found]:
    """Yield the scores that what was folded has changed."""
    for board_id in one.effects.touched:
        rule = rules.boards.get(board_id)
        if rule is not None:
            yield rule, ALL, score_of(rule, one.state, ALL)
    for (board_id, run), decided in one.effects.scores.items():
        rule = rules.boards.get(board_id)
        if rule is not None:
            yield rule, run, Score(decided.score.score, decided.score.reached_at)


def _all_scores(rules: Rules, one: _Folded, kept: Mapping[RunName, Score]) -> Iterator[Found]:
    """Yield the scores of a user who was folded anew, or, with all that are kept, who moved."""
    scores: dict[tuple[str, str], Score | None] = {
        (f"{run.leaderboard}@{run.since}", run.run): None for run in one.cut
    }
    scores |= {(f"{name}@{since}", run): score for (name, since, run), score in kept.items()}
    for key, decided in one.effects.scores.items():
        scores[key] = Score(decided.score.score, decided.score.reached_at)
    for (board_id, run), score in scores.items():
        if board_id in rules.boards:
            yield rules.boards[board_id], run, score
    for rule in rules.latest.boards:
        if rule.runs.period is RunPeriod.ALL:
            yield rule, ALL, score_of(rule, one.state, ALL)


def _position(fact: Fact) -> Position:
    return fact.position
