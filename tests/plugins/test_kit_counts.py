"""Counts written from the page alone, and what the kit notices of them.

The laws are the logarithmic series on 0, 1, 2, …, p(k) = p^{k+1} / ((k+1) |ln(1 − p)|),
and the beta-binomial law of 6 trials, which has two parameters. Their tensors are held
against scipy's masses.
"""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as td

from audit.families.checking import counts, subject_of
from audit.formats.pages import page
from audit.plugins import Continuous, Lattice, Law, Summed
from audit.testing import LawBroken, check_law

TRIALS = 6
SERIES = {"probs": [[0.3, 0.7], [0.5, 0.9]]}
TRIALLED = {"a": [[0.7], [3.0]], "b": [[1.5], [2.0]]}


class Draws(td.Distribution):
    """Draws of shape [*shape, *batch]."""

    arg_constraints, support = {}, td.constraints.nonnegative_integer

    def __init__(self, batch, draw):
        self.draw = draw
        super().__init__(batch, validate_args=False)

    def sample(self, shape=()):
        return self.draw(torch.Size(shape))


class LogSeries(Lattice):
    """The logarithmic series, counted from 0."""

    parameterizations = (("probs",),)

    def log_mass(self, k, parameters):
        (p,) = parameters
        return (k + 1) * p.log() - (k + 1).log() - (-torch.log1p(-p)).log()

    def log_change(self, k, left, right):
        (p,), (q,) = left, right
        return (k + 1) * (q / p).log() - (torch.log1p(-q) / torch.log1p(-p)).log()

    def mass_slopes(self, k, parameters):
        (p,) = parameters
        score = (k + 1) / p + 1 / ((1 - p) * torch.log1p(-p))
        return (self.log_mass(k, parameters).exp() * score)[..., None]

    def window(self, parameters):
        (p,) = parameters
        return torch.zeros_like(p), (-46 / p.log()).ceil()

    def sampler(self, parameters):
        """Kemp (1981): ⌊ln u / ln r⌋ with r = 1 − (1 − p)^v."""
        (p,) = parameters

        def draw(shape):
            u, v = torch.rand(2, *shape, *p.shape, dtype=p.dtype)
            return (u.log() / (-torch.expm1(v * torch.log1p(-p))).log()).floor()

        return Draws(p.shape, draw)

    def mean_slope(self, parameters):
        (p,) = parameters
        log = torch.log1p(-p)
        return ((1 + p / log) / ((1 - p) ** 2 * log)).abs()

    def fisher_block(self, parameters):
        (p,) = parameters
        log = torch.log1p(-p)
        return ((-p * (p + log)).sqrt() / ((1 - p) * -log) / p)[..., None, None]


class BetaBinomial(Summed):
    """Successes in six trials whose probability is a beta draw."""

    parameterizations = (("a", "b"),)
    positive = ("a", "b")

    def log_mass(self, k, parameters):
        a, b = parameters
        ways = stats.binom(TRIALS, 0.5).logpmf(k.numpy()) + TRIALS * np.log(2)
        return torch.from_numpy(ways) + _log_beta(a + k, b + TRIALS - k, a, b)

    def log_change(self, k, left, right):
        return self.log_mass(k, right) - self.log_mass(k, left)

    def mass_slopes(self, k, parameters):
        a, b = parameters
        digamma, total = torch.digamma, torch.digamma(a + b)
        rest = total - digamma(a + b + TRIALS)
        slopes = (
            digamma(a + k) - digamma(a) + rest,
            digamma(b + TRIALS - k) - digamma(b) + rest,
        )
        return self.log_mass(k, parameters).exp()[..., None] * torch.stack(slopes, -1)

    def window(self, parameters):
        a, _ = parameters
        return torch.zeros_like(a), torch.full_like(a, TRIALS)

    def sampler(self, parameters):
        law = td.Beta(*parameters)
        return Draws(
            law.batch_shape,
            lambda shape: td.Binomial(TRIALS, law.sample(shape)).sample(),
        )


def _log_beta(x, y, a, b):
    """Return ln B(x, y) − ln B(a, b)."""
    ours = torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)
    return ours - (torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b))


@pytest.mark.parametrize(("law", "at"), [(LogSeries, SERIES), (BetaBinomial, TRIALLED)])
def test_counts_from_the_page_keep_the_laws(law, at):
    check_law(law, at)


def test_their_fisher_information_is_the_sum_over_scipys_masses():
    a, b, k, h = 0.7, 1.5, np.arange(TRIALS + 1), 1e-4
    slopes = [
        (
            stats.betabinom.pmf(k, TRIALS, *(at + h * one))
            - stats.betabinom.pmf(k, TRIALS, *(at - h * one))
        )
        / (2 * h)
        for at, one in zip([np.array([a, b])] * 2, np.eye(2), strict=True)
    ]
    expected = (
        np.stack(slopes) / stats.betabinom.pmf(k, TRIALS, a, b) @ np.stack(slopes).T
    )
    root = BetaBinomial({"a": (), "b": ()}).fisher_root(torch.tensor([[a, b]]).double())
    entries = root.dense()[0].numpy()
    np.testing.assert_allclose(entries.T @ entries, expected, rtol=1e-6)


PLANTED = {
    "log_mass": (lambda own, k, p: own(k, p) + 1e-6, "add up to one"),
    "mass_slopes": (lambda own, k, p: -own(k, p), "mass_slopes is"),
    "mean_slope": (lambda own, p: 1.002 * own(p), "linear_root"),
    "window": (lambda own, p: (own(p)[0], (own(p)[1] / 4).ceil()), "add up to one"),
}


def hold(law, at):
    """Hold a law to those of counts alone: others notice some mistakes before."""
    for holds in counts.LAWS:
        holds(subject_of(law, at))


@pytest.mark.parametrize("hook", PLANTED)
def test_a_mistake_in_what_counts_state_is_noticed(hook):
    change, words = PLANTED[hook]
    own = getattr(LogSeries, hook)

    def planted(self, *given):
        return change(lambda *given: own(self, *given), *given)

    wrong = type("LogSeries", (LogSeries,), {hook: planted})
    with pytest.raises(LawBroken, match=words):
        hold(wrong, SERIES)


@pytest.mark.parametrize("base", [Continuous, Summed, Lattice, Law])
def test_the_page_names_every_hook_that_a_base_demands(base):
    words = page("family-plugin")
    assert base.__name__ in words
    assert [name for name in base.__abstractmethods__ if name not in words] == []
