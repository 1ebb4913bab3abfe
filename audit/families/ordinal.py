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
from torch import distributions as td
from torch.nn.functional import logsigmoid, pad

from audit.families.integrands import JENSEN_SHANNON, RELATIVE_ENTROPY, Integrand, Renyi
from audit.families.interface import Family, check_finite
from audit.families.steps import refuse_steps, step_distance
from audit.ground.errors import ConfigError
from audit.linalg.operators import LinearOperator, Matrix


class Ordinal(Family):
    """One of K ordered classes, 0 … K − 1: `loc` η and `cutpoints` [K − 1]."""

    parameterizations = (("loc", "cutpoints"),)
    event_axes: ClassVar[Mapping[str, int]] = {"cutpoints": 1}
    discrete = True
    transport_name = "step quantile function of the class"

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], **options: object
    ) -> None:
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

    @property
    def event_shape(self) -> tuple[int, ...]:
        """()."""
        return ()

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

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape []."""
        return td.Categorical(logits=self.log_probs(phi), validate_args=False)

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

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: a step function has no derivative."""
        return refuse_steps(self)

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return Σ p ln(p/p') [N]."""
        return self._sum(phi, other, RELATIVE_ENTROPY)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor:
        """Return ln Σ p^α p'^{1−α} / (α−1) [N]."""
        return self._sum(phi, other, Renyi(alpha))

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return the Jensen-Shannon divergence [N]."""
        return self._sum(phi, other, JENSEN_SHANNON)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return E(T − T')² [N] of the classes' places."""
        return step_distance(self.log_probs(phi).exp(), self.log_probs(other).exp())

    def _sum(self, phi: Tensor, other: Tensor, integrand: Integrand) -> Tensor:
        log_f, log_g = self.log_probs(phi), self.log_probs(other)
        return integrand(log_f, log_g, torch.ones_like(log_f), log_g - log_f)


def _ends(phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return b, a and b − a [..., K], infinite at the two ends."""
    at = phi[..., 1:] - phi[..., :1]
    upper = pad(at, (0, 1), value=torch.inf)
    lower = pad(at, (1, 0), value=-torch.inf)
    gap = pad(phi[..., 1:].diff(dim=-1), (1, 1), value=torch.inf)
    return upper, lower, gap
