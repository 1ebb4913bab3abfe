import numpy as np
import pytest
import torch
from scipy import special, stats

from audit.families import FAMILIES, build_family
from audit.families.lattice import Lattice

from . import levels
from .levels import nearly

K = np.arange(3000)

LAWS = {
    "poisson": lambda rate: stats.poisson(rate),
    "geometric": lambda p: stats.geom(p, loc=-1),
    "binomial": lambda p: stats.binom(7, p),
    "bernoulli": lambda p: stats.bernoulli(p),
    "negative_binomial": lambda r, p: stats.nbinom(r, 1 - p),
}
PAIRS = [
    ("poisson", (0.4,), (0.7,)),
    ("poisson", (300.0,), (310.0,)),
    ("geometric", (0.2,), (0.3,)),
    ("binomial", (0.2,), (0.3,)),
    ("bernoulli", (0.2,), (0.3,)),
    ("negative_binomial", (2.5, 0.4), (2.5, 0.5)),
    ("negative_binomial", (2.5, 0.4), (3.1, 0.5)),
    ("negative_binomial", (0.05, 0.9), (0.06, 0.9)),
]


def test_every_law_of_counts_is_here():
    counts = {name for name in FAMILIES if issubclass(FAMILIES[name], Lattice)}
    assert counts == set(LAWS) == {name for name, *_ in PAIRS}


each_pair = pytest.mark.parametrize(("name", "phi", "other"), PAIRS)


def family_of(name, last="probs"):
    names = {"poisson": ("rate",), "negative_binomial": ("total_count", last)}
    options = {"total_count": 7} if name == "binomial" else {}
    return build_family(name, dict.fromkeys(names.get(name, (last,)), ()), **options)


def row(phi):
    return torch.tensor(np.array([phi]), dtype=torch.float64)


@each_pair
def test_divergences_are_sums_over_scipys_masses(name, phi, other):
    family = family_of(name)
    p, q = (LAWS[name](*value).logpmf(K) for value in (phi, other))
    known = np.isfinite(p)
    p, q = p[known], q[known]
    mean = np.logaddexp(p, q) - np.log(2)
    kl = (np.exp(p) * (p - q)).sum()
    shannon = (np.exp(p) * (p - mean) + np.exp(q) * (q - mean)).sum() / 2
    assert family.kl(row(phi), row(other)).item() == nearly(kl, 1e-8)
    ours = family.jensen_shannon(row(phi), row(other)).item()
    assert ours == nearly(shannon, 1e-8)
    for alpha in (0.4, 1.3):
        total = np.log(np.exp(alpha * p + (1 - alpha) * q).sum()) / (alpha - 1)
        ours = family.renyi(row(phi), row(other), alpha).item()
        assert ours == nearly(total, 1e-7)


def masses(name, link):
    def law(*phi):
        return LAWS[name](*phi[:-1], link(phi[-1]))

    return law


LINKS = {"probs": (lambda p: p, lambda p: p), "logits": (special.expit, special.logit)}


@pytest.mark.parametrize("last", LINKS)
@each_pair
def test_fisher_and_linear_law_are_sums_over_scipys_masses(name, phi, other, last):
    """Each in the parameter that the head gives, a rate or a chance or its logit."""
    link, back = LINKS["probs" if name == "poisson" else last]
    law, at = masses(name, link), (*phi[:-1], back(phi[-1]))
    mass = law(*at).pmf(K)
    some = mass > 0
    score = levels.steps_of(law, at, lambda moved: moved.logpmf(K[some]))
    exact = np.einsum("ik,jk,k->ij", score, score, mass[some])
    family = family_of(name, last)
    root = family.fisher_root(row(at)).dense()[0]
    torch.testing.assert_close(
        root.mT @ root, torch.from_numpy(exact), rtol=1e-6, atol=1e-12
    )
    step = np.array(other) - np.array(phi)
    slopes = levels.steps_of(law, at, lambda moved: moved.cdf(K))
    exact = abs(step @ np.array(slopes)).sum()
    ours = family.linear_root(row(at)).matmat(torch.from_numpy(step)[None, :, None])
    assert ours.abs().sum().item() == nearly(exact, 1e-6)


@each_pair
def test_the_distance_of_step_functions_is_that_of_scipys_tails(name, phi, other):
    """E(X − Y)² with E XY = Σ_jk P(X > j, Y > k), the smaller of both tails."""
    first, second = (LAWS[name](*value) for value in (phi, other))
    tails, others = first.sf(K), second.sf(K)
    together = sum(np.minimum(tail, others).sum() for tail in tails)
    squares = sum(law.var() + law.mean() ** 2 for law in (first, second))
    ours = family_of(name).transport_distance(row(phi), row(other)).item()
    assert ours == nearly(squares - 2 * together, 1e-8)


def test_geometric_renyi_is_infinite_outside_the_natural_domain():
    family = family_of("geometric")
    assert family.renyi(row((0.01,)), row((0.9,)), 3.0).item() == np.inf


def test_categorical_root_is_the_covariance_of_a_one_hot_draw():
    logits = torch.tensor([[50.0, -50.0, 0.0, 1.0]], dtype=torch.float64)
    family = build_family("categorical", {"logits": (4,)})
    root = family.fisher_root(logits).dense()[0]
    p = logits.softmax(-1)[0]
    exact = torch.diag(p) - torch.outer(p, p)
    torch.testing.assert_close(root.mT @ root, exact, rtol=1e-10, atol=1e-20)
    torch.testing.assert_close(root @ torch.ones(4, dtype=torch.float64), 0 * p)


@pytest.mark.parametrize("name", ["categorical", "one_hot_categorical"])
@pytest.mark.parametrize("classes", [2, 3, 5, 40])
def test_softmax_fisher_is_diag_p_less_p_p_and_at_most_one_half(name, classes):
    rng = np.random.default_rng(classes)
    logits = rng.choice([0.1, 1, 6], (500, 1)) * rng.normal(size=(500, classes))
    logits[0] = -90.0
    logits[0, :2] = 9.0
    p = special.softmax(logits, axis=-1)
    exact = p[:, :, None] * np.eye(classes) - p[:, :, None] * p[:, None, :]
    family = build_family(name, {"logits": (classes,)})
    root = family.fisher_root(torch.from_numpy(logits)).dense()
    information = (root.mT @ root).numpy()
    np.testing.assert_allclose(information, exact, rtol=1e-10, atol=1e-15)
    top = np.linalg.eigvalsh(information)[:, -1]
    assert top.max() <= 0.5 + 1e-12
    assert top[0] == pytest.approx(0.5)  # two classes of one half each


def test_fisher_of_probabilities_is_that_of_their_ratios():
    """A step that leaves the sum alone costs Σ δ²/p; one along p costs nothing."""
    p = np.array([0.2, 0.5, 0.3])
    family = build_family("categorical", {"probs": (3,)})
    root = family.fisher_root(row(p)).dense()[0].numpy()
    np.testing.assert_allclose(root.T @ root, np.diag(1 / p) - 1, rtol=1e-12)
    np.testing.assert_allclose(root @ p, 0, atol=1e-14)


@pytest.mark.parametrize("parameter", ["probs", "logits"])
def test_divergences_of_classes_are_sums(parameter):
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.25, 0.35, 0.4])
    link = np.log if parameter == "logits" else lambda value: value
    family = build_family("categorical", {parameter: (3,)})
    pair = row(link(p)), row(link(q))
    mean = (p + q) / 2
    kl = (p * np.log(p / q)).sum()
    shannon = (p * np.log(p / mean) + q * np.log(q / mean)).sum() / 2
    assert family.kl(*pair).item() == nearly(kl, 1e-12)
    assert family.jensen_shannon(*pair).item() == nearly(shannon, 1e-12)
    for alpha in (0.4, 1.7):
        exact = np.log((p**alpha * q ** (1 - alpha)).sum()) / (alpha - 1)
        assert family.renyi(*pair, alpha).item() == nearly(exact, 1e-12)


def test_dirichlet_is_scipys():
    first, second = np.array([2.5, 3.0, 4.0]), np.array([3.0, 2.8, 4.5])
    family = build_family("dirichlet", {"concentration": (3,)})
    root = family.fisher_root(row(first)).dense()[0].numpy()
    exact = np.diag(special.polygamma(1, first)) - special.polygamma(1, first.sum())
    np.testing.assert_allclose(root.T @ root, exact, rtol=1e-10)

    def triangle(function):
        """∫ over x + y < 1, by the nodes of a square folded onto it."""
        u, weight = np.polynomial.legendre.leggauss(200)
        u, weight = (u + 1) / 2, weight / 2
        x, share = np.meshgrid(u, u)
        y = (1 - x) * share
        theta = np.stack([x, y, (1 - x) * (1 - share)]).reshape(3, -1)
        theta = theta / theta.sum(0)
        logs = [
            (special.gammaln(a.sum()) - special.gammaln(a).sum())
            + (a - 1) @ np.log(theta)
            for a in (first, second)
        ]
        area = (np.outer(weight, weight) * (1 - x)).ravel()
        return (area * function(*logs)).sum()

    assert triangle(lambda p, q: np.exp(p)) == nearly(1, 1e-9)
    pair = row(first), row(second)
    kl = triangle(lambda p, q: np.exp(p) * (p - q))
    assert family.kl(*pair).item() == nearly(kl, 1e-7)
    for alpha in (0.4, 1.7):
        total = triangle(lambda p, q, a=alpha: np.exp(a * p + (1 - a) * q))
        exact = np.log(total) / (alpha - 1)
        assert family.renyi(*pair, alpha).item() == nearly(exact, 1e-6)


@pytest.mark.parametrize("last", ["probs", "logits"])
def test_a_multinomial_is_summed_over_all_its_counts(last):
    """Information, KL and Rényi over every vector of four choices among three."""
    counts = np.array([(i, j, 4 - i - j) for i in range(5) for j in range(5 - i)])
    family = build_family("multinomial", {last: (3,)}, total_count=4)
    pair = np.array([0.2, 0.5, 0.3]), np.array([0.25, 0.35, 0.4])
    p, q = (np.exp(stats.multinomial(4, one).logpmf(counts)) for one in pair)
    phi, other = (row(np.log(one) if last == "logits" else one) for one in pair)
    assert family.kl(phi, other).item() == nearly((p * np.log(p / q)).sum(), 1e-12)
    for alpha in (0.5, 1.7):
        value = np.log((p**alpha * q ** (1 - alpha)).sum()) / (alpha - 1)
        assert family.renyi(phi, other, alpha).item() == nearly(value, 1e-12)
    assert family.jensen_shannon(phi, other) is None
    score = counts - 4 * pair[0] if last == "logits" else counts / pair[0] - 4
    root = family.fisher_root(phi).dense()[0].numpy()
    np.testing.assert_allclose(root.T @ root, (score.T * p) @ score, atol=1e-12)


def test_a_multinomial_has_no_density_at_counts_with_another_sum():
    family = build_family("multinomial", {"probs": (3,)}, total_count=4)
    some = [[1.0, 2, 1], [1, 1, 1], [2, 2, 1], [1.5, 1.5, 1], [5, 0, -1]]
    theta = torch.tensor(some, dtype=torch.float64).unsqueeze(1)
    found = family.log_likelihood(theta, row([0.2, 0.5, 0.3]))[:, 0]
    exact = stats.multinomial(4, [0.2, 0.5, 0.3]).logpmf([1, 2, 1])
    assert found[0].item() == nearly(exact, 1e-12)
    assert torch.isneginf(found[1:]).all()


def test_categorical_has_no_linear_law_without_a_cost():
    family = build_family("categorical", {"logits": (3,)})
    assert family.linear_root(torch.zeros(1, 3, dtype=torch.float64)) is None


@pytest.mark.parametrize("logit", [-50.0, -20.0, 20.0, 50.0])
def test_bernoulli_keeps_its_digits_at_large_logits(logit):
    family = build_family("bernoulli", {"logits": ()})
    exact = 1 / (4 * np.cosh(logit / 2) ** 2)
    root = family.fisher_root(row((logit,))).dense().item()
    assert root**2 == nearly(exact, 1e-12)
    step = 1e-3
    kl = family.kl(row((logit,)), row((logit + step,))).item()
    slack = 1 + step * np.tanh(-logit / 2) / 3
    assert kl == nearly(exact * step**2 / 2 * slack, 1e-5)


@pytest.mark.parametrize(
    ("r", "p"), [(0.3, 0.2), (3.0, 0.9), (40.0, 0.5), (1e-3, 0.5), (500.0, 0.02)]
)
def test_negative_binomial_information_about_r_is_its_sum_over_tails(r, p):
    family = family_of("negative_binomial")
    k = np.arange(20_000)
    exact = (stats.nbinom(r, 1 - p).sf(k) / (r + k) ** 2).sum()
    root = family.fisher_root(row((r, p))).dense()[0]
    assert (root.mT @ root)[0, 0].item() == nearly(exact, 1e-9)


def test_negative_binomial_information_about_r_where_a_sum_is_hopeless():
    family = build_family("negative_binomial", {"total_count": (), "logits": ()})
    r, odds = 1e6, 1e6
    root = family.fisher_root(row((r, np.log(odds)))).dense()[0]
    exact = 1 / r + 1 / (2 * r**2) - 1 / (r * odds)
    assert (root.mT @ root)[0, 0].item() == nearly(exact, 1e-9)


def test_a_sum_that_would_be_too_long_is_not_a_number():
    family = family_of("negative_binomial")
    rows = row((2.0, 1 - 1e-8)), row((2.5, 1 - 1e-8))
    assert torch.isnan(family.kl(*rows)).all()
