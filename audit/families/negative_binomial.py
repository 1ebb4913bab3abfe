"""Negative binomial counts: successes before the r-th failure, r ≥ 0 real.

With success probability p = σ(l), and F in (r, l),

    F   rr ψ'(r) − E ψ'(X + r),   rl p,   ll r p

rr is rewritten by ψ'(x) = ∫ t e^{−xt} / (1 − e^{−t}) dt and the generating function
E e^{−tX} = (1 + e^l (1 − e^{−t}))^{−r} as one integral of positive terms,

    rr = ∫ t e^{−rt} / (1 − e^{−t}) · [1 − (1 + e^l (1 − e^{−t}))^{−r}] dt,

which holds from r = 1e-3 to 1e6 where sums over X would need a million terms.

Two parameters move the law in two ways, so the linear law of the quantile distance is
the full Σ_k |∂C_k · δ|: one row for each group of neighbouring k. Grouping loses
something only where ∂C_k · δ changes its sign inside a group.

At r = 0 or p = 0 the law is a point mass at 0, which a step of that parameter moves at
an infinite price and a step of the other leaves.

Source: Lawless, Canadian Journal of Statistics 15 (1987), for F as a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.integrands import Renyi
from audit.families.lattice import TAIL
from audit.families.roles import Role
from audit.families.roots import rows
from audit.families.summed import GROUPS
from audit.families.univariate import Parameters
from audit.families.waiting import Waiting
from audit.linalg.operators import CoordinateBlocks
from audit.linalg.stored import LinearOperator
from audit.nodes.excess import log_ratio
from audit.nodes.panels import Panels
from audit.nodes.special import lgamma_change, times

PANELS = 64
WIDEST = 4.0  # of a panel, in ln t


class NegativeBinomial(Waiting):
    """Counts by `total_count` r and `probs` or `logits` of a success.

    Probability: Γ(k + r)/(k! Γ(r)) p^k (1 − p)^r.

    Fisher information: pp r/(p(1 − p)²), rp 1/(1 − p), rr ψ'(r) − E ψ'(k + r) in r and
    `probs`; ll rp, rl p in `logits` l.
    """

    parameterizations = (("total_count", "probs"), ("total_count", "logits"))
    not_negative = ("total_count",)
    roles: ClassVar[Mapping[str, Role]] = {  # the odds are the mixing gamma's scale
        "probs": Role.SCALE,
        "logits": Role.SCALE,
    }
    stop, certain = 0, (0.0,)

    def log_odds(self, parameters: Parameters) -> Tensor:
        """Return ln p/(1−p) [...]."""
        failure, success = self.one_trial(parameters)
        return success - failure

    def sampler(self, parameters: Parameters) -> td.Distribution:
        """Return the negative binomial law."""
        count, logits = parameters[0], self.log_odds(parameters)
        return td.NegativeBinomial(count, logits=logits, validate_args=False)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the mean less 10 and plus 10 standard deviations and a tail."""
        count, odds = parameters[0], self.log_odds(parameters).exp()
        mean, spread = count * odds, (2 * TAIL * count * odds * (1 + odds)).sqrt()
        tail = TAIL * (2 + odds)
        return (mean - spread).floor().clamp_min(0), (mean + spread + tail).ceil()

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln Γ(r+k)/(Γ(r) k!) + r ln(1−p) + k ln p."""
        return self._log_term(k, k, parameters)

    def log_change(self, k: Tensor, left: Parameters, right: Parameters) -> Tensor:
        """Return Δln Γ(r+k)/Γ(r) + Δ[r ln(1−p)] + k Δln p."""
        count, other = left[0], right[0]
        step, (failure, success) = other - count, self.changes(left, right)
        ways = log_ratio(count + k, other + k, step).cumsum(-1)
        ways = torch.nn.functional.pad(ways[..., :-1], (1, 0))
        gaps = bool((k.diff(dim=-1) != 1).any())
        first = k if gaps else k[..., :1]
        before = lgamma_change(count + first, other + first, step)
        before = before - lgamma_change(count, other, step)
        ways = torch.where(first == 0, 0.0, before) + (0.0 if gaps else ways)
        kept = times(step, self.one_trial(left)[0]) + times(other, failure)
        return ways + kept + times(k, success)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root √(rr − p/r) dr, √(p/r) dr + √(r p) dl, in the parameters."""
        count, (failure, success) = parameters[0], self.one_trial(parameters)
        log_root = count.log() / 2
        cross = (success / 2 - log_root).exp()
        rest = count_information(count, success - failure) - cross.square()
        rest = rest.clamp_min(0).sqrt()
        slope = success / 2 if self.by_logits else -success / 2 - failure
        own = torch.where(count == 0, 0.0, (slope + log_root).exp())
        still = torch.isneginf(success)
        edge = torch.where(still, 0.0, torch.inf)
        rest = torch.where((count == 0) | still, edge, rest)
        cross = torch.where((count == 0) | still, 0.0, cross)
        return rows((rest, torch.zeros_like(rest)), (cross, own))

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return |∂ mean / ∂ r| = p/(1−p); `linear_root` has the whole law."""
        return self.log_odds(parameters).exp()

    def linear_root(self, phi: Tensor) -> LinearOperator:
        """Return rows ∂C_k, summed over groups of neighbouring k."""
        parameters = self.split(phi)
        return CoordinateBlocks(self.on_window([parameters], self._cdf_steps))

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return r/(1−p) times a trial's divergence for the same r, else a sum."""
        same = times(left[0], self.waiting_entropy(left, right))
        if bool((left[0] == right[0]).all()):
            return same
        total = super().relative_entropy(left, right)
        return torch.where(left[0] == right[0], same, total)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return r times a waiting time's for the same r, else a sum."""
        same, equal = self.waiting_renyi(left, right, alpha), left[0] == right[0]
        same = times(left[0], same)
        if bool(equal.all()):
            return same
        count = (alpha * left[0] + (1 - alpha) * right[0]).clamp_min(1)
        parameter, inside = self.between(left, right, alpha)
        for each in (left, right):
            still = (each[0] == 0) | torch.isneginf(self.one_trial(each)[1])
            inside = inside | still  # a point mass: the sum has one term
        total = self._divergence(left, right, Renyi(alpha), [(count, parameter)])
        return torch.where(equal, same, torch.where(inside, total, torch.inf))

    def _log_term(self, k: Tensor, power: Tensor, parameters: Parameters) -> Tensor:
        """Return ln Γ(r+k)/(Γ(r) k!) + r ln(1−p) + power ln p."""
        count, (failure, success) = parameters[0], self.one_trial(parameters)
        ways = torch.lgamma(count + k) - torch.lgamma(count) - torch.lgamma(k + 1)
        ways = torch.where(k == 0, 0.0, ways)
        return ways + times(count, failure) + times(power, success)

    def _cdf_steps(self, k: Tensor, laws: Sequence[Parameters]) -> Tensor:
        """Return ∂C_k [M, groups, 2], summed over neighbouring k.

        How many are neighbours a law's own window says, not that of its batch.
        """
        (parameters,) = laws
        steps = self.mass_slopes(k, parameters).cumsum(1)
        low, high = self.window(parameters)
        width = torch.nan_to_num((high - low + 1) / GROUPS, 1.0).ceil().clamp_min(1)
        groups = min(GROUPS, k.shape[-1])
        place = ((k - k[:, :1]) / width).long().clamp_max(groups - 1)
        summed = torch.zeros_like(steps[:, :groups])
        return summed.scatter_add(1, place.unsqueeze(-1).expand_as(steps), steps)

    def mass_slopes(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ∂p(k) [M, K, 2]."""
        count, (failure, success) = parameters[0], self.one_trial(parameters)
        mass = self.log_mass(k, parameters).exp()
        by_count = torch.digamma(count + k) - torch.digamma(count)
        by_count = times(mass, torch.where(k == 0, 0.0, by_count) + failure)
        first = torch.where(k == 0, failure, times(k, success).exp() / k)  # r = 0
        by_count = torch.where(count == 0, first, by_count)
        lower = k * self._log_term(k, (k - 1).clamp_min(0), parameters).exp()
        if self.by_logits:
            gain, loss = (failure + success).exp(), count * success.exp()
        else:
            gain, loss = torch.ones_like(success), count * (-failure).exp()
        return torch.stack([by_count, lower * gain - mass * loss], dim=-1)


def count_information(count: Tensor, log_odds: Tensor) -> Tensor:
    """Return the information [...] about r > 0, by quadrature in ln t."""
    shape = count.shape
    r, odds = count.reshape(-1, 1), log_odds.reshape(-1, 1)
    log_r = r.log()
    fastest = torch.maximum(torch.maximum(log_r, odds), (log_r + odds).clamp_min(0))
    low, high = -fastest - 20, torch.full_like(r, 2 * TAIL).log() - log_r
    longest = torch.nan_to_num(high - low, 0.0, 0.0, 0.0).max()
    count_of = max(PANELS, int(longest / WIDEST))
    unit = torch.linspace(0, 1, count_of + 1, dtype=r.dtype, device=r.device)
    panels = Panels(low + (high - low) * unit)
    t = panels.nodes.exp()
    rise = torch.where(t == 0, 1.0, -torch.expm1(-t) / t)
    grown = odds + panels.nodes + rise.log()
    grown = torch.logaddexp(torch.zeros_like(t), grown)
    bracket = -torch.expm1(-r * grown)
    values = bracket * (t * torch.exp(-r * t)) / rise
    return (panels.weights * values).sum(-1).reshape(shape)
