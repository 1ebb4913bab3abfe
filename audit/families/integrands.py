"""Divergences as integrals of functions of two log densities.

With r = log(g / f), every integrand has a double zero at r = 0, which keeps the
relative accuracy for close laws; ∫ (g − f) = 0 supplies it:

    KL(f ‖ g)   ∫ f [eʳ − 1 − r]
    Rényi       log(1 + ∫ f [e^{(1−α) r} − 1 − (1−α)(eʳ − 1)]) / (α − 1)
    JS          ½ ∫ [(g − f) r/2 − (f + g) log cosh(r/2)]

Where f = 0 the term of KL is g, since 0 log 0 = 0; where f > 0 = g it is infinite. On a
lattice the integral is a sum and the weights are one.

Source: Liese & Vajda, IEEE Transactions on Information Theory 52 (2006), for JS with
its mixture written as f (1 + eʳ)/2; van Erven & Harremoës, ibid. 60 (2014), for Rényi.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from audit.nodes.excess import exp_excess
from audit.nodes.special import times


@dataclass(frozen=True)
class Integrand(ABC):
    """A divergence on nodes."""

    tilt: float = 1.0
    """The α of f^α g^{1−α} in the integrand; above 1 its tails may not end."""

    def __call__(
        self,
        log_f: Tensor,
        log_g: Tensor,
        weights: Tensor,
        log_ratio: Tensor | None = None,
    ) -> Tensor:
        """Return the divergence [M] from log densities and weights [M, K].

        `log_ratio` is log(g / f), where it is known better than their difference.
        """
        return self.parts(log_f, log_g, weights, log_ratio).total

    def parts(
        self,
        log_f: Tensor,
        log_g: Tensor,
        weights: Tensor,
        log_ratio: Tensor | None = None,
    ) -> Parts:
        """Return the divergence with what it is the sum of; arguments as above."""
        log_weights = weights.log()
        log_f, log_g = log_f + log_weights, log_g + log_weights
        r = log_g - log_f if log_ratio is None else log_ratio
        r = torch.where(torch.isneginf(torch.maximum(log_f, log_g)), 0.0, r)
        f, g = log_f.exp(), log_g.exp()
        terms = self.terms(f, g, r, log_f)
        return Parts(self.total(terms, r, log_f), terms, f, g)

    @abstractmethod
    def terms(self, f: Tensor, g: Tensor, r: Tensor, log_f: Tensor) -> Tensor:
        """Return what is summed [M, K], of one sign, from weighted f, g and log g/f.

        Where both are zero, r is 0.
        """

    def total(self, terms: Tensor, r: Tensor, log_f: Tensor) -> Tensor:
        """Return the divergence [M] from its terms [M, K]."""
        return terms.sum(-1)


@dataclass(frozen=True)
class Parts:
    """A divergence [M], the terms h it is the sum of, and weighted f and g [M, K]."""

    total: Tensor
    terms: Tensor
    f: Tensor
    g: Tensor


class RelativeEntropy(Integrand):
    """The Kullback-Leibler divergence, in nats."""

    def terms(self, f: Tensor, g: Tensor, r: Tensor, log_f: Tensor) -> Tensor:
        """Return f [eʳ − 1 − r]."""
        near, far = times(exp_excess(_small(r)), f), g - times(f, 1 + r)
        return _choose(r, near, far)


class Renyi(Integrand):
    """The Rényi divergence of order `tilt`."""

    def terms(self, f: Tensor, g: Tensor, r: Tensor, log_f: Tensor) -> Tensor:
        """Return f [e^{(1−α) r} − 1 − (1−α)(eʳ − 1)]."""
        beta = 1 - self.tilt
        far = self._log_tilted(r, log_f).exp() - self.tilt * f - beta * g
        near = exp_excess(beta * _small(r)) - beta * exp_excess(_small(r))
        return _choose(r, f * near, far)

    def total(self, terms: Tensor, r: Tensor, log_f: Tensor) -> Tensor:
        """Return log ∫ f^α g^{1−α} / (α − 1) [M]."""
        excess = terms.sum(-1)
        direct = torch.logsumexp(self._log_tilted(r, log_f), dim=-1)
        close = excess.abs() < 0.5
        log_affinity = torch.where(close, torch.log1p(_small(excess)), direct)
        return log_affinity / (self.tilt - 1)

    def _log_tilted(self, r: Tensor, log_f: Tensor) -> Tensor:
        tilted = log_f + (1 - self.tilt) * r
        return torch.where(torch.isneginf(log_f), -torch.inf, tilted)


class JensenShannon(Integrand):
    """The Jensen-Shannon divergence, in nats."""

    def terms(self, f: Tensor, g: Tensor, r: Tensor, log_f: Tensor) -> Tensor:
        """Return half of f log f/m + g log g/m, m = ½ (f + g)."""
        half, ln2 = _small(r) / 2, math.log(2.0)
        log_cosh = torch.log1p(torch.sinh(half).square()) / 2
        near = f * torch.expm1(2 * half) * half - (f + g) * log_cosh
        far = times(f, logsigmoid(-r) + ln2) + times(g, logsigmoid(r) + ln2)
        return _choose(r, near, far) / 2


RELATIVE_ENTROPY, JENSEN_SHANNON = RelativeEntropy(), JensenShannon()


def _small(r: Tensor) -> Tensor:
    return r.clamp(-1, 1)


def _choose(r: Tensor, near: Tensor, far: Tensor) -> Tensor:
    return torch.where(r.abs() <= 1, near, far)
