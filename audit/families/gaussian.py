"""Multivariate normal laws N(μ, Σ), Σ = L Lᵀ.

However Σ is given, a step of its parameters moves it by dΣ = L X Lᵀ, and everything
follows from the symmetric X:

    given as           X
    scale_tril L       M + Mᵀ,  M = L⁻¹ dL
    covariance Σ       L⁻¹ dΣ L⁻ᵀ
    precision P        −Lᵀ dP L
    factor W Wᵀ + D    L⁻¹ (dW Wᵀ + W dWᵀ + dD) L⁻ᵀ

    Fisher      ‖L⁻¹dμ‖² + ½ ‖X‖_F²
    transport   ‖dμ‖² + ‖L Φ(X)‖_F², the map μ + L z; Φ keeps the lower triangle and
                half the diagonal. For scale_tril it is the identity.
    Bures       ‖dμ‖² + Σ_ij (LXLᵀ)_ij² / 2(λ_i + λ_j) in the eigenbasis of Σ

Sources: Skovgaard, Scandinavian Journal of Statistics 11 (1984), for Fisher; Murray,
arXiv:1602.07527, for Φ; Takatsu, Osaka Journal of Mathematics 48 (2011), for Bures.

Shapes: N inputs (any leading axes), n coordinates, t matrix parameters.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.interface import Family
from audit.families.roots import solve_lower
from audit.linalg.operators import LinearOperator, Matrix


class Gaussian(Family):
    """N(loc, Σ) with Σ given in whatever way."""

    transport_name = "loc + L z with the Cholesky factor L"

    @abstractmethod
    def scale_tril(self, phi: Tensor) -> Tensor:
        """Return L [..., n, n]."""

    @abstractmethod
    def whitened(self, phi: Tensor) -> Tensor:
        """Return X [..., t, n, n] for a unit step of each matrix parameter."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(n,)."""
        return (self.n,)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape [n]."""
        loc, tril = phi[..., : self.n], self.scale_tril(phi)
        return td.MultivariateNormal(loc, scale_tril=tril, validate_args=False)

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Return B [N, n + n(n+1)/2, p]: rows L⁻¹ dμ and X/√2."""
        tril = self.scale_tril(phi)
        eye = torch.eye(self.n, dtype=phi.dtype, device=phi.device).expand_as(tril)
        inverse = solve_lower(tril, eye)
        return self._root(inverse, _symmetric_norm(self.whitened(phi)) / math.sqrt(2))

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return B [N, n + n(n+1)/2, p]: rows dμ and dL = L Φ(X)."""
        tril, x = self.scale_tril(phi), self.whitened(phi)
        half = torch.tril(x) - torch.diag_embed(x.diagonal(dim1=-2, dim2=-1)) / 2
        steps = tril.unsqueeze(-3) @ half
        i, j = torch.tril_indices(self.n, self.n)
        return self._root(self._identity(phi), steps[..., i, j])

    def wasserstein_root(self, phi: Tensor) -> LinearOperator:
        """Return B [N, n + n(n+1)/2, p]: rows dμ and the Bures tensor's."""
        tril = self.scale_tril(phi)
        values, vectors = torch.linalg.eigh(tril @ tril.mT)
        basis = (vectors.mT @ tril).unsqueeze(-3)
        step = basis @ self.whitened(phi) @ basis.mT
        weight = 2 * (values.unsqueeze(-1) + values.unsqueeze(-2)).unsqueeze(-3)
        return self._root(self._identity(phi), _symmetric_norm(step / weight.sqrt()))

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ½ [‖L₂⁻¹L₁‖² − n − 2 Σ ln (L₂⁻¹L₁)_ii + ‖L₂⁻¹Δ‖²] [N]."""
        shift, change = self._relative(phi, other)
        diagonal = change.diagonal(dim1=-2, dim2=-1)
        stretch = 2 * (diagonal - torch.log1p(diagonal)).sum(-1)
        squares = change.square().sum((-2, -1)) + shift.square().sum(-1)
        return (squares + stretch) / 2

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor:
        """Return α/2 Δᵀ V⁻¹ Δ − [ln|V| − (1−α) ln|Σ₁| − α ln|Σ₂|] / 2(α−1).

        V = (1−α)Σ₁ + αΣ₂, in the eigenbasis of Σ₂^{−½} Σ₁ Σ₂^{−½} = I + diag e.
        """
        shift, change = self._relative(phi, other)
        excess, vectors = torch.linalg.eigh(change + change.mT + change @ change.mT)
        inside = (1 - alpha) * excess
        move = (vectors.mT @ shift.unsqueeze(-1)).squeeze(-1)
        determinants = torch.log1p(inside) - (1 - alpha) * torch.log1p(excess)
        spread = alpha * (move.square() / (1 + inside)).sum(-1)
        value = (spread - determinants.sum(-1) / (alpha - 1)) / 2
        return torch.where((inside > -1).all(-1), value, torch.inf)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ‖Δμ‖² + ‖L₁ − L₂‖_F² [N]."""
        gap = self.scale_tril(phi) - self.scale_tril(other)
        shift = (phi - other)[..., : self.n]
        return shift.square().sum(-1) + gap.square().sum((-2, -1))

    def wasserstein_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ‖Δμ‖² + ‖Σ₁^{−½} (R − Σ₁)‖_F², R = (Σ₁^½ Σ₂ Σ₁^½)^½ [N]."""
        first, second = (t @ t.mT for t in map(self.scale_tril, (phi, other)))
        values, vectors = torch.linalg.eigh(first)
        root = (vectors * values.sqrt().unsqueeze(-2)) @ vectors.mT
        inner, frame = torch.linalg.eigh(root @ second @ root)
        middle = (frame * inner.clamp_min(0).sqrt().unsqueeze(-2)) @ frame.mT
        gap: Tensor = vectors.mT @ (middle - first) / values.sqrt().unsqueeze(-1)
        shift = (phi - other)[..., : self.n]
        return shift.square().sum(-1) + gap.square().sum((-2, -1))

    @property
    def n(self) -> int:
        """The number of coordinates."""
        return self.shapes[self.parameters[-1]][-1]

    def _relative(self, phi: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return L₂⁻¹ Δμ [N, n] and L₂⁻¹ (L₁ − L₂) [N, n, n]."""
        ours, theirs = self.scale_tril(phi), self.scale_tril(other)
        shift = (phi - other)[..., : self.n].unsqueeze(-1)
        both = torch.cat([shift, ours - theirs], dim=-1)
        solved = solve_lower(theirs, both)
        return solved[..., 0], solved[..., 1:]

    def _identity(self, phi: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=phi.dtype, device=phi.device)
        return eye.expand(*phi.shape[:-1], -1, -1)

    def _root(self, location: Tensor, rows: Tensor) -> Matrix:
        """Return the root of blocks [N, n, n] for dμ and [N, t, r] for the matrix."""
        right = torch.nn.functional.pad(rows.mT, (self.n, 0))
        left = torch.nn.functional.pad(location, (0, rows.shape[-2]))
        return Matrix(torch.cat([left, right], dim=-2))

    def _flat_loc(self, values: Mapping[str, Tensor]) -> Tensor:
        return values["loc"].to(torch.float64).expand(-1, self.n)


def _symmetric_norm(x: Tensor) -> Tensor:
    """Return entries [..., n(n+1)/2] of a symmetric matrix, keeping ‖x‖_F."""
    n = x.shape[-1]
    i, j = torch.tril_indices(n, n)
    entries = x[..., i, j]
    weight = torch.full_like(entries, math.sqrt(2)).masked_fill(
        (i == j).to(x.device), 1.0
    )
    return entries * weight
