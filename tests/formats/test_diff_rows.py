"""Reports of very many inputs: their numbers come from rows files."""

import time

import numpy as np
import pytest
from reports.synthetic import CONFIG, measured_of
from typer.testing import CliRunner

from audit.cli import app
from audit.ground.errors import ConfigError, InputError
from audit.ground.means import Stratum, mean_interval
from audit.ground.storage import split_spec
from audit.reports.build import build_report
from audit.reports.compare import compare
from audit.reports.json import read_report, to_json
from audit.reports.rows import RowsWriter
from audit.reports.stored import stored

SUFFIXES = (".npz", ".parquet", ".csv")
N = 10_400


def eigenvalues(n, seed=0):
    return np.random.default_rng(seed).lognormal(size=n)


def write_rows(measured, *paths):
    columns = {
        f"{name}.{quantity}": values
        for name, found in measured.columns.items()
        for quantity, values in found.items()
    }
    directions = np.zeros((len(measured.index), 1, 4))
    with RowsWriter(*map(str, paths)) as rows:
        rows.append({"index": measured.index, **columns, "kl.directions": directions})


def written(folder, name, values, suffix=".npz", rows=None):
    """Write a report and its rows file, and return the report's path."""
    measured = measured_of(values)
    path = folder / f"{name}.json"
    path.write_text(to_json(build_report(measured, CONFIG)))
    write_rows(measured, folder / (rows or f"{name}{suffix}"))
    return str(path)


def open_stored(text):
    path, rows = split_spec(text)
    return stored(path, read_report(path), rows)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_say_what_a_listing_report_says(tmp_path, suffix):
    old = written(tmp_path, "old", eigenvalues(300), suffix)
    new = written(tmp_path, "new", eigenvalues(300, 1), suffix)
    listed = compare(open_stored(old), open_stored(new))
    names = [str(tmp_path / f"{name}{suffix}") for name in ("old", "new")]
    read = compare(open_stored(f"{old}::{names[0]}"), open_stored(f"{new}::{names[1]}"))
    assert read == listed


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_inputs_than_a_report_lists_are_paired(tmp_path, suffix):
    first = eigenvalues(N)
    old = written(tmp_path, "old", first, suffix)
    new = written(tmp_path, "new", 1.01 * first, suffix)
    found = compare(open_stored(old), open_stored(new))
    assert found.n == N
    change = next(c for c in found.changes if c.quantity == "eigenvalue")
    assert change.difference == pytest.approx(0.01 * first.mean())
    ends = mean_interval([Stratum.of(np.sort(0.01 * first))])
    assert (change.low, change.high) == pytest.approx(ends, rel=1e-9)
    assert {c.sign for c in found.changes if c.quantity == "rank"} == {"~"}
    few = next(c for c in found.changes if c.quantity == "gaussian_realised")
    assert few.n == len(open_stored(new).report.checked.index) < 100
    assert few.low < few.difference < few.high


@pytest.mark.parametrize("n", [300, 290])
def test_other_numbers_of_inputs_are_said(tmp_path, n):
    old = written(tmp_path, "old", eigenvalues(300))
    new = written(tmp_path, "new", eigenvalues(300)[:n])
    found = compare(open_stored(old), open_stored(new))
    said = [note for note in found.notes if "inputs were audited" in note]
    assert said == [f"300 inputs were audited before, {n} now"] * (n != 300)


def test_a_large_report_and_itself_differ_in_nothing(tmp_path):
    path = written(tmp_path, "old", eigenvalues(N))
    found = compare(open_stored(path), open_stored(path))
    assert {change.sign for change in found.changes} == {"~"}


def test_the_rows_that_the_scan_wrote_are_found_beside_the_report(tmp_path):
    (tmp_path / "moved").mkdir()
    path = written(tmp_path / "moved", "r", eigenvalues(N), rows="all.npz")
    with pytest.raises(ConfigError, match="no rows file beside it"):
        open_stored(path)
    report = read_report(path)
    report.run["rows"] = ["elsewhere/all.npz"]
    assert len(stored(path, report).index) == N


def test_rows_of_another_scan_are_refused(tmp_path):
    old = written(tmp_path, "old", eigenvalues(N))
    new = written(tmp_path, "new", eigenvalues(N, 1))
    wrong = open_stored(f"{old}::{tmp_path / 'new.npz'}")
    with pytest.raises(
        ConfigError, match=r"not of the scan of .*kl\.\w+ has .* in the report"
    ):
        compare(wrong, open_stored(new))
    short = tmp_path / "short.npz"
    write_rows(measured_of(eigenvalues(20)), short)
    with pytest.raises(ConfigError, match="has 20 rows, the report 10400 inputs"):
        open_stored(f"{old}::{short}")


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("r.h5", "", ConfigError, "is no rows file"),
        ("none.npz", None, InputError, "There is no rows file"),
        ("r.npz", "text", InputError, "neither npz nor npy"),
        ("r.parquet", "text", InputError, "cannot be read"),
        ("r.csv", "index,kl.trace\n1,many\n", InputError, "cannot be read"),
        ("s.csv", "index,kl.trace\n1\n", InputError, "cannot be read"),
        ("t.csv", "kl.trace\n1\n", InputError, "no column 'index'"),
    ],
)
def test_what_is_no_rows_file_is_refused(tmp_path, name, content, kind, words):
    path = written(tmp_path, "r", eigenvalues(20))
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(kind, match=words):
        open_stored(f"{path}::{tmp_path / name}")


def test_the_command_reads_rows_files(tmp_path):
    old = written(tmp_path, "old", eigenvalues(N))
    new = written(tmp_path, "new", 2 * eigenvalues(N), rows="other.npz")
    words = ["diff", old, f"{new}::{tmp_path / 'other.npz'}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "10 400 inputs in both" in done.output
    assert "by 100 % on average" in " ".join(done.output.split())


@pytest.mark.slow
def test_a_million_inputs_are_compared_in_seconds(tmp_path):
    values, n = eigenvalues(1_000_000), 1_000_000
    quantities = ("trace", "eigenvalue", "radius", "gaussian", "uniform_norm")
    paths = []
    for name, factor in (("old", 1.0), ("new", 1.02)):
        measured = measured_of(factor * values)
        measured.columns = {
            divergence: {q: columns[q] for q in quantities if q in columns}
            for divergence, columns in measured.columns.items()
        }
        measured.reasons, measured.verification = {}, {}
        path = tmp_path / f"{name}.json"
        path.write_text(to_json(build_report(measured, CONFIG)))
        write_rows(measured, tmp_path / f"{name}.npz")
        paths.append(str(path))
    start = time.process_time()
    found = compare(*map(open_stored, paths))
    assert time.process_time() - start < 10
    assert (found.n, len(found.changes)) == (n, 9)
    assert {change.sign for change in found.changes} == {"+", "-"}
