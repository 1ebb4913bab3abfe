"""Writing files so that a reader never sees half of one.

The content goes to a temporary name in the same folder, is flushed to the disk, and
takes the final name in one step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from audit.ground.errors import ConfigError, InputError
from audit.ground.storage.temporary import sweep_for, temporary_file

ROWS = (".npz", ".parquet", ".csv")
"""Files that hold every column of every input, written while a scan runs."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that becomes `path` when the block ends, and nothing if it fails.

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    target = Path(path)
    try:
        handle, name = temporary_file(target)
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        name.chmod(_mode(target))
        name.replace(target)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        name.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes, whole or not at all."""
    with atomic_file(path) as file:
        file.write(content)


def check_writable(path: str | Path) -> None:
    """Find out now, before hours of work, that `path` could not be written.

    What killed processes left that were writing it is removed.

    Raises:
        ConfigError: its folder is missing or read-only, or `path` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise ConfigError(
            f"The output '{path}' is a folder",
            "Expected the name of a file",
            "Name a file in it",
        )
    if not target.parent.is_dir():
        raise ConfigError(
            f"The output '{path}' cannot be written: there is no folder "
            f"'{target.parent}'",
            "Expected a folder that exists",
            "Create the folder or choose another",
        )
    try:
        handle, name = temporary_file(target)
    except OSError as error:
        raise ConfigError(
            f"The output '{path}' cannot be written: {error.strerror}",
            "Expected a folder that takes new files",
            "Choose a folder you may write to",
        ) from None
    os.close(handle)
    name.unlink()
    sweep_for(target)


def unwritable(path: str | Path, error: OSError) -> InputError:
    """Return the error to raise when writing `path` failed."""
    return InputError(
        f"'{path}' cannot be written: {error.strerror or error}",
        "Expected room for the file, in a folder that takes it",
        "Free some space or choose another folder",
    )


def _mode(target: Path) -> int:
    """Return the mode the file has, or the one a new file would get."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
