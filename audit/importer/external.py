"""The files beside a model that hold its numbers: which of them may be read, and how.

A model names such a file by a relative path. It may lie in the model's folder or below
it, and if the model is a link, in the folder that the link lies in or the one that its
target lies in: model hubs keep a file as a link into a store, and its data likewise
(also where the links have become text, see `audit.ground.storage.followed`).
A link out of these folders is not followed, nor is a path with `..` in it. The file is
a regular one, and the same whenever something is read from it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from audit.ground.errors import ModelError
from audit.ground.storage import StoredFile, followed


class ExternalFiles:
    """The files that a model's tensors are in, as they are asked for.

    Args:
        model: the path of the model's file, as the user gave it; None where there is
            none, and so no folder to look in.
    """

    def __init__(self, model: Path | None) -> None:
        self._folders: tuple[Path, ...] = ()
        self._roots: tuple[Path, ...] = ()
        if model is not None:
            self._folders = (model.parent, followed(model).parent)
            self._roots = tuple(folder.resolve() for folder in self._folders)
        self._known: dict[str, StoredFile] = {}

    @property
    def found(self) -> tuple[StoredFile, ...]:
        """Those that something was read from, in order."""
        return tuple(dict.fromkeys(self._known.values()))

    def find(self, location: str, tensor: str) -> StoredFile:
        """Return the file at a path.

        Args:
            location: the path that the model names.
            tensor: whose numbers it holds, for the error.

        Raises:
            ModelError: it is not there, or may not be read.
        """
        if location not in self._known:
            self._known[location] = self._look(location, tensor)
        return self._known[location]

    def read(self, location: str, offset: int, size: int, tensor: str) -> bytes:
        """Return `size` bytes of a file, from `offset` on.

        Raises:
            ModelError: as `find`; or it is shorter, or has changed.
        """
        stored = self.find(location, tensor)
        if stored.size < offset + size:
            raise ModelError(
                f"The tensor '{tensor}' needs bytes up to {offset + size} of "
                f"'{stored.path.name}', which has {stored.size}",
                "Expected as many numbers as its shape says",
                "Export or download the file again",
            )
        try:
            with stored.reading() as file:
                file.seek(offset)
                return file.read(size)
        except (OSError, MemoryError) as error:
            raise _unreadable(location, tensor, error) from None

    def _look(self, location: str, tensor: str) -> StoredFile:
        if not self._folders:
            raise ModelError(
                f"The tensor '{tensor}' keeps its numbers in the file '{location}'",
                "A ModelProto has no folder to look in",
                "Pass the path of the model file instead",
            )
        if not _is_relative(location):
            raise _outside(location, tensor)
        places = [folder / location for folder in self._folders]
        place = next((place for place in places if os.path.lexists(place)), places[0])
        try:
            real = followed(place)
            if not any(real.is_relative_to(root) for root in self._roots):
                raise _outside(location, tensor)
            stored = StoredFile.at(real)
            is_text = place.resolve() != real
            return stored if is_text else replace(stored, path=place)
        except (OSError, RuntimeError) as error:  # the latter: links in a circle
            raise _unreadable(location, tensor, error) from None


def _is_relative(location: str) -> bool:
    """Whether a path leads down from a folder, on whatever system reads it."""
    windows = PureWindowsPath(location)
    return (
        bool(location)
        and "\0" not in location
        and not windows.anchor
        and ".." not in location.replace("\\", "/").split("/")
    )


def _outside(location: str, tensor: str) -> ModelError:
    return ModelError(
        f"The tensor '{tensor}' points to '{location}'",
        "Expected a file inside the model's own folder; for a link, also its target's",
        "Do not use this model unless you know why it points there",
    )


def _unreadable(location: str, tensor: str, error: Exception) -> ModelError:
    if isinstance(error, FileNotFoundError):
        return ModelError(
            f"The external data file '{location}' is missing",
            f"Expected it beside the model, it holds '{tensor}'",
            "Copy it there, or export with external_data=False",
        )
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ModelError(
        f"The external data file '{location}' cannot be read: {reason}",
        f"Expected a file beside the model, it holds '{tensor}'",
        "Copy or download it again",
    )
