"""Points and weights at which a law of one number is summed, whatever it is.

Nothing of the law is used but draws, the support and log q: for integers, all of them
that carry mass; for real numbers, Gauss-Legendre nodes on panels whose ends are the
draws' own quantiles, then twice and twice as far, or half and half as near to an end of
the support. A mass that is not one tells that the points do not resolve the law.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from audit.families.checking.subject import Subject

Floats = NDArray[np.float64]
_PANELS, _NODES, _TAILS = 128, 16, 60
_LONGEST = 1 << 17
_X, _W = np.polynomial.legendre.leggauss(_NODES)


def points_of(it: Subject, draws: int = 20_000) -> tuple[Tensor, Tensor]:
    """Return θ [K, *event] and weights [K] for the first input's law."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(it.seed)
        drawn = it.law.distribution(it.first())
        sample = drawn.sample(torch.Size((draws,)))
    if it.law.discrete and drawn.has_enumerate_support:
        points = drawn.enumerate_support()[:, 0]
        return points, torch.ones(len(points), dtype=torch.float64)
    flat = sample.reshape(-1).double().sort().values
    x, weights = _integers(flat) if it.law.discrete else _panels(flat, *ends(drawn))
    inside = _inside(drawn, x.reshape(-1, *it.law.event_shape))
    return x[inside].reshape(-1, *it.law.event_shape), weights[inside]


def log_density(it: Subject, points: Tensor, phi: Tensor) -> Tensor:
    """Return log q [K] at θ [K, *event] for φ [1, p] or [K, p]."""
    many = phi.expand(len(points), -1)
    found: Tensor = it.law.distribution(many).log_prob(points)
    return found


def scores(it: Subject, points: Tensor, phi: Tensor) -> Tensor:
    """Return ∇_φ log q [K, p] at θ [K, *event]."""
    many = phi.expand(len(points), -1).clone().requires_grad_()
    total = it.law.distribution(many).log_prob(points).sum()
    (found,) = torch.autograd.grad(total, many)
    return found


def ends(drawn: Distribution) -> tuple[float, float]:
    """Return where the support ends, infinite where it does not."""
    try:
        support = drawn.support
    except NotImplementedError:
        return -np.inf, np.inf
    base = getattr(support, "base_constraint", support)
    low, high = (getattr(base, f"{end}_bound", None) for end in ("lower", "upper"))
    return (
        -np.inf if low is None else float(torch.as_tensor(low).reshape(-1)[0]),
        np.inf if high is None else float(torch.as_tensor(high).reshape(-1)[0]),
    )


def _integers(sample: Tensor) -> tuple[Tensor, Tensor]:
    low, high = int(sample[0]), int(sample[-1])
    reach = min(_LONGEST, 2 * (high - low) + 64)
    points = torch.arange(low - reach, high + reach + 1, dtype=torch.float64)
    return points, torch.ones_like(points)


def _panels(sample: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    levels = np.linspace(0, 1, _PANELS + 1)[1:-1]
    inner = np.unique(np.quantile(sample.numpy(), levels))
    below = _outwards(inner[0], inner[len(inner) // 2], low)
    above = _outwards(inner[-1], inner[len(inner) // 2], high)
    edges = np.unique(np.concatenate([below, inner, above]))
    half = np.diff(edges) / 2
    middle = np.array([(a + b) / 2 for a, b in pairwise(edges)])
    x = (middle[:, None] + half[:, None] * _X).reshape(-1)
    return torch.from_numpy(x), torch.from_numpy((half[:, None] * _W).reshape(-1))


def _outwards(last: float, middle: float, end: float) -> Floats:
    powers = 2.0 ** np.arange(1, _TAILS + 1)
    if np.isfinite(end):
        return np.append(end + (last - end) / powers, end)
    return np.asarray(middle + (last - middle) * powers)


def _inside(drawn: Distribution, points: Tensor) -> Tensor:
    """Return which of the points θ [K, *event] the support holds."""
    try:
        support = drawn.support
    except NotImplementedError:
        support = None
    if support is None:
        return torch.ones(len(points), dtype=torch.bool)
    inside: Tensor = support.check(points)  # type: ignore[no-untyped-call]
    low, high = ends(drawn)
    inside = inside & (points > low) & (points < high) if np.isfinite(high) else inside
    return inside.reshape(len(points), -1).all(1)
