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

For two laws everything is written in M = L₂⁻¹ (L₂ − L₁), and in ratios of the diagonals
of L: differences of results would cancel. M solves M + Mᵀ − M Mᵀ = S with

    S = L₂⁻¹ (Σ₂ − Σ₁) L₂⁻ᵀ,

which a family knows to as many digits as its parameters' step. One step of Newton's
method from the difference of the two factors gives M as many: with K = 1 − M it adds
K Φ(K⁻¹ R K⁻ᵀ) for a residual R.

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

from audit.families.bures import bures_distance, singular_vectors
from audit.families.interface import Family
from audit.families.normals import tilted_log
from audit.families.roots import solve_lower
from audit.linalg.stored import LinearOperator, Matrix
from audit.nodes.excess import CLOSE, log1p_excess, log_ratio, ratio_excess


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
    def relative_step(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return S [N, n, n], to as many digits as the parameters' step."""

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

        With L = U diag(σ) Vᵀ its entries are σ_i σ_j (Vᵀ X V)_ij / √(2(σ_i² + σ_j²)).
        """
        _, sizes, basis = singular_vectors(self.scale_tril(phi))
        rows, columns = sizes.unsqueeze(-1), sizes.unsqueeze(-2)
        weight = rows / torch.hypot(rows, columns) * columns / math.sqrt(2)
        basis, weight = basis.unsqueeze(-3), weight.unsqueeze(-3)
        step = basis @ self.whitened(phi) @ basis.mT
        return self._root(self._identity(phi), _symmetric_norm(step * weight))

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ½ ‖M‖² + Σ [r − 1 − ln r] + ½ ‖L₂⁻¹Δ‖² [N].

        r are the ratios of the diagonals of L₁ and L₂, those of L₂⁻¹L₁.
        """
        shift, change = self._relative(phi, other)
        squares = change.square().sum((-2, -1)) + shift.square().sum(-1)
        at, to = (_diagonal(self.scale_tril(each)) for each in (other, phi))
        stretch = ratio_excess(at, to, -at * _diagonal(change)).sum(-1)
        beyond = torch.isinf(shift).any(-1) | torch.isinf(change).flatten(-2).any(-1)
        return torch.where(beyond, torch.inf, squares / 2 + stretch)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor:
        """Return α/2 Δᵀ V⁻¹ Δ − [ln|V| − (1−α) ln|Σ₁| − α ln|Σ₂|] / 2(α−1).

        V = (1−α)Σ₁ + αΣ₂, in the eigenbasis of L₂⁻¹ Σ₁ L₂⁻ᵀ, where it is 1 + e. For
        small e the determinants are Σ [(1−α) X(e) − X((1−α) e)], X(e) = e − ln(1 + e).
        NaN for α < 1 and a ratio of scales that is more than numbers hold.
        """
        (shift, change), beta = self._relative(phi, other), 1 - alpha
        basis, sizes, _ = singular_vectors(self._identity(phi) - change)
        log_mixed = tilted_log(2 * sizes.log(), alpha)
        at, to = (_diagonal(self.scale_tril(each)) for each in (other, phi))
        ratios = log_ratio(at, to, -at * _diagonal(change))
        determinants = log_mixed.sum(-1) - 2 * beta * ratios.sum(-1)
        excess = torch.linalg.eigvalsh(_finite(change @ change.mT - change - change.mT))
        near = (beta * log1p_excess(excess) - log1p_excess(beta * excess)).sum(-1)
        close = excess.abs().amax(-1) < CLOSE
        determinants = torch.where(close, near, determinants)
        move = (basis.mT @ shift.unsqueeze(-1)).squeeze(-1)
        spread = (move * (-log_mixed / 2).exp()).square().sum(-1)
        value = (alpha * spread - determinants / (alpha - 1)) / 2
        known = torch.isfinite(change).flatten(-2).all(-1)
        outside = known & (log_mixed.isnan().any(-1) | torch.isinf(shift).any(-1))
        outside |= torch.isinf(change).flatten(-2).any(-1) & (alpha > 1)
        return torch.where(outside, torch.inf, value)

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
        """Return L₂ − L₁ [N, n, n], to as many digits as the parameters' step."""
        ours, theirs = self.scale_tril(phi), self.scale_tril(other)
        step = theirs @ self._relative(phi, other)[1]
        return torch.where(torch.isfinite(step), step, theirs - ours)

    @property
    def n(self) -> int:
        """The number of coordinates."""
        return self.shapes[self.parameters[-1]][-1]

    def _relative(self, phi: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return L₂⁻¹ Δμ [N, n] and M [N, n, n]; infinite where they overflow."""
        ours, theirs = self.scale_tril(phi), self.scale_tril(other)
        shift = (phi - other)[..., : self.n].unsqueeze(-1)
        unit = theirs.abs().amax(-1, keepdim=True)  # of each coordinate of θ
        shift, first = (
            _solved(theirs / unit, moved / unit) for moved in (shift, theirs - ours)
        )
        kept = self._identity(phi) - first
        residual = self.relative_step(phi, other) - first - first.mT + first @ first.mT
        better = first + kept @ _half(whiten(kept, residual))
        better = torch.where(torch.isfinite(better), better, first)
        return shift.squeeze(-1), better

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


def whiten(tril: Tensor, step: Tensor) -> Tensor:
    """Return L⁻¹ dΣ L⁻ᵀ [..., n, n] for a symmetric dΣ."""
    return solve_lower(tril, solve_lower(tril, step).mT)


def _solved(lower: Tensor, right: Tensor) -> Tensor:
    """Return L⁻¹ right [..., n, k]; all infinite if some of it overflows."""
    beyond = torch.isinf(right).any(-1).any(-1)[..., None, None]
    return torch.where(beyond, torch.inf, solve_lower(lower, right))


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


def _finite(matrix: Tensor) -> Tensor:
    """Return the matrices, the identity for those that are not finite."""
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    known = torch.isfinite(matrix).all(-1).all(-1)[..., None, None]
    return torch.where(known, matrix, eye)
