"""What is printed where: results on stdout, progress on stderr and only for eyes."""

from __future__ import annotations

import os

from audit.formats.layout import WIDE, Style
from audit.formats.progress import shown as progress
from audit.ground import streams
from audit.ground.printable import without_commands
from audit.reports.files import unwritable

__all__ = ["emit", "progress", "style"]
PIPED_WIDTH = 100


def emit(text: str) -> None:
    """Print a result; a reader that has gone does not change the exit code.

    Raises:
        InputError: it cannot be written.
    """
    try:
        line = text if text.endswith("\n") else text + "\n"
        streams.write(without_commands(line))
    except BrokenPipeError:
        streams.forget_results()
    except OSError as error:
        streams.forget_results()
        raise unwritable("standard output", error) from None


def style(verbose: bool = False, width: int | None = None) -> Style:
    """Return the width of the terminal, its encoding, and whether it wants colour.

    Args:
        verbose: whether every quantity is wanted.
        width: the columns that were asked for; None: those of the terminal, at most
            `WIDE`.
    """
    dumb = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    coloured = streams.is_terminal() and not dumb
    columns = width or min(streams.width(PIPED_WIDTH), WIDE)
    return Style(columns, coloured, verbose, streams.encoding())
