"""Questions that count and sum: everything at once, events, points and achievements."""

from __future__ import annotations

from models.warehouse.queries.question import DAYS_SHOWN, Question, ever

_USERS = f"""(
    select groupBitmapMerge(some.users) from {ever("until_month", "after_until")} as some
)"""
"""How many users have had an event up to the day of the report."""

TOTALS = Question(
    name="totals",
    title="All in all",
    definition="Everything up to the day of the report: users who had an event, their events, the"
    " local dates of the first and the last one; chains that have ended and the longest of them, in"
    " active periods; freezes used and streaks lost; achievements completed.",
    columns=(
        "users",
        "events",
        "first_day",
        "last_day",
        "chains_ended",
        "longest_chain",
        "freezes_used",
        "streaks_lost",
        "achievements",
    ),
    query=f"""
with
lengths as (
    select length, sum(chain_lengths.chains) as chains
    from chain_lengths
    where ended_on <= {{until:Date32}}
    group by length
    having chains != 0
),
told as (
    select kind, sum(notice_days.notices) as notices
    from notice_days
    where day <= {{until:Date32}} and kind in ('freeze-used', 'streak-lost')
    group by kind
)
select
    {_USERS} as users,
    sum(metric_days.events) as events,
    min(local_date) as first_day,
    max(local_date) as last_day,
    (select sum(chains) from lengths) as chains_ended,
    (select max(length) from lengths) as longest_chain,
    (select sumIf(notices, kind = 'freeze-used') from told) as freezes_used,
    (select sumIf(notices, kind = 'streak-lost') from told) as streaks_lost,
    (select sum(completed) from achievement_days where day <= {{until:Date32}}) as achievements
from metric_days
where local_date <= {{until:Date32}}
having events != 0
""",
)

METRICS = Question(
    name="metrics",
    title="Events",
    definition="Events of each metric, and the sum of their values, by the local date on which they"
    f" occurred. The last {DAYS_SHOWN} days; the last one may not be over.",
    columns=("date", "metric", "events", "value"),
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

POINTS = Question(
    name="points",
    title="Points issued",
    definition="Points awarded, after boosts and caps, by the date (UTC) of what earned them,"
    " points system and trigger; entries are lines of the ledger. Entries that take points back are"
    f" subtracted, and adjustments by operators count. The last {DAYS_SHOWN} days.",
    columns=("date", "points", "trigger", "entries", "amount"),
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
    definition="Users who have completed an achievement up to the day of the report (UTC), and what"
    " share they are of all users who had had an event by then (local date).",
    columns=("achievement", "completed", "users"),
    shares={"share": ("completed", "users")},
    query=f"""
select
    key as achievement,
    sum(achievement_days.completed) as completed,
    {_USERS} as users
from achievement_days
where day <= {{until:Date32}}
group by achievement
having completed != 0
order by completed desc, achievement
""",
)
