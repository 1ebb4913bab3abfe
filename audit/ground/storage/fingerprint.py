"""One pass over a file: its digest, and the checksums of what it stores.

A member that is stored without compression lies in the file as it is; so the bytes
that the digest is taken of are those of the members too, and one pass does for both.

What the pass found is remembered for as long as the file is the same. A file written
within the last two seconds is not: it could be written again in the same tick of the
clock, and look the same.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from audit.ground.storage.members import CHUNK
from audit.ground.storage.regular import Mark, mark_of
from audit.ground.storage.zips import STORED, Member

_SETTLED = 2 * 10**9  # nanoseconds
_REMEMBERED = 16
_known: dict[Mark, Fingerprint] = {}


@dataclass(frozen=True)
class Fingerprint:
    """What a file's bytes are.

    Args:
        sha256: of all of them.
        crcs: of each stored member's, by its name.
    """

    sha256: str
    crcs: Mapping[str, int]


def fingerprint(file: BinaryIO, members: Sequence[Member] = ()) -> Fingerprint:
    """Return the digest of an open file and the checksums of its stored members.

    Args:
        file: the file.
        members: of an archive, in the order in which they lie there.

    Raises:
        OSError: it changed meanwhile.
    """
    mark = mark_of(file)
    found = _known.get(mark) or _pass(file, members)
    if mark_of(file) != mark:
        raise OSError(0, "it has changed while it was read")
    if time.time_ns() - mark[-1] > _SETTLED:
        while len(_known) >= _REMEMBERED:
            _known.pop(next(iter(_known)))
        _known[mark] = found
    return found


def _pass(file: BinaryIO, members: Sequence[Member]) -> Fingerprint:
    digest, crcs = hashlib.sha256(), dict[str, int]()
    stored = [member for member in members if member.method == STORED]
    first, at = 0, 0
    for piece in _pieces(file):
        digest.update(piece)
        view, stop = memoryview(piece), at + len(piece)
        for member in stored[first:]:
            if member.start >= stop:
                break
            inside = view[max(0, member.start - at) :][: _left(member, at)]
            crcs[member.name] = zlib.crc32(inside, crcs.get(member.name, 0))
            first += member.start + member.size <= stop
        at = stop
    return Fingerprint(
        digest.hexdigest(), {m.name: crcs.get(m.name, 0) for m in stored}
    )


def _left(member: Member, at: int) -> int:
    """Return how many bytes of a member lie behind a place in the file."""
    return member.start + member.size - max(at, member.start)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(CHUNK):
        yield piece
