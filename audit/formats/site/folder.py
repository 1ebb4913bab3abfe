"""Putting the pages of a site into a folder, and never over anything else.

A new folder appears whole, in one step. In one that exists only pages of an earlier
site are replaced or removed: each says in its head what wrote it, so a folder that
holds anything else is refused before a byte is written. The index comes last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audit.ground.errors import ConfigError, InputError, cause
from audit.ground.storage.temporary import TemporaryFolder, sweep

GENERATOR = "robaudit explain --html"
_MARK = f'<meta name="generator" content="{GENERATOR}">'.encode()
_HEAD = 1000  # bytes of a page that hold the mark
_PREFIX = ".robaudit-site-"
_SHOWN = 3  # names in a message


def publish(folder: Path, pages: Mapping[str, str]) -> None:
    """Write pages into a folder.

    Args:
        folder: new, empty, or holding nothing but an earlier site.
        pages: file -> HTML, the index first.

    Raises:
        ConfigError: it holds something else, is a file, or has no parent folder.
        InputError: it cannot be read or written.
    """
    with _writing(folder):
        target = Path(os.path.realpath(folder))  # never raises, also for loops
        _refuse_orphans(folder, target)
        sweep(target if target.is_dir() else target.parent, _PREFIX)
        earlier = list(_earlier(folder, target)) if target.is_dir() else None
        temporary = TemporaryFolder(
            target.parent if earlier is None else target, _PREFIX
        )
        try:
            made = temporary.path / "site"
            made.mkdir()
            for file, text in pages.items():
                (made / file).write_text(text, encoding="utf-8", newline="\n")
            if earlier is None:
                made.rename(target)
            else:
                _exchange(made, target, list(pages), earlier)
        finally:
            temporary.remove()


def _exchange(made: Path, target: Path, new: list[str], earlier: list[Path]) -> None:
    """Move the new pages over the earlier ones, and remove those without a successor.

    Args:
        made: the folder that the new pages are in.
        target: the folder that they go to.
        new: their names; the first is moved last.
        earlier: the pages that are there.
    """
    for file in reversed(new):
        (made / file).replace(target / file)
    for path in earlier:
        if path.name not in new:
            path.unlink()


def _refuse_orphans(folder: Path, target: Path) -> None:
    """Raise for a target that can be no folder."""
    if target.exists() and not target.is_dir():
        raise ConfigError(
            f"--html '{folder}' is a file",
            "Expected a folder that is new, empty or an earlier site",
            "Name another folder",
        )
    if not target.parent.is_dir():
        raise ConfigError(
            f"--html '{folder}' cannot be made: there is no folder '{folder.parent}'",
            "Expected a folder that is new, empty or an earlier site",
            "Create its parent folder or name another",
        )


def _earlier(folder: Path, target: Path) -> Iterator[Path]:
    """Yield the pages of an earlier site."""
    found = sorted(target.iterdir())
    strange = [path.name for path in found if not _is_page(path)]
    if strange:
        shown = ", ".join(f"'{name}'" for name in strange[:_SHOWN])
        more = len(strange) - _SHOWN
        raise ConfigError(
            f"--html '{folder}' holds {shown}" + (f" and {more} more" * (more > 0)),
            "Expected a folder that is new, empty or holds an earlier site alone",
            "Name another folder, or move away what is in this one",
        )
    yield from found


def _is_page(path: Path) -> bool:
    """Tell whether a file is a page of a site of ours, and no link to one."""
    if path.is_symlink() or not path.is_file() or path.suffix != ".html":
        return False
    with path.open("rb") as file:
        return _MARK in file.read(_HEAD)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into words."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise InputError(
            f"--html '{folder}' cannot be written: {cause(error)}",
            "Expected a folder that can be read and written, with space for 1 MB",
            "Free some space or name another folder",
        ) from error
