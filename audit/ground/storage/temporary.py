"""Temporary names that say whose they are, so that those of the dead can be removed.

A process that is killed leaves what it was writing. The next run removes it, and must
not remove what another is writing just now, here or on another machine that shares the
folder. So a name holds the process and the machine, and what it names stays locked for
as long as its owner lives: it goes when nobody on this machine holds the lock, and the
process of that number is dead or had the time to lock it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import shutil
import time
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows tells neither who holds a lock nor who lives
    fcntl = None  # type: ignore[assignment]

_LOCK = "lock"
_AGE = 60  # seconds in which an owner has locked what it made
_ODD = re.compile(r"\W")
_HOST = _ODD.sub("_", platform.node())[:40]
_OWNER = r"(\d{1,10})-(\w*)-[0-9a-f]{8}"


def temporary_name(prefix: str) -> str:
    """Return a new name that begins with `prefix` and says whose it is."""
    return f"{prefix}{os.getpid()}-{_HOST}-{secrets.token_hex(4)}"


class TemporaryFolder:
    """A folder of this process, until it is removed; at the latest when that ends.

    Those that dead processes left under the same prefix go when it is made.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        sweep(parent, prefix)
        self.path = parent / temporary_name(prefix)
        self.path.mkdir(mode=0o700)
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT)
        _locked(lock)
        self.remove = weakref.finalize(self, _removed, self.path, lock)


def _removed(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def temporary_file(target: Path) -> tuple[int, Path]:
    """Make the file that will take the name `target`, beside it.

    Returns:
        Its descriptor, open for writing and locked until it is closed, and its path.

    Raises:
        OSError: it cannot be made.
    """
    path = target.parent / temporary_name(f".{target.name}.")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    _locked(handle)
    return handle, path


def sweep(parent: Path, prefix: str | None = None) -> None:
    """Remove what dead processes of this machine left.

    Args:
        parent: the folder that is looked into.
        prefix: what the names begin with, before their owner; None for any.
    """
    if fcntl is None:
        return
    begin = r"\.(?:.*\.)?" if prefix is None else re.escape(prefix)
    owned = re.compile(begin + _OWNER)
    with contextlib.suppress(OSError):
        for path in list(parent.iterdir()):
            found = owned.fullmatch(path.name)
            if found and found[2] == _HOST and _is_abandoned(path, int(found[1])):
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)


def sweep_for(target: Path) -> None:
    """Remove what dead processes left that were writing a file."""
    sweep(target.parent, f".{target.name}.")


def _is_abandoned(path: Path, owner: int) -> bool:
    lock = path / _LOCK if path.is_dir() and not path.is_symlink() else path
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return not _lives(owner)  # it died, or is about to lock it
    except OSError:
        return False
    try:
        age = time.time() - os.fstat(handle).st_mtime
        return _locked(handle) and (age > _AGE or not _lives(owner))
    finally:
        os.close(handle)


def _lives(process: int) -> bool:
    """Tell whether there is a process of this number that still does something."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError, ValueError):
        return True
    return state not in "ZX"  # dead, and nobody asked how it ended


def _locked(handle: int) -> bool:
    """Lock a file until it is closed, and tell whether nobody else has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):  # where there are no locks
        return True
    return True
