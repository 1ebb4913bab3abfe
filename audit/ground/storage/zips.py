"""What a zip archive holds, if there is only one way to read it.

Readers of zips disagree: some look from the end of the file and forgive a shift, some
go by the stored offset; some believe the directory, some the header in front of the
data; of two members called alike one takes the first, another the last. A file made
for that shows one thing to whoever checks it and another to whoever loads it.

So only archives are read in which nothing is left to a reader: the end record is at
the end, the directory right before it, and the members fill the rest from the first
byte on, one after another, without gaps, each with a header that says what the
directory says. Every byte then belongs to one member or to the directory. Archives
that numpy, torch and zip programs write are of this kind. (APPNOTE.TXT 6.3.10, PKWARE.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_U32 = 0xFFFFFFFF
_FULL = (0xFFFF,) * 4 + (_U32,) * 2  # a field too small for its value
_ENCRYPTED, DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800
_FLAGS = 0x6 | DESCRIPTOR | _UTF8  # 0x6: how hard the writer tried
STORED, DEFLATED = 0, 8
_ZIP64 = 1
_OTHER_NAMES = (0x7075, 0x6375)  # fields that replace the name or the comment


class ZipFault(ValueError):
    """Why an archive is not read: a clause that follows its name."""


@dataclass(frozen=True)
class Member:
    """A file in an archive, as the directory describes it.

    Args:
        name: its path. raw: the bytes of that.
        flags: bits. method: 0 for stored, 8 for deflated.
        crc: of its bytes. packed, size: how many there are, as stored and unpacked.
        header: where its own header begins.
        start: where its data begin; 0 until that header has been read.
    """

    name: str
    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    start: int = 0


def read_directory(file: BinaryIO, length: int) -> tuple[list[Member], int]:
    """Return the members an archive lists, and where its directory begins.

    Raises:
        ZipFault: it is no zip, or readers could differ about it.
    """
    count, size, start, stop = _end(file, length)
    if start + size != stop:
        raise ZipFault("has bytes that are in no member and not in its directory")
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise ZipFault("is cut short")
    members = list(_entries(data, count))
    names = {member.name for member in members}
    if len(names) != len(members):
        raise ZipFault("has two members of the same name")
    return members, start


def _end(file: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """Return the number of members, the directory's size and start, and its stop."""
    stop = length - _END.size
    fields = _END.unpack(_read(file, stop, _END.size)) if stop >= 0 else (b"",)
    if fields[0] != b"PK\5\6":
        raise ZipFault("is no zip archive, or a truncated or damaged zip")
    if fields[7]:
        raise ZipFault("is a zip with a comment at its end")
    found = fields[1:7]
    place = stop - _LOCATOR.size
    if place >= 0 and _read(file, place, 4) == b"PK\6\7":
        stop, wide = _end64(file, place)
        pairs = zip(found, wide, _FULL, strict=True)
        agree = all(small in (large, full) for small, large, full in pairs)
        found = wide
    else:
        agree = all(one != full for one, full in zip(found, _FULL, strict=True))
    disk, first, here, count, size, start = found
    if not agree or disk or first or here != count:
        raise ZipFault("has an end record that contradicts itself")
    return count, size, start, stop


def _end64(file: BinaryIO, place: int) -> tuple[int, tuple[int, ...]]:
    """Return where the wide end record is and what it says, given its locator."""
    _, disk, stop, disks = _LOCATOR.unpack(_read(file, place, _LOCATOR.size))
    if disk or disks > 1 or stop != place - _END64.size:
        raise ZipFault("has an end record that is not where it says")
    mark, size, _, _, *wide = _END64.unpack(_read(file, stop, _END64.size))
    if mark != b"PK\6\6" or size != _END64.size - 12:
        raise ZipFault("has a damaged end record")
    return stop, tuple(wide)


def _entries(data: bytes, count: int) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(data):
            raise ZipFault("lists more members than its directory holds")
        fields = _ENTRY.unpack_from(data, at)
        name, extra, comment = fields[10:13]
        begin = at + _ENTRY.size
        at = begin + name + extra + comment
        if fields[0] != b"PK\1\2" or at > len(data):
            raise ZipFault("has a damaged directory")
        yield _member(fields, data[begin : begin + name], data[begin + name :][:extra])
    if at != len(data):
        raise ZipFault("has bytes in its directory that describe no member")


def _member(fields: tuple[int, ...], raw: bytes, extra: bytes) -> Member:
    flags, method = fields[3:5]
    name = _name_of(raw, flags)
    _refuse_unreadable(name, flags, method)
    packed, size, disk, header = fields[8], fields[9], fields[13], fields[16]
    size, packed, header = widened(name, extra, (size, packed, header))
    if disk:
        raise ZipFault(f"keeps '{name}' on another disk")
    if method == STORED and packed != size:
        raise ZipFault(f"contradicts itself about the size of '{name}'")
    return Member(name, raw, flags, method, fields[7], packed, size, header)


def _name_of(raw: bytes, flags: int) -> str:
    """Return a member's name."""
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise ZipFault("has a member whose name is no text") from None
    if not name or "\0" in name:
        raise ZipFault("has a member whose name is empty or has a NUL in it")
    return name


def _refuse_unreadable(name: str, flags: int, method: int) -> None:
    """Raise if a member is encrypted or packed in a way that few readers know."""
    if flags & _ENCRYPTED:
        raise ZipFault(f"has the encrypted member '{name}'")
    if flags & ~_FLAGS or method not in (STORED, DEFLATED):
        raise ZipFault(f"packs '{name}' in an unusual way (method {method})")


def widened(name: str, extra: bytes, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return sizes of 32 bits, those that did not fit from the extra field.

    Raises:
        ZipFault: the extra field is damaged, or has other sizes than are missing.
    """
    missing = [place for place, size in enumerate(sizes) if size == _U32]
    wide = [body for kind, body in _fields(name, extra) if kind == _ZIP64]
    if not wide and not missing:
        return sizes
    if len(wide) != 1 or len(wide[0]) != 8 * len(missing) or not missing:
        raise ZipFault(f"contradicts itself about the size of '{name}'")
    found = list(sizes)
    for place, value in zip(
        missing, struct.unpack(f"<{len(missing)}Q", wide[0]), strict=True
    ):
        found[place] = value
    return tuple(found)


def _fields(name: str, extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of an extra field."""
    at = 0
    while at < len(extra):
        kind, size = struct.unpack_from("<2H", extra.ljust(at + 4, b"\0"), at)
        at += 4 + size
        if at > len(extra) or kind in _OTHER_NAMES:
            raise ZipFault(f"has a damaged or unusual header of '{name}'")
        yield kind, extra[at - size : at]


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size).ljust(size, b"\0")
