"""Censored and truncated laws against quadratures of scipy's densities and tails."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from audit.families import build_family
from audit.families.cut import Inside
from audit.families.limited import _log, _logit
from audit.ground.errors import ConfigError, NoTransport

from .levels import nearly

H = 1e-3
LAWS = {
    "normal": (("loc", "scale"), stats.norm, (0.3, 1.2), (0.5, 1.0)),
    "gamma": (
        ("concentration", "rate"),
        lambda a, b: stats.gamma(a, scale=1 / b),
        (2.0, 0.7),
        (2.3, 0.8),
    ),
    "logistic": (("loc", "scale"), stats.logistic, (0.3, 0.8), (0.1, 0.9)),
    "beta": (
        ("concentration1", "concentration0"),
        stats.beta,
        (2.0, 3.0),
        (2.2, 2.7),
    ),
}
LIMITS = {
    "normal": [{"low": 0.0}, {"high": 1.0}, {"low": -0.5, "high": 2.0}],
    "gamma": [{"low": 1.0}, {"high": 2.5}, {"low": 0.5, "high": 4.0}],
    "logistic": [{"low": 0.0}, {"high": 1.0}, {"low": -1.0, "high": 2.0}],
    "beta": [{"low": 0.2}, {"high": 0.6}, {"low": 0.1, "high": 0.7}],
}
EACH = [
    pytest.param(kind, name, limits, id=f"{kind}-{name}-{limits}")
    for kind in ("censored", "truncated")
    for name in LAWS
    for limits in LIMITS[name]
]
each_law = pytest.mark.parametrize(("kind", "name", "limits"), EACH)


def family_of(kind, name, limits):
    return build_family(f"{kind}:{name}", dict.fromkeys(LAWS[name][0], ()), **limits)


def row(values):
    return torch.tensor(np.array([values], dtype=float))


def panels(name, limits):
    """The edges of panels between the limits, closer where the tails begin."""
    law = LAWS[name][1](*LAWS[name][2])
    tails = np.array([1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 1e-2, 0.1, 0.25])
    edges = np.concatenate([law.ppf(tails), [law.median()], law.isf(tails[::-1])])
    low, high = limits.get("low", edges[0]), limits.get("high", edges[-1])
    inner = edges[(edges > low) & (edges < high)]
    return np.concatenate([[max(low, edges[0])], inner, [min(high, edges[-1])]])


def integral(function, edges):
    """Sum a function of points [n] -> [..., n] over panels by Gauss and Legendre."""
    at, weights = np.polynomial.legendre.leggauss(32)
    half = np.diff(edges)[:, None] / 2
    points = edges[:-1, None] + half * (1 + at)
    return function(points.ravel()) @ (half * weights).ravel()


def atoms(law, limits):
    """P(y ≤ low), P(y ≥ high) of those that are limits."""
    found = [law.cdf(limits["low"])] if "low" in limits else []
    return np.array([*found, law.sf(limits["high"])] if "high" in limits else found)


def slopes(function, phi):
    found = []
    for i, value in enumerate(phi):
        h = H * max(abs(value), 0.1)

        def moved(k, i=i, h=h):
            return function([v + k * h * (j == i) for j, v in enumerate(phi)])

        found.append((8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h))
    return np.array(found)


@each_law
def test_fisher_is_its_integral(kind, name, limits):
    _, make, phi, _ = LAWS[name]
    law = make(*phi)

    def products(x):
        score = slopes(lambda p: make(*p).logpdf(x), phi)
        return law.pdf(x) * score[:, None] * score

    exact = integral(products, panels(name, limits))
    if kind == "censored":
        steps = slopes(lambda p: atoms(make(*p), limits), phi)
        exact = exact + (steps / atoms(law, limits)) @ steps.T
    else:
        mass = 1 - atoms(law, limits).sum()
        steps = slopes(lambda p: np.log(1 - atoms(make(*p), limits).sum()), phi)
        exact = exact / mass - np.outer(steps, steps)
    root = family_of(kind, name, limits).fisher_root(row(phi)).dense()[0].numpy()
    np.testing.assert_allclose(root.T @ root, exact, rtol=1e-6, atol=1e-8)


@each_law
def test_divergences_are_their_integrals(kind, name, limits):
    _, make, phi, other = LAWS[name]
    f, g = make(*phi), make(*other)
    p, q = atoms(f, limits), atoms(g, limits)
    scale = (1, 1) if kind == "censored" else (1 - p.sum(), 1 - q.sum())
    p, q = (p, q) if kind == "censored" else (p[:0], q[:0])

    def values(a, b):
        mean = (a + b) / 2
        shannon = (a * np.log(a / mean) + b * np.log(b / mean)) / 2
        return np.array([a * np.log(a / b), shannon, a**0.4 * b**0.6, a**1.3 * b**-0.3])

    inside = integral(
        lambda x: values(f.pdf(x) / scale[0], g.pdf(x) / scale[1]),
        panels(name, limits),
    )
    kl, shannon, half, above = inside + values(p, q).sum(-1)
    family, pair = family_of(kind, name, limits), (row(phi), row(other))
    assert family.kl(*pair).item() == nearly(kl, 1e-8)
    assert family.jensen_shannon(*pair).item() == nearly(shannon, 1e-7)
    assert family.renyi(*pair, 0.4).item() == nearly(np.log(half) / -0.6, 1e-7)
    assert family.renyi(*pair, 1.3).item() == nearly(np.log(above) / 0.3, 1e-7)


@each_law
@pytest.mark.parametrize("size", [1e-3, 1e-5])
def test_kl_of_close_laws_is_half_the_form(kind, name, limits, size):
    family, phi = family_of(kind, name, limits), row(LAWS[name][2])
    step = size * phi * torch.tensor([[1.0, -0.7]], dtype=torch.float64)
    form = family.fisher_root(phi).matmat(step.unsqueeze(-1)).square().sum().item()
    assert family.kl(phi, phi + step).item() == nearly(form / 2, 20 * size + 1e-6)
    assert family.kl(phi, phi).item() == 0


@pytest.mark.sweep(2)
@each_law
def test_the_score_of_draws_has_the_information_for_its_covariance(kind, name, limits):
    torch.manual_seed(0)
    family = family_of(kind, name, limits)
    phi = row(LAWS[name][2]).repeat(4000, 1).requires_grad_()
    law = family.distribution(phi)
    draws = law.sample().detach()
    low, high = limits.get("low", -np.inf), limits.get("high", np.inf)
    assert bool(((draws >= low) & (draws <= high)).all())
    (score,) = torch.autograd.grad(law.log_prob(draws).sum(), phi)
    root = family.fisher_root(phi[:1].detach()).dense()[0]
    products = score.unsqueeze(-1) * score.unsqueeze(-2)
    error = products.std(0) / len(products) ** 0.5
    assert ((products.mean(0) - root.mT @ root).abs() < 4.5 * error + 1e-9).all()


def test_limits_that_hold_everything_change_nothing():
    plain = build_family("normal", {"loc": (), "scale": ()})
    pair = row((0.3, 1.2)), row((0.5, 1.0))
    for kind in ("censored", "truncated"):
        family = family_of(kind, "normal", {"low": -1e4, "high": 1e4})
        assert family.kl(*pair).item() == nearly(plain.kl(*pair).item(), 1e-10)
        ours, theirs = (f.fisher_root(pair[0]).dense()[0] for f in (family, plain))
        torch.testing.assert_close(ours.mT @ ours, theirs.mT @ theirs)


def test_a_truncated_law_that_is_not_resolved_is_not_a_number():
    family = family_of("truncated", "normal", {"low": 40.0})
    phi = row((0.3, 1.2))
    assert family.fisher_root(phi).dense().isnan().any()
    assert family.kl(phi, 1.01 * phi).isnan().all()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("censored:normal", {}, "low and high"),
        ("censored:normal", {"low": 1.0, "high": 0.0}, "low below high"),
        ("truncated:poisson", {"low": 1.0}, "takes|parameters"),
        ("truncated:von_mises", {"low": 1.0}, "line|parameters"),
        ("truncated:normal", {"upper": 1}, "'upper'. It takes low, high."),
        ("censored:binomial", {"hight": 1}, "'hight'. It takes total_count, low, high"),
    ],
)
def test_what_makes_no_law_is_refused(name, options, words):
    with pytest.raises(ConfigError, match=words):
        build_family(name, {"loc": (), "scale": ()}, **options)


def test_their_transport_is_refused_with_what_else():
    with pytest.raises(NoTransport, match="-d kl"):
        family_of("censored", "normal", {"low": 0.0}).transport_root(row((0.3, 1.2)))


@pytest.mark.parametrize("limits", LIMITS["normal"])
def test_a_truncated_law_has_its_density_at_its_limits_too(limits):
    low, high = limits.get("low", -np.inf), limits.get("high", np.inf)
    loc, scale = LAWS["normal"][2]
    known = stats.truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)
    family = family_of("truncated", "normal", limits)
    law = family.distribution(row((loc, scale)))
    for end in limits.values():
        inwards = -1e-9 if end == high else 1e-9
        for at in (end, end + inwards):
            found = float(law.log_prob(row(at)))
            assert found == pytest.approx(known.logpdf(at), abs=1e-8)
        assert float(law.log_prob(row(end - inwards))) == -np.inf


def test_a_limit_at_an_end_of_the_unit_interval_or_beyond_is_infinite_in_logits():
    assert [_logit(x) for x in (-1.0, 0.0, 1.0, 2.0)] == [-np.inf] * 2 + [np.inf] * 2
    assert [_log(x) for x in (-1.0, 0.0)] == [-np.inf] * 2
    for p in (1e-9, 0.2, 0.5, 1 - 1e-9):
        assert _logit(p) == pytest.approx(np.log(p / (1 - p)), rel=1e-7)
        assert _log(p) == pytest.approx(np.log(p), rel=1e-12)


@pytest.mark.parametrize(
    ("draws", "found", "asked"),
    [
        ([-0.5], -0.5, 1),  # a limit is inside
        ([2.0], 2.0, 1),
        ([2.1, -0.6, 0.3], 0.3, 3),
        ([9.0] * 1000 + [0.3], 0.3, 1001),
        ([9.0] * 1001 + [0.3], np.nan, 1001),
    ],
)
def test_draws_are_those_of_the_component_until_one_is_inside(draws, found, asked):
    made = []

    def sample(shape):
        made.append(draws[len(made)])
        return torch.full(shape, made[-1], dtype=torch.float64)

    law = SimpleNamespace(
        family=SimpleNamespace(low=-0.5, high=2.0), inner=SimpleNamespace(sample=sample)
    )
    np.testing.assert_array_equal(Inside.drawn(law, (3,), "sample"), [found] * 3)
    assert len(made) == asked
