"""The members of an archive: where they lie, and their bytes, checked as they come."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from audit.ground.storage.zips import (
    DESCRIPTOR,
    Member,
    ZipFault,
    read_directory,
    widened,
)

CHUNK = 1 << 20
_HEADER = struct.Struct("<4s5H3I2H")
_AFTER = (struct.Struct("<4s3I"), struct.Struct("<4sI2Q"))
_LONGEST = _AFTER[1].size
_UNKNOWN = 0xFFFFFFFF


def read_members(file: BinaryIO) -> list[Member]:
    """Return the members of an archive in the order in which they lie there.

    Raises:
        ZipFault: it is no zip, or readers could differ about it.
    """
    length = file.seek(0, 2)
    listed, directory = read_directory(file, length)
    listed.sort(key=lambda member: member.header)
    first, *ends = [*(member.header for member in listed), directory]
    if first != 0:
        raise ZipFault("has bytes at its beginning that are in no member")
    pairs = zip(listed, ends, strict=True)
    return [_placed(file, member, following) for member, following in pairs]


def _placed(file: BinaryIO, member: Member, following: int) -> Member:
    """Return a member with the place of its data, which end where the next begins."""
    file.seek(member.header)
    head = file.read(_HEADER.size).ljust(_HEADER.size, b"\0")
    mark, _, flags, method, _, _, crc, packed, size, name, extra = _HEADER.unpack(head)
    raw, fields = file.read(name), file.read(extra)
    start = member.header + _HEADER.size + name + extra
    if (mark, raw, len(fields)) != (b"PK\3\4", member.raw, extra):
        raise ZipFault(f"has no header of '{member.name}' where its directory says")
    told = (crc, packed, size)
    if flags & DESCRIPTOR:  # the sizes were not known yet: they follow the data
        same = all(
            value in (0, known, _UNKNOWN)
            for value, known in zip(told, _sums(member), strict=True)
        )
    else:
        size, packed = widened(member.name, fields, (size, packed))
        same = (crc, packed, size) == _sums(member)
    if not same or (flags, method) != (member.flags, member.method):
        raise ZipFault(f"contradicts itself about '{member.name}'")
    rest = following - start - member.packed
    file.seek(start + member.packed)
    if not 0 <= rest <= _LONGEST or file.read(rest) not in _endings(member):
        raise ZipFault(f"has other bytes after '{member.name}' than belong to it")
    return replace(member, start=start)


def _sums(member: Member) -> tuple[int, int, int]:
    return member.crc, member.packed, member.size


def _endings(member: Member) -> Iterator[bytes]:
    """Yield what may follow a member's data: nothing, or its sizes in two widths."""
    if not member.flags & DESCRIPTOR:
        yield b""
        return
    for form in _AFTER:
        with contextlib.suppress(struct.error):
            yield form.pack(b"PK\7\x08", *_sums(member))


def unpacked(file: BinaryIO, member: Member) -> bytes:
    """Return a member's bytes, of which the caller has seen that they are not too many.

    Raises:
        ZipFault: they are damaged, or more or fewer than the directory says.
    """
    return b"".join(unpack(file, member))


def unpack(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield a member's bytes in pieces; the last one only if all of them are right.

    Raises:
        ZipFault: as `unpacked`.
    """
    size, crc, held = 0, 0, b""
    for piece in _inflated(file, member) if member.method else _raw(file, member):
        if held:
            yield held
        held, size = piece, size + len(piece)
        if size > member.size:
            raise ZipFault(f"holds more in '{member.name}' than it says")
        crc = zlib.crc32(piece, crc)
    if size != member.size:
        raise ZipFault(f"is cut short in '{member.name}'")
    if crc != member.crc:
        raise ZipFault(f"has a damaged member '{member.name}': its checksum differs")
    yield held


def _raw(file: BinaryIO, member: Member) -> Iterator[bytes]:
    for at in range(0, member.packed, CHUNK):
        file.seek(member.start + at)
        yield file.read(min(CHUNK, member.packed - at))


def _inflated(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield what a deflated member holds, never more than a piece at a time."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces, held = _raw(file, member), b""
    try:
        while not inflater.eof:
            held = held or next(pieces, b"")
            found = inflater.decompress(held, CHUNK)
            if not found and not held:
                return  # cut short: the size tells
            held = inflater.unconsumed_tail
            yield found
    except zlib.error:
        raise ZipFault(f"has a damaged member '{member.name}'") from None
    if inflater.unused_data or held or next(pieces, b""):
        raise ZipFault(f"has bytes after the end of '{member.name}'")
