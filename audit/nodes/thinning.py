"""Few nodes that stand for very many: one of each stratum of a law's mass.

A rule of Q weighted nodes is put in an order in which neighbours are near in the plane:
that of Morton's curve through the cube of the coordinates' own distribution functions,
so that narrow ridges are as wide as all else. The mass along it is cut into K equal
strata, and one node of each is drawn by its weight. Then

    (1/K) Σ_k g(θ_k)

has the mean Σ_q w_q g(θ_q) exactly, whatever g is: each node is taken w_q K times on
average. A stratum is a patch of about K^(−1/2) of the plane's width, in which a smooth
g varies by as much: the error falls as 1/K, where that of independent draws falls as
K^(−1/2). The strata two by two tell what it is: (g_2k − g_2k+1)² has a mean of at least
twice the variance within, so that its standard error is never too small on average.

References:
    Morton, A computer oriented geodetic data base (IBM, 1966).
    Cochran, Sampling Techniques (1977), section 5A.12, for collapsed strata.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BITS = 40  # of a place on the curve


@dataclass(frozen=True)
class Curve:
    """The nodes of one law that weigh something, in their order.

    Args:
        order: their places among the nodes [Q'].
        mass: of each and all before it [Q'].
    """

    order: Tensor
    mass: Tensor

    @classmethod
    def of(cls, targets: Tensor, weights: Tensor) -> Curve:
        """Return the order of nodes θ [Q, n] with their weights [Q].

        It is the same whatever nodes without weight there are beside them.
        """
        live = (weights > 0).nonzero()[:, 0]
        theta, own = targets[live], weights[live]
        bits = _BITS // theta.shape[1]
        place = torch.zeros_like(live)
        for column in range(theta.shape[1]):
            share = _distribution(theta[:, column], own)
            whole = (share * 2**bits).long().clamp(0, 2**bits - 1)
            for bit in range(bits):
                place |= ((whole >> bit) & 1) << (bit * theta.shape[1] + column)
        order = place.argsort(stable=True)
        return cls(live[order], own[order].cumsum(0))

    def drawn(self, uniforms: Tensor) -> Tensor:
        """Return the places of one node of each stratum [K, M], for as many uniforms.

        Shapes: uniforms in [0, 1), [K, M]: M times one number for each of K strata.
        """
        strata = torch.arange(len(uniforms), device=uniforms.device).unsqueeze(1)
        at = (strata + uniforms) / len(uniforms) * self.mass[-1]
        last = torch.searchsorted(self.mass, self.mass[-1:])
        found = torch.searchsorted(self.mass, at.contiguous(), right=True)
        return self.order[torch.minimum(found, last)]


def _distribution(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mass below each of some numbers, and half of that of its node [Q]."""
    ordered, at = values.sort(stable=True)
    mass = weights[at].cumsum(0)
    middle = (mass - weights[at] / 2) / mass[-1]
    fresh = torch.ones_like(at, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    first = middle[fresh][fresh.cumsum(0) - 1]  # equal numbers have one place
    return torch.empty_like(first).scatter(0, at, first)


def stratified_error(samples: Tensor) -> Tensor:
    """Return the standard error [N] of means over strata [K, N], K even."""
    one, other = samples.reshape(-1, 2, *samples.shape[1:]).unbind(1)
    return (one - other).square().sum(0).sqrt() / len(samples)
