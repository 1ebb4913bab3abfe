"""Data files: what is opened, how, and the words when it cannot be."""

import zipfile

import numpy as np
import pytest

from audit.ground.errors import ConfigError, InputError, NothingAudited
from audit.inputs import list_keys, open_inputs, split_spec

X = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, features=X, y=np.arange(4), theta=X + 1)
    return str(path)


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def test_a_stored_member_is_memory_mapped(npz):
    found = open_inputs(npz, {"input": None})
    assert isinstance(found.arrays["input"], np.memmap)
    np.testing.assert_array_equal(found.arrays["input"], X)


def test_a_compressed_member_is_read_and_equal(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=X)
    found = open_inputs(str(path), {"x": None}).arrays["x"]
    assert not isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, X)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(X),
        X.astype(">f8"),
        X.astype(np.float16),
        np.arange(4, dtype=np.int8),
        np.ones((2, 3, 4, 5)),
        X > 3,
    ],
    ids=["fortran", "big-endian", "half", "one number", "images", "bool"],
)
def test_take_gives_native_contiguous_copies(tmp_path, array, compressed):
    path = tmp_path / "data.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=array)
    taken = open_inputs(str(path), {"x": None}).take("x", slice(1, 3))
    np.testing.assert_array_equal(taken, array[1:3])
    assert taken.dtype.isnative
    assert taken.flags.c_contiguous
    assert taken.flags.writeable


def test_take_follows_an_index_array(npz):
    rows = np.array([3, 0])
    found = open_inputs(npz, {"x": "features"})
    np.testing.assert_array_equal(found.take("x", rows), X[rows])


def test_npy_files_are_mapped(tmp_path):
    path = str(tmp_path / "x.npy")
    np.save(path, X)
    found = open_inputs(path, {"image": None})
    assert isinstance(found.arrays["image"], np.memmap)
    assert found.keys == {"image": ""}
    assert found.n == 4


def test_the_inputs_own_name_comes_before_the_usual_ones(tmp_path):
    path = save(tmp_path / "data.npz", x=X, image=2 * X, inputs=3 * X)
    assert open_inputs(path, {"image": None}).keys == {"image": "image"}
    assert open_inputs(path, {"other": None}).keys == {"other": "x"}


def test_a_single_key_needs_no_name(tmp_path):
    path = save(tmp_path / "data.npz", measurements=X)
    assert open_inputs(path, {"other": None}).keys == {"other": "measurements"}


def test_a_key_after_two_colons_is_that_of_the_first_input(npz):
    found = open_inputs(f"{npz}::theta", {"input": None, "labels": "y"})
    assert found.keys == {"input": "theta", "labels": "y"}
    assert split_spec("a::b.npz::k") == ("a::b.npz", "k")


def test_a_second_input_is_found_under_its_own_name_only(npz):
    with pytest.raises(InputError, match=r"no key 'state'.*--held state=KEY"):
        open_inputs(npz, {"input": "features", "state": None})


def test_list_keys(npz, tmp_path):
    assert list_keys(npz) == ("features", "y", "theta")
    np.save(tmp_path / "x.npy", X)
    assert list_keys(str(tmp_path / "x.npy")) == ()


def test_sha256_is_that_of_the_file(npz):
    import hashlib

    with open(npz, "rb") as file:
        expected = hashlib.sha256(file.read()).hexdigest()
    assert open_inputs(npz, {"input": None}).sha256 == expected


def test_rows_that_are_not_finite_are_marked_and_named(tmp_path):
    bad = X.copy()
    bad[1, 2], bad[3, 0], bad[3, 1] = np.nan, np.inf, -np.inf
    found = open_inputs(save(tmp_path / "d.npz", x=bad, k=np.arange(4)), {"x": None})
    assert found.finite(slice(0, 4)).tolist() == [True, False, True, False]
    assert found.finite(np.array([3, 2])).tolist() == [False, True]
    assert found.blemish(1) == "input 'x' holds nan at [2]"
    assert found.blemish(3) == "input 'x' holds inf at [0], and 1 more"
    assert found.blemish(0) == ""


def test_scalar_rows_and_integers_are_finite(tmp_path):
    path = save(tmp_path / "d.npz", x=np.array([1.0, np.nan]))
    assert open_inputs(path, {"x": None}).finite(slice(0, 2)).tolist() == [True, False]
    assert open_inputs(path, {"x": None}).blemish(1) == "input 'x' holds nan"


def refuse(path, error, words, keys=None):
    with pytest.raises(error, match=words):
        open_inputs(str(path), keys or {"x": None})


def test_a_missing_file(tmp_path):
    refuse(tmp_path / "no.npz", InputError, "There is no data file")


def test_a_folder(tmp_path):
    refuse(tmp_path, InputError, r"cannot be read.*Put its parts together")


def test_an_empty_file(tmp_path):
    (tmp_path / "e.npz").touch()
    refuse(tmp_path / "e.npz", InputError, r"is empty \(0 bytes\)")


def test_a_truncated_zip(npz, tmp_path):
    with open(npz, "rb") as file:
        (tmp_path / "t.npz").write_bytes(file.read()[:-40])
    refuse(tmp_path / "t.npz", InputError, "truncated or damaged zip")


def test_a_truncated_npy(tmp_path):
    np.save(tmp_path / "x.npy", X)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-8])
    refuse(tmp_path / "x.npy", InputError, "cut short")
    (tmp_path / "x.npy").write_bytes(content[:20])
    refuse(tmp_path / "x.npy", InputError, "is not an npy array")


def test_a_damaged_compressed_member(tmp_path):
    path = tmp_path / "c.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(50, 50)))
    content = bytearray(path.read_bytes())
    content[2000:2040] = bytes(40)
    path.write_bytes(content)
    refuse(path, InputError, "The data file '.*c.npz' h.*'x.npy'")


def test_text_is_neither_npz_nor_npy(tmp_path):
    (tmp_path / "d.txt").write_text("a,b\n1,2\n")
    refuse(tmp_path / "d.txt", InputError, r"neither npz nor npy.*np.savez\('d.npz'")


def test_a_wrong_key_lists_the_keys(npz):
    words = "no key 'z'. Its keys are features, theta, y.*--condition x=KEY"
    refuse(npz, InputError, words, {"x": "z"})
    refuse(f"{npz}::z", InputError, words)


def test_two_different_keys_for_one_input(npz):
    refuse(f"{npz}::y", ConfigError, "Two keys are given for input 'x'", {"x": "theta"})


def test_a_key_of_an_npy(tmp_path):
    np.save(tmp_path / "x.npy", X)
    refuse(f"{tmp_path / 'x.npy'}::k", ConfigError, "one array without a key, and 'k'")


def test_pickles_are_refused_unread(tmp_path):
    path = save(tmp_path / "o.npz", x=np.array([{}, 1], dtype=object))
    refuse(path, InputError, r"Python objects \(a pickle\), which can run code")


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.ones(2, complex),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", "f4"), ("b", "f4")]),
        np.zeros(2, "V8"),
        *([] if np.dtype("g").itemsize == 8 else [np.zeros(2, "g")]),
    ],
)
def test_dtypes_that_are_no_real_numbers(tmp_path, array):
    path = save(tmp_path / "o.npz", x=array)
    refuse(path, InputError, "Expected real numbers for the model's input 'x'")


def test_a_single_number_has_no_rows(tmp_path):
    refuse(save(tmp_path / "o.npz", x=np.float32(1)), InputError, "a single number")


def test_zero_rows(tmp_path):
    path = save(tmp_path / "o.npz", x=np.zeros((0, 3)))
    refuse(path, NothingAudited, "key 'x' has no rows")


def test_inputs_that_differ_in_rows(tmp_path):
    path = save(tmp_path / "o.npz", x=X, h=X[:2])
    words = "'x' has 4, 'h' has 2"
    refuse(path, InputError, words, {"x": None, "h": None})


def test_a_member_that_is_not_npy_is_no_key(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refuse(tmp_path / "z.npz", InputError, "Its keys are none")
