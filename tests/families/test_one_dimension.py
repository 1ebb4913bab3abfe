"""Every one-dimensional law against scipy: tensors to 1e-6, divergences to 1e-8."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from audit.families import FAMILIES, build_family
from audit.families.location_scale import LocationScale
from audit.families.univariate import Univariate

from . import levels
from .levels import nearly

MEMBERS = {
    "beta": [(0.7, 1.4), (5.0, 2.0)],
    "cauchy": [(0.3, 0.5), (-2.0, 3.0)],
    "exponential": [(0.4,), (3.0,)],
    "gamma": [(0.6, 0.5), (7.0, 2.0)],
    "gumbel": [(0.3, 0.5), (-2.0, 3.0)],
    "half_normal": [(0.4,), (3.0,)],
    "inverse_gamma": [(3.5, 0.5), (8.0, 2.0)],
    "laplace": [(0.3, 0.5), (-2.0, 3.0)],
    "evidential": [(0.3, 0.5, 1.9, 0.8), (-2.0, 3.0, 6.0, 1.5)],
    "log_normal": [(0.3, 0.5), (-2.0, 0.8)],
    "logistic": [(0.3, 0.5), (-2.0, 3.0)],
    "moving_pareto": [(0.5, 2.8), (3.0, 9.0)],
    "normal": [(0.3, 0.5), (-2.0, 3.0)],
    "pareto": [(2.8,), (9.0,)],
    "student_t": [(3.5, 0.3, 0.5), (12.0, -2.0, 3.0)],
    "uniform": [(0.3, 1.5), (-2.0, 3.0)],
    "weibull": [(0.5, 0.9), (2.0, 3.0)],
}
OPTIONS = {"pareto": {"scale": 1.5}}
WIDER = {  # another law with a larger support
    "uniform": lambda low, high: (low - 0.4, high + 0.3),
    "moving_pareto": lambda scale, alpha: (0.8 * scale, 1.1 * alpha),
}
OWN_TESTS = {"von_mises"}  # below: it lives on a circle


def each_law_but(*names):
    """Run a test for every member of every law but those."""
    assert set(names) <= set(MEMBERS)
    cases = [(k, phi) for k, some in MEMBERS.items() if k not in names for phi in some]
    return pytest.mark.parametrize(("name", "phi"), cases, ids=lambda v: str(v))


def test_every_continuous_law_of_one_number_is_here():
    known = {name for name in FAMILIES if issubclass(FAMILIES[name], Univariate)}
    continuous = {name for name in known if not FAMILIES[name].discrete}
    assert continuous | {"moving_pareto"} == set(MEMBERS) | OWN_TESTS


def family_of(name):
    if name == "moving_pareto":
        return build_family("pareto", {"scale": (), "alpha": ()})
    names = FAMILIES[name].parameterizations[0]
    return build_family(name, dict.fromkeys(names, ()), **OPTIONS.get(name, {}))


def row(phi):
    return torch.tensor([phi], dtype=torch.float64)


def gram(root):
    entries = root.dense()[0]
    return (entries.mT @ entries).numpy()


def other_of(name, phi):
    if name in WIDER:
        return WIDER[name](*phi)
    return tuple(1.15 * value + 0.02 for value in phi)


def assert_close(ours, theirs, rtol):
    scale = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=rtol)


# a law with a kink or a moving support has tests of its own below
@each_law_but("laplace", "uniform", "moving_pareto")
def test_fisher_agrees_with_scipy(name, phi):
    ours = gram(family_of(name).fisher_root(row(phi)))
    assert_close(ours, levels.fisher(levels.LAWS[name], phi), 1e-6)


@each_law_but("cauchy")
def test_transport_agrees_with_scipy(name, phi):
    ours = gram(family_of(name).transport_root(row(phi)))
    assert_close(ours, levels.transport(levels.LAWS[name], phi), 1e-6)


@each_law_but("laplace")
def test_kl_agrees_with_scipy(name, phi):
    other = other_of(name, phi)
    ours = family_of(name).kl(row(phi), row(other)).item()
    theirs = levels.relative_entropy(levels.LAWS[name], phi, other)
    assert ours == nearly(theirs, 1e-8)


def assert_renyi(name, phi, alpha):
    other = other_of(name, phi)
    ours = family_of(name).renyi(row(phi), row(other), alpha).item()
    theirs = levels.renyi(levels.LAWS[name], phi, other, alpha)
    assert ours == nearly(theirs, 1e-7)


@each_law_but("laplace")
def test_renyi_below_one_agrees_with_scipy(name, phi):
    assert_renyi(name, phi, 0.3)


@each_law_but("laplace", "weibull")
def test_renyi_above_one_agrees_with_scipy(name, phi):
    assert_renyi(name, phi, 1.4)


@pytest.mark.parametrize("phi", MEMBERS["weibull"])
def test_renyi_above_one_of_weibull_laws_is_decided_by_their_tails(phi):
    law, family = levels.LAWS["weibull"], family_of("weibull")
    lighter = other_of("weibull", phi)
    x = phi[0] * 10.0 ** np.arange(8, 20)
    tilted = 1.4 * law(*phi).logpdf(x) - 0.4 * law(*lighter).logpdf(x)
    assert (np.diff(tilted, prepend=0) > 0).all()  # it grows without end
    assert family.renyi(row(phi), row(lighter), 1.4).item() == np.inf
    heavier = (1.15 * phi[0], 0.9 * phi[1])
    ours = family.renyi(row(phi), row(heavier), 1.4).item()
    theirs = levels.renyi(law, phi, heavier, 1.4)
    assert ours == nearly(theirs, 1e-7)


@each_law_but("laplace", "uniform", "moving_pareto")
def test_jensen_shannon_agrees_with_scipy(name, phi):
    other = other_of(name, phi)
    ours = family_of(name).jensen_shannon(row(phi), row(other)).item()
    theirs = levels.jensen_shannon(levels.LAWS[name], phi, other)
    assert ours == nearly(theirs, 1e-7)


@each_law_but("cauchy")
def test_the_quantile_distance_agrees_with_scipy(name, phi):
    other = other_of(name, phi)
    ours = family_of(name).transport_distance(row(phi), row(other)).item()
    theirs = levels.squared_distance(levels.LAWS[name], phi, other)
    assert ours == nearly(theirs, 1e-7)


@each_law_but()
def test_log_density_and_draws_are_those_of_scipy(name, phi):
    torch.manual_seed(1)
    law = family_of(name).distribution(row(phi))
    draws = law.sample((400,))[:, 0].numpy()
    reference = levels.LAWS[name](*phi)
    ours = law.log_prob(torch.from_numpy(draws)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(ours, reference.logpdf(draws), rtol=1e-8, atol=1e-8)
    assert stats.kstest(draws, reference.cdf).pvalue > 1e-3


# Laplace: a kink

LAPLACE, OTHER = (0.3, 0.8), (1.0, 0.9)


def laplace_integral(function):
    inner = [LAPLACE[0], OTHER[0]]
    edges = [-60.0, *inner, 60.0]
    pieces = pairwise(edges)
    return sum(integrate.quad(function, a, b, epsrel=1e-12)[0] for a, b in pieces)


@pytest.mark.parametrize("phi", MEMBERS["laplace"])
def test_fisher_of_laplace_laws_is_the_integral_over_both_sides(phi):
    loc, scale = phi
    law = stats.laplace(loc, scale)

    def products(x):
        z = (x - loc) / scale
        score = np.array([np.sign(z), abs(z) - 1]) / scale
        return law.pdf(x) * np.outer(score, score)

    halves = [(loc - 50 * scale, loc), (loc, loc + 50 * scale)]
    exact = sum(integrate.quad_vec(products, *half, epsrel=1e-12)[0] for half in halves)
    assert_close(gram(family_of("laplace").fisher_root(row(phi))), exact, 1e-9)


def test_kl_and_jensen_shannon_of_laplace_laws_resolve_both_kinks():
    p, q = stats.laplace(*LAPLACE), stats.laplace(*OTHER)
    family, pair = family_of("laplace"), (row(LAPLACE), row(OTHER))
    kl = laplace_integral(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)))
    assert family.kl(*pair).item() == nearly(kl, 1e-8)

    def losses(x):
        mean = np.logaddexp(p.logpdf(x), q.logpdf(x)) - np.log(2)
        own = p.pdf(x) * (p.logpdf(x) - mean)
        return (own + q.pdf(x) * (q.logpdf(x) - mean)) / 2

    exact = laplace_integral(losses)
    assert family.jensen_shannon(*pair).item() == nearly(exact, 1e-8)


@pytest.mark.parametrize("alpha", [0.3, 1.05])
def test_renyi_of_laplace_laws_resolves_both_kinks(alpha):
    p, q = stats.laplace(*LAPLACE), stats.laplace(*OTHER)
    total = laplace_integral(
        lambda x: np.exp(alpha * p.logpdf(x) + (1 - alpha) * q.logpdf(x))
    )
    ours = family_of("laplace").renyi(row(LAPLACE), row(OTHER), alpha).item()
    assert ours == nearly(np.log(total) / (alpha - 1), 1e-8)


def test_kl_of_laplace_laws_grows_with_a_cubic_term():
    steps = np.array([1e-2, 1e-3])
    family, start = family_of("laplace"), row((0.0, 1.0))
    exact = [family.kl(start, row((step, 1.0))).item() for step in steps]
    np.testing.assert_allclose(exact, np.exp(-steps) + steps - 1, rtol=1e-8)
    assert 1 - exact[0] / (steps[0] ** 2 / 2) == nearly(steps[0] / 3, 1e-2)


@pytest.mark.parametrize(
    ("name", "phi", "other", "alpha"),
    [
        ("normal", (0.0, 2.0), (0.0, 1.0), 2.0),
        ("gamma", (1.0, 1.0), (5.0, 1.0), 1.5),
        ("exponential", (1.0,), (4.0,), 1.5),
        ("gumbel", (0.0, 1.0), (0.0, 0.5), 1.5),
        ("logistic", (0.0, 3.0), (0.0, 1.0), 2.0),
        ("student_t", (1.0, 0.0, 1.0), (9.0, 0.0, 1.0), 2.0),
        ("weibull", (1.0, 1.0), (1.0, 2.0), 1.5),
        ("weibull", (1.0, 1.0), (1.0, 1.0001), 1.5),
        ("weibull", (3.0, 2.0), (1.0, 2.0), 1.5),
        ("gumbel", (0.0, 1.0), (0.0, 0.9999), 1.5),
    ],
)
def test_renyi_is_infinite_where_the_tails_say_so(name, phi, other, alpha):
    family = family_of(name)
    assert family.renyi(row(phi), row(other), alpha).item() == np.inf
    assert np.isfinite(family.renyi(row(phi), row(other), 0.5).item())


@pytest.mark.parametrize(
    ("name", "phi"),
    [
        ("cauchy", (0.0, 1.0)),
        ("student_t", (2.0, 0.0, 1.0)),
        ("inverse_gamma", (1.5, 1.0)),
        ("pareto", (2.0,)),
    ],
)
def test_infinite_variance_is_said_row_by_row(name, phi):
    family = family_of(name)
    finite = (3.0, *phi[1:])
    rows = torch.tensor([phi, finite], dtype=torch.float64)
    (caveat,) = family.transport_caveat(rows).values()
    known = torch.isfinite(family.transport_root(rows).dense()).flatten(1).all(-1)
    assert caveat.tolist() == [True, name == "cauchy"]
    assert known.tolist() == (~caveat).tolist()
    distance = family.transport_distance(rows, rows * 1.1)
    assert torch.isinf(distance).tolist() == caveat.tolist()


@pytest.mark.parametrize("df", [1.0, 3.0, 30.0])
def test_student_information_about_log_scale_is_2_nu_over_nu_plus_3(df):
    family, scale = family_of("student_t"), 2.7
    root = family.fisher_root(row((df, 0.4, scale))).dense()[0]
    in_log_scale = (root[:, 2] * scale).square().sum().item()
    assert in_log_scale == nearly(2 * df / (df + 3), 1e-12)


def test_cauchy_information_about_log_scale_is_one_half():
    root = family_of("cauchy").fisher_root(row((0.4, 2.7))).dense()[0]
    assert (root[:, 1] * 2.7).square().sum().item() == nearly(0.5, 1e-12)


# uniform and Pareto: supports that move


@pytest.mark.parametrize(
    "other", [(-1.0, 2.0), (0.2, 0.5), (0.5, 3.0), (-2.0, 0.1), (2.0, 3.0)]
)
def test_divergences_of_uniform_laws_are_sums_over_pieces(other):
    first = (0.0, 1.0)
    edges = sorted({*first, *other})

    def total(function):
        found = 0.0
        for a, b in pairwise(edges):
            x = (a + b) / 2
            p, q = (stats.uniform(lo, hi - lo).pdf(x) for lo, hi in (first, other))
            found += (b - a) * function(p, q)
        return found

    def entropy(p, q):
        return 0.0 if p == 0 else p * np.log(p / q) if q > 0 else np.inf

    def shannon(p, q):
        return (entropy(p, (p + q) / 2) + entropy(q, (p + q) / 2)) / 2

    def affinity(p, q):
        return p**0.3 * q**0.7

    family, pair = family_of("uniform"), (row(first), row(other))
    assert family.kl(*pair).item() == nearly(total(entropy), 1e-12)
    ours = family.jensen_shannon(*pair).item()
    assert ours == nearly(total(shannon), 1e-12)
    with np.errstate(divide="ignore"):
        renyi = np.log(total(affinity)) / -0.7
    assert family.renyi(*pair, 0.3).item() == nearly(renyi, 1e-12)


def test_a_larger_scale_of_a_pareto_law_is_infinitely_far():
    family = family_of("moving_pareto")
    near, far = row((1.0, 3.0)), row((1.1, 3.0))
    assert family.kl(near, far).item() == np.inf
    assert family.renyi(near, far, 1.4).item() == np.inf
    assert np.isfinite(family.kl(far, near).item())
    law = levels.LAWS["moving_pareto"]

    def tilted(x):
        return law(1.0, 3.0).pdf(x) ** 0.3 * law(1.1, 3.0).pdf(x) ** 0.7

    total = integrate.quad(tilted, 1.1, np.inf, epsrel=1e-12)[0]
    ours = family.renyi(near, far, 0.3).item()
    assert ours == nearly(np.log(total) / -0.7, 1e-8)


# von Mises: a circle

CIRCLES = [(0.3, 0.7), (-2.0, 3.0), (1.0, 12.0)]
TURN = np.linspace(-np.pi, np.pi, 2000, endpoint=False)  # a periodic rule is exact


def circle_mean(values):
    return 2 * np.pi * values.mean(-1)


def expansion(function):
    """The Chebyshev series of a function on [−π, π], good to rounding."""
    series = np.polynomial.Chebyshev.interpolate(function, 120, domain=[-np.pi, np.pi])
    assert abs(series.coef[-5:]).max() < 1e-13
    return series


@pytest.mark.parametrize("phi", CIRCLES)
def test_fisher_of_von_mises_laws_is_its_integral(phi):
    x = phi[0] + TURN
    score = levels.steps_of(stats_von_mises, phi, lambda law: law.logpdf(x))
    density = stats_von_mises(*phi).pdf(x)
    exact = circle_mean(np.einsum("ik,jk,k->ijk", score, score, density))
    assert_close(gram(family_of("von_mises").fisher_root(row(phi))), exact, 1e-6)


def stats_von_mises(loc, kappa):
    return stats.vonmises(kappa, loc)


def centred_levels(kappa):
    """The levels of angles from the mean, cut opposite to it, as a series."""
    return expansion(stats_von_mises(0.0, kappa).pdf).integ(lbnd=-np.pi)


@pytest.mark.parametrize("phi", CIRCLES)
def test_transport_of_von_mises_laws_is_its_integral(phi):
    kappa = phi[1]
    h = 1e-3 * kappa
    change = sum(
        sign * weight * centred_levels(kappa + sign * k * h)
        for k, weight in levels.STENCIL.items()
        for sign in (1, -1)
    )
    nodes, weights = np.polynomial.legendre.leggauss(300)
    x = np.pi * nodes
    density = stats_von_mises(0.0, kappa).pdf(x)
    inside = density > 1e-9 * density.max()  # else a level is lost to rounding
    speed = (-change(x) / h / density)[inside]
    exact = np.pi * (weights * density)[inside] @ speed**2
    ours = gram(family_of("von_mises").transport_root(row(phi)))
    assert_close(ours, np.diag([1.0, exact]), 1e-6)


@pytest.mark.parametrize("phi", CIRCLES)
def test_divergences_of_von_mises_laws_are_integrals_over_the_circle(phi):
    other = (phi[0] + 6.5, 1.2 * phi[1])  # more than a turn away
    family, pair = family_of("von_mises"), (row(phi), row(other))
    p, q = (stats_von_mises(*value).logpdf(TURN) for value in (phi, other))
    mean = np.logaddexp(p, q) - np.log(2)
    kl = circle_mean(np.exp(p) * (p - q))
    shannon = circle_mean(np.exp(p) * (p - mean) + np.exp(q) * (q - mean)) / 2
    assert family.kl(*pair).item() == nearly(kl, 1e-8)
    assert family.jensen_shannon(*pair).item() == nearly(shannon, 1e-7)
    for alpha in (0.3, 1.4):
        exact = np.log(circle_mean(np.exp(alpha * p + (1 - alpha) * q))) / (alpha - 1)
        assert family.renyi(*pair, alpha).item() == nearly(exact, 1e-7)


@pytest.mark.parametrize("phi", CIRCLES)
def test_the_distance_of_von_mises_laws_is_an_arc_and_a_spread(phi):
    other = (phi[0] + 6.5, 1.2 * phi[1])
    nodes, weights = np.polynomial.legendre.leggauss(300)
    x = np.pi * nodes
    density = stats_von_mises(0.0, phi[1]).pdf(x)
    here, there = centred_levels(phi[1]), centred_levels(other[1])
    low, high = np.full_like(x, -np.pi), np.full_like(x, np.pi)
    for _ in range(60):  # bisection of there(y) = here(x)
        middle = (low + high) / 2
        short = there(middle) < here(x)
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    spread = np.pi * (weights * density) @ (x - low) ** 2
    arc = 6.5 - 2 * np.pi
    ours = family_of("von_mises").transport_distance(row(phi), row(other)).item()
    assert ours == nearly(arc**2 + spread, 1e-6)


def near_and_far(steps, unit):
    """Pairs of location and scale, each step beside each ratio of scales."""
    ratios = [1.0, 1 + 2.0**-40, 1.01, 0.3, 3.0, 1e-6, 1e6, 0.02]
    pairs = [(step, ratio) for step in steps for ratio in ratios]
    ours = torch.tensor([[0.25 * unit, 1.5 * unit]] * len(pairs)).double()
    theirs = torch.tensor([(0.25 + s, 1.5 * r) for s, r in pairs]).double() * unit
    return ours, theirs


@pytest.mark.parametrize("unit", [1.0, 2.0**40, 2.0**-40])
def test_kl_of_cauchy_laws_is_the_closed_form_near_and_far_in_any_unit(unit):
    """ln[((γ₁+γ₂)² + Δ²) / (4 γ₁ γ₂)] in fifty digits; Chyzak & Nielsen (2019)."""
    family = family_of("cauchy")
    ours, theirs = near_and_far([0.0, 1e-9, 1e-3, 0.5, 1.9, 2.1, 40.0, 1e8], unit)
    for left, right in ((ours, theirs), (theirs, ours)):
        found = family.kl(left, right).tolist()
        raw = family.relative_entropy(left.unbind(-1), right.unbind(-1)).tolist()
        for one, direct, (a, s), (b, t) in zip(
            found, raw, left.tolist(), right.tolist(), strict=True
        ):
            with mpmath.workdps(50):
                a, s, b, t = map(mpmath.mpf, (a, s, b, t))
                wanted = mpmath.log(((s + t) ** 2 + (a - b) ** 2) / (4 * s * t))
            assert one == pytest.approx(float(wanted), rel=1e-12)
            assert direct == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.parametrize("unit", [1.0, 2.0**40, 2.0**-40])
def test_kl_of_laplace_laws_is_the_closed_form_near_and_far_in_any_unit(unit):
    """ln(b₂/b₁) + |Δ|/b₂ + (b₁/b₂) e^{−|Δ|/b₁} − 1 in fifty digits."""
    family = family_of("laplace")
    ours, theirs = near_and_far([0.0, 1e-9, 1e-3, 0.5, 1.4, 1.6, 4.0, 40.0, 1e8], unit)
    for left, right in ((ours, theirs), (theirs, ours)):
        found = family.kl(left, right).tolist()
        for one, (a, s), (b, t) in zip(
            found, left.tolist(), right.tolist(), strict=True
        ):
            with mpmath.workdps(50):
                a, s, b, t = map(mpmath.mpf, (a, s, b, t))
                apart = abs(a - b)
                wanted = mpmath.log(t / s) + apart / t - 1
                wanted += s / t * mpmath.exp(-apart / s)
            assert one == pytest.approx(float(wanted), rel=1e-9)


@pytest.mark.parametrize("name", ["laplace", "logistic", "gumbel"])
@pytest.mark.parametrize("scale", [0.3, 2.5])
def test_the_exponential_index_is_the_slope_of_the_log_density_far_out(name, scale):
    law = {"gumbel": stats.gumbel_r}.get(name) or getattr(stats, name)
    far = 0.7 + scale * np.array([40.0, 41.0])
    high, low = law(0.7, scale).logpdf(far)
    phi = torch.tensor([[0.7], [scale]], dtype=torch.float64)
    index = family_of(name).exponential_index(phi.unbind(0))
    assert index.item() == pytest.approx((high - low) / scale, rel=1e-9)


def test_a_new_law_is_three_numbers_of_information_whatever_they_are():
    """B is a root of [[E u², E uv], [·, E v²]] / σ², with cross terms and without."""

    class Skew(LocationScale):
        information, moments = (2.0, -1.5, 4.0), (0.7, 3.0)

        def law(self, parameters):
            raise NotImplementedError

    scale = torch.tensor([0.5, 3.0]).double()
    loc = torch.zeros_like(scale)
    family = object.__new__(Skew)
    fisher = family.fisher_block((loc, scale))
    wanted = np.array([[2.0, -1.5], [-1.5, 4.0]])
    for root, sigma in zip(fisher, scale.tolist(), strict=True):
        found = (root.mT @ root).numpy()
        np.testing.assert_allclose(found, wanted / sigma**2, rtol=1e-14)
