"""No corner of a cube or of an ℓ₁ ball is above the witness, where all are seen."""

import itertools
import math

import numpy as np
import pytest
import torch
from scans import written

from audit.attacks.balls import Ball
from audit.verify import witness
from audit.verify.corners import MOST, _patterns
from audit.verify.witness import ascend
from verify.sited import sited

SIZES = torch.tensor([0.1, 0.3, 0.9]).double()
INPUTS, FEATURES, CLASSES = 12, 5, 4


def network(seed):
    torch.manual_seed(seed)
    layers = torch.nn.Linear(FEATURES, 8), torch.nn.Tanh(), torch.nn.Linear(8, CLASSES)
    return torch.nn.Sequential(*layers).double().requires_grad_(False)


def kl(first, second):
    """KL of two categorical laws by their logits, written out."""
    first, second = first.log_softmax(-1), second.log_softmax(-1)
    return (first.exp() * (first - second)).sum(-1)


def corners(p, m):
    if p == 1:
        return torch.cat([torch.eye(m), -torch.eye(m)]).double()
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=m))).double()


def highest_corner(net, x, size, p):
    """D at the best of all corners of the ball, by torch alone [n]."""
    with torch.no_grad():
        moved = net(x.unsqueeze(1) + size * corners(p, x.shape[1]))
        return kl(net(x).unsqueeze(1), moved).amax(dim=1)


def found_of(net, x, folder, p):
    given = {"family": "categorical", "parameters": {"logits": "output"}}
    exact, local, _ = sited(written(folder, net, x, given, divergences=("kl",)))
    return ascend(exact, local, SIZES, p)


@pytest.mark.parametrize("p", [math.inf, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_no_corner_is_higher_than_the_witness(seed, p, tmp_path):
    net, x = network(seed), np.random.default_rng(seed).normal(size=(INPUTS, FEATURES))
    found = found_of(net, x, tmp_path, p)
    for place, size in enumerate(SIZES):
        best = highest_corner(net, torch.from_numpy(x), size, p)
        assert bool((found.value[:, place] >= best * (1 - 1e-9)).all())
    assert bool((Ball(p).norm(found.u) <= SIZES * (1 + 1e-12)).all())


def test_climbs_alone_miss_some_corners_of_the_cube(tmp_path, monkeypatch):
    """Else the look at neighbours would be for nothing."""
    monkeypatch.setattr(witness, "at_corners", lambda climbers, found: found)
    low = 0
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        net = network(seed)
        x = np.random.default_rng(seed).normal(size=(INPUTS, FEATURES))
        found = found_of(net, x, tmp_path / str(seed), math.inf)
        for place, size in enumerate(SIZES):
            best = highest_corner(net, torch.from_numpy(x), size, math.inf)
            low += int((found.value[:, place] < best * 0.98).sum())
    assert low > 0


@pytest.mark.parametrize(
    ("features", "count"), [(1, 1), (3, 7), (6, 63), (7, 63), (10, 55), (64, 64)]
)
def test_neighbours_are_all_that_differ_in_as_many_features_as_fit(features, count):
    """2^m − 1 of few features; Σ C(m, k) of the first k whose sum is at most `MOST`."""
    found = _patterns(features)
    assert found.shape == (count, features)
    assert len(found.unique(dim=0)) == count <= MOST
    assert bool((found.sum(1) > 0).all())


def test_more_features_than_may_be_looked_at_are_left_to_the_climb():
    assert not len(_patterns(MOST + 1))


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_the_local_law_is_largest_where_autograd_and_all_corners_say(p, tmp_path):
    """½ uᵀ Jᵀ (diag π − π πᵀ) J u at the best corner, or λ_max on the sphere."""
    net = network(3)
    x = torch.randn(INPUTS, FEATURES, generator=torch.Generator().manual_seed(1))
    x = x.double()
    given = {"family": "categorical", "parameters": {"logits": "output"}}
    config = written(tmp_path, net, x.numpy(), given, divergences=("kl",))
    _, local, _ = sited(config)
    u = local.worst_of(Ball(p))
    slopes = torch.stack([torch.autograd.functional.jacobian(net, one) for one in x])
    pi = net(x).softmax(-1)
    fisher = torch.diag_embed(pi) - pi.unsqueeze(2) * pi.unsqueeze(1)
    form = slopes.mT @ fisher @ slopes / 2
    if p == 2:
        largest = torch.linalg.eigvalsh(form)[:, -1]
    else:
        every = corners(p, FEATURES)
        largest = torch.einsum("kd,nde,ke->nk", every, form, every).amax(1)
    assert Ball(p).norm(u).tolist() == pytest.approx([1.0] * INPUTS)
    found = torch.einsum("nd,nde,ne->n", u, form, u)
    torch.testing.assert_close(found, largest, rtol=1e-6, atol=0)
