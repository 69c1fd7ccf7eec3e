"""The questions of the report, each a named query with its definition (S62).

Sets of users are bitmaps of their numbers, one a day, so that "who was active in these thirty days"
is an OR of thirty bitmaps and not a look at events. Everything else is read from rollups, in which
what was taken back has been subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from models.rules.control import BUCKETS
from models.warehouse.engine import Warehouse

DAYS_SHOWN = 90
WEEKS_SHOWN = 12
STREAK_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query and what its answer means. `until` is the last local date that counts."""

    name: str
    title: str
    definition: str
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What a report is about: up to a day, and who is in the control group, in percent."""

    until: date
    control_percent: Decimal | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of every question."""
        monday = self.until - timedelta(days=self.until.weekday())
        return {
            "until": self.until,
            "from_day": self.until - timedelta(days=DAYS_SHOWN - 1),
            "from_month": self.until - timedelta(days=DAYS_SHOWN + 28),
            "from_week": monday - timedelta(weeks=WEEKS_SHOWN - 1),
            "from_year": self.until - timedelta(days=STREAK_DAYS - 1),
            "days": DAYS_SHOWN,
            "buckets": int((self.control_percent or 0) * BUCKETS / 100),
        }


ACTIVE_USERS = Question(
    name="active_users",
    title="Active users",
    definition="Users with at least one event on the local date (day), in the 7 days up to it"
    " (week) and in the 30 days up to it (month). Stickiness is day divided by month.",
    query="""
with per_day as (
    select local_date, groupBitmapMergeState(users) as users
    from active_users
    where local_date between {from_month:Date32} and {until:Date32}
    group by local_date
),
every_day as (
    select toDate32({until:Date32} - number) as local_date from numbers({days:UInt32} + 29)
),
filled as (
    select every_day.local_date as local_date, per_day.users as users
    from every_day left join per_day on per_day.local_date = every_day.local_date
),
counted as (
    select
        local_date,
        bitmapCardinality(users) as day,
        groupBitmapMerge(users) over (order by local_date rows 6 preceding) as week,
        groupBitmapMerge(users) over (order by local_date rows 29 preceding) as month
    from filled
)
select local_date as date, day, week, month, if(month = 0, 0, round(day / month, 4)) as stickiness
from counted
where local_date >= {from_day:Date32}
order by date
""",
)

RETENTION = Question(
    name="retention",
    title="Retention by cohort",
    definition="Of the users whose first event fell into a week (Monday to Sunday, local dates),"
    " the share that had an event in the week so many weeks later. The last week may not be over.",
    query="""
with cohorts as (
    select toMonday(first_day) as cohort, groupBitmapState(number) as users
    from (select number, min(first_days.first_day) as first_day from first_days group by number)
    where first_day between {from_week:Date32} and {until:Date32}
    group by cohort
),
weeks as (
    select toMonday(local_date) as week, groupBitmapMergeState(users) as users
    from active_users
    where local_date between {from_week:Date32} and {until:Date32}
    group by week
)
select
    cohort,
    toUInt32((week - cohort) / 7) as weeks_after,
    bitmapCardinality(cohorts.users) as users,
    bitmapAndCardinality(cohorts.users, weeks.users) as active,
    round(active / users, 4) as share
from cohorts cross join weeks
where week >= cohort
order by cohort, weeks_after
""",
)

STREAK_LENGTHS = Question(
    name="streak_lengths",
    title="Streak lengths and survival",
    definition="Chains that ended within the last 365 days, by their length in periods of the"
    " streak, and the share of them that reached at least that length. Chains that still run are"
    " not in it.",
    query="""
with lengths as (
    select streak, length, sum(chain_lengths.chains) as chains
    from chain_lengths
    where ended_on between {from_year:Date32} and {until:Date32}
    group by streak, length
    having chains != 0
)
select
    streak,
    length,
    chains,
    sum(chains) over (partition by streak order by length desc) as reached,
    round(reached / sum(chains) over (partition by streak), 4) as share
from lengths
order by streak, length
""",
)

FREEZES = Question(
    name="freezes",
    title="Freezes used and streaks lost",
    definition="Periods that a freeze has held, and streaks that ended, by the day (UTC) on which"
    " it was certain.",
    query="""
select
    day as date,
    streak,
    sumIf(notice_days.notices, kind = 'freeze-used') as freezes_used,
    sumIf(notice_days.notices, kind = 'streak-lost') as streaks_lost
from notice_days
where day between {from_day:Date32} and {until:Date32} and kind in ('freeze-used', 'streak-lost')
group by date, streak
having freezes_used != 0 or streaks_lost != 0
order by date, streak
""",
)

POINTS = Question(
    name="points",
    title="Points issued",
    definition="Points that were awarded, boosts and caps included, by the day (UTC) of what earned"
    " them, points system and trigger; what was taken back is subtracted.",
    query="""
select
    day as date,
    points,
    trigger,
    sum(point_days.entries) as entries,
    sum(point_days.amount) as amount
from point_days
where day between {from_day:Date32} and {until:Date32}
group by date, points, trigger
having entries != 0
order by date, points, trigger
""",
)

ACHIEVEMENTS = Question(
    name="achievements",
    title="Achievements",
    definition="How many users have completed an achievement, ever, and which share that is of all"
    " users who ever had an event.",
    query="""
select
    key as achievement,
    sum(achievement_days.completed) as completed,
    (select uniqExact(number) from first_days) as users,
    if(users = 0, 0, round(completed / users, 4)) as share
from achievement_days
group by achievement
having completed != 0
order by completed desc, achievement
""",
)

METRICS = Question(
    name="metrics",
    title="Events",
    definition="Events of each metric, and the sum of their values, by the local date on which they"
    " occurred.",
    query="""
select
    local_date as date,
    metric,
    sum(metric_days.events) as events,
    sum(metric_days.value) as value
from metric_days
where local_date between {from_day:Date32} and {until:Date32}
group by date, metric
order by date, metric
""",
)

CONTROL_GROUP = Question(
    name="control_group",
    title="Effect of emails",
    definition="Of the users who had had an event by the end of a week (Monday to Sunday, local"
    " dates), the share that had one in it: among those who get emails, and in the control group,"
    " which gets none. The groups are drawn by user id.",
    query="""
with firsts as (
    select number, min(first_days.first_day) as first_day from first_days group by number
),
grouped as (
    select
        if(bucket < {buckets:UInt16}, 'control', 'emails') as of_group,
        number,
        first_day
    from users inner join firsts on firsts.number = users.number
),
weeks as (
    select toMonday(local_date) as week, groupBitmapMergeState(users) as users
    from active_users
    where local_date between {from_week:Date32} and {until:Date32}
    group by week
),
joined as (
    select
        of_group,
        greatest(toMonday(first_day), toMonday({from_week:Date32})) as week,
        groupBitmapState(number) as users
    from grouped
    where first_day <= {until:Date32}
    group by of_group, week
)
select
    weeks.week as week,
    joined.of_group as group,
    groupBitmapMerge(joined.users) as users,
    bitmapAndCardinality(groupBitmapMergeState(joined.users), any(weeks.users)) as active,
    round(active / users, 4) as share
from weeks cross join joined
where joined.week <= weeks.week
group by week, group
order by week, group
""",
)

QUESTIONS = (
    ACTIVE_USERS,
    RETENTION,
    STREAK_LENGTHS,
    FREEZES,
    POINTS,
    ACHIEVEMENTS,
    METRICS,
    CONTROL_GROUP,
)
_LAST_DAY = "select max(local_date) as last_day, count() as days from active_users"


def questions(period: Period) -> list[Question]:
    """Return what there is to be asked: of the control group only where there is one."""
    return [
        question
        for question in QUESTIONS
        if question is not CONTROL_GROUP or period.control_percent is not None
    ]


def ask(warehouse: Warehouse, question: Question, period: Period) -> list[dict[str, Any]]:
    """Return the rows of an answer. Raises WarehouseUnavailable."""
    return warehouse.ask(question.query, **period.parameters)


def read_last_day(warehouse: Warehouse) -> date | None:
    """Return the last local date with events; None where nothing was loaded."""
    [found] = warehouse.ask(_LAST_DAY)
    return found["last_day"] if found["days"] else None
