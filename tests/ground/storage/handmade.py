"""Zips written by hand, so that each field can say what it should not (APPNOTE 6.3.10).

`Zip` lays out members, `ended` puts a directory and an end record behind them.
"""

import struct
import zlib
from dataclasses import dataclass, field

LOCAL = "signature version flags method time date crc packed size name extra"
ENTRY = "signature made version flags method time date crc packed size name extra "
ENTRY += "comment disk internal external header"


def packed(layout, names, **fields):
    return struct.pack(layout, *(fields[name] for name in names.split()))


@dataclass
class Zip:
    body: bytearray = field(default_factory=bytearray)
    entries: list = field(default_factory=list)

    def add(self, name, data, method=0, local=None, central=None, **shared):
        """Add a member; `local` and `central` change fields of its two headers."""
        raw = name if isinstance(name, bytes) else name.encode()
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        stored = deflate.compress(data) + deflate.flush() if method else data
        fields = {
            **{"version": 20, "flags": 0x800, "method": method, "time": 0},
            **{"date": 0x21, "crc": zlib.crc32(data), "packed": len(stored)},
            **{"size": len(data), "raw": raw, "more": b"", "after": b"", **shared},
        }
        mine = fields | (local or {})
        start = len(self.body)
        self.body += packed(
            "<4s5H3I2H",
            LOCAL,
            **{**mine, "signature": mine.get("signature", b"PK\3\4")},
            name=len(mine["raw"]),
            extra=len(mine["more"]),
        )
        self.body += mine["raw"] + mine["more"] + mine.get("stored", stored)
        self.body += mine["after"]
        theirs = {"header": start, "disk": 0} | fields | (central or {})
        self.entries.append(theirs)
        return self

    def directory(self, shift=0):
        return b"".join(_entry(entry, shift) for entry in self.entries)

    def ended(self, shift=0, before=b"", **end):
        directory = self.directory(shift)
        return (
            before
            + bytes(self.body)
            + directory
            + ending(len(self.entries), len(directory), len(self.body) + shift, **end)
        )


def _entry(fields, shift):
    entry = packed(
        "<4s6H3I5H2I",
        ENTRY,
        **{**fields, "header": fields["header"] + shift},
        signature=b"PK\1\2",
        made=20,
        name=len(fields["raw"]),
        extra=len(fields["more"]),
        comment=len(fields.get("note", b"")),
        internal=0,
        external=0,
    )
    return entry + fields["raw"] + fields["more"] + fields.get("note", b"")


def ending(count, size, start, comment=b"", here=None, disk=0):
    here = count if here is None else here
    fields = (b"PK\5\6", disk, 0, here, count, size, start, len(comment))
    return struct.pack("<4s4H2IH", *fields) + comment


def ending64(count, size, start, place, wrong=0):
    """The wide end record, its locator and a narrow one that defers to it."""
    wide = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, place + wrong, 1)
    narrow = struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0
    )
    return wide + locator + narrow


def two_directories(seen_by_torch, seen_by_python):
    """One file, two lists of (name, bytes): by the stored offset, and from the end.

    Both directories take as many bytes, so that one end record serves both: it gives
    the offset of the first, and the second lies right before it.
    """
    first, second = Zip(), Zip()
    for name, data in seen_by_torch:
        first.add(name, data)
    for name, data in seen_by_python:
        second.add(name, data)
    first.body += bytes(max(0, len(second.body) - len(first.body)))
    count, size, start = len(first.entries), len(first.directory()), len(first.body)
    assert size == len(second.directory())
    back = start - len(second.body)  # Python adds what it takes for a shift
    return (
        bytes(first.body)
        + first.directory()
        + bytes(second.body)
        + second.directory(back)
        + ending(count, size, start)
    )
