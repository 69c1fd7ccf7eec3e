"""What an email is made of: blocks, as a template's TOML or JSON writes them.

Every text may have variables, conditions and filters (`expressions`). A block with `if` is there
only where its condition holds. The docstrings are what the documentation says.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, Strict

from models.program.table import Loc, Table

SOURCE_LENGTH_MAX = 5000
BLOCKS_MAX = 60
COLUMNS_MAX = 4
IMAGE_PIXELS_MAX = 552
"""What is left of 600 between the margins."""


class Written(Enum):
    """How a text of a template is read."""

    TEXT = "text"
    """Words, with variables in them."""
    ADDRESS = "address"
    """A URL, with variables in it."""
    EXPRESSION = "expression"
    """What stands between `{{` and `}}`."""


def _check_source(source: str) -> str:
    if not source.strip():
        raise ValueError("must not be empty")
    if len(source) > SOURCE_LENGTH_MAX:
        raise ValueError(f"has {len(source)} characters; at most {SOURCE_LENGTH_MAX} are allowed")
    return source


_Source = Annotated[str, Strict(), AfterValidator(_check_source)]
Text = Annotated[_Source, Written.TEXT]
Address = Annotated[_Source, Written.ADDRESS]
Expression = Annotated[_Source, Written.EXPRESSION]


class BlockTable(Table):
    """What every block has."""

    if_: Expression | None = Field(default=None, alias="if")
    """Shown only where this holds, such as `user.name` or `streak.length > 7`."""


class Heading(BlockTable):
    """A line in large letters."""

    type: Literal["heading"]
    text: Text
    """What it says."""


class Paragraph(BlockTable):
    """Words; an empty line begins a new paragraph."""

    type: Literal["text"]
    text: Text
    """What it says."""


class Button(BlockTable):
    """A link that stands out."""

    type: Literal["button"]
    text: Text
    """What it says."""
    url: Address
    """Where it leads: `{{ app.link_url }}`, or with more behind it."""


class Image(BlockTable):
    """A picture from the web."""

    type: Literal["image"]
    url: Address
    """Where the picture is."""
    alt: Text
    """What stands there where pictures are off, and in plain text."""
    width: Annotated[int, Strict(), Field(ge=1, le=IMAGE_PIXELS_MAX)] = IMAGE_PIXELS_MAX
    """Its width in pixels; narrower where the screen is."""


class Progress(BlockTable):
    """A bar that is filled so far."""

    type: Literal["progress"]
    value: Expression
    """How far, from 0 to 1, such as `level.next.progress`."""
    text: Text
    """What stands below it."""


class Calendar(BlockTable):
    """The last periods of `streak`, with what each came to."""

    type: Literal["calendar"]


class Standings(BlockTable):
    """The lines of `leaderboard`, the reader's own marked."""

    type: Literal["leaderboard"]


class Rows(BlockTable):
    """A line for each item of a list, with something at its left and at its right."""

    type: Literal["rows"]
    each: Expression
    """The list, such as `recap.metrics`; in the texts its items are called `item`."""
    left: Text
    """What stands at the left, such as `{{ item.name }}`."""
    right: Text
    """What stands at the right."""


class Divider(BlockTable):
    """A thin line."""

    type: Literal["divider"]


class RandomOne(BlockTable):
    """One of several blocks, drawn for each email; sent again, an email stays as it was."""

    type: Literal["random"]
    of: Annotated[tuple[PlainBlock, ...], Field(min_length=2, max_length=BLOCKS_MAX)]
    """The blocks of which one is drawn."""


class Column(Table):
    """A column."""

    blocks: Annotated[tuple[ColumnBlock, ...], Field(min_length=1, max_length=BLOCKS_MAX)]
    """From top to bottom."""


class Columns(BlockTable):
    """Blocks beside each other; on a narrow screen, below each other."""

    type: Literal["columns"]
    columns: Annotated[tuple[Column, ...], Field(min_length=2, max_length=COLUMNS_MAX)]
    """Tables with `blocks`, from left to right."""


_Plain: TypeAlias = (
    Heading | Paragraph | Button | Image | Progress | Calendar | Standings | Rows | Divider
)
_Tagged = Field(discriminator="type")
PlainBlock: TypeAlias = Annotated[_Plain, _Tagged]
"""A block with no blocks in it."""
ColumnBlock: TypeAlias = Annotated[_Plain | RandomOne, _Tagged]
"""A block that may stand in a column."""
Block: TypeAlias = Annotated[_Plain | RandomOne | Columns, _Tagged]
"""Any block."""


class TemplateTable(Table):
    """A template."""

    subject: Annotated[
        tuple[Text, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        Field(min_length=1, max_length=BLOCKS_MAX),
    ]
    """The subject line; of a list of them, one is drawn for each email."""
    preheader: Text | None = None
    """What a list of emails shows behind the subject; left out, the first words of the email."""
    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=BLOCKS_MAX)]
    """From top to bottom."""


class WordsTable(Table):
    """The words that the look itself says, in one language."""

    reason: Text
    """Why this email comes; `app` is known here."""
    unsubscribe: Text
    """The link that ends these emails."""
    active: Text
    """A period in which enough was done."""
    frozen: Text
    """A period that was held: by a freeze, a pause or a day off."""
    missed: Text
    """A period in which too little was done."""
    open: Text
    """A period that is not over."""
    you: Text
    """The reader's own line of a leaderboard."""
    someone: Text
    """A line of a leaderboard whose name is not known."""


def written(table: BaseModel) -> Iterator[tuple[Loc, Written, str]]:
    """Yield the texts of a table, without those of tables in it: path, how it is read, source."""
    for name, field in type(table).model_fields.items():
        place, value = field.alias or name, getattr(table, name)
        how = _how(field.annotation, field.metadata)
        if how is None or value is None:
            continue
        if isinstance(value, tuple):
            yield from (((place, position), how, one) for position, one in enumerate(value))
        else:
            yield (place,), how, value


def _how(annotation: Any, metadata: list[Any]) -> Written | None:
    """Find the mark of a text, which may stand inside of `tuple[…]` and `… | None`."""
    marks = [one for one in metadata if isinstance(one, Written)]
    for inner in getattr(annotation, "__args__", ()):
        marks += [one for one in getattr(inner, "__metadata__", ()) if isinstance(one, Written)]
    return marks[0] if marks else None


for _table in (RandomOne, Column, Columns, TemplateTable):
    _table.model_rebuild()
