"""Intervals for the mean of a few skewed numbers.

Squares, divergences and their sums have long upper tails. A sample that has missed the
tail has a small mean and, at once, a small standard deviation s, so that mean ± t s/√n
misses above far more often than it says. Three corrections restore it:

1. Skewness. Hall's monotone cubic of the studentised mean T = √n (mean − μ) / s,

       g(T) = T + c T²/3 + c² T³/27 + c/6,       c = γ/√n,

   has no skewness to second order: g(T) is as symmetric as a normal law's T, and
   μ lies between mean − s/√n g⁻¹(±t), g⁻¹(y) = 3 (cbrt(1 + c (y − c/6)) − 1) / c.
2. The sample's own skewness is too small: by √(n (n−1)) / (n−2) at a normal law, and by
   Hazen's 1 + 8.5/n at skewed ones. The reach of g⁻¹ is longest near c t = 1.1; larger
   c, which shorten it again, count as that.
3. A standard deviation from long tails has fewer than n − 1 degrees of freedom: its
   relative variance is (κ − 1) / 4n for kurtosis κ, that of χ²_ν/ν with ν = 2n/(κ − 1)
   (Satterthwaite). t is Student's quantile at that ν, at most n − 1.

Below `LEAST` numbers neither skewness nor kurtosis is known well enough.

References:
    Hall, On the removal of skewness by transformation, J. R. Statist. Soc. B 54 (1992).
    Bobée & Robitaille, Correction of bias in the estimation of the coefficient of
    skewness, Water Resources Research 11 (1975), for Hazen's factor.
    Satterthwaite, An approximate distribution of estimates of variance components,
    Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from audit.ground.student import interpolated_quantiles, student_quantile

LEAST = 20  # numbers, for an interval that covers as often as it says
_HAZEN = 8.5
_LONGEST = 1.1  # c t at which g⁻¹ reaches farthest


@dataclass(frozen=True)
class Interval:
    """A mean, its standard error and its 95 % interval; tensors of the same shape."""

    value: Tensor
    lower: Tensor
    upper: Tensor
    standard_error: Tensor

    def widened(self, error: Tensor) -> Interval:
        """Return the interval with an independent normal error added.

        What is infinite without doubt stays so.
        """
        reach = student_quantile(math.inf) * error
        known = torch.isfinite(self.value)
        down = torch.where(known, self.value - self.lower, 0.0)
        up = torch.where(known, self.upper - self.value, 0.0)
        return Interval(
            self.value,
            torch.where(known, self.value - torch.hypot(down, reach), self.lower),
            torch.where(known, self.value + torch.hypot(up, reach), self.upper),
            torch.hypot(self.standard_error, torch.where(known, error, 0.0)),
        )

    def at(self, place: int) -> Interval:
        """Return one of several that stand along axis 1."""
        return Interval(*(getattr(self, part.name)[:, place] for part in fields(self)))

    def at_least_zero(self) -> Interval:
        """Return the interval of what cannot be negative."""
        value, lower = self.value.clamp_min(0), self.lower.clamp_min(0)
        return Interval(value, lower, self.upper.clamp_min(0), self.standard_error)

    def infinite_where(self, known: Tensor) -> Interval:
        """Return the interval, infinite without doubt where that is known."""
        value, lower, upper = (
            part.masked_fill(known, torch.inf)
            for part in (self.value, self.lower, self.upper)
        )
        return Interval(value, lower, upper, self.standard_error.masked_fill(known, 0))


def mean_interval(samples: Tensor, level: float = 0.975) -> Interval:
    """Return the mean of independent samples [..., n] with its interval [...].

    Equal samples have an interval without width. A sample that is not finite leaves
    neither interval nor error, and one sample alone has none either: NaN.

    Args:
        samples: [..., n].
        level: of each end; 0.975 for an interval of 95 %.
    """
    n = samples.shape[-1]
    value = samples.mean(dim=-1)
    centred = samples - value.unsqueeze(-1)
    scale = centred.abs().amax(dim=-1)
    z = centred / torch.where(scale > 0, scale, 1.0).unsqueeze(-1)
    squares = z.square()
    powers = (squares, squares * z, squares.square())
    second, third, fourth = (power.mean(dim=-1) for power in powers)
    second = torch.where(scale > 0, second, 1.0)
    error = scale * (second / (n - 1)).sqrt() if n > 1 else scale * torch.nan
    t = _quantiles(2 * n / (fourth / second.square() - 1), n - 1, level)
    return _about(
        value, error, t, third / second.pow(1.5) * _unbiasing(n) / math.sqrt(n)
    )


def skewed_interval(
    value: Tensor, error: Tensor, freedom: int, skewness: Tensor, level: float = 0.975
) -> Interval:
    """Return the interval of a mean whose error and skewness are known otherwise.

    Args:
        value: the mean [...].
        error: its standard error [...].
        freedom: degrees of freedom of the error.
        skewness: of the mean itself [...].
        level: of each end.
    """
    t = torch.full_like(value, student_quantile(freedom, level))
    return _about(value, error, t, skewness)


def _about(value: Tensor, error: Tensor, t: Tensor, c: Tensor) -> Interval:
    c = c.clamp(-_LONGEST / t, _LONGEST / t)
    return Interval(
        value,
        value - error * _inverse_cubic(t, c),
        value - error * _inverse_cubic(-t, c),
        error,
    )


def _quantiles(freedom: Tensor, most: int, level: float) -> Tensor:
    """Return Student's quantiles at ν, kept between 1 and `most`."""
    kept = freedom.clamp(1, max(most, 1)).cpu()
    found = interpolated_quantiles(kept.double().flatten().numpy(), level)
    return torch.from_numpy(found).reshape(kept.shape).to(freedom)


def _unbiasing(n: int) -> float:
    """Return what sample skewness is multiplied by; it is zero for two samples."""
    return math.sqrt(n * (n - 1)) / max(n - 2, 1) * (1 + _HAZEN / n)


def _inverse_cubic(y: Tensor, c: Tensor) -> Tensor:
    """Return g⁻¹(y) = 3 (r − 1) / c = 3 (y − c/6) / (1 + r + r²), r³ = 1 + c (y − c/6).

    The second form needs no division by c.
    """
    apart = y - c / 6
    cube = 1 + c * apart
    r = cube.sign() * cube.abs().pow(1 / 3)
    return 3 * apart / (1 + r + r.square())
