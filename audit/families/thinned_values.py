"""Divergences by few of the very many nodes of a law, with an error.

A grid on a plane may have a hundred thousand nodes, and a value of a divergence takes a
pass of the file for each. One node of each of K strata of the law's mass (`thinning`)
gives means without bias, which are enough to guide a search, and to average over many
φ' where each has nodes of its own.

For a normalised q' it is E_q[g(q'/q)] itself that is averaged; what of q' no node sees
is added as for draws (`references`). Where laws are known up to a number, Z'/Z comes
from the same nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.computed import ComputedFamily
from audit.families.givers import Nodes
from audit.families.implicit_means import log_mean, together
from audit.families.references import Whole, clearly_unseen
from audit.families.tensors import Pointwise
from audit.nodes.noise import Noise
from audit.nodes.thinning import Curve, stratified_error

_ONCE, _ANEW = 41, 42  # streams of the noise


class Thinned(Whole):
    """Means of g(q'/q) over one node of each of some strata of q.

    Args:
        pointwise: log t -> g(t).
        family: of the laws.
        nodes: of q, weighted. here: log q there [Q, N].
        noise: that chooses among them, of the N inputs.
        points: K, even.
        fresh: whether each φ' has nodes of its own, one after the other. Otherwise all
            have the same, and D is as smooth in φ' as the file.
    """

    sampled = True

    def __init__(
        self,
        pointwise: Pointwise,
        family: ComputedFamily,
        nodes: Nodes,
        here: Tensor,
        noise: Noise,
        points: int,
        fresh: bool,
    ) -> None:
        assert nodes.weights is not None
        self.pointwise, self.family, self.points = pointwise, family, points
        self.nodes, self.here = nodes, here
        weights = nodes.weights.to(nodes.targets)
        self._curves = [
            Curve.of(*one)
            for one in zip(nodes.targets.unbind(1), weights.unbind(1), strict=True)
        ]
        stream = _ANEW if fresh else _ONCE
        self._generators = [
            noise.generator(row, stream) for row in range(len(self._curves))
        ]
        self._once = None if fresh else self._all()

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') and its standard error [k, M], for φ' [k, M, p + c]."""
        return together(self._means, rows, others, self.points)

    def _means(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        places = self._places(rows)
        targets, here = self.nodes.targets[places, rows], self.here[places, rows]
        log_ratio = self.family.log_prob(targets, others) - here
        if self.family.unnormalised:
            samples = self.pointwise(log_ratio - log_mean(log_ratio, Nodes(targets)))
        else:
            unseen = clearly_unseen(self.pointwise, log_ratio, stratified_error)
            samples = self.pointwise(log_ratio) + unseen
        value = samples.mean(dim=0)
        error = stratified_error(samples)
        return value, torch.where(torch.isinf(value), 0.0, error)

    def _places(self, rows: Tensor) -> Tensor:
        """Return the places of nodes [K, J] for as many φ', of inputs [J]."""
        if self._once is not None:
            return self._once[:, rows]
        owners, counts = torch.unique_consecutive(rows, return_counts=True)
        each = zip(owners.tolist(), counts.tolist(), strict=True)
        return torch.cat([self._drawn(*one) for one in each], dim=1)

    def _all(self) -> Tensor:
        return torch.cat([self._drawn(row, 1) for row in range(len(self._curves))], 1)

    def _drawn(self, row: int, count: int) -> Tensor:
        """Return the next nodes of an input [K, count]."""
        drawn = self._generators[row].random((count, self.points))
        return self._curves[row].drawn(torch.from_numpy(drawn).to(self.here).mT)
