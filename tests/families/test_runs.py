"""Sums over integers with gaps, held against scipy and plain loops."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp, softmax

from audit.families import build_family
from audit.families.runs import Runs, alike


def test_runs_are_the_union_of_their_windows():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 60, size=(200, 4)).astype(float)
    last = first + rng.integers(0, 20, size=(200, 4))
    runs = Runs.of(torch.from_numpy(first), torch.from_numpy(last))
    longest = int(runs.length.max())
    found = runs.integers(torch.arange(200), longest)
    for row in range(200):
        windows = zip(first[row], last[row], strict=True)
        union = sorted({k for a, b in windows for k in range(int(a), int(b) + 1)})
        count = int(runs.length[row])
        assert found[row, :count].tolist() == union
        behind = np.arange(longest - count) + 1 + union[-1]
        assert found[row, count:].tolist() == behind.tolist()


def test_rows_are_summed_with_rows_of_about_their_own_length():
    lengths = torch.tensor([3.0, 1e6, 50.0, 4096.0, 5e3, 9e5])
    parts = [(rows.tolist(), longest) for rows, longest in alike(lengths)]
    assert sorted(k for rows, _ in parts for k in rows) == list(range(6))
    for rows, longest in parts:
        assert all(longest <= max(4096, 4 * lengths[k]) for k in rows)


def log_mixture(k, phi, law):
    weights, parts = phi[:2], phi[2:].reshape(-1, 2)
    masses = np.stack([law(k, *each) for each in parts.T], 1)
    return logsumexp(masses + np.log(softmax(weights)), axis=1)


COUNTS = {
    "poisson": (
        {"rate": (2, 1)},
        lambda k, rate: stats.poisson.logpmf(k, rate),
        [[0.0, 0.0, 2.0, 1e6], [0.0, 1.0, 2.1, 9e5], [0.3, 0.0, 30.0, 3.0]],
    ),
    "negative_binomial": (
        {"total_count": (2, 1), "component.probs": (2, 1)},
        lambda k, r, p: stats.nbinom.logpmf(k, r, 1 - p),
        [[0.0, 0.0, 3.0, 9e5, 0.2, 0.2], [0.0, 1.0, 3.1, 9.1e5, 0.2, 0.2]],
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_mixture_of_counts_far_apart_is_a_sum_with_a_gap(name):
    shapes, law, rows = COUNTS[name]
    family = build_family(f"mixture:{name}", {"logits": (2,), **shapes})
    named = np.split(np.array(rows), 1 + len(shapes), axis=1)  # two columns each
    values = {
        name: torch.from_numpy(v).reshape(-1, *shape)
        for (name, shape), v in zip(
            {"logits": (2,), **shapes}.items(), named, strict=True
        )
    }
    phi = family.pack(values)
    ours, theirs = phi[:1].expand(len(phi) - 1, -1), phi[1:]
    kl = family.kl(ours, theirs)
    k = np.r_[0:500, 150_000:1_150_000]
    for row, other in enumerate(rows[1:]):
        f, g = (log_mixture(k, np.array(each), law) for each in (rows[0], other))
        wanted = np.sum(np.exp(f) * (f - g))
        assert float(kl[row]) == pytest.approx(wanted, rel=1e-6)


def test_zeros_beside_large_counts_take_few_terms(monkeypatch):
    terms = []
    integers = Runs.integers

    def counted(self, rows, most):
        terms.append(most)
        return integers(self, rows, most)

    monkeypatch.setattr(Runs, "integers", counted)
    shapes = {"probs": (1,), "rate": (1,)}
    family = build_family("zero_inflated:poisson", shapes)
    phi = torch.tensor([[0.3, 1e6], [0.2, 7.0], [0.9, 1e6]]).double()
    other = torch.tensor([[0.31, 1.001e6], [0.1, 1e9], [0.9, 2.0]]).double()

    def log(k, row):
        share, rate = row.tolist()
        found = np.log(share) + stats.poisson.logpmf(k, rate)
        return np.where(k == 0, np.logaddexp(np.log1p(-share), found), found)

    kl = family.kl(phi, other)
    for row, k in enumerate((range(1_100_000), range(100), range(1_100_000))):
        k = np.array(k)
        f, g = log(k, phi[row]), log(k, other[row])
        wanted = np.sum(np.exp(f) * np.where(np.isneginf(f), 0.0, f - g))
        assert float(kl[row]) == pytest.approx(wanted, rel=1e-6)
    assert max(terms) < 50_000


@pytest.mark.parametrize("factor", [1.001, 1.5, 40.0])
def test_the_step_distance_of_large_rates_takes_what_carries_them_alone(factor):
    # such Poisson laws are normal to 1e-6 of their variances: W₂² in closed form
    rate = torch.tensor([[1e6]], dtype=torch.float64)
    family = build_family("poisson", {"rate": ()})
    found = family.transport_distance(rate, factor * rate).item()
    step, spread = 1e6 * (factor - 1), 1e6 * (factor**0.5 - 1) ** 2
    assert found == pytest.approx(step**2 + spread, rel=1e-5 / factor)
