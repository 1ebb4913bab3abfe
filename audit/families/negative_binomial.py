"""Negative binomial counts: successes before the r-th failure, r > 0 real.

With success probability p = σ(l), and F in (r, l),

    F   rr ψ'(r) − E ψ'(X + r),   rl p,   ll r p

rr is rewritten by ψ'(x) = ∫ t e^{−xt} / (1 − e^{−t}) dt and the generating function
E e^{−tX} = (1 + e^l (1 − e^{−t}))^{−r} as one integral of positive terms,

    rr = ∫ t e^{−rt} / (1 − e^{−t}) · [1 − (1 + e^l (1 − e^{−t}))^{−r}] dt,

which holds from r = 1e-3 to 1e6 where sums over X would need a million terms.

Two parameters move the law in two ways, so the linear law of the quantile distance is
the full Σ_k |∂C_k · δ|: one row for each group of neighbouring k. Grouping loses
something only where ∂C_k · δ changes its sign inside a group.

Source: Lawless, Canadian Journal of Statistics 15 (1987), for F as a sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import logsigmoid

from audit.families.integrands import RELATIVE_ENTROPY, Renyi
from audit.families.lattice import TAIL
from audit.families.panels import Panels
from audit.families.roots import symmetric
from audit.families.trials import Trials, one_trial
from audit.families.univariate import Parameters
from audit.linalg.operators import CoordinateBlocks, LinearOperator

GROUPS = 512  # rows of the linear root, at most
PANELS = 64


class NegativeBinomial(Trials):
    """Counts by `total_count` r and `probs` or `logits` of a success."""

    parameterizations = (("total_count", "probs"), ("total_count", "logits"))
    positive = ("total_count",)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the negative binomial law."""
        logits = self.logits(parameters)
        return td.NegativeBinomial(parameters[0], logits=logits, validate_args=False)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the mean less 10 and plus 10 standard deviations and a tail."""
        count, logits = parameters[0], self.logits(parameters)
        odds = logits.exp()
        mean, spread = count * odds, (2 * TAIL * count * odds * (1 + odds)).sqrt()
        tail = TAIL * (2 + odds)
        return (mean - spread).floor().clamp_min(0), (mean + spread + tail).ceil()

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln Γ(r+k)/(Γ(r) k!) + r ln(1−p) + k ln p."""
        count, logits = parameters[0], self.logits(parameters)
        ways = torch.lgamma(count + k) - torch.lgamma(count) - torch.lgamma(k + 1)
        return ways + count * logsigmoid(-logits) + k * logsigmoid(logits)

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return F in (r, the given parameter)."""
        count, logits = parameters[0], self.logits(parameters)
        success, slope = torch.sigmoid(logits), self.slope(parameters)
        return symmetric(
            {
                (0, 0): count_information(count, logits),
                (0, 1): success * slope,
                (1, 1): count * success * slope.square(),
            }
        )

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return |∂ mean / ∂ r| = e^l; `linear_root` has the whole law."""
        return self.logits(parameters).exp()

    def linear_root(self, phi: Tensor) -> LinearOperator:
        """Return rows ∂C_k, summed over groups of neighbouring k."""
        parameters = self.split(phi)
        return CoordinateBlocks(self.on_window([parameters], self._cdf_steps))

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return r/(1−p) times a trial's divergence for the same r, else a sum."""
        logits, other = self.logits(left), self.logits(right)
        log_f, log_g = one_trial(logits), one_trial(other)
        trial = RELATIVE_ENTROPY(log_f, log_g, torch.ones_like(log_f))
        same = left[0] * torch.exp(-logsigmoid(-logits)) * trial
        if bool((left[0] == right[0]).all()):
            return same
        total = super().relative_entropy(left, right)
        return torch.where(left[0] == right[0], same, total)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return r ln[a/(1−b)] / (α−1) for the same r, else a sum."""
        log_f, log_g = (one_trial(self.logits(p)) for p in (left, right))
        log_a, log_b = (alpha * log_f + (1 - alpha) * log_g).unbind(-1)
        same = left[0] * (log_a - torch.log(-torch.expm1(log_b))) / (alpha - 1)
        equal = left[0] == right[0]
        if not bool(equal.all()):
            count = (alpha * left[0] + (1 - alpha) * right[0]).clamp_min(1)
            logits = log_b - torch.log(-torch.expm1(log_b))  # of the tilted law
            probs = self.parameters[-1] == "probs"
            tilted = count, torch.nan_to_num(logits.sigmoid() if probs else logits)
            total = self.sum_of(left, right, Renyi(alpha), [tilted])
            same = torch.where(equal, same, total)
        return torch.where(log_b < 0, same, torch.inf)

    def _cdf_steps(self, k: Tensor, laws: Sequence[Parameters]) -> Tensor:
        """Return ∂C_k [M, groups, 2], summed over neighbouring k."""
        (parameters,) = laws
        count, logits = parameters[0], self.logits(parameters)
        mass = self.log_mass(k, parameters).exp()
        by_count = torch.digamma(count + k) - torch.digamma(count)
        by_count = by_count + logsigmoid(-logits)
        by_logit = k * torch.sigmoid(-logits) - count * torch.sigmoid(logits)
        score = torch.stack([by_count, by_logit * self.slope(parameters)], dim=-1)
        steps = (mass.unsqueeze(-1) * score).cumsum(1)
        width = -(-k.shape[-1] // GROUPS)
        steps = torch.nn.functional.pad(steps, (0, 0, 0, -k.shape[-1] % width))
        return steps.reshape(len(k), -1, width, 2).sum(2)


def count_information(count: Tensor, logits: Tensor) -> Tensor:
    """Return the information [...] about r, by quadrature in ln t."""
    shape = count.shape
    r, odds = count.reshape(-1, 1), logits.exp().reshape(-1, 1)
    smallest = 1 / torch.maximum(torch.maximum(r, odds), (r * odds).clamp_min(1))
    low, high = smallest.log() - 20, (2 * TAIL / r).log()
    unit = torch.linspace(0, 1, PANELS + 1, dtype=r.dtype, device=r.device)
    panels = Panels(low + (high - low) * unit)
    t = panels.nodes.exp()
    rise = -torch.expm1(-t)
    bracket = -torch.expm1(-r * torch.log1p(odds * rise))
    values = t.square() * torch.exp(-r * t) / rise * bracket
    return (panels.weights * values).sum(-1).reshape(shape)
