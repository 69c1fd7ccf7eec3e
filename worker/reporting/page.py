"""The page: everything in one file, so that it can be sent, kept, and opened without a network.

What an app has named (metrics, triggers, achievements) is data: the template escapes it, and what
stands in a script cannot end it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from worker.reporting.answers import labelled, read_answers
from worker.reporting.charts import draw_charts
from worker.reporting.summary import percent, summarize

SHARES = frozenset({"share", "stickiness", "survival"})
"""Columns that are shown in percent."""


def render_page(report: Mapping[str, Any], app_name: str) -> str:
    """Return the HTML of a report (`jobs.gather_report`)."""
    answers = read_answers(report)
    charts = {name: draw_charts(answer) for name, answer in answers.items()}
    environment = Environment(
        loader=PackageLoader("worker.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"labelled": labelled, "shown": shown, "day": day_text}
    return environment.get_template("page.html.j2").render(
        app_name=app_name,
        until=report["until"],
        answers=answers,
        tiles=summarize(answers) if answers else [],
        charts=charts,
        figures={
            f"{name}-{number}": chart.figure
            for name, some in charts.items()
            for number, chart in enumerate(some)
        },
        plotly=_plotly(),
    )


def shown(value: Any, column: str) -> str:
    """Return a value of a table for people.

    >>> shown("0.1234", "share"), shown(1234, "users"), shown("2.5", "value"), shown(None, "share")
    ('12.3 %', '1,234', '2.5', '')
    """
    if value is None:
        return ""
    if column in SHARES:
        return percent(float(Decimal(value)))
    return f"{value:,}" if isinstance(value, int) else str(value)


def day_text(day: str) -> str:
    """Return a date for people.

    >>> day_text("2026-11-03")
    '3 November 2026'
    """
    found = date.fromisoformat(day)
    return f"{found.day} {found:%B %Y}"


def _plotly() -> Markup:
    # megabytes that no other command needs
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped] # has no types

    return Markup(get_plotlyjs())
