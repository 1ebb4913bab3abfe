"""KL against the quantile distance: mean M φ and fixed covariance Σ (THEORY 5)."""

import numpy as np
import pytest
import torch

from audit.families import build_family
from audit.geometry.comparison import angle, attained
from audit.geometry.divergences import build_divergence
from audit.geometry.pullback import pull_back
from audit.linalg.decompose import decompose
from audit.linalg.exact import decompose_exact
from audit.linalg.stored import Matrix
from audit.nodes.noise import Noise

N = 3
ROTATION, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))
SPREAD = np.array([4.0, 1.0, 0.25])
SIGMA = (ROTATION * SPREAD) @ ROTATION.T
WIDEST, NARROWEST = ROTATION[:, 0], ROTATION[:, 2]
FAMILY = build_family("multivariate_normal", {"loc": (N,), "scale_tril": (N, N)})


def power(exponent):
    return (ROTATION * SPREAD**exponent) @ ROTATION.T


def answers(matrix):
    tril = torch.from_numpy(np.linalg.cholesky(SIGMA))[None]
    phi = FAMILY.pack({"loc": torch.zeros(1, N).double(), "scale_tril": tril})
    jacobian = np.zeros((1, FAMILY.size, N))
    jacobian[0, :N] = matrix
    found = {}
    for name in ("kl", "quantile"):
        form = pull_back(
            build_divergence(name),
            FAMILY,
            phi,
            Matrix(torch.from_numpy(jacobian)),
            Noise(0, np.arange(1), 2),
        )
        found[name] = form, decompose(form, N)
    return found


def tensor(form):
    dense = form.root.dense()[0].numpy()
    return dense.T @ dense


def aligned(direction, expected):
    return abs(direction @ expected) > 1 - 1e-12


@pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5, 1.0])
def test_both_tensors_are_the_powers_of_the_covariance(exponent):
    found = answers(power(exponent))
    np.testing.assert_allclose(
        tensor(found["kl"][0]), power(2 * exponent - 1), atol=1e-12
    )
    np.testing.assert_allclose(
        tensor(found["quantile"][0]), power(2 * exponent), atol=1e-12
    )


def test_between_mean_and_whitened_parameters_the_worst_directions_are_opposite():
    (kl, kl_spectrum), (_, quantile) = answers(power(0.25)).values()
    ours = kl_spectrum.directions[0].numpy()
    theirs = quantile.directions[0].numpy()
    assert aligned(ours[:, 0], NARROWEST)
    assert aligned(theirs[:, 0], WIDEST)
    assert aligned(ours[:, 0], theirs[:, -1])
    assert angle(kl_spectrum, quantile).item() == pytest.approx(90.0, abs=1e-6)
    share = attained(kl, kl_spectrum, quantile).item()
    assert share == pytest.approx((1 / 2) / (1 / 0.5), rel=1e-10)


def test_natural_parameters_have_one_worst_direction_for_both():
    (kl, kl_spectrum), (quantile, spectrum) = answers(power(1.0)).values()
    assert aligned(kl_spectrum.directions[0, :, 0].numpy(), WIDEST)
    assert aligned(spectrum.directions[0, :, 0].numpy(), WIDEST)
    assert angle(kl_spectrum, spectrum).item() == pytest.approx(0.0, abs=1e-5)
    assert attained(kl, kl_spectrum, spectrum).item() == pytest.approx(1.0, rel=1e-12)
    assert attained(quantile, spectrum, kl_spectrum).item() == pytest.approx(1.0)


def test_mean_parameters_leave_the_quantile_distance_without_a_worst_direction():
    (kl, kl_spectrum), (quantile, spectrum) = answers(np.eye(N)).values()
    np.testing.assert_allclose(spectrum.eigenvalues[0], 1.0, rtol=1e-12)
    assert aligned(kl_spectrum.directions[0, :, 0].numpy(), NARROWEST)
    assert angle(kl_spectrum, spectrum).isnan().all()
    assert attained(kl, kl_spectrum, spectrum).isnan().all()
    assert attained(quantile, spectrum, kl_spectrum).item() == pytest.approx(1.0)


def test_whitened_parameters_leave_kl_without_a_worst_direction():
    (_, kl_spectrum), (_, spectrum) = answers(power(0.5)).values()
    np.testing.assert_allclose(kl_spectrum.eigenvalues[0], 1.0, rtol=1e-10)
    assert angle(kl_spectrum, spectrum).isnan().all()


def test_a_direction_has_no_sign_and_rounding_never_exceeds_a_right_angle():
    root = np.random.default_rng(1).normal(size=(50, 2, 4))
    other = np.random.default_rng(2).normal(size=(50, 2, 4))
    one, two = (spectrum_of(r) for r in (root, other))
    found = angle(one, two).numpy()
    assert ((found >= 0) & (found <= 90)).all()
    np.testing.assert_allclose(angle(two, one), found)
    np.testing.assert_allclose(angle(one, one), 0.0, atol=1e-5)


def spectrum_of(root):
    return decompose_exact(Matrix(torch.from_numpy(root)), 1)
