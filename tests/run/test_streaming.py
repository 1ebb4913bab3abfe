"""Very many inputs: the same numbers as of few, in the memory of a few windows."""

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from benchmarks import bench_memory
from scans import sample, scan

from audit.ground.errors import InputError
from audit.ground.storage.mapped import let_go
from audit.inputs import open_inputs
from audit.measure.selection import index_of, rows_at, select_rows
from audit.reports import columns
from audit.reports.json import to_json
from audit.reports.rows import RowsWriter
from audit.reports.spill import PREFIX, Spill
from audit.reports.values import Values
from audit.verify import draw_sample
from audit.verify import sample as sampling

ROUNDED = ("mean", "std")
"""What is added up in another order."""


@pytest.fixture(autouse=True)
def alone(tmp_path_factory, monkeypatch):
    """A temporary folder that no other process of this machine writes into."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def as_many(monkeypatch, few=40, window=32):
    """Take more than a few inputs for very many."""
    for place in (
        "run.reporting",
        "run.collection",
        "reports.streamed",
        "verify.sample",
    ):
        monkeypatch.setattr(f"audit.{place}.FEW", few)
    for place in ("values", "series", "streamed"):
        monkeypatch.setattr(f"audit.reports.{place}.WINDOW", window)
    monkeypatch.setattr("audit.verify.sample.WINDOW", window)


def files(folder, config):
    folder.mkdir()
    paths = [folder / f"rows.{suffix}" for suffix in ("npz", "csv", "parquet")]
    with RowsWriter(*map(str, paths)) as rows:
        report = scan(config, rows=rows)
    whole = json.loads(to_json(report.model_copy(update={"run": {}})))
    return whole, [path.read_bytes() for path in paths]


def left():
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def differences(one, other, path=""):
    """Yield where two documents differ, and by how much where both are numbers."""
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        for key in one:
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}.{place}")
    elif isinstance(one, float) and isinstance(other, float):
        if one != other:
            yield path, abs(one - other) / max(abs(one), abs(other), 1.0)
    elif one != other:
        yield path, np.inf


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("heteroscedastic", {"verify": "all"}),
        ("heteroscedastic", {"verify": 0, "threads": 2, "batch_size": 1}),
        ("posterior_forward_kl", {"verify": 0, "limit": 90, "draws_per_input": 16}),
        ("counts", {"verify": 0, "limit": 90}),
    ],
)
def test_the_report_and_the_rows_are_those_of_few_inputs(
    tmp_path, monkeypatch, name, options
):
    config = sample(name, **options)
    plain, rows = files(tmp_path / "plain", config)
    as_many(monkeypatch)
    found, streamed = files(tmp_path / "streamed", config)
    assert streamed == rows
    for path, size in differences(plain, found):
        assert any(f".{what}" in path for what in ROUNDED), path
        assert size < 1e-12, path
    assert not left()


def test_checked_inputs_stand_for_the_others(tmp_path, monkeypatch):
    as_many(monkeypatch)
    report = scan(sample("heteroscedastic", verify=16))
    checked = report.checked
    assert sum(checked.weights) == pytest.approx(report.data.n_audited)
    eigenvalues = np.array(report.inputs.columns["kl"]["eigenvalue"])
    order = np.array(report.inputs.index)[np.argsort(-eigenvalues, kind="stable")]
    worst = [i for i, s in zip(checked.index, checked.strata, strict=True) if s == 0]
    assert sorted(worst) == sorted(order[:8].tolist())
    realised = report.divergences["kl"].summary["gaussian_realised"]
    assert (realised.n, realised.n_checked) == (16, 16)


def test_the_sample_of_many_holds_the_worst_and_others_alike(monkeypatch):
    monkeypatch.setattr(sampling, "FEW", 100)
    monkeypatch.setattr(sampling, "WINDOW", 64)
    values = np.random.default_rng(2).permutation(500).astype(float)
    values[[3, 400]] = np.inf  # nothing is predicted for them
    values[[7, 8]] = np.nan
    finite = np.where(np.isfinite(values), values, -1)
    worst = set(np.argsort(-finite)[:10].tolist())
    counts = np.zeros(500)
    for seed in range(400):
        found = draw_sample(values, 20, seed)
        assert found.places.tolist() == sorted(set(found.places.tolist()))
        assert set(found.places[found.strata == 0].tolist()) == worst
        assert set(found.weights[found.strata == 1]) == {490 / 10}
        assert found.weights.sum() == pytest.approx(500)
        counts[found.places[found.strata == 1]] += 1
    assert counts[list(worst)].sum() == 0
    others = np.delete(counts, list(worst))
    expected = 400 * 10 / 490
    statistic = (np.square(others - expected) / expected).sum()  # χ², 489 degrees
    assert statistic < 489 + 5 * np.sqrt(2 * 489)


def test_a_full_disk_is_said_and_loses_no_part(tmp_path, monkeypatch):
    as_many(monkeypatch)
    config = sample("heteroscedastic", run_dir=str(tmp_path / "run"), memory=6000)
    append = columns.Column.append

    def full(column, rows):
        if column.n > 60 and PREFIX in str(column.path):
            raise OSError(28, "No space left on device")
        append(column, rows)

    monkeypatch.setattr(columns.Column, "append", full)
    with pytest.raises(InputError, match="No space left on device") as caught:
        scan(config)
    assert "Expected room for about" in caught.value.expected
    assert "TMPDIR" in caught.value.next_step
    assert not left()
    monkeypatch.setattr(columns.Column, "append", append)
    kept = len(list((tmp_path / "run").glob("part-*.npz")))
    assert kept == 19
    again = scan(replace(config, resume=True))
    plain = scan(replace(config, run_dir=None))
    without = {"run": {}}
    assert to_json(again.model_copy(update=without)) == to_json(
        plain.model_copy(update=without)
    )


def test_an_interruption_leaves_no_columns(monkeypatch):
    as_many(monkeypatch)

    def stop(done, total):
        if done > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(sample("heteroscedastic", memory=6000), progress=stop)
    assert not left()


def test_columns_come_back_as_they_were():
    reasons = {"why": np.array([True, False, False])}
    one = Values.of(np.array([np.nan, 1.0, np.inf]), None, reasons)
    two = Values.of(np.array([0.0]), np.array([True]))
    with Spill() as spill:
        for values in (one, two):
            spill.append({"a": values, "b": np.ones((len(values), 2))})
        found = spill.values("a")
        np.testing.assert_array_equal(found.numbers, [np.nan, 1.0, np.inf, 0.0])
        assert [found.outcome(row).value for row in range(4)] == [
            "not measured",
            "finite",
            "infinite",
            "at rest",
        ]
        assert [found.reason(row) for row in range(4)] == ["why", "", "", ""]
        assert spill.array("b").shape == (4, 2)
    assert not left()


def test_no_folder_for_columns_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    words = (
        "columns of the scan cannot be kept in '.*nowhere': No such file or directory$"
    )
    with pytest.raises(InputError) as caught:
        Spill()
    assert re.search(words, caught.value.given)
    odd = Mock(side_effect=OSError("odd"))
    monkeypatch.setattr("audit.reports.spill.TemporaryFolder", odd)
    with pytest.raises(InputError, match="nowhere': odd"):
        Spill()


def test_all_rows_are_a_range():
    whole = select_rows(sample("heteroscedastic", limit=9), 9)
    assert (len(whole[0]), whole[1]) == (9, "all")
    some = select_rows(sample("heteroscedastic", limit=8), 9)
    assert (len(some[0]), some[1]) == (8, "first 8")
    rows, said = select_rows(sample("heteroscedastic"), 10**9)
    assert (len(rows), said) == (10**9, "all")
    assert index_of(rows[5:8]).tolist() == [5, 6, 7]
    assert rows_at(rows, np.array([0, 10**9 - 1])).tolist() == [0, 10**9 - 1]


# Memory


def resident():
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_rows_of_a_mapped_file_are_let_go(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((300_000, 64), np.float32))  # 77 MB
    inputs = open_inputs(str(path), {"x": None})
    before = resident()
    for start in range(0, inputs.n, 1000):
        rows = slice(start, start + 1000)
        assert inputs.take("x", rows).sum() == 64_000
        assert inputs.finite(rows).all()
    assert resident() - before < 20e6
    let_go(np.ones(3))  # what is no map stays as it is


@pytest.mark.slow
@pytest.mark.parametrize("rows", [False, True])
def test_memory_does_not_grow_with_the_inputs(tmp_path, rows):
    bench_memory.write_model(tmp_path)
    peaks = {}
    for n in (1000, 200_000):
        bench_memory.write_rows(tmp_path / f"{n}.npy", n)
        peaks[n], _ = bench_memory.scanned(tmp_path, n, "auto", rows)
    assert peaks[200_000] < 1.1 * peaks[1000]
