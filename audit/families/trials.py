"""Laws of repeated trials.

A trial is written by the log probabilities of failure and success and by their changes,
where nothing is lost when p is near 0 or 1. With l = ln p/(1−p):

    law          F in l         F in p            |∂ mean| in l     in p
    Bernoulli    p(1−p)         1/(p(1−p))        p(1−p)            1
    Binomial     n p(1−p)       n/(p(1−p))        n p(1−p)          n

A head of probabilities may give 0 and 1 exactly, where the law is a point mass.

Source: Johnson, Kemp & Kotz, Univariate Discrete Distributions (2005), chapter 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import logsigmoid

from audit.families.enclosures import Enclosure
from audit.families.integrands import RELATIVE_ENTROPY, Integrand, Renyi
from audit.families.largest_kl import of_trials
from audit.families.lattice import Lattice
from audit.families.options import read_positive
from audit.families.parameters import Shapes
from audit.families.univariate import Parameters
from audit.nodes.excess import log_ratio
from audit.nodes.special import edge_log, times


class Trials(Lattice):
    """Coordinates known by a success probability, `probs` or `logits`."""

    parameterizations: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("probs",),
        ("logits",),
    )
    certain: ClassVar[tuple[float, ...]] = (0.0, 1.0)  # probabilities it may have

    @property
    def by_logits(self) -> bool:
        """Whether the probability is given by its logit."""
        return self.parameters[-1] == "logits"

    def one_trial(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the log probabilities [...] of failure and success."""
        value = parameters[-1]
        if self.by_logits:
            return logsigmoid(-value), logsigmoid(value)
        failure = torch.log1p(-value.clamp_max(0.5))
        return torch.where(value < 0.5, failure, edge_log(1 - value)), edge_log(value)

    def changes(self, left: Parameters, right: Parameters) -> tuple[Tensor, Tensor]:
        """Return by how much those grow from left to right; 0 from −∞ to −∞."""
        at, to = left[-1], right[-1]
        step = to - at
        if not self.by_logits:
            return log_ratio(1 - at, 1 - to, -step), log_ratio(at, to, step)
        small, found = step.clamp(-1, 1), []
        for sign in (1, -1):
            near = -torch.log1p(torch.sigmoid(sign * at) * torch.expm1(sign * small))
            far = logsigmoid(-sign * to) - logsigmoid(-sign * at)
            found.append(torch.where(step == small, near, far))
        return found[0], found[1]

    def of_one_trial(
        self,
        left: Parameters,
        right: Parameters,
        integrand: Integrand,
        per: int | None = None,
    ) -> Tensor:
        """Return a divergence [...] of one trial, or per failure (0) or success (1)."""
        log_f = torch.stack(self.one_trial(left), dim=-1)
        log_g = torch.stack(self.one_trial(right), dim=-1)
        if per is not None:
            log_f, log_g = (value - log_f[..., [per]] for value in (log_f, log_g))
        changes = torch.stack(self.changes(left, right), dim=-1)
        return integrand(log_f, log_g, torch.ones_like(log_f), changes)

    def scale(self, parameters: Parameters) -> Tensor:
        """Return dp / d parameter [...]."""
        if not self.by_logits:
            return torch.ones_like(parameters[-1])
        failure, success = self.one_trial(parameters)
        return (failure + success).exp()

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: no probability, or one that makes no law."""
        found = super().violations(phi)
        if self.by_logits:
            return found
        probs = self.split(phi)[-1]
        outside = ((probs < 0) | (probs > 1)).any(-1)
        found["probs is not between 0 and 1"] = outside
        for end in {0.0, 1.0} - set(self.certain):
            found[f"probs is {end:g}: counts would be infinite"] = (probs == end).any(
                -1
            )
        return found


class Bernoulli(Trials):
    """Coordinates 0 or 1.

    Probability: P(1) = p, P(0) = 1 − p.

    Fisher information: 1/(p(1 − p)) in `probs`, p(1 − p) in `logits`.
    """

    enclosed_as: ClassVar[Mapping[str, str]] = {"probs": "logit", "logits": "value"}
    trials: float = 1.0

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_kl` [B]."""
        return of_trials(enclosure, self.trials)

    def sampler(self, parameters: Parameters) -> td.Distribution:
        """Return the Bernoulli law."""
        success = self.one_trial(parameters)[1].exp()
        return td.Bernoulli(probs=success, validate_args=False)

    def most_likely(self, phi: Tensor) -> Tensor | None:
        """Return the likelier of 0 and 1 of each coordinate [N, *event]."""
        if self.trials != 1:
            return None
        (value,) = self.split(phi)
        half = 0.0 if self.parameters == ("logits",) else 0.5
        return (value > half).to(phi).reshape(*phi.shape[:-1], *self.event_shape)

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln (n over k) + (n−k) ln(1−p) + k ln p."""
        failure, success = self.one_trial(parameters)
        rest = self.trials - k
        ways = math.lgamma(self.trials + 1) - torch.lgamma(k + 1)
        ways = ways - torch.lgamma(rest + 1)
        return ways + times(rest, failure) + times(k, success)

    def log_change(self, k: Tensor, left: Parameters, right: Parameters) -> Tensor:
        """Return (n−k) Δln(1−p) + k Δln p."""
        failure, success = self.changes(left, right)
        return times(self.trials - k, failure) + times(k, success)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return 0 and the number of trials."""
        (value,) = parameters
        return torch.zeros_like(value), torch.full_like(value, self.trials)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of n p(1−p), in the given parameter."""
        failure, success = self.one_trial(parameters)
        log_variance = failure + success if self.by_logits else -failure - success
        return (math.sqrt(self.trials) * (log_variance / 2).exp())[..., None, None]

    def mass_slopes(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return n [b(k − 1) − b(k)] dp, b the masses of n − 1 trials."""
        failure, success = self.one_trial(parameters)
        rest = self.trials - 1 - k

        def mass(k: Tensor, rest: Tensor) -> Tensor:
            inside = (k >= 0) & (rest >= 0)
            k, rest = k.clamp_min(0), rest.clamp_min(0)
            ways = math.lgamma(self.trials) - torch.lgamma(k + 1)
            log_mass = ways - torch.lgamma(rest + 1)
            log_mass = log_mass + times(rest, failure) + times(k, success)
            return torch.where(inside, log_mass.exp(), 0.0)

        step = self.trials * (mass(k - 1, rest + 1) - mass(k, rest))
        return (step * self.scale(parameters)).unsqueeze(-1)

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return n p(1−p), in the given parameter."""
        return self.trials * self.scale(parameters)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return n times the divergence of one trial."""
        return self.trials * self.of_one_trial(left, right, RELATIVE_ENTROPY)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return n times the divergence of one trial."""
        return self.trials * self.of_one_trial(left, right, Renyi(alpha))


class Binomial(Bernoulli):
    """Successes in `total_count` trials, an option.

    Probability: n!/(k! (n − k)!) p^k (1 − p)^(n−k), n = `total_count`.

    Fisher information: n/(p(1 − p)) in `probs`, n p(1 − p) in `logits`.
    """

    options = ("total_count",)

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        count = self.settings["total_count"]
        self.trials = read_positive("total_count", count, whole=True)

    def sampler(self, parameters: Parameters) -> td.Distribution:
        """Return the binomial law."""
        success = self.one_trial(parameters)[1].exp()
        return td.Binomial(int(self.trials), probs=success, validate_args=False)
