"""Laws on the integers whose tensors are sums over the integers themselves.

With masses p(k), and their slopes ∂p(k) rather than scores, which have no value where
a mass is zero,

    F = Σ_k ∂p(k) ∂p(k)ᵀ / p(k),          quantile distance ≈ Σ_k |∂C(k) · δ|,

C(k) the sum of the masses up to k. Where p(k) = 0 the term is absent if ∂p(k) = 0 too,
the limit of dp²/p = p (d ln p)², and infinite if not. Divergences are the sums of
`lattice`. Windows hold all the mass but 1e-20 of every part of a law.

Source: Vallender, Theory of Probability and its Applications 18 (1974).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audit.families.lattice import Lattice as Lattice
from audit.families.roots import semidefinite_root
from audit.families.univariate import Parameters
from audit.linalg.operators import CoordinateBlocks
from audit.linalg.stored import LinearOperator

GROUPS = 512  # rows of the linear root, at most


class Summed(Lattice):
    """Independent coordinates on the integers, known by masses and their slopes."""

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Refuse: several parameters move a law in several ways (`linear_root`)."""
        raise NotImplementedError

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root [..., q, q] of the sum."""
        return semidefinite_root(self.fisher_information(parameters))

    def fisher_information(self, parameters: Parameters) -> Tensor:
        """Return the sum F [..., q, q]."""
        return self.on_window([parameters], self._information, sparse=True)

    def linear_root(self, phi: Tensor) -> LinearOperator:
        """Return rows ∂C(k), summed over groups of neighbouring k."""
        return CoordinateBlocks(self.on_window([self.split(phi)], self._cdf_steps))

    def _information(self, k: Tensor, laws: Sequence[Parameters]) -> Tensor:
        """Return F [M, q, q]."""
        (parameters,) = laws
        log_mass = self.log_mass(k, parameters).unsqueeze(-1)
        slopes = self.mass_slopes(k, parameters)
        endless = (torch.isneginf(log_mass) & (slopes != 0)).any(1)
        sides = torch.where(
            torch.isneginf(log_mass), 0.0, slopes * (-log_mass / 2).exp()
        )
        sides = torch.where(slopes == 0, 0.0, sides)
        found = sides.mT @ sides
        return torch.where(torch.diag_embed(endless), torch.inf, found)

    def _cdf_steps(self, k: Tensor, laws: Sequence[Parameters]) -> Tensor:
        """Return ∂C(k) [M, groups, q]."""
        (parameters,) = laws
        return grouped(self.mass_slopes(k, parameters).cumsum(1))


def grouped(steps: Tensor) -> Tensor:
    """Return steps [M, K, q] summed over neighbouring k, in `GROUPS` rows at most."""
    width = -(-steps.shape[1] // GROUPS)
    steps = torch.nn.functional.pad(steps, (0, 0, 0, -steps.shape[1] % width))
    return steps.reshape(len(steps), -1, width, steps.shape[-1]).sum(2)


def log_mean_change(log_shares: Tensor, log_others: Tensor, changes: Tensor) -> Tensor:
    """Return ln(Σ_j w'_j / Σ_j w_j) [...] of parts, accurate for small changes.

    Args:
        log_shares: ln w [..., J].
        log_others: ln w' [..., J].
        changes: ln w'/w [..., J], 0 where both are zero.
    """
    total, other = log_shares.logsumexp(-1), log_others.logsumexp(-1)
    share = (
        log_shares - torch.where(torch.isneginf(total), 0.0, total)[..., None]
    ).exp()
    small = changes.clamp(-1, 1)
    near = torch.log1p((share * torch.expm1(small)).sum(-1))
    close = ((changes == small) | (share == 0) & torch.isneginf(log_others)).all(-1)
    far = torch.where(torch.isneginf(total) & torch.isneginf(other), 0.0, other - total)
    return torch.where(close, near, far)
