import numpy as np
import pytest
import torch
from scipy import stats

from audit.families import build_family

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
each_pair = pytest.mark.parametrize(("name", "phi", "other"), PAIRS)


def family_of(name):
    names = {"poisson": ("rate",), "negative_binomial": ("total_count", "probs")}
    options = {"total_count": 7} if name == "binomial" else {}
    return build_family(name, dict.fromkeys(names.get(name, ("probs",)), ()), **options)


def row(phi):
    return torch.tensor([phi], dtype=torch.float64)


@each_pair
def test_divergences_are_sums_over_scipys_masses(name, phi, other):
    family = family_of(name)
    p, q = (LAWS[name](*value).logpmf(K) for value in (phi, other))
    known = np.isfinite(p)
    p, q = p[known], q[known]
    mean = np.logaddexp(p, q) - np.log(2)
    kl = (np.exp(p) * (p - q)).sum()
    shannon = (np.exp(p) * (p - mean) + np.exp(q) * (q - mean)).sum() / 2
    assert family.kl(row(phi), row(other)).item() == pytest.approx(kl, rel=1e-8)
    ours = family.jensen_shannon(row(phi), row(other)).item()
    assert ours == pytest.approx(shannon, rel=1e-8)
    for alpha in (0.4, 1.3):
        total = np.log(np.exp(alpha * p + (1 - alpha) * q).sum()) / (alpha - 1)
        ours = family.renyi(row(phi), row(other), alpha).item()
        assert ours == pytest.approx(total, rel=1e-7)


@each_pair
def test_the_distance_of_step_functions_is_that_of_scipys_quantiles(name, phi, other):
    levels = (np.arange(400_000) + 0.5) / 400_000
    gap = LAWS[name](*phi).ppf(levels) - LAWS[name](*other).ppf(levels)
    ours = family_of(name).transport_distance(row(phi), row(other)).item()
    assert ours == pytest.approx((gap**2).mean(), rel=2e-3)


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


def test_categorical_fisher_is_at_most_one_half():
    torch.manual_seed(0)
    logits = 6 * torch.randn(500, 5, dtype=torch.float64)
    logits[0] = torch.tensor([9.0, 9.0, -90.0, -90.0, -90.0])
    root = build_family("categorical", {"logits": (5,)}).fisher_root(logits).dense()
    top = torch.linalg.eigvalsh(root.mT @ root)[:, -1]
    assert top.max() <= 0.5 + 1e-12
    assert top[0].item() == pytest.approx(0.5)


def test_categorical_has_no_linear_law_without_a_cost():
    family = build_family("categorical", {"logits": (3,)})
    assert family.linear_root(torch.zeros(1, 3, dtype=torch.float64)) is None


@pytest.mark.parametrize("logit", [-50.0, -20.0, 20.0, 50.0])
def test_bernoulli_keeps_its_digits_at_large_logits(logit):
    family = build_family("bernoulli", {"logits": ()})
    exact = 1 / (4 * np.cosh(logit / 2) ** 2)
    root = family.fisher_root(row((logit,))).dense().item()
    assert root**2 == pytest.approx(exact, rel=1e-12)
    step = 1e-3
    kl = family.kl(row((logit,)), row((logit + step,))).item()
    slack = 1 + step * np.tanh(-logit / 2) / 3
    assert kl == pytest.approx(exact * step**2 / 2 * slack, rel=1e-5)


@pytest.mark.parametrize(
    ("r", "p"), [(0.3, 0.2), (3.0, 0.9), (40.0, 0.5), (1e-3, 0.5), (500.0, 0.02)]
)
def test_negative_binomial_information_about_r_is_its_sum_over_tails(r, p):
    family = family_of("negative_binomial")
    k = np.arange(20_000)
    exact = (stats.nbinom(r, 1 - p).sf(k) / (r + k) ** 2).sum()
    root = family.fisher_root(row((r, p))).dense()[0]
    assert (root.mT @ root)[0, 0].item() == pytest.approx(exact, rel=1e-9)


def test_negative_binomial_information_about_r_where_a_sum_is_hopeless():
    family = build_family("negative_binomial", {"total_count": (), "logits": ()})
    r, odds = 1e6, 1e6
    root = family.fisher_root(row((r, np.log(odds)))).dense()[0]
    exact = 1 / r + 1 / (2 * r**2) - 1 / (r * odds)
    assert (root.mT @ root)[0, 0].item() == pytest.approx(exact, rel=1e-9)


def test_a_sum_that_would_be_too_long_is_not_a_number():
    family = family_of("negative_binomial")
    rows = row((2.0, 1 - 1e-8)), row((2.5, 1 - 1e-8))
    assert torch.isnan(family.kl(*rows)).all()
