"""Survival in T intervals: the event falls in interval t with the hazard h_t.

    P(t) = S_{t−1} h_t,     P(T) = S_{T−1}, no event,     S_t = Π_{s ≤ t} (1 − h_s)

A chain of conditionals: information and divergence of the hazards count as often as
somebody is still at risk,

    F = diag(S_{t−1} F_Bernoulli(h_t)),     KL = Σ_t S_{t−1} KL_Bernoulli(h_t ‖ h'_t).

Source: Cox, Journal of the Royal Statistical Society B 34 (1972), section 6; Cover &
Thomas, Elements of Information Theory (2006), theorem 2.5.3, for the chain rule.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from audit.families.listed import Steps
from audit.families.parameters import Shapes
from audit.families.simplex import Classes
from audit.families.trials import Bernoulli
from audit.linalg.operators import Diagonal
from audit.linalg.stored import LinearOperator, Matrix
from audit.nodes.special import times


class DiscreteHazard(Classes, Steps):
    """The interval 0 … T − 1 of the event, T for none: `logits` or `probs` [T].

    Probability: P(t) = h_t Π_{s<t} (1 − h_s), P(T) = Π_s (1 − h_s), h = `probs` or
    σ(`logits`).

    Fisher information: diag(S_t h_t (1 − h_t)) in `logits`, diag(S_t / (h_t (1 − h_t)))
    in `probs`, S_t = Π_{s<t} (1 − h_s).
    """

    parameterizations = (("logits",), ("probs",))
    least = 1
    transport_name = "step quantile function of the interval"

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        self.coin = Bernoulli(self.shapes)

    def log_at_risk(self, phi: Tensor) -> Tensor:
        """Return ln S_{t−1} [..., T + 1]: still at risk before t, and after all."""
        return pad(self.coin.one_trial((phi,))[0].cumsum(-1), (1, 0))

    def log_probs(self, phi: Tensor) -> Tensor:
        """Return ln P(t) [..., T + 1]."""
        return self.log_at_risk(phi) + pad(self.coin.one_trial((phi,))[1], (0, 1))

    def log_changes(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return by how much ln P grows [..., T + 1], accurate for small steps."""
        failure, success = self.coin.changes((phi,), (other,))
        return pad(failure.cumsum(-1), (1, 0)) + pad(success, (0, 1))

    def most_likely(self, phi: Tensor) -> None:
        """Return None: it is no answer of a classifier."""

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return those of the hazards."""
        return self.coin.violations(phi)

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Return the diagonal root √S_{t−1} B_Bernoulli."""
        at_risk = (self.log_at_risk(phi)[..., :-1] / 2).exp()
        return Diagonal(times(at_risk, self.coin.fisher_block((phi,))[..., 0, 0]))

    def linear_root(self, phi: Tensor) -> LinearOperator:
        """Return rows ∂S_t [N, T, T]: S_t ∂ln(1 − h_s) for s ≤ t."""
        failure, success = self.coin.one_trial((phi,))
        log_slope = success if self.coin.by_logits else -failure
        survival = self.log_at_risk(phi)[..., 1:]
        steps = (survival.unsqueeze(-1) + log_slope.unsqueeze(-2)).exp()
        return Matrix(-torch.tril(torch.nan_to_num(steps)))

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return Σ_t S_{t−1} KL_Bernoulli [N]."""
        at_risk = self.log_at_risk(phi)[..., :-1].exp()
        return times(at_risk, self.coin.relative_entropy((phi,), (other,))).sum(-1)
