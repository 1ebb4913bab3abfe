"""Text of the glossary as HTML: paragraphs, code, and names that lead to their entry.

The texts are plain: a blank line parts paragraphs, four spaces or a fence of three
backticks make code, single backticks code within a line, two stars bold text. All of
it is escaped: plug-ins are a stranger's, and so are their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from markupsafe import Markup, escape

from audit.ground.printable import printable

Links = Mapping[str, str]
"""A name -> where it is explained, relative to any page of the site."""

INDENT = "    "
COMMAND = "robaudit explain "
_FENCE = re.compile(r"^```\w*+\n?", re.MULTILINE)
_TOKEN = re.compile(r"`[^`\n]++`|(?<!\S)\*\*\w[\w .]*+\*\*|[\w-]++")


def shown(text: str, links: Links, here: str = "", wraps: bool = False) -> Markup:
    """Return text as paragraphs and code.

    Args:
        text: of an entry.
        links: the names that lead somewhere.
        here: where this stands, so that nothing leads to itself.
        wraps: whether lines that follow each other are one paragraph.
    """
    parts = []
    for is_code, block in blocks(text, wraps):
        if is_code:
            parts.append(code(block))
        else:
            parts.append(Markup("<p>{}</p>").format(inline(block, links, here)))
    return Markup("\n").join(parts)


def code(text: str) -> Markup:
    """Return text as it is, line by line."""
    return Markup("<pre>{}</pre>").format(printable(text, lines=True))


def blocks(text: str, wraps: bool) -> Iterator[tuple[bool, str]]:
    """Yield (whether it is code, its text) for each paragraph and piece of code."""
    if not wraps:
        yield from ((False, line) for line in text.split("\n") if line.strip())
        return
    for index, part in enumerate(_FENCE.split(text)):
        if index % 2:
            yield True, part.rstrip("\n")
        else:
            yield from _paragraphs(part)


def _paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    """Yield paragraphs, one line each, and what is indented as it is."""
    for part in text.split("\n\n"):
        lines = [line for line in part.split("\n") if line.strip()]
        if lines and all(line.startswith(INDENT) for line in lines):
            yield True, "\n".join(line.removeprefix(INDENT) for line in lines)
        elif lines:
            yield False, " ".join(line.strip() for line in lines)


def inline(text: str, links: Links, here: str = "") -> Markup:
    """Return one line, with code in backticks and names as links."""
    text = printable(text)  # before it is cut: a command to a CI service is a line's
    parts, end = [], 0
    for found in _TOKEN.finditer(text):
        parts += [escape(text[end : found.start()]), _token(found[0], links, here)]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _token(token: str, links: Links, here: str) -> Markup:
    """Return a word, bold text or a piece of code; names lead to their entries.

    A name of one part may be a word like any other ("normal", "mean"), so it leads
    there in backticks alone.
    """
    if token.startswith("*"):
        return Markup("<strong>{}</strong>").format(token.strip("*"))
    is_code = token.startswith("`")
    name = token.strip("`").removeprefix(COMMAND)
    body = escape(token.strip("`"))
    marked = Markup("<code>{}</code>").format(body) if is_code else body
    place = links.get(name, here)
    if place == here or not (is_code or "_" in name or "-" in name):
        return marked
    return Markup('<a href="{}">{}</a>').format(place, marked)
