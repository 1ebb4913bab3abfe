"""Ordered classes by a location and cut points: P(k) = σ(c_k − η) − σ(c_{k−1} − η).

With b = c_k − η and a = c_{k−1} − η, c_0 = −∞ and c_K = ∞,

    p = σ(b) σ(−a) (1 − e^{a−b}),     ∂ln p/∂η = σ(a) + σ(b) − 1,
    ∂ln p/∂b = σ(−b) / [σ(−a) (1 − e^{a−b})],
    ∂ln p/∂a = −σ(a) / [σ(b) (1 − e^{a−b})].

Nothing is lost where cut points are close, or far out in a tail. The classes have an
order: the quantile distance grows linearly, as for counts.

Source: McCullagh, Journal of the Royal Statistical Society B 42 (1980).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from audit.families.listed import Steps
from audit.families.parameters import Shapes, check_finite
from audit.ground.errors import ConfigError
from audit.linalg.stored import LinearOperator, Matrix


class Ordinal(Steps):
    """One of K ordered classes, 0 … K − 1: `loc` η and `cutpoints` [K − 1].

    Probability: P(k) = σ(c_{k+1} − η) − σ(c_k − η), c = −∞, `cutpoints`, ∞ from c_0 on,
    σ the logistic function.

    Fisher information: Σ_k ∂P(k) ∂P(k)ᵀ / P(k), ∂ by η and the cut points.
    """

    parameterizations = (("loc", "cutpoints"),)
    event_axes: ClassVar[Mapping[str, int]] = {"cutpoints": 1}
    transport_name = "step quantile function of the class"

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        loc, cuts = self.shapes["loc"], self.shapes["cutpoints"]
        if loc not in ((), (1,)) or len(cuts) != 1:
            raise ConfigError(
                f"The family ordinal was given loc {loc} and cutpoints {cuts}",
                "It takes one number and one vector of cut points for each input",
                "Slice the outputs, or audit one position at a time",
            )

    @property
    def size(self) -> int:
        """K."""
        return 1 + self.shapes["cutpoints"][0]

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return (η, c_1, …, c_{K−1}) [N, K]."""
        loc, cuts = (values[n].to(torch.float64) for n in ("loc", "cutpoints"))
        return torch.cat([loc.reshape(len(loc), 1), cuts], dim=-1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return η [..., *shape] and the cut points [..., K − 1]."""
        loc = phi[..., 0].reshape(*phi.shape[:-1], *self.shapes["loc"])
        return {"loc": loc, "cutpoints": phi[..., 1:]}

    def log_probs(self, phi: Tensor) -> Tensor:
        """Return ln P(k) [..., K]."""
        upper, lower, gap = _ends(phi)
        return logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-gap))

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, or cut points that do not increase."""
        falls = (phi[..., 1:].diff(dim=-1) <= 0).any(-1)
        return check_finite(phi) | {"cutpoints do not increase": falls}

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Return rows √p ∂ln p [N, K, K]."""
        upper, lower, gap = _ends(phi)
        rest = torch.log(-torch.expm1(-gap))
        log_p = self.log_probs(phi)
        by_upper = (log_p / 2 + logsigmoid(-upper) - logsigmoid(-lower) - rest).exp()
        by_lower = (log_p / 2 + logsigmoid(lower) - logsigmoid(upper) - rest).exp()
        by_loc = (log_p / 2).exp() * (torch.sigmoid(upper) - torch.sigmoid(-lower))
        cuts = torch.diag_embed(by_upper)[..., :-1]
        cuts = cuts - torch.diag_embed(by_lower)[..., 1:]
        return Matrix(torch.cat([by_loc.unsqueeze(-1), cuts], dim=-1))

    def linear_root(self, phi: Tensor) -> LinearOperator:
        """Return rows ∂C_k [N, K − 1, K], C_k = σ(c_k − η)."""
        at = phi[..., 1:] - phi[..., :1]
        slope = (logsigmoid(at) + logsigmoid(-at)).exp()
        return Matrix(torch.cat([-slope.unsqueeze(-1), torch.diag_embed(slope)], -1))


def _ends(phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return b, a and b − a [..., K], infinite at the two ends."""
    at = phi[..., 1:] - phi[..., :1]
    upper = pad(at, (0, 1), value=torch.inf)
    lower = pad(at, (1, 0), value=-torch.inf)
    gap = pad(phi[..., 1:].diff(dim=-1), (1, 1), value=torch.inf)
    return upper, lower, gap
