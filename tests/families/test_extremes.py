"""Parameters far from one, against mpmath with fifty digits."""

from itertools import count

import mpmath as mp
import numpy as np
import pytest
import torch

from audit.families import FAMILIES, build_family
from audit.families.normals import normal_renyi
from audit.nodes.special import trigamma

from .levels import nearly


@pytest.fixture(autouse=True)
def _fifty_digits():
    with mp.workdps(50):
        yield


def family_of(name):
    return build_family(name, dict.fromkeys(FAMILIES[name].parameterizations[0], ()))


def row(*phi):
    return torch.tensor([phi], dtype=torch.float64)


def gram(name, tensor, phi):
    root = getattr(family_of(name), tensor)(row(*phi)).dense()[0]
    return (root.mT @ root).numpy()


def assert_close(ours, exact, rel):
    assert float(ours) == nearly(float(exact), rel)


@pytest.mark.parametrize("x", [1e-3, 0.3, 5.5, 40.0, 1e4])
def test_trigamma_has_the_digits_that_torch_lacks(x):
    assert_close(trigamma(torch.tensor(x, dtype=torch.float64)), mp.psi(1, x), 1e-14)


@pytest.mark.parametrize("alpha", [1e-2, 1.0, 1e4])
def test_gamma_fisher_and_kl(alpha):
    ours = gram("gamma", "fisher_root", (alpha, 2.0))
    exact = [[mp.psi(1, alpha), -0.5], [-0.5, alpha / 4]]
    np.testing.assert_allclose(ours, np.array(exact, dtype=float), rtol=1e-12)
    a, b, r, s = mp.mpf(alpha), mp.mpf(alpha) * mp.mpf("1.001"), 2, mp.mpf("2.001")
    kl = (
        (a - b) * mp.psi(0, a)
        - mp.loggamma(a)
        + mp.loggamma(b)
        + b * mp.log(r / s)
        + a * (s - r) / r
    )
    ours = family_of("gamma").kl(row(alpha, 2.0), row(float(b), 2.001))
    assert_close(ours, kl, 1e-7)


def gamma_shape_transport(alpha):
    """∫ (∂_α C)² / p dx, in ln x, ∂_α C by differences of the regularised function."""
    a = mp.mpf(alpha)
    h = a * mp.mpf(10) ** -12

    def integrand(y):
        x = mp.exp(y)
        tail = [mp.gammainc(b, x, regularized=True) for b in (a + h, a - h)]
        slope = (tail[0] - tail[1]) / (2 * h)
        density = mp.exp(a * y - x - mp.loggamma(a))  # of ln x
        return (slope * x) ** 2 / density

    center, width = mp.log(a), 1 / mp.sqrt(a)
    if alpha < 1:
        return mp.quad(integrand, [-25, -12, -6, -3, 0, 2, 4], maxdegree=4)
    points = [center + k * width for k in (-9, -5, -2, 0, 2, 5, 8)]
    return mp.quad(integrand, points, maxdegree=4)


@pytest.mark.parametrize("alpha", [1e-2, 50.0])
def test_gamma_shape_transport(alpha):
    mp.mp.dps = 30
    ours = gram("gamma", "transport_root", (alpha, 2.0))[0, 0]
    assert_close(ours, gamma_shape_transport(alpha) / 4, 1e-8)


@pytest.fixture(autouse=True)
def _fifty_digits():
    with mp.workdps(50):
        yield


@pytest.mark.parametrize("nu", [0.5, 3.0, 29.0, 31.0, 1e3, 1e6])
def test_student_information_about_nu(nu):
    n = mp.mpf(nu)
    exact = (mp.psi(1, n / 2) - mp.psi(1, (n + 1) / 2)) / 4
    exact -= (n + 5) / (2 * n * (n + 1) * (n + 3))
    assert_close(gram("student_t", "fisher_root", (nu, 0.0, 1.0))[0, 0], exact, 1e-10)


def trapezoid(integrand, start, step, sides=(1, -1)):
    """∫ of an analytic integrand; the rule's error is exponentially small.

    Sums from `start` to each of the sides, until terms are nothing.
    """
    largest = total = integrand(start)
    for side in sides:
        for place in count(1):
            term = integrand(start + side * place * step)
            total += term
            largest = max(largest, term)
            if term <= largest * mp.mpf(10) ** -15:
                break
    return step * total


def derivative(function, at):
    """A central difference that keeps two thirds of the digits."""
    h = at * mp.mpf(10) ** (-mp.mp.dps // 3)
    return (function(at + h) - function(at - h)) / (2 * h)


def student_shape_transport(nu):
    """E[(∂_ν Q_ν)²] = ∫ (∂_ν C)² / p dz, in s with z = sinh s."""
    nu, half = mp.mpf(nu), mp.mpf(1) / 2

    def tail(n, z):
        share = n / (n + z * z)
        if share < half:
            return mp.betainc(n / 2, half, 0, share, regularized=True) / 2
        return half - mp.betainc(half, n / 2, 0, 1 - share, regularized=True) / 2

    constant = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2) - mp.log(nu * mp.pi) / 2

    def integrand(s):
        z = mp.sinh(s)
        slope = derivative(lambda n: tail(n, z), nu)
        density = mp.exp(constant - (nu + 1) / 2 * mp.log1p(z * z / nu))
        return slope**2 / density * mp.cosh(s)

    step = mp.mpf(1) / (4 if nu < 20 else 16)
    # the integrand is even, and zero at zero
    return 2 * trapezoid(integrand, step, step, sides=(1,))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("nu", [2.05, 2.2, 2.5, 4.0, 50.0, 1e4, 1e6])
def test_student_shape_transport(nu):
    ours = gram("student_t", "transport_root", (nu, 0.0, 1.0))[0, 0]
    with mp.workdps(36):
        exact = student_shape_transport(nu)
    assert_close(ours, exact, 1e-10)


def test_student_shape_transport_tends_to_its_cornish_fisher_limit():
    nu = 1e5
    ours = gram("student_t", "transport_root", (nu, 0.0, 1.0))[0, 0]
    assert_close(ours * nu**4, (15 + 6 + 1) / 16, 1e-3)


def inverse_gamma_shape_transport(alpha):
    """∫ (∂_α C)² / p dθ, in y = ln x with θ = 1/x and x a gamma draw."""
    a = mp.mpf(alpha)

    def integrand(y):
        x = mp.exp(y)
        if x < a:
            slope = derivative(lambda b: mp.gammainc(b, 0, x, regularized=True), a)
        else:
            slope = derivative(lambda b: mp.gammainc(b, x, regularized=True), a)
        density = mp.exp(a * y - x - mp.loggamma(a))  # of y
        return (slope / x) ** 2 / density

    return trapezoid(integrand, mp.log(a), mp.mpf(1) / 8)


@pytest.mark.parametrize("alpha", [2.1, 2.5, 4.0])
def test_inverse_gamma_shape_transport(alpha):
    ours = gram("inverse_gamma", "transport_root", (alpha, 1.0))[0, 0]
    with mp.workdps(36):
        exact = inverse_gamma_shape_transport(alpha)
    assert_close(ours, exact, 1e-10)


@pytest.mark.parametrize("kappa", [1e-3, 0.5, 20.0, 1e3, 1e4])
def test_von_mises_fisher_and_kl(kappa):
    def mean_cosine(k):
        return mp.besseli(1, k) / mp.besseli(0, k)

    k = mp.mpf(kappa)
    mean = mean_cosine(k)
    ours = gram("von_mises", "fisher_root", (0.3, kappa))
    assert_close(ours[0, 0], k * mean, 1e-9)
    assert_close(ours[1, 1], 1 - mean**2 - mean / k, 1e-9)
    other, turn = k * mp.mpf("1.1"), mp.mpf("0.01")
    kl = mp.log(mp.besseli(0, other) / mp.besseli(0, k))
    kl += mean * (k - other * mp.cos(turn))
    ours = family_of("von_mises").kl(row(0.3, kappa), row(0.31, float(other)))
    assert_close(ours, kl, 1e-7)


def test_von_mises_concentrates_to_a_normal():
    kappa = 1e4
    ours = gram("von_mises", "transport_root", (0.0, kappa))[1, 1]
    assert_close(ours, 1 / (4 * kappa**3), 1e-3)


@pytest.mark.parametrize(("a", "b"), [(1e-2, 3.0), (1e3, 2e3), (0.05, 0.05)])
def test_beta_fisher(a, b):
    whole = mp.psi(1, mp.mpf(a) + mp.mpf(b))
    exact = [[mp.psi(1, a) - whole, -whole], [-whole, mp.psi(1, b) - whole]]
    ours = gram("beta", "fisher_root", (a, b))
    np.testing.assert_allclose(ours, np.array(exact, dtype=float), rtol=1e-9)


def test_units_do_not_matter():
    for scale in (1e-8, 1e8):
        for name in ("gamma", "weibull", "student_t"):
            size = (3.0, scale) if name != "weibull" else (scale, 3.0)
            size = (5.0, 0.0, scale) if name == "student_t" else size
            if name == "gamma":
                size = (3.0, 1 / scale)
            ours = gram(name, "transport_root", size)
            base = tuple(1.0 if v in (scale, 1 / scale) else v for v in size)
            shape = 0 if name != "weibull" else 1
            theirs = gram(name, "transport_root", base)[shape, shape]
            assert_close(ours[shape, shape], theirs * scale**2, 1e-9)


@pytest.mark.parametrize("alpha", [0.5, 0.9])
@pytest.mark.parametrize("shift", [0.0, 1e140, 1e150, 3e150])
def test_renyi_of_normals_whose_scales_are_350_digits_apart(alpha, shift):
    """The shift is infinite in units of the one and moderate in those of the mixture.

    α Δ² / 2v + ln[v / (σ₁^{2(1−α)} σ₂^{2α})] / 2(1−α), v = (1−α) σ₁² + α σ₂² [Gil].
    """
    wide, narrow = 1e150, 1e-200
    own, other = row(shift, wide), row(0.0, narrow)
    found = normal_renyi(own.unbind(1), other.unbind(1), alpha)
    a, s, k = mp.mpf(alpha), mp.mpf(wide) ** 2, mp.mpf(narrow) ** 2
    v = (1 - a) * s + a * k
    moved = a * mp.mpf(shift) ** 2 / (2 * v)
    spread = mp.log(v / (s ** (1 - a) * k**a)) / (2 * (1 - a))
    assert_close(found, moved + spread, 1e-12)


@pytest.mark.parametrize(
    ("phi", "finite"),
    [((1.0, 2.0), True), ((1.0, 1.5), False), ((0.75, 2.0), False), ((1.0, 3.0), True)],
)
def test_renyi_of_gamma_laws_is_infinite_where_the_mixed_law_is_none(phi, finite):
    """∫ q² / q' has the exponents 2α₁ − α₂ and 2β₁ − β₂, which must be above zero.

    From 2α₁ = α₂ or 2β₁ = β₂ on the integral has no end, at 0 or far out.
    """
    family, (shape, rate), (other, slower) = family_of("gamma"), phi, (1.5, 3.0)
    found = family.renyi(row(shape, rate), row(other, slower), 2.0)
    assert bool(found.isfinite()) is finite
    if not finite:
        assert found.item() == np.inf
        return
    a, b = 2 * mp.mpf(shape) - other, 2 * mp.mpf(rate) - slower
    log = 2 * (shape * mp.log(rate) - mp.loggamma(shape)) + mp.loggamma(a)
    log += mp.loggamma(other) - other * mp.log(slower) - a * mp.log(b)
    assert_close(found, log, 1e-12)
