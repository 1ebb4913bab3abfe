"""Predictions held against exact values: signs, control variates, what parts."""

import math

import numpy as np
import pytest
import torch
from scans import attacks, columns, sample, scan, written
from scipy import integrate, stats

from audit.config import Threshold

NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}


def identity_head(x):
    return {"loc": x[:, :1], "scale": x[:, 1:2]}


def kl(scale, other):
    return math.log(other / scale) + scale**2 / (2 * other**2) - 0.5


@pytest.fixture
def verified(tmp_path):
    def run(x, head=identity_head, model=NORMAL, divergences=("kl",), **options):
        report = scan(
            written(tmp_path, head, x, model, divergences=divergences, **options)
        )
        return report, columns(report, divergences[0])

    return run


def test_of_the_two_answers_of_the_argmax_the_worse_one_is_realised(verified):
    _, found = verified(
        np.array([[0.0, 1.0]]), attacks=attacks(fixed_norm={"norm": "0.2"})
    )
    assert kl(1.0, 1.2) == pytest.approx(0.0295, abs=1e-4)
    assert kl(1.0, 0.8) == pytest.approx(0.0581, abs=1e-4)
    assert found["fixed_norm"][0] == pytest.approx(0.0400, rel=1e-12)
    assert found["fixed_norm_realised"][0] == pytest.approx(kl(1.0, 0.8), rel=1e-9)
    assert found["fixed_norm_ratio"][0] == pytest.approx(kl(1.0, 0.8) / 0.04, rel=1e-9)
    assert found["fixed_norm_parted"][0] == 1.0
    assert "fixed_norm_realised_se" not in found  # a closed form has no error


@pytest.mark.parametrize("close", [0, 2])
def test_predictions_are_apart_where_all_inputs_together_are_and_only_there(
    verified, close
):
    """At a scale of 10 a move of 0.2 is local, at one of 1 it is not."""
    scales = [1.0] * close + [10.0] * (5 - close)
    x = np.array([[0.0, scale] for scale in scales])
    moved = attacks(fixed_norm={"norm": "0.2"})
    report, found = verified(x, attacks=moved, sizes=())
    assert found["fixed_norm_parted"].sum() == close
    said = [one.message for one in report.warnings if one.code == "parted_kl"]
    ratios = [kl(scale, scale - 0.2) / (0.04 / scale**2) for scale in scales]
    ratio = stats.gmean(ratios)
    about = [text for text in said if "fixed_norm" in text]
    assert (abs(ratio - 1) > 0.1) == (len(about) == 1)
    if about:
        assert (
            f"over all 5 checked inputs the realised value is {ratio:.3g}" in about[0]
        )


def test_in_parameter_space_the_worse_sign_is_the_same(verified):
    model = NORMAL | {"space": "parameters"}
    _, found = verified(
        np.array([[0.0, 1.0], [3.0, 2.0]]),
        model=model,
        attacks=attacks(fixed_norm={"norm": "0.2"}),
    )
    expected = [kl(1.0, 0.8), kl(2.0, 1.8)]
    np.testing.assert_allclose(found["fixed_norm_realised"], expected, rtol=1e-9)


def test_the_mirrored_head_has_the_same_worse_sign(verified):
    def head(x):
        return {"loc": x[:, :1], "scale": 2 - x[:, 1:2]}

    _, found = verified(
        np.array([[0.0, 1.0]]), head=head, attacks=attacks(fixed_norm={"norm": "0.2"})
    )
    assert found["fixed_norm_realised"][0] == pytest.approx(kl(1.0, 0.8), rel=1e-9)


def test_a_uniform_norm_is_integrated_over_the_worse_sign(verified):
    _, found = verified(
        np.array([[0.0, 1.0]]), attacks=attacks(uniform_norm={"max_norm": "0.4"})
    )
    expected = integrate.quad(lambda e: kl(1.0, 1 - e), 0, 0.4)[0] / 0.4
    assert found["uniform_norm_realised"][0] == pytest.approx(expected, rel=1e-6)


def test_small_steps_are_predicted_and_large_ones_part(verified):
    x = np.array([[0.0, 1.0], [1.0, 5.0]])
    small = attacks(fixed_norm={"norm": "0.01"})
    large = attacks(fixed_norm={"norm": "0.5"})
    _, near = verified(x, attacks=small)
    _, far = verified(x, attacks=large)
    assert near["fixed_norm_parted"].tolist() == [0.0, 0.0]
    assert far["fixed_norm_parted"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(near["fixed_norm_ratio"], 1.0, atol=0.03)


def test_the_sampled_expectation_of_white_noise_is_the_integral(
    verified,
):
    scales = np.linspace(1.0, 3.0, 200)
    x = np.stack([np.zeros(200), scales], axis=1)
    _, found = verified(x, attacks=attacks(gaussian={"sigma": "0.05"}), verify=200)

    def expected(scale):
        law = stats.norm(scale, 0.05)
        stretch = law.expect(
            lambda s: math.log(s / scale) + (scale**2) / (2 * s**2) - 0.5,
            lb=scale - 0.4,
            ub=scale + 0.4,
        )
        return stretch + law.expect(
            lambda s: 0.05**2 / (2 * s**2), lb=scale - 0.4, ub=scale + 0.4
        )

    truth = np.array([expected(scale) for scale in scales])
    off = found["gaussian_realised"] / truth - 1
    variance = (found["gaussian_realised_se"] / truth) ** 2
    assert abs(off.mean()) < 4 * off.std() / math.sqrt(200)
    assert variance.mean() == pytest.approx(off.var(), rel=0.4)
    assert (np.abs(off) < 2 * np.sqrt(variance)).mean() > 0.7
    assert np.abs(off).max() < 0.05


def test_a_perturbation_that_leaves_the_family_parts_and_says_so(verified):
    report, found = verified(
        np.array([[0.0, 1.0], [0.0, 0.15], [0.0, 3.0]]),
        attacks=attacks(fixed_norm={"norm": "0.2"}),
    )
    assert np.isinf(found["fixed_norm_realised"]).tolist() == [False, True, False]
    assert found["fixed_norm_parted"].tolist() == [1.0, 1.0, 1.0]
    kl_report = report.divergences["kl"]
    summary = kl_report.summary["fixed_norm_realised"]
    assert (summary.n_infinite, summary.max, summary.mean) == (1, math.inf, math.inf)
    words = "infinite, or x + δ has parameters of no law of the family (1)"
    assert summary.infinite_reason == words
    check = kl_report.verification["fixed_norm"]
    assert (check.n, check.parted) == (3, 3)
    assert math.isfinite(check.ratio_p50)


def test_no_number_is_made_of_a_negative_scale(verified):
    for divergence in ("quantile", "renyi:alpha=2", "hellinger"):
        report, found = verified(
            np.array([[0.0, 0.1]]),
            divergences=(divergence,),
            attacks=attacks(gaussian={"sigma": "1"}),
        )
        assert np.isinf(found["gaussian_realised"]).all()
        assert found["gaussian_parted"].tolist() == [1.0]
        check = report.divergences[divergence].verification["gaussian"]
        assert (check.n, check.parted, check.ratio_p50) == (1, 1, math.inf)


def test_a_head_that_overflows_has_parted_and_breaks_nothing(verified):
    def head(x):
        columns = {"df": 3 + x[:, 1:2].exp(), "loc": x[:, :1], "scale": x[:, 1:2].exp()}
        return {name: value * 1.0 for name, value in columns.items()}

    names = ("df", "loc", "scale")
    model = {"family": "student_t", "parameters": {name: name for name in names}}
    for divergence in ("kl", "quantile"):
        _, found = verified(
            np.array([[0.0, 0.1], [0.0, -0.2]]),
            head=head,
            model=model,
            divergences=(divergence,),
            mask="1",
            attacks=attacks(fixed_norm={"norm": "1e4"}),
        )
        assert np.isinf(found["fixed_norm_realised"]).all()
        assert found["fixed_norm_parted"].tolist() == [1.0, 1.0]


def test_a_step_of_a_covariance_counts_by_its_symmetric_part(verified):
    def head(x):
        covariance = torch.diag_embed(torch.exp(x))
        return {"loc": x, "covariance": covariance}

    parameters = {"loc": "loc", "covariance_matrix": "covariance"}
    model = {"family": "multivariate_normal", "parameters": parameters}
    _, found = verified(
        np.zeros((1, 2)),
        head=head,
        model=model | {"space": "parameters"},
        attacks=attacks(random_direction={"max_norm": "0.1"}),
    )
    assert found["random_direction_ratio"][0] == pytest.approx(1.0, abs=0.05)
    assert found["random_direction_parted"].tolist() == [0.0]


def test_an_infinite_divergence_has_parted_from_a_finite_prediction(verified):
    _, found = verified(
        np.array([[0.0, 1.0]]),
        divergences=("renyi:alpha=2",),
        attacks=attacks(fixed_norm={"norm": "0.4"}),
    )
    assert found["fixed_norm"][0] == pytest.approx(2 * 0.16, rel=1e-9)
    assert np.isinf(found["fixed_norm_realised"][0])
    assert found["fixed_norm_parted"][0] == 1.0


def test_a_divergence_without_an_exact_value_says_so(verified):
    def head(x):
        loc = torch.stack([x, -x], dim=1)
        return {"logits": x, "loc": loc, "scale": torch.exp(0.1 * loc)}

    x = np.random.default_rng(0).normal(size=(4, 2))
    report, found = verified(
        x,
        head=head,
        model={"family": "mixture:normal"},
        divergences=("renyi:alpha=0.5",),
        draws_per_input=32,
    )
    assert np.isnan(found["gaussian_realised"]).all()
    summary = report.divergences["renyi:alpha=0.5"].summary
    for quantity in ("gaussian_realised", "critical_radius"):
        assert "no exact value of renyi:alpha=0.5" in summary[quantity].reason
    assert report.divergences["renyi:alpha=0.5"].verification == {}


def test_verification_looks_at_the_worst_and_at_random_inputs():
    whole = columns(scan(sample("heteroscedastic", verify=60, limit=60)))
    some = scan(sample("heteroscedastic", verify=20, limit=60))
    found = columns(some)
    checked = np.flatnonzero(np.isfinite(found["gaussian_ratio"]))
    assert len(checked) == 20
    worst = np.argsort(-found["eigenvalue"])[:10]
    assert set(worst) <= set(checked)
    np.testing.assert_allclose(
        found["gaussian_ratio"][checked], whole["gaussian_ratio"][checked], rtol=1e-6
    )
    again = columns(scan(sample("heteroscedastic", verify=20, limit=60)))
    np.testing.assert_array_equal(found["gaussian_ratio"], again["gaussian_ratio"])


def test_nothing_is_verified_where_nobody_asks():
    report = scan(sample("heteroscedastic", verify=0))
    assert report.divergences["kl"].verification == {}
    assert not [name for name in columns(report) if name.endswith("_realised")]


def test_steps_are_taken_in_the_units_of_the_frame(tmp_path):
    x = np.array([[0.0, 1.0]])
    np.save(tmp_path / "units.npy", np.array([1.0, 0.1]))
    config = written(
        tmp_path,
        identity_head,
        x,
        NORMAL,
        divergences=("kl",),
        units=str(tmp_path / "units.npy"),
        mask="1",
        attacks=attacks(fixed_norm={"norm": "2"}),
    )
    found = columns(scan(config))
    assert found["fixed_norm"][0] == pytest.approx(0.04, rel=1e-9)
    assert found["fixed_norm_realised"][0] == pytest.approx(kl(1.0, 0.8), rel=1e-9)


@pytest.mark.parametrize(("sigma", "code"), [("0.2", 0), ("0.8", 4)])
def test_an_infinite_mean_over_an_attack_keeps_no_limit(verified, sigma, code):
    """E χ² = 1/√(1 − 2σ²) − 1 of a normal law's mean, and ∞ from σ² = 1/2 on."""
    x = np.stack([np.linspace(-1, 1, 20), np.ones(20)], axis=1)

    def head(x):
        return {"loc": x[:, :1], "scale": 1 + 0 * x[:, 1:2]}

    key = "chi_squared.gaussian_realised.mean"
    options = {
        "attacks": attacks(gaussian={"sigma": sigma}),
        "divergences": ("chi_squared",),
        "thresholds": (Threshold(key, "<=", 1e9),),
    }
    report, found = verified(x, head, **options)
    carried = "carried_chi_squared_gaussian" in [one.code for one in report.warnings]
    assert (report.exit_code, carried) == (code, code == 4)
    if code == 0:
        truth = 1 / math.sqrt(1 - 2 * 0.2**2) - 1
        assert found["gaussian_realised"].mean() == pytest.approx(truth, rel=0.02)
    accepted, _ = verified(x, head, **options, accept_unverified=True)
    assert accepted.exit_code == 0
