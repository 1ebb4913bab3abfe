"""E[(s·w)²] of the scores s of torch's own law: a sum over values, or draws."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from audit.families.interface import Family
from audit.families.univariate import Univariate
from audit.nodes.noise import Noise

_DRAWS, _NUMBERS = 2**16, 2**21  # at most, and of their scores at the same time
_STREAM = 14  # of the noise
_FIRST, _MOST = 64, 2**17  # values that are listed
_LOST = 1e-11  # of the mass


@dataclass(frozen=True)
class Moments:
    """E[(s·w)²] along K directions at n inputs.

    Args:
        mean: [n, K]; NaN where it cannot be told. error: of it [n, K], 0 for sums.
        low: whether too small a mean tells something.
        how: it was found.
    """

    mean: Tensor
    error: Tensor
    low: bool
    how: str


def by_values(family: Family, phi: Tensor, w: Tensor) -> Moments | None:
    """Return sums over the values of a discrete law; None for others.

    Shapes: phi [n, p], w [n, K, p].
    """
    if not family.discrete:
        return None
    n, count, _ = w.shape
    if isinstance(family, Univariate):  # independent coordinates, one by one
        single = family.reshaped(dict.fromkeys(family.parameters, ()))
        phi, parts = family.rows(phi), [family.rows(w[:, k]) for k in range(count)]
        w, family = torch.stack(parts, dim=1), single
    found = values_of(family, phi)
    if found is None:
        return None
    mean = torch.zeros(len(phi), count, dtype=phi.dtype, device=phi.device)
    for row in range(len(phi)):  # of three inputs, and their coordinates
        values, mass = found.values[:, row], found.mass[:, row]
        scores = _scores(family, phi[row], values)
        along = (scores @ w[row].mT).square()
        seen = torch.isfinite(along).all(dim=1)
        mean[row] = mass[seen] @ along[seen]
    mean = mean.reshape(n, -1, count).sum(dim=1)
    return Moments(mean, torch.zeros_like(mean), True, "a sum over its values")


def by_draws(family: Family, phi: Tensor, w: Tensor, noise: Noise) -> Moments | None:
    """Return means over draws of a continuous law; None where torch has no sampler."""
    if family.discrete:
        return None
    means, errors = [], []
    stratified = False
    draws = max(256, min(_DRAWS, _NUMBERS // phi.shape[1]))
    for row in range(len(phi)):  # each under a seed of its own
        seed = int(noise.generator(row, _STREAM).integers(2**62))
        law = family.distribution(phi[row : row + 1].cpu())
        stratified = isinstance(law, MixtureSameFamily)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                strata = _strata(law, draws)
            except NotImplementedError:
                return None
        mean, variance = torch.zeros_like(w[0, :, 0]), torch.zeros_like(w[0, :, 0])
        for share, targets in strata:
            along = _scores(family, phi[row], targets.to(phi.device)) @ w[row].mT
            squares = along.square()
            mean = mean + share * squares.mean(dim=0)
            variance = variance + share**2 * squares.var(dim=0) / len(squares)
        means.append(mean)
        errors.append(variance.sqrt())
    composed = ":" in family.name or "," in family.name
    how = f"{draws} draws an input"
    low = stratified or not composed
    return Moments(torch.stack(means), torch.stack(errors), low, how)


def _strata(law: Distribution, draws: int) -> list[tuple[float, Tensor]]:
    """Return (share, θ [S, *event]) of one input: of each component, else of all."""
    if not isinstance(law, MixtureSameFamily):
        return [(1.0, law.sample(torch.Size((draws,)))[:, 0])]
    shares = law.mixture_distribution.probs[0]
    each = max(256, draws // len(shares))
    targets = law.component_distribution.sample(torch.Size((each,)))[:, 0]
    return [(float(shares[k]), targets[:, k]) for k in range(len(shares))]


def _scores(family: Family, phi: Tensor, targets: Tensor) -> Tensor:
    """Return ∇_φ log q [S, p] at θ [S, *event], for one φ [p]."""
    leaf = phi.detach().expand(len(targets), -1).clone().requires_grad_()
    total = family.distribution(leaf).log_prob(targets).sum()
    (scores,) = torch.autograd.grad(total, leaf)
    return scores


@dataclass(frozen=True)
class Values:
    """Values [K, n, *event] of n laws, and their masses [K, n], which sum to one."""

    values: Tensor
    mass: Tensor


def values_of(family: Family, phi: Tensor) -> Values | None:
    """Return the values of the laws at φ [n, p]; None where they cannot be listed.

    They are those that torch enumerates, else 0, 1, 2, … as far as the mass goes.
    """
    law = family.distribution(phi)
    base = law.base_dist if isinstance(law, Independent) else law
    with suppress(NotImplementedError):
        if law.event_shape.numel() == 1 or base is law:
            listed = base.enumerate_support()
            return _whole(family, phi, listed)
    if law.event_shape.numel() != 1:
        return None
    count = _FIRST
    while count <= _MOST:
        grid = torch.arange(count, dtype=phi.dtype, device=phi.device)
        shape = (count, *[1] * (1 + len(law.event_shape)))
        grid = grid.reshape(shape).expand(count, len(phi), *law.event_shape)
        found = _whole(family, phi, grid)
        if found is not None:
            return found
        count *= 4
    return None


def _whole(family: Family, phi: Tensor, values: Tensor) -> Values | None:
    """Return values [K, n, *event] with their masses; None if mass is elsewhere."""
    try:
        mass = family.distribution(phi).log_prob(values).exp()
    except (IndexError, RuntimeError, ValueError):
        return None  # the law has no such values
    off = (mass.sum(dim=0) - 1).abs()
    return Values(values, mass) if bool((off < _LOST).all()) else None
