"""Parts of a page of text, spelt for an encoding that lacks some symbols."""

from __future__ import annotations

import codecs

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.ground.spelling import spelt


def spelt_part(part: RenderableType, encoding: str) -> RenderableType:
    """Return a part with its symbols spelt, before it is laid out.

    Args:
        part: text, a table, or one of them with padding; anything else stays.
        encoding: of the output.
    """
    if codecs.lookup(encoding).name.startswith("utf"):
        return part
    if isinstance(part, str):
        return spelt(part, encoding)
    if isinstance(part, Text):
        return _text(part, encoding)
    if isinstance(part, Padding):
        sides = (part.top, part.right, part.bottom, part.left)
        return Padding(spelt_part(part.renderable, encoding), sides)
    if isinstance(part, Table):
        for column in part.columns:
            column.header = spelt_part(column.header, encoding)
            column._cells = [spelt_part(cell, encoding) for cell in column._cells]
    return part


def _text(text: Text, encoding: str) -> Text:
    """Return a text piece by piece of one style, so that colours stay in place."""
    found = Text(
        style=text.style,
        justify=text.justify,
        overflow=text.overflow,
        no_wrap=text.no_wrap,
    )
    ends = {0, len(text.plain)}
    ends |= {end for span in text.spans for end in (span.start, span.end)}
    for start, stop in zip(sorted(ends), sorted(ends)[1:], strict=False):
        piece = text[start:stop]
        found.append(Text(spelt(piece.plain, encoding)))
        for span in piece.spans:
            length = len(spelt(piece.plain, encoding))
            found.stylize(span.style, len(found) - length, len(found))
    return found
