"""What a report says of all inputs: mean |v| of each feature, the band of the spectrum.

Expected values come from a Jacobian by hand and `numpy.linalg.svd`.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import sample, scan, written
from typer.testing import CliRunner

from audit.cli import app
from audit.config import override
from audit.ground.errors import InputError
from audit.inputs import open_inputs
from audit.inputs.names import read_feature_names
from audit.measure import Answers
from audit.reports.json import to_json
from audit.reports.listing import PRINTED_VALUES
from audit.reports.rows import RowsWriter
from audit.run.tally import Tally, lighter

D, N = 5, 700
NAMES = ["age", "[red]b", "<script>", "d|e", "f" * 200]


def bent(x):
    """Two normals: means x₀² + 3 x₁ and x₂ x₃, of unit size."""
    loc = torch.stack([x[:, 0] ** 2 + 3 * x[:, 1], x[:, 2] * x[:, 3]], dim=1)
    return {"loc": loc, "scale": torch.ones_like(loc)}


def by_hand(x):
    """Return |v₁| and the two eigenvalues of F = JᵀJ at each row."""
    found = []
    for a, _, c, d, _ in x.astype(np.float64):
        jacobian = np.array([[2 * a, 3, 0, 0, 0], [0, 0, d, c, 0]])
        _, values, vectors = np.linalg.svd(jacobian)
        found.append((np.abs(vectors[0]), values**2))
    return [np.stack(part) for part in zip(*found, strict=True)]


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture(scope="module")
def config(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("overall")
    config = written(
        folder, bent, data, {"family": "normal"}, divergences=("kl",), verify=0
    )
    np.savez(config.data, x=data, feature_names=np.array(NAMES))
    return config


@pytest.fixture(scope="module")
def report(config):
    return scan(config)


def test_the_mean_of_the_worst_directions_is_over_all_inputs(report, data):
    sizes, _ = by_hand(data)
    found = report.divergences["kl"].features
    assert (found.n, found.reason) == (N, None)
    assert found.mean_abs == pytest.approx(sizes.mean(axis=0), abs=2e-6)


def test_the_band_of_the_spectrum_is_over_all_inputs(report, data):
    _, values = by_hand(data)
    band = report.divergences["kl"].spectrum
    assert band.n == N
    for name, level in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
        expected = np.quantile(values, level, axis=0)
        assert getattr(band, name)[:2] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("options", [{"batch_size": 64}, {"workers": 2}])
def test_batches_and_workers_do_not_show(config, report, options):
    other = scan(replace(config, **options))
    assert to_json(other.model_copy(update={"run": {}})) == to_json(
        report.model_copy(update={"run": {}})
    )


def test_a_rows_file_changes_nothing_but_the_run(config, report, tmp_path):
    path = str(tmp_path / "r.npz")
    with RowsWriter(path) as rows:
        other = scan(config, rows=rows)
    assert other.run["rows"] == [path]
    assert other.divergences == report.divergences
    directions = np.load(path)["kl.directions"]
    assert directions.shape[0] == N
    assert report.divergences["kl"].features.mean_abs == pytest.approx(
        np.abs(directions[:, 0]).mean(axis=0), abs=1e-8
    )


def chunk(directions):
    index = np.arange(len(directions))
    return Answers(index, {}, {"kl": directions}, {"kl": np.ones(directions.shape[:2])})


def test_sums_do_not_depend_on_the_order_or_the_blocks():
    values = np.random.default_rng(0).normal(size=(999, 1, 3))
    values /= np.linalg.norm(values, axis=2, keepdims=True)
    found = []
    for rows in (np.arange(999), np.random.default_rng(1).permutation(999)):
        tally = Tally((3,))
        for part in np.array_split(rows, 1 + len(found) * 7):
            tally.add(chunk(values[part]))
        found.append(tally.features(["kl"])["kl"].mean)
    np.testing.assert_array_equal(*found)
    assert found[0] == pytest.approx(np.abs(values[:, 0]).mean(axis=0), abs=1e-10)


def test_inputs_without_a_direction_do_not_count():
    values = np.stack([np.eye(3)[:1], np.zeros((1, 3)), np.full((1, 3), np.nan)])
    tally = Tally((3,))
    tally.add(chunk(values))
    found = tally.features(["kl", "quantile"])
    assert found["kl"].n == 1
    assert found["kl"].mean.tolist() == [1.0, 0.0, 0.0]
    assert found["quantile"].reason == "no input has a worst direction"


def test_large_inputs_say_why_there_is_no_mean():
    d = PRINTED_VALUES + 1
    light = lighter(chunk(np.ones((2, 3, d))))
    assert light.directions == {}
    tally = Tally((d,))
    tally.add(light)
    assert tally.features(["kl"])["kl"].mean is None
    assert "an input has 4097 features" in tally.features(["kl"])["kl"].reason
    assert tally.spectra()["kl"].shape == (2, 3)


def test_workers_hand_back_the_first_direction_only():
    directions = np.random.default_rng(0).normal(size=(4, 3, 2))
    light = lighter(chunk(directions))
    np.testing.assert_array_equal(light.directions["kl"], directions[:, :1])
    assert light.directions["kl"].base is None


def test_names_come_from_the_data(report, config):
    assert report.data.feature_names[:4] == NAMES[:4]
    assert report.data.feature_names[4] == "f" * 80
    assert scan(sample("mixture", limit=4, verify=0)).data.feature_names is None
    unnamed = replace(config, model=replace(config.model, space="parameters"))
    assert scan(replace(unnamed, limit=4)).data.feature_names is None


def test_names_of_a_picture_may_have_its_shape(tmp_path):
    path = str(tmp_path / "x.npz")
    names = np.array([["a", "b"], ["c", "d"]])
    for shaped in (names, names.reshape(-1)):
        np.savez(path, x=np.zeros((3, 2, 2)), feature_names=shaped)
        assert read_feature_names(path, (2, 2)) == ["a", "b", "c", "d"]
    np.save(tmp_path / "x.npy", np.zeros(3))
    assert read_feature_names(str(tmp_path / "x.npy"), ()) is None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (np.array(["a", "b"]), r"has the shape \[2\]. Expected a name for each.*\[5\]"),
        (np.arange(5), "has dtype int64. Expected an array of strings"),
        (np.array(["a"] * 5, dtype=object), r"pickle.*dtype=str"),
        (np.array([b"a"] * 5), "has dtype |S1"),
    ],
)
def test_names_that_do_not_fit_are_refused(config, data, tmp_path, names, words):
    path = str(tmp_path / "x.npz")
    np.savez(path, x=data, feature_names=names)
    with pytest.raises(InputError, match=words) as caught:
        scan(replace(config, data=path))
    assert caught.value.exit_code == 3
    assert caught.value.next_step


def test_names_are_not_taken_for_the_data(data, tmp_path):
    path = str(tmp_path / "x.npz")
    np.savez(path, strange=data, feature_names=np.array(NAMES))
    assert open_inputs(path, {"x": None}).keys == {"x": "strange"}


def test_names_do_not_change_a_fingerprint_of_the_options(config, report):
    other = scan(override(config, "command line", max=["kl.trace.p95=1e9"]))
    assert other.fingerprint == report.fingerprint


def test_show_names_the_features(report, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(to_json(report))
    words = ["show", str(path), "--index", str(report.worst[0].index)]
    text = CliRunner().invoke(app, words).output
    assert any(name in text for name in ("age ", "[red]b ", "<script> ", "d|e "))
    assert "[0]" not in text
