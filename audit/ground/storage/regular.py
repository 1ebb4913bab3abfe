"""Regular files, opened without waiting and known again.

A name that a stranger chose may be a pipe, which nobody ever writes to, or a device,
which never ends or acts when it is opened. So the kind of a file is asked for before
it is opened and again of what was opened, and nothing blocks.

A file that is read twice (once for its digest, once for its numbers) must be the same
both times: its device, inode, size and time of modification are compared around every
reading. That finds a file that was replaced or rewritten, not one whose owner also set
the clock back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_LONGEST_LINK, _HOPS = 1024, 8
Mark = tuple[int, int, int, int]


def followed(path: Path) -> Path:
    """Return where a file really lies: at the end of its links.

    Git on a system without links, and archives that know none, leave a link as a small
    file whose only line is the path that it led to. That is followed too, if a file
    lies there.

    Raises:
        OSError: there is no file, or links lead in a circle.
    """
    real = path.resolve(strict=True)
    for _ in range(_HOPS):
        text = _link_text(real)
        target = None if text is None else real.parent / text
        if target is None or not target.is_file():
            return real
        real = target.resolve(strict=True)
    raise OSError(0, "links lead to links and to no file", str(path))


def _link_text(path: Path) -> str | None:
    """Return the relative path that a file consists of; None where it is another."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= _LONGEST_LINK:
        return None
    with open_regular(path) as file:
        raw = file.read(_LONGEST_LINK)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    is_path = text.isprintable() and "/" in text and not text.startswith(("/", "~"))
    return text if is_path else None


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file for reading; links are followed.

    Raises:
        OSError: it is missing, unreadable, or no regular file (its `strerror` says
            what it is).
    """
    _refuse_others(path, os.stat(path))
    flags = os.O_RDONLY
    for name in _FLAGS:
        flags |= getattr(os, name, 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _refuse_others(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def _refuse_others(path: str | os.PathLike[str], found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kind = next((what for is_it, what in _KINDS if is_it(found.st_mode)), "special")
    raise OSError(0, f"it is {kind}, not a file", os.fspath(path))


def mark_of(file: BinaryIO) -> Mark:
    """Return what tells an open file from another, or from itself rewritten."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class StoredFile:
    """A file as it was when it was first looked at.

    Args:
        path: where it is.
        mark: what it must still be whenever it is read.
    """

    path: Path
    mark: Mark

    @classmethod
    def at(cls, path: Path) -> StoredFile:
        """Look at a file.

        Raises:
            OSError: as `open_regular`.
        """
        with open_regular(path) as file:
            return cls(path, mark_of(file))

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.mark[2]

    @contextlib.contextmanager
    def reading(self) -> Iterator[io.BufferedReader]:
        """Open it, and see that it is still the same, before and after.

        Raises:
            OSError: as `open_regular`; or it has changed since it was first looked at.
        """
        with open_regular(self.path) as file:
            self._compare(file)
            yield file
            self._compare(file)

    def _compare(self, file: BinaryIO) -> None:
        if mark_of(file) != self.mark:
            raise OSError(0, "it has changed since it was opened", str(self.path))

    @cached_property
    def sha256(self) -> str:
        """The digest of its bytes.

        Raises:
            OSError: it has changed.
        """
        with self.reading() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
