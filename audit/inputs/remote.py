"""Data that lie elsewhere: `s3://bucket/x.npz`, `https://…`, whatever fsspec knows.

A file is copied once for each process into a folder of its own, and then read like any
other: mapped, window by window. Nothing is lost by the copy, as a scan takes the digest
of every byte before it believes one. The folder goes with the process.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from audit.ground import watch
from audit.ground.errors import AuditError, ConfigError, InputError, cause
from audit.ground.storage.temporary import TemporaryFolder

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://")
_UNSAFE = re.compile(r"[^\w.-]")
_CHUNK = 2**22  # bytes
_copies: dict[str, tuple[str, str]] = {}
_folders: list[TemporaryFolder] = []


def is_remote(path: str) -> bool:
    """Tell whether a path is the address of a file elsewhere."""
    return _SCHEME.match(str(path)) is not None


@contextlib.contextmanager
def copied(path: str) -> Iterator[str]:
    """Hand out the local copy of a file; errors about that name the file itself.

    Raises:
        ConfigError: a package that reads such addresses is missing.
        InputError: it is not there, may not be read, or finds no room here.
    """
    local = _local(path)
    try:
        yield local
    except AuditError as error:
        parts = (error.given, error.expected, error.next_step)
        raise type(error)(*(part.replace(local, path) for part in parts)) from error


def _local(path: str) -> str:
    """Return the local copy; the one of before where the file is the same."""
    store, name = _store(path)
    try:
        info = store.info(name)
        mark = str(store.ukey(name))
    except Exception as error:
        raise _unreadable(path, error) from error
    if info.get("type") == "directory":
        raise InputError(
            f"'{path}' is a folder",
            "Expected one file; a Zarr store is read where it lies on a disk",
            "Name a file, or copy the folder here",
        )
    if "file" in _protocols(store):
        return str(name)
    known = _copies.get(path)
    if known is None or known[0] != mark or not Path(known[1]).exists():
        _copies[path] = mark, _fetched(path, store, name)
    return _copies[path][1]


def _store(path: str) -> tuple[Any, str]:
    """Return the file system of an address, and the name there."""
    try:
        found: tuple[Any, str] = _fsspec().core.url_to_fs(path)
    except ImportError as error:
        raise ConfigError(
            f"Reading '{path}' takes a package that is not installed ({cause(error)})",
            "Addresses are read by fsspec and a package for each kind of them",
            "Run pip install 'robaudit[remote]' and what is named above, or copy the "
            "file here",
        ) from None
    except Exception as error:
        raise _unreadable(path, error) from error
    return found


def _fsspec() -> ModuleType:
    import fsspec
    import fsspec.core

    module: ModuleType = fsspec
    return module


def _protocols(store: Any) -> tuple[str, ...]:  # noqa: ANN401
    named = store.protocol
    return (named,) if isinstance(named, str) else tuple(named)


def _fetched(path: str, store: Any, name: str) -> str:  # noqa: ANN401
    """Copy a file, and return where it is; half a copy is removed."""
    target = _folder() / f"{len(_copies)}-{_basename(path)}"
    try:
        with store.open(name, "rb") as source, target.open("xb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.filename == str(target) or error.errno == 28:
            raise InputError(
                f"'{path}' finds no room in '{target.parent}' ({cause(error)})",
                "Expected as much room as the file takes, once for each worker",
                "Point TMPDIR to a larger disk",
            ) from error
        raise _unreadable(path, error) from error
    except Exception as error:
        target.unlink(missing_ok=True)
        raise _unreadable(path, error) from error
    return str(target)


def _folder() -> Path:
    if not _folders or not _folders[0].path.exists():
        _folders[:] = [TemporaryFolder(Path(tempfile.gettempdir()), "robaudit-data-")]
        watch.tell(temporary=str(_folders[0].path))
    return _folders[0].path


def _basename(path: str) -> str:
    """Return the last part of an address, whose suffix tells its kind."""
    found = PurePosixPath(path.partition("?")[0]).name
    return _UNSAFE.sub("_", found)[-80:] or "data"


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"The data file '{path}' cannot be read ({cause(error)})",
        "Expected an address that is right, and credentials that may read it where "
        "the package for such addresses looks for them",
        "Check the address and the credentials here and on every node, or copy the "
        "file here",
    )
