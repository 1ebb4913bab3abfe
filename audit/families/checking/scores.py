"""The laws of the Fisher information: the covariance of the score, row by row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.families.checking.points import log_density, points_of, scores
from audit.families.checking.subject import (
    BLURRED,
    DRAWS,
    ERRORS,
    INTEGRATED,
    RESOLVED,
    SUMMED,
    Subject,
    gram,
)
from audit.families.continuous import Continuous
from audit.families.draws import draws_of
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise

_LOST = 1e-2  # of the mass
_ROOTS = ("fisher_root", "transport_root", "wasserstein_root", "linear_root")


def fisher_is_the_covariance_of_draws_scores(it: Subject) -> None:
    """BᵀB is the covariance of the score, over draws of the law's own sampler."""
    law = f"BᵀB = E[s sᵀ], within {ERRORS} errors of the mean over {DRAWS} draws"
    root = it.root("fisher_root")
    if root is None:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(it.seed)
        copies = it.first().expand(DRAWS, -1)
        points = it.law.distribution(copies).sample()
    score = scores(it, points, it.first())
    _mean_is(it, law, gram(root)[0], score.unsqueeze(-1) * score.unsqueeze(-2))


def fisher_is_the_sum_over_all_outcomes(it: Subject) -> None:
    """BᵀB is the covariance of the score, summed or integrated over all outcomes."""
    one = it.alone()
    root = one.root("fisher_root")
    summed = one.law.discrete or one.numbers == 1
    if root is None or not summed or (one.numbers > 1 and not _enumerable(one)):
        return
    points, weights = points_of(one)
    log_q = log_density(one, points, one.first())
    mass = weights * log_q.exp()
    total, law = mass.sum().item(), "the density sums to one over all outcomes"
    one.demand(abs(total - 1) < _LOST, law, 1, total)
    if abs(total - 1) > RESOLVED:  # too rough for these nodes: draws have to do
        return
    score = torch.where(mass.unsqueeze(-1) > 0, scores(one, points, one.first()), 0.0)
    found, tensor = (score.mT * mass) @ score, gram(root)[0]
    tolerance = SUMMED if one.law.discrete else INTEGRATED
    size = tensor.diagonal().sqrt()
    gap = (found - tensor).abs() / (size * size.unsqueeze(-1))
    law = "BᵀB = E[s sᵀ], summed over all outcomes"
    one.demand((gap < tolerance).all(), law, found, tensor)


def blocks_are_those_of_quadrature(it: Subject) -> None:
    """A closed form of one coordinate is what the quadrature of its density gives."""
    if not isinstance(it.law, Continuous):
        return
    parameters = it.law.split(it.phi.detach())
    blocks = ("fisher_block", "transport_block") if draws_on_its_line(it) else ()
    for name in blocks:
        if it.root(name.replace("block", "root")) is None:
            continue
        own = getattr(it.law, name)(parameters)
        integrated = getattr(Continuous, name)(it.law, parameters)
        ours, theirs = own.mT @ own, integrated.mT @ integrated
        known = torch.isfinite(theirs) & torch.isfinite(ours)
        close = torch.isclose(ours, theirs, rtol=1e-5, atol=1e-9) | ~known
        law = f"{name} is what the quadrature of the law's own density gives"
        it.demand(close.all(), law, theirs, ours)


def roots_are_wide_finite_and_alone(it: Subject) -> None:
    """A root is [N, r, p] in float64, no NaN in it, and the same for a row alone."""
    for kind in _ROOTS:
        root = it.root(kind)
        if root is None:
            continue
        law = f"{kind} is [N, r, p] in float64, the same for a row alone"
        shape, wanted = list(root.shape), [len(it.phi), root.shape[1], it.law.size]
        it.demand(shape == wanted, law, wanted, shape)
        entries = root.dense()
        it.demand(entries.dtype == torch.float64, law, torch.float64, entries.dtype)
        it.demand(not entries.isnan().any(), law, "numbers, or ∞", entries)
        _alone(it, law, kind, root)
    fisher = it.root("fisher_root")
    if fisher is not None:
        rows = fisher.shape[1]
        law = "a root has no more rows than parameters"
        it.demand(rows <= it.law.size, law, f"at most {it.law.size}", rows)


def draws_are_keyed_by_their_input(it: Subject) -> None:
    """Draws are those of (seed, index), whatever the batch; another seed has others."""
    law = "draws depend on (seed, index) alone"
    index = np.array([7, 2, 40][: len(it.phi)], dtype=np.int64)
    phi = it.phi.detach()[: len(index)]
    together = draws_of(it.law, phi, Noise(1, index, 8)).values
    for row in range(len(index)):
        alone = draws_of(it.law, phi[row : row + 1], Noise(1, index[row : row + 1], 8))
        same = torch.equal(alone.values[:, 0], together[:, row])
        it.demand(same, law, together[:, row], alone.values[:, 0])
    other = draws_of(it.law, phi, Noise(2, index, 64)).values
    first = draws_of(it.law, phi, Noise(1, index, 64)).values
    it.demand(not torch.equal(other, first), law, "other draws for another seed", first)


def draws_on_its_line(it: Subject) -> bool:
    """Whether the density of the quadrature is that of θ, and not of a shifted one."""
    law, rows = it.law, it.alone().first()
    assert isinstance(law, Continuous)
    center, width = law.bulk(rows)
    y = center + width * torch.linspace(-1, 1, 5, dtype=torch.float64)
    own = law.law(rows.unsqueeze(1).unbind(-1)).log_prob(law.chart.point(y))
    return torch.allclose(law.log_density(y, rows), own + law.chart.log_slope(y))


def _alone(it: Subject, law: str, kind: str, root: LinearOperator) -> None:
    measured = _length if kind == "linear_root" else gram
    together = torch.nan_to_num(measured(root), posinf=-1.0)
    parts = [measured(getattr(it.law, kind)(row[None])) for row in it.phi]
    alone = torch.nan_to_num(torch.cat(parts), posinf=-1.0)
    close = torch.allclose(together, alone, rtol=1e-9, atol=1e-12)
    it.demand(close, law, alone, together)


def _length(root: LinearOperator) -> Tensor:
    """Return ‖B δ‖₁ [N, 8] for some δ: the law of a linear root."""
    steps = torch.linspace(-1, 1, 8 * root.shape[2], dtype=torch.float64)
    some = steps.reshape(root.shape[2], 8).expand(root.shape[0], -1, -1)
    return root.matmat(some).abs().sum(1)


def _mean_is(it: Subject, law: str, tensor: Tensor, products: Tensor) -> None:
    error = products.std(0) / DRAWS**0.5
    sharp = (error.diagonal() < BLURRED * tensor.diagonal()).all()
    it.demand(sharp, law, "draws that tell it (try other parameters)", error)
    gap = (products.mean(0) - tensor).abs()
    holds = (gap <= ERRORS * error + 1e-9 * tensor.abs().max()).all()
    it.demand(holds, law, products.mean(0), tensor)


def _enumerable(it: Subject) -> bool:
    return bool(it.law.distribution(it.first()).has_enumerate_support)


LAWS = (
    fisher_is_the_covariance_of_draws_scores,
    fisher_is_the_sum_over_all_outcomes,
    blocks_are_those_of_quadrature,
    roots_are_wide_finite_and_alone,
    draws_are_keyed_by_their_input,
)
