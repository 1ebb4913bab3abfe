"""Numbers are what their container says, checked against numpy's own reading."""

import io
import os
import zipfile

import numpy as np
import pytest
from ground.storage.handmade import Zip, two_directories
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.ground.errors import AuditError, ConfigError, InputError
from audit.inputs import list_keys, open_inputs
from audit.inputs.names import read_feature_names
from audit.reports.row_readers import reader_of

X = np.arange(24, dtype=np.float32).reshape(8, 3)


def npy(array, **saving):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **saving)
    return file.getvalue()


def written(tmp_path, data, name="d.npz"):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def refused(path, words, error=InputError, keys=None, **options):
    with pytest.raises(error, match=words) as found:
        open_inputs(str(path), keys or {"x": None}, **options)
    assert str(path) in str(found.value)


# Sizes and checksums


@pytest.mark.parametrize("method", [0, 8])
def test_a_checksum_that_differs_is_refused(tmp_path, method):
    data = Zip().add("x.npy", npy(X), method=method, crc=1).ended()
    refused(written(tmp_path, data), "checksum differs")


@pytest.mark.parametrize("place", [0, 1, 95])
def test_a_number_that_changed_is_refused(tmp_path, place):
    np.savez(tmp_path / "d.npz", x=X, y=X + 1)
    data = bytearray((tmp_path / "d.npz").read_bytes())
    data[data.index(X.tobytes()) + place] ^= 1
    refused(written(tmp_path, data), "key 'x' is damaged: its checksum differs")


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize(("rows", "words"), [(9, "cut short"), (7, "more than one ar")])
def test_rows_are_neither_lost_nor_invented(tmp_path, method, rows, words):
    data = npy(X).replace(b"(8, 3)", f"({rows}, 3)".encode())
    zipped = Zip().add("x.npy", data, method=method).add("y.npy", npy(X))
    refused(written(tmp_path, zipped.ended()), rf"key 'x' .*{words}.*it has 96")
    refused(written(tmp_path, data, "d.npy"), f"its array .*{words}")


def test_arrays_one_after_the_other_in_an_npy_are_refused(tmp_path):
    refused(written(tmp_path, npy(X) + npy(X), "d.npy"), "holds more than one array")


def test_rows_without_anything_in_them_are_no_inputs(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones((10**6, 0)))
    refused(tmp_path / "d.npz", "nothing in its rows")


def test_only_what_is_asked_for_must_be_whole(tmp_path):
    """A damaged array that nobody reads changes no number."""
    zipped = Zip().add("x.npy", npy(X)).add("other.npy", npy(X), crc=1)
    found = open_inputs(written(tmp_path, zipped.ended()), {"x": None})
    np.testing.assert_array_equal(found.arrays["x"], X)


# Bounds


def test_what_is_compressed_fits_into_the_memory_or_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((1000, 100)))
    refused(
        tmp_path / "d.npz",
        r"key 'x' takes 0\.0 GiB unpacked.*Raise --memory, or save it with np\.savez",
        ConfigError,
        memory=10**5,
    )
    assert open_inputs(str(tmp_path / "d.npz"), {"x": None}, memory=10**6).n == 1000


def test_the_bound_is_of_all_that_is_compressed(tmp_path):
    np.savez_compressed(
        tmp_path / "d.npz", x=np.zeros((100, 10)), y=np.zeros((100, 10))
    )
    keys = {"x": None, "y": None}
    refused(tmp_path / "d.npz", "unpacked", ConfigError, keys, memory=15_000)
    assert open_inputs(str(tmp_path / "d.npz"), keys, memory=16_000).n == 100


def test_what_is_mapped_takes_no_memory(tmp_path):
    np.savez(tmp_path / "d.npz", x=X)
    found = open_inputs(str(tmp_path / "d.npz"), {"x": None}, memory=1)
    assert isinstance(found.arrays["x"], np.memmap)


@pytest.mark.parametrize("mebibytes", [128, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_bomb_is_not_unpacked(tmp_path, mebibytes):
    """It says that it holds 400 bytes, and holds 128 MiB, or a gigabyte."""
    import tracemalloc
    import zlib

    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    stored = deflate.compress(npy(np.zeros((8, 9), np.float32))[:-4])
    stored += b"".join(deflate.compress(bytes(1 << 20)) for _ in range(mebibytes))
    stored += deflate.flush()
    zipped = Zip().add(
        "x.npy", npy(X), method=8, packed=len(stored), local={"stored": stored}
    )
    path = written(tmp_path, zipped.ended())
    tracemalloc.start()
    refused(path, "holds more in 'x.npy' than it says")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


# Containers with two readings


def test_two_directories_are_refused(tmp_path):
    data = two_directories([("x.npy", npy(X + 1))], [("x.npy", npy(X))])
    refused(written(tmp_path, data), "in no member")


def test_a_key_that_could_mean_two_members_is_refused(tmp_path):
    zipped = Zip().add("x.npy", npy(X)).add("x.npy", npy(X + 1))
    refused(written(tmp_path, zipped.ended()), "two members of the same name")
    zipped = Zip().add("x.npy", npy(X)).add("x", npy(X + 1))
    refused(written(tmp_path, zipped.ended()), "two members for the key 'x'")


def test_an_npy_that_is_also_a_zip_is_neither(tmp_path):
    zipped = Zip().add("x.npy", npy(X + 1)).ended(before=npy(X))
    refused(written(tmp_path, zipped, "d.npy"), "holds more than one array")


def test_a_zip_within_a_zip_is_no_array(tmp_path):
    inner = Zip().add("x.npy", npy(X)).ended()
    path = written(tmp_path, Zip().add("x.npy", inner).ended())
    refused(path, "key 'x' is not an npy array")


def test_keys_may_have_folders_and_differ_in_case(tmp_path):
    np.savez(tmp_path / "d.npz", **{"enc/x": X, "a": X + 1, "A": X + 2})
    path = str(tmp_path / "d.npz")
    assert list_keys(path) == ("enc/x", "a", "A")
    for key, expected in {"enc/x": X, "a": X + 1, "A": X + 2}.items():
        found = open_inputs(path, {"in": key}).arrays["in"]
        np.testing.assert_array_equal(found, expected)


def test_no_file_of_another_kind_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    refused(tmp_path / "pipe.npz", "cannot be read: it is a pipe, not a file")
    refused("/dev/zero", "cannot be read: it is a device, not a file")


# Other readers of the same files


def test_names_and_rows_are_read_with_the_same_care(tmp_path):
    names = npy(np.array(["a", "b", "c"]))
    bad = Zip().add("feature_names.npy", names, crc=1).add("x.npy", npy(X), crc=1)
    path = written(tmp_path, bad.ended())
    with pytest.raises(InputError, match="checksum differs"):
        read_feature_names(path, (3,))
    with pytest.raises(InputError, match="checksum differs"):
        reader_of(path)("x")


# Laws


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(["<f4", ">f8", "<f2", "|i1", ">u2", "|b1", "<i8"]))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return np.asfortranarray(values) if draw(st.booleans()) else values


@settings(max_examples=100, deadline=None)
@given(
    array=arrays(), method=st.sampled_from([0, 8]), version=st.sampled_from([1, 2, 3])
)
def test_every_array_that_numpy_writes_is_read_as_numpy_reads_it(
    tmp_path_factory, array, method, version
):
    data = npy(array, version=(version, 0))
    folder = tmp_path_factory.mktemp("law")
    path = written(folder, Zip().add("x.npy", data, method=method).ended())
    found = open_inputs(path, {"x": None}).arrays["x"]
    with np.load(path) as loaded:
        expected = loaded["x"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    alone = open_inputs(written(folder, data, "x.npy"), {"x": None}).arrays["x"]
    np.testing.assert_array_equal(alone, expected)


CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["change", "cut", "repeat", "zero"]),
        st.integers(1, 60),
        st.binary(min_size=60, max_size=60),
    ),
    min_size=1,
    max_size=4,
)


def changed(whole, changes):
    data = bytearray(whole)
    for place, kind, size, noise in changes:
        start = int(place * len(data))
        part = bytes(data[start : start + size])
        new = {"change": noise[: len(part)], "cut": b"", "repeat": part * 2}
        data[start : start + size] = new.get(kind, bytes(len(part)))
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(changes=CHANGES, method=st.sampled_from([0, 8]))
def test_a_changed_npz_reads_as_the_same_numbers_or_is_refused(
    tmp_path_factory, changes, method
):
    zipped = Zip().add("x.npy", npy(X), method=method).add("y.npy", npy(X + 1))
    data = changed(zipped.ended(), changes)
    path = written(tmp_path_factory.mktemp("law"), data)
    try:
        found = open_inputs(path, {"x": "x", "y": "y"}).arrays
    except AuditError:
        return
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], X + 1)


@settings(max_examples=300, deadline=None)
@given(changes=CHANGES)
def test_a_changed_npy_reads_as_numpy_reads_it_or_is_refused(tmp_path_factory, changes):
    data = changed(npy(X), changes)
    path = written(tmp_path_factory.mktemp("law"), data, "x.npy")
    try:
        found = open_inputs(path, {"x": None}).arrays["x"]
    except AuditError:
        return
    expected = np.load(path, allow_pickle=False)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()
    assert len(data) == 128 + expected.nbytes
