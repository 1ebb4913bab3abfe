"""Exact divergences between laws that are only functions.

A divergence E_q[g(q'/q)] between unnormalised densities needs Z'/Z. On nodes with
weights, and on draws that came with the data, it is the mean of q'/q. Where draws of
any law can be had, those of both bridge it and the divergence (`balanced`). Where both
are normalised it is a control variate.

Between the samples of two maps the distance is E‖T(φ, z) − T(φ', z)‖² over common z.
Whatever depends on φ alone is computed once, for all φ' that it is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from audit.families.balanced import Side, balanced, by_draws
from audit.families.computed import ComputedFamily
from audit.families.givers import Nodes
from audit.families.implicit_means import log_mean, mean, taken, together
from audit.families.implicit_roots import map_speed
from audit.families.references import (
    Exchanged,
    Mean,
    Reference,
    Whole,
    mean_of,
    within,
)
from audit.families.tensors import Comparable, Pointwise, Tensors
from audit.families.thinned_values import Thinned
from audit.nodes.noise import Noise
from audit.nodes.noise_draws import noise_draws

_UNSEEN, _OF_VALUE = 1e-6, 1e-3  # of q', and of D: a mass that q's nodes may not see
_DRIFT = 10.0  # times what q's mass is off by, so much may that of q' be
_WHOLE = 1e-7  # of a normalised law's mass, that may be missing


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
    source, of_draws = family.source, mean_of(divergence)
    follows = source is not None and source.follows
    if of_draws is not None and source is not None and follows and not source.weighted:
        return _OfBoth(of_draws, family, phi, noise)
    if divergence.pointwise is not None:
        return _OfDensity(divergence.pointwise, family, phi, noise)
    if divergence.exchanged is None or not follows:
        return None
    look = partial(_OfDensity, divergence.exchanged, family)
    return Exchanged(look, phi, noise)


class _OfDensity:
    """Means of g(q'/q) over nodes of q; nodes and log q are computed once."""

    def __init__(
        self, pointwise: Pointwise, family: ComputedFamily, phi: Tensor, noise: Noise
    ) -> None:
        self.pointwise, self.family = pointwise, family
        self.phi, self.noise = phi, noise
        self.nodes = family.nodes(phi, noise)
        known = self.nodes.log_density
        self.here = (
            family.log_prob(self.nodes.targets, phi) if known is None else known.to(phi)
        )
        self.sampled = self.nodes.weights is None

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') and its standard error [k, M], for φ' [k, M, p + c]."""
        values, errors = together(self._means, rows, others, len(self.here))
        return self._looked_at_again(values, rows, others), errors

    def guide(self) -> Reference | None:
        """Return None."""
        return None

    def lighter(self, points: int, fresh: bool) -> Reference | None:
        """Return the same by few of the nodes, where these are very many."""
        if self.sampled or not self.family.sums_scores:
            return None
        asked = self.pointwise, self.family, self.nodes, self.here, self.noise
        return Thinned(*asked, points, fresh)

    def _means(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D [K] and its standard error, for an input and a φ' each."""
        nodes = taken(self.nodes, rows)
        there = self.family.log_prob(nodes.targets, others)
        if nodes.weights is None:
            log_ratio = there - self.here[:, rows]
        else:
            log_ratio = _where_it_weighs(there, self.here[:, rows], nodes.weights)
        shift = log_mean(log_ratio, nodes)
        value, error = mean(self.pointwise(log_ratio - shift), nodes)
        mass = self.nodes.checks.get("normalisation")
        if mass is None or self.family.unnormalised:
            return value, error
        off = (mass.to(value)[rows] - 1).abs()  # what q itself is no density by
        unseen = -torch.expm1(shift) > _UNSEEN + _DRIFT * off + _OF_VALUE * value
        return value.masked_fill(unseen, torch.inf), error

    def _looked_at_again(self, values: Tensor, rows: Tensor, others: Tensor) -> Tensor:
        """Return D [k, M], from the nodes of both laws where those of q do not do.

        There it is ∞: its integral goes on beyond them, or E_q[q'/q] < 1 tells that a
        normalised q' has mass there.
        """
        source = self.family.source
        if self.sampled or source is None or not source.follows:
            return values
        k, column = torch.isinf(values).nonzero().unbind(dim=1)
        if not len(k):
            return values
        at, other = rows[k], others[k, column]
        found = torch.empty_like(values[k, column])
        for which, there in self._nodes_of(other, at):
            ours = taken(self.nodes, at[which])
            laws = self.phi[at[which]], other[which]
            sides = [
                Side(log_ratio(self.family, each, *laws), each)
                for each in (ours, there)
            ]
            found[which] = balanced(self.pointwise, *sides)
        return values.index_put((k, column), found)

    def _nodes_of(self, other: Tensor, rows: Tensor) -> Iterator[tuple[Tensor, Nodes]]:
        """Yield which of the laws φ' [K, p + c], and their nodes.

        A normalised law whose whole mass is found where the input's own law lives has
        no more of it elsewhere. Others are searched for.
        """
        rest = torch.arange(len(rows), device=rows.device)
        if self.nodes.beside is not None and not self.family.unnormalised:
            near = self.nodes.beside(rows, other)
            mass = near.checks["normalisation"].to(rows.device)
            whole = (mass - 1).abs() <= _WHOLE
            which, rest = (at.nonzero()[:, 0] for at in (whole, ~whole))
            if len(which):
                yield which, taken(near, which)
        if len(rest):
            index = self.noise.index[rows[rest].cpu().numpy()]
            yield rest, self.family.nodes(other[rest], self.noise.of(index))


def log_ratio(
    family: ComputedFamily, nodes: Nodes, phi: Tensor, other: Tensor
) -> Tensor:
    """Return log q'/q [S, N] at nodes of either; 0 where they weigh nothing."""
    assert nodes.weights is not None
    here, there = (family.log_prob(nodes.targets, law) for law in (phi, other))
    return _where_it_weighs(there, here, nodes.weights)


def _where_it_weighs(there: Tensor, here: Tensor, weights: Tensor) -> Tensor:
    """Return log q'/q at nodes; 0 where they weigh nothing.

    A law has no density where the file gives no number (the logarithm of what is below
    the end of its support): no mass was found there either.
    """
    there, here = (torch.where(v.isnan(), -torch.inf, v) for v in (there, here))
    return torch.where(weights > 0, there - here, 0.0)


class _OfBoth(_OfDensity):
    """Means over draws of both laws, from the same noise."""

    def __init__(
        self, mean: Mean, family: ComputedFamily, phi: Tensor, noise: Noise
    ) -> None:
        super().__init__(mean.pointwise, family, phi, noise)
        self.mean = mean

    def guide(self) -> Reference | None:
        """Return the same by draws of q alone, where these bear D out."""
        if not self.mean.guided:
            return None
        return _OfDensity(self.pointwise, self.family, self.phi, self.noise)

    def _means(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        nodes, own = taken(self.nodes, rows), self.phi[rows]
        noise = self.noise.of(self.noise.index[rows.cpu().numpy()])
        moved = self.family.nodes(others, noise)
        ours = self.family.log_prob(nodes.targets, others) - self.here[:, rows]
        there = self.family.log_prob(moved.targets, others)
        there = there - self.family.log_prob(moved.targets, own)
        sides = (Side(ratio, nodes) for ratio in self.mean.turned(ours, there))
        found = mean(by_draws(self.pointwise, *sides), nodes)
        return within(self.mean.supremum, found, ours, there)


class _OfTransport(Whole):
    """E‖T(φ, z) − T(φ', z)‖² over common z; T(φ, z) is computed once."""

    sampled = True

    def __init__(self, family: ComputedFamily, phi: Tensor, noise: Noise) -> None:
        _, base = family.map()
        self.family, self.points = family, base.points(noise)
        self.here = family.push(self.points.values, phi)

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance and its standard error [k, M], for φ' [k, M, p + c]."""
        return together(self._means, rows, others, len(self.here))

    def _means(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance [K] and its error, for an input and a φ' each."""
        here = self.here[:, rows]
        moved = self.family.push(self.points.values[:, rows], others) - here
        return mean(moved.square().sum(dim=-1), Nodes(here, unit=self.points.unit))


class _WhereItMoves(Whole):
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
        values, errors = together(self._means, rows, others, len(self.here))
        return values.to(others.device), errors.to(others.device)

    def _means(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance [K] and its error, for an input and a φ' each."""
        drawn = self.drawn.take(rows.cpu())
        moved = self.family.push(self.z[:, rows], others) - self.here[:, rows]
        squares, count = moved.square().sum(dim=-1).cpu(), len(drawn.points)
        return drawn.mean(squares[:count], squares[count:])
