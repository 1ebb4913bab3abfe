"""Exact divergences between laws that are only functions.

A divergence E_q[g(q'/q)] between unnormalised densities needs Z'/Z = E_q[q'/q], which
is estimated from the same draws. Where both are normalised that is a control variate.

Between the samples of two maps the distance is E‖T(φ, z) − T(φ', z)‖² over common z.
Whatever depends on φ alone is computed once, for all φ' that it is compared with.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from audit.families.balanced import Side, balanced
from audit.families.computed import ComputedFamily
from audit.families.givers import Nodes
from audit.families.implicit_roots import map_speed
from audit.families.references import Exchanged
from audit.families.tensors import Comparable, Pointwise, Tensors
from audit.linalg.sampled import mean_over_units
from audit.nodes.noise import Noise
from audit.nodes.noise_draws import noise_draws

_TAIL, _SHARE = 1e-6, 1e-2  # of the mass, and of an integral


def implicit_reference(
    divergence: Comparable, family: ComputedFamily, phi: Tensor, noise: Noise
) -> _OfDensity | _OfTransport | _WhereItMoves | Exchanged | None:
    """Return the laws at φ [N, p + c], ready to be compared under a divergence.

    Returns:
        None where the divergence is no mean over θ or z, or one over the moved law, of
        which nothing gives θ.
    """
    if divergence.tensor is Tensors.TRANSPORT:
        _, base = family.map()
        of = _OfTransport if base.law is None else _WhereItMoves
        return of(family, phi, noise)
    if divergence.pointwise is not None:
        return _OfDensity(divergence.pointwise, family, phi, noise)
    source = family.source
    if divergence.exchanged is None or source is None or not source.follows:
        return None
    look = partial(_OfDensity, divergence.exchanged, family)
    return Exchanged(look, phi, noise, sampled=not source.weighted)


class _OfDensity:
    """Means of g(q'/q) over nodes of q; nodes and log q are computed once."""

    def __init__(
        self, pointwise: Pointwise, family: ComputedFamily, phi: Tensor, noise: Noise
    ) -> None:
        self.pointwise, self.family = pointwise, family
        self.phi, self.noise = phi, noise
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
        values, errors = (torch.stack(c, dim=1) for c in zip(*columns, strict=True))
        return self._looked_at_again(values, rows, others), errors

    def _looked_at_again(self, values: Tensor, rows: Tensor, others: Tensor) -> Tensor:
        """Return D [k, M], from the nodes of both laws where those of q do not do."""
        source = self.family.source
        if self.sampled or source is None or not source.follows:
            return values
        k, column = torch.isinf(values).nonzero().unbind(dim=1)
        if not len(k):
            return values
        at, other = rows[k], others[k, column]
        here, there = self.phi[at], self._nodes_of(other, at)
        ours = _taken(self.nodes, at)
        sides = [
            Side(log_ratio(self.family, each, here, other), each)
            for each in (ours, there)
        ]
        return values.index_put((k, column), balanced(self.pointwise, *sides))

    def _nodes_of(self, other: Tensor, rows: Tensor) -> Nodes:
        index = self.noise.index[rows.cpu().numpy()]
        return self.family.nodes(other, replace(self.noise, index=index))


def log_ratio(
    family: ComputedFamily, nodes: Nodes, phi: Tensor, other: Tensor
) -> Tensor:
    """Return log q'/q [S, N] at nodes of either; 0 where they weigh nothing."""
    assert nodes.weights is not None
    here, there = (family.log_prob(nodes.targets, law) for law in (phi, other))
    return torch.where(nodes.weights > 0, there - here, 0.0)


class _OfTransport:
    """E‖T(φ, z) − T(φ', z)‖² over common z; T(φ, z) is computed once."""

    sampled = True

    def __init__(self, family: ComputedFamily, phi: Tensor, noise: Noise) -> None:
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


class _WhereItMoves:
    """The same distance over z that are drawn where the map moves (`noise_draws`)."""

    sampled = True

    def __init__(self, family: ComputedFamily, phi: Tensor, noise: Noise) -> None:
        _, base = family.map()
        assert base.law is not None
        self.family = family
        speed = map_speed(family, phi)
        self.drawn = noise_draws(base.law, base.size, speed, noise)
        self.z = torch.cat([self.drawn.points, self.drawn.outlook.z]).to(phi.device)
        self.here = family.push(self.z, phi)

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance and its standard error [k, M], for φ' [k, M, p + c]."""
        z, here, drawn = (
            self.z[:, rows],
            self.here[:, rows],
            self.drawn.take(rows.cpu()),
        )
        count = len(drawn.points)
        columns = []
        for other in others.unbind(dim=1):
            squares = (self.family.push(z, other) - here).square().sum(dim=-1).cpu()
            columns.append(drawn.mean(squares[:count], squares[count:]))
        values, errors = (torch.stack(c, dim=1) for c in zip(*columns, strict=True))
        return values.to(others.device), errors.to(others.device)


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
    millionth of that mass goes on beyond them, perhaps for ever: see `balanced`.
    """
    weighted = torch.where(weights > 0, samples * weights, 0.0)
    order = weights.argsort(dim=0)
    tail = weights.gather(0, order).cumsum(dim=0) < _TAIL
    beyond = torch.where(tail, weighted.gather(0, order).abs(), 0.0).sum(dim=0)
    total = weighted.sum(dim=0)
    open_end = beyond > _SHARE * weighted.abs().sum(dim=0)
    return total.masked_fill(open_end, torch.inf), torch.zeros_like(total)
