"""Blocks as the template of a plain text: all that the HTML says, with addresses written out.

The draws are numbered as in `mjml`, so that both say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from models.emails import blocks
from models.emails.blocks import TemplateTable
from models.emails.mjml import Page
from models.emails.sources import (
    SIGNS,
    STATES,
    Draws,
    draw_conditions,
    each_item,
    filled,
    one_of,
    when,
)

RULE = "-" * 40

_SPACES = re.compile(r"[ \t]+\n")
_GAPS = re.compile(r"\n{3,}")


def write_subject(template: TemplateTable) -> str:
    """Return the source of the subject line."""
    return one_of(template.subject, Draws())


def write_text(template: TemplateTable, page: Page) -> str:
    """Return the source of an email's plain text."""
    draws = Draws()
    one_of(template.subject, draws)
    parts = [
        "{{ app.name }}",
        *(_block(block, page, draws) for block in template.blocks),
        RULE,
        f"{page.words.reason}\n{page.words.unsubscribe}: {_address('{{ unsubscribe_url }}')}",
    ]
    return "\n\n".join(parts) + "\n"


def tidy(text: str) -> str:
    """Return a plain text without the gaps that conditions leave."""
    return _GAPS.sub("\n\n", _SPACES.sub("\n", text)).strip() + "\n"


def _block(block: blocks.Block, page: Page, draws: Draws) -> str:
    if isinstance(block, blocks.RandomOne):
        conditions = draw_conditions(block, draws)
        inner = "".join(
            when(condition, _block(one, page, draws))
            for condition, one in zip(conditions, block.of, strict=True)
        )
    elif isinstance(block, blocks.Columns):
        inner = "\n\n".join(
            _block(one, page, draws) for column in block.columns for one in column.blocks
        )
    else:
        inner = _WRITERS[type(block)](block, page)
    return when(block.if_, inner)


def _calendar(_block: blocks.Calendar, page: Page) -> str:
    signs = "".join(
        f'{{% {"el" if number else ""}if period.state == "{state}" %}}{SIGNS[state]}'
        for number, state in enumerate(STATES)
    )
    lines = (
        "{% for line in streak.calendar|lines %}{% for period in line %}{% if period %}"
        f"{{{{ period.date|period(streak.unit) }}}} {signs}{{% endif %}}   {{% endif %}}"
        "{% endfor %}\n{% endfor %}"
    )
    legend = "".join(
        f"{{% if streak.calendar|has('{state}') %}}{SIGNS[state]} "
        f"{getattr(page.words, state)}   {{% endif %}}"
        for state in STATES
    )
    return lines + legend


def _standings(_block: blocks.Standings, page: Page) -> str:
    name = f"{{% if line.name %}}{{{{ line.name }}}}{{% else %}}{page.words.someone}{{% endif %}}"
    own = f"{{% if line.is_user %}} ({page.words.you}){{% endif %}}"
    line = f"{{{{ line.rank }}}}. {name}{own}: {{{{ line.score }}}}\n"
    return f"{{% for line in leaderboard.standings %}}{line}{{% endfor %}}"


def _progress(block: blocks.Progress, _page: Page) -> str:
    value = filled(block)
    return f"[{{{{ {value}|bar_text }}}}] {{{{ ({value} / 100)|percent }}}}\n{block.text}"


def _rows(block: blocks.Rows, _page: Page) -> str:
    return each_item(block, f"- {block.left}: {block.right}\n")


def _address(source: str) -> str:
    return f"{{% filter address %}}{source}{{% endfilter %}}"


_WRITERS: dict[type[Any], Callable[[Any, Page], str]] = {
    blocks.Heading: lambda block, _: block.text,
    blocks.Paragraph: lambda block, _: block.text.strip(),
    blocks.Button: lambda block, _: f"{block.text}: {_address(block.url)}",
    blocks.Image: lambda block, _: f"[{block.alt}]",
    blocks.Progress: _progress,
    blocks.Calendar: _calendar,
    blocks.Standings: _standings,
    blocks.Rows: _rows,
    blocks.Divider: lambda _block, _page: RULE,
}
