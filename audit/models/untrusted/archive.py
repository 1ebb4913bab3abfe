"""A zip from a stranger, copied so that who checks it and who loads it read the same.

The check reads an archive with Python, torch with a library of its own, and they differ
about which directory counts, which of two members called alike, where a member begins.
So neither sees the file: its members are read once, where there is only one way to read
them (`audit.ground.storage`), and written into a fresh archive in memory, which is
checked and then loaded. It has one top folder and nothing compressed; torch copies
every record that it reads to memory of its own, so none needs to be aligned.

A member that no loader needs is left out. A pickle within a member is not copied but
read by torch's unpickler of tensors, in its turn from a fresh archive, and saved anew.
What a user vouches for (`--trust-model`) is copied too, member by member, all of them
and as they are.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import torch

from audit.ground.errors import ModelError
from audit.ground.storage import (
    Member,
    StoredFile,
    ZipFault,
    read_members,
    unpack,
    unpacked,
)

TOP = "archive"
_MAX_TEXT = 1 << 28  # bytes of code and descriptions that are read
_ROOM, _GROWTH = 1 << 28, 4  # bytes an archive may unpack to: these, and so many fold
Rewrite = Callable[[str, bytes], bytes]


@dataclass(frozen=True)
class Layout:
    """What the archives of a format hold; names are in lower case.

    Args:
        how: what writes a good one.
        unread: members that are written and never read.
        pickles: members that are pickles, to be saved anew; by default none.
    """

    how: str
    unread: re.Pattern[str]
    pickles: re.Pattern[str] = re.compile("(?!)")


class Archive:
    """The fresh copy of an archive: its members, by their path below the top folder.

    Torch finds members without regard to case, so names are compared in lower case.

    Args:
        stored: the file.
        layout: what archives of its format hold.
        trusted: whether a user vouches for it.

    Raises:
        ModelError: it is no zip, is damaged, has changed, or readers could differ.
    """

    def __init__(self, stored: StoredFile, layout: Layout, trusted: bool) -> None:
        self.path, self._how = stored.path, layout.how
        self.acting: list[str] = []
        try:
            with stored.reading() as file:
                if trusted:
                    self.content = copied(file)
                else:
                    self.content = copied(file, layout, self._rewritten)
        except ZipFault as fault:
            raise self._damaged(str(fault)) from None
        except OSError as error:
            raise self._damaged(f"cannot be read: {error.strerror}") from None
        self._zip = zipfile.ZipFile(io.BytesIO(self.content))
        self.sizes = {
            name_in_lower_case(info.filename): info.file_size
            for info in self._zip.infolist()
        }
        self._names = {name_in_lower_case(n): n for n in self._zip.namelist()}

    def _rewritten(self, name: str, data: bytes) -> bytes:
        saved = saved_anew(data)
        if saved is None:
            self.acting.append(f"a pickle in {name}")
            return data
        return saved

    def names(self, start: str = "", ends: Sequence[str] = ("",)) -> list[str]:
        """Return the members below a folder with one of some endings."""
        return [
            name
            for name in self.sizes
            if name.startswith(start) and name.endswith(tuple(ends))
        ]

    def read(self, name: str) -> bytes:
        """Return a member's bytes.

        Raises:
            ModelError: they are more than any description needs.
        """
        if self.sizes[name] > _MAX_TEXT:
            raise self._damaged(f"holds {self.sizes[name]} bytes in '{name}'")
        return self._zip.read(self._names[name])

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


def name_in_lower_case(name: str) -> str:
    """Return a member's name as torch compares it, without the top folder."""
    return name.partition("/")[2].lower()


def copied(
    file: BinaryIO, layout: Layout | None = None, rewrite: Rewrite | None = None
) -> bytes:
    """Return a fresh archive with the members of another.

    Args:
        file: it.
        layout: what need not be copied, and what are pickles; None: all is, none are.
        rewrite: (name, bytes of a pickle) -> the bytes to write instead.

    Raises:
        ZipFault: it is damaged, or readers could differ about it.
    """
    members = _inner(read_members(file))
    if sum(one.size for _, one in members) > _ROOM + _GROWTH * file.seek(0, 2):
        raise ZipFault("unpacks to far more than its size")
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
        for name, member in members:
            if layout and layout.unread.fullmatch(name.lower()):
                continue
            info = zipfile.ZipInfo(f"{TOP}/{name}")
            info.file_size = member.size
            if layout and rewrite and layout.pickles.fullmatch(name.lower()):
                archive.writestr(info, rewrite(name.lower(), unpacked(file, member)))
                continue
            with archive.open(info, "w") as target:
                for piece in unpack(file, member):
                    target.write(piece)
    return fresh.getvalue()


def _inner(members: list[Member]) -> list[tuple[str, Member]]:
    """Return members with their paths below the one top folder."""
    found = [(*member.name.partition("/")[::2], member) for member in members]
    if len({top for top, _, _ in found}) != 1 or not all(name for _, name, _ in found):
        raise ZipFault("has not one top folder with everything in it")
    for _, name, member in found:
        parts = name.split("/")
        if "\\" in name or {"", ".", ".."} & set(parts) or not name.isprintable():
            raise ZipFault(f"has the member '{member.name}', which is no plain path")
    if len({name.lower() for _, name, _ in found}) < len(found):
        raise ZipFault("has two members of the same name, but for upper and lower case")
    return [(name, member) for _, name, member in found]


def saved_anew(data: bytes) -> bytes | None:
    """Return pickled tensors and containers as torch.save writes them.

    Returns:
        Other bytes with the same values; None if they hold anything else.
    """
    if not data:
        return data
    saved = io.BytesIO()
    try:
        fresh = io.BytesIO(copied(io.BytesIO(data)))
        torch.save(torch.load(fresh, weights_only=True, map_location="cpu"), saved)
    except Exception:  # whatever a broken pickle makes the unpickler raise
        return None
    return saved.getvalue()
