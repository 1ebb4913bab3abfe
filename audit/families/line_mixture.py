"""Mixtures of one continuous number, by quadrature.

The mixture is a `Line` like any other: its density is a sum, its bulks are those of the
components, and panels that resolve all of them give every tensor and divergence to
rounding. Between components that hardly overlap the transport tensor is huge, and it is
right: mass that moves from one to the other crosses the gap.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from audit.families import quadrature
from audit.families.continuous import HEAVY, STAND_IN, Continuous
from audit.families.integrands import Integrand
from audit.families.listed import Integrated
from audit.families.mixture import Mixture
from audit.families.quantile_distance import quantile_distance
from audit.linalg.stored import LinearOperator
from audit.nodes.lines import Chart
from audit.nodes.special import times


class LineMixture(Integrated, Mixture):
    """K components of a continuous family with one coordinate."""

    @classmethod
    def fits(cls, mixture: Mixture) -> bool:
        """Return whether the mixture is one of this kind."""
        one, component = math.prod(mixture.event_shape) == 1, mixture.component
        return one and isinstance(component, Continuous) and component.mixes

    @cached_property
    def line(self) -> Continuous:
        """The component."""
        assert isinstance(self.component, Continuous)
        return self.component

    @property
    def chart(self) -> Chart:
        """The component's chart."""
        return self.line.chart

    @property
    def limit(self) -> float:
        """The component's limit."""
        return self.line.limit

    def bulk(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the components' centres and widths [M, K]."""
        center, width = self.line.bulk_of(self.split(rows)[1].unbind(-1))
        if math.isfinite(self.limit):
            first, turn = center[:, :1], 2 * self.limit
            gap = torch.remainder(center - first + self.limit, turn) - self.limit
            center = first + gap
        return center, width

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln Σ π_k q_k [M, nodes] in the chart."""
        return self._log_parts(y, rows).logsumexp(-2)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ ln Σ π_k q_k / ∂φ [M, nodes, p].

        With the share s_k = π_k q_k/q of a component it is s_k/π_k − 1 for π_k, where
        π_k > 0, s_k − π_k for its logit, and s_k times the component's own score.
        """
        weights, parts = self.split(rows)
        shares = self._log_parts(y, rows.unsqueeze(1)).softmax(-2).mT  # [M, nodes, K]
        weights = weights.unsqueeze(1)
        if self.weights_name == "logits":
            of_weights = shares - weights.softmax(-1)
        else:
            total = weights.sum(-1, keepdim=True)
            of_weights = times(weights, shares / weights - 1 / total)
            of_weights = of_weights / torch.where(weights == 0, 1.0, weights)
        flat = parts.flatten(0, 1)
        nodes = y.unsqueeze(1).expand(-1, self.count, -1).flatten(0, 1)
        own = self.line.score(nodes, flat)  # [M K, nodes, q]
        own = own.reshape(len(y), self.count, *own.shape[1:]).transpose(1, 2)
        own = times(shares.unsqueeze(-1), own)
        return torch.cat([of_weights, own.flatten(2)], dim=-1)

    def _log_parts(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln π_k q_k [M, K, nodes]: sums over K are those of whole vectors."""
        weights, parts = self.split(rows)
        parts_at = self.line.log_density(y.unsqueeze(-2), parts.transpose(-3, -2))
        return self.weights.log_probs(weights).mT + parts_at

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the root by quadrature; infinite for a weight of zero."""
        return self._root(quadrature.fisher_information(self, phi), phi)

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return the root by quadrature; refuse on a circle."""
        if math.isfinite(self.limit):
            return super().transport_root(phi)
        tensor = quadrature.transport_tensor(self, self._resolvable(phi))
        wild = torch.diag_embed(self._wild(phi).unsqueeze(-1).expand_as(phi))
        unknown = self._heavy(phi).any(-1)[:, None, None]
        return self._root(torch.where(unknown, wild, tensor), phi)

    def transport_caveat(self, phi: Tensor) -> dict[str, Tensor]:
        """Return where a component has no variance that panels could resolve."""
        unknown = self._heavy(phi).any(-1)
        if self.line.tail_index(self.split(phi)[1].unbind(-1)) is None:
            return {}
        reason = "the variance of a component is infinite, or its tail index is below"
        return {f"{reason} {2 + HEAVY}": unknown}

    def divergence(self, phi: Tensor, other: Tensor, integrand: Integrand) -> Tensor:
        """Return a divergence [N] by quadrature."""
        return quadrature.divergence(self, phi, other, integrand)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return E(T − T')² [N] by quadrature; None on a circle."""
        if math.isfinite(self.limit):
            return None
        pair = self._resolvable(phi), self._resolvable(other)
        distance = quantile_distance(self, *pair)
        heavy, wild = (
            torch.stack([get(each) for each in (phi, other)])
            for get in (lambda law: self._heavy(law).any(-1), self._wild)
        )
        wild = torch.where(torch.isinf(wild).any(0), torch.inf, torch.nan)
        distance = torch.where(heavy.any(0), wild, distance)
        return torch.where((phi == other).all(-1), 0.0, distance)

    def _wild(self, phi: Tensor) -> Tensor:
        """Return what stands for a second moment [N]: ∞ if it is, NaN if unknown."""
        index = self.line.tail_index(self.split(phi)[1].unbind(-1))
        if index is None:
            return torch.zeros_like(phi[:, 0])
        return torch.where((index <= 2).any(-1), torch.inf, torch.nan)

    def _heavy(self, phi: Tensor) -> Tensor:
        """Return which components have too heavy a tail [N, K]."""
        parts = self.split(phi)[1].unbind(-1)
        index = self.line.tail_index(parts)
        if index is None:
            return torch.zeros_like(parts[0], dtype=torch.bool)
        return index <= 2 + HEAVY

    def _resolvable(self, phi: Tensor) -> Tensor:
        """Return φ with some other law for components with too heavy a tail."""
        weights, parts = self.split(phi)
        parts = parts.masked_fill(self._heavy(phi).unsqueeze(-1), STAND_IN)
        return torch.cat([weights, parts.flatten(1)], dim=-1)
