"""What was found by draws says how far it is off: witnesses, and values along ±v."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as td

from audit import scan
from audit.formats import sides
from audit.reports.values import Values
from audit.verify import attacks, checks
from audit.verify.checked import Checked

W = torch.tensor([[0.9], [0.4]])
X = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
SIZES = (0.3, 1.0)


def logistic(x):
    """Return the logistic law around x W."""
    loc = (x @ W.to(x)).squeeze(-1)
    base = td.Uniform(torch.zeros_like(loc), torch.ones_like(loc))
    onto = [td.SigmoidTransform().inv, td.AffineTransform(loc, torch.ones_like(loc))]
    return td.TransformedDistribution(base, onto)


def kl(shift):
    """Return KL of two logistic laws that are so far apart."""
    p, q = stats.logistic(), stats.logistic(shift)
    return integrate.quad(lambda t: p.pdf(t) * (p.logpdf(t) - q.logpdf(t)), -60, 60)[0]


def test_means_over_draws_stand_with_their_standard_errors():
    report = scan(logistic, X, divergences=["kl"], sizes=SIZES, verify=6)
    for size in SIZES:
        truth = kl(size * float(W.norm()))
        for name in ("along", "witness"):
            value = report.rows[f"kl.{name}@{size:g}"]
            error = report.rows[f"kl.{name}@{size:g}_se"]
            assert (error > 0).all()
            assert (error < 0.2 * truth).all()
            assert (np.abs(value - truth) < 4 * error).all()
    said = sides.notes(report.record, "kl")
    assert any(one.startswith("±v and witnesses are means over draws") for one in said)


def test_closed_forms_have_none():
    def law(x):
        return td.Normal((x @ W.to(x)).squeeze(-1), 1.0)

    report = scan(law, X, divergences=["kl"], sizes=SIZES, verify=6)
    ends = [f"@{size:g}_se" for size in SIZES]
    assert not any(name.endswith(end) for name in report.rows for end in ends)
    assert not any("over draws" in one for one in sides.notes(report.record, "kl"))


def test_a_site_without_errors_joins_one_with_them():
    """Of inputs in two parts one may be known without an error, as one at rest is."""
    sure = Values.of(np.array([0.0, np.nan]))
    drawn, error = Values.of(np.array([1.0])), Values.of(np.array([0.1]))
    names = ("witness@1", "witness@1_se", "witness@1_lower")
    columns = dict(zip(names, (drawn, error, Values.of(np.array([0.8]))), strict=True))
    for parts in ([{names[0]: sure}, columns], [columns, {names[0]: sure}]):
        found = checks._joined([Checked(each) for each in parts])
        last = len(parts[0][names[0]]) == 1
        expected = {"witness@1": 1.0, "witness@1_se": 0.1, "witness@1_lower": 0.8}
        for name, number in expected.items():
            whole = [number, 0.0, np.nan] if last else [0.0, np.nan, number]
            np.testing.assert_array_equal(found[name].numbers, whole)


@pytest.mark.slow
def test_the_larger_of_two_noisy_means_is_not_what_is_printed():
    """Of both signs one is chosen by other draws than those that value it.

    150 copies of an input, each with its own draws: their mean was 7 standard errors
    above KL of the logistic laws, which both signs have.
    """
    size, many = 3.0, np.tile(X[:1], (150, 1))
    report = scan(
        logistic,
        many,
        divergences=["kl"],
        attacks=[f"fixed_norm:norm={size:g}"],
        verify=len(many),
        draws_per_input=256,
        sampling="random",
    )
    off = report.rows["kl.fixed_norm_realised"] - kl(size * float(W.norm()))
    spread = off.std(ddof=1)
    assert abs(off.mean()) < 3 * spread / len(off) ** 0.5
    error = report.rows["kl.fixed_norm_realised_se"]
    assert 0.75 < spread / np.sqrt((error**2).mean()) < 1.2


class Noisy:
    """D = |u| with an error, and with that of other draws."""

    def __init__(self, off, fresh=None):
        self.off, self.fresh = torch.tensor(off).double(), fresh or self

    def __call__(self, rows, u):
        sign = (u[:, :, 0] < 0).long()
        return u.norm(dim=2) + self.off[sign], torch.full(u.shape[:2], 0.5).to(u)


def test_the_sign_is_chosen_by_some_draws_and_valued_by_others():
    """Over ε of 1 and 3 in equal shares the mean is 2, and the noise .1 at +v."""
    exact = Noisy([0.1, 0.4], Noisy([0.3, -0.2]))
    v = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]).double()
    rule = torch.tensor([1.0, 3.0]).double(), torch.tensor([0.5, 0.5]).double()
    value, error = attacks._worst_of(exact, torch.zeros(1).long(), v, *rule)
    assert value.tolist() == pytest.approx([2.1])
    assert error.tolist() == [0.5]
