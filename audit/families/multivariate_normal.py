"""N(μ, Σ) with Σ given by a Cholesky factor, a covariance or a precision matrix.

φ holds all n² entries of a covariance or precision matrix and reads its symmetric part
(M + Mᵀ)/2; of scale_tril it holds the lower triangle, row by row. `gaussian` has the
mathematics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from audit.families.enclosures import Enclosure
from audit.families.gaussian import Gaussian, whiten
from audit.families.largest_kl import of_means
from audit.families.parameters import Shapes, check_finite
from audit.families.roots import lower_cholesky, solve_lower
from audit.ground.errors import ConfigError, NoCertificate

ASYMMETRY = 1e-5  # of a matrix made in float32, relative to its largest entry


class MultivariateNormal(Gaussian):
    """N(loc, Σ) by scale_tril, covariance_matrix or precision_matrix [n, n].

    Density: exp(−(θ − μ)ᵀ Σ⁻¹ (θ − μ)/2) / √((2π)ⁿ det Σ), μ = `loc`.

    Fisher information: dμᵀ Σ⁻¹ dμ + ½ tr(Σ⁻¹ dΣ Σ⁻¹ dΣ).
    """

    parameterizations = (
        ("loc", "scale_tril"),
        ("loc", "covariance_matrix"),
        ("loc", "precision_matrix"),
    )
    event_axes: ClassVar[Mapping[str, int]] = {
        "loc": 1,
        **dict.fromkeys(("scale_tril", "covariance_matrix", "precision_matrix"), 2),
    }

    enclosed_as: ClassVar[Mapping[str, str]] = {
        "loc": "value",
        "scale_tril": "value",
        "covariance_matrix": "value",
        "precision_matrix": "value",
    }

    def __init__(self, shapes: Shapes, **options: object) -> None:
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
        """Those of loc and matrix: n + n(n+1)/2 for scale_tril, else n + n²."""
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

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return a bound [B] where the matrix does not move."""
        if self.matrix not in enclosure.fixed:
            raise NoCertificate(
                f"no certificate: the {self.matrix} of {self.name} moves with x",
                "Expected a matrix that is the same for every input",
                "Read the witness instead, which needs no such thing",
            )
        return of_means(enclosure, self.scale_tril(enclosure.centre))

    def scale_tril(self, phi: Tensor) -> Tensor:
        """Return L [..., n, n]."""
        matrix = self.unpack(phi)[self.matrix]
        if self.matrix == "covariance_matrix":
            return lower_cholesky(matrix)
        if self.matrix == "precision_matrix":
            return _inverse_tril(matrix)
        return matrix

    def relative_step(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return S [N, n, n]; L₂ᵀ (P₁ − P₂) L₁ (L₂⁻¹ L₁)ᵀ for precisions."""
        step = self.unpack(other - phi)[self.matrix]
        ours, theirs = self.scale_tril(phi), self.scale_tril(other)
        if self.matrix == "covariance_matrix":
            return whiten(theirs, step)
        if self.matrix == "precision_matrix":
            return -theirs.mT @ step @ ours @ solve_lower(theirs, ours).mT
        moved = solve_lower(theirs, step)
        return moved + moved.mT - moved @ moved.mT

    def tril_step(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return L₂ − L₁ [N, n, n], the parameter's own if it is L."""
        if self.triangular:
            return self._stored(other - phi)
        return super().tril_step(phi, other)

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
        return whiten(tril, units)

    def _stored(self, phi: Tensor) -> Tensor:
        i, j = self._indices()
        matrix = phi.new_zeros(*phi.shape[:-1], self.n, self.n)
        matrix[..., i, j] = phi[..., self.n :]
        return matrix

    def _indices(self) -> tuple[Tensor, Tensor]:
        offset = 0 if self.triangular else self.n
        i, j = torch.tril_indices(self.n, self.n, offset)
        return i, j


def _inverse_tril(precision: Tensor) -> Tensor:
    """Return lower L with L Lᵀ = P⁻¹, by the Cholesky factor of P read backwards."""
    flipped = lower_cholesky(precision.flip((-2, -1)))
    lower = flipped.flip((-2, -1)).mT
    eye = torch.eye(precision.shape[-1], dtype=lower.dtype, device=lower.device)
    return solve_lower(lower, eye.expand_as(lower))
