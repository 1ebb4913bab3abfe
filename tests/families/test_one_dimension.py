"""Every one-dimensional law against scipy: tensors to 1e-6, divergences to 1e-8."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from audit.families import FAMILIES, build_family

from . import levels

MEMBERS = {
    "beta": [(0.7, 1.4), (5.0, 2.0)],
    "cauchy": [(0.3, 0.5), (-2.0, 3.0)],
    "exponential": [(0.4,), (3.0,)],
    "gamma": [(0.6, 0.5), (7.0, 2.0)],
    "gumbel": [(0.3, 0.5), (-2.0, 3.0)],
    "half_normal": [(0.4,), (3.0,)],
    "inverse_gamma": [(3.5, 0.5), (8.0, 2.0)],
    "log_normal": [(0.3, 0.5), (-2.0, 0.8)],
    "logistic": [(0.3, 0.5), (-2.0, 3.0)],
    "normal": [(0.3, 0.5), (-2.0, 3.0)],
    "pareto": [(2.8,), (9.0,)],
    "student_t": [(3.5, 0.3, 0.5), (12.0, -2.0, 3.0)],
    "weibull": [(0.5, 0.9), (2.0, 3.0)],
}
OPTIONS = {"pareto": {"scale": 1.5}}
CASES = [(name, phi) for name, members in MEMBERS.items() for phi in members]
each_law = pytest.mark.parametrize(("name", "phi"), CASES, ids=lambda v: str(v))


def family_of(name):
    names = FAMILIES[name].parameterizations[0]
    return build_family(name, dict.fromkeys(names, ()), **OPTIONS.get(name, {}))


def row(phi):
    return torch.tensor([phi], dtype=torch.float64)


def gram(root):
    entries = root.dense()[0]
    return (entries.mT @ entries).numpy()


def other_of(phi):
    return tuple(1.15 * value + 0.02 for value in phi)


def assert_close(ours, theirs, rtol):
    scale = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=rtol)


@each_law
def test_fisher_agrees_with_scipy(name, phi):
    ours = gram(family_of(name).fisher_root(row(phi)))
    assert_close(ours, levels.fisher(levels.LAWS[name], phi), 1e-6)


@each_law
def test_transport_agrees_with_scipy(name, phi):
    if name == "cauchy":
        pytest.skip("the second moment is infinite")
    ours = gram(family_of(name).transport_root(row(phi)))
    assert_close(ours, levels.transport(levels.LAWS[name], phi), 1e-6)


@each_law
def test_kl_agrees_with_scipy(name, phi):
    ours = family_of(name).kl(row(phi), row(other_of(phi))).item()
    theirs = levels.relative_entropy(levels.LAWS[name], phi, other_of(phi))
    assert ours == pytest.approx(theirs, rel=1e-8)


@each_law
@pytest.mark.parametrize("alpha", [0.3, 1.4])
def test_renyi_agrees_with_scipy(name, phi, alpha):
    other = other_of(phi)
    ours = family_of(name).renyi(row(phi), row(other), alpha).item()
    if not np.isfinite(ours):
        assert name == "weibull"
        assert alpha > 1
        return
    theirs = levels.renyi(levels.LAWS[name], phi, other, alpha)
    assert ours == pytest.approx(theirs, rel=1e-7)


@each_law
def test_jensen_shannon_agrees_with_scipy(name, phi):
    ours = family_of(name).jensen_shannon(row(phi), row(other_of(phi))).item()
    theirs = levels.jensen_shannon(levels.LAWS[name], phi, other_of(phi))
    assert ours == pytest.approx(theirs, rel=1e-7)


@each_law
def test_the_quantile_distance_agrees_with_scipy(name, phi):
    if name == "cauchy":
        pytest.skip("the second moment is infinite")
    ours = family_of(name).transport_distance(row(phi), row(other_of(phi))).item()
    theirs = levels.squared_distance(levels.LAWS[name], phi, other_of(phi))
    assert ours == pytest.approx(theirs, rel=1e-7)


@each_law
def test_log_density_and_draws_are_those_of_scipy(name, phi):
    torch.manual_seed(1)
    law = family_of(name).distribution(row(phi))
    draws = law.sample((400,))[:, 0].numpy()
    reference = levels.LAWS[name](*phi)
    ours = law.log_prob(torch.from_numpy(draws)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(ours, reference.logpdf(draws), rtol=1e-8, atol=1e-8)
    assert stats.kstest(draws, reference.cdf).pvalue > 1e-3


LAPLACE, OTHER = (0.3, 0.8), (1.0, 0.9)


def laplace_integral(function):
    inner = [LAPLACE[0], OTHER[0]]
    edges = [-60.0, *inner, 60.0]
    pieces = pairwise(edges)
    return sum(integrate.quad(function, a, b, epsrel=1e-12)[0] for a, b in pieces)


@pytest.mark.parametrize("alpha", [0.3, 1.05])
def test_renyi_of_laplace_laws_resolves_both_kinks(alpha):
    p, q = stats.laplace(*LAPLACE), stats.laplace(*OTHER)
    total = laplace_integral(
        lambda x: np.exp(alpha * p.logpdf(x) + (1 - alpha) * q.logpdf(x))
    )
    ours = family_of("laplace").renyi(row(LAPLACE), row(OTHER), alpha).item()
    assert ours == pytest.approx(np.log(total) / (alpha - 1), rel=1e-8)


def test_kl_of_laplace_laws_grows_with_a_cubic_term():
    steps = np.array([1e-2, 1e-3])
    family, start = family_of("laplace"), row((0.0, 1.0))
    exact = [family.kl(start, row((step, 1.0))).item() for step in steps]
    np.testing.assert_allclose(exact, np.exp(-steps) + steps - 1, rtol=1e-8)
    assert 1 - exact[0] / (steps[0] ** 2 / 2) == pytest.approx(steps[0] / 3, rel=1e-2)


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
    assert in_log_scale == pytest.approx(2 * df / (df + 3), rel=1e-12)


def test_cauchy_information_about_log_scale_is_one_half():
    root = family_of("cauchy").fisher_root(row((0.4, 2.7))).dense()[0]
    assert (root[:, 1] * 2.7).square().sum().item() == pytest.approx(0.5, rel=1e-12)
