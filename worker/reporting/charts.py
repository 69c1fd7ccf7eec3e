"""Charts of the answers, as data for plotly.js; colours and fonts are the page's (`page.js`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from worker.reporting.answers import Answer, Row, labelled, pooled

SERIES_MAX = 8
"""Series of a chart; as many have a colour of their own. What is over goes into one of the rest."""
REST = "(others)"
"""No metric or trigger has this name: names have no brackets."""
BARS_MAX = 25
BAR_PIXELS = 26
VALUE_CHARTS_MAX = 6
COHORTS_MIN = 4
"""Fewer cohorts together are no curve: its end would be a matter of a handful of users."""
GROUP_USERS_MIN = 30
"""The same for what is left of the control group after many weeks; the table has it all."""
LENGTHS = (1, 2, 3, 7, 14, 30, 100, 365)
"""Where the buckets of lengths begin."""
PERCENT = ".0%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart: a caption, and a figure of plotly: `{"data": [...], "layout": {...}}`."""

    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 300

    @property
    def figure(self) -> dict[str, Any]:
        """What plotly.js draws."""
        return {"data": self.data, "layout": {**self.layout, "height": self.height}}


def draw_charts(answer: Answer) -> list[Chart]:
    """Return the charts of an answer; none where there is nothing to be seen."""
    draw = _CHARTS.get(answer.name)
    return list(draw(answer.rows)) if draw is not None and answer.rows else []


def _active_users(rows: list[Row]) -> Iterator[Chart]:
    yield Chart(
        caption="Users active on the day, in 7 days and in 30 days",
        data=[_line(rows, "date", name, labelled(name)) for name in ("month", "week", "day")],
        layout={"yaxis": {"rangemode": "tozero"}},
    )
    yield Chart(
        caption="Stickiness: day divided by month",
        data=[_line(rows, "date", "stickiness", "stickiness", share=True)],
        layout={"yaxis": {"rangemode": "tozero", "tickformat": PERCENT}},
    )


def _retention(rows: list[Row]) -> Iterator[Chart]:
    later = [row for row in rows if row["weeks_after"] > 0]
    if not later:  # no cohort is a week old
        return
    curve = pooled(later, COHORTS_MIN)
    yield Chart(
        caption="Share that came back so many weeks later, all cohorts of that age together"
        f" (where there are {COHORTS_MIN} or more)",
        data=[{"type": "scatter", "mode": "lines", "x": list(curve), "y": list(curve.values())}],
        layout=_weeks() | {"yaxis": {"rangemode": "tozero", "tickformat": PERCENT}},
    )
    cohorts = list(dict.fromkeys(row["cohort"] for row in later))
    weeks = range(1, max(row["weeks_after"] for row in later) + 1)
    share = {(row["cohort"], row["weeks_after"]): _float(row["share"]) for row in later}
    yield Chart(
        caption="The same by cohort, named by the first day of its week",
        data=[
            {
                "type": "heatmap",
                "x": list(weeks),
                "y": cohorts,
                "z": [[share.get((cohort, week)) for week in weeks] for cohort in cohorts],
                "zmin": 0,
                "hoverongaps": False,
                "hovertemplate": "cohort %{y}<br>%{x} weeks later: %{z:.1%}<extra></extra>",
                "colorbar": {"tickformat": PERCENT, "thickness": 10, "outlinewidth": 0},
            }
        ],
        layout=_weeks()
        | {
            "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
            "hovermode": "closest",
        },
        height=120 + 16 * len(cohorts),
    )


def _streak_lengths(rows: list[Row]) -> Iterator[Chart]:
    streaks = _by(rows, "streak")
    yield Chart(
        caption="Survival: the share of ended chains that reached at least this length",
        data=[
            _line(some, "length", "survival", streak, share=True)
            | {"line": {"shape": "vh"}, "mode": "lines+markers", "marker": {"size": 4}}
            for streak, some in streaks.items()
        ],
        layout={
            "xaxis": {
                "type": "log",
                "tickvals": list(LENGTHS),
                "title": {"text": "length, in active periods"},
            },
            "yaxis": {"rangemode": "tozero", "tickformat": PERCENT},
        },
    )
    yield Chart(
        caption="Ended chains by their length",
        data=[
            {
                "type": "bar",
                "name": streak,
                "x": [label for label, _ in _buckets(some)],
                "y": [count for _, count in _buckets(some)],
            }
            for streak, some in streaks.items()
        ],
        layout={
            "barmode": "group",
            "xaxis": {"type": "category", "title": {"text": "length, in active periods"}},
        },
    )


def _buckets(rows: list[Row]) -> list[tuple[str, int]]:
    """Return how many chains there are in each bucket of lengths.

    >>> _buckets([{"length": 2, "chains": 5}, {"length": 4, "chains": 1}])[:3]
    [('1', 0), ('2', 5), ('3–6', 1)]
    """
    found = []
    for first, after in zip(LENGTHS, [*LENGTHS[1:], None], strict=True):
        count = sum(
            row["chains"]
            for row in rows
            if first <= row["length"] and (after is None or row["length"] < after)
        )
        last = "+" if after is None else f"–{after - 1}"  # noqa: RUF001 - an en dash is meant
        found.append((f"{first}" if after == first + 1 else f"{first}{last}", count))
    return found


def _freezes(rows: list[Row]) -> Iterator[Chart]:
    for streak, some in _by(rows, "streak").items():
        yield Chart(
            caption=f"{streak}: missed periods that a freeze held, and streaks lost",
            data=[
                _bars(some, "date", name, labelled(name))
                for name in ("freezes_used", "streaks_lost")
            ],
            layout={"barmode": "stack"},
        )


def _points(rows: list[Row]) -> Iterator[Chart]:
    for points, some in _by(rows, "points").items():
        yield Chart(
            caption=f"{points}: points by trigger",
            data=_stacked(some, by="trigger", amount="amount"),
            layout={"barmode": "relative"},
        )


def _achievements(rows: list[Row]) -> Iterator[Chart]:
    shown = list(reversed(rows[:BARS_MAX]))
    hidden = len(rows) - len(shown)
    yield Chart(
        caption="Share of users who have completed it"
        + (f"; {hidden} more in the table" if hidden else ""),
        data=[
            {
                "type": "bar",
                "orientation": "h",
                "x": [_float(row["share"]) for row in shown],
                "y": [row["achievement"] for row in shown],
                "text": [f"{row['completed']:,}" for row in shown],
                "textposition": "auto",
                "hovertemplate": "%{y}: %{x:.1%} (%{text} users)<extra></extra>",
            }
        ],
        layout={
            "xaxis": {"rangemode": "tozero", "tickformat": PERCENT},
            "yaxis": {"type": "category", "showgrid": False},
            "hovermode": "closest",
        },
        height=90 + BAR_PIXELS * len(shown),
    )


def _metrics(rows: list[Row]) -> Iterator[Chart]:
    yield Chart(
        caption="Events by metric",
        data=_stacked(rows, by="metric", amount="events"),
        layout={"barmode": "relative"},
    )
    metrics = _by(rows, "metric")
    told = [
        (metric, some)
        for metric, some in _largest(metrics, "events")
        # Where every event counts 1 the chart above says it all.
        if any(Decimal(row["value"]) != row["events"] for row in some)
    ]
    for metric, some in told[:VALUE_CHARTS_MAX]:
        yield Chart(
            caption=f"{metric}: sum of the values",
            data=[_bars(some, "date", "value", metric)],
            layout={},
        )


def _control_days(rows: list[Row]) -> Iterator[Chart]:
    yield Chart(
        caption="Share of each group that was active on the day",
        data=_groups(rows, "date"),
        layout={"yaxis": {"rangemode": "tozero", "tickformat": PERCENT}},
    )


def _control_retention(rows: list[Row]) -> Iterator[Chart]:
    shown = [row for row in rows if row["users"] >= GROUP_USERS_MIN]
    if not shown:
        return
    yield Chart(
        caption="Share of each group that came back so many weeks later"
        f" (where it is of {GROUP_USERS_MIN} users or more)",
        data=_groups(shown, "weeks_after"),
        layout=_weeks() | {"yaxis": {"rangemode": "tozero", "tickformat": PERCENT}},
    )


_CHARTS: Mapping[str, Callable[[list[Row]], Iterator[Chart]]] = {
    "active_users": _active_users,
    "retention": _retention,
    "streak_lengths": _streak_lengths,
    "freezes": _freezes,
    "points": _points,
    "achievements": _achievements,
    "metrics": _metrics,
    "control_days": _control_days,
    "control_retention": _control_retention,
}
"""By the name of the question."""


def _groups(rows: list[Row], x: str) -> list[dict[str, Any]]:
    names = {"emails": "gets emails", "control": "control group"}
    groups = _by(rows, "group")
    return [
        _line(groups[group], x, "share", name, share=True)
        for group, name in names.items()
        if group in groups
    ]


def _weeks() -> dict[str, Any]:
    return {"xaxis": {"type": "linear", "title": {"text": "weeks later"}}}


def _line(rows: list[Row], x: str, y: str, name: str, *, share: bool = False) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [row[x] for row in rows],
        "y": [_float(row[y]) for row in rows],
        "yhoverformat": ".1%" if share else ",",
    }


def _bars(rows: list[Row], x: str, y: str, name: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": name,
        "x": [row[x] for row in rows],
        "y": [_float(row[y]) for row in rows],
        "yhoverformat": ",",
    }


def _stacked(rows: list[Row], *, by: str, amount: str) -> list[dict[str, Any]]:
    """Return a series for each of the largest, and one for all the rest."""
    ordered = _largest(_by(rows, by), amount)
    kept = ordered if len(ordered) <= SERIES_MAX else ordered[: SERIES_MAX - 1]
    series = [_bars(some, "date", amount, name) for name, some in kept]
    rest: dict[str, Decimal] = defaultdict(Decimal)
    for _, some in ordered[len(kept) :]:
        for row in some:
            rest[row["date"]] += Decimal(row[amount])
    if rest:
        summed: list[Row] = [{"date": day, amount: rest[day]} for day in sorted(rest)]
        series.append(_bars(summed, "date", amount, REST))
    return series


def _largest(groups: Mapping[str, list[Row]], amount: str) -> list[tuple[str, list[Row]]]:
    return sorted(
        groups.items(), key=lambda item: (-sum(abs(Decimal(r[amount])) for r in item[1]), item[0])
    )


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def _float(value: Any) -> float | None:
    """Return a number to be drawn; what is exact stands in the table."""
    return None if value is None else float(value)
