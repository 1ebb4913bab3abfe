"""Headers of npy arrays: what numpy writes is read, what it could not hold is not."""

import inspect
import io
import struct

import numpy as np
import pytest

from audit.ground.errors import InputError
from audit.ground.storage.npy import HEAD, read_header


def with_header(text, version=(1, 0)):
    """An npy header of any text."""
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text.encode("latin1")


def described(shape="(2, 3)", descr="'<f4'", order="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    return text.ljust(117) + "\n"


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "array",
    [
        np.ones((2, 3)),
        np.asfortranarray(np.ones((2, 3), ">f4")),
        np.float32(1),
        np.zeros((0, 3)),
        np.zeros((3, 0, 2)),
        np.array(["a", "bc"]),
    ],
    ids=["plain", "fortran", "number", "no rows", "no columns", "text"],
)
def test_what_numpy_writes_is_read(array, version):
    file, array = io.BytesIO(), np.asanyarray(array)
    np.lib.format.write_array(file, array, version=version)
    data = file.getvalue()
    found = read_header(data, len(data), "here")
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert found.length + found.bytes == len(data)
    assert found.fortran == (array.flags.fnc and array.ndim > 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (described(descr="'|O'"), r"Python objects \(a pickle\), which can run code"),
        (described(descr="[('a', '|O'), ('b', '<f4')]"), "Python objects"),
        (described(shape="(-2, 3)"), r"the shape \[-2, 3\]"),
        (described(shape="(True, 3)"), r"the shape \[True, 3\]"),
        (described(shape="(1,) "), "holds more than one array"),
        (described(shape=f"(2, {2**61})"), "Expected an array that can be"),
        (described(shape=f"(0, {2**62})"), "Expected an array that can be"),
        (described(shape=f"({'1, ' * 40})"), "Expected an array that can be"),
        (described(descr="'<U0'"), "Expected an array that can be"),
        (described(descr="'|V0'", shape="(10,)"), "Expected an array that can be"),
        (described(shape="__import__('os').system('false')"), "is not an npy array"),
        (described(shape="(lambda: 3)()"), "is not an npy array"),
        (described(shape="(2.0, 3)"), "is not an npy array"),
        (described(order="1"), "is not an npy array"),
        (described(descr="'<f3'"), "is not an npy array"),
        (described(descr="{'names': 3}"), "is not an npy array"),
        (described(descr="('<f4', (2, 1))", shape="(3,)"), None),
        ("{}", "is not an npy array"),
        ("(" * 5000, "is not an npy array"),
        ("[" * 90 + "]" * 90, "is not an npy array"),
        ("-" * 9000 + "1", "is not an npy array"),
        (described() + " " * 20_000, "is not an npy array"),
        ("{'descr': '<f4'", "is not an npy array"),
    ],
)
def test_what_is_no_array_is_refused_in_words(text, words):
    data = with_header(text)
    if words is None:  # an array of arrays is one of their shapes put together
        assert read_header(data + bytes(24), len(data) + 24, "here").dtype.kind == "V"
        return
    with pytest.raises(InputError, match=f"here.*{words}"):
        read_header(data + bytes(24), len(data) + 24, "here")


def test_a_header_longer_than_the_file_is_refused():
    data = with_header(described(), (2, 0)).replace(
        struct.pack("<I", 118), struct.pack("<I", 2**31)
    )
    with pytest.raises(InputError, match="here is not an npy array"):
        read_header(data, len(data), "here")


@pytest.mark.parametrize("version", [(0, 0), (1, 1), (4, 0), (9, 9)])
def test_another_version_of_the_format_is_refused(version):
    data = with_header(described(), version)
    words = rf"version {version[0]}\.{version[1]}.*Expected 1\.0, 2\.0 or 3\.0"
    with pytest.raises(InputError, match=words):
        read_header(data, len(data), "here")


def test_numpy_reads_no_header_longer_than_ours():
    read = inspect.signature(np.lib.format.read_array_header_1_0)
    assert read.parameters["max_header_size"].default < HEAD
