"""Perturbations in each row's own units, against a linear Gaussian's closed form.

Its KL is ½ δᵀ F δ for every δ, however large: with units s_i all of it is s_i² what it
is in units of the data. Other models are held to the same congruence.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import SAMPLES, attacks, columns, sample, scan, written
from typer.testing import CliRunner
from verify.sited import sited

import audit
from audit.cli import app
from audit.geometry.divergences import build_divergence, kl
from audit.ground.errors import ConfigError
from audit.measure.preparation import prepare, settings_of
from audit.run.selftest import selftest
from audit.verify.certificate import certified_radius, certify
from audit.verify.keeping import Found, save_witness
from audit.verify.sites import precise, site_of
from audit.verify.witness import ascend

TRUTH = np.load(SAMPLES / "linear_gaussian_truth.npz")
F_X = TRUTH["F_x"]
X = np.load(SAMPLES / "linear_gaussian.npz")["x"].astype(np.float64)
N, D = X.shape
TOP = np.linalg.eigvalsh(F_X)[-1]
LEVELS = {
    "row": np.abs(X).mean(1),
    "row:mean_abs": np.abs(X).mean(1),
    "row:max_abs": np.abs(X).max(1),
    "row:std": X.std(1),
}
PLAIN = {"divergences": ("kl",)}


@pytest.mark.parametrize("units", LEVELS)
def test_a_level_of_a_row_multiplies_its_form_by_its_square(units):
    s = LEVELS[units]
    some = attacks(gaussian={"sigma": "0.1"}, fixed_norm={"norm": "0.2"})
    report = scan(sample("linear_gaussian", units=units, attacks=some, verify=8))
    found = columns(report)
    expected = {
        "trace": s**2 * np.trace(F_X),
        "eigenvalue": s**2 * TOP,
        "gaussian": 0.01 * s**2 * np.trace(F_X) / 2,
        "fixed_norm": 0.04 * s**2 * TOP / 2,
        "radius": np.sqrt(2 / TOP) / s,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
    for label in ("gaussian", "fixed_norm"):
        ratio = found[f"{label}_ratio"]
        assert np.isfinite(ratio).sum() == 8
        assert np.nanmax(np.abs(ratio - 1)) < 1e-5
    assert report.data.units == units
    assert "row_units" in [one.code for one in report.warnings]


def test_each_feature_may_have_its_own_level():
    report = scan(sample("linear_gaussian", units="row:abs", mask="1:", **PLAIN))
    for row in range(N):
        s = np.diag(np.abs(X[row]))[:, 1:]
        value = np.trace(s.T @ F_X @ s)
        assert columns(report)["trace"][row] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("shape", [(N, D), (N, 1)])
def test_a_file_may_hold_the_units_of_every_row(tmp_path, shape):
    table = np.random.default_rng(1).uniform(0.1, 5, shape)
    np.save(tmp_path / "units.npy", table)
    units = str(tmp_path / "units.npy")
    index = (3, 17, 40)
    report = scan(sample("linear_gaussian", units=units, index=index, **PLAIN))
    for place, row in enumerate(index):
        s = np.diag(np.broadcast_to(table[row], D))
        value = np.linalg.eigvalsh(s @ F_X @ s)[-1]
        assert columns(report)["eigenvalue"][place] == pytest.approx(value, rel=1e-6)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("method", ["exact", "krylov"])
@pytest.mark.parametrize(
    "name",
    ["counts", "digits_cnn", "mixture", "posterior_forward_kl", "sunspots_gru"],
)
def test_every_form_is_congruent(name, method):
    """Stored, diagonal, drawn and only multiplied Jacobians meet the same units."""
    if method == "krylov" and name == "posterior_forward_kl":
        name = "heteroscedastic"
    some = {"index": (2, 5, 11), "method": method, **PLAIN}
    own, plain = (
        scan(sample(name, units=units, **some)) for units in ("row:max_abs", "input")
    )
    data = sample(name).data
    with np.load(data) as stored:
        x = stored["x"] if "x" in stored else stored[stored.files[0]]
    s = np.abs(x[[2, 5, 11]].reshape(3, -1).astype(np.float64)).max(1)
    for quantity in ("trace", "eigenvalue"):
        found, base = (columns(one)[quantity] for one in (own, plain))
        np.testing.assert_allclose(found, s**2 * base, rtol=2e-4)


def site(units, count=4, **options):
    prepared = prepare(sample("linear_gaussian", units=units, **PLAIN, **options), True)
    model, _ = precise(prepared.model)
    return site_of(model, prepared.questions, prepared.rows[:count])


def test_certificates_are_of_the_rows_own_balls():
    here, s = site("row"), LEVELS["row"][:4]
    sizes = torch.tensor([0.05, 0.4], dtype=torch.float64)
    found = certify(build_divergence("kl"), here, sizes, 2.0).bound.numpy()
    truth = 0.5 * TOP * s[:, None] ** 2 * sizes.numpy() ** 2
    assert (found >= truth).all()
    np.testing.assert_allclose(found, truth, rtol=1e-6)
    radius = certified_radius(kl(), here, 1.0, 2.0).bound.numpy()
    np.testing.assert_allclose(radius, np.sqrt(2 / TOP) / s, rtol=2e-3)


@pytest.mark.parametrize("units", ["row", "row:abs"])
def test_witnesses_move_each_row_in_its_own_units(units):
    here = site(units)
    exact, local, _ = sited(sample("linear_gaussian", units=units, **PLAIN), 4)
    sizes = torch.tensor([0.1, 0.5], dtype=torch.float64)
    found = ascend(exact, local, sizes, 2.0)
    for row in range(4):
        s = np.diag(LEVELS["row"][[row] * D] if units == "row" else np.abs(X[row]))
        top = np.linalg.eigvalsh(s @ F_X @ s)[-1]
        np.testing.assert_allclose(
            found.value[row], 0.5 * top * sizes.numpy() ** 2, rtol=1e-4
        )
        u = found.u[row].numpy()
        np.testing.assert_allclose(np.linalg.norm(u, axis=1), sizes, rtol=1e-9)
        kls = np.einsum("sj,jk,sk->s", u @ s, F_X, u @ s) / 2
        np.testing.assert_allclose(found.value[row], kls, rtol=1e-6)
    lengths = np.linalg.norm(X[:4] / here.frame.unit.numpy(), axis=1)
    np.testing.assert_allclose(here.lengths(), lengths, rtol=1e-6)


def test_bounds_are_those_of_the_data(tmp_path):
    """Along one feature, up to its bound: ½ F_jj δ² with δ = 0.05, not 0.3 |x_j|."""
    high = X.max(0) + 0.05
    np.savez(tmp_path / "b.npz", lower=X.min(0) - 0.05, upper=high)
    config = sample(
        "linear_gaussian",
        units="row:abs",
        mask="0:1",
        bounds=str(tmp_path / "b.npz"),
        attacks=attacks(worst_case={"norm": "0.3"}),
        verify=N,
        **PLAIN,
    )
    found = columns(scan(config))["worst_case_realised"]
    for row in range(N):
        x, reach = X[row, 0], 0.3 * abs(X[row, 0])
        step = max(min(reach, high[0] - x), min(reach, x - X.min(0)[0] + 0.05))
        assert found[row] == pytest.approx(F_X[0, 0] * step**2 / 2, rel=1e-3)


def test_a_row_without_a_level_is_left_out_in_words(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 3))
    x[2], x[5, 1] = 0.0, 0.0

    def head(x):
        return {"loc": x, "scale": torch.ones_like(x)}

    said = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}
    report = scan(written(tmp_path, head, x, said, units="row:abs", verify=4))
    assert [(one.index, "level is zero" in one.reason) for one in report.skipped] == [
        (2, True)
    ]
    kept = np.delete(x, 2, 0)
    np.testing.assert_allclose(
        columns(report)["trace"], np.square(kept).sum(1), rtol=1e-9
    )


def test_what_all_inputs_share_is_not_computed_and_says_why():
    report = scan(sample("linear_gaussian", units="row", verify=4, **PLAIN))
    universal = report.divergences["kl"].universal
    assert "own units" in universal.reason
    assert universal.eigenvalue is None
    assert not any("universal" in name for name in report.inputs.columns["kl"])
    assert np.isnan(columns(report).get("principal_share", np.nan)).all()


def test_a_kept_witness_of_own_units_is_replayed(tmp_path):
    path = tmp_path / "w.npz"
    config = sample("heteroscedastic", units="row:abs", **PLAIN)
    exact, local, prepared = sited(config, 8)
    found = ascend(exact, local, torch.tensor([0.05, 0.3]).double(), 2.0)
    one = Found(prepared.questions.divergences[0], exact, found)
    save_witness(path, [one], prepared.model, settings_of(config))
    with np.load(path) as stored:
        x = np.load(config.data)["x"]
        np.testing.assert_allclose(
            stored["witness.unit"], np.abs(x[stored["witness.index"]]), rtol=1e-12
        )
    result = CliRunner().invoke(app, ["replay", str(path), config.model.path])
    assert result.exit_code == 0, result.output
    assert "16 witnesses" in result.output


def test_the_batch_does_not_matter():
    whole, parts = (
        scan(sample("heteroscedastic", units="row", batch_size=size, **PLAIN))
        for size in (None, 7)
    )
    for name, values in columns(whole).items():
        np.testing.assert_array_equal(values, columns(parts)[name])


def test_a_self_test_passes_in_own_units():
    found = selftest(sample("heteroscedastic", units="row", **PLAIN))
    assert found.exit_code == 0, found.lines


def test_the_worst_inputs_move_by_their_radius_in_their_own_units():
    config = sample("linear_gaussian")
    report = audit.scan(config.model.path, config.data, units="row", divergences=["kl"])
    for one in report.worst(3):
        delta = one.above - one.x
        size = one.radius * LEVELS["row"][one.index]
        assert np.linalg.norm(delta) == pytest.approx(size, rel=1e-6)
        assert delta @ F_X @ delta / 2 == pytest.approx(1.0, rel=1e-4)


def test_a_level_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="row:max_abs"):
        prepare(sample("linear_gaussian", units="row:median"), True)
    with pytest.raises(ConfigError, match="--space parameters"):
        prepare(
            sample("linear_gaussian", units="row", model={"space": "parameters"}), True
        )
    np.save(tmp_path / "units.npy", np.ones((N + 1, D)))
    with pytest.raises(ConfigError, match=rf"all {N} of them"):
        prepare(sample("linear_gaussian", units=str(tmp_path / "units.npy")), True)
    zero = np.ones((N, D))
    zero[3, 1] = 0
    np.save(tmp_path / "units.npy", zero)
    with pytest.raises(ConfigError, match="positive"):
        prepare(sample("linear_gaussian", units=str(tmp_path / "units.npy")), True)


def test_a_radius_is_searched_in_own_units():
    config = sample("linear_gaussian", units="row", verify=6, tau=0.5, **PLAIN)
    found = columns(scan(replace(config, tau=0.5)))["critical_radius"]
    known = ~np.isnan(found)
    assert known.sum() == 6
    exact = math.sqrt(1 / TOP) / LEVELS["row"][known]
    np.testing.assert_allclose(found[known], exact, rtol=1e-3)
