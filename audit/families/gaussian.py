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

For two laws every distance is written in the step Σ₂ − Σ₁, which a family knows to as
many digits as its parameters' step, and in ratios of the diagonals of L: differences of
the results would cancel, for a small step or an ill-conditioned Σ.

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

from audit.families.bures import bures_distance
from audit.families.excess import CLOSE, log1p_excess, log_ratio, ratio_excess
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

    @abstractmethod
    def covariance_step(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return Σ₂ − Σ₁ [N, n, n], to as many digits as the parameters' step."""

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
        steps = tril.unsqueeze(-3) @ _half(x)
        i, j = torch.tril_indices(self.n, self.n)
        return self._root(self._identity(phi), steps[..., i, j])

    def wasserstein_root(self, phi: Tensor) -> LinearOperator:
        """Return B [N, n + n(n+1)/2, p]: rows dμ and the Bures tensor's.

        With L = U diag(σ) Vᵀ its entries are σ_i σ_j (Vᵀ X V)_ij / √2(σ_i² + σ_j²).
        """
        _, sizes, basis = torch.linalg.svd(self.scale_tril(phi))
        rows, columns = sizes.unsqueeze(-1), sizes.unsqueeze(-2)
        weight = rows / torch.hypot(rows, columns) * columns / math.sqrt(2)
        basis, weight = basis.unsqueeze(-3), weight.unsqueeze(-3)
        step = basis @ self.whitened(phi) @ basis.mT
        return self._root(self._identity(phi), _symmetric_norm(step * weight))

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ½ ‖L₂⁻¹L₁ − 1‖² + Σ [r − 1 − ln r] + ½ ‖L₂⁻¹Δ‖² [N].

        r are the ratios of the diagonals of L₁ and L₂, those of L₂⁻¹L₁.
        """
        shift, change = self._relative(phi, other)
        squares = change.square().sum((-2, -1)) + shift.square().sum(-1)
        at, to = (_diagonal(self.scale_tril(each)) for each in (other, phi))
        stretch = ratio_excess(at, to, _diagonal(-self.tril_step(phi, other)))
        return squares / 2 + stretch.sum(-1)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor:
        """Return α/2 Δᵀ V⁻¹ Δ − [ln|V| − (1−α) ln|Σ₁| − α ln|Σ₂|] / 2(α−1).

        V = (1−α)Σ₁ + αΣ₂, in the eigenbasis of Σ₂^{−½} Σ₁ Σ₂^{−½} = I + diag e. For
        small e the determinants are Σ [(1−α) X(e) − X((1−α) e)], X(e) = e − ln(1 + e).
        NaN where Σ₁ is so much larger than Σ₂ that e is more than numbers hold.
        """
        shift, change = self._relative(phi, other)
        moved = change + change.mT + change @ change.mT
        known = torch.isfinite(moved).flatten(-2).all(-1)
        safe = torch.where(known[..., None, None], moved, 0.0)
        excess, vectors = torch.linalg.eigh(safe)
        beta = 1 - alpha
        inside = beta * excess
        move = (vectors.mT @ shift.unsqueeze(-1)).squeeze(-1)
        at, to = (_diagonal(self.scale_tril(each)) for each in (other, phi))
        far = torch.log1p(inside).sum(-1) - 2 * beta * log_ratio(at, to).sum(-1)
        near = (beta * log1p_excess(excess) - log1p_excess(inside)).sum(-1)
        close = excess.abs().amax(-1) < CLOSE
        spread = alpha * (move.square() / (1 + inside)).sum(-1)
        value = (spread - torch.where(close, near, far) / (alpha - 1)) / 2
        value = torch.where((inside > -1).all(-1), value, torch.inf)
        return torch.where(known, value, torch.inf if alpha > 1 else torch.nan)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ‖Δμ‖² + ‖L₁ − L₂‖_F² [N]."""
        shift = (phi - other)[..., : self.n]
        gap = self.tril_step(phi, other)
        return shift.square().sum(-1) + gap.square().sum((-2, -1))

    def wasserstein_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ‖Δμ‖² + ‖Σ₁^{−½} (R − Σ₁)‖_F², R = (Σ₁^½ Σ₂ Σ₁^½)^½ [N]."""
        shift = (phi - other)[..., : self.n]
        pair = self.scale_tril(phi), self.tril_step(phi, other)
        return shift.square().sum(-1) + bures_distance(*pair)

    def tril_step(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return L₂ − L₁ [N, n, n], to as many digits as the parameters' step.

        One step of Newton's method on L₂L₂ᵀ = Σ₂ from the difference of the factors.
        """
        ours, theirs = self.scale_tril(phi), self.scale_tril(other)
        step = theirs - ours
        product = step @ ours.mT
        missing = self.covariance_step(phi, other) - product - product.mT
        missing = missing - step @ step.mT
        moved = solve_lower(theirs, solve_lower(theirs, missing).mT)
        return step + theirs @ _half(moved)

    @property
    def n(self) -> int:
        """The number of coordinates."""
        return self.shapes[self.parameters[-1]][-1]

    def _relative(self, phi: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return L₂⁻¹ Δμ [N, n] and L₂⁻¹ (L₁ − L₂) [N, n, n]."""
        shift = (phi - other)[..., : self.n].unsqueeze(-1)
        both = torch.cat([shift, -self.tril_step(phi, other)], dim=-1)
        solved = solve_lower(self.scale_tril(other), both)
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


def _half(x: Tensor) -> Tensor:
    """Return Φ(x): the lower triangle of x and half its diagonal."""
    return torch.tril(x) - torch.diag_embed(_diagonal(x)) / 2


def _diagonal(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1)


def _symmetric_norm(x: Tensor) -> Tensor:
    """Return entries [..., n(n+1)/2] of a symmetric matrix, keeping ‖x‖_F."""
    n = x.shape[-1]
    i, j = torch.tril_indices(n, n)
    entries = x[..., i, j]
    weight = torch.full_like(entries, math.sqrt(2)).masked_fill(
        (i == j).to(x.device), 1.0
    )
    return entries * weight
