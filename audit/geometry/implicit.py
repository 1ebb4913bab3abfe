"""Metric tensors and exact values of a law that is only a function.

The Fisher information is the covariance of the score, not its second moment: for a
normalised q and draws from q the mean score m is zero, and subtracting it changes
nothing. Where the file's q is not normalised, log Z(x) moves with x, m = ∇ log Z, and
the covariance is still that of the law q/Z. A mean far from zero says that the draws
or the normalisation do not belong to the density.

Subtracting the mean m̄ takes E[m̄ m̄ᵀ] away from F, which for U independent units with
means c_u (after centring) is estimated without bias by Σ_u c_u c_uᵀ / (U(U − 1)). With
d_s what is left of a score when its unit's mean is subtracted too,

    (1/S) Σ_s d_s d_sᵀ + (1/U) Σ_u c_u c_uᵀ + Σ_u c_u c_uᵀ / (U(U − 1))

is the mean of (d_s + √(U/(U−1)) c_u)(…)ᵀ over draws: the units' means are stretched by
that much. For independent draws this is the division by S − 1.

A divergence E_q[g(q'/q)] between unnormalised densities needs Z'/Z = E_q[q'/q], which
is estimated from the same draws. Where both are normalised that is a control variate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.families.implicit import ImplicitFamily, Nodes
from audit.geometry.divergences import Divergence, Pointwise, Tensors
from audit.linalg.operators import Averaged, Sampled
from audit.linalg.sampled import mean_over_units
from audit.noise import Noise

_TAIL, _SHARE = 1e-6, 1e-2  # of the mass, and of an integral


def implicit_root(
    divergence: Divergence, family: ImplicitFamily, phi: Tensor, noise: Noise
) -> Averaged:
    """Return the root of a divergence's metric tensor, an average over nodes.

    Raises:
        NoFisher, NoTransport: the file does not compute what the tensor needs.
    """
    refuse_missing(divergence, family)
    if divergence.tensor is Tensors.FISHER:
        return _fisher_root(family, phi, noise)
    return _transport_root(family, phi, noise)


def refuse_missing(divergence: Divergence, family: ImplicitFamily) -> None:
    """Raise where the file does not compute what a divergence needs.

    Raises:
        NoFisher, NoTransport: with what is missing.
    """
    match divergence.tensor:
        case Tensors.FISHER:
            family.density()
        case Tensors.TRANSPORT:
            family.map()
        case Tensors.WASSERSTEIN:
            family.wasserstein_root(torch.empty(0))


def _fisher_root(family: ImplicitFamily, phi: Tensor, noise: Noise) -> Averaged:
    """Return centred scores [N, S, p] over √S, or times √w at weighted nodes."""
    family.density()
    nodes = family.nodes(phi, noise)
    scores = family.scores(nodes.targets, phi)  # [S, N, p]
    if nodes.weights is not None:
        weights = nodes.weights.unsqueeze(-1)
        scores = torch.where(weights > 0, scores, 0.0)
        mean = (weights * scores).sum(dim=0)
        rows = weights.sqrt() * (scores - mean)
        return Averaged(rows.transpose(0, 1), mean, nodes.checks)
    mean = scores.mean(dim=0)
    rows = _unbiased(scores - mean, nodes.unit) / math.sqrt(len(scores))
    return Sampled(rows.transpose(0, 1).contiguous(), mean, nodes.checks, 1, nodes.unit)


def _unbiased(centred: Tensor, unit: int) -> Tensor:
    """Return centred scores [S, N, p] with their units' means stretched."""
    units = centred.reshape(-1, unit, *centred.shape[1:])  # [U, unit, N, p]
    means = units.mean(dim=1, keepdim=True)
    stretch = math.sqrt(len(units) / (len(units) - 1))
    return (units + (stretch - 1) * means).flatten(0, 1)


def _transport_root(family: ImplicitFamily, phi: Tensor, noise: Noise) -> Sampled:
    """Return Jacobians [N, S·n, p] over √S, n rows for each draw of z."""
    _, base = family.map()
    points = base.points(noise)
    jacobians = family.jacobians(points.values, phi)  # [S, N, n, p]
    draws = len(jacobians)
    rows = jacobians.transpose(0, 1).flatten(1, 2) / math.sqrt(draws)
    return Sampled(rows, draw=family.n, unit=points.unit)


def implicit_reference(
    divergence: Divergence, family: ImplicitFamily, phi: Tensor, noise: Noise
) -> _OfDensity | _OfTransport | None:
    """Return the laws at φ [N, p + c], ready to be compared under a divergence.

    Returns:
        None where the divergence is no mean over θ or z.
    """
    if divergence.tensor is Tensors.TRANSPORT:
        return _OfTransport(family, phi, noise)
    if divergence.pointwise is None:
        return None
    return _OfDensity(divergence.pointwise, family, phi, noise)


class _OfDensity:
    """Means of g(q'/q) over nodes of q; nodes and log q are computed once."""

    def __init__(
        self, pointwise: Pointwise, family: ImplicitFamily, phi: Tensor, noise: Noise
    ) -> None:
        self.pointwise, self.family = pointwise, family
        self.nodes = family.nodes(phi, noise)
        self.here = family.log_prob(self.nodes.targets, phi)
        self.sampled = self.nodes.weights is None

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') and its standard error [k, M], for φ' [k, M, p + c]."""
        nodes, here = _taken(self.nodes, rows), self.here[:, rows]
        columns = []
        for other in others.unbind(dim=1):
            log_ratio = self.family.log_prob(nodes.targets, other) - here
            if nodes.weights is not None:
                log_ratio = torch.where(nodes.weights > 0, log_ratio, 0.0)
            log_ratio = log_ratio - _log_mean(log_ratio, nodes)
            columns.append(_mean(self.pointwise(log_ratio), nodes))
        values, errors = zip(*columns, strict=True)
        return torch.stack(values, dim=1), torch.stack(errors, dim=1)


class _OfTransport:
    """E‖T(φ, z) − T(φ', z)‖² over common z; T(φ, z) is computed once."""

    sampled = True

    def __init__(self, family: ImplicitFamily, phi: Tensor, noise: Noise) -> None:
        _, base = family.map()
        self.family, self.points = family, base.points(noise)
        self.here = family.push(self.points.values, phi)

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance and its standard error [k, M], for φ' [k, M, p + c]."""
        z, here = self.points.values[:, rows], self.here[:, rows]
        nodes = Nodes(here, unit=self.points.unit)
        columns = []
        for other in others.unbind(dim=1):
            moved = self.family.push(z, other) - here
            columns.append(_mean(moved.square().sum(dim=-1), nodes))
        values, errors = zip(*columns, strict=True)
        return torch.stack(values, dim=1), torch.stack(errors, dim=1)


def _taken(nodes: Nodes, rows: Tensor) -> Nodes:
    """Return the nodes of some inputs."""
    weights = None if nodes.weights is None else nodes.weights[:, rows]
    return Nodes(nodes.targets[:, rows], weights, nodes.unit)


def _log_mean(log_ratio: Tensor, nodes: Nodes) -> Tensor:
    """Return log E_q[q'/q] [N]."""
    if nodes.weights is None:
        return torch.logsumexp(log_ratio, dim=0) - math.log(len(log_ratio))
    return torch.logsumexp(log_ratio + nodes.weights.log(), dim=0)


def _mean(samples: Tensor, nodes: Nodes) -> tuple[Tensor, Tensor]:
    """Return the mean over nodes [S, N] and its standard error."""
    if nodes.weights is not None:
        return _integral(samples, nodes.weights)
    found = mean_over_units(samples.T / len(samples), nodes.unit)
    assert found.standard_error is not None
    return found.value, found.standard_error


def _integral(samples: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ w g [N] and no error; infinite where the nodes' tail carries it.

    Nodes lie where q has its mass. An integral that gets a hundredth from the last
    millionth of that mass goes on beyond them, perhaps for ever.
    """
    weighted = torch.where(weights > 0, samples * weights, 0.0)
    order = weights.argsort(dim=0)
    tail = weights.gather(0, order).cumsum(dim=0) < _TAIL
    beyond = torch.where(tail, weighted.gather(0, order).abs(), 0.0).sum(dim=0)
    total = weighted.sum(dim=0)
    open_end = beyond > _SHARE * weighted.abs().sum(dim=0)
    return total.masked_fill(open_end, torch.inf), torch.zeros_like(total)
