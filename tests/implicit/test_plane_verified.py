"""A density on a plane and no sampler: all that is checked, against the KL of normals.

Its law is the affine one of `laws`, whose KL is a formula. The file knows its density
alone: values are sums over a grid, which searches look at by few nodes.
"""

import numpy as np
import pytest
from scans import attacks
from scipy import optimize

from implicit.laws import X, columns_of, log_density, onnx_file
from implicit.test_realised import gauss_kl

SIGMA, REACH, STEP = 0.3, 0.4, 1e-3


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("plane") / "density.onnx"
    onnx_file(path, log_density, {"x": 3, "theta": 2}, ["log_prob"])
    asked = attacks(gaussian={"sigma": str(SIGMA)}, uniform_norm={"max_norm": REACH})
    return columns_of(path, X, verify=3, attacks=asked)


def hessian(x):
    """Second differences of KL(x ‖ x + δ) in δ at 0, which is the Fisher tensor."""
    e = STEP * np.eye(3)

    def even(d):
        return (gauss_kl(x, x + d) + gauss_kl(x, x - d)) / 2

    diagonal = [even(e[i]) for i in range(3)]
    both = [
        [even(e[i] + e[j]) - diagonal[i] - diagonal[j] for j in range(3)]
        for i in range(3)
    ]
    found = np.array(both) / STEP**2
    return np.where(np.eye(3) > 0, 2 * np.diag(diagonal) / STEP**2, found)


def along(x):
    values, vectors = np.linalg.eigh(hessian(x))
    return values[-1], vectors[:, -1]


def first(function, start):
    """The first root of a function that is below zero at the start."""
    radius = start
    while function(radius * 1.05) < 0:
        radius *= 1.05
    return optimize.brentq(function, radius, radius * 1.05, rtol=1e-10)


def sides(x, v):
    """KL at x ± r v, for either sign."""
    return [lambda r, s=s: gauss_kl(x, x + s * r * v) for s in (1, -1)]


def test_radii_along_the_worst_direction(found):
    for row, x in enumerate(X):
        _, v = along(x)
        radii = [first(lambda r, kl=kl: kl(r) - 1, 1e-3) for kl in sides(x, v)]
        radius = found["critical_radius_along"][row]
        np.testing.assert_allclose(radius, min(radii), rtol=1e-4)
        assert found["critical_radius"][row] <= radius * (1 + 1e-6)


def test_how_far_the_local_law_holds(found):
    for row, x in enumerate(X):
        top, v = along(x)

        def off(r, x=x, v=v, top=top):
            return max(abs(kl(r) / (top * r**2 / 2) - 1) for kl in sides(x, v)) - 0.1

        radius = found["validity_radius"][row]
        np.testing.assert_allclose(radius, first(off, 1e-2), rtol=1e-3)


def test_the_mean_along_the_worst_direction(found):
    nodes, weights = np.polynomial.legendre.leggauss(40)
    sizes = (nodes + 1) / 2 * REACH
    for row, x in enumerate(X):
        _, v = along(x)
        means = [np.array([kl(r) for r in sizes]) @ weights / 2 for kl in sides(x, v)]
        known = found["uniform_norm_realised"][row]
        np.testing.assert_allclose(known, max(means), rtol=1e-4)


def test_the_mean_over_noise(found):
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    z = np.stack(np.meshgrid(nodes, nodes, nodes), -1).reshape(-1, 3)
    w = np.prod(np.meshgrid(weights, weights, weights), axis=0).reshape(-1)
    for row, x in enumerate(X):
        values = [gauss_kl(x, x + SIGMA * one) for one in z]
        true = float(np.array(values) @ w / w.sum())
        error = found["gaussian_realised_se"][row]
        assert 0 < error < 0.1 * true
        assert abs(found["gaussian_realised"][row] - true) < 5 * error
