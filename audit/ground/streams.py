"""The standard streams: all three are there, and one of them is for results alone.

A file that is opened where a standard stream is missing takes its number, and gets what
is meant for the stream. So what is missing is opened first of all, on the null device.

What a model prints, and native libraries below it, goes to descriptor 1 past every
wall. So results are written to a duplicate of stdout, and descriptor 1 is led to stderr
before the first model is opened; processes that are started later inherit that.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import sys

from audit.ground.printable import printable
from audit.ground.spelling import ERRORS

_NAMES = ("stdin", "stdout", "stderr")
_results: int | None = None  # a duplicate of stdout as it was given to this process


def open_missing() -> None:
    """Open the null device for every standard stream that was closed at the start."""
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            _open_null(number)
            if getattr(sys, name) is None:
                mode = "w" if number else "r"
                stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)


def claim() -> None:
    """Keep stdout for results: this process is a command, and no library's guest."""
    global _results
    if _results is None:
        _results = os.dup(1)


def divert() -> None:
    """Send what models and libraries print to stderr; results keep their stream.

    Nothing happens in a process that never claimed its stdout.
    """
    if _results is None:
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os.dup2(2, 1)
    quote_prints()


def quote_prints() -> None:
    """Let what Python and TorchScript print come on stderr, made printable."""
    if not isinstance(sys.stdout, _Printed):
        sys.stdout = _Printed(sys.stdout.encoding)


class _Printed(io.TextIOBase):
    """Takes what is printed, and passes it on line by line as a message.

    TorchScript prints through Python's stdout too, and what a model says must command
    neither the terminal nor a CI service.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding, self._held = encoding, ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stdout in whose place it is."""
        return self._encoding

    def writable(self) -> bool:
        """Return true."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of stdout, which leads to stderr."""
        return 1

    def write(self, text: str) -> int:
        """Take a piece of text, and pass on the lines that are whole."""
        *lines, self._held = (self._held + text).split("\n")
        for line in lines:
            sys.stderr.write(printable(line) + "\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what is left."""
        held, self._held = self._held, ""
        sys.stderr.write(printable(held))
        sys.stderr.flush()


def write(text: str) -> None:
    """Write a result, all of it; wait where the reader is slow.

    Bytes are written in a loop: with PYTHONUNBUFFERED a single write to a full disk
    would drop the rest of the text and report success.

    Raises:
        OSError: it cannot be written.
    """
    rest = memoryview(text.encode(encoding(), errors=ERRORS))
    sys.stdout.flush()
    if _results is None:
        while rest:
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()
        return
    while rest:
        try:
            rest = rest[os.write(_results, rest) :]
        except BlockingIOError:
            select.select([], [_results], [])


def encoding() -> str:
    """Return the encoding of what results are written to."""
    return sys.stdout.encoding or "utf-8"


def is_terminal() -> bool:
    """Tell whether results are read by eyes."""
    return sys.stdout.isatty() if _results is None else os.isatty(_results)


def width(otherwise: int) -> int:
    """Return the columns of the terminal that results go to (COLUMNS)."""
    with contextlib.suppress(OSError):
        if _results is not None and not os.environ.get("COLUMNS"):
            return os.get_terminal_size(_results).columns or otherwise
    return shutil.get_terminal_size((otherwise, 24)).columns


def forget_results() -> None:
    """Send what is still to be printed nowhere: its reader has gone."""
    with contextlib.suppress(OSError, ValueError):
        _open_null(sys.stdout.fileno())
        if _results is not None:
            _open_null(_results)


def flushed() -> OSError | None:
    """Empty the streams now, and return what hindered stdout.

    What is left in them at the end would turn the exit code into 120.
    """
    found = None
    for number, name in enumerate(_NAMES[1:], start=1):
        if getattr(sys, name) is None:
            continue
        try:
            getattr(sys, name).flush()
        except (OSError, ValueError) as error:
            found = error if number == 1 and isinstance(error, OSError) else found
            with contextlib.suppress(OSError, ValueError):
                _open_null(getattr(sys, name).fileno())
    return found


def diverted() -> bool:
    """Tell whether what is printed is no longer a result."""
    return isinstance(sys.stdout, _Printed)


def _open_null(number: int) -> None:
    """Open the null device under a descriptor's number."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, number < len(_NAMES))
