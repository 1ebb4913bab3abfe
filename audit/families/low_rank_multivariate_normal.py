"""N(μ, W Wᵀ + diag D): few columns W and a diagonal D.

Its map μ + W z + √D z' is linear in W, so its transport tensor is the identity on μ
and W and 1/4D on D. A rotation of W moves draws but not the law: what the transport
tensor has over the Bures tensor there is gauge. `gaussian` has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.gaussian import Gaussian, whiten
from audit.families.parameters import Shapes, check_finite
from audit.families.roots import solve_lower
from audit.ground.errors import ConfigError
from audit.linalg.operators import Diagonal
from audit.linalg.stored import LinearOperator


class LowRankMultivariateNormal(Gaussian):
    """N(loc, W Wᵀ + diag D): loc [n], cov_factor W [n, k], cov_diag D [n].

    Density: exp(−(θ − μ)ᵀ Σ⁻¹ (θ − μ)/2) / √((2π)ⁿ det Σ), μ = `loc`, Σ = W Wᵀ + diag
    D.

    Fisher information: dμᵀ Σ⁻¹ dμ + ½ tr(Σ⁻¹ dΣ Σ⁻¹ dΣ).

    Its map is μ + W z + √D z', which a rotation of W moves without moving the law.
    """

    parameterizations = (("loc", "cov_factor", "cov_diag"),)
    event_axes: ClassVar[Mapping[str, int]] = {
        "loc": 1,
        "cov_factor": 2,
        "cov_diag": 1,
    }
    transport_name = "loc + W z + sqrt(D) z'"

    def __init__(self, shapes: Shapes, **options: object) -> None:
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
        """The numbers of loc, W and D, n + n k + n."""
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
        """Return the Cholesky factor of W Wᵀ + D, of which nothing is squared.

        Σ = A Aᵀ with A = (W, √D), so that Aᵀ = Q Lᵀ.
        """
        _, factor, diagonal = self.unpack(phi).values()
        both = torch.cat([factor, torch.diag_embed(diagonal.sqrt())], dim=-1)
        unit = both.abs().amax(-1, keepdim=True)
        lower: Tensor = torch.linalg.qr((both / unit).mT, mode="r").R.mT
        sign = lower.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        return lower * sign * unit

    def relative_step(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return S [N, n, n], of ΔW W₁ᵀ + W₁ ΔWᵀ + ΔW ΔWᵀ + diag ΔD."""
        _, factor, _ = self.unpack(phi).values()
        _, step, diagonal = self.unpack(other - phi).values()
        tril = self.scale_tril(other)
        moved, kept = solve_lower(tril, step), solve_lower(tril, factor)
        cross = moved @ kept.mT
        cross = cross + cross.mT + moved @ moved.mT
        return cross + whiten(tril, torch.diag_embed(diagonal))

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
        tail = (phi - other)[..., -n:]
        tail = tail / (phi[..., -n:].sqrt() + other[..., -n:].sqrt())
        return head.square().sum(-1) + tail.square().sum(-1)
