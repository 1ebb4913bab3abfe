"""Text of strangers, made harmless where it is shown.

A name in a file may hold escape sequences that steer a terminal, characters that turn
the reading direction around, and lines that a CI service reads as commands of its own.
`printable` is the one function that takes all of these out; messages leave through it.
"""

from __future__ import annotations

import re

LOST = "\N{REPLACEMENT CHARACTER}"
_COMMAND = re.compile(r"^([^\S\n]*+):(?=:)|#(?=#(?:\w++)?\[)", re.MULTILINE)
"""`::error::` of GitHub, at the start of a line; `##[...]`, `##vso[...]` anywhere."""
_HASHES = re.compile("#(?=#)")


def printable(text: object, lines: bool = False) -> str:
    """Return text without control characters and without commands to a CI service.

    Args:
        text: anything; its `str` is shown.
        lines: whether line breaks are meant; else they too are replaced.
    """
    shown = "".join(
        c if c.isprintable() or (lines and c == "\n") else LOST for c in str(text)
    )
    return without_commands(shown)


def without_commands(text: str) -> str:
    """Return text in which no line is a command to a CI service."""
    return _COMMAND.sub(_apart, text)


def json_without_commands(text: str) -> str:
    """Return a JSON document that is the same data, and no command either."""
    return _HASHES.sub(r"\\u0023", text)  # two can only be within a string


def _apart(found: re.Match[str]) -> str:
    return "# " if found[0] == "#" else f"{found[1]}: "
