"""Divergences as integrals of functions of two log densities.

With r = log(g / f), every integrand has a double zero at r = 0, which keeps the
relative accuracy for close laws; ∫ (g − f) = 0 supplies it:

    KL(f ‖ g)   ∫ f [eʳ − 1 − r]
    Rényi       log(1 + ∫ f [e^{(1−α) r} − 1 − (1−α)(eʳ − 1)]) / (α − 1)
    JS          ½ ∫ f [log 2/(1 + eʳ)  +  eʳ log 2/(1 + e^−r)]

On a lattice the integral is a sum and the weights are one.

Source: Liese & Vajda, IEEE Transactions on Information Theory 52 (2006), for JS with
its mixture written as f (1 + eʳ)/2; van Erven & Harremoës, ibid. 60 (2014), for Rényi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

FLOOR = -1e300  # stands for log 0, and its differences stay finite


class Integrand(Protocol):
    """A divergence on nodes."""

    @property
    def tilt(self) -> float:
        """The α of f^α g^{1−α} in the integrand; above 1 its tails may not end."""

    def __call__(self, log_f: Tensor, log_g: Tensor, weights: Tensor) -> Tensor:
        """Return the divergence [M] from log densities and weights [M, K]."""


@dataclass(frozen=True)
class RelativeEntropy:
    """The Kullback-Leibler divergence, in nats."""

    tilt: float = 1.0

    def __call__(self, log_f: Tensor, log_g: Tensor, weights: Tensor) -> Tensor:
        """Return KL(f ‖ g) [M]."""
        log_f, log_g = _floor(log_f), _floor(log_g)
        r, f = log_g - log_f, log_f.exp()
        far = log_g.exp() - f - f * r
        near = f * (torch.expm1(_small(r)) - _small(r))
        return (weights * _choose(r, near, far)).sum(-1)


@dataclass(frozen=True)
class Renyi:
    """The Rényi divergence of order `tilt`."""

    tilt: float

    def __call__(self, log_f: Tensor, log_g: Tensor, weights: Tensor) -> Tensor:
        """Return log ∫ f^α g^{1−α} / (α − 1) [M]."""
        log_f, log_g = _floor(log_f), _floor(log_g)
        beta, r = 1 - self.tilt, log_g - log_f
        log_tilted = log_f + beta * r
        far = log_tilted.exp() - self.tilt * log_f.exp() - beta * log_g.exp()
        near = torch.expm1(beta * _small(r)) - beta * torch.expm1(_small(r))
        excess = (weights * _choose(r, log_f.exp() * near, far)).sum(-1)
        direct = torch.logsumexp(log_tilted + weights.log(), dim=-1)
        close = excess.abs() < 0.5
        log_affinity = torch.where(close, torch.log1p(_small(excess)), direct)
        return log_affinity / (self.tilt - 1)


@dataclass(frozen=True)
class JensenShannon:
    """The Jensen-Shannon divergence, in nats."""

    tilt: float = 1.0

    def __call__(self, log_f: Tensor, log_g: Tensor, weights: Tensor) -> Tensor:
        """Return ½ KL(f ‖ m) + ½ KL(g ‖ m) [M], m = ½ (f + g)."""
        log_f, log_g = _floor(log_f), _floor(log_g)
        r, ln2 = log_g - log_f, math.log(2.0)
        near_f = torch.log1p(torch.expm1(_small(r)) / 2)
        near_g = torch.log1p(torch.expm1(-_small(r)) / 2)
        loss_f = log_f.exp() * _choose(r, near_f, -logsigmoid(-r) - ln2)
        loss_g = log_g.exp() * _choose(r, near_g, -logsigmoid(r) - ln2)
        return -(weights * (loss_f + loss_g)).sum(-1) / 2


RELATIVE_ENTROPY, JENSEN_SHANNON = RelativeEntropy(), JensenShannon()


def _floor(log_density: Tensor) -> Tensor:
    return torch.nan_to_num(log_density, nan=FLOOR).clamp_min(FLOOR)


def _small(r: Tensor) -> Tensor:
    return r.clamp(-1, 1)


def _choose(r: Tensor, near: Tensor, far: Tensor) -> Tensor:
    return torch.where(r.abs() < 1, near, far)
