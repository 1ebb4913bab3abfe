"""Laws of repeated trials.

Trials with success probability p are written in the logit l = ln p/(1−p), where nothing
is lost when p is near 0 or 1; a head of probabilities adds dl/dp = 1/(p(1−p)).

    law          F in l         F in p            |∂ mean| in l     in p
    Bernoulli    p(1−p)         1/(p(1−p))        p(1−p)            1
    Binomial     n p(1−p)       n/(p(1−p))        n p(1−p)          n
    Geometric    1−p            1/(p²(1−p))       (1−p)/p           1/p²

Source: Johnson, Kemp & Kotz, Univariate Discrete Distributions (2005), chapters 3-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import logsigmoid

from audit.families.integrands import RELATIVE_ENTROPY, Renyi
from audit.families.lattice import TAIL, Lattice
from audit.families.options import read_positive
from audit.families.univariate import Parameters


class Trials(Lattice):
    """Coordinates known by a success probability, `probs` or `logits`."""

    parameterizations: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("probs",),
        ("logits",),
    )

    def logits(self, parameters: Parameters) -> Tensor:
        """Return l [...] whichever way the probability is given."""
        value = parameters[-1]
        if self.parameters[-1] == "logits":
            return value
        return value.log() - torch.log1p(-value)

    def slope(self, parameters: Parameters) -> Tensor:
        """Return dl / d parameter [...]."""
        value = parameters[-1]
        if self.parameters[-1] == "logits":
            return torch.ones_like(value)
        return 1 / (value * (1 - value))

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]; probabilities lie strictly between 0 and 1."""
        found = super().violations(phi)
        if self.parameters[-1] == "probs":
            probs = self.split(phi)[-1]
            outside = ((probs <= 0) | (probs >= 1)).any(-1)
            found["probs is not strictly between 0 and 1"] = outside
        return found


class Bernoulli(Trials):
    """Coordinates 0 or 1."""

    trials: float = 1.0

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Bernoulli law."""
        return td.Bernoulli(logits=self.logits(parameters), validate_args=False)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return 0 and the number of trials."""
        (value,) = parameters
        return torch.zeros_like(value), torch.full_like(value, self.trials)

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return n p(1−p), in the given parameter."""
        variance = self.trials * _variance(self.logits(parameters))
        return (variance * self.slope(parameters).square())[..., None, None]

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return n p(1−p), in the given parameter."""
        variance = self.trials * _variance(self.logits(parameters))
        return variance * self.slope(parameters)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return n times the divergence of one trial."""
        log_f, log_g = (one_trial(self.logits(p)) for p in (left, right))
        return self.trials * RELATIVE_ENTROPY(log_f, log_g, torch.ones_like(log_f))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return n times the divergence of one trial."""
        log_f, log_g = (one_trial(self.logits(p)) for p in (left, right))
        return self.trials * Renyi(alpha)(log_f, log_g, torch.ones_like(log_f))


class Binomial(Bernoulli):
    """Successes in `total_count` trials, an option."""

    options = ("total_count",)

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], **options: object
    ) -> None:
        super().__init__(shapes, **options)
        count = self.settings["total_count"]
        self.trials = read_positive("total_count", count, whole=True)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the binomial law."""
        logits = self.logits(parameters)
        return td.Binomial(int(self.trials), logits=logits, validate_args=False)


class Geometric(Trials):
    """Failures before the first success."""

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the geometric law on 0, 1, 2 and so on."""
        return td.Geometric(logits=self.logits(parameters), validate_args=False)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return 0 and the integer where (1−p)ᵏ is 1e-20."""
        logits = self.logits(parameters)
        last = (-TAIL / logsigmoid(-logits)).ceil()
        return torch.zeros_like(last), last

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln p + k ln(1−p)."""
        logits = self.logits(parameters)
        return logsigmoid(logits) + k * logsigmoid(-logits)

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return 1−p, in the given parameter."""
        failure = torch.sigmoid(-self.logits(parameters))
        return (failure * self.slope(parameters).square())[..., None, None]

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return (1−p)/p = e^{−l}, in the given parameter."""
        return torch.exp(-self.logits(parameters)) * self.slope(parameters)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the divergence of one trial times the mean number of them, 1/p."""
        logits = self.logits(left)
        log_f, log_g = (one_trial(value) for value in (logits, self.logits(right)))
        one = RELATIVE_ENTROPY(log_f, log_g, torch.ones_like(log_f))
        return one * torch.exp(-logsigmoid(logits))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return ln[a / (1−b)] / (α−1), a and b the tilted success and failure."""
        log_f, log_g = (one_trial(self.logits(p)) for p in (left, right))
        tilted = alpha * log_f + (1 - alpha) * log_g
        log_b, log_a = tilted.unbind(-1)
        value = (log_a - torch.log(-torch.expm1(log_b))) / (alpha - 1)
        return torch.where(log_b < 0, value, torch.inf)


def one_trial(logits: Tensor) -> Tensor:
    """Return the log probabilities [..., 2] of failure and success."""
    return torch.stack([logsigmoid(-logits), logsigmoid(logits)], dim=-1)


def _variance(logits: Tensor) -> Tensor:
    return torch.sigmoid(logits) * torch.sigmoid(-logits)
