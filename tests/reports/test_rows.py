"""Rows files: streamed, atomic, the same whatever the chunks."""

import csv

import numpy as np
import pytest
from pyarrow import parquet

from audit.ground.errors import ConfigError, InputError
from audit.inputs import open_inputs
from audit.reports.recorded import RecordedRows
from audit.reports.row_readers import reader_of
from audit.reports.rows import RowsWriter
from audit.reports.values import Values

N, K = 10, 2
RNG = np.random.default_rng(0)
ROWS = {
    "index": np.arange(N),
    "kl.trace": np.where(np.arange(N) % 4, RNG.normal(size=N), np.nan),
    "kl.eigenvalues": RNG.normal(size=(N, K)),
    "kl.directions": RNG.normal(size=(N, K, 3, 4)).astype(np.float32),
}


def write(path, *cuts):
    with RowsWriter(str(path)) as rows:
        for start, stop in zip((0, *cuts), (*cuts, N), strict=True):
            rows.append({name: column[start:stop] for name, column in ROWS.items()})


def write_then_fail(path):
    with RowsWriter(str(path)) as rows:
        rows.append(ROWS)
        raise RuntimeError


def test_an_npz_holds_what_was_appended(tmp_path):
    write(tmp_path / "r.npz", 3, 7)
    found = np.load(tmp_path / "r.npz")
    assert sorted(found) == sorted(ROWS)
    for name, column in ROWS.items():
        np.testing.assert_array_equal(found[name], column)
        assert found[name].dtype == column.dtype


def test_its_members_can_be_memory_mapped(tmp_path):
    write(tmp_path / "r.npz")
    found = open_inputs(f"{tmp_path / 'r.npz'}::kl.directions", {"x": None})
    assert isinstance(found.arrays["x"], np.memmap)


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_chunks_do_not_show_in_the_bytes(tmp_path, suffix):
    write(tmp_path / f"a{suffix}")
    write(tmp_path / f"b{suffix}", 1, 2, 9)
    contents = [(tmp_path / f"{name}{suffix}").read_bytes() for name in "ab"]
    assert contents[0] == contents[1]


def test_csv_has_the_scalars_and_blanks_for_what_was_not_measured(tmp_path):
    write(tmp_path / "r.csv", 4)
    with (tmp_path / "r.csv").open() as file:
        header, *lines = csv.reader(file)
    assert header == ["index", "kl.trace"]
    assert len(lines) == N
    assert lines[0] == ["0", ""]
    assert float(lines[1][1]) == ROWS["kl.trace"][1]


def test_several_files_are_written_at_once(tmp_path):
    paths = [str(tmp_path / "r.npz"), str(tmp_path / "r.csv")]
    with RowsWriter(*paths) as rows:
        rows.append(ROWS)
        rows.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.csv", "r.npz"]


def test_nothing_is_left_behind_by_a_failure(tmp_path):
    with pytest.raises(RuntimeError):
        write_then_fail(tmp_path / "r.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_survives_a_failure(tmp_path):
    (tmp_path / "r.npz").write_text("old")
    with pytest.raises(RuntimeError):
        write_then_fail(tmp_path / "r.npz")
    assert (tmp_path / "r.npz").read_text() == "old"


def test_a_scan_of_nothing_gives_an_empty_file(tmp_path):
    with RowsWriter(str(tmp_path / "r.npz")):
        pass
    assert list(np.load(tmp_path / "r.npz")) == []


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        ({"index": np.arange(2)}, "columns differ"),
        (ROWS | {"kl.eigenvalues": np.ones((N, 5))}, r"rows of shape \(5,\)"),
    ],
)
def test_chunks_that_do_not_fit_are_a_bug_and_say_so(tmp_path, chunk, words):
    with RowsWriter(str(tmp_path / "r.npz")) as rows:
        rows.append(ROWS)
        with pytest.raises(ValueError, match=words):
            rows.append(chunk)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'robaudit\[parquet\]'"):
        RowsWriter(str(tmp_path / "r.parquet"))


def test_parquet_holds_numbers_and_flat_lists(tmp_path):
    write(tmp_path / "r.parquet", 3)
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.column_names == list(ROWS)
    directions = np.stack(table["kl.directions"].to_numpy())
    np.testing.assert_array_equal(directions.reshape(N, K, 3, 4), ROWS["kl.directions"])
    assert table.schema.field("kl.directions").metadata == {b"shape": b"2x3x4"}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_are_written_some_at_once(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("audit.reports.row_formats.ROWS_AT_ONCE", 4)
    write(tmp_path / f"r.{suffix}")
    if suffix == "parquet":
        found = parquet.read_table(tmp_path / "r.parquet")["index"].to_pylist()
    else:
        with (tmp_path / "r.csv").open(newline="") as file:
            found = [int(row["index"]) for row in csv.DictReader(file)]
    assert found == list(range(N))


def test_other_extensions_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"ends with .npz, .parquet or .csv"):
        RowsWriter(str(tmp_path / "r.h5"))


def test_a_full_disk_is_an_error_with_words(tmp_path, monkeypatch):
    from audit.reports import row_formats

    def full(*_):
        raise OSError(28, "No space left on device")

    rows = RowsWriter(str(tmp_path / "r.npz"))
    rows.append(ROWS)
    monkeypatch.setattr(row_formats.shutil, "copyfileobj", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        rows.close()
    assert list(tmp_path.iterdir()) == []


def test_rows_in_memory_are_those_of_a_file(tmp_path):
    """Also a column of zeros; only reasons that nobody has are left out of both."""
    chunk = {
        "index": np.arange(3),
        "still": np.zeros(3),
        "one": Values.of(np.array([0.0, np.nan, 0.0]), None, {"why": np.ones(3, bool)}),
        "both": Values.of(np.zeros(3)),
    }
    kept = RecordedRows()
    with RowsWriter(str(tmp_path / "rows.npz")) as writer:
        for rows in (writer, kept):
            rows.append(chunk)
    assert set(kept.arrays) == {"index", "still", "one", "one.reason", "both"}
    assert kept.arrays["one.reason"].tolist() == ["", "why", ""]
    with np.load(tmp_path / "rows.npz") as file:
        for name in ("index", "still", "one", "both"):
            np.testing.assert_array_equal(kept.arrays[name], file[name])


def test_a_csv_gives_its_numbers_back_and_no_row_of_another_length(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("index,kl.trace,kl.trace.reason\n0,1.5,\n1,,why\n2,inf,\n")
    read = reader_of(str(path))
    np.testing.assert_array_equal(read("kl.trace"), [1.5, np.nan, np.inf])
    np.testing.assert_array_equal(read("index"), [0, 1, 2])
    for row in ("3,2.5", "3,2.5,,9"):
        path.write_text(f"index,kl.trace,kl.trace.reason\n0,1.5,\n{row}\n")
        with pytest.raises(InputError):
            reader_of(str(path))
