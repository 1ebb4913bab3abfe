"""Laws of θ = g(a + b y) against scipy's densities and moment generating functions."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from audit.families import build_family
from audit.ground.errors import ConfigError, NoTransport
from audit.nodes.noise import Noise

from .levels import nearly

LEVELS = ("target_loc", "target_scale")


def family_of(component, names, **options):
    return build_family(f"transformed:{component}", dict.fromkeys(names, ()), **options)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def square(root):
    return (root.dense().mT @ root.dense())[0].numpy()


def numbers(law, *values):
    return law.log_prob(torch.tensor([[v] for v in values], dtype=torch.float64))[:, 0]


# E e^{tz} of the base densities, whose derivatives at 2σ are the moments in G
GENERATING = {
    "normal": lambda t: mpmath.exp(t * t / 2),
    "laplace": lambda t: 1 / (1 - t * t),
    "logistic": lambda t: mpmath.pi * t / mpmath.sin(mpmath.pi * t),
    "gumbel": lambda t: mpmath.gamma(1 - t),
}
SCIPY = {
    "normal": stats.norm,
    "laplace": stats.laplace,
    "logistic": stats.logistic,
    "gumbel": stats.gumbel_r,
}


@pytest.mark.parametrize("name", GENERATING)
@pytest.mark.parametrize(
    ("loc", "scale"), [(0.3, 0.2), (-2.0, 0.4), (50.0, 0.05), (0.0, 1e-3)]
)
def test_the_tensor_of_an_exponential_is_made_of_derivatives_of_moments(
    name, loc, scale
):
    family = family_of(name, ("loc", "scale"), of="log")
    m0, m1, m2 = (float(mpmath.diff(GENERATING[name], 2 * scale, n)) for n in range(3))
    exact = math.exp(2 * loc) * np.array([[m0, m1], [m1, m2]])
    found = square(family.transport_root(row(loc, scale)))
    np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-9 * exact.max())


@pytest.mark.parametrize("name", GENERATING)
def test_the_distance_of_exponentials_is_an_integral_over_levels(name):
    family = family_of(name, ("loc", "scale"), of="log")
    ours, theirs = (0.3, 0.1), (0.35, 0.12)
    a, b = (SCIPY[name](*values) for values in (ours, theirs))

    def cost(v):  # u = Φ(v), so that both ends are seen
        u, over = special.ndtr(v), special.ndtr(-v)
        pair = [law.ppf(u) if v < 0 else law.isf(over) for law in (a, b)]
        return (math.exp(pair[0]) - math.exp(pair[1])) ** 2 * stats.norm.pdf(v)

    exact = integrate.quad(cost, -12, 12, limit=400, epsabs=0, epsrel=1e-10)[0]
    found = family.transport_distance(row(*ours), row(*theirs)).item()
    assert found == nearly(exact, 1e-7)


@pytest.mark.parametrize(
    ("name", "parameters", "index"),
    [
        ("laplace", (0.1, 0.6), 1 / 0.6),
        ("logistic", (0.1, 0.5), 2.0),
        ("gumbel", (0.1, 0.9), 1 / 0.9),
        ("cauchy", (0.1, 0.9), 0.0),
        ("student_t", (30.0, 0.1, 0.01), 0.0),
    ],
)
def test_an_exponential_without_a_variance_has_an_infinite_tensor(
    name, parameters, index
):
    names = ("df", "loc", "scale")[-len(parameters) :]
    family, phi = family_of(name, names, of="log"), row(*parameters)
    assert family.tail_index(family.split(phi)).item() == nearly(index, 1e-12)
    assert torch.isposinf(family.transport_root(phi).dense().diagonal(0, 1, 2)).all()
    assert torch.isposinf(family.transport_distance(phi, 1.01 * phi)).all()
    (said,) = family.transport_caveat(phi).items()
    assert "variance" in said[0]
    assert said[1].item()
    assert torch.isfinite(family.fisher_root(phi).dense()).all()
    assert 0 < family.kl(phi, 1.01 * phi).item() < math.inf


def test_divergences_and_information_are_those_of_the_component_at_any_level():
    names = ("df", "loc", "scale")
    plain = build_family("student_t", dict.fromkeys(names, ()))
    family = family_of("student_t", (*names, *LEVELS))
    ours, theirs = (4.0, 0.3, 1.2), (4.2, 0.25, 1.3)
    for level in ((0.0, 1.0), (1e9, 3.0), (-4.0, 1e-8), (1e-3, 1e12)):
        pair = row(*ours, *level), row(*theirs, *level)
        kl = plain.kl(row(*ours), row(*theirs)).item()
        assert family.kl(*pair).item() == nearly(kl, 1e-12)
        for exact, found in (
            (plain.renyi(row(*ours), row(*theirs), 0.5), family.renyi(*pair, 0.5)),
            (
                plain.jensen_shannon(row(*ours), row(*theirs)),
                family.jensen_shannon(*pair),
            ),
        ):
            assert found.item() == nearly(exact.item(), 1e-12)
        own = square(family.fisher_root(pair[0]))[:3, :3]
        np.testing.assert_allclose(own, square(plain.fisher_root(row(*ours))))
        distance = family.transport_distance(*pair).item()
        exact = plain.transport_distance(row(*ours), row(*theirs)).item()
        assert distance == nearly(level[1] ** 2 * exact, 1e-6)


CASES = {
    "normal": (("loc", "scale"), (0.3, 1.2), (7.0, 2.5), stats.norm),
    "student_t": (("df", "loc", "scale"), (4.0, 0.3, 1.2), (-3.0, 0.4), stats.t),
    "gamma": (
        ("concentration", "rate"),
        (2.0, 0.7),
        (3.0,),
        lambda a, b: stats.gamma(a, scale=1 / b),
    ),
    "inverse_gamma": (
        ("concentration", "rate"),
        (5.0, 0.7),
        (3.0,),
        lambda a, b: stats.invgamma(a, scale=b),
    ),
    "exponential": (("rate",), (0.7,), (3.0,), lambda b: stats.expon(scale=1 / b)),
    "weibull": (
        ("scale", "concentration"),
        (1.3, 2.0),
        (3.0,),
        lambda s, k: stats.weibull_min(k, scale=s),
    ),
    "log_normal": (
        ("loc", "scale"),
        (0.3, 0.4),
        (3.0,),
        lambda m, s: stats.lognorm(s, scale=math.exp(m)),
    ),
    "half_normal": (("scale",), (1.3,), (3.0,), lambda s: stats.halfnorm(scale=s)),
    "gumbel": (("loc", "scale"), (0.3, 1.2), (7.0, 2.5), stats.gumbel_r),
}


def log_density(make, count, values, theta):
    """ln f((θ − a)/b) − ln b."""
    own, levels = values[:count], values[count:]
    a, b = levels if len(levels) == 2 else (0.0, levels[0] if levels else 1.0)
    return make(*own).logpdf((theta - a) / b) - math.log(b)


@pytest.mark.parametrize("name", CASES)
def test_information_and_divergence_with_moving_levels_are_integrals(name):
    names, own, levels, make = CASES[name]
    some = LEVELS[-len(levels) :]
    family = family_of(name, (*names, *some))
    phi = np.array([*own, *levels])
    other = phi * (1 + 0.05 * np.cos(np.arange(len(phi))))
    count, law = len(own), make(*own)
    b, a = levels[-1], levels[0] if len(levels) == 2 else 0.0

    def scores(theta):
        found = []
        for i, value in enumerate(phi):
            h = 1e-3 * max(abs(value), 0.1)
            at = [
                log_density(
                    make, count, phi + k * h * (np.arange(len(phi)) == i), theta
                )
                for k in (-2, -1, 1, 2)
            ]
            found.append((8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * h))
        return np.array(found)

    # θ from the levels of a logistic scale v: both ends are reached, and the integrand
    # is analytic in v, so that 20 nodes on each half of a unit are exact to rounding
    nodes, weights = np.polynomial.legendre.leggauss(20)
    v = (np.arange(-32, 32, 0.5)[:, None] + 0.25 * (1 + nodes)).ravel()
    level = special.expit(-np.abs(v))
    theta = a + b * np.where(v < 0, law.ppf(level), law.isf(level))
    weight = np.tile(0.25 * weights, 128) * special.expit(v) * special.expit(-v)
    score = scores(theta)
    gap = log_density(make, count, phi, theta) - log_density(make, count, other, theta)
    information, kl = (weight * score) @ score.T, weight @ gap
    found = square(family.fisher_root(row(*phi)))
    np.testing.assert_allclose(
        found, information, rtol=2e-6, atol=2e-6 * np.abs(information).max()
    )
    assert family.kl(row(*phi), row(*other)).item() == nearly(kl, 1e-6)


def test_the_density_has_the_jacobian():
    theta = [0.05, 0.4, 1.0, 7.0]
    log_laplace = family_of("laplace", ("loc", "scale"), of="log")
    exact = stats.loglaplace(1 / 0.6, scale=math.exp(0.2)).logpdf(theta)
    found = numbers(log_laplace.distribution(row(0.2, 0.6)), *theta)
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    shares = np.array([0.01, 0.4, 0.999])
    logit_normal = family_of("normal", ("loc", "scale", *LEVELS), of="logit")
    exact = stats.norm(0.7 + 2.0 * 0.2, 2.0 * 0.6).logpdf(special.logit(shares))
    exact = exact - np.log(shares) - np.log1p(-shares)
    law = logit_normal.distribution(row(0.2, 0.6, 0.7, 2.0))
    np.testing.assert_allclose(numbers(law, *shares), exact, rtol=1e-12)


@pytest.mark.parametrize(
    ("of", "outside"), [("log", [-1.0, 0.0]), ("logit", [0, 1, 2])]
)
def test_beyond_the_image_there_is_no_density(of, outside):
    family = family_of("normal", ("loc", "scale"), of=of)
    law = family.distribution(row(0.2, 0.6))
    assert torch.isneginf(numbers(law, *outside)).all()
    theta = torch.tensor([[float(v)] for v in outside])
    assert torch.isneginf(family.log_likelihood(theta, row(0.2, 0.6))).all()
    draws = family.drawn(row(0.2, 0.6), Noise(0, np.arange(1), 64)).targets
    assert bool(torch.isfinite(family.log_likelihood(draws, row(0.2, 0.6))).all())


def test_a_level_that_is_not_positive_is_no_law():
    family = family_of("normal", ("loc", "scale", "target_scale"))
    said = family.violations(row(0.2, 0.6, -1.0))
    assert said["target_scale is not positive"].tolist() == [True]
    said = family.violations(row(0.2, 0.6, math.inf))
    assert said["a parameter is not finite"].tolist() == [True]


@pytest.mark.parametrize(
    ("component", "names", "options", "words"),
    [
        ("normal", ("loc", "scale"), {}, "no transformation"),
        ("normal", ("loc", "scale"), {"of": "sqrt"}, "of='sqrt'"),
        ("gamma", ("concentration", "rate"), {"of": "log"}, "all real numbers"),
        ("gamma", ("concentration", "rate", "target_loc"), {}, "would move"),
        ("beta", ("concentration1", "concentration0", "target_scale"), {}, "stretched"),
        ("poisson", ("rate", "target_scale"), {}, "with a density"),
        ("von_mises", ("loc", "concentration", "target_loc"), {}, "with a density"),
    ],
)
def test_what_makes_no_law_is_refused(component, names, options, words):
    with pytest.raises(ConfigError, match=words):
        family_of(component, names, **options)


def test_shapes_that_do_not_fit_are_named():
    shapes = {"loc": (2,), "scale": (2,), "target_scale": (3,)}
    with pytest.raises(ConfigError, match=r"target_scale \(3,\)"):
        build_family("transformed:normal", shapes)


def test_moments_that_a_law_does_not_state_are_refused():
    with pytest.raises(NoTransport, match="which moments"):
        build_family("gamma", {"concentration": (), "rate": ()}).exponential_index(())
