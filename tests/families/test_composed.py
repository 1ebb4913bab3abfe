"""Laws made of laws, against sums over scipy's masses and quadratures of its densities.

Information is Σ ∂p ∂pᵀ / p with slopes by differences of fourth order; nothing of it is
the code's own.
"""

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from audit.families import build_family
from audit.ground.errors import ConfigError, NoTransport

from .levels import nearly

K = np.arange(400)
H = 1e-3


def row(values):
    return torch.tensor(np.array([values], dtype=float))


def family_of(name, names):
    return build_family(name, dict.fromkeys(names, ()))


def slopes(masses, phi):
    """∂p by central differences of fourth order, relative to each parameter."""
    found = []
    for i, value in enumerate(phi):
        h = H * max(abs(value), 0.1)

        def moved(k, i=i, h=h):
            return masses([v + k * h * (j == i) for j, v in enumerate(phi)])

        found.append((8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h))
    return np.array(found)


def zip_masses(phi):
    gate, rate = phi
    return gate * (K == 0) + (1 - gate) * stats.poisson(rate).pmf(K)


def zinb_masses(phi):
    logit, count, probs = phi
    share = special.expit(logit)
    return (1 - share) * (K == 0) + share * stats.nbinom(count, 1 - probs).pmf(K)


def two_poissons(phi):
    weights = np.array(phi[:2]) / sum(phi[:2])
    return sum(
        w * stats.poisson(r).pmf(K) for w, r in zip(weights, phi[2:], strict=True)
    )


def two_geometrics(phi):
    weights = special.softmax(phi[:2])
    parts = [stats.geom(p, loc=-1).pmf(K) for p in phi[2:]]
    return sum(w * part for w, part in zip(weights, parts, strict=True))


def two_binomials(phi):
    weights = special.softmax(phi[:2])
    parts = [stats.binom(7, special.expit(p)).pmf(K) for p in phi[2:]]
    return sum(w * part for w, part in zip(weights, parts, strict=True))


def ordinal_masses(phi):
    ends = np.concatenate([[0.0], special.expit(np.array(phi[1:]) - phi[0]), [1.0]])
    return np.diff(ends)


def hazard_masses(phi):
    at_risk = np.concatenate([[1.0], np.cumprod(1 - np.array(phi))])
    return at_risk * np.append(phi, 1.0)


MIXED = {"probs": (2,), "rate": (2,)}
CASES = {
    "zip": (
        lambda: family_of("zero_inflated:poisson", ("gate", "rate")),
        zip_masses,
        [(0.3, 2.0), (0.8, 0.05), (0.05, 30.0)],
    ),
    "zinb": (
        lambda: family_of(
            "zero_inflated:negative_binomial",
            ("logits", "total_count", "component.probs"),
        ),
        zinb_masses,
        [(0.4, 2.5, 0.3), (-2.0, 0.7, 0.8)],
    ),
    "poissons": (
        lambda: build_family("mixture:poisson", MIXED),
        two_poissons,
        [(0.3, 0.7, 0.4, 6.0), (0.9, 0.1, 2.0, 30.0)],
    ),
    "geometrics": (
        lambda: build_family(
            "mixture:geometric", {"logits": (2,), "component.probs": (2,)}
        ),
        two_geometrics,
        [(0.2, -0.4, 0.3, 0.8)],
    ),
    "binomials": (
        lambda: build_family(
            "mixture:binomial",
            {"logits": (2,), "component.logits": (2,)},
            total_count=7,
        ),
        two_binomials,
        [(0.2, -0.4, 0.3, -2.0)],
    ),
    "ordinal": (
        lambda: build_family("ordinal", {"loc": (), "cutpoints": (3,)}),
        ordinal_masses,
        [(0.3, -1.0, 0.2, 0.9), (-4.0, 0.0, 0.01, 3.0)],
    ),
    "hazard": (
        lambda: build_family("discrete_hazard", {"probs": (3,)}),
        hazard_masses,
        [(0.2, 0.6, 0.1), (0.8, 0.5, 0.3)],
    ),
}
# φ of a mixture goes component by component; with one parameter that is the same order
EACH = [pytest.param(n, phi, id=f"{n}-{phi}") for n, c in CASES.items() for phi in c[2]]
each_law = pytest.mark.parametrize(("name", "phi"), EACH)


@each_law
def test_fisher_is_the_sum_over_masses(name, phi):
    make, masses, _ = CASES[name]
    mass, steps = masses(phi), slopes(masses, phi)
    some = mass > 1e-17
    exact = (steps[:, some] / mass[some]) @ steps[:, some].T
    root = make().fisher_root(row(phi)).dense()[0]
    ours = (root.mT @ root).numpy()
    scale = np.sqrt(np.outer(exact.diagonal(), exact.diagonal()))
    np.testing.assert_allclose(ours / scale, exact / scale, atol=1e-6)


@each_law
def test_the_linear_law_is_the_sum_of_moved_levels(name, phi):
    make, masses, _ = CASES[name]
    rng = np.random.default_rng(3)
    step = rng.normal(size=len(phi)) * np.maximum(np.abs(phi), 0.1)
    exact = np.abs(step @ slopes(masses, phi).cumsum(-1)).sum()
    root = make().linear_root(row(phi))
    ours = root.matmat(row(step).unsqueeze(-1)).abs().sum().item()
    assert ours == nearly(exact, 1e-6)


def moved(phi, size):
    return tuple(v + size * (abs(v) + 0.1) * (-1) ** i / 2 for i, v in enumerate(phi))


@each_law
@pytest.mark.parametrize("size", [0.2, 0.02])
def test_divergences_are_sums(name, phi, size):
    make, masses, _ = CASES[name]
    other = moved(phi, size)
    p, q = masses(phi), masses(other)
    some = (p > 0) & (q > 0)
    p, q, mean = p[some], q[some], (p[some] + q[some]) / 2
    kl = (p * np.log(p / q)).sum()
    shannon = (p * np.log(p / mean) + q * np.log(q / mean)).sum() / 2
    family, pair = make(), (row(phi), row(other))
    assert family.kl(*pair).item() == nearly(kl, 1e-9)
    assert family.jensen_shannon(*pair).item() == nearly(shannon, 1e-8)
    for alpha in (0.4, 1.3):
        exact = np.log((p**alpha * q ** (1 - alpha)).sum()) / (alpha - 1)
        assert family.renyi(*pair, alpha).item() == nearly(exact, 1e-8)


@each_law
@pytest.mark.parametrize("step", [1e-4, 1e-6, 1e-8])
def test_divergences_of_close_laws_keep_their_digits(name, phi, step):
    family, other = CASES[name][0](), moved(phi, step)
    root = family.fisher_root(row(phi))
    delta = row(other) - row(phi)
    form = root.matmat(delta.unsqueeze(-1)).square().sum().item()
    slack = 30 * step + 1e-7
    assert family.kl(row(phi), row(other)).item() == nearly(form / 2, slack)
    assert family.renyi(row(phi), row(other), 0.5).item() == nearly(form / 4, slack)


@each_law
def test_the_distance_of_step_functions_is_that_of_draws_at_the_same_level(name, phi):
    make, masses, _ = CASES[name]
    other = moved(phi, 0.2)
    levels = (np.arange(200_000) + 0.5) / 200_000
    places = [np.searchsorted(masses(law).cumsum(), levels) for law in (phi, other)]
    exact = np.square(places[0] - places[1]).mean()
    ours = make().transport_distance(row(phi), row(other)).item()
    assert ours == pytest.approx(exact, rel=1e-3, abs=1e-3)


# edges: point masses


def test_a_rate_of_zero_is_a_point_mass_in_a_mixture():
    """Σ ∂p²/p of what moves while the component stays a point mass at 0."""
    family = build_family("mixture:poisson", MIXED)
    phi = row((0.4, 0.6, 0.0, 2.5))
    assert not any(wrong.any() for wrong in family.violations(phi).values())
    mass = 0.4 * (K == 0) + 0.6 * stats.poisson(2.5).pmf(K)
    rate = 0.6 * (stats.poisson(2.5).pmf(K - 1) - stats.poisson(2.5).pmf(K))
    weight = (K == 0) - stats.poisson(2.5).pmf(K)  # along (1, −1), where Σπ stays
    some = mass > 1e-18
    steps = np.array([weight, rate])[:, some]
    exact = (steps / mass[some]) @ steps.T
    root = family.fisher_root(phi).dense()[0].numpy()
    image = root[:, [0, 3]].copy()
    image[:, 0] -= root[:, 1]
    assert np.isfinite(root).all()
    np.testing.assert_allclose(image.T @ image, exact, rtol=1e-9)
    other = row((0.5, 0.5, 0.0, 2.0))
    q = 0.5 * (K == 0) + 0.5 * stats.poisson(2.0).pmf(K)
    kl = (mass[some] * np.log(mass[some] / q[some])).sum()
    assert family.kl(phi, other).item() == nearly(kl, 1e-9)


def test_a_point_mass_may_leave_into_masses_that_are_there():
    """∂p(1) = π₀ at a rate of 0, and p(1) > 0 by the other component: finite."""
    family = build_family("mixture:poisson", MIXED)
    root = family.fisher_root(row((0.4, 0.6, 0.0, 2.5))).dense()[0].numpy()
    mass = 0.4 * (K == 0) + 0.6 * stats.poisson(2.5).pmf(K)
    exact = 0.4**2 * (1 / mass[0] + 1 / mass[1])
    assert root[:, 2] @ root[:, 2] == pytest.approx(exact, rel=1e-9)


def test_a_point_mass_alone_has_an_infinite_price():
    family = build_family("mixture:poisson", MIXED)
    root = family.fisher_root(row((0.4, 0.6, 0.0, 0.0))).dense()[0]
    assert torch.isinf(root[:, 2]).any()
    assert torch.isinf(root[:, 3]).any()
    assert not root.isnan().any()


def test_a_zero_inflated_rate_of_zero_is_a_point_mass():
    family = family_of("zero_inflated:poisson", ("gate", "rate"))
    phi, other = row((0.3, 0.0)), row((0.6, 0.0))
    assert family.kl(phi, other).item() == 0
    root = family.fisher_root(phi).dense()[0]
    assert root[:, 0].tolist() == [0, 0]
    assert torch.isinf(root[:, 1]).any()
    assert family.kl(row((0.3, 1.0)), phi).item() == np.inf
    exact = -np.log(0.3 + 0.7 * np.exp(-1))
    assert family.kl(phi, row((0.3, 1.0))).item() == nearly(exact, 1e-12)


def test_a_component_of_weight_zero_has_an_infinite_entry_of_its_own():
    family = build_family("mixture:poisson", MIXED)
    root = family.fisher_root(row((1.0, 0.0, 2.0, 5.0))).dense()[0]
    assert torch.isinf(root).nonzero()[:, 1].tolist() == [1]
    column = root[:, 2]
    assert column @ column == pytest.approx(1 / 2.0, rel=1e-9)
    assert (root[:, 3] == 0).all()


# hurdles

HURDLES = [
    ("log_normal", ("loc", "scale"), (0.3, 0.5), (0.1, 0.6), stats.norm),
    ("gamma", ("concentration", "rate"), (2.0, 0.5), (2.2, 0.6), None),
]


def density_of(name):
    if name == "log_normal":
        return lambda loc, scale: stats.lognorm(scale, scale=np.exp(loc))
    return lambda shape, rate: stats.gamma(shape, scale=1 / rate)


@pytest.mark.parametrize(("name", "names", "own", "others", "_"), HURDLES)
def test_a_hurdle_is_its_coin_and_its_integral(name, names, own, others, _):
    family = family_of(f"hurdle:{name}", ("probs", *names))
    law, pi, sigma = density_of(name), 0.35, 0.55
    f, g = law(*own), law(*others)

    at, weights = np.polynomial.legendre.leggauss(32)
    tails = np.array([1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 1e-2, 0.1, 0.25])
    edges = np.concatenate([f.ppf(tails), [f.median()], f.isf(tails[::-1])])
    half = np.diff(edges)[:, None] / 2
    points = (edges[:-1, None] + half * (1 + at)).ravel()

    def integral(function):
        return function(points) @ (half * weights).ravel()

    inner = integral(lambda x: f.pdf(x) * (f.logpdf(x) - g.logpdf(x)))
    coin = pi * np.log(pi / sigma) + (1 - pi) * np.log((1 - pi) / (1 - sigma))
    pair = row((pi, *own)), row((sigma, *others))
    assert family.kl(*pair).item() == nearly(coin + pi * inner, 1e-8)
    for alpha in (0.4, 1.3):
        beta = 1 - alpha
        rest = integral(lambda x, a=alpha, b=beta: f.pdf(x) ** a * g.pdf(x) ** b)
        whole = (1 - pi) ** alpha * (1 - sigma) ** beta + pi**alpha * sigma**beta * rest
        exact = np.log(whole) / (alpha - 1)
        assert family.renyi(*pair, alpha).item() == nearly(exact, 1e-7)

    def products(x):
        score = slopes(lambda phi: law(*phi).logpdf(x), own)
        return f.pdf(x) * score[:, None] * score

    exact = np.zeros((3, 3))
    exact[0, 0], exact[1:, 1:] = 1 / (pi * (1 - pi)), pi * integral(products)
    root = family.fisher_root(pair[0]).dense()[0].numpy()
    np.testing.assert_allclose(root.T @ root, exact, rtol=1e-6, atol=1e-7)


def test_gate_and_probs_are_each_others_complement():
    names = ("loc", "scale")
    by_probs = family_of("hurdle:log_normal", ("probs", *names))
    by_gate = family_of("hurdle:log_normal", ("gate", *names))
    pair = [row((p, 0.3, 0.5)) for p in (0.2, 0.25)]
    turned = [torch.cat([1 - v[:, :1], v[:, 1:]], -1) for v in pair]
    assert by_probs.kl(*pair).item() == nearly(by_gate.kl(*turned).item(), 1e-12)
    draws = by_gate.distribution(turned[0]).sample((20_000,))
    assert (draws == 0).double().mean().item() == pytest.approx(0.8, abs=0.02)
    log_prob = by_gate.distribution(turned[0]).log_prob(torch.zeros(1, 1))
    assert log_prob.exp().item() == pytest.approx(0.8)


def test_a_hurdle_that_is_never_taken_costs_nothing_behind_it():
    family = family_of("hurdle:log_normal", ("probs", "loc", "scale"))
    root = family.fisher_root(row((0.0, 0.3, 0.5))).dense()[0]
    assert torch.isinf(root[:, 0]).any()
    assert (root[:, 1:] == 0).all()
    assert family.kl(row((0.0, 0.3, 0.5)), row((0.0, 2.0, 0.9))).item() == 0


@pytest.mark.parametrize(
    ("name", "names", "words"),
    [
        ("hurdle:poisson", ("probs", "rate"), "zero_inflated:poisson"),
        ("zero_inflated:gamma", ("probs", "concentration", "rate"), "hurdle:gamma"),
        ("hurdle:log_normal", ("loc", "scale"), "gate"),
        ("hurdle:dirichlet", ("probs", "concentration"), "vector|numbers"),
    ],
)
def test_what_makes_no_law_is_refused_with_what_would(name, names, words):
    with pytest.raises(ConfigError, match=words):
        family_of(name, names)


def test_the_jump_over_a_hurdle_has_no_transport_tensor():
    with pytest.raises(NoTransport, match="linearly"):
        family_of("hurdle:log_normal", ("probs", "loc", "scale")).transport_root(
            row((0.3, 0.1, 0.2))
        )


# evidential


def test_an_evidential_law_is_the_predictive_of_its_prior():
    """∫ N(y; μ, σ²) over μ ~ N(γ, σ²/ν) and 1/σ² ~ Gamma(α, β), by quadrature."""
    loc, nu, alpha, beta = 0.3, 1.7, 2.5, 0.8
    family = family_of("evidential", ("loc", "nu", "alpha", "beta"))
    law = family.distribution(row((loc, nu, alpha, beta)))
    for y in (-2.0, 0.3, 1.1):
        exact = integrate.quad(
            lambda t, y=y: (
                stats.gamma(alpha, scale=1 / beta).pdf(t)
                * stats.norm(loc, np.sqrt((1 + 1 / nu) / t)).pdf(y)
            ),
            0,
            np.inf,
        )[0]
        ours = law.log_prob(torch.tensor([y], dtype=torch.float64)).exp().item()
        assert ours == nearly(exact, 1e-8)


def test_weights_of_shape_one_are_equal_for_all_components():
    family = build_family("mixture:normal", {"probs": (), "loc": (5,), "scale": ()})
    one = torch.tensor([0.2], dtype=torch.float64)
    loc = torch.arange(5.0, dtype=torch.float64)[None]
    phi = family.pack({"probs": one, "loc": loc, "scale": 5 * one})
    assert phi[0, :5].tolist() == [0.2] * 5
    x = torch.tensor([[1.7]], dtype=torch.float64)
    ours = family.distribution(phi).log_prob(x[0]).exp().item()
    assert ours == nearly(stats.norm(np.arange(5), 1).pdf(1.7).mean(), 1e-9)
