"""Blocks as MJML, and the HTML template that mrml makes of it.

MJML is made once for a template; what is written in Jinja passes through it as marks, which are
then replaced by the source they stand for. So an email costs no more than filling in a template.
Conditions stand in `mj-raw`, between blocks; loops in `mj-table`, which MJML leaves as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import mrml
from babel import Locale

from models.emails import blocks
from models.emails.blocks import TemplateTable, WordsTable
from models.emails.look import FONTS, Colors, Look
from models.emails.sandbox import LINE_PERIODS, Sandbox, escape_source
from models.emails.sources import (
    SIGNS,
    STATES,
    Draws,
    draw_conditions,
    each_item,
    filled,
    one_of,
)
from models.emails.variables import AppVariables

WIDTH_PIXELS = 600
LOGO_PIXELS = 120
PADDING = "24px"

_MARK = re.compile("@@([0-9]+)@@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the blocks of an email are put into."""

    app: AppVariables
    look: Look
    words: WordsTable
    locale: Locale


def write_mjml(template: TemplateTable, page: Page, sandbox: Sandbox) -> tuple[str, list[str]]:
    """Return an email as MJML with marks, and the sources that the marks stand for."""
    writer = _Writer(page, sandbox)
    return writer.document(template), writer.sources


def write_html(template: TemplateTable, page: Page, sandbox: Sandbox) -> str:
    """Return the source of an email's HTML template."""
    mjml, sources = write_mjml(template, page, sandbox)
    # Without its list of fonts mrml would fetch Roboto from Google wherever the name stands.
    html = mrml.to_html(mjml, render_options=mrml.RenderOptions(fonts={})).content
    return _MARK.sub(lambda found: sources[int(found[1])], html)


@dataclass(slots=True)
class _Writer:
    page: Page
    sandbox: Sandbox
    sources: list[str] = field(default_factory=list)
    draws: Draws = field(default_factory=Draws)

    def document(self, template: TemplateTable) -> str:
        # The draws are numbered in this order: in plain text it is the same.
        subject = self._mark(one_of([self._escaped(one) for one in template.subject], self.draws))
        preheader = (
            f"<mj-preview>{self._text(template.preheader)}</mj-preview>"
            if template.preheader
            else ""
        )
        colors, direction = self.page.look.light, self.page.locale.text_direction
        return (
            f'<mjml lang="{str(self.page.locale).replace("_", "-")}" dir="{direction}"><mj-head>'
            f"<mj-title>{subject}</mj-title>{preheader}{_ATTRIBUTES}"
            '<mj-raw><meta name="color-scheme" content="light dark" />'
            '<meta name="supported-color-schemes" content="light dark" /></mj-raw>'
            f"<mj-style>{_style(self.page.look)}</mj-style></mj-head>"
            f'<mj-body css-class="ground" width="{WIDTH_PIXELS}px"'
            f' background-color="{colors.ground}">'
            f"{self._header()}{_edge('28px 0 0', '12px 12px 0 0', colors)}"
            f"{''.join(self._sections(template.blocks))}"
            f"{_edge('8px 0 0', '0 0 12px 12px', colors)}{self._footer()}"
            "</mj-body></mjml>"
        )

    def _header(self) -> str:
        app, ink = self.page.app, self.page.look.light.ink
        name = self._text("{{ app.name }}")
        link = self._mark(self._address("{{ app.link_url }}")) if app.link_url else None
        if app.logo_url:
            href = f' href="{link}"' if link else ""
            logo = self._mark(self._address("{{ app.logo_url }}"))
            inner = (
                f'<mj-image css-class="name" src="{logo}"'
                f' alt="{name}" width="{LOGO_PIXELS}px" padding="0" font-size="20px"{href} />'
            )
        else:
            style = f'class="name" style="color:{ink};text-decoration:none"'
            inner = (
                '<mj-text css-class="ink" align="center" font-size="20px" font-weight="700"'
                ' line-height="1.3" padding="0">'
                + (f'<a href="{link}" {style}>{name}</a>' if link else name)
                + "</mj-text>"
            )
        return _section(inner, padding=f"28px {PADDING} 20px")

    def _footer(self) -> str:
        words, faint = self.page.words, self.page.look.light.faint
        link = self._mark(self._address("{{ unsubscribe_url }}"))
        return _section(
            f'<mj-text css-class="faint" align="center" font-size="13px" color="{faint}"'
            f' line-height="1.6" padding="0">{self._text(words.reason)}<br />'
            f'<a href="{link}" style="color:{faint};text-decoration:underline">'
            f"{self._text(words.unsubscribe)}</a></mj-text>",
            padding=f"20px {PADDING} 36px",
        )

    def _sections(self, found: Iterable[blocks.Block]) -> Iterable[str]:
        """Yield sections: one for blocks that follow each other, one for each set of columns."""
        for columns, some in groupby(found, key=lambda one: isinstance(one, blocks.Columns)):
            if not columns:
                yield self._card(self._column(some))
                continue
            for block in some:
                assert isinstance(block, blocks.Columns)
                inner = "".join(self._column(one.blocks) for one in block.columns)
                yield self._when(block.if_, self._card(inner))

    def _card(self, columns: str) -> str:
        colors, direction = self.page.look.light, self.page.locale.text_direction
        return (
            f'<mj-section css-class="card" background-color="{colors.card}" padding="0"'
            f' direction="{direction}">{columns}</mj-section>'
        )

    def _column(self, found: Iterable[blocks.Block]) -> str:
        return f"<mj-column>{''.join(map(self._block, found))}</mj-column>"

    def _block(self, block: blocks.Block) -> str:
        if isinstance(block, blocks.RandomOne):
            conditions = draw_conditions(block, self.draws)
            inner = "".join(
                self._when(condition, self._block(one))
                for condition, one in zip(conditions, block.of, strict=True)
            )
        else:
            inner = _WRITERS[type(block)](self, block)
        return self._when(block.if_, inner)

    def _heading(self, block: blocks.Heading) -> str:
        return (
            f'<mj-text css-class="ink" align="{self._start}" font-size="24px" font-weight="700"'
            f' line-height="1.3" padding="0 {PADDING} 12px">{self._text(block.text)}</mj-text>'
        )

    def _paragraph(self, block: blocks.Paragraph) -> str:
        return (
            f'<mj-text css-class="ink" align="{self._start}" padding="0 {PADDING} 16px">'
            f"{self._text(block.text.strip())}</mj-text>"
        )

    def _button(self, block: blocks.Button) -> str:
        look = self.page.look
        return (
            f'<mj-button href="{self._mark(self._address(block.url))}" align="{self._start}"'
            f' background-color="{look.button}" color="{look.on_button}" border-radius="8px"'
            f' border="1px solid {look.light.accent}" font-size="16px" font-weight="600"'
            f' inner-padding="13px 26px" padding="4px {PADDING} 20px">{self._text(block.text)}'
            "</mj-button>"
        )

    def _image(self, block: blocks.Image) -> str:
        return (
            f'<mj-image css-class="ink" src="{self._mark(self._address(block.url))}"'
            f' alt="{self._text(block.alt)}" width="{block.width}px" align="{self._start}"'
            f' padding="0 {PADDING} 16px" />'
        )

    def _progress(self, block: blocks.Progress) -> str:
        colors, value = self.page.look.light, filled(block)
        cell = "height:12px;line-height:12px;font-size:1px;padding:0"
        bar = self._mark(
            f"<tr>{{% if {value} > 0 %}}"
            f'<td style="{cell};width:{{{{ {value} }}}}%;background:{self.page.look.button}">&nbsp;'
            f"</td>{{% endif %}}{{% if {value} < 100 %}}"
            f'<td class="empty" style="{cell};background:{colors.empty}">&nbsp;</td>'
            "{% endif %}</tr>"
        )
        return (
            f'<mj-table padding="4px {PADDING} 6px" role="presentation">{bar}</mj-table>'
            f'<mj-text css-class="faint" align="{self._start}" font-size="14px"'
            f' color="{colors.faint}" padding="0 {PADDING} 18px">{self._text(block.text)}</mj-text>'
        )

    def _calendar(self, _block: blocks.Calendar) -> str:
        colors = self.page.look.light
        cells = "".join(
            f'{{% {"el" if number else ""}if period.state == "{state}" %}}{self._sign(state)}'
            for number, state in enumerate(STATES)
        )
        table = self._mark(
            "{% for line in streak.calendar|lines %}<tr>{% for period in line %}"
            '<td align="center" class="faint-cell" style="padding:2px 0 8px;font-size:11px;'
            "vertical-align:bottom;line-height:1.3;"
            f'color:{colors.faint};width:{100 / LINE_PERIODS:.1f}%">'
            "{% if period %}{{ period.date|period(streak.unit) }}"
            f"{cells}{{% endif %}}{{% endif %}}</td>{{% endfor %}}</tr>{{% endfor %}}"
        )
        legend = self._mark(
            "".join(
                f"{{% if streak.calendar|has('{state}') %}}{SIGNS[state]}&nbsp;"
                f"{self._escaped(getattr(self.page.words, state))} &nbsp; {{% endif %}}"
                for state in STATES
            )
        )
        return (
            f'<mj-table padding="4px {PADDING} 0">{table}</mj-table>'
            f'<mj-text css-class="faint" align="{self._start}" font-size="13px"'
            f' color="{colors.faint}" padding="0 {PADDING} 18px">{legend}</mj-text>'
        )

    def _sign(self, state: str) -> str:
        look, colors = self.page.look, self.page.look.light
        style = {
            "active": f"background:{look.button};color:{look.on_button}",
            "frozen": f"background:{colors.cold};color:{colors.ink}",
            "missed": f"background:{colors.empty};color:{colors.faint}",
            "open": f"background:{colors.card};color:{colors.ink}",
        }[state]
        return (
            f'<div class="{state}" style="width:32px;height:32px;line-height:32px;font-size:16px;'
            f"margin:4px auto 0;border-radius:16px;text-align:center;font-weight:700;{style}"
            f'">{SIGNS[state]}</div>'
        )

    def _standings(self, _block: blocks.Standings) -> str:
        colors, words = self.page.look.light, self.page.words
        cell = f"padding:9px 8px;border-bottom:1px solid {colors.line};color:{colors.ink}"
        cells = (
            f'<td align="{self._start}" style="{cell};width:36px">{{{{ line.rank }}}}</td>'
            f'<td align="{self._start}" style="{cell};word-break:break-word">'
            f"{{% if line.name %}}{{{{ line.name }}}}{{% else %}}{self._escaped(words.someone)}"
            f"{{% endif %}}{{% if line.is_user %}} ({self._escaped(words.you)}){{% endif %}}</td>"
            f'<td align="{self._end}" style="{cell};white-space:nowrap">{{{{ line.score }}}}</td>'
        )
        table = self._mark(
            "{% for line in leaderboard.standings %}{% if line.is_user %}"
            f'<tr class="own" style="background:{colors.own};font-weight:700">{{% else %}}<tr>'
            f"{{% endif %}}{cells}</tr>{{% endfor %}}"
        )
        return (
            f'<mj-table css-class="lines" padding="0 {PADDING} 20px" line-height="1.4">{table}'
            "</mj-table>"
        )

    def _rows(self, block: blocks.Rows) -> str:
        colors = self.page.look.light
        cell = f"padding:9px 0;border-bottom:1px solid {colors.line};color:{colors.ink}"
        line = (
            f'<tr><td align="{self._start}" style="{cell};word-break:break-word">'
            f'{self._escaped(block.left)}</td><td align="{self._end}" style="{cell};'
            f'padding-left:12px;font-weight:700">{self._escaped(block.right)}</td></tr>'
        )
        return (
            f'<mj-table css-class="lines" padding="0 {PADDING} 20px" line-height="1.4">'
            f"{self._mark(each_item(block, line))}</mj-table>"
        )

    def _divider(self, _block: blocks.Divider) -> str:
        return (
            f'<mj-divider css-class="line" border-width="1px" padding="4px {PADDING} 20px"'
            f' border-color="{self.page.look.light.line}" />'
        )

    @property
    def _start(self) -> str:
        return "left" if self.page.locale.text_direction == "ltr" else "right"

    @property
    def _end(self) -> str:
        return "right" if self._start == "left" else "left"

    def _when(self, condition: str | None, inner: str) -> str:
        if condition is None:
            return inner
        opened, closed = self._mark(f"{{% if ({condition}) %}}"), self._mark("{% endif %}")
        return f"<mj-raw>{opened}</mj-raw>{inner}<mj-raw>{closed}</mj-raw>"

    def _text(self, source: str) -> str:
        return self._mark(self._escaped(source))

    def _escaped(self, source: str) -> str:
        return escape_source(self.sandbox, source)

    def _address(self, source: str) -> str:
        return f"{{% filter address %}}{self._escaped(source)}{{% endfilter %}}"

    def _mark(self, source: str) -> str:
        self.sources.append(source)
        return f"@@{len(self.sources) - 1}@@"


_WRITERS: dict[type[Any], Callable[[_Writer, Any], str]] = {
    blocks.Heading: _Writer._heading,
    blocks.Paragraph: _Writer._paragraph,
    blocks.Button: _Writer._button,
    blocks.Image: _Writer._image,
    blocks.Progress: _Writer._progress,
    blocks.Calendar: _Writer._calendar,
    blocks.Standings: _Writer._standings,
    blocks.Rows: _Writer._rows,
    blocks.Divider: _Writer._divider,
}

_ATTRIBUTES = (
    f'<mj-attributes><mj-all font-family="{FONTS}" />'
    '<mj-text font-size="16px" line-height="1.5" color="#1b2430" />'
    '<mj-table font-size="16px" line-height="1.5" color="#1b2430" /></mj-attributes>'
)


def _section(inner: str, *, padding: str) -> str:
    return f'<mj-section padding="{padding}"><mj-column>{inner}</mj-column></mj-section>'


def _edge(padding: str, radius: str, colors: Colors) -> str:
    return (
        f'<mj-section css-class="card" background-color="{colors.card}" padding="{padding}"'
        f' border-radius="{radius}"><mj-column><mj-spacer height="1px" /></mj-column></mj-section>'
    )


def _style(look: Look) -> str:
    dark = look.dark
    rules = (
        ("body, .ground", f"background-color: {dark.ground} !important"),
        (".card, .card > table", f"background: {dark.card} !important"),
        (".ink > div, .ink a, a.name, .name img, .lines td", f"color: {dark.ink} !important"),
        (".faint > div, .faint a, .faint-cell", f"color: {dark.faint} !important"),
        (".line > p", f"border-color: {dark.line} !important"),
        (".lines td", f"border-color: {dark.line} !important"),
        (".empty", f"background: {dark.empty} !important"),
        (".own", f"background: {dark.own} !important"),
        (".frozen", f"background: {dark.cold} !important; color: {dark.ink} !important"),
        (".missed", f"background: {dark.empty} !important; color: {dark.faint} !important"),
        (".open", f"background: {dark.card} !important; color: {dark.ink} !important"),
    )
    inner = " ".join(f"{selector} {{ {rule} }}" for selector, rule in rules)
    return (
        f":root {{ color-scheme: light dark; }} @media (prefers-color-scheme: dark) {{ {inner} }}"
    )
