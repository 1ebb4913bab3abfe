"""One block of inputs: what is answered, for which rows, and what is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import attacks, chunk, columns, sample, scan, written

from audit.formats.reading import headline
from audit.measure import measure
from audit.measure.preparation import prepare
from audit.reports.json import to_json

STUDENT = {
    "family": "student_t",
    "parameters": {"df": "df", "loc": "loc", "scale": "scale"},
}


def student_head(x):
    return {
        "df": torch.exp(x[:, :1]),
        "loc": x[:, 1:2] * 2,
        "scale": torch.exp(x[:, 2:3]),
    }


HEAVY_X = np.array([[np.log(1.5), 0.3, 0.1], [np.log(6.0), 0.2, -0.5], [0.1, 0.0, 0.0]])


@pytest.fixture
def heavy(tmp_path):
    return written(tmp_path, student_head, HEAVY_X, STUDENT, verify=0)


def questions_of(config, keep_directions=True):
    prepared = prepare(config, keep_directions)
    return prepared.model, prepared.questions


def test_filling_up_a_block_changes_nothing_but_its_size():
    model, questions = questions_of(sample("heteroscedastic"))
    rows = np.arange(20)
    alone = measure(model, questions, rows, 20)
    filled = measure(model, questions, rows, 64)
    assert alone.index.tolist() == filled.index.tolist() == rows.tolist()
    for name, numbers in alone.columns.items():
        for quantity, values in numbers.items():
            other = filled.columns[name][quantity].numbers
            np.testing.assert_allclose(other, values.numbers, rtol=1e-5, atol=1e-6)


def test_blocks_of_one_size_give_the_same_bits_wherever_they_end():
    model, questions = questions_of(sample("heteroscedastic"))
    whole = measure(model, questions, np.arange(64), 64)
    part = measure(model, questions, np.arange(40), 64)
    for name, numbers in part.columns.items():
        for quantity, values in numbers.items():
            other = whole.columns[name][quantity].numbers[:40]
            np.testing.assert_array_equal(values.numbers, other)


def test_rows_are_answered_in_the_order_they_were_asked_for():
    model, questions = questions_of(sample("heteroscedastic"))
    forward = measure(model, questions, np.array([3, 8, 90]), 8)
    backward = measure(model, questions, np.array([90, 8, 3]), 8)
    assert backward.index.tolist() == [90, 8, 3]
    one, other = (a.columns["kl"]["trace"].numbers for a in (backward, forward))
    np.testing.assert_allclose(one[::-1], other, rtol=1e-5)


def test_directions_are_handed_back_only_where_somebody_keeps_them():
    config = sample("heteroscedastic", limit=5)
    kept, dropped = chunk(config), chunk(config, keep_directions=False)
    assert kept.directions["kl"].shape == (5, 2, 10)
    assert kept.eigenvalues["kl"].shape == (5, 2)
    assert dropped.directions == dropped.eigenvalues == {}
    assert set(kept.columns["kl"]) == set(dropped.columns["kl"])


def test_directions_are_orthonormal_and_attain_their_eigenvalues():
    found = chunk(sample("digits_cnn", limit=12, top=3))
    v, values = found.directions["kl"], found.eigenvalues["kl"]
    products = np.einsum("nkd,nld->nkl", v, v)
    np.testing.assert_allclose(products, np.tile(np.eye(3), (12, 1, 1)), atol=1e-6)
    assert (np.diff(values, axis=1) <= 0).all()
    np.testing.assert_array_equal(values[:, 0], found.columns["kl"]["eigenvalue"])
    gap = (values[:, 0] - values[:, 1]) / values[:, 0]
    np.testing.assert_allclose(found.columns["kl"]["gap"], gap, rtol=1e-9)


def test_a_masked_feature_has_no_share_of_any_direction():
    found = chunk(sample("digits_cnn", limit=5, mask=":, 2:6, 2:6"))
    images = found.directions["kl"].reshape(5, -1, 8, 8)
    assert not images[:, :, :2].any()
    assert not images[:, :, :, 6:].any()
    np.testing.assert_allclose(np.linalg.norm(images, axis=(2, 3)), 1.0, rtol=1e-6)


def test_no_more_directions_are_kept_than_there_are():
    few = chunk(sample("heteroscedastic", limit=3, top=50))
    one = chunk(sample("heteroscedastic", limit=3, top=50, mask="4"))
    assert few.eigenvalues["kl"].shape == (3, 2)
    assert one.eigenvalues["kl"].shape == (3, 1)
    np.testing.assert_allclose(one.columns["kl"]["gap"], 1.0)


def test_the_radius_costs_tau_along_the_worst_direction():
    config = sample("heteroscedastic", limit=10, tau=0.25)
    found = chunk(replace(config, divergences=("kl", "chi_squared"))).columns
    for name, c in (("kl", 0.5), ("chi_squared", 1.0)):
        cost = c * found[name]["radius"] ** 2 * found[name]["eigenvalue"]
        np.testing.assert_allclose(cost, 0.25, rtol=1e-12)


def test_divergences_of_one_tensor_differ_by_their_constants_alone():
    names = ("kl", "renyi:alpha=0.3", "hellinger", "jensen_shannon", "chi_squared")
    constants = (0.5, 0.15, 0.125, 0.125, 1.0)
    found = chunk(sample("heteroscedastic", limit=10, divergences=names)).columns
    for name, c in zip(names, constants, strict=True):
        for quantity in ("trace", "eigenvalue", "model_norm", "alignment"):
            np.testing.assert_array_equal(found[name][quantity], found["kl"][quantity])
        np.testing.assert_allclose(
            found[name]["gaussian"], 2 * c * found["kl"]["gaussian"], rtol=1e-14
        )


def test_wasserstein_and_quantile_agree_in_one_dimension():
    names = ("quantile", "wasserstein")
    found = chunk(sample("heteroscedastic", limit=10, divergences=names)).columns
    for quantity, values in found["quantile"].items():
        np.testing.assert_array_equal(found["wasserstein"][quantity], values)


def test_an_infinite_second_moment_is_infinite_in_its_row_only(heavy):
    found = chunk(heavy)
    quantile, kl = found.columns["quantile"], found.columns["kl"]
    for quantity in ("trace", "eigenvalue", "gaussian"):
        assert np.isinf(quantile[quantity]).tolist() == [True, False, True], quantity
    assert (quantile["radius"] == 0).tolist() == [True, False, True]
    assert np.isnan(quantile["rank"]).tolist() == [True, False, True]
    assert np.isfinite(kl["trace"]).all()
    assert found.directions["quantile"][1].any()
    for quantity in ("trace", "rank"):
        reason = found.values["quantile"][quantity].reason(0)
        assert reason.startswith("the variance of student_t is infinite")


def test_the_row_beside_an_infinite_one_keeps_its_closed_form(heavy):
    found = chunk(heavy)
    df, scale = 6.0, np.exp(-0.5)
    scale_row = df / (df - 2) * scale**2
    assert found.columns["quantile"]["trace"][1] > 4 + scale_row - 1e-9
    assert found.columns["quantile"]["eigenvalue"][1] >= 4 - 1e-9
    expected = 4 * (df + 1) / ((df + 3) * scale**2) + 2 * df / (df + 3)
    shape = found.columns["kl"]["trace"][1] - expected
    assert 0 < shape < 1


def test_a_report_with_infinite_rows_can_be_written(heavy):
    report = scan(replace(heavy, verify=None))
    assert '"quantile"' in to_json(report)
    assert report.data.n_skipped == 0
    found = columns(report, "quantile")
    assert np.isinf(found["gaussian_realised"]).sum() == 2
    assert found["gaussian_parted"].tolist() == [0.0, 0.0, 0.0]
    ratio = report.divergences["quantile"].summary["gaussian_ratio"]
    assert ratio.reason == "predicted and realised are both infinite (2)"


def test_a_distance_that_is_infinite_everywhere_is_measured_only_if_asked(tmp_path):
    def head(x):
        return {"loc": x[:, :1], "scale": torch.exp(x[:, 1:2])}

    model = {"family": "cauchy", "parameters": {"loc": "loc", "scale": "scale"}}
    x = np.random.default_rng(0).normal(size=(4, 2))
    config = written(tmp_path, head, x, model, verify=0)
    report = scan(config)
    assert list(report.divergences) == ["kl"]
    expected = 0.5 / np.exp(2 * x[:, 1]) + 0.5
    np.testing.assert_allclose(columns(report)["trace"], expected, rtol=1e-9)
    (left_out,) = [w for w in report.warnings if w.code == "left_out"]
    assert "infinite on the first 4 inputs (the variance of cauchy" in left_out.message
    asked = scan(replace(config, divergences=("quantile",)))
    summary = asked.divergences["quantile"].summary["eigenvalue"]
    assert (summary.n, summary.n_infinite, summary.min) == (4, 4, np.inf)
    assert "On 4 of 4 inputs the divergence is infinite" in headline(asked)


def test_a_linear_law_has_its_coefficient_and_no_quadratic_numbers():
    found = chunk(sample("counts", limit=8, divergences=("kl", "quantile")))
    quantile = found.columns["quantile"]
    numbers = {"linear", "radius", "gaussian", "uniform_norm"}
    assert set(quantile) == {*numbers, "principal_share"}
    np.testing.assert_allclose(quantile["radius"] * quantile["linear"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(
        quantile["gaussian"], 0.1 * np.sqrt(2 / np.pi) * quantile["linear"], rtol=1e-12
    )
    assert "angle" not in found.columns["kl"]
    gradient = found.directions["kl"][:, 0]
    np.testing.assert_allclose(found.directions["quantile"][:, 0], gradient, atol=1e-9)


def test_a_linear_law_costs_nothing_that_two_moments_can_tell(tmp_path):
    np.savez(tmp_path / "m.npz", covariance=np.eye(9))
    law = attacks(moments={"file": str(tmp_path / "m.npz")})
    found = chunk(sample("counts", limit=3, attacks=law, divergences=("quantile",)))
    assert np.isnan(found.columns["quantile"]["moments"]).all()
    assert "two moments" in found.values["quantile"]["moments"].reason(0)


def test_rank_counts_the_directions_that_cost_anything():
    found = chunk(sample("digits_cnn", limit=6)).columns["kl"]
    np.testing.assert_array_equal(found["rank"], 9.0)
    assert ((found["effective_rank"] >= 1) & (found["effective_rank"] <= 9)).all()


def test_a_sampled_tensor_has_errors_and_a_bracket(tmp_path):
    def head(x):
        loc = torch.stack([x, -x], dim=1)
        return {"logits": x, "loc": loc, "scale": torch.exp(0.1 * loc)}

    x = np.random.default_rng(0).normal(size=(5, 2))
    model = {"family": "mixture:normal"}
    np.savez(tmp_path / "m.npz", covariance=np.eye(2))
    law = attacks(
        gaussian={"sigma": "0.1"},
        fixed_norm={"norm": "0.1"},
        moments={"file": str(tmp_path / "m.npz")},
    )
    config = written(
        tmp_path, head, x, model, divergences=("kl",), draws_per_input=256, attacks=law
    )
    found = chunk(config).columns["kl"]
    for quantity in ("trace", "eigenvalue", "gaussian", "fixed_norm", "moments"):
        assert (found[f"{quantity}_se"] > 0).all()
        assert (found[f"{quantity}_se"] < found[quantity]).all()
    assert (found["eigenvalue_lower"] < found["eigenvalue"]).all()
    assert (found["eigenvalue_upper"] > found["eigenvalue"]).all()
    np.testing.assert_allclose(found["gaussian"], 0.005 * found["trace"], rtol=1e-12)
    np.testing.assert_allclose(found["moments"], 0.5 * found["trace"], rtol=1e-9)
    np.testing.assert_allclose(found["moments_se"], 0.5 * found["trace_se"], rtol=1e-6)
