"""Probabilities of exactly 0 and 1: the limit of the family, measured like any other.

p = 0 with dp = 0 adds nothing to a metric tensor, since dp²/p = p (d ln p)²; with
dp ≠ 0 it is infinite. In divergences 0 log 0 = 0, and a mass that the second law lacks
is infinitely far. A violation is what is no limit of the family.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from audit.families import build_family
from audit.families.lattice import Lattice

from .examples import EXAMPLES, each
from .levels import nearly

COUNTS = {
    "bernoulli": [(0.0,), (1.0,), (0.3,)],
    "binomial": [(0.0,), (1.0,), (0.3,)],
    "geometric": [(1.0,), (0.3,)],
    "poisson": [(0.0,), (1.4,)],
    "negative_binomial": [(2.5, 0.0), (0.0, 0.3), (0.0, 0.0), (2.5, 0.3), (4.0, 0.3)],
}
LAWS = {
    "bernoulli": stats.bernoulli,
    "binomial": lambda p: stats.binom(7, p),
    "geometric": lambda p: stats.geom(p, loc=-1),
    "poisson": stats.poisson,
    "negative_binomial": lambda r, p: stats.nbinom(r, 1 - p),
}
K = np.arange(120)


def family_of(name):
    names = {"poisson": ("rate",), "negative_binomial": ("total_count", "probs")}
    options = {"total_count": 7} if name == "binomial" else {}
    return build_family(name, dict.fromkeys(names.get(name, ("probs",)), ()), **options)


def row(values):
    return torch.tensor(np.array([values]), dtype=torch.float64)


def masses(name, phi):
    """scipy's; what it will not give is a point mass at 0."""
    still = name == "negative_binomial" and 0.0 in phi
    return (K == 0.0) * 1.0 if still else LAWS[name](*phi).pmf(K)


def divergences(p, q):
    """KL, Rényi of two orders and Jensen-Shannon, as sums."""
    with np.errstate(all="ignore"):
        kl = np.where(p > 0, p * np.log(p / q), 0).sum()
        low = np.log((p**0.4 * q**0.6).sum()) / -0.6
        high = np.log(np.where(p > 0, p**1.7 * q**-0.7, 0).sum()) / 0.7
        mean = (p + q) / 2
        halves = [np.where(f > 0, f * np.log(f / mean), 0).sum() for f in (p, q)]
    return kl, low, high, sum(halves) / 2


def ours_of(family, phi, other):
    pair = row(phi), row(other)
    orders = [family.renyi(*pair, alpha).item() for alpha in (0.4, 1.7)]
    return family.kl(*pair).item(), *orders, family.jensen_shannon(*pair).item()


def test_every_family_of_counts_is_here():
    counts = {e.family_name for e in EXAMPLES if isinstance(e.family, Lattice)}
    composed = {name for name in counts if ":" in name}  # see test_composed
    assert counts - composed == set(COUNTS)


PAIRS = [(n, a, b) for n, laws in COUNTS.items() for a in laws for b in laws]


@pytest.mark.parametrize(("name", "phi", "other"), PAIRS)
def test_divergences_at_the_edge_are_sums(name, phi, other):
    found = ours_of(family_of(name), phi, other)
    expected = divergences(masses(name, phi), masses(name, other))
    for ours, exactly in zip(found, expected, strict=True):
        assert ours == pytest.approx(exactly, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("name", COUNTS)
def test_the_edge_belongs_to_the_family_and_has_its_masses_and_draws(name):
    family = family_of(name)
    for phi in COUNTS[name]:
        assert not any(wrong.any() for wrong in family.violations(row(phi)).values())
        law = family.distribution(row(phi))
        draws = law.sample((200,))[:, 0].numpy()
        expected = masses(name, phi)
        assert (expected[draws.astype(int)] > 0).all()
        most = int(getattr(family, "trials", 20))
        ours = law.log_prob(torch.arange(most + 1.0).double().unsqueeze(-1)).exp()
        np.testing.assert_allclose(ours[:, 0], expected[: most + 1], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "phi", "reason"),
    [
        ("bernoulli", (-1e-9,), "between 0 and 1"),
        ("binomial", (1 + 1e-9,), "between 0 and 1"),
        ("geometric", (0.0,), "infinite"),
        ("negative_binomial", (2.0, 1.0), "infinite"),
        ("negative_binomial", (-1.0, 0.4), "total_count is negative"),
        ("poisson", (-1e-9,), "rate is negative"),
        ("bernoulli", (np.nan,), "not finite"),
    ],
)
def test_what_is_no_limit_of_the_family_is_a_violation(name, phi, reason):
    found = family_of(name).violations(row(phi))
    assert [key for key, wrong in found.items() if wrong.all() and reason in key]


@pytest.mark.parametrize(
    ("name", "phi", "root"),
    [
        ("bernoulli", (0.0,), [[np.inf]]),
        ("bernoulli", (1.0,), [[np.inf]]),
        ("geometric", (1.0,), [[np.inf]]),
        ("poisson", (0.0,), [[np.inf]]),
        ("negative_binomial", (2.0, 0.0), [[0, 0], [0, np.inf]]),
        ("negative_binomial", (0.0, 0.4), [[np.inf, 0], [0, 0]]),
        ("negative_binomial", (0.0, 0.0), [[0, 0], [0, 0]]),
    ],
)
def test_only_the_parameter_at_the_edge_has_an_infinite_metric(name, phi, root):
    assert family_of(name).fisher_root(row(phi)).dense()[0].tolist() == root


@pytest.mark.parametrize(
    ("name", "phi", "slope"),
    [
        ("bernoulli", (0.0,), [1.0]),
        ("binomial", (1.0,), [7.0]),
        ("geometric", (1.0,), [1.0]),
        ("poisson", (0.0,), [1.0]),
        ("negative_binomial", (2.0, 0.0), [0.0, 2.0]),
        ("negative_binomial", (0.0, 0.4), [0.4 / 0.6, 0.0]),
    ],
)
def test_the_linear_law_at_the_edge_is_the_slope_of_the_mean(name, phi, slope):
    root = family_of(name).linear_root(row(phi)).dense()[0]
    assert root.abs().sum(0).tolist() == pytest.approx(slope, rel=1e-9)


CLASSES = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.25, 0.75]]


@pytest.mark.parametrize("name", ["categorical", "one_hot_categorical"])
@pytest.mark.parametrize("p", CLASSES)
@pytest.mark.parametrize("q", CLASSES)
def test_divergences_of_classes_at_the_edge_are_sums(name, p, q):
    family = build_family(name, {"probs": (3,)})
    assert not any(wrong.any() for wrong in family.violations(row(p)).values())
    found, expected = ours_of(family, p, q), divergences(np.array(p), np.array(q))
    for ours, exactly in zip(found, expected, strict=True):
        assert ours == pytest.approx(exactly, rel=1e-12, abs=1e-15)


def test_a_class_of_probability_zero_has_an_infinite_entry_of_its_own():
    family = build_family("categorical", {"probs": (3,)})
    root = family.fisher_root(row([0.25, 0.75, 0.0])).dense()[0]
    assert root[2].tolist() == [0.0, 0.0, np.inf]
    alone = build_family("categorical", {"probs": (2,)})
    two = alone.fisher_root(row([0.25, 0.75])).dense()[0]
    torch.testing.assert_close(root[:2, :2], two)


def test_a_softmax_that_underflows_has_the_metric_of_its_logits():
    """J is diag p − p pᵀ: at p = 0 it is zero, and ∞ · 0 is the limit, 0."""
    logits = row([0.0, 1.0, -900.0])
    p = logits.softmax(-1)
    assert p[0, 2] == 0
    root = build_family("categorical", {"probs": (3,)}).fisher_root(p).dense()[0]
    moves = torch.diag(p[0]) - torch.outer(p[0], p[0])
    terms = torch.where(moves == 0, 0.0, root.unsqueeze(-1) * moves)
    image = terms.sum(1)
    expected = build_family("categorical", {"logits": (3,)}).fisher_root(logits).dense()
    torch.testing.assert_close(image.mT @ image, expected[0].mT @ expected[0])


MIXTURE = {"probs": (2,), "loc": (2,), "scale": (2,)}


def test_a_component_of_weight_zero_changes_nothing_but_its_own_entry():
    family = build_family("mixture:normal", MIXTURE)
    alone = build_family("normal", {"loc": (), "scale": ()})
    phi = row([1.0, 0.0, 0.3, 1.2, -4.0, 0.1])
    assert not any(wrong.any() for wrong in family.violations(phi).values())
    for kind in ("fisher_root", "transport_root", "complete_fisher_root"):
        root = getattr(family, kind)(phi).dense()[0]
        assert torch.isinf(root).sum() == 1
        assert torch.isinf(root[:, 1]).any()
        tensor = root.nan_to_num(posinf=0.0)
        tensor = tensor.mT @ tensor
        expected = torch.zeros(6, 6, dtype=torch.float64)
        part = getattr(alone, kind.removeprefix("complete_"))(row([0.3, 1.2])).dense()[
            0
        ]
        expected[2:4, 2:4] = part.mT @ part
        torch.testing.assert_close(tensor[2:], expected[2:], rtol=1e-9, atol=1e-12)
    other = row([1.0, 0.0, 0.1, 0.9, 2.0, 0.2])
    exactly = alone.kl(row([0.3, 1.2]), row([0.1, 0.9])).item()
    assert family.kl(phi, other).item() == nearly(exactly, 1e-9)


def test_scores_of_a_mixture_that_has_to_be_sampled_are_infinite_for_that_weight_only():
    shapes = {"probs": (2,), "component.probs": (2, 2)}
    family = build_family("mixture:bernoulli", shapes)
    phi = row([1.0, 0.0, 0.3, 0.6, 0.2, 0.9]).requires_grad_()
    law = family.distribution(phi)
    (score,) = torch.autograd.grad(law.log_prob(law.sample()).sum(), phi)
    assert torch.isinf(score[0]).tolist() == [False, True, False, False, False, False]
    assert score[0, 4:].tolist() == [0.0, 0.0]


@each([e for e in EXAMPLES if isinstance(e.family, Lattice)])
def test_draws_of_counts_have_the_probabilities_of_the_law(example):
    torch.manual_seed(0)
    law = example.family.distribution(example.phi)
    draws = law.sample((4000,))
    for value in (0.0, 1.0):
        log_prob = law.base_dist.log_prob(torch.full_like(draws[0], value))
        share = (draws == value).double().mean(0)
        assert (share - log_prob.exp()).abs().max() < 0.04


INDEXED = {
    "student_t": lambda index: {"df": index, "loc": 0.3, "scale": 0.5},
    "inverse_gamma": lambda index: {"concentration": index, "rate": 0.7},
    "pareto": lambda index: {"scale": 0.4, "alpha": index},
    "evidential": lambda index: {
        "loc": 0.1,
        "nu": 1.2,
        "alpha": index / 2,
        "beta": 2,
    },
}
UNKNOWN = {"student_t": 2.04, "inverse_gamma": 2.04, "pareto": 2.0, "evidential": 2.04}
"""The tail indices up to which no second moment is given, those themselves included."""


@pytest.mark.parametrize("name", INDEXED)
def test_a_transport_root_is_not_given_up_to_the_least_index_itself(name):
    for index, given in ((UNKNOWN[name], False), (UNKNOWN[name] + 0.01, True)):
        values = INDEXED[name](index)
        family = build_family(name, dict.fromkeys(values, ()))
        phi = row(tuple(values[part] for part in family.parameters))
        finite = torch.isfinite(family.transport_root(phi).dense()).all()
        said = any(bad.item() for bad in family.transport_caveat(phi).values())
        assert (bool(finite), said) == (given, not given)
