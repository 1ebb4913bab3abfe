"""The same numbers from every kind of data file, and the words where there are none."""

import gzip
import json
import re
import struct
import sys
import zipfile
from decimal import Decimal

import numpy as np
import pytest
import torch

from audit.ground.errors import AuditError, ConfigError, InputError
from audit.inputs import list_keys, open_inputs
from audit.inputs.checking import check_reader
from audit.inputs.joined import Joined
from audit.inputs.readers import READERS

X = np.random.default_rng(0).normal(size=(7, 3))
NAMES = ["age", "fare", "weight"]


def write_csv(path):
    lines = [",".join(NAMES), *(",".join(map(repr, row)) for row in X.tolist())]
    path.write_text("\n".join(lines) + "\n")


def write_tsv(path):
    lines = ["\t".join(NAMES), *("\t".join(map(repr, row)) for row in X.tolist())]
    path.write_text("\n".join(lines))


def records():
    return [dict(zip(NAMES, row, strict=True)) for row in X.tolist()]


def write_packed(path):
    write_tsv(path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))


def arrow_table():
    arrow = pytest.importorskip("pyarrow")
    return arrow.table(dict(zip(NAMES, X.T, strict=True)))


def write_parquet(path):
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow_table(), path)


def write_arrow(path):
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(arrow_table(), str(path), compression="uncompressed")


def write_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["group/x"] = X


def write_zarr(path):
    zarr = pytest.importorskip("zarr")
    zarr.open_group(str(path), mode="w").create_array("x", data=X)


def write_mat(path):
    io = pytest.importorskip("scipy.io")
    io.savemat(path, {"x": X, "name": "a text"})


def write_safetensors(path, entries=None, numbers=None):
    shape, size = list(X.shape), X.size * 8
    usual = {"x": {"dtype": "F64", "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps({"__metadata__": {"a": "b"}, **(entries or usual)}).encode()
    numbers = X.astype("<f8").tobytes() if numbers is None else numbers
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)


KINDS = {
    "d.npz": lambda path: np.savez(path, x=X),
    "d.csv": write_csv,
    "d.tsv": write_tsv,
    "d.json": lambda path: path.write_text(json.dumps({"x": X.tolist()})),
    "d.jsonl": lambda path: path.write_text("\n".join(map(json.dumps, records()))),
    "d.tsv.gz": write_packed,
    "d.parquet": write_parquet,
    "d.arrow": write_arrow,
    "d.h5": write_hdf5,
    "d.zarr": write_zarr,
    "d.mat": write_mat,
    "d.pt": lambda path: torch.save({"x": torch.from_numpy(X)}, path),
    "d.safetensors": write_safetensors,
}


@pytest.mark.parametrize("name", KINDS)
def test_a_reader_of_ours_keeps_the_laws_of_all_readers(tmp_path, name):
    path = tmp_path / name
    KINDS[name](path)
    table = dict(zip(NAMES, X.T, strict=True))
    arrays = {"d.h5": {"group/x": X}}.get(name, {"x": X})
    tables = (".csv", ".tsv", ".jsonl", ".gz", ".parquet", ".arrow")
    arrays = table if path.suffix in tables else arrays
    check_reader(READERS[path.suffix], str(path), arrays)


@pytest.mark.parametrize("name", KINDS)
def test_the_numbers_are_the_same(tmp_path, name):
    path = tmp_path / name
    KINDS[name](path)
    found = open_inputs(str(path), {"input": None})
    np.testing.assert_array_equal(found.take("input", slice(0, 7)), X)
    np.testing.assert_array_equal(found.take("input", np.array([5, 2])), X[[5, 2]])
    assert found.n == 7
    assert found.finite(slice(0, 7)).all()
    assert len(found.sha256) == 64
    assert found.sha256 == open_inputs(str(path), {"input": None}).sha256


@pytest.mark.parametrize(
    "name", ["d.csv", "d.jsonl", "d.tsv.gz", "d.parquet", "d.arrow"]
)
def test_columns_are_taken_by_name_and_the_rest_is_the_condition(tmp_path, name):
    path = tmp_path / name
    KINDS[name](path)
    assert list(list_keys(str(path))) == NAMES
    found = open_inputs(str(path), {"x": None, "fare": None})
    np.testing.assert_array_equal(found.take("x", slice(0, 7)), X[:, [0, 2]])
    np.testing.assert_array_equal(found.take("fare", slice(0, 7)), X[:, 1:2])
    condition = found.arrays["x"]
    assert isinstance(condition, Joined)
    assert condition.names == ["age", "weight"]
    some = open_inputs(f"{path}::weight,age", {"x": None})
    np.testing.assert_array_equal(some.take("x", slice(0, 7)), X[:, [2, 0]])


def test_a_name_with_a_comma_is_quoted_among_columns(tmp_path):
    """In a list as in the head of the file; what is left is quoted by the tool."""
    path = tmp_path / "d.csv"
    path.write_text('"age, years","5"" pipe",weight\n1,2,3\n4,5,6\n')
    whole = open_inputs(str(path), {"x": None})
    assert whole.take("x", slice(0, 2)).tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    some = open_inputs(f'{path}::weight, "age, years"', {"x": None})
    assert some.take("x", slice(0, 2)).tolist() == [[3.0, 1.0], [6.0, 4.0]]
    alone = open_inputs(f"{path}::age, years", {"x": None})
    assert alone.take("x", slice(0, 2)).tolist() == [[1.0], [4.0]]
    rest = open_inputs(str(path), {"x": None, "held": '"age, years",weight'})
    assert rest.take("x", slice(0, 2)).tolist() == [[2.0], [5.0]]
    with pytest.raises(
        InputError, match='columns are "age, years", "5"" pipe", weight'
    ):
        open_inputs(f"{path}::age, years, weight", {"x": None})


def refused(path, words, error=InputError, wanted=None):
    with pytest.raises(error, match=words) as found:
        open_inputs(str(path), wanted or {"x": None})
    assert found.value.next_step


def test_a_column_of_texts_is_refused_by_name(tmp_path):
    (tmp_path / "d.csv").write_text("age,sex\n1.5,male\n2,female\n")
    refused(tmp_path / "d.csv", r"column 'sex' holds text \(such as 'male'\)")
    found = open_inputs(f"{tmp_path / 'd.csv'}::age", {"x": None})
    assert found.take("x", slice(0, 2)).tolist() == [[1.5], [2.0]]


def test_an_empty_cell_is_a_missing_number(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\n1,2\n,NA\n5,6\n")
    found = open_inputs(str(tmp_path / "d.csv"), {"x": None})
    assert found.finite(slice(0, 3)).tolist() == [True, False, True]
    assert "input 'x' holds nan" in found.blemish(1)


def test_whole_numbers_of_a_column_stay_whole(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\n1_0,2\n3,4\n")
    refused(tmp_path / "d.csv", r"column 'a' holds text \(such as '1_0'\)")
    (tmp_path / "d.csv").write_text("a,b\n1,2.5\n-3,6\n")
    found = open_inputs(str(tmp_path / "d.csv"), {"a": "a", "b": "b"})
    assert found.arrays["a"].dtype == np.int64
    assert found.arrays["b"].dtype == np.float64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3\n", "Line 3 of .* has 1 cells"),
        ("a,a\n1,2\n", "has a name twice"),
        ("a,\n1,2\n", "has a name twice, or an empty one"),
        ("1,2\n3,4\n", "The first line of .* holds numbers"),
    ],
)
def test_what_is_no_table_is_refused_in_words(tmp_path, text, words):
    (tmp_path / "d.csv").write_text(text)
    refused(tmp_path / "d.csv", words)


TABLES = {  # what a program writes, of the rows 1.5, -2 and 3, 0.25
    "commas": "a,b\n1.5,-2\n3,0.25\n",
    "semicolons, as Excel in Europe": "a;b\n1.5;-2\n3;0.25\n",
    "tabs under another name": "a\tb\n1.5\t-2\n3\t0.25\n",
    "semicolons in a quoted name": '"a;",b\n1.5,-2\n3,0.25\n',
    "numpy.savetxt(header=)": "# a,b\n1.5,-2\n3,0.25\n",
    "remarks": "# made by me\n#\n# a,b\n1.5,-2\n3,0.25\n",
    "remarks before names": "# made, by; me\n#\na,b\n1.5,-2\n3,0.25\n",
    "ends of lines of Windows": "a,b\r\n1.5,-2\r\n3,0.25\r\n",
    "ends of lines of old Macs": "a,b\r1.5,-2\r3,0.25\r",
    "all in quotes": '"a","b"\n"1.5","-2"\n"3","0.25"\n',
    "blanks and exponents": "a, b\n 15E-1 , -2 \n\n3.0,2.5e-1\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_what_programs_write_is_read(tmp_path, text, encoding):
    (tmp_path / "d.csv").write_bytes(text.encode(encoding))
    found = open_inputs(str(tmp_path / "d.csv"), {"x": None})
    assert found.take("x", slice(0, 2)).tolist() == [[1.5, -2.0], [3.0, 0.25]]


def test_truth_is_one_and_zero(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\nTrue,1\nFALSE,2.5\n")
    found = open_inputs(str(tmp_path / "d.csv"), {"x": None})
    assert found.take("x", slice(0, 2)).tolist() == [[1.0, 1.0], [0.0, 2.5]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a;b\n1,5;2\n", r"holds text \(such as '1,5'\): a comma inside a number"),
        ('a,b\n"1,000.5",2\n', "such as '1,000.5'.*: a comma inside a number"),
        (
            ",a,b\n0,1,2\n",
            "first column of .* has no name, like the index.*index=False",
        ),
        ("1,1\n3,4\n", "The first line of .* holds numbers"),
        ("a,b,kind\n1,2,cat\n", "column 'kind' holds text.*DATA::a,b$"),
        ("größe,b\n1,2\n".encode("latin-1"), "no text in UTF-8.*CSV UTF-8"),
        ("\n \n", "is blank"),
    ],
)
def test_what_could_mean_two_things_is_refused(tmp_path, text, words):
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "d.csv").write_bytes(data)
    with pytest.raises(InputError) as found:
        open_inputs(str(tmp_path / "d.csv"), {"x": None})
    assert re.search(words, str(found.value).rstrip("."))


@pytest.mark.parametrize("name", ["d.csv", "d.parquet", "d.arrow"])
def test_a_column_that_is_set_aside_is_no_part_of_the_condition(tmp_path, name):
    KINDS[name](tmp_path / name)
    found = open_inputs(str(tmp_path / name), {"x": None}, aside=("fare", "other"))
    np.testing.assert_array_equal(found.take("x", slice(0, 7)), X[:, [0, 2]])
    named = open_inputs(f"{tmp_path / name}::fare", {"x": None}, aside=("fare",))
    np.testing.assert_array_equal(named.take("x", slice(0, 7)), X[:, [1]])


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3)])
def test_a_column_of_lists_is_one_array(tmp_path, shape, fixed):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    kind = arrow.float32()
    for size in reversed(shape[1:]):
        kind = arrow.list_(kind, size if fixed else -1)
    label = arrow.array([f"row {i}" for i in range(7)])
    table = arrow.table({"x": arrow.array(x.tolist(), kind), "name": label})
    parquet.write_table(table, tmp_path / "d.parquet")
    found = open_inputs(f"{tmp_path / 'd.parquet'}::x", {"x": None})
    np.testing.assert_array_equal(found.take("x", slice(0, 7)), x)
    assert found.arrays["x"].dtype == np.float32


def test_lists_of_different_lengths_are_refused(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for rows in ([[1.0, 2.0], [3.0]], [[1.0, 2.0], None]):
        table = arrow.table({"x": arrow.array(rows, arrow.list_(arrow.float64()))})
        parquet.write_table(table, tmp_path / "d.parquet")
        refused(tmp_path / "d.parquet", "column 'x' holds lists of different lengths")


def test_what_pandas_and_data_bases_add_to_a_table(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "a": arrow.array([Decimal("1.25"), None], arrow.decimal128(5, 2)),
        "b": arrow.array([1, 2]),
        "__index_level_0__": arrow.array([7, 8]),
    }
    parquet.write_table(arrow.table(columns), tmp_path / "d.parquet")
    found = open_inputs(str(tmp_path / "d.parquet"), {"x": None})
    np.testing.assert_array_equal(
        found.take("x", slice(0, 2)), [[1.25, 1.0], [np.nan, 2.0]]
    )


@pytest.mark.parametrize("index", ["when", "b"])
def test_the_index_of_pandas_is_read_by_its_name_alone(tmp_path, index):
    """As DataFrame.set_index(...).to_parquet writes it, last of the columns."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    days = np.array(["2024-01-01", "2024-02-03"], "datetime64[ns]")
    columns = {"a": [1.5, 2.5], "c": [3.0, 4.0], index: [7, 8]}
    columns |= {"when": days} if index == "when" else {}
    told = json.dumps({"index_columns": [index], "columns": []})
    table = arrow.table(columns).replace_schema_metadata({"pandas": told})
    parquet.write_table(table, tmp_path / "d.parquet")
    found = open_inputs(str(tmp_path / "d.parquet"), {"x": None})
    np.testing.assert_array_equal(found.take("x", slice(0, 2)), [[1.5, 3], [2.5, 4]])
    for odd in ("{", "[]", '{"index_columns": [{"kind": "range"}]}'):
        other = table.replace_schema_metadata({"pandas": odd}).drop_columns([index])
        parquet.write_table(other, tmp_path / "odd.parquet")
        found = open_inputs(str(tmp_path / "odd.parquet"), {"x": None})
        assert found.take("x", slice(0, 2)).tolist() == [[1.5, 3], [2.5, 4]]
    if index == "b":
        named = open_inputs(str(tmp_path / "d.parquet"), {"x": "b,a"})
        np.testing.assert_array_equal(
            named.take("x", slice(0, 2)), [[7, 1.5], [8, 2.5]]
        )


def test_times_are_no_numbers(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    days = np.array(["2024-01-01", "2024-02-03"], "datetime64[ns]")
    table = arrow.table({"a": [1.5, 2.5], "when": days})
    parquet.write_table(table, tmp_path / "d.parquet")
    refused(tmp_path / "d.parquet", "column 'when' holds times .such as '2024-01-01T")


def test_a_stream_of_arrow_is_read_as_a_file_of_it(tmp_path):
    """As the cache of the datasets library is."""
    ipc = pytest.importorskip("pyarrow.ipc")
    table = arrow_table()
    with ipc.new_stream(str(tmp_path / "d.arrow"), table.schema) as stream:
        stream.write_table(table, max_chunksize=3)
    found = open_inputs(str(tmp_path / "d.arrow"), {"x": None})
    np.testing.assert_array_equal(found.take("x", slice(0, 7)), X)
    whole = (tmp_path / "d.arrow").read_bytes()
    (tmp_path / "d.arrow").write_bytes(whole[:-200])
    refused(tmp_path / "d.arrow", "no readable Arrow file")


@pytest.mark.parametrize("kind", ["F16", "BF16", "I64", "U8", "BOOL"])
def test_the_types_of_safetensors(tmp_path, kind):
    types = {"F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
    types |= {"U8": torch.uint8, "BOOL": torch.bool}
    values = torch.from_numpy(np.abs(X) * 3).to(types[kind])
    size = values.numel() * values.element_size()
    entry = {"dtype": kind, "shape": list(X.shape), "data_offsets": [2, 2 + size]}
    raw = values.contiguous().view(torch.uint8).numpy().tobytes()
    write_safetensors(tmp_path / "d.safetensors", {"x": entry}, b"ab" + raw)
    found = open_inputs(str(tmp_path / "d.safetensors"), {"x": None})
    expected = (values.float() if kind == "BF16" else values).numpy()
    np.testing.assert_array_equal(found.take("x", slice(0, 7)), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "F8_E4M3"}, "'x' has the type F8_E4M3"),
        ({"shape": [7, -3]}, "no shape"),
        ({"shape": [1 << 40, 3]}, "does not lie where"),
        ({"data_offsets": [8, X.size * 8 + 8]}, "does not lie where"),
        ({"data_offsets": [-8, X.size * 8 - 8]}, "does not lie where"),
        ({"data_offsets": ["a", "b"]}, "no readable safetensors file"),
    ],
)
def test_a_header_of_safetensors_that_lies_is_refused(tmp_path, change, words):
    entry = {"dtype": "F64", "shape": [7, 3], "data_offsets": [0, X.size * 8], **change}
    write_safetensors(tmp_path / "d.safetensors", {"x": entry})
    refused(tmp_path / "d.safetensors", words)


def test_a_missing_truth_value_is_a_missing_number(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"a": [1.5, 2.5, 3.5], "b": [True, None, False]})
    parquet.write_table(table, tmp_path / "d.parquet")
    found = open_inputs(str(tmp_path / "d.parquet"), {"x": None})
    expected = [[1.5, 1], [2.5, np.nan], [3.5, 0]]
    np.testing.assert_array_equal(found.take("x", slice(0, 3)), expected)


def test_a_missing_text_is_not_the_word_none(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"city": ["a", "b", None, "a"], "age": [1.0, 2.0, 3.0, 4.0]})
    parquet.write_table(table, tmp_path / "d.parquet")
    ask = {"age": None, "city": None}
    with pytest.raises(InputError, match="no text in 1 of 4 places, first in row 2"):
        open_inputs(str(tmp_path / "d.parquet"), ask, texts=frozenset(["city"]))
    parquet.write_table(table.slice(0, 2), tmp_path / "d.parquet")
    found = open_inputs(str(tmp_path / "d.parquet"), ask, texts=frozenset(["city"]))
    assert found.take("city", slice(0, 2)).tolist() == [[0], [1]]


def test_of_a_column_of_text_that_is_shown_which_is_no_number(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\n1.5,-2e3\n2.5,red\n")
    refused(tmp_path / "d.csv", r"column 'b' holds text \(such as 'red'\)")


def test_a_file_that_is_not_there_may_have_been_of_any_kind(tmp_path):
    refused(tmp_path / "d.csv", r"There is no data file.*\.csv, .*\.parquet")
    refused("-", "through a pipe to a file")


def test_a_matlab_file_of_7_3_has_its_matrices_as_matlab_shows_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "d.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = X.T  # its axes in reverse, as MATLAB stores them
        file["x"].attrs["MATLAB_class"] = np.bytes_("double")
        file["plain"] = X
    words = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(words + path.read_bytes()[len(words) :])
    for key in ("x", "plain"):
        found = open_inputs(f"{path}::{key}", {"x": None})
        np.testing.assert_array_equal(found.take("x", slice(0, 7)), X)


def test_a_matlab_file_of_structs_says_what_it_holds(tmp_path):
    io = pytest.importorskip("scipy.io")
    io.savemat(tmp_path / "d.mat", {"s": {"x": X}})
    refused(tmp_path / "d.mat", "no matrix of numbers, but s")


def test_a_file_of_objects_is_refused_without_colours(tmp_path):
    torch.save(torch.utils.data.TensorDataset(torch.zeros(2, 3)), tmp_path / "d.pt")
    with pytest.raises(InputError, match="no readable file of tensors") as found:
        open_inputs(str(tmp_path / "d.pt"), {"x": None})
    assert "\x1b" not in str(found.value)
    assert "holds a torch.utils.data.dataset.TensorDataset. Exp" in str(found.value)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("xl/workbook.xml", "a workbook of Excel.*Save the sheet as 'CSV"),
        ("d/data.pkl", "one of torch.save.*end in .pt"),
    ],
)
def test_an_archive_of_something_else_says_of_what(tmp_path, member, words):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as file:
        file.writestr(member, "text")
    refused(tmp_path / "d.npz", words)


def test_a_column_that_is_not_there_lists_those_that_are(tmp_path):
    write_csv(tmp_path / "d.csv")
    refused(f"{tmp_path / 'd.csv'}::age,other", "no column 'other'.*age, fare, weight")


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("d.parquet", "pyarrow", "parquet"),
        ("d.h5", "h5py", "hdf5"),
        ("d.zarr", "zarr", "zarr"),
        ("d.mat", "scipy", "matlab"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    tmp_path, monkeypatch, name, package, extra
):
    path = tmp_path / name
    if name == "d.zarr":
        path.mkdir()
        (path / "zarr.json").write_text("{}")
    else:
        heads = {"d.h5": b"\x89HDF\r\n\x1a\n", "d.mat": b"MATLAB 5.0 MAT-file"}
        path.write_bytes(heads.get(name, b"PAR1") + b"\0" * 99)
    monkeypatch.setitem(sys.modules, package, None)
    refused(path, rf"pip install 'robaudit\[{extra}\]'", ConfigError)


@pytest.mark.parametrize("name", ["d.parquet", "d.arrow", "d.h5", "d.mat", "d.pt"])
def test_a_file_cut_short_is_refused(tmp_path, name):
    path = tmp_path / name
    KINDS[name](path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(AuditError, match=r"no readable|cannot be read"):
        open_inputs(str(path), {"x": None})


def test_a_pickle_is_no_file_of_tensors(tmp_path):
    torch.save({"x": object()}, tmp_path / "d.pt")
    refused(tmp_path / "d.pt", "no readable file of tensors")
    torch.save({"x": [1, 2]}, tmp_path / "d.pt")
    refused(tmp_path / "d.pt", "'x' is a list")


def test_a_table_larger_than_memory_is_refused(tmp_path):
    write_csv(tmp_path / "d.csv")
    with pytest.raises(ConfigError, match="--memory"):
        open_inputs(str(tmp_path / "d.csv"), {"x": None}, memory=10)


@pytest.mark.parametrize(
    "held",
    [
        {name: X[:, i].tolist() for i, name in enumerate(NAMES)},
        records(),
        X.tolist(),
        {"x": X.tolist()},
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_json_is_read_in_each_of_its_forms(tmp_path, held, packed):
    path = tmp_path / ("d.json.gz" if packed else "d.json")
    text = json.dumps(held).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    found = open_inputs(str(path), {"x": None})
    np.testing.assert_array_equal(found.take("x", slice(0, 7)), X)


def test_null_is_nan_in_json_and_vectors_may_be_values(tmp_path):
    rows = ['{"x": [1, null], "n": 3}', "", '{"x": [2.5, 4], "n": 5}']
    (tmp_path / "d.ndjson").write_text("\n".join(rows))
    found = open_inputs(str(tmp_path / "d.ndjson"), {"x": "x", "n": "n"})
    expected = np.array([[1, np.nan], [2.5, 4]])
    np.testing.assert_array_equal(found.take("x", slice(0, 2)), expected)
    assert found.take("n", slice(0, 2)).tolist() == [[3], [5]]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("d.json", "{", "no readable JSON file"),
        ("d.json", '{"x": 1}\n{"x": 2}', "no readable JSON file .*Extra data"),
        ("d.json", "[" * 100_000, "no readable JSON file"),
        ("d.json", '{"x": {"0": 1.5, "1": 2}}', "'x' is no array of numbers"),
        ("d.json", "[[1, 2], [3]]", "'x' is no array of numbers"),
        ("d.json", '[[1, 2], ["a", null]]', "'x' is no array of numbers"),
        ("d.json", "3", "'x' is no array of numbers"),
        ("d.jsonl", '{"a": 1}\n{"b": 2}', "Record 1 of .* other names"),
        ("d.jsonl", '{"a": 1}\n[2]', "Record 1 of .* other names"),
        ("d.csv.gz", "a,b\n1,2\n", "no readable gzip file"),
        ("d.gz", "a,b\n1,2\n", "does not say of what"),
    ],
)
def test_what_is_no_such_text_is_refused(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    refused(tmp_path / name, words)


def test_what_a_packed_text_unpacks_to_is_bounded(tmp_path):
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 2_000_000))
    assert path.stat().st_size < 2**20
    with pytest.raises(ConfigError, match=r"unpacked.*read whole"):
        open_inputs(str(path), {"x": None}, 2**20)
