"""Counts of trials before an outcome.

    law          F in l         F in p            |∂ mean| in l     in p
    Geometric    1−p            1/(p²(1−p))       (1−p)/p           1/p²

`negative_binomial` has the other. A probability may be such that the outcome comes at
once, and the law is a point mass at 0; it may not be such that it never comes.

Source: Johnson, Kemp & Kotz, Univariate Discrete Distributions (2005), chapter 5.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.integrands import RELATIVE_ENTROPY
from audit.families.lattice import TAIL
from audit.families.normals import renyi_by_kl
from audit.families.trials import Trials
from audit.families.univariate import Parameters
from audit.nodes.special import times


class Waiting(Trials):
    """Counts of trials before an outcome: `stop` is 0 for a failure, 1 for a success.

    Divergences are those of one trial times the mean number of trials, 1/P(stop). Such
    laws are an exponential family in η = ln(1 − P(stop)).
    """

    stop: ClassVar[int]

    def waiting_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return KL [...] between waiting times for one such outcome."""
        return self.of_one_trial(left, right, RELATIVE_ENTROPY, per=self.stop)

    def waiting_renyi(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the Rényi divergence [...] between them; infinite from η ≥ 0 on."""
        parameter, inside = self.between(left, right, alpha)
        mixed = (parameter,)
        to_left, to_right = (self.waiting_entropy(mixed, p) for p in (left, right))
        return torch.where(inside, renyi_by_kl(to_left, to_right, alpha), torch.inf)

    def between(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> tuple[Tensor, Tensor]:
        """Return the parameter [...] of αη₁ + (1−α)η₂, and where there is such a law.

        Elsewhere it is that of some other law.
        """
        ours, theirs = (self.one_trial(each)[1 - self.stop] for each in (left, right))
        eta = torch.where(ours == theirs, ours, alpha * ours + (1 - alpha) * theirs)
        inside = eta < 0
        eta = torch.where(inside, eta, -1.0)
        if self.by_logits:
            logit = torch.log(-torch.expm1(eta)) - eta
            return logit if self.stop else -logit, inside
        return -torch.expm1(eta) if self.stop else eta.exp(), inside


class Geometric(Waiting):
    """Failures before the first success.

    Probability: p (1 − p)^k.

    Fisher information: 1/(p²(1 − p)) in `probs`, 1 − p in `logits`.
    """

    stop, certain = 1, (1.0,)

    def sampler(self, parameters: Parameters) -> td.Distribution:
        """Return the geometric law on 0, 1, 2 and so on."""
        success = self.one_trial(parameters)[1].exp()
        return td.Geometric(probs=success, validate_args=False)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return 0 and the integer where (1−p)ᵏ is 1e-20."""
        last = (-TAIL / self.one_trial(parameters)[0]).ceil()
        return torch.zeros_like(last), last

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln p + k ln(1−p)."""
        failure, success = self.one_trial(parameters)
        return success + times(k, failure)

    def log_change(self, k: Tensor, left: Parameters, right: Parameters) -> Tensor:
        """Return Δln p + k Δln(1−p)."""
        failure, success = self.changes(left, right)
        return success + times(k, failure)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of 1−p, in the given parameter."""
        failure, success = self.one_trial(parameters)
        log_root = failure / 2 if self.by_logits else -failure / 2 - success
        return log_root.exp()[..., None, None]

    def mass_slopes(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return [(1−p)ᵏ − k p (1−p)ᵏ⁻¹] dp."""
        failure, success = self.one_trial(parameters)
        later = torch.where(
            k == 0, 0.0, k * (success + times((k - 1).clamp_min(0), failure)).exp()
        )
        return ((times(k, failure).exp() - later) * self.scale(parameters)).unsqueeze(
            -1
        )

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return (1−p)/p, in the given parameter."""
        failure, success = self.one_trial(parameters)
        return (failure - success if self.by_logits else -2 * success).exp()

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the divergence of one trial times the mean number of them, 1/p."""
        return self.waiting_entropy(left, right)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return ln[a / (1−b)] / (α−1), a and b the tilted success and failure."""
        return self.waiting_renyi(left, right, alpha)
