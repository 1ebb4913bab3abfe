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

φ holds all n² entries of a covariance or precision matrix and reads its symmetric part
(M + Mᵀ)/2; of scale_tril it holds the lower triangle, row by row.

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

from audit.errors import ConfigError
from audit.families.interface import Family, check_finite
from audit.families.roots import lower_cholesky, solve_lower
from audit.linalg.operators import Diagonal, LinearOperator, Matrix

ASYMMETRY = 1e-5  # of a matrix made in float32, relative to its largest entry


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


class MultivariateNormal(Gaussian):
    """N(loc, Σ) by scale_tril, covariance_matrix or precision_matrix [n, n]."""

    parameterizations = (
        ("loc", "scale_tril"),
        ("loc", "covariance_matrix"),
        ("loc", "precision_matrix"),
    )

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], **options: object
    ) -> None:
        super().__init__(shapes, **options)
        loc, matrix = self.shapes.values()
        if len(matrix) != 2 or matrix[0] != matrix[1] or loc not in {(1,), matrix[:1]}:
            raise ConfigError(
                f"A multivariate normal was given loc {loc} and {self.matrix} {matrix}",
                "It takes loc (n,) and a square matrix (n, n)",
                "Reshape or slice the outputs; tril(...) makes a matrix of a vector",
            )

    @property
    def matrix(self) -> str:
        """The name of the matrix parameter."""
        return self.parameters[1]

    @property
    def triangular(self) -> bool:
        """Whether φ holds a lower triangle."""
        return self.matrix == "scale_tril"

    @property
    def size(self) -> int:
        """N + n(n+1)/2 for scale_tril, n + n² for a full matrix."""
        return self.n + len(self._indices()[0])

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return (loc, entries of the matrix, row by row)."""
        i, j = self._indices()
        entries = values[self.matrix].to(torch.float64)[..., i, j]
        return torch.cat([self._flat_loc(values), entries], dim=-1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return loc [N, n] and the matrix [N, n, n], symmetric unless a tril."""
        matrix = self._stored(phi)
        if not self.triangular:
            matrix = (matrix + matrix.mT) / 2
        return {"loc": phi[..., : self.n], self.matrix: matrix}

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, not symmetric, not positive."""
        stored, found = self._stored(phi), check_finite(phi)
        diagonal = stored.diagonal(dim1=-2, dim2=-1)
        if self.triangular:
            found["scale_tril has a diagonal that is not positive"] = (
                diagonal <= 0
            ).any(-1)
            return found
        gap = (stored - stored.mT).abs().amax((-2, -1))
        limit = ASYMMETRY * stored.abs().amax((-2, -1))
        found[f"{self.matrix} is not symmetric"] = gap > limit
        clean = torch.nan_to_num(self.unpack(phi)[self.matrix])
        _, failed = torch.linalg.cholesky_ex(clean)
        found[f"{self.matrix} is not positive definite"] = failed > 0
        return found

    def scale_tril(self, phi: Tensor) -> Tensor:
        """Return L [..., n, n]."""
        matrix = self.unpack(phi)[self.matrix]
        if self.matrix == "covariance_matrix":
            return lower_cholesky(matrix)
        if self.matrix == "precision_matrix":
            return _inverse_tril(matrix)
        return matrix

    def whitened(self, phi: Tensor) -> Tensor:
        """Return X [..., t, n, n] for a unit step of each entry."""
        tril = self.scale_tril(phi).unsqueeze(-3)
        i, j = self._indices()
        units = phi.new_zeros(len(i), self.n, self.n)
        units[torch.arange(len(i)), i, j] = 1.0
        if self.triangular:
            step = solve_lower(tril, units)
            return step + step.mT
        units = (units + units.mT) / 2
        if self.matrix == "precision_matrix":
            return -tril.mT @ units @ tril
        half = solve_lower(tril, units)
        return solve_lower(tril, half.mT)

    def _stored(self, phi: Tensor) -> Tensor:
        i, j = self._indices()
        matrix = phi.new_zeros(*phi.shape[:-1], self.n, self.n)
        matrix[..., i, j] = phi[..., self.n :]
        return matrix

    def _indices(self) -> tuple[Tensor, Tensor]:
        offset = 0 if self.triangular else self.n
        i, j = torch.tril_indices(self.n, self.n, offset)
        return i, j


class LowRankMultivariateNormal(Gaussian):
    """N(loc, W Wᵀ + diag D): loc [n], cov_factor W [n, k], cov_diag D [n].

    Its map is μ + W z + √D z', which a rotation of W moves without moving the law.
    """

    parameterizations = (("loc", "cov_factor", "cov_diag"),)
    transport_name = "loc + W z + sqrt(D) z'"

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], **options: object
    ) -> None:
        super().__init__(shapes, **options)
        loc, factor, diagonal = self.shapes.values()
        if len(factor) != 2 or diagonal != factor[:1] or loc not in {(1,), factor[:1]}:
            raise ConfigError(
                f"It was given loc {loc}, cov_factor {factor}, cov_diag {diagonal}",
                "A low-rank normal takes loc (n,), cov_factor (n, k), cov_diag (n,)",
                "Reshape or slice the outputs",
            )

    @property
    def rank(self) -> int:
        """The number of columns k of W."""
        return self.shapes["cov_factor"][-1]

    @property
    def size(self) -> int:
        """N + n k + n."""
        return self.n * (self.rank + 2)

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return (loc, W row by row, D)."""
        rest = [values[name].to(torch.float64) for name in self.parameters[1:]]
        return torch.cat([self._flat_loc(values), *(v.flatten(1) for v in rest)], -1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return loc [N, n], cov_factor [N, n, k], cov_diag [N, n]."""
        n = self.n
        factor = phi[..., n:-n].reshape(*phi.shape[:-1], n, self.rank)
        return {"loc": phi[..., :n], "cov_factor": factor, "cov_diag": phi[..., -n:]}

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, or D not positive."""
        negative = (phi[..., -self.n :] <= 0).any(-1)
        return check_finite(phi) | {"cov_diag is not positive": negative}

    def scale_tril(self, phi: Tensor) -> Tensor:
        """Return the Cholesky factor of W Wᵀ + D."""
        _, factor, diagonal = self.unpack(phi).values()
        covariance = factor @ factor.mT + torch.diag_embed(diagonal)
        return lower_cholesky(covariance)

    def whitened(self, phi: Tensor) -> Tensor:
        """Return X [..., n k + n, n, n]: a bᵀ + b aᵀ for W, a aᵀ for D."""
        _, factor, _ = self.unpack(phi).values()
        inverse = solve_lower(self.scale_tril(phi), self._identity(phi))
        mixed = torch.einsum("...ai,...bj->...ijab", inverse, inverse @ factor)
        spread = torch.einsum("...ai,...bi->...iab", inverse, inverse)
        return torch.cat([(mixed + mixed.mT).flatten(-4, -3), spread], dim=-3)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape [n]."""
        loc, factor, diagonal = self.unpack(phi).values()
        return td.LowRankMultivariateNormal(loc, factor, diagonal, validate_args=False)

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return the diagonal root (1, 1, 1/2√D), of the map μ + W z + √D z'."""
        diagonal = phi[..., -self.n :]
        ones = torch.ones_like(phi[..., : -self.n])
        return Diagonal(torch.cat([ones, 0.5 * diagonal.rsqrt()], dim=-1))

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ‖Δμ‖² + ‖ΔW‖_F² + ‖Δ√D‖² [N]."""
        n = self.n
        head = (phi - other)[..., :-n]
        tail = phi[..., -n:].sqrt() - other[..., -n:].sqrt()
        return head.square().sum(-1) + tail.square().sum(-1)


def _symmetric_norm(x: Tensor) -> Tensor:
    """Return entries [..., n(n+1)/2] of a symmetric matrix, keeping ‖x‖_F."""
    n = x.shape[-1]
    i, j = torch.tril_indices(n, n)
    entries = x[..., i, j]
    weight = torch.full_like(entries, math.sqrt(2)).masked_fill(
        (i == j).to(x.device), 1.0
    )
    return entries * weight


def _inverse_tril(precision: Tensor) -> Tensor:
    """Return lower L with L Lᵀ = P⁻¹, by the Cholesky factor of P read backwards."""
    flipped = lower_cholesky(precision.flip((-2, -1)))
    lower = flipped.flip((-2, -1)).mT
    eye = torch.eye(precision.shape[-1], dtype=lower.dtype, device=lower.device)
    return solve_lower(lower, eye.expand_as(lower))
