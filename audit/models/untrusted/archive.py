"""A zip from a stranger: its members, read once and completely."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from audit.errors import ModelError

_MAX_TEXT = 1 << 28  # bytes of code and descriptions that are read
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)


class Archive:
    """The members of a zip, by their path inside it, without its top folder.

    Torch finds members without regard to case, and the first of two that are called
    alike; so names are compared in lower case, and two alike are refused.

    Args:
        path: the file.
        how: what would have written a good one, for the error.

    Raises:
        ModelError: it is no zip, is damaged, or has two members of one name.
    """

    def __init__(self, path: Path, how: str) -> None:
        self.path, self._how = path, how
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN:
            raise self._damaged("is no zip archive, so no torch program") from None
        names = [info.filename.lower() for info in self._zip.infolist()]
        if len(set(names)) < len(names):
            raise self._damaged("has two members of the same name")
        self.members = {_inner(i.filename): i for i in self._zip.infolist()}

    def names(self, start: str = "", ends: Sequence[str] = ("",)) -> list[str]:
        """Return the members below a folder with one of some endings."""
        return [
            name
            for name in self.members
            if name.startswith(start) and name.endswith(tuple(ends))
        ]

    def read(self, name: str) -> bytes:
        """Return a member's bytes.

        Raises:
            ModelError: they are damaged, or more than any description needs.
        """
        info = self.members[name]
        if info.file_size > _MAX_TEXT:
            raise self._damaged(f"holds {info.file_size} bytes in '{name}'")
        try:
            return self._zip.read(info)
        except _BROKEN:
            raise self._damaged(f"has a damaged member '{name}'") from None

    def _damaged(self, what: str) -> ModelError:
        return ModelError(
            f"'{self.path.name}' {what}",
            f"Expected what {self._how} writes",
            "A pickled module or a file cut short cannot be audited: save it again",
        )

    def pickled(self) -> ModelError:
        """Return the error for an archive that holds no program."""
        return ModelError(
            f"'{self.path.name}' holds pickled Python objects (torch.save), not a "
            "program",
            "Expected TorchScript, a torch.export archive (.pt2) or ONNX",
            "Load it in your own code and save it with torch.export.save or "
            "torch.onnx.export",
        )


def _inner(name: str) -> str:
    """Return a member's path in lower case, without the archive's top folder."""
    top, slash, rest = name.lower().partition("/")
    return rest if slash else top


def is_plain(data: bytes) -> bool:
    """Whether bytes unpickle as tensors and containers alone, and nothing else."""
    if not data:
        return True
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception:  # whatever a broken pickle makes the unpickler raise
        return False
    return True


def refuse_untrusted(path: Path, findings: list[str], trusted: bool) -> None:
    """Raise unless nothing was found or the user vouches for the file.

    Raises:
        ModelError: something was found and `trusted` is false.
    """
    if findings and not trusted:
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        raise ModelError(
            f"'{path.name}' can run code when it is loaded: {findings[0]}{more}",
            "A file from elsewhere should hold tensors and operators only",
            "If you made it or trust its author, pass --trust-model; else ask for ONNX",
        )
