"""Archives: those that programs write are read, those with two readings are refused."""

import io
import random
import struct
import zipfile
import zlib

import pytest

from audit.ground.storage import ZipFault, read_members, unpack, unpacked
from ground.storage.handmade import Zip, ending, ending64, two_directories

HELLO, LONG = b"hello", b"hello" * 500_000


def contents(data):
    file = io.BytesIO(data)
    return {member.name: unpacked(file, member) for member in read_members(file)}


def refused(data, words):
    with pytest.raises(ZipFault, match=words):
        contents(data)


def two():
    return Zip().add("a.npy", HELLO).add("b/c.npy", LONG, method=8)


# What programs write


class NoSeek(io.RawIOBase):
    """A pipe: what is written there gets its sizes behind the data."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("seekable", [False, True])
def test_what_python_writes_is_read(method, wide, seekable):
    target = io.BytesIO() if seekable else NoSeek()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in {"x": LONG, "ü/y": HELLO, "empty": b"", "d/": b""}.items():
            with archive.open(name, "w", force_zip64=wide) as member:
                member.write(data)
    data = target.getvalue() if seekable else bytes(target.data)
    assert contents(data) == {"x": LONG, "ü/y": HELLO, "empty": b"", "d/": b""}


def test_an_archive_without_members_is_one():
    assert contents(Zip().ended()) == {}


def test_what_is_written_by_hand_is_read():
    assert contents(two().ended()) == {"a.npy": HELLO, "b/c.npy": LONG}


def test_a_wide_end_record_is_read():
    zipped = two()
    directory = zipped.directory()
    place = len(zipped.body) + len(directory)
    end = ending64(2, len(directory), len(zipped.body), place)
    assert contents(bytes(zipped.body) + directory + end)["a.npy"] == HELLO
    end = ending64(2, len(directory), len(zipped.body), place, wrong=1)
    refused(bytes(zipped.body) + directory + end, "end record that is not where")


def test_members_come_in_pieces_no_larger_than_a_bound():
    file = io.BytesIO(two().ended())
    pieces = list(unpack(file, read_members(file)[1]))
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 1 << 20


# Two readings


def test_two_directories_are_refused():
    data = two_directories([("a", b"evil!")], [("a", HELLO)])
    assert zipfile.ZipFile(io.BytesIO(data)).read("a") == HELLO  # by the end record
    start = struct.unpack("<I", data[-6:-2])[0]
    assert data[start : start + 4] == b"PK\1\2"  # by the offset it stores
    assert start != data.rindex(b"PK\1\2")
    refused(data, "in no member and not in its directory")


def test_bytes_before_the_first_member_are_refused():
    data = two().ended(before=b"#!/bin/sh\n")
    assert zipfile.ZipFile(io.BytesIO(data)).read("a.npy") == HELLO
    refused(data, "in no member")
    refused(two().ended(before=b"MZ", shift=2), "in no member")


def test_bytes_between_members_are_refused():
    refused(Zip().add("a", HELLO, after=b"gap").add("b", b"").ended(), "other bytes")
    zipped = Zip().add("a", HELLO, after=b"gap")
    refused(zipped.ended(), "other bytes after 'a'")


def test_members_in_one_another_are_refused():
    zipped = Zip().add("a", Zip().add("b", HELLO).body)
    zipped.entries.append({**zipped.entries[0], "raw": b"b", "header": 31, "size": 5})
    zipped.entries[-1].update(packed=5, crc=zlib.crc32(HELLO))
    refused(zipped.ended(), "other bytes|in no member")


@pytest.mark.parametrize(
    ("zipped", "words"),
    [
        (Zip().add("a", HELLO).add("a", b"other"), "two members of the same name"),
        (Zip().add("a", HELLO, local={"raw": b"b"}), "no header of 'a'"),
        (Zip().add("a", HELLO, local={"signature": b"PK\3\5"}), "no header of 'a'"),
        (Zip().add("a", HELLO, central={"header": 1}), "in no member"),
        (Zip().add("a", HELLO, local={"size": 4}), "contradicts itself about 'a'"),
        (Zip().add("a", HELLO, local={"packed": 4}), "contradicts itself about 'a'"),
        (Zip().add("a", HELLO, local={"crc": 4}), "contradicts itself about 'a'"),
        (Zip().add("a", HELLO, local={"method": 8}), "contradicts itself about 'a'"),
        (Zip().add("a", HELLO, local={"flags": 0}), "contradicts itself about 'a'"),
        (Zip().add("a", HELLO, central={"size": 4}), "contradicts itself about the si"),
        (Zip().add("a", HELLO, central={"flags": 0x801}), "the encrypted member 'a'"),
        (Zip().add("a", HELLO, flags=0x801), "the encrypted member 'a'"),
        (Zip().add("a", HELLO, flags=0x820), "in an unusual way"),
        (Zip().add("a", HELLO, central={"method": 12}), "in an unusual way"),
        (Zip().add("a", HELLO, central={"disk": 1}), "on another disk"),
        (Zip().add(b"\xff", HELLO), "whose name is no text"),
        (Zip().add("ü", HELLO, flags=0), "whose name is no text"),
        (Zip().add("a\0b", HELLO), "empty or has a NUL"),
        (Zip().add("", HELLO), "empty or has a NUL"),
        (Zip().add("a", HELLO, more=b"\x75\x70\1\0u"), "damaged or unusual header"),
        (Zip().add("a", HELLO, more=b"FB\xff\0"), "damaged or unusual header"),
        (Zip().add("a", HELLO, more=b"\1\0\x08\0" + bytes(8)), "about the size of 'a'"),
        (Zip().add("a", HELLO, packed=2**32 - 1), "about the size of 'a'"),
        (Zip().add("a", HELLO, crc=4), "damaged member 'a': its checksum differs"),
        (Zip().add("a", LONG, method=8, size=4), "holds more in 'a' than it says"),
        (Zip().add("a", LONG, method=8, size=4**10), "holds more in 'a' than it says"),
        (Zip().add("a", HELLO, method=8, size=40), "is cut short in 'a'"),
        (
            Zip().add("a", HELLO, method=8, local={"stored": b"\xff" * 7}),
            "damaged member 'a'",
        ),
        (Zip().add("a", HELLO, flags=0x808), "other bytes after 'a'"),
        (
            Zip().add("a", HELLO, flags=0x808, after=b"PK\7\x08" + bytes(12)),
            "other bytes after 'a'",
        ),
    ],
)
def test_contradictions_are_refused(zipped, words):
    refused(zipped.ended(), words)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ({"comment": b"hello"}, "no zip archive|comment"),
        ({"here": 1}, "contradicts itself"),
        ({"disk": 1}, "contradicts itself"),
    ],
)
def test_end_records_that_contradict_are_refused(end, words):
    refused(two().ended(**end), words)


def test_a_directory_with_more_or_fewer_entries_than_it_says_is_refused():
    zipped = two()
    directory = zipped.directory()
    body, size, start = bytes(zipped.body), len(directory), len(zipped.body)
    refused(body + directory + ending(3, size, start), "more members")
    refused(body + directory + ending(1, size, start), "describe no member")
    refused(body + directory + ending(2, size - 1, start), "in no member")
    refused(directory[:-1] + ending(2, 2**31, start), "in no member")


def test_no_byte_of_a_deflated_member_is_left_over():
    behind = zlib.compressobj(9, zlib.DEFLATED, -15)
    stored = behind.compress(HELLO) + behind.flush() + b"more"
    zipped = Zip().add(
        "a", HELLO, method=8, packed=len(stored), local={"stored": stored}
    )
    refused(zipped.ended(), "bytes after the end of 'a'")


def test_what_is_cut_short_is_refused():
    data = two().ended()
    for length in range(len(data)):
        refused(data[:length], "no zip archive")


def test_what_is_accepted_is_what_was_written():
    """Whatever bytes change: a member that is read has the bytes of that name."""
    written = {"a.npy": HELLO, "b/c.npy": LONG[:3000], "d": bytes(range(256))}
    zipped = Zip().add("a.npy", HELLO).add("b/c.npy", LONG[:3000], method=8)
    whole, accepted = zipped.add("d", written["d"]).ended(), 0
    for seed in range(2000):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 4])):
            start = rng.randrange(len(data))
            stop = start + rng.choice([1, 1, 2, 4, 40])
            kinds = (rng.randbytes(stop - start), b"", bytes(data[start:stop]) * 2)
            data[start:stop] = rng.choice(kinds)
        try:
            found = contents(bytes(data))
        except ZipFault:
            continue
        accepted += 1
        assert found == written
    assert accepted  # times and versions may change
