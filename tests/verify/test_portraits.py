"""The worst inputs at their critical radius, against closed forms and onnxruntime."""

import math

import numpy as np
import onnxruntime as ort
import pytest
import torch
from scans import SAMPLES, columns, sample, scan, written
from scipy import stats
from scipy.special import softmax

from audit.verify.contours import contours

W = np.array([[1.0, -2.0, 0.5], [0.3, 0.4, 1.1]])
SIGMA = np.array([0.5, 2.0])
X = np.random.default_rng(3).normal(size=(12, 3))


def gaussian(rows):
    """A head whose mean is linear in x, with the first rows of W."""

    def function(x):
        mean = x @ torch.from_numpy(W[:rows].T)
        return mean, torch.from_numpy(SIGMA[:rows]).expand(x.shape[0], rows)

    return function


def model(**more):
    return {
        "family": "normal",
        "parameters": {"loc": "output_0", "scale": "output_1"},
        **more,
    }


def portraits(folder, rows=1, **options):
    config = written(folder, gaussian(rows), X, model(), **options)
    return scan(config).portraits


def test_a_linear_gaussian_moves_as_its_closed_form_says(tmp_path):
    found = portraits(tmp_path, tau=0.7)
    assert len(found) == 10
    for one in found:
        x, delta = np.array(one.x), np.array(one.delta)
        np.testing.assert_array_equal(x, X[one.index])
        length = SIGMA[0] * math.sqrt(2 * 0.7) / np.linalg.norm(W[0])
        assert one.radius == pytest.approx(length, rel=1e-5)
        np.testing.assert_allclose(
            np.abs(delta), length * np.abs(W[0]) / np.linalg.norm(W[0]), rtol=1e-5
        )
        move = float(W[0] @ delta)
        assert move**2 / (2 * SIGMA[0] ** 2) == pytest.approx(0.7, rel=1e-5)
        assert one.cost == pytest.approx(0.7, rel=1e-5)
        assert one.unit is None


def test_both_curves_and_quantiles_are_those_of_scipy(tmp_path):
    for one in portraits(tmp_path)[:3]:
        assert (one.kind, one.how) == ("density", "quantiles in closed form")
        x, delta = np.array(one.x), np.array(one.delta)
        for law, place in ((one.before, x), (one.after, x + delta)):
            mean = W[0] @ place
            normal = stats.norm(mean, SIGMA[0])
            grid = np.array(one.axes[0])
            np.testing.assert_allclose(law.density, normal.pdf(grid), rtol=5e-6)
            np.testing.assert_allclose(
                np.ravel(law.quantiles), normal.ppf(one.levels), rtol=1e-9
            )
            assert law.parameters["loc"] == [pytest.approx(mean, rel=1e-12)]
            assert law.parameters["scale"] == [SIGMA[0]]
            covered = normal.cdf(grid.max()) - normal.cdf(grid.min())
            assert covered > 0.99


def test_regions_in_the_plane_are_ellipses(tmp_path):
    one = portraits(tmp_path, rows=2)[0]
    assert one.kind == "contour"
    x, delta = np.array(one.x), np.array(one.delta)
    for law, place in ((one.before, x), (one.after, x + delta)):
        for level, lines in law.regions.items():
            (line,) = lines
            away = (np.array(line) - W @ place) / SIGMA
            wanted = math.sqrt(-2 * math.log(1 - float(level)))
            np.testing.assert_allclose(np.linalg.norm(away, axis=1), wanted, rtol=0.06)
            assert line[0] == line[-1]
            angles = np.sort(np.arctan2(away[:, 1], away[:, 0]))
            assert np.diff(angles).max() < 0.6  # all the way round


def test_units_and_held_features_show(tmp_path):
    np.save(tmp_path / "units.npy", np.array([1.0, 4.0, 0.5]))
    one = portraits(tmp_path, units=str(tmp_path / "units.npy"), mask="0:2")[0]
    assert one.unit == [1.0, 4.0, 0.0]
    steps = np.array(one.delta[:2]) / [1.0, 4.0]
    assert np.linalg.norm(steps) == pytest.approx(one.radius, rel=1e-9)
    assert one.delta[2] == 0.0
    assert abs(steps[1] / steps[0]) == pytest.approx(8.0)  # of W s, largest first


def test_what_the_file_says_at_x_and_moved_is_what_is_drawn():
    report = scan(sample("digits_cnn", limit=12, verify=12))
    session = ort.InferenceSession(str(SAMPLES / "digits_cnn.onnx"))
    radii = dict(
        zip(
            report.inputs.index,
            report.inputs.columns["kl"]["critical_radius"],
            strict=True,
        )
    )
    known = [one for one in report.portraits if one.delta is not None]
    assert len(known) >= 8
    for one in known:
        x, delta = np.array(one.x), np.array(one.delta)
        assert np.linalg.norm(delta) == pytest.approx(radii[one.index], rel=1e-9)
        rows = np.stack([x, x + delta]).astype(np.float32)
        p, q = softmax(session.run(None, {session.get_inputs()[0].name: rows})[0], 1)
        np.testing.assert_allclose(one.before.density, p, atol=2e-5)
        np.testing.assert_allclose(one.after.density, q, atol=2e-5)
        assert stats.entropy(p, q) == pytest.approx(1.0, rel=1e-3)
        assert one.cost == pytest.approx(1.0, rel=1e-5)
        assert one.axes == [[float(k) for k in range(10)]]


def test_counts_have_the_masses_of_scipy(tmp_path):
    def function(x):
        return torch.exp(x @ torch.from_numpy(W[:1].T) / 4 + 1)

    family = {"family": "poisson", "parameters": {"rate": "output"}}
    config = written(tmp_path, function, X, family, divergences=("kl",))
    one = scan(config).portraits[0]
    assert one.kind == "masses"
    for law, place in ((one.before, one.x), (one.after, np.add(one.x, one.delta))):
        rate = math.exp(float(W[0] @ place) / 4 + 1)
        wanted = stats.poisson(rate).pmf(one.axes[0])
        np.testing.assert_allclose(law.density, wanted, rtol=1e-5)
        assert sum(law.density) > 0.99


def test_a_law_with_atoms_has_no_curve(tmp_path):
    law = model(family="censored:normal", options={"low": -1.0, "high": 1.0})
    one = scan(written(tmp_path, gaussian(1), X[:2], law)).portraits[0]
    assert one.kind == "quantiles"
    assert one.before.density is None
    assert one.before.quantiles is not None


def test_an_input_without_a_radius_says_why(tmp_path):
    found = portraits(tmp_path, divergences=("hellinger",), tau=1.5)
    assert {one.delta for one in found} == {None}
    assert all(one.reason.startswith("critical_radius ∞: 1.5 is not") for one in found)
    few = portraits(tmp_path, verify=2)
    missing = [one for one in few if one.delta is None]
    assert len(missing) == 8
    assert {one.reason for one in missing} == {
        "not among the checked inputs (see --verify)"
    }
    assert portraits(tmp_path, verify=0) == []


def test_a_large_input_is_not_kept_and_says_so(tmp_path):
    wide = np.random.default_rng(0).normal(size=(3, 5000))

    def function(x):
        return x.mean(dim=1, keepdim=True), torch.ones_like(x[:, :1])

    one = scan(written(tmp_path, function, wide, model())).portraits[0]
    assert one.x is one.delta is None
    assert one.reason == "an input has 5000 features, and up to 4096 are kept"
    assert one.kind == "density"


def test_contours_are_level_sets():
    x, y = np.linspace(-2, 2, 41), np.linspace(-2, 2, 37)
    heights = x[:, None] ** 2 + y[None, :] ** 2
    (circle,) = contours(x.tolist(), y.tolist(), heights.tolist(), 2.0)
    radii = np.linalg.norm(circle, axis=1)
    np.testing.assert_allclose(radii, math.sqrt(2), rtol=2e-3)
    assert circle[0] == circle[-1]
    two = (x[:, None] ** 2 - 1) ** 2 + y[None, :] ** 2
    assert len(contours(x.tolist(), y.tolist(), two.tolist(), 0.5)) == 2
    half = contours(x.tolist(), y.tolist(), (x[:, None] + 0 * y).tolist(), 0.55)
    assert len(half) == 1
    np.testing.assert_allclose(np.array(half[0])[:, 0], 0.55)
    assert contours(x.tolist(), y.tolist(), heights.tolist(), 99.0) == []


def test_a_saddle_is_two_lines_that_do_not_cross():
    heights = [[1.0, 0.0], [0.0, 1.0]]
    joined = contours([0.0, 1.0], [0.0, 1.0], heights, 0.4)  # its middle is above
    assert len(joined) == 2
    for line in joined:
        (a, b), (c, d) = line
        assert {round(abs(a - c), 6), round(abs(b - d), 6)} == {0.4}


def test_tails_beyond_the_largest_number_leave_quantiles_alone(tmp_path):
    """Pareto with α = e⁻⁵ has quantiles of 2 · 10⁸⁷⁰; with α = e⁵ none is large."""

    def head(x):
        return {"alpha": torch.exp(x)}

    law = {"family": "pareto", "options": {"scale": 2.0}}
    law["parameters"] = {"alpha": "alpha"}
    x = np.array([[5.0], [-5.0]])
    report = scan(written(tmp_path, head, x, law, divergences=("kl",)))
    for one in report.portraits:
        for axis in one.axes:
            assert np.isfinite(axis).all()
    # F = 1/α², and α moves by α dx
    np.testing.assert_allclose(columns(report)["trace"], 1.0, rtol=1e-9)
