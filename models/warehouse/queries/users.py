"""Questions about users: who is active, who stays, and what the control group does.

Sets of users are bitmaps of their numbers, one a local day, so that "who was active in these thirty
days" is the union of thirty bitmaps and not a look at events.
"""

from __future__ import annotations

from models.warehouse.queries.question import (
    DAYS_SHOWN,
    MONTH_DAYS,
    WEEK_DAYS,
    WEEKS_SHOWN,
    Question,
    week_of,
)

_WEEKS = f"""
weeks as (
    select {week_of("local_date")} as week, groupBitmapMergeState(users) as users
    from active_users
    where local_date >= {{from_week:Date32}} and local_date < {{after_weeks:Date32}}
    group by week
),
cohorts as (
    select {week_of("first_day")} as week, groupBitmapState(number) as users
    from first_days final
    where first_day >= {{from_week:Date32}} and first_day < {{after_weeks:Date32}}
    group by week
)"""
_GROUPS = """
(select groupBitmapState(number) from users where bucket < {control_buckets:UInt16}) as control,
(select groupBitmapState(number) from users where bucket >= {control_buckets:UInt16}) as emails"""
_EACH_GROUP = "[('control', control), ('emails', emails)]"
_WEEKS_OF_MONTH = [0, 7, 14, 21, MONTH_DAYS - WEEK_DAYS]
"""The last days of five weeks, in days back, that are a month: five unions rather than thirty."""

ACTIVE_USERS = Question(
    name="active_users",
    title="Active users",
    definition="Users with at least one event on the local date (day), in the 7 days up to and with"
    " it (week), and in the 30 days up to and with it (month). Stickiness is day divided by month:"
    f" the share of a month's users who come on a day. The last {DAYS_SHOWN} days; the last one may"
    " not be over.",
    columns=("date", "day", "week", "month"),
    shares={"stickiness": ("day", "month")},
    query=f"""
with days as (
    select local_date, groupBitmapMergeState(users) as users
    from active_users
    where local_date between {{from_month:Date32}} and {{until:Date32}}
    group by local_date
),
weeks as (
    select
        local_date + after as last_date,
        groupBitmapMergeIf(days.users, after = 0) as day,
        groupBitmapMergeState(days.users) as users
    from days array join range({WEEK_DAYS}) as after
    group by last_date
),
months as (
    select
        last_date + after as last_date,
        maxIf(weeks.day, after = 0) as day,
        groupBitmapMergeIf(weeks.users, after = 0) as week,
        groupBitmapMerge(weeks.users) as month
    from weeks array join {_WEEKS_OF_MONTH} as after
    group by last_date
)
select {{from_day:Date32}} + number as date, day, week, month
from numbers({{days:UInt16}}) as shown left join months on last_date = date
order by date
""",
)

RETENTION = Question(
    name="retention",
    title="Retention",
    definition="Of the users whose first event fell into a week (a cohort), the share that had an"
    " event in the week so many weeks later. Weeks of local dates, beginning on the program's first"
    f" day of the week; the last {WEEKS_SHOWN} that are over.",
    columns=("cohort", "weeks_after", "users", "active"),
    shares={"share": ("active", "users")},
    query=f"""
with {_WEEKS},
pairs as (
    select week, users, toInt32(number) as later
    from cohorts cross join numbers({{weeks:UInt16}}) as shown
    where later >= week
)
select
    {{from_week:Date32}} + {WEEK_DAYS} * pairs.week as cohort,
    later - pairs.week as weeks_after,
    bitmapCardinality(pairs.users) as users,
    bitmapAndCardinality(pairs.users, weeks.users) as active
from pairs left join weeks on weeks.week = later
order by cohort, weeks_after
""",
)

CONTROL_DAYS = Question(
    name="control_days",
    title="Control group: active users",
    definition="Of the users who had had their first event by the end of a local date, the share"
    " that had one on it: among those who get emails, and in the control group, which gets none."
    " Who is in which group is drawn by user id. A small control group gives a rough measure. The"
    " last date may not be over.",
    columns=("date", "group", "users", "active"),
    shares={"share": ("active", "users")},
    query=f"""
with {_GROUPS},
days as (
    select local_date, groupBitmapMergeState(users) as users
    from active_users
    where local_date between {{from_day:Date32}} and {{until:Date32}}
    group by local_date
),
joined as (
    select greatest(first_day, {{from_day:Date32}}) as local_date, groupBitmapState(number) as users
    from first_days final
    where first_day <= {{until:Date32}}
    group by local_date
),
counted as (
    select
        {{from_day:Date32}} + number as date,
        of_group.1 as group,
        bitmapAndCardinality(joined.users, of_group.2) as new,
        bitmapAndCardinality(days.users, of_group.2) as active
    from numbers({{days:UInt16}}) as shown
    left join days on days.local_date = date
    left join joined on joined.local_date = date
    array join {_EACH_GROUP} as of_group
),
summed as (
    select date, group, sum(new) over (partition by group order by date) as users, active
    from counted
)
select date, group, users, active
from summed
where users != 0
order by date, group
""",
)

CONTROL_RETENTION = Question(
    name="control_retention",
    title="Control group: retention",
    definition="Of the users of a group, the share that had an event in the week so many weeks"
    " after the one of their first event: all cohorts of the retention above together, as far as"
    " that week is over.",
    columns=("weeks_after", "group", "users", "active"),
    shares={"share": ("active", "users")},
    query=f"""
with {_WEEKS}, {_GROUPS},
members as (
    select
        week,
        bitmapAnd(cohorts.users, control) as control_users,
        bitmapAnd(cohorts.users, emails) as email_users
    from cohorts
),
pairs as (
    select week, control_users, email_users, toInt32(number) as later
    from members cross join numbers({{weeks:UInt16}}) as shown
    where later > week
),
summed as (
    select
        later - pairs.week as weeks_after,
        [
            (
                'control',
                sum(bitmapCardinality(control_users)),
                sum(bitmapAndCardinality(control_users, weeks.users))
            ),
            (
                'emails',
                sum(bitmapCardinality(email_users)),
                sum(bitmapAndCardinality(email_users, weeks.users))
            )
        ] as of_groups
    from pairs left join weeks on weeks.week = later
    group by weeks_after
)
select weeks_after, of_group.1 as group, of_group.2 as users, of_group.3 as active
from summed array join of_groups as of_group
where users != 0
order by weeks_after, group
""",
)
