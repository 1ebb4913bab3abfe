"""What is printed where: results on stdout, progress on stderr and only for eyes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from audit.formats.table import Style
from audit.ground import streams
from audit.ground.printable import without_commands
from audit.reports.files import unwritable
from audit.reports.text import number

Tick = Callable[[int, int], None]
"""(inputs done, inputs in all)."""
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


def style(verbose: bool = False) -> Style:
    """Return the width of the terminal and whether it wants colour (NO_COLOR)."""
    dumb = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Style(
        streams.width(PIPED_WIDTH), streams.is_terminal() and not dumb, verbose
    )


@contextmanager
def progress(wanted: bool = True) -> Iterator[Tick]:
    """Show a bar with rate and time left on stderr, if it is a terminal."""
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    words = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    columns = (*words, TextColumn("{task.fields[rate]}"), Remaining())
    console, began = Console(stderr=True), time.monotonic()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("opening the model", total=None, rate="")

        def tick(done: int, total: int) -> None:
            nonlocal began
            began = began if done else time.monotonic()
            speed = done / max(time.monotonic() - began, 1e-3)
            stage = "auditing" if done < total else "checking predictions"
            rate = f"{number(speed)} inputs/s" if done else ""
            bar.update(task, completed=done, total=total, description=stage, rate=rate)

        yield tick
