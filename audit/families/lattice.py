"""Discrete one-dimensional laws, and the linear law of their quantile distance.

The quantile function of a law on the integers is a step function: a small move of φ
moves draws by whole steps, on a set of levels of probability O(|δ|). So E(T − T')² is
linear in δ; its coefficient is that of the 1-Wasserstein distance Σ_k |C_k − C'_k|,
and for a family that is stochastically monotone in its one parameter it is |∂ mean|.

Divergences without a closed form are sums over a window that holds all the mass but
1e-20. Sources: Vallender, Theory of Probability and its Applications 18 (1974), for the
1-Wasserstein distance; `integrands` for the sums.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from audit.errors import NoTransport
from audit.families.integrands import JENSEN_SHANNON, RELATIVE_ENTROPY, Integrand, Renyi
from audit.families.univariate import Parameters, Univariate
from audit.linalg.operators import Diagonal, LinearOperator

CHUNK = 4_000_000  # numbers at once


class Lattice(Univariate):
    """Independent coordinates on the integers from 0."""

    discrete = True
    transport_name = "step quantile function of each coordinate"

    @abstractmethod
    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the first and last integer [...] that carry mass above 1e-20."""

    @abstractmethod
    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return |∂ mean / ∂ parameter| [...] of a one-parameter family."""

    def transport(self, parameters: Parameters) -> Tensor:
        """Refuse: a step function has no derivative."""
        raise NoTransport(
            f"The family {self.name} is discrete: its quantile function is a step "
            "function, and the quantile distance grows linearly with the perturbation",
            "A quadratic form would be infinite; autograd would say zero",
            "Read the linear coefficient, or audit it with -d kl",
        )

    def linear_root(self, phi: Tensor) -> LinearOperator | None:
        """Return one row for each coordinate: |∂ mean|."""
        return Diagonal(self.mean_slope(self.split(phi)))

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return KL(left ‖ right) [...] as a sum."""
        return self._sum(left, right, RELATIVE_ENTROPY)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the Rényi divergence of order α [...] as a sum."""
        return self._sum(left, right, Renyi(alpha))

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the Jensen-Shannon divergence [N] for one coordinate, else None."""
        if self.coordinates != 1:
            return None
        pair = self.split(phi), self.split(other)
        return self._sum(*pair, JENSEN_SHANNON).squeeze(-1)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return E‖T − T'‖² [N] of the step functions."""
        distance = self._on_window(self.split(phi), self.split(other), _step_distance)
        return distance.sum(-1)

    def _sum(self, left: Parameters, right: Parameters, integrand: Integrand) -> Tensor:
        def total(log_f: Tensor, log_g: Tensor) -> Tensor:
            return integrand(log_f, log_g, torch.ones_like(log_f))

        return self._on_window(left, right, total)

    def _on_window(
        self,
        left: Parameters,
        right: Parameters,
        total: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Apply `total` to both log masses [M, K] on a window that holds both."""
        shape = left[0].shape
        left, right = (
            tuple(value.reshape(-1, 1) for value in parameters)
            for parameters in (left, right)
        )
        (first, last), (other_first, other_last) = self.window(left), self.window(right)
        first = torch.minimum(first, other_first)
        length = 1 + int((torch.maximum(last, other_last) - first).max())
        offsets = torch.arange(length, dtype=first.dtype, device=first.device)
        size = max(1, CHUNK // length)
        parts = []
        for start in range(0, len(first), size):
            some = slice(start, start + size)
            k = first[some] + offsets
            masses = (
                self.log_mass(k, tuple(v[some] for v in p)) for p in (left, right)
            )
            parts.append(total(*masses))
        return torch.cat(parts).reshape(shape)

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return the log probability [M, K] of the integers k [M, K]."""
        return self.law(parameters).log_prob(k)


def _step_distance(log_f: Tensor, log_g: Tensor) -> Tensor:
    """Return E(T − T')² [M] by the levels at which either function steps."""
    ours, theirs = (log.exp().cumsum(-1).clamp_max(1) for log in (log_f, log_g))
    levels = torch.cat([ours, theirs], dim=-1).sort(dim=-1).values
    levels = torch.nn.functional.pad(levels, (1, 0))
    middle = (levels[:, 1:] + levels[:, :-1]) / 2
    gap = torch.searchsorted(ours, middle) - torch.searchsorted(theirs, middle)
    return (levels.diff(dim=-1) * gap.square()).sum(-1)
