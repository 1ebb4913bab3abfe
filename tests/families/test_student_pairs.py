"""Student-t divergences and distances of pairs, against integrals by mpmath.

The quick rules (`student_shapes`, `student_trapezoid`) are held against mathematics
that shares nothing with them, and against the quadrature they fall back on.
"""

import math
from functools import lru_cache
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
import torch

from audit.families import student_shapes, student_trapezoid
from audit.families.continuous import Continuous
from audit.families.integrands import JENSEN_SHANNON, RELATIVE_ENTROPY, Renyi
from audit.families.student import StudentT, _by_quadrature

FAMILY = StudentT({"df": (), "loc": (), "scale": ()})
SHAPES = [
    (2.2, 2.5),
    (2.5, 2.2),
    (2.4, 2.4001),
    (3.0, 4.0),
    (4.0, 2.9),
    (5.0, 300.0),
    (50.0, 51.0),
    (2.8e3, 2.95e3),
    (1e4, 1.1e4),
    (1e6, 2e6),
]
SCALES = [(0.0, 1.0), (0.3, 1.1), (1e-5, 1 + 1e-6), (2.0, 1e-3), (2.0, 1e3)]


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def gauss(function, edges):
    """Integrate by 20 Gauss-Legendre nodes in each interval."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    total = mp.mpf(0)
    for low, high in pairwise(edges):
        middle, half = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 2
        total += half * sum(
            mp.mpf(float(w)) * function(middle + half * mp.mpf(float(x)))
            for x, w in zip(nodes, weights, strict=True)
        )
    return total


def log_density(nu, x):
    constant = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2) - mp.log(nu * mp.pi) / 2
    return constant - (nu + 1) / 2 * mp.log1p(x * x / nu)


def tail(nu, x):
    return mp.betainc(nu / 2, 0.5, 0, nu / (nu + x * x), regularized=True) / 2


def quantile(nu, mass, start):
    """Solve tail(x) = mass by Newton's method on logarithms."""
    log_x = mp.log(start)
    for _ in range(60):
        x = mp.exp(log_x)
        here = tail(nu, x)
        step = mp.log(here / mass) * here / (x * mp.exp(log_density(nu, x)))
        log_x += max(min(step, 2), -2)
        if abs(step) < mp.mpf(10) ** -20:
            break
    return mp.exp(log_x)


@lru_cache
def moments(df, other):
    """Return E Q², E Q'² and E(Q − Q')² over the levels of the heavier law."""
    with mp.workdps(30):
        nu, light = sorted((mp.mpf(df), mp.mpf(other)))

        def gap(y):
            x = mp.sinh(y)
            further = quantile(light, tail(nu, x), x)
            return 2 * mp.exp(log_density(nu, x)) * (x - further) ** 2 * mp.cosh(y)

        end = max(mp.asinh(25), 60 / (nu - 2))
        edges = [mp.mpf(k) / 4 for k in range(17)]
        while edges[-1] < end:
            edges.append(edges[-1] * mp.mpf("1.4"))
        return mp.mpf(df) / (df - 2), mp.mpf(other) / (other - 2), gauss(gap, edges)


@pytest.mark.parametrize("x", [0.4, 1.3, 2.5])
def test_the_series_of_quantiles_is_off_by_its_fifth_order(x):
    """Q_ν(Φ(x)) = x + Σ P_k(x)/ν^k: what the terms leave falls as ν⁻⁵."""

    def left(nu):
        powers = enumerate(student_shapes.CORNISH_FISHER, 1)
        y = x + sum(
            mp.mpf(c) * mp.mpf(x) ** n / nu**k for k, p in powers for n, c in p.items()
        )
        true = quantile(mp.mpf(nu), mp.erfc(x / mp.sqrt(2)) / 2, mp.mpf(x))
        return (y - true) * nu**5

    with mp.workdps(40):
        assert float(left(3000) / left(1000)) == pytest.approx(1, abs=0.03)


@pytest.mark.sweep(5)
@pytest.mark.parametrize("shapes", SHAPES)
def test_the_distance_is_that_of_quantile_functions(shapes):
    own, theirs, gap = moments(*shapes)
    for shift, ratio in SCALES:
        with mp.workdps(30):
            step = mp.mpf(ratio) - 1
            exact = mp.mpf(shift) ** 2 + ratio * gap
            exact += step * (step * own + ratio * (theirs - own))
        ours = FAMILY.transport_distance(
            row(shapes[0], 0.0, 1.0), row(shapes[1], shift, ratio)
        )
        assert float(ours / float(exact)) == pytest.approx(1, abs=1e-9), (shift, ratio)


def test_laws_of_one_shape_are_as_far_apart_as_location_and_scale_are():
    ours = FAMILY.transport_distance(row(2.3, 1.0, 2.0), row(2.3, 1.5, 2.1))
    assert float(ours) == pytest.approx(0.25 + 0.01 * 2.3 / 0.3, rel=1e-12)


def test_a_table_is_refused_that_does_not_reproduce_its_rule():
    def rough(heavy, light):
        noise = 1 + 1e-8 * torch.sin(1e4 * heavy)
        return _by_quadrature(heavy, light) * noise

    assert student_shapes.filled(8, rough) is None
    one, two = (torch.tensor([v], dtype=torch.float64) for v in (8.0, 9.0))
    found = student_shapes.shape_distance(one, two, rough)
    assert torch.equal(found, rough(one, two))


def test_the_table_joins_its_cells_and_the_rules_around_it():
    """D/h² is smooth: neighbours on two sides of an edge differ as their places do."""
    edges = [2 + np.exp(student_shapes.FIRST + 0.5 * k) for k in range(1, 20)]
    edges += [student_shapes.SERIES]
    for edge in edges:
        df = torch.tensor([edge * (1 - 1e-9), edge * (1 + 1e-9)], dtype=torch.float64)
        light = 2 + (df - 2) * 1.001
        value = student_shapes.shape_distance(df, light, _by_quadrature)
        assert float(value[0] / value[1]) == pytest.approx(1, abs=1e-7)


def test_a_cell_is_filled_once_and_looked_up_where_its_law_is_known():
    """D = 4 h² exp(0.3 m + 0.2 h²) of a law that is made up: the table has it all."""
    asked = []

    def rule(heavy, light):
        asked.append(len(heavy))
        low, high = (heavy - 2).log(), (light - 2).log()
        m, square = (low + high) / 2, ((high - low) / 2).square()
        return 4 * square * torch.exp(0.3 * m + 0.2 * square)

    generator = torch.Generator().manual_seed(0)
    m, h = torch.rand(2, 400, generator=generator, dtype=torch.float64)
    m, h = 7.7 * m - 0.7, 0.98 * h + 0.01  # of the cells that reach as far
    heavy, light = 2 + (m - h).exp(), 2 + (m + h).exp()
    student_shapes.shape_distance(heavy, light, rule)
    asked.clear()
    found = student_shapes.shape_distance(heavy, light, rule)
    assert asked == []
    assert torch.allclose(found, rule(heavy, light), rtol=1e-9, atol=0)


@pytest.mark.sweep(5)
@pytest.mark.parametrize("df", [1.2, 2.05, 4.0, 30.0, 1e6])
@pytest.mark.parametrize("step", [1e-3, 0.1, 0.5])
@pytest.mark.parametrize("sign", [1, -1])
def test_relative_entropy_by_the_trapezoidal_rule(df, step, sign):
    other = (df * (1 + sign * step / 2), step, 1 - sign * step / 2)
    with mp.workdps(40):
        nu, (their, shift, scale) = mp.mpf(df), map(mp.mpf, other)

        def loss(t):
            x = mp.sqrt(nu) * mp.sinh(t)
            log_f = log_density(nu, x)
            log_g = log_density(their, (x - shift) / scale) - mp.log(scale)
            return mp.exp(log_f) * (log_f - log_g) * mp.sqrt(nu) * mp.cosh(t)

        end = mp.acosh(mp.exp(80 / nu))
        exact = gauss(loss, [end * k / 48 for k in range(-48, 49)])
    ours = FAMILY.kl(row(df, 0.0, 1.0), row(*other))
    assert float(ours / float(exact)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "integrand", [RELATIVE_ENTROPY, JENSEN_SHANNON, Renyi(0.5), Renyi(0.1)]
)
def test_what_the_trapezoidal_rule_trusts_is_what_panels_give(integrand):
    rng = np.random.default_rng(0)
    df, loc, scale = np.exp(rng.uniform(0.1, 5, 300)), rng.normal(size=300), 0.5
    size = np.exp(rng.uniform(-6, 0.5, 300))
    moves = np.exp(size * rng.normal(size=(2, 300)))
    left = [df, loc, np.full(300, scale)]
    right = [df * moves[0], loc + scale * size, scale * moves[1]]
    left, right = (tuple(map(torch.from_numpy, law)) for law in (left, right))
    quick = student_trapezoid.trapezoidal(left, right, integrand)
    slow = Continuous._divergence(FAMILY, left, right, integrand)
    trusted = ~quick.isnan()
    assert float(trusted.double().mean()) > 0.6
    torch.testing.assert_close(quick[trusted], slow[trusted], rtol=2e-9, atol=0)
    ours = FAMILY._divergence(left, right, integrand)
    torch.testing.assert_close(ours, slow, rtol=2e-9, atol=0)


@pytest.mark.parametrize(
    ("left", "right", "beyond", "exact"),
    [
        ((1, 0, 1), (1, 0.5, 1), (0.999, 0.5, 1), math.log1p(0.5**2 / 4)),
        ((1, 0, 1), (1, 0, 7.99), (1, 0, 8.01), math.log(8.99**2 / (4 * 7.99))),
        ((1e12, 0, 1), (1e12, 0.5, 1), (1.001e12, 0.5, 1), 0.5**2 / 2),
        ((1e12, 0, 1), (1e12, 4.0, 1), (1e12, 8.01, 1), 4.0**2 / 2),
        ((1e3, 0, 1), (1e3, 8.0, 1), (1e3, 8.01, 1), None),
    ],
)
def test_the_trapezoidal_rule_is_for_laws_that_are_not_far_apart(
    left, right, beyond, exact
):
    """Cauchy and nearly normal laws have closed forms; either law may be the first."""
    left, right, beyond = (row(*law).mT for law in (left, right, beyond))
    quick = student_trapezoid.trapezoidal(left, right, RELATIVE_ENTROPY)
    if exact is None:
        exact = float(Continuous._divergence(FAMILY, left, right, RELATIVE_ENTROPY))
    assert float(quick) == pytest.approx(exact, rel=1e-9)
    for pair in ((left, beyond), (beyond, left)):
        assert student_trapezoid.trapezoidal(*pair, RELATIVE_ENTROPY).isnan()


@pytest.mark.parametrize(("shift", "ratio"), [(0.0, 1e-3), (0.0, 1e3), (1e3, 1.0)])
def test_far_laws_take_the_panels(shift, ratio):
    left, right = ((4.0, 0.0, 1.0), (5.0, shift, ratio))
    pair = [
        tuple(torch.tensor([v], dtype=torch.float64) for v in p) for p in (left, right)
    ]
    assert student_trapezoid.trapezoidal(*pair, RELATIVE_ENTROPY).isnan().all()
    with mp.workdps(30):

        def loss(t):
            x = mp.sinh(t)
            log_f = log_density(4, x)
            log_g = log_density(5, (x - shift) / ratio) - mp.log(ratio)
            return mp.exp(log_f) * (log_f - log_g) * mp.cosh(t)

        edges = {mp.mpf(k) / 2 for k in range(-50, 51)} | {mp.asinh(shift)}
        near = [s * ratio * mp.mpf(2) ** k for k in range(-3, 12) for s in (-1, 1)]
        edges |= {mp.asinh(shift + x) for x in near}
        exact = gauss(loss, sorted(e for e in edges if abs(e) <= 25))
    ours = FAMILY.kl(row(*left), row(*right))
    assert float(ours / float(exact)) == pytest.approx(1, abs=1e-9)


def test_a_law_does_not_depend_on_the_laws_beside_it():
    rng = np.random.default_rng(1)
    left = np.exp(rng.uniform(0.8, 1.6, (3, 200)))
    right = left * np.exp(0.03 * rng.normal(size=(3, 200)))
    left[0, :100] = left[0, 0]

    def both(some):
        pair = [tuple(torch.from_numpy(law[:, some])) for law in (left, right)]
        shapes = (2 + law[0] for law in pair)
        yield student_trapezoid.trapezoidal(*pair, RELATIVE_ENTROPY)
        yield student_shapes.shape_distance(*shapes, _by_quadrature)

    whole = list(both(slice(None)))
    for some in (slice(0, 7), slice(101, 200), slice(50, 51)):
        for values, part in zip(whole, both(some), strict=True):
            torch.testing.assert_close(
                part, values[some], rtol=0, atol=0, equal_nan=True
            )
