"""Divergences of close laws keep their digits: steps of 1e-4 to 1e-8, by mpmath.

A divergence is of second order in the step: what is computed as a difference of values
has lost all digits at 1e-8.
"""

import math

import mpmath as mp
import numpy as np
import pytest
import torch

from audit.families import FAMILIES, build_family
from audit.families.gumbel import gumbel_diverges

from . import exact
from .examples import each_where
from .expected import EXPECTED
from .levels import nearly
from .test_small_steps import direction_of

STEPS = (1e-4, 1e-6, 1e-8)
LAWS = {
    "normal": [(0.3, 0.5), (1e3, 1e-3)],
    "log_normal": [(0.3, 0.5)],
    "half_normal": [(0.5,)],
    "laplace": [(0.3, 0.5), (10.0, 1e-3)],
    "gumbel": [(0.3, 0.5)],
    "cauchy": [(0.3, 0.5)],
    "exponential": [(0.5,)],
    "pareto": [(3.5,)],
    "weibull": [(0.5, 1.5), (20.0, 0.3)],
    "gamma": [(0.7, 0.5), (30.0, 2.0), (1e-3, 4.0), (1e4, 3.0)],
    "inverse_gamma": [(0.7, 0.5), (30.0, 2.0)],
    "beta": [(0.7, 0.5), (30.0, 2.0), (1e4, 3e3)],
    "dirichlet": [(0.7, 0.5, 9.0)],
    "von_mises": [(0.3, 1e-3), (0.3, 0.5), (0.3, 20.0), (0.3, 1e3)],
    "poisson": [(0.3,), (1e4,)],
    "bernoulli": [(0.3,), (1e-30,)],
    "binomial": [(0.3,)],
    "geometric": [(0.3,), (1e-30,)],
    "negative_binomial": [(3.0, 0.4)],
    "categorical": [(0.2, 0.5, 0.3)],
    "multinomial": [(0.2, 0.5, 0.3)],
    "one_hot_categorical": [(0.2, 0.5, 0.3)],
}
SCALED = {"categorical", "multinomial", "one_hot_categorical", "dirichlet"}


def family_of(name, size=0):
    known = FAMILIES[name].parameterizations[0]
    options = {"total_count": 7} if name in ("binomial", "multinomial") else {}
    shape = (size,) if name in SCALED else ()
    return build_family(name, dict.fromkeys(known, shape), **options)


def row(values):
    return torch.tensor(np.array([values]), dtype=torch.float64)


def pairs():
    rng = np.random.default_rng(0)
    for name, laws in LAWS.items():
        for phi in laws:
            for step in STEPS:
                move = rng.normal(size=len(phi))
                if name == "negative_binomial":
                    move[0] = 0.0
                yield name, phi, tuple(np.array(phi) * (1 + step * move)), step


EACH = [pytest.param(*p, id=f"{p[0]}-{p[1]}-{p[3]:g}") for p in pairs()]


def test_every_closed_divergence_is_here():
    closed = {
        label.partition("(")[0] for label, e in EXPECTED.items() if e.kl == "exact"
    }
    others = {"logistic", "student_t", "multivariate_normal", "normal,gamma"}
    others |= {"mixture:normal", "mixture:gamma", "low_rank_multivariate_normal"}
    others |= {name for name in closed if ":" in name}  # see test_composed
    others |= {"ordinal", "discrete_hazard", "evidential"}
    assert closed - others == set(LAWS) == set(exact.KL)


@pytest.mark.parametrize(("name", "phi", "other", "step"), EACH)
def test_kl_of_close_laws(name, phi, other, step):
    ours = family_of(name, len(phi)).kl(row(phi), row(other)).item()
    assert ours == nearly(float(exact.kl(name, phi, other)), 1e-12)


SLOPED = [p for p in EACH if p.values[0] in ("normal", "log_normal")]


@pytest.mark.parametrize(("name", "phi", "other", "step"), SLOPED)
def test_stated_slopes_of_kl_by_mpmath(name, phi, other, step):
    """They are of first order in the step: half of all digits would be lost at 1e-8."""
    slope = family_of(name, len(phi)).kl_slope(row(phi), row(other))[0].tolist()
    with mp.workdps(exact.DIGITS):
        left, right = exact.precise(phi), exact.precise(other)
        for place, found in enumerate(slope):

            def along(value, place=place):
                moved = (*right[:place], value, *right[place + 1 :])
                return exact.KL[name](left, moved)

            assert found == nearly(float(mp.diff(along, right[place])), 1e-12)


def test_a_law_without_a_stated_slope_leaves_it_to_autograd():
    assert family_of("laplace").kl_slope(row((0.3, 0.5)), row((0.4, 0.5))) is None


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("name", "phi", "other", "step"), EACH)
@pytest.mark.parametrize("alpha", [0.4, 1.7])
def test_renyi_of_close_laws_is_alpha_times_kl(name, phi, other, step, alpha):
    """To first order of the step, and |Δ|/b of it for the kink of a Laplace law."""
    ours = family_of(name, len(phi)).renyi(row(phi), row(other), alpha).item()
    slack = 40 * step * max(1.0, abs(phi[0]) / phi[1] if name == "laplace" else 0.0)
    if name == "gumbel" and np.isinf(ours):
        assert other[1] < phi[1]
    elif name == "weibull" and np.isinf(ours):
        assert other[1] > phi[1]
    else:
        assert ours == nearly(alpha * float(exact.kl(name, phi, other)), slack + 1e-9)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("kappa", [1e-6, 1e-2, 1.0, 7.0, 39.0, 41.0, 1e3, 1e6])
@pytest.mark.parametrize("stretch", [0.0, 1e-8, -1e-5, 1e-2, -0.4, 0.6, 20.0])
@pytest.mark.parametrize("turn", [0.0, 1e-8, 1e-3, 2.0])
def test_von_mises_kl_on_a_grid(kappa, stretch, turn):
    phi, other = (0.3, kappa), (0.3 + turn, kappa * (1 + stretch))
    ours = family_of("von_mises").kl(row(phi), row(other)).item()
    expected = float(exact.kl("von_mises", phi, other))
    assert ours == (0.0 if phi == other else nearly(expected, 1e-11))


def test_a_concentration_of_zero_is_the_uniform_law():
    family, uniform = family_of("von_mises"), row((0.3, 0.0))
    assert not any(wrong.any() for wrong in family.violations(uniform).values())
    root = family.fisher_root(uniform).dense()[0]
    torch.testing.assert_close(root.mT @ root, torch.diag(row((0.0, 0.5))[0]))
    with mp.workdps(40):
        divergence = mp.log(mp.besseli(0, 2))
    assert family.kl(uniform, row((1.0, 2.0))).item() == nearly(
        float(divergence), 1e-13
    )
    assert family.distribution(uniform).sample((4,)).isfinite().all()


MATRICES = ("scale_tril", "covariance_matrix", "precision_matrix")


def covariance(kind, matrix):
    matrix = mp.matrix(matrix.tolist())
    if kind == "scale_tril":
        return matrix * matrix.T
    return matrix if kind == "covariance_matrix" else matrix**-1


def trace(matrix):
    return sum(matrix[i, i] for i in range(matrix.rows))


def square_root(matrix):
    values, vectors = mp.eigsy(matrix)
    return vectors * mp.diag([mp.sqrt(v) for v in values]) * vectors.T


def distances_of(first, second):
    """KL, Rényi of order ½, the squared gap of Cholesky factors and W₂²."""
    n = first.rows
    change = mp.log(mp.det(second) / mp.det(first))
    kl = (trace(second**-1 * first) - n + change) / 2
    mean = mp.log(mp.det((first + second) / 2))
    renyi = mean - mp.log(mp.det(first) * mp.det(second)) / 2
    gap = mp.cholesky(first) - mp.cholesky(second)
    root = square_root(first)
    middle = square_root(root * second * root)
    bures = trace(first) + trace(second) - 2 * trace(middle)
    return kl, renyi, sum(v * v for v in gap), bures


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("spread", [1.0, 1e3])
@pytest.mark.parametrize("step", STEPS)
def test_every_distance_of_close_normal_laws(kind, spread, step):
    rng = np.random.default_rng(1)
    sizes = np.diag(spread ** np.array([-0.5, 0.0, 0.5]))
    factor = sizes @ np.tril(rng.normal(size=(3, 3)) / 2 + np.eye(3))
    matrix = factor if kind == "scale_tril" else factor @ factor.T
    move = rng.normal(size=(3, 3))
    move = np.tril(move) if kind == "scale_tril" else move + move.T
    other = matrix * (1 + step * move)
    family = build_family("multivariate_normal", {"loc": (3,), kind: (3, 3)})
    zero = torch.zeros(1, 3)
    laws = [
        family.pack({"loc": zero, kind: torch.tensor(m).unsqueeze(0)})
        for m in (matrix, other)
    ]
    ours = (
        family.kl(*laws),
        family.renyi(*laws, 0.5),
        family.transport_distance(*laws),
        family.wasserstein_distance(*laws),
    )
    with mp.workdps(50):
        expected = distances_of(*(covariance(kind, m) for m in (matrix, other)))
        for value, exactly in zip(ours, expected, strict=True):
            assert value.item() == nearly(float(exactly), 1e-12)


@pytest.mark.parametrize("step", STEPS)
def test_a_low_rank_normal_keeps_its_digits_too(step):
    shapes = {"loc": (2,), "cov_factor": (2, 1), "cov_diag": (2,)}
    family = build_family("low_rank_multivariate_normal", shapes)
    phi = np.array([0.3, -1.0, 2.0, 0.1, 1e-3, 4.0])
    other = phi * (1 + step * np.array([0, 0, 0.7, -1.0, 0.4, 1.3]))

    def matrix(law):
        w, d = exact.precise(law[2:4]), exact.precise(law[4:])
        return mp.matrix(
            [[w[0] ** 2 + d[0], w[0] * w[1]], [w[0] * w[1], w[1] ** 2 + d[1]]]
        )

    with mp.workdps(50):
        kl, renyi, _, bures = distances_of(matrix(phi), matrix(other))
    assert family.kl(row(phi), row(other)).item() == nearly(float(kl), 1e-10)
    assert family.renyi(row(phi), row(other), 0.5).item() == nearly(float(renyi), 1e-10)
    found = family.wasserstein_distance(row(phi), row(other)).item()
    assert found == nearly(float(bures), 1e-10)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["logistic", "student_t", "mixture"])
def test_quadratures_lose_one_digit_for_each_digit_of_the_step_at_most(name, step):
    """KL is half the Fisher form: the step is far below what a third order shows."""
    phi = {"logistic": (0.3, 0.5), "student_t": (4.0, 0.3, 0.5)}.get(name)
    if name == "mixture":
        shapes = {"logits": (2,), "loc": (2,), "scale": (2,)}
        family, phi = (
            build_family("mixture:normal", shapes),
            (0.1, 0.4, 0, 1.0, 3.0, 0.5),
        )
    else:
        family = family_of(name)
    move = step * np.random.default_rng(5).normal(size=len(phi))
    other = row(np.array(phi) * (1 + move))
    moved = (other - row(phi)).unsqueeze(-1)
    form = family.fisher_root(row(phi)).matmat(moved).square().sum().item() / 2
    assert family.kl(row(phi), other).item() == nearly(form, 60 * step + 1e-15 / step)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("step", [1e-5, 1e-8])
@pytest.mark.parametrize("kind", ["transport", "wasserstein"])
@each_where(lambda e: e.has_transport)
def test_squared_distances_of_close_laws_are_their_form(example, kind, step):
    """A quadrature inverts a quantile function, to rounding of θ: 1e-16/step of θ."""
    family, phi = example.family, example.phi
    move = step * direction_of(example)
    root = getattr(family, f"{kind}_root")(phi)
    form = root.matmat(move.unsqueeze(-1)).square().sum((-2, -1))
    ours = getattr(family, f"{kind}_distance")(phi, phi + move)
    known = example.expected.transport == "closed"
    lost = 1e-15 / step if known else 1e-13 / step
    assert ours.tolist() == [
        nearly(value, 100 * step + lost) for value in form.tolist()
    ]


@pytest.mark.parametrize("alpha", [0.3, 2.5])
@pytest.mark.parametrize("grown", [-0.2, -0.03, 0.02, 0.1])
def test_renyi_of_normals_on_both_sides_of_where_its_series_ends(alpha, grown):
    """ln(σ'/σ) + ln(σ'²/v)/2(α − 1) + α m²/2v with v = ασ'² + (1 − α)σ²."""
    scale, other = mp.mpf(0.5), mp.mpf(0.5 * (1 + grown))
    law = family_of("normal")
    for shift in (0.0, 0.02):
        ours = law.renyi(row((0.3, 0.5)), row((0.3 + shift, float(other))), alpha)
        with mp.workdps(30):
            wide = alpha * other**2 + (1 - mp.mpf(alpha)) * scale**2
            apart = alpha * (mp.mpf(0.3 + shift) - mp.mpf(0.3)) ** 2 / (2 * wide)
            known = mp.log(other / scale) + apart
            known += mp.log(other**2 / wide) / (2 * (mp.mpf(alpha) - 1))
        assert ours.item() == pytest.approx(float(known), rel=1e-11)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0])
def test_gumbel_laws_of_one_scale_diverge_from_a_shift_on(alpha):
    """∫ fᵅ g¹⁻ᵅ = e^{s(1−α)} / (α − (α−1) eˢ) in e^{−x}, up to s = ln(α/(α−1))."""
    family, scale = build_family("gumbel", {"loc": (), "scale": ()}), 0.7
    most = math.log(alpha / (alpha - 1))
    left = torch.tensor([[0.4, scale]], dtype=torch.float64)
    for share in (-1.0, 0.5, 0.99, 1.0, 1.01):
        s = share * most
        right = torch.tensor([[0.4 + s * scale, scale]], dtype=torch.float64)
        found = float(family.renyi(left, right, alpha))
        if share > 1:
            assert found == math.inf
        elif share < 1:
            mass = alpha - (alpha - 1) * math.exp(s)
            exact = -s - math.log(mass) / (alpha - 1)
            assert found == pytest.approx(exact, rel=1e-7)
    at = torch.tensor([most * scale], dtype=torch.float64)
    same = torch.tensor([scale], dtype=torch.float64)
    ours = (torch.zeros(1).double(), same)
    assert gumbel_diverges(ours, (1.0001 * at, same), alpha).all()
    assert not gumbel_diverges(ours, (0.9999 * at, same), alpha).any()
    assert gumbel_diverges(ours, (0 * at, same - 1e-9), alpha).all()
    assert not gumbel_diverges(ours, (9 * at, same + 1e-9), alpha).any()
